"""A lane: one pipeline on one worker. Bytes of a request in, bytes of the response out; no IO.

The clock is handed in and only measures: neither state nor outcomes depend on it, but for DEADLINE.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.core.agreement import Served, parse_head
from ringmill.core.codec.layout import RESERVED, TOO_MANY
from ringmill.core.errors import Code, Reason, RingmillError
from ringmill.core.memory import Bytes
from ringmill.engine.engine import Engine
from ringmill.v1.processing_pb2 import AckLevel, ProcessRequest, ProcessResponse

Clock = Callable[[], int]
"""Monotonic nanoseconds."""

RESPONSE_BYTES_MAX = 4 << 20
"""What a gRPC client receives by default; a response must stay below it."""

_RESPONSE_HEAD_BYTES = 256
_REJECTION_BYTES = 224
"""Upper bound of an encoded rejection: a detail of 200 bytes and its tags."""

MICROSECOND_NS = 1_000
MILLISECOND_NS = 1_000_000


@dataclass(slots=True)
class Counters:
    """What a lane has done since the process began: plain numbers, read by telemetry when it collects."""

    events: int = 0
    batches: int = 0
    rejected: int = 0
    by_reason: dict[int, int] = field(default_factory=dict)


class Lane:
    """Runs the batches of one pipeline, one after the other."""

    def __init__(self, served: Served, engine: Engine, clock: Clock) -> None:
        self.served = served
        self.engine = engine
        self.counters = Counters()
        self.epoch = 0
        """Version of the view that the worker obeys; goes into receipts."""
        self.observe: Callable[[str, int], None] | None = None
        """Hears (stage, nanoseconds) for each batch, when telemetry is on."""
        self._clock = clock
        self._response = ProcessResponse()
        self._response.receipt.ack = AckLevel.ACK_LEVEL_PRIMARY
        self._response.receipt.copies = 1

    def handle(
        self,
        buffer: Bytes,
        start: int,
        stop: int,
        arrived_ns: int,
        check: Callable[[ProcessRequest, int], Any] | None = None,
    ) -> bytes:
        """Answers the request in buffer[start:stop].

        check: hears the head and the number of events before anything is applied, and may raise.
        Raises RingmillError with what must end the stream; then nothing of the message was applied.
        """
        begun_ns = self._clock()
        engine = self.engine
        count, head_length = engine.decode(buffer, start, stop)
        if count < 0:
            raise self._refusal(count)
        head = parse_head(engine.head[:head_length].tobytes())
        if check is not None:
            check(head, count)
        late = head.timeout_ms and begun_ns - arrived_ns > head.timeout_ms * MILLISECOND_NS
        if late:
            _reject_all(engine.columns.events[:count])
        decoded_ns = self._clock()
        rejected = engine.apply(buffer, count)
        applied_ns = self._clock()
        response = engine.encode(
            count, self._head(head.sequence, rejected, begun_ns - arrived_ns, applied_ns - begun_ns)
        )
        self._count(count, rejected)
        if self.observe is not None:
            self.observe("decode", decoded_ns - begun_ns)
            self.observe("apply", applied_ns - decoded_ns)
            self.observe("encode", self._clock() - applied_ns)
        return response

    def _head(self, sequence: int, rejected: int, queue_ns: int, kernel_ns: int) -> bytes:
        response = self._response
        response.sequence = sequence
        response.rejected = rejected
        receipt = response.receipt
        receipt.epoch = self.epoch
        receipt.queue_us = queue_ns // MICROSECOND_NS
        receipt.kernel_us = kernel_ns // MICROSECOND_NS
        return response.SerializeToString()

    def _count(self, count: int, rejected: int) -> None:
        counters = self.counters
        counters.batches += 1
        counters.events += count
        if rejected:
            counters.rejected += rejected
            reasons = self.engine.columns.events["reason"][:count]
            for reason, number in zip(*np.unique(reasons[reasons != 0], return_counts=True), strict=True):
                counters.by_reason[int(reason)] = counters.by_reason.get(int(reason), 0) + int(number)

    def _refusal(self, error: int) -> RingmillError:
        if error == TOO_MANY:
            return RingmillError(
                Code.RESOURCE_EXHAUSTED, f"too many events in one request; max_events is {self.served.events_max}"
            )
        if error == RESERVED:
            return RingmillError(Code.INVALID_ARGUMENT, "fields 100 to 127 of a request are reserved")
        return RingmillError(Code.INVALID_ARGUMENT, "the request does not parse")


def _reject_all(events: npt.NDArray[Any]) -> None:
    reasons = events["reason"]
    reasons[reasons == Reason.NONE] = Reason.DEADLINE


def events_max(outcome_bytes: int, asked: int) -> int:
    """Events a request may hold, so that a response of that many outcomes stays under 4 MiB."""
    largest = max(outcome_bytes, _REJECTION_BYTES)
    return max(1, min(asked, (RESPONSE_BYTES_MAX - _RESPONSE_HEAD_BYTES) // largest))
