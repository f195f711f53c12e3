"""The client's side of a producer's session, without IO, clock or chance: what to send next, and whose answer came.

Whoever has events to send is a feed. The session asks the feeds in turn for a batch whenever the transport can take
one, so that everything a feed gathered in the meantime goes as one message (natural batching), and answers are handed
back to the feed that sent the batch, in order.

A session outlives its streams. It keeps each batch, as bytes, until that is answered for good; when a stream breaks,
the next one resumes the session and all kept batches go again, oldest first, under their old sequences. The server
recognises what it has applied, so each event is applied once, and each feed hears of it once.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ringmill.client.errors import ClientError, ProcessError, fenced_error, forgotten_error
from ringmill.client.redial import RESUMABLE, Redial
from ringmill.client.responses import check_sequence, parse_response
from ringmill.client.settings import ACKS, Settings
from ringmill.core.errors import Code
from ringmill.v1 import processing_pb2 as pb

HEAD_BYTES_MAX = 512
"""Room that a batch's own bytes leave for sequence, acknowledgement and trace context in a request."""
KEPT_MAX = 64
"""Batches that are kept: a server remembers the outcomes of as many."""
KEPT_BYTES_MAX = 16 << 20
"""Bytes that are kept, and the batch that passes it: a server holds as many before it reads no further."""

_PRIMARY = pb.ACK_LEVEL_PRIMARY
_ALREADY_APPLIED = pb.REJECTION_REASON_ALREADY_APPLIED


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

    def deliver(self, message: bytes, count: int, sequence: int) -> pb.ProcessResponse:
        """Hears the answer to its oldest unanswered batch, of `count` events. Returns all of it but the outcomes.

        Raises ClientError, and has heard nothing, when the bytes are no such answer (`responses.check_sequence`).
        """
        ...

    def fail(self, error: ClientError) -> None:
        """Hears that what it has sent or wanted to send will not be answered."""
        ...


@dataclass(slots=True, eq=False)
class _Batch:
    """A request that was sent and is not yet final; or, without a feed, a heartbeat."""

    feed: Feed | None
    count: int
    sequence: int
    message: bytes
    """Its bytes, as first sent; empty where they would not be sent again."""
    delivered: bool = False
    """Whether its feed has heard the outcomes."""
    final: bool = False
    """Whether every in-sync replica held it when it was answered."""
    rejected: int = 0
    """Events that were rejected, as its feed heard."""

    @property
    def provisional(self) -> bool:
        """Whether its feed has heard outcomes that may yet come to nothing."""
        return self.delivered and not self.final


class Session:
    """A producer's session over any number of streams, one at a time.

    Whoever drives it dials, sends `opening()` first and then what `take()` gives, hands in what comes with
    `receive()`, and tells with `broke()` how the stream ended, which says when to dial again.
    """

    def __init__(self, settings: Settings, sequence: int = 0) -> None:
        self._settings = settings
        self._redial = Redial(settings.retry_s)
        self._hungry: deque[Feed] = deque()
        self._kept: deque[_Batch] = deque()
        """Sent and not final, or behind one that is not, in the order of their sequences: the delivered ones first."""
        self._kept_bytes = 0
        self._awaited: deque[_Batch] = deque()
        """Sent on this stream and not answered on it."""
        self._resend: deque[_Batch] = deque()
        """To be sent again on this stream."""
        self._beat_due = False
        self._sequence = sequence
        self._acknowledged = sequence
        self._answered_here = 0
        """Highest sequence that was answered on this stream."""
        self._number = 0
        """Of the session, as granted; 0: none yet."""
        self._resumes = settings.resend
        """Whether batches may be sent again."""
        self._progressed = False
        self._window = 1
        self._kept_max = 1
        self.opened = False
        """Whether the server has opened the stream that is now."""
        self.info: pb.StreamInfo | None = None
        """What the server last said of a stream; None until its first response."""
        self.error: ClientError | None = None
        """Why the session is over; None while it lives, with or without a stream."""
        self.fenced = False
        """Whether it is over because a newer client has taken the producer's name."""
        self.last_sequence = 0
        """Highest sequence that the server had applied of this producer when the session began."""
        self.committed_through = 0
        """Highest sequence up to which all in-sync replicas hold every batch of this session."""
        self.progress = 0
        """Grows with each batch that is answered, or final: whoever waits sees that there is progress."""
        self.revoked = 0
        """Events that were answered by the primary alone, and rejected when it was lost and they went again."""
        self.flushes = 0
        """How many wait for what only `committed_through` can tell: then heartbeats are wanted."""
        self.drain_s = 0.0
        """Not 0: the stream must be left within this time; nothing more is sent on it."""
        self.limits = BatchLimits(0, 0)

    @property
    def sequence(self) -> int:
        """Sequence of the last batch taken."""
        return self._sequence

    @property
    def in_flight(self) -> int:
        """Batches without an answer."""
        return sum(not batch.delivered for batch in self._kept)

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an outcome."""
        return bool(self._hungry) or self.in_flight > 0

    @property
    def idle(self) -> bool:
        """Whether nothing is kept or waiting."""
        return not self._kept and not self._hungry

    @property
    def all_answered(self) -> bool:
        """Whether all that was sent on this stream is answered."""
        return not self._awaited

    def holds(self, sequence: int) -> bool:
        """Whether some batch up to this sequence is not final."""
        return bool(self._kept) and self._kept[0].sequence <= sequence

    def take_unconfirmed(self) -> int:
        """Events that a primary alone had answered and that were undone, or may have been; counted once."""
        lost, self.revoked = self.revoked, 0
        if self.error is not None:
            lost += sum(batch.count for batch in self._kept if batch.provisional)
            self._kept.clear()
        return lost

    # What goes

    def opening(self) -> bytes:
        """The first message of a stream: it names the pipeline and opens or resumes the session; no events."""
        settings = self._settings
        self.opened = self._progressed = self._beat_due = False
        self.drain_s = 0.0
        self._answered_here = 0
        self._awaited.clear()
        # What was answered for good stays so: sent again, an event could be applied that was refused.
        self._resend = deque(batch for batch in self._kept if not batch.delivered or batch.provisional)
        options = pb.ProcessOptions(version=settings.version, ack=ACKS[settings.ack], session=self._number)
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
        if not self.opened or self.drain_s:
            return None
        if self._resend:
            return self._again(self._resend.popleft())
        if self._beat_due:
            return self._beat()
        if (
            len(self._awaited) >= self._window
            or len(self._kept) >= self._kept_max
            or self._kept_bytes >= KEPT_BYTES_MAX
        ):
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
                return self._new(feed, events, count)
            self._hungry.popleft()
        return None

    def _new(self, feed: Feed, events: bytes | memoryview, count: int) -> bytes:
        self._sequence += 1
        head = pb.ProcessRequest(
            sequence=self._sequence,
            timeout_ms=self._settings.deadline_ms,
            traceparent=feed.traceparent,
            acknowledged=self._acknowledged,
        )
        message = head.SerializeToString() + events
        batch = _Batch(feed, count, self._sequence, message if self._resumes else b"")
        self._kept.append(batch)
        self._kept_bytes += len(batch.message)
        self._awaited.append(batch)
        return message

    def _again(self, batch: _Batch) -> bytes:
        """The same bytes, but for what is acknowledged by now: of a field that stands twice the last counts."""
        self._awaited.append(batch)
        return batch.message + pb.ProcessRequest(acknowledged=self._acknowledged).SerializeToString()

    def _beat(self) -> bytes:
        """A heartbeat: a request without events and sequence, whose answer tells what is committed by now."""
        self._beat_due = False
        self._awaited.append(_Batch(None, 0, 0, b"", delivered=True))
        return pb.ProcessRequest(acknowledged=self._acknowledged).SerializeToString()

    @property
    def wants_beat(self) -> bool:
        """Whether only a heartbeat can tell that kept batches are final, and somebody waits for that."""
        waited_for = self.flushes > 0 or bool(self._hungry)
        return waited_for and bool(self._kept) and not self._awaited and self.opened and not self.drain_s

    def beat(self) -> None:
        """Has the next message be a heartbeat, if one is wanted."""
        self._beat_due = self.wants_beat

    # What comes

    def receive(self, message: bytes) -> None:
        """Hears one response: the opening's, or the oldest request's. Raises ClientError for what is neither."""
        if not self.opened:
            self._open(parse_response(message).stream)
            return
        if not self._awaited:
            raise ClientError(Code.INTERNAL, "the server sent a response that nothing asked for")
        batch = self._awaited[0]
        sequence = batch.sequence
        if batch.delivered:
            head = self._swallow(batch, message)
        else:
            assert batch.feed is not None  # only a heartbeat has none
            head = batch.feed.deliver(message, batch.count, sequence)
            batch.delivered = self._progressed = True
            batch.rejected = head.rejected
            self._acknowledged = sequence
            self.progress += 1
        self._awaited.popleft()
        if sequence:
            self._answered_here = sequence
            batch.final = batch.final or head.receipt.ack != _PRIMARY
        self._settle(head.committed_through)
        if head.HasField("stream"):
            self._note(head.stream)

    def _swallow(self, batch: _Batch, message: bytes) -> pb.ProcessResponse:
        """Hears a heartbeat's answer, or the second answer to a batch that was only held by a primary."""
        response = parse_response(message)
        check_sequence(response, batch.sequence)
        if len(response.outcomes) != batch.count:
            raise ClientError(
                Code.INTERNAL, f"the server sent {len(response.outcomes)} outcomes for {batch.count} events"
            )
        applied = sum(
            not outcome.HasField("rejection") or outcome.rejection.reason == _ALREADY_APPLIED
            for outcome in response.outcomes
        )
        revoked = batch.count - applied - batch.rejected
        if revoked > 0:
            self.revoked += revoked
            batch.rejected += revoked
        return response

    def _settle(self, committed_through: int) -> None:
        """Lets go of the oldest batches that are final.

        What a server says of batches that it has not answered on this stream is not believed: they were another's.
        """
        kept = self._kept
        committed_through = min(committed_through, self._answered_here)
        while kept and kept[0].delivered and (kept[0].final or kept[0].sequence <= committed_through):
            batch = kept.popleft()
            self._kept_bytes -= len(batch.message)
            self.committed_through = batch.sequence
            self._progressed = True
            self.progress += 1

    def _open(self, info: pb.StreamInfo) -> None:
        """Hears that the stream is open, with a session that is new or the one asked for."""
        if self._settings.replay and not info.deduplicates:
            raise ClientError(
                Code.FAILED_PRECONDITION, "this server does not deduplicate: a replay would apply everything twice"
            )
        if self._number and info.session != self._number:
            raise ClientError(Code.INTERNAL, f"the server opened session {info.session} in place of {self._number}")
        if self.info is not None and _major(info) != _major(self.info):
            raise ClientError(
                Code.FAILED_PRECONDITION,
                f"{self._settings.pipeline} was replaced by version {info.version} while the stream was away",
            )
        if not self._number:
            self.last_sequence = info.last_sequence
            if not self._settings.replay and not self._kept:
                self._acknowledged = self._sequence = max(self._sequence, info.last_sequence)
        if info.deduplicates:
            self._number = info.session
        self._resumes = info.deduplicates or self._settings.resend
        self.opened = True
        self._note(info)

    def _note(self, info: pb.StreamInfo) -> None:
        self.info = info
        settings = self._settings
        events_max = min(settings.batch_events_max, info.max_events or settings.batch_events_max)
        self.limits = BatchLimits(events_max, (info.max_request_bytes or 4 << 20) - HEAD_BYTES_MAX)
        self._window = min(settings.in_flight_max, info.max_in_flight or settings.in_flight_max)
        self._kept_max = min(KEPT_MAX, info.max_in_flight or KEPT_MAX)
        self.drain_s = info.drain_ms / 1000.0

    # Ends

    def broke(self, error: ClientError, now_s: float, jitter: float) -> float | None:
        """Hears how the stream, or the attempt to open one, has ended.

        Returns how long to wait before the next dial, in seconds; None: there is nothing to dial for now, or, if
        `error` is set, ever. jitter: 0 to 1, by chance.
        """
        opened, self.opened = self.opened, False
        if self.error is not None:
            return None
        if self._progressed:
            self._redial.calm()
            self._progressed = False
        if self._lost_session(error, opened):
            return 0.0
        if error.code not in RESUMABLE:
            self.end(self._explained(error, opened))
            return None
        if not self._resumes:
            self._fail_unanswered(error)
        if self.idle:
            self._redial.calm()
            return None
        delay_s = self._redial.delay_s(opened, now_s, jitter)
        if delay_s is None:
            self.end(ClientError(error.code, f"{error.message}; gave up: {self._redial.why}"))
        return delay_s

    def _lost_session(self, error: ClientError, opened: bool) -> bool:
        """Whether the server has forgotten a session in which nothing is in doubt: a new one does as well."""
        lost = error.code == Code.FAILED_PRECONDITION and self._number != 0 and not opened and not self._kept
        if lost:
            self._number = 0
        return lost

    def _explained(self, error: ClientError, opened: bool) -> ClientError:
        """What the end of a session means, and its mend."""
        if not self._number:
            return error
        if error.code == Code.ABORTED:
            self.fenced = True
            return fenced_error(self._settings.producer, error.message)
        if error.code == Code.FAILED_PRECONDITION and not opened:
            return forgotten_error(self._settings.producer, error.message)
        return error

    def _fail_unanswered(self, error: ClientError) -> None:
        """Gives up what was sent to a server that may apply it twice; feeds of which nothing was sent go on."""
        unanswered = [batch for batch in self._kept if not batch.delivered]
        self.revoked += sum(batch.count for batch in self._kept if batch.provisional)
        self._kept.clear()
        self._kept_bytes = 0
        self._fail((), unanswered, error)

    def end(self, error: ClientError) -> None:
        """Ends the session: every feed with something unsent or unanswered fails with its own count."""
        if self.error is not None:
            return
        self.error = error
        self.opened = False
        hungry = tuple(self._hungry)
        self._hungry.clear()
        self._fail(hungry, [batch for batch in self._kept if not batch.delivered], error)

    def _fail(self, hungry: Sequence[Feed], unanswered: Sequence[_Batch], error: ClientError) -> None:
        unknown: dict[int, int] = {}
        feeds: dict[int, Feed] = {}
        for batch in unanswered:
            assert batch.feed is not None  # heartbeats are not kept
            feeds[id(batch.feed)] = batch.feed
            unknown[id(batch.feed)] = unknown.get(id(batch.feed), 0) + batch.count
        for feed in hungry:
            feeds[id(feed)] = feed
        for name, feed in feeds.items():
            self.withdraw(feed)
            feed.fail(ProcessError(error.code, error.message, feed.answered, unknown.get(name, 0)))


def _major(info: pb.StreamInfo) -> str:
    return info.version.partition(".")[0]
