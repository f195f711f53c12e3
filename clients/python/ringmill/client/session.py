"""The client's side of one Process stream, without IO: what to send next, and whose answer came.

Whoever has events to send is a feed. The session asks the feeds in turn for a batch whenever the transport can take
one, so that everything a feed gathered in the meantime goes as one message (natural batching), and answers are handed
back to the feed that sent the batch, in order.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import DecodeError

from ringmill.client.errors import ClientError, ProcessError
from ringmill.core.errors import Code
from ringmill.v1 import processing_pb2 as pb

ACKS = {"": pb.ACK_LEVEL_UNSPECIFIED, "primary": pb.ACK_LEVEL_PRIMARY, "all": pb.ACK_LEVEL_ALL}
HEAD_BYTES_MAX = 512
"""Room that a batch's own bytes leave for sequence, acknowledgement and trace context in a request."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client asks for, whichever transport carries it."""

    pipeline: str
    producer: str = ""
    """Stable name that makes retries idempotent where the server deduplicates; empty: none."""
    version: str = ""
    """Version that must be served, like "2" or "2.1.0"; empty: any."""
    ack: str = ""
    """ "primary", "all", or empty for the server's choice."""
    batch_events_max: int = 4096
    """Events a request. Larger ones cost less for each event and delay the first outcome."""
    in_flight_max: int = 8
    """Requests on their way. The server may allow fewer; more only help on long links."""
    timeout_s: float | None = 30.0
    """Longest that a call waits without any outcome coming; None: for ever."""
    deadline_ms: int = 0
    """How long a request may wait on the server before its events are rejected DEADLINE; 0: for ever."""

    def validate(self) -> None:
        """Raises ValueError for settings that cannot work."""
        if not self.pipeline:
            raise ValueError("name the pipeline: Client(address, pipeline)")
        if self.ack not in ACKS:
            raise ValueError(f"ack must be one of 'primary' and 'all', not {self.ack!r}")
        if self.batch_events_max < 1 or self.in_flight_max < 1:
            raise ValueError("batch_events_max and in_flight_max must be at least 1")
        if self.timeout_s is not None and self.timeout_s <= 0:
            raise ValueError("timeout_s must be above 0")
        if not 0 <= self.deadline_ms < 2**32:
            raise ValueError("deadline_ms must fit in 32 bits")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large one batch may be: the smaller of what the client wants and what the server takes."""

    events_max: int
    bytes_max: int


class Feed(Protocol):
    """Something that has events to send and hears of their outcomes in the same order."""

    @property
    def answered(self) -> int:
        """Events whose outcomes it has heard."""
        ...

    @property
    def traceparent(self) -> str:
        """W3C trace context of its batches; empty: none of their own."""
        ...

    def take(self, limits: BatchLimits) -> tuple[bytes | memoryview, int]:
        """Encoded events of the next batch and their number; 0 when there is nothing to send now."""
        ...

    def deliver(self, message: bytes, count: int) -> pb.ProcessResponse:
        """Hears the answer to its oldest unanswered batch, of `count` events. Returns all of it but the outcomes.

        Raises ClientError when the bytes are not such an answer.
        """
        ...

    def fail(self, error: ClientError) -> None:
        """Hears, once, that nothing more will be answered."""
        ...


class Session:
    """One stream: its opening, its batches on their way, and what the server said of its limits."""

    def __init__(self, settings: Settings, sequence: int = 0) -> None:
        self._settings = settings
        self._hungry: deque[Feed] = deque()
        self._in_flight: deque[tuple[Feed, int, int]] = deque()
        self._sequence = sequence
        self._acknowledged = sequence
        self.info: pb.StreamInfo | None = None
        """What the server said of the stream; None until its first response."""
        self.committed_through = 0
        self.limits = BatchLimits(0, 0)

    @property
    def sequence(self) -> int:
        """Sequence of the last batch taken."""
        return self._sequence

    @property
    def in_flight(self) -> int:
        """Batches on their way."""
        return len(self._in_flight)

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way or waiting."""
        return not self._in_flight and not self._hungry

    def opening(self) -> bytes:
        """The first message: it names the pipeline and asks for the stream's limits; no events."""
        settings = self._settings
        options = pb.ProcessOptions(version=settings.version, ack=ACKS[settings.ack])
        request = pb.ProcessRequest(pipeline=settings.pipeline, producer=settings.producer, options=options)
        return request.SerializeToString()

    def offer(self, feed: Feed) -> None:
        """Notes that the feed has events to send."""
        if feed not in self._hungry:
            self._hungry.append(feed)

    def withdraw(self, feed: Feed) -> None:
        """Forgets what the feed has not sent yet; answers to what it has sent still come."""
        if feed in self._hungry:
            self._hungry.remove(feed)

    def take(self) -> bytes | None:
        """The next message to send; None when there is none, or no room for it on the way."""
        if self.info is None or len(self._in_flight) >= self._window():
            return None
        while self._hungry:
            feed = self._hungry[0]
            try:
                events, count = feed.take(self.limits)
            except ClientError as error:  # its events cannot be sent; other feeds go on
                self._hungry.popleft()
                feed.fail(error)
                continue
            if count:
                self._hungry.rotate(-1)  # feeds take turns
                head, sequence = self._head(feed.traceparent)
                self._in_flight.append((feed, count, sequence))
                return head + events
            self._hungry.popleft()
        return None

    def _window(self) -> int:
        allowed = self.info.max_in_flight if self.info else 1
        return min(self._settings.in_flight_max, allowed or self._settings.in_flight_max)

    def _head(self, traceparent: str) -> tuple[bytes, int]:
        """All of a request but its events, and its sequence: 0 without a producer, for then it has no identity."""
        settings = self._settings
        if not (settings.producer or settings.deadline_ms or traceparent):
            return b"", 0
        head = pb.ProcessRequest(timeout_ms=settings.deadline_ms, traceparent=traceparent)
        if settings.producer:
            self._sequence += 1
            head.sequence = self._sequence
            head.acknowledged = self._acknowledged
        return head.SerializeToString(), head.sequence

    def receive(self, message: bytes) -> None:
        """Hears one response: the opening's, or the oldest batch's. Raises ClientError for what is neither."""
        if self.info is None:
            self._opened(parse_response(message))
            return
        if not self._in_flight:
            raise ClientError(Code.INTERNAL, "the server sent a response that nothing asked for")
        feed, count, sequence = self._in_flight[0]
        head = feed.deliver(message, count)
        self._in_flight.popleft()
        if sequence and head.sequence != sequence:
            raise ClientError(Code.INTERNAL, f"the server answered sequence {head.sequence} in place of {sequence}")
        self._acknowledged = max(self._acknowledged, sequence)
        self.committed_through = max(self.committed_through, head.committed_through)
        if head.HasField("stream"):
            self._note(head.stream)

    def _opened(self, response: pb.ProcessResponse) -> None:
        self._note(response.stream)
        self._sequence = max(self._sequence, response.stream.last_sequence)
        self._acknowledged = self._sequence

    def _note(self, info: pb.StreamInfo) -> None:
        self.info = info
        wanted = self._settings.batch_events_max
        events_max = min(wanted, info.max_events or wanted)
        self.limits = BatchLimits(events_max, (info.max_request_bytes or 4 << 20) - HEAD_BYTES_MAX)

    def end(self, error: ClientError) -> None:
        """Hears that the stream is over: every feed with something unsent or unanswered fails with its own count."""
        unknown: dict[int, int] = {}
        feeds: dict[int, Feed] = {}
        for feed, count, _ in self._in_flight:
            feeds[id(feed)] = feed
            unknown[id(feed)] = unknown.get(id(feed), 0) + count
        for feed in self._hungry:
            feeds[id(feed)] = feed
        self._in_flight.clear()
        self._hungry.clear()
        for name, feed in feeds.items():
            feed.fail(ProcessError(error.code, error.message, feed.answered, unknown.get(name, 0)))


def parse_response(message: bytes) -> pb.ProcessResponse:
    """Parses a response with the official library. Raises ClientError INTERNAL."""
    try:
        return pb.ProcessResponse.FromString(message)
    except DecodeError as error:
        raise ClientError(Code.INTERNAL, f"the server sent a response that does not parse: {error}") from None


def metadata_of(pairs: Sequence[tuple[str, str | bytes]]) -> tuple[tuple[str, str | bytes], ...]:
    """The caller's metadata, and the trace context of the caller's span where it gave none."""
    own = "" if any(name.lower() == "traceparent" for name, _ in pairs) else current_traceparent()
    return (*pairs, ("traceparent", own)) if own else tuple(pairs)


def current_traceparent() -> str:
    """W3C trace context of the span that the caller is in; empty outside of one."""
    from opentelemetry.trace.propagation import tracecontext  # here: importing it takes 20 ms

    carrier: dict[str, str] = {}
    tracecontext.TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")
