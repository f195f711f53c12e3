"""What the router keeps of one client's stream."""

from collections import deque

from ringmill.balancer.batch import Batch
from ringmill.balancer.routing import Mask
from ringmill.balancer.sessions import Identity, Producer
from ringmill.core.agreement import Agreement, Metadata, StreamLimits, first_of
from ringmill.core.errors import Code, RingmillError
from ringmill.telemetry.counts import Counts, Stage, StageTimes
from ringmill.v1.processing_pb2 import ProcessRequest


class Figures:
    """What is measured of one pipeline."""

    __slots__ = ("counts", "times")

    def __init__(self, times: StageTimes | None = None) -> None:
        self.counts = Counts()
        self.times = times

    def answered(self, batch: Batch, now_ns: int) -> None:
        """Counts a batch whose response leaves now."""
        counts = self.counts
        counts.in_flight -= 1
        counts.batches += 1
        counts.events += batch.count
        if self.times is not None:
            queued_ns = batch.handed_ns - batch.arrived_ns
            self.times.record(Stage.QUEUE, queued_ns)
            self.times.record(Stage.ROUTE, queued_ns + now_ns - batch.answered_ns)
            self.times.record(Stage.TOTAL, now_ns - batch.arrived_ns)
            batch.span.end(batch.count, batch.refused)


NO_HEAD = ProcessRequest()
NO_FIGURES = Figures()
"""Of streams that have not said which pipeline they want."""

Held = bytes | tuple[Code, str]
"""What a stream has said before it was open: a request, or its end."""


class ClientStream:
    """One client's stream."""

    __slots__ = (
        "agreement",
        "batches",
        "blocks",
        "brief",
        "bytes",
        "clogged",
        "ending",
        "figures",
        "head",
        "head_bytes",
        "held",
        "id",
        "identity",
        "numbers_from",
        "paused",
        "producer",
        "sequence",
        "traceparent",
        "uncommitted",
    )

    def __init__(
        self, stream: int, limits: StreamLimits, figures: Figures, metadata: Metadata, brief: bool = False
    ) -> None:
        self.id = stream
        self.figures = figures
        self.traceparent = first_of(metadata, "traceparent")
        self.agreement = Agreement(limits, metadata)
        self.brief = brief
        """Whether it is a call of one request."""
        self.identity: Identity | None = None
        """Who it is to the workers; None before its first message."""
        self.producer: Producer | None = None
        self.numbers_from = 0
        """Batches of its identity up to this number were another stream's."""
        self.held: deque[Held] | None = None
        """What waits for the stream to be open; None: nothing needs to."""
        self.batches: deque[Batch] = deque()
        self.uncommitted: deque[Batch] = deque()
        """Batches that were answered before all replicas held them."""
        self.sequence = 0
        """The client's number of the last batch answered."""
        self.bytes = 0
        """Size of the requests that are kept."""
        self.blocks = 0
        """Links that it must wait for before it is read again."""
        self.clogged = False
        """Whether its client does not read."""
        self.ending = False
        self.paused = False
        self.head_bytes = b""
        self.head = NO_HEAD
        """The last head, parsed: often the next one is the same."""

    def number(self, identity: Identity, head: ProcessRequest, count: int) -> int:
        """The number by which workers know its next batch, of `count` events.

        Raises INVALID_ARGUMENT for a producer's sequence that does not increase.
        """
        producer = self.producer
        if producer is None:
            if count:
                identity.number += 1
            return identity.number
        identity.acknowledged = max(identity.acknowledged, head.acknowledged)
        if not count:
            return identity.number
        if head.sequence <= identity.number:
            raise RingmillError(
                Code.INVALID_ARGUMENT,
                f"sequence {head.sequence} follows {identity.number}: the sequences of a producer's stream begin above "
                "0 and increase",
            )
        identity.number = head.sequence
        return identity.number

    def may_have_touched(self, partitions: Mask) -> bool:
        """Whether it, or an older stream of its session, may have handed over something for one of these partitions."""
        identity, producer = self.identity, self.producer
        if identity is None or self.held is not None:  # if its session is lost, the workers say so
            return False
        resumed = producer is not None and producer.session != identity.fence
        return resumed or bool((identity.last[partitions] > self.numbers_from).any())

    @property
    def committed_through(self) -> int:
        """The client's number up to which all batches are held by all replicas."""
        return self.uncommitted[0].committed_before if self.uncommitted else self.sequence

    def answered(self, batch: Batch) -> None:
        """Notes that the response of its oldest batch leaves now."""
        if batch.uncommitted:
            batch.committed_before = self.sequence
            self.uncommitted.append(batch)
        else:
            self._let_go(batch)
        if batch.sequence:
            self.sequence = batch.sequence

    def committed(self) -> None:
        """Notes that a batch may be committed by now."""
        while self.uncommitted and not self.uncommitted[0].uncommitted:
            self._let_go(self.uncommitted.popleft())

    def _let_go(self, batch: Batch) -> None:
        self.bytes -= batch.request_bytes
        batch.parts.clear()  # they refer to it: a cycle would keep the response until the next collection

    def held_back(self, limits: StreamLimits, share_bytes: int) -> bool:
        """Whether it is not to be read now: by its client, by a link, by its own limits or by its share of them all."""
        kept = len(self.batches) + len(self.uncommitted)
        if self.held is not None:
            kept += len(self.held)
        return (
            self.ending
            or self.clogged
            or self.blocks > 0
            or kept > limits.requests_in_flight_max
            or self.bytes > min(limits.bytes_in_flight_max, share_bytes)
        )
