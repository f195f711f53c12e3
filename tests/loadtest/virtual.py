"""A loop, a channel and a server in virtual time: the real sender and the real session run on them."""

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from ringmill.client.schema import Schema
from ringmill.core.errors import Code
from ringmill.transport.api import OK, Status
from ringmill.v1 import processing_pb2 as pb

MS = 1_000_000
WRITE_NS = 2_000
FIELDS = [pb.Field(name="temperature", kind=pb.FIELD_KIND_DOUBLE), pb.Field(name="room", kind=pb.FIELD_KIND_LABEL)]
SCHEMA = Schema.of("readings", pb.DescribePipelineResponse(version="1.0.0", fields=FIELDS))


class VirtualTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualLoop:
    """Jumps from one callback to the next."""

    name = "virtual"

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000
        self._numbers = itertools.count()
        self._timers: list[tuple[int, int, VirtualTimer]] = []

    def clock(self) -> int:
        return self.now_ns

    def at(self, at_ns: int, callback: Callable[[], None]) -> VirtualTimer:
        timer = VirtualTimer(callback)
        heapq.heappush(self._timers, (at_ns, next(self._numbers), timer))
        return timer

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> VirtualTimer:
        return self.at(self.now_ns + round(delay_s * 1e9), callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.call_later(0.0, callback)

    def run_until(self, done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        limit_ns = 1 << 62 if timeout_s is None else self.now_ns + int(timeout_s * 1e9)
        while not done():
            if not self._timers or self._timers[0][0] > limit_ns:
                self.now_ns = max(self.now_ns, limit_ns)
                return False
            at_ns, _, timer = heapq.heappop(self._timers)
            self.now_ns = max(self.now_ns, at_ns)
            if timer.callback is not None:
                timer.callback()
        return True


class VirtualServer:
    """Answers messages one after the other. It is a channel, too."""

    def __init__(self, loop: VirtualLoop, service_ns: int = 100_000) -> None:
        self.loop = loop
        self.service_ns = service_ns
        self.pauses: list[tuple[int, int]] = []
        """Moments of the loop's clock between which it does nothing."""
        self.messages: list[int] = []
        """Events of each message."""
        self.keys: list[str] = []
        self.producers: set[str] = set()
        self.in_flight = 0
        self.in_flight_most = 0
        self.reject_every = 0
        self.breaks: dict[int, Code] = {}
        """How a message, by its number, ends its stream."""
        self.streams: list[VirtualStream] = []
        self._free_ns = 0

    def open(self, method: str, handler: Any, metadata: Any = (), timeout_s: float | None = None) -> "VirtualStream":
        self.streams.append(VirtualStream(self, handler))
        return self.streams[-1]

    def close(self) -> None:
        pass

    def moment(self) -> int:
        """When it has served what comes now."""
        begin = max(self.loop.now_ns, self._free_ns)
        begin = next((last for first, last in self.pauses if first <= begin < last), begin)
        self._free_ns = begin + self.service_ns
        return self._free_ns

    def answer(self, request: pb.ProcessRequest) -> pb.ProcessResponse:
        outcomes = []
        for event in request.events:
            self.keys.append(event.key)
            refused = self.reject_every and len(self.keys) % self.reject_every == 0
            rejection = pb.Rejection(reason=pb.REJECTION_REASON_DEADLINE) if refused else None
            outcomes.append(pb.Outcome(rejection=rejection))
        rejected = sum(outcome.HasField("rejection") for outcome in outcomes)
        return pb.ProcessResponse(sequence=request.sequence, outcomes=outcomes, rejected=rejected)


class VirtualStream:
    method = peer = ""
    metadata = ()
    deadline_s = None
    queued_bytes = 0

    def __init__(self, server: VirtualServer, handler: Any) -> None:
        self.writing = False
        self._server = server
        self._handler = handler
        self._opened = False
        self._closed = False
        self._waiting: deque[pb.ProcessRequest] = deque()

    def send(self, message: bytes) -> None:
        assert not self.writing
        self.writing = True
        self._server.loop.call_later(WRITE_NS / 1e9, self._written)
        request = pb.ProcessRequest.FromString(bytes(message))
        if not self._opened:
            self._opened = True
            self._server.producers.add(request.producer)
            opened = pb.ProcessResponse(stream=pb.StreamInfo(version="1.0.0", session=1, deduplicates=True))
            self._server.loop.call_later(0.0001, lambda: self._hear(opened))
            return
        server = self._server
        server.messages.append(len(request.events))
        server.in_flight += 1
        server.in_flight_most = max(server.in_flight_most, server.in_flight)
        if len(server.messages) in server.breaks:
            server.in_flight -= 1
            code = server.breaks[len(server.messages)]
            server.loop.call_soon(lambda: self.end(code))
        else:
            server.loop.at(server.moment(), lambda: self._answer(request))

    def _answer(self, request: pb.ProcessRequest) -> None:
        self._server.in_flight -= 1
        if not self._closed:
            self._hear(self._server.answer(request))

    def _hear(self, response: pb.ProcessResponse) -> None:
        if not self._closed:
            self._handler.on_message(response.SerializeToString())

    def _written(self) -> None:
        self.writing = False
        if not self._closed:
            self._handler.on_drain()

    def end(self, code: Code) -> None:
        """Ends the stream; what it has not answered was not applied."""
        self._close(Status(code, "no more of this"))

    def _close(self, status: Status) -> None:
        if not self._closed:
            self._closed = True
            self._handler.on_close(status)

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def finish(self, status: Status = OK) -> None:
        self._server.loop.call_soon(lambda: self._close(OK))

    def cancel(self) -> None:
        self._close(Status(Code.CANCELLED))
