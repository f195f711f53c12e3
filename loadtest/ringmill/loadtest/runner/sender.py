"""Sends the events of one process when they are due, on any number of streams in one thread.

The loop and the clock are given, so that a test can run hours of it in virtual time. Between two answers a stream does
nothing for an event: what has become due is a number, and the client's compiled encoder writes that many.
"""

from array import array
from collections import Counter, deque
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ringmill.client.codec import EventWriter
from ringmill.client.columns import EventColumns
from ringmill.client.connection import Connection
from ringmill.client.errors import ClientError
from ringmill.client.outcome import reason_name
from ringmill.client.responses import check_sequence, parse_response
from ringmill.client.result import Result
from ringmill.client.schema import Schema
from ringmill.client.session import BatchLimits, Session
from ringmill.client.settings import Settings, make_settings
from ringmill.core.errors import Code
from ringmill.loadtest.runner import rows
from ringmill.loadtest.runner.arrivals import Moments
from ringmill.loadtest.runner.events import Supply
from ringmill.loadtest.runner.scenario import Load, Scenario
from ringmill.transport.api import Channel, Loop
from ringmill.v1 import processing_pb2 as pb

Now = Callable[[], int]
"""Nanoseconds since the beginning of the warm-up."""

NEVER_NS = 1 << 62
WATCH_NS = 50_000_000
"""How often the watcher is told, and the longest sleep."""
_NAP_NS = 50_000
"""Shortest sleep: what becomes due meanwhile is handed over together."""
_FEW = 32
"""Up to so many outcomes the official library reads a response faster than columns are made for it."""


class LoadFeed:
    """Gives a session the next events of a ring of prepared ones, and notes when each message went and came back."""

    traceparent = ""

    def __init__(self, schema: Schema, ring: EventColumns, first: int, writer: EventWriter, now: Now) -> None:
        """first: place in the ring at which it begins. writer: may be shared by the feeds of one thread."""
        self.handed = 0
        """Events that may be sent by now."""
        self.answered = 0
        self.answers = array("q")
        """Three for each answer: events answered so far, when its message was sent, and when it was answered."""
        self.sent: deque[int] = deque()
        """When each unanswered message was sent, oldest first."""
        self.rejections: Counter[str] = Counter()
        self.error: ClientError | None = None
        self.on_answer: Callable[[], None] = _nothing
        self._schema = schema
        self._ring = ring
        self._place = first
        self._taken = 0
        self._writer = writer
        self._now = now

    def take(self, limits: BatchLimits) -> tuple[bytes | memoryview, int]:
        """Encodes what may be sent, up to the limits."""
        wanted = min(self.handed - self._taken, limits.events_max)
        if not wanted:
            return b"", 0
        self._writer.start(limits.bytes_max)
        count, room = 0, True
        while count < wanted and room:
            last = min(self._place + wanted - count, len(self._ring))
            written = self._writer.add(self._ring, self._place, last)
            room = self._place + written == last
            count += written
            self._place = (self._place + written) % len(self._ring)
        self._taken += count
        self.sent.append(self._now())
        return self._writer.written, count

    def deliver(self, message: bytes, count: int, sequence: int) -> pb.ProcessResponse:
        """Notes an answer, and counts what it rejects."""
        at_ns = self._now()
        head = self._few(message, count, sequence) if count <= _FEW else self._many(message, count, sequence)
        self.answered += count
        self.answers.extend((self.answered, self.sent.popleft(), at_ns))
        self.on_answer()
        return head

    def fail(self, error: ClientError) -> None:
        """Keeps why nothing more will be answered."""
        self.error = error

    def _few(self, message: bytes, count: int, sequence: int) -> pb.ProcessResponse:
        response = parse_response(message)
        check_sequence(response, sequence)
        if len(response.outcomes) != count:
            raise ClientError(Code.INTERNAL, f"the server sent {len(response.outcomes)} outcomes for {count} events")
        if response.rejected:
            told = [each.rejection.reason for each in response.outcomes if each.HasField("rejection")]
            self.rejections.update(reason_name(reason) for reason in told)
        return response

    def _many(self, message: bytes, count: int, sequence: int) -> pb.ProcessResponse:
        result = Result(self._schema, count)
        head = result.fill(message, count, sequence)
        if result.rejected:
            reasons, counts = np.unique(result.reasons[~result.applied], return_counts=True)
            for reason, times in zip(reasons.tolist(), counts.tolist(), strict=True):
                self.rejections[reason_name(reason)] += times
        return head


class OpenStream:
    """Hands events over when they are due, whatever the answers do."""

    def __init__(self, feed: LoadFeed, due_ns: Moments, load: Load) -> None:
        self.feed = feed
        self.due_ns = due_ns
        self.batch = max(1, load.batch)
        self.next_ns = int(due_ns[0]) if due_ns.size else NEVER_NS
        """When the next arrival is due."""
        self._handed = array("q")

    def hand(self, now_ns: int) -> None:
        """Hands over all that is due."""
        arrivals = int(np.searchsorted(self.due_ns, now_ns, side="right"))
        self.feed.handed = arrivals * self.batch
        self._handed.extend((self.feed.handed, now_ns))
        self.next_ns = int(self.due_ns[arrivals]) if arrivals < self.due_ns.size else NEVER_NS

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self.feed.error is not None or (self.next_ns == NEVER_NS and self.feed.answered == self.feed.handed)

    def waiting_ns(self, now_ns: int) -> int:
        """How long the oldest unanswered event has waited since it was due."""
        oldest = self.feed.answered // self.batch
        if self.feed.answered == self.feed.handed:
            return 0
        return now_ns - int(self.due_ns[oldest])

    def rows(self) -> rows.Rows:
        """What was noted."""
        return rows.Rows(self.due_ns, self.batch, _table(self._handed, 2), _table(self.feed.answers, 3))


class ClosedStream:
    """Keeps so many messages on their way, and sends the next one when one is answered."""

    def __init__(self, feed: LoadFeed, load: Load, now: Now, offer: Callable[[LoadFeed], None]) -> None:
        """offer: tells the session that there is something to send; called while it hears an answer."""
        self.feed = feed
        self.next_ns = 0
        self._batch = max(1, load.batch)
        self._in_flight = load.in_flight
        self._end_ns = _end_ns(load)
        self._now = now
        self._offer = offer
        feed.on_answer = self._go_on

    def hand(self, _now_ns: int) -> None:
        """Begins."""
        self.feed.handed = self._batch * self._in_flight
        self.next_ns = NEVER_NS

    def _go_on(self) -> None:
        if self._now() < self._end_ns:
            self.feed.handed += self._batch
            self._offer(self.feed)

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self.feed.error is not None or (self.next_ns == NEVER_NS and self.feed.answered == self.feed.handed)

    def waiting_ns(self, now_ns: int) -> int:
        """How long the oldest unanswered message has been on its way."""
        return now_ns - self.feed.sent[0] if self.feed.sent else 0

    def rows(self) -> rows.Rows:
        """What was noted."""
        return rows.of_closed(_table(self.feed.answers, 3), np.array(self.feed.sent, np.int64))


CallAt = Callable[[int, Callable[[], None]], object]
"""Runs a callback on the loop at a moment of the clock."""
Watch = Callable[["Sender"], bool]
"""Hears now and then how far it has come; False: it is to end."""


class Sender:
    """All streams of one process, over one loop."""

    def __init__(self, loop: Loop, channel: Channel, scenario: Scenario, clock: Now, patience_s: float = 10.0) -> None:
        """clock: nanoseconds of any origin. patience_s: how long a stream may take to open."""
        self.streams: list[OpenStream | ClosedStream] = []
        self.closed_ns = 0
        """When it ended."""
        self._loop = loop
        self._channel = channel
        self._scenario = scenario
        self._clock = clock
        self._patience_s = patience_s
        self._begin_ns = 0
        self._connections: list[Connection] = []
        self._over = False
        self._call_at: CallAt
        self._watch: Watch
        self._watch_ns = 0

    def now(self) -> int:
        """Nanoseconds since the beginning of the warm-up."""
        return self._clock() - self._begin_ns

    def open(self, schema: Schema, supplies: Sequence[Supply]) -> None:
        """Opens a stream for each supply. Raises ClientError."""
        load, target = self._scenario.load, self._scenario.target
        writer = EventWriter()
        for supply in supplies:
            session = Session(self._settings())
            connection = Connection(self._loop, self._channel, session, target.address, (), self._patience_s)
            self._connections.append(connection)
            feed = LoadFeed(schema, supply.ring, supply.first, writer, self.now)
            if load.loop == "open":
                self.streams.append(OpenStream(feed, supply.due_ns, load))
            else:
                self.streams.append(ClosedStream(feed, load, self.now, session.offer))
        sessions = [connection.session for connection in self._connections]
        self._loop.run_until(
            lambda: all(each.opened for each in sessions) or any(each.error for each in sessions), self._patience_s
        )
        for session in sessions:
            if session.error is not None:
                raise session.error
            if not session.opened:
                raise ClientError(Code.DEADLINE_EXCEEDED, f"{target.address} did not open a stream")

    def run(self, begin_ns: int, call_at: CallAt, watch: Watch) -> None:
        """Sends until all is due and answered, the time to drain is over, or the watcher says so."""
        load = self._scenario.load
        self._begin_ns = begin_ns
        self._call_at = call_at
        self._watch = watch
        limit_ns = _end_ns(load) + int(load.drain_seconds * 1e9)
        call_at(begin_ns, self._tick)
        self._loop.run_until(lambda: self._over, (limit_ns - self.now()) / 1e9)
        self._over = True
        self.closed_ns = self.now()

    def close(self) -> None:
        """Ends the streams in good order."""
        alive = [each for each in self._connections if each.error is None and each.half_close()]
        self._loop.run_until(lambda: not any(each.connected for each in alive), 1.0)
        for connection in self._connections:
            connection.abandon(ClientError(Code.CANCELLED, "the load test has ended"))

    def _settings(self) -> Settings:
        """Of one stream: each has a producer's name of its own."""
        load, target = self._scenario.load, self._scenario.target
        return make_settings(
            pipeline=target.pipeline,
            ack=target.ack,
            batch_events_max=load.batch or (load.batch_max if load.loop == "open" else 1),
            in_flight_max=load.in_flight,
        )

    def _tick(self) -> None:
        if self._over:
            return
        now_ns = self.now()
        soonest_ns = NEVER_NS
        for stream, connection in zip(self.streams, self._connections, strict=True):
            if now_ns >= stream.next_ns:
                stream.hand(now_ns)
                connection.offer(stream.feed)
            if connection.error is not None and stream.feed.error is None:  # it ended while nothing was on its way
                stream.feed.fail(connection.error)
            soonest_ns = min(soonest_ns, stream.next_ns)
        if now_ns >= self._watch_ns:
            self._watch_ns = now_ns + WATCH_NS
            self._over = not self._watch(self)
        self._over = self._over or (soonest_ns == NEVER_NS and all(stream.done for stream in self.streams))
        wake_ns = min(max(soonest_ns, now_ns + _NAP_NS), now_ns + WATCH_NS)
        if not self._over:
            self._call_at(self._begin_ns + wake_ns, self._tick)


def _end_ns(load: Load) -> int:
    return int((load.warmup_seconds + load.seconds) * 1e9)


def _table(noted: "array[int]", columns: int) -> npt.NDArray[np.int64]:
    return np.array(noted, np.int64).reshape(-1, columns)


def _nothing() -> None:
    """Nobody wants to know."""
