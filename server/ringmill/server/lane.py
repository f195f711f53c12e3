"""A lane: one pipeline on one worker. Bytes of a request in, bytes of the response out; no IO.

The clock is handed in and only measures: neither state nor outcomes depend on it, but for DEADLINE.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ringmill.core.agreement import Served, parse_head
from ringmill.core.codec.layout import RESERVED, TOO_MANY
from ringmill.core.errors import Code, Reason, RingmillError
from ringmill.core.memory import Bytes
from ringmill.engine.engine import Engine
from ringmill.telemetry import PROCESS, Counts, Stage, Telemetry
from ringmill.v1.processing_pb2 import AckLevel, ProcessRequest, ProcessResponse

Clock = Callable[[], int]
"""Monotonic nanoseconds."""

Check = Callable[[ProcessRequest, int], bool | None]
"""Hears the head of a request and the number of its events before anything is applied, and may raise. Returns whether
the response is to hold what windows emitted."""

MICROSECOND_NS = 1_000
MILLISECOND_NS = 1_000_000
UINT32_MAX = 2**32 - 1

_RESPONSE_BYTES_MAX = 4 << 20
_RESPONSE_HEAD_BYTES = 256
_REJECTION_BYTES = 224
"""Upper bound of an encoded rejection: a detail of 200 bytes and its tags."""


def events_max(outcome_bytes: int, asked: int) -> int:
    """Events a request may hold, so that its response stays below what a gRPC client receives by default, 4 MiB.

    outcome_bytes: upper bound of one applied event's encoded outcome.
    """
    largest = max(outcome_bytes, _REJECTION_BYTES)
    return max(1, min(asked, (_RESPONSE_BYTES_MAX - _RESPONSE_HEAD_BYTES) // largest))


class Times(NamedTuple):
    """When a batch came to each stage, by the lane's clock."""

    arrived_ns: int
    begun_ns: int
    decoded_ns: int
    applied_ns: int


class Lane:
    """Runs the batches of one pipeline, one after the other."""

    def __init__(self, served: Served, engine: Engine, clock: Clock, telemetry: Telemetry) -> None:
        self.served = served
        self.engine = engine
        self.counts = Counts()
        self.epoch = 0
        """Version of the view that the worker obeys; goes into receipts."""
        self.clock = clock
        self.telemetry = telemetry
        self._stages = telemetry.stages(served.name)
        self._response = ProcessResponse()
        self._response.receipt.ack = AckLevel.ACK_LEVEL_ALL  # of all copies, as far as it knows: the one here
        self._response.receipt.copies = 1

    def handle(
        self, buffer: Bytes, start: int, stop: int, arrived_ns: int, check: Check | None = None, traceparent: str = ""
    ) -> bytes:
        """Answers the request in buffer[start:stop].

        arrived_ns: when it reached this worker, by the lane's clock. traceparent: W3C trace context of a request that
        has none of its own.
        Raises RingmillError with what must end the stream; then nothing of the message was applied.
        """
        begun_ns = self.clock()
        head, count = self.decode(buffer, start, stop)
        emissions = check is not None and bool(check(head, count))
        context = head.traceparent or traceparent
        if context and self.telemetry.enabled:
            with self.telemetry.span(PROCESS, self.served.name, context) as span:
                response, rejected = self._process(buffer, head, count, arrived_ns, begun_ns, emissions)
                span.end(count, rejected)
            return response
        return self._process(buffer, head, count, arrived_ns, begun_ns, emissions)[0]

    def decode(self, buffer: Bytes, start: int, stop: int) -> tuple[ProcessRequest, int]:
        """Fills the engine's columns: all of the request but its events, and their number.

        Raises RingmillError for what no server would take.
        """
        count, head_length = self.engine.decode(buffer, start, stop)
        if count < 0:
            raise self._refusal(count)
        return parse_head(self.engine.head[:head_length].tobytes()), count

    def _process(
        self, buffer: Bytes, head: ProcessRequest, count: int, arrived_ns: int, begun_ns: int, emissions: bool
    ) -> tuple[bytes, int]:
        """Applies what was decoded and encodes the response: (response, number rejected)."""
        waited_ns = begun_ns - arrived_ns
        if head.timeout_ms and waited_ns > head.timeout_ms * MILLISECOND_NS:
            _reject_all(self.engine.columns.events[:count])
        decoded_ns = self.clock()
        rejected = self.engine.apply(buffer, count)
        applied_ns = self.clock()
        response = self.respond(head.sequence, count, rejected, waited_ns, applied_ns - begun_ns, emissions)
        self.account(count, rejected, Times(arrived_ns, begun_ns, decoded_ns, applied_ns))
        return response, rejected

    def respond(
        self, sequence: int, count: int, rejected: int, waited_ns: int, kernel_ns: int, emissions: bool = False
    ) -> bytes:
        """Encodes the response to what was applied. emissions: with what windows emitted."""
        response = self._response
        response.sequence = sequence
        response.rejected = rejected
        receipt = response.receipt
        receipt.epoch = self.epoch
        receipt.queue_us = min(waited_ns // MICROSECOND_NS, UINT32_MAX)
        receipt.kernel_us = min(kernel_ns // MICROSECOND_NS, UINT32_MAX)
        return self.engine.encode(count, response.SerializeToString(), emissions)

    def account(self, count: int, rejected: int, times: Times) -> None:
        """Counts a batch that was answered, and measures it."""
        self._count(count, rejected)
        if self.telemetry.enabled:
            self._measure(times)

    def _count(self, count: int, rejected: int) -> None:
        counts = self.counts
        counts.batches += 1
        counts.events += count
        if rejected:
            by_reason = np.bincount(self.engine.columns.events["reason"][:count], minlength=len(counts.rejected))
            for reason in np.flatnonzero(by_reason[1:]) + 1:
                counts.rejected[reason] += int(by_reason[reason])

    def _measure(self, times: Times) -> None:
        done_ns = self.clock()
        record = self._stages.record
        record(Stage.QUEUE, times.begun_ns - times.arrived_ns)
        record(Stage.DECODE, times.decoded_ns - times.begun_ns)
        record(Stage.APPLY, times.applied_ns - times.decoded_ns)
        record(Stage.ENCODE, done_ns - times.applied_ns)
        record(Stage.TOTAL, done_ns - times.arrived_ns)

    def _refusal(self, error: int) -> RingmillError:
        if error == TOO_MANY:
            return RingmillError(
                Code.RESOURCE_EXHAUSTED, f"too many events in one request; max_events is {self.served.events_max}"
            )
        if error == RESERVED:
            return RingmillError(Code.INVALID_ARGUMENT, "fields 100 to 127 of a request are reserved")
        return RingmillError(Code.INVALID_ARGUMENT, "the request does not parse")


def _reject_all(events: npt.NDArray[Any]) -> None:
    """Rejects what nothing else rejected, because its time ran out before it was begun."""
    reasons = events["reason"]
    reasons[reasons == Reason.NONE] = Reason.DEADLINE
