"""The parts of a response that the balancer itself writes: refusals, merged figures, and the time that routing took.

All are encoded by the official library, and joined with what the workers wrote as bytes: Protobuf merges messages that
stand one after the other.
"""

from collections.abc import Iterable
from functools import lru_cache

from google.protobuf.message import DecodeError

from ringmill.core.errors import Code, Reason, RingmillError
from ringmill.core.frame import varint
from ringmill.v1.processing_pb2 import Outcome, ProcessResponse, Receipt, Rejection

MILLISECOND_NS = 1_000_000

RETRY_AFTER_MS = 500
"""Advice with a refusal: a worker that died is restarted and compiled from its cache in about this time."""

_OUTCOMES = ProcessResponse.DESCRIPTOR.fields_by_name["outcomes"].number
_DELIMITED = 2
_COMMITTED_THROUGH = varint(ProcessResponse.DESCRIPTOR.fields_by_name["committed_through"].number << 3)


def refusal(reason: Reason, detail: str) -> bytes:
    """An encoded Outcome that says why an event was not applied."""
    name = f"REJECTION_REASON_{reason.name}"
    rejection = Rejection(reason=name, detail=detail, retry_after_ms=RETRY_AFTER_MS)
    return Outcome(rejection=rejection).SerializeToString()


UNAVAILABLE = refusal(Reason.UNAVAILABLE, "the worker of this key is away and was not given the event")
DEADLINE = refusal(Reason.DEADLINE, "timeout_ms passed before a worker was given the event")


def all_refused(outcome: bytes, count: int) -> bytes:
    """Encoded outcomes and their number: what a worker would have answered, had it refused all of a part's events."""
    field = varint(_OUTCOMES << 3 | _DELIMITED) + varint(len(outcome)) + outcome
    return field * count + ProcessResponse(rejected=count).SerializeToString()


def empty(sequence: int, epoch: int) -> bytes:
    """The response to a request without events."""
    return ProcessResponse(sequence=sequence, receipt=Receipt(epoch=epoch)).SerializeToString()


def merged(heads: Iterable[bytes], refused: int, sequence: int, epoch: int) -> bytes:
    """The response to a split request, less its outcomes: of each figure the worst that any part has.

    Raises INTERNAL for an answer that does not parse: only its top level was looked at when it was split.
    """
    try:
        parts = [ProcessResponse.FromString(head) for head in heads]
    except DecodeError as error:
        raise RingmillError(Code.INTERNAL, f"a worker's answer does not parse: {error}") from None
    response = ProcessResponse(sequence=sequence, rejected=refused + sum(part.rejected for part in parts))
    receipts = [part.receipt for part in parts if part.HasField("receipt")]
    receipt = response.receipt
    receipt.epoch = min((each.epoch for each in receipts), default=epoch)
    if receipts:
        receipt.ack = min(each.ack for each in receipts)
        receipt.copies = min(each.copies for each in receipts)
        receipt.queue_us = max(each.queue_us for each in receipts)
        receipt.kernel_us = max(each.kernel_us for each in receipts)
        receipt.replicate_us = max(each.replicate_us for each in receipts)
        receipt.replayed = any(each.replayed for each in receipts)
        receipt.forwarded = sum(each.forwarded for each in receipts)
    return response.SerializeToString()


@lru_cache(8192)
def routed(route_us: int) -> bytes:
    """Appended to a response, sets `receipt.route_us` and leaves all else as it is."""
    return ProcessResponse(receipt=Receipt(route_us=route_us)).SerializeToString()


def committed_through(sequence: int) -> bytes:
    """Appended to a response, sets `committed_through`."""
    return _COMMITTED_THROUGH + varint(sequence)
