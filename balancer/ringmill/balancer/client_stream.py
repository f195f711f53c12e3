"""What the router keeps of one client's stream."""

from collections import deque

from ringmill.balancer.batch import Batch
from ringmill.core.agreement import Agreement, Metadata, StreamLimits, first_of
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


class ClientStream:
    """One client's stream."""

    __slots__ = (
        "agreement",
        "batches",
        "blocks",
        "bytes",
        "clogged",
        "ending",
        "figures",
        "head",
        "head_bytes",
        "id",
        "paused",
        "traceparent",
    )

    def __init__(self, stream: int, limits: StreamLimits, figures: Figures, metadata: Metadata) -> None:
        self.id = stream
        self.figures = figures
        self.traceparent = first_of(metadata, "traceparent")
        self.agreement = Agreement(limits, metadata)
        self.batches: deque[Batch] = deque()
        self.bytes = 0
        self.blocks = 0
        """Links that it must wait for before it is read again."""
        self.clogged = False
        """Whether its client does not read."""
        self.ending = False
        self.paused = False
        self.head_bytes = b""
        self.head = NO_HEAD
        """The last head, parsed: often the next one is the same."""

    def held_back(self, limits: StreamLimits, share_bytes: int) -> bool:
        """Whether it is not to be read now: by its client, by a link, by its own limits or by its share of them all."""
        return (
            self.ending
            or self.clogged
            or self.blocks > 0
            or len(self.batches) > limits.requests_in_flight_max
            or self.bytes > min(limits.bytes_in_flight_max, share_bytes)
        )
