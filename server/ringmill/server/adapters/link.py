"""The worker's link to the balancer: registers, answers parts, beats.

The worker dials. The open stream is its registration, and its break is the first sign of death, to either side.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from ringmill.core.errors import Code, RingmillError
from ringmill.core.frame import PartEntry, PartsReader, failed_result, result_prefix
from ringmill.core.memory import Bytes
from ringmill.core.view import View, view_from_proto
from ringmill.internal.v1.link_pb2 import Heartbeat, JoinRequest, JoinResponse, Registration
from ringmill.server.lane import Clock, Lane
from ringmill.transport.api import Channel, Loop, Status, Stream

JOIN = "/ringmill.internal.v1.LinkService/Join"
_FATAL = frozenset({Code.FAILED_PRECONDITION, Code.INVALID_ARGUMENT, Code.ALREADY_EXISTS, Code.PERMISSION_DENIED})

_DEFECT = RingmillError(Code.INTERNAL, "the worker failed on this batch; its log has the reason")

logger = logging.getLogger("ringmill.worker")


class Link:
    """Keeps the worker joined: dials, registers, answers, and dials again after a break."""

    def __init__(
        self,
        loop: Loop,
        channel: Channel,
        registration: Registration,
        lanes: Sequence[Lane],
        clock: Clock,
        *,
        reconnect_s: float,
        on_view: Callable[[View], None],
        on_fatal: Callable[[RingmillError], None],
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._registration = registration
        self._lanes = lanes
        self._clock = clock
        self._reconnect_s = reconnect_s
        self._on_view = on_view
        self._on_fatal = on_fatal
        self._reader = PartsReader()
        self._stream: Stream | None = None
        self._results: list[bytes] = []
        self._heartbeat_s = 0.1
        self._beating = False
        self._leaving: Callable[[], None] | None = None
        self._told = ""
        """The last break that was logged, so that an absent balancer is one line and not three a second."""

    def dial(self) -> None:
        """Opens the stream and registers."""
        self._results.clear()
        self._stream = stream = self._channel.open(JOIN, self)
        stream.send(JoinRequest(registration=self._registration, heartbeat=self._heartbeat()).SerializeToString())
        if not self._beating:
            self._beating = True
            self._loop.call_later(self._heartbeat_s, self._beat)

    def leave(self, gone: Callable[[], None]) -> None:
        """Asks for no more parts; calls gone() once the balancer has let the worker go."""
        self._leaving = gone
        if self._stream is None:
            gone()
            return
        self._stream.send(JoinRequest(draining=True).SerializeToString())

    def on_message(self, message: bytes) -> None:
        """Answers every part of a frame, and obeys the newest view before."""
        arrived_ns = self._clock()
        buffer = np.frombuffer(message, np.uint8)
        self._told = ""
        entries, rest = self._reader.read(buffer)
        if rest:
            self._obey(JoinResponse.FromString(rest))
        for entry in entries:
            self._answer(buffer, entry, arrived_ns)
        self.on_drain()

    def on_drain(self) -> None:
        """Sends all answers that have accumulated as one frame, as soon as the last write is done."""
        stream = self._stream
        if self._results and stream is not None and not stream.writing:
            frame = b"".join(self._results)
            self._results.clear()
            stream.send(frame)

    def on_half_close(self) -> None:
        """Never happens on the calling side."""

    def on_close(self, status: Status) -> None:
        """Dials again, unless the worker is leaving or was told that it cannot join."""
        self._stream = None
        if self._leaving is not None:
            self._leaving()
        elif status.code in _FATAL:
            self._on_fatal(RingmillError(status.code, f"the balancer refused this worker: {status.details}"))
        else:
            why = f"{status.code.name}: {status.details}"
            if why != self._told:
                logger.warning("no link to the balancer, dialling until there is one (%s)", why)
            self._told = why
            self._loop.call_later(self._reconnect_s, self._dial_again)

    def _dial_again(self) -> None:
        if self._leaving is None and self._stream is None:
            self.dial()

    def _obey(self, response: JoinResponse) -> None:
        if response.heartbeat_ms:
            self._heartbeat_s = response.heartbeat_ms / 1000
        if response.HasField("view"):
            self._registration.view_version = response.view.version
            self._on_view(view_from_proto(response.view))

    def _answer(self, buffer: Bytes, entry: PartEntry, arrived_ns: int) -> None:
        part, pipeline, start, stop = entry[:4]
        try:
            if pipeline >= len(self._lanes):
                raise RingmillError(
                    Code.INTERNAL, f"part for pipeline {pipeline}, but only {len(self._lanes)} are served"
                )
            response = self._lanes[pipeline].handle(buffer, start, stop, arrived_ns)
        except RingmillError as error:
            self._results.append(failed_result(part, error))
        except Exception:  # a defect of ours: it must end this batch's stream, and not the link of all others
            logger.exception("a part failed")
            self._results.append(failed_result(part, _DEFECT))
        else:
            self._results += (result_prefix(part, len(response)), response)
        if self._stream is not None and not self._stream.writing:
            self.on_drain()

    def _beat(self) -> None:
        if self._stream is not None:
            self._stream.send(JoinRequest(heartbeat=self._heartbeat()).SerializeToString())
        self._loop.call_later(self._heartbeat_s, self._beat)

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(
            keys=sum(lane.engine.table.count for lane in self._lanes),
            state_bytes=sum(lane.engine.table.state_bytes for lane in self._lanes),
            events=sum(lane.counts.events for lane in self._lanes),
        )
