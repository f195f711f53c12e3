"""xDS port: the control plane as a gRPC service, for proxies and for gRPC clients without one."""

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial

from ringmill.balancer.xds.delta import Delta
from ringmill.balancer.xds.requests import Answer, Verdict
from ringmill.balancer.xds.resources import Snapshot, short
from ringmill.balancer.xds.settings import XdsSettings
from ringmill.balancer.xds.snapshot import SnapshotBuilder
from ringmill.balancer.xds.state_of_the_world import StateOfTheWorld
from ringmill.balancer.xds.wire import encode, encode_delta, read_ask, read_delta_ask
from ringmill.core.errors import RingmillError
from ringmill.core.view import View
from ringmill.telemetry import ProxyFigures
from ringmill.transport.api import Accept, Status, Stream

_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"

_REASON_MAX = 1000
"""Characters of a client's own words in a line of the log."""

logger = logging.getLogger("ringmill.balancer.xds")


class _Counts:
    """What happened since the start."""

    def __init__(self) -> None:
        self.streams = 0
        """Open ones."""
        self.responses = Counter[str]()
        """By type."""
        self.refused = Counter[str]()
        """Responses that a client did not take, by type; it stays with what it had."""
        self.faulty = 0
        """Views that gave no snapshot which hangs together; nobody was sent any."""

    def figures(self) -> ProxyFigures:
        """The same for telemetry."""
        return ProxyFigures(self.streams, dict(self.responses), dict(self.refused), self.faulty)


class Desk:
    """The newest good snapshot, and all streams that want to hear of it."""

    def __init__(self, settings: XdsSettings, partitions: int) -> None:
        """Raises INVALID_ARGUMENT when an address of the settings is none that can be reached."""
        self.counts = _Counts()
        self._builder = SnapshotBuilder(settings, partitions)
        self._snapshot = Snapshot.of({})
        self._streams: dict[int, _Handler] = {}
        self._last = 0

    @property
    def snapshot(self) -> Snapshot:
        """What streams are told."""
        return self._snapshot

    def routes(self) -> dict[str, Accept]:
        """The methods by full name."""
        return {
            f"/{_SERVICE}/StreamAggregatedResources": partial(self._accept, _Whole),
            f"/{_SERVICE}/DeltaAggregatedResources": partial(self._accept, _Changes),
        }

    def publish(self, view: View) -> None:
        """Tells everybody of a view, if it makes a difference to them. A snapshot that does not hang together is told
        to nobody: the last good one stays."""
        try:
            snapshot = self._builder.build(view)
        except RingmillError as error:
            self.counts.faulty += 1
            logger.error(
                "view %d gives no configuration for proxies, which keep what they have: %s", view.version, error.message
            )
            return
        if snapshot is self._snapshot:
            return
        self._snapshot = snapshot
        for handler in list(self._streams.values()):
            handler.publish(snapshot)

    def closed(self, number: int) -> None:
        """A stream is over."""
        if self._streams.pop(number, None) is not None:
            self.counts.streams -= 1

    def heard(self, client: str, verdict: Verdict) -> None:
        """A client has looked at a response."""
        if not verdict.error:
            return
        self.counts.refused[short(verdict.type_url)] += 1
        logger.warning(
            "%s refuses %s %s (%s), and keeps what it has: %s",
            client,
            short(verdict.type_url),
            verdict.version,
            ", ".join(verdict.names),
            verdict.error[:_REASON_MAX],
        )

    def _accept(self, kind: "Callable[[Desk, int, Stream], _Handler]", stream: Stream) -> "_Handler":
        self._last += 1
        handler = self._streams[self._last] = kind(self, self._last, stream)
        self.counts.streams += 1
        return handler


class _Handler:
    """Hears one stream."""

    def __init__(self, desk: Desk, number: int, stream: Stream) -> None:
        self._desk = desk
        self._number = number
        self._stream = stream
        self._client = stream.peer

    def on_message(self, message: bytes) -> None:
        """Answers a request, and notes what it says of an earlier response."""
        answers, client, verdicts = self._hear(message)
        self._client = client or self._client
        for verdict in verdicts:
            self._desk.heard(self._client, verdict)
        verdicts.clear()
        self._send(answers)

    def on_half_close(self) -> None:
        """Wants nothing more."""
        self._desk.closed(self._number)
        self._stream.finish()

    def on_drain(self) -> None:
        """Has nothing more to send: what is unacknowledged bounds what is queued."""

    def on_close(self, status: Status) -> None:
        """Is over."""
        self._desk.closed(self._number)

    def publish(self, snapshot: Snapshot) -> None:
        """Tells of a newer snapshot."""
        raise NotImplementedError

    def _hear(self, message: bytes) -> tuple[list[Answer], str, list[Verdict]]:
        raise NotImplementedError

    def _encode(self, answer: Answer) -> bytes:
        raise NotImplementedError

    def _send(self, answers: list[Answer]) -> None:
        for answer in answers:
            self._desk.counts.responses[short(answer.type_url)] += 1
            self._stream.send(self._encode(answer))


class _Whole(_Handler):
    """A stream of the state-of-the-world variant."""

    def __init__(self, desk: Desk, number: int, stream: Stream) -> None:
        super().__init__(desk, number, stream)
        self._machine = StateOfTheWorld(desk.snapshot)

    def publish(self, snapshot: Snapshot) -> None:
        self._send(self._machine.publish(snapshot))

    def _encode(self, answer: Answer) -> bytes:
        return encode(answer)

    def _hear(self, message: bytes) -> tuple[list[Answer], str, list[Verdict]]:
        ask, client = read_ask(message)
        return self._machine.ask(ask), client, self._machine.verdicts


class _Changes(_Handler):
    """A stream of the delta variant."""

    def __init__(self, desk: Desk, number: int, stream: Stream) -> None:
        super().__init__(desk, number, stream)
        self._machine = Delta(desk.snapshot)

    def publish(self, snapshot: Snapshot) -> None:
        self._send(self._machine.publish(snapshot))

    def _encode(self, answer: Answer) -> bytes:
        return encode_delta(answer)

    def _hear(self, message: bytes) -> tuple[list[Answer], str, list[Verdict]]:
        ask, client = read_delta_ask(message)
        return self._machine.ask(ask), client, self._machine.verdicts
