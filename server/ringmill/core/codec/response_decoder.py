"""The bytes of a `ProcessResponse` as columns of outcomes: what a client reads, without an object for each event.

It accepts every encoding that the official library accepts: fields in any order, unknown fields, numbers packed,
unpacked or split. Emissions inside an outcome are skipped without a look; who wants them parses that outcome's range.
Field numbers come from the message's descriptor.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.codec.layout import MALFORMED, TOO_MANY
from ringmill.core.jit import kernel
from ringmill.core.memory import MESSAGE, SCRATCH, Bytes, float_of_bits, load64
from ringmill.core.utf8 import is_utf8
from ringmill.core.wire import (
    DELIMITED,
    DEPTH_MAX,
    FIXED64,
    VARINT,
    append,
    read_length,
    read_tag,
    read_varint,
    skip_field,
)
from ringmill.v1.processing_pb2 import Outcome, ProcessResponse, Rejection

UNKNOWN_REASON = 255
"""Stands in `reasons` for a rejection without a reason, or with one of a later version."""

_OUTCOMES_TAG = ProcessResponse.DESCRIPTOR.fields_by_name["outcomes"].number << 3 | DELIMITED
_VALUES_NUMBER = Outcome.DESCRIPTOR.fields_by_name["values"].number
_INTEGERS_NUMBER = Outcome.DESCRIPTOR.fields_by_name["integers"].number
_LABELS_TAG = Outcome.DESCRIPTOR.fields_by_name["labels"].number << 3 | DELIMITED
_REJECTION_TAG = Outcome.DESCRIPTOR.fields_by_name["rejection"].number << 3 | DELIMITED
_REASON_TAG = Rejection.DESCRIPTOR.fields_by_name["reason"].number << 3 | VARINT
_DETAIL_TAG = Rejection.DESCRIPTOR.fields_by_name["detail"].number << 3 | DELIMITED
_VALUES_PACKED, _VALUES_SINGLE = _VALUES_NUMBER << 3 | DELIMITED, _VALUES_NUMBER << 3 | FIXED64
_INTEGERS_PACKED, _INTEGERS_SINGLE = _INTEGERS_NUMBER << 3 | DELIMITED, _INTEGERS_NUMBER << 3 | FIXED64

DECODE_OUTCOMES = types.UniTuple(types.int64, 2)(
    MESSAGE,
    types.Array(types.float64, 2, "C"),
    types.Array(types.int64, 2, "C"),
    types.Array(types.int64, 3, "C"),
    types.Array(types.uint8, 1, "C"),
    types.Array(types.int64, 2, "C"),
    SCRATCH,
)
"""Signature of `decode_outcomes`."""


@kernel(allocates=False)
def _read_rejection(buffer: Bytes, start: int, stop: int, reason: int) -> int:
    """The reason of a rejection, as `reasons` holds it; MALFORMED when it does not parse.

    reason: what an earlier occurrence of the field gave, 0 if there is none. A field sent twice is merged: a reason in
    the later one counts, be it unknown, and otherwise the earlier one stays.
    """
    position = start
    while position < stop:
        tag, position = read_tag(buffer, position, stop)
        if position < 0:
            return MALFORMED
        if tag == _REASON_TAG:
            word, position = read_varint(buffer, position, stop)
            number: Any = np.int64(word & np.uint64(0xFFFFFFFF))  # an enum is cut to 32 bits
            reason = number if 0 < number < UNKNOWN_REASON else UNKNOWN_REASON
        elif tag == _DETAIL_TAG:
            text, position = read_length(buffer, position, stop)
            if position >= 0 and not is_utf8(buffer, text, position):
                return MALFORMED
        else:
            position = skip_field(buffer, position, stop, tag, DEPTH_MAX - 2)
        if position < 0:
            return MALFORMED
    return reason if reason != 0 else UNKNOWN_REASON


@kernel(inline=True)
def _read_outcome(
    buffer: Bytes,
    start: int,
    stop: int,
    row: int,
    values: npt.NDArray[Any],
    integers: npt.NDArray[Any],
    labels: npt.NDArray[Any],
) -> int:
    """Fills one row; the reason of a rejected event, 0 of an applied one, or MALFORMED."""
    values_seen = 0
    integers_seen = 0
    labels_seen = 0
    reason = 0
    position = start
    while position < stop:
        tag, position = read_tag(buffer, position, stop)
        if position < 0:
            return MALFORMED
        if tag in (_VALUES_PACKED, _INTEGERS_PACKED):
            run, position = read_length(buffer, position, stop)
            if position < 0 or (position - run) % 8:
                return MALFORMED
            for at in range(run, position, 8):
                if tag == _VALUES_PACKED:
                    if values_seen < values.shape[1]:
                        values[row, values_seen] = float_of_bits(load64(buffer, at))
                    values_seen += 1
                else:
                    if integers_seen < integers.shape[1]:
                        integers[row, integers_seen] = np.int64(load64(buffer, at))
                    integers_seen += 1
        elif tag in (_VALUES_SINGLE, _INTEGERS_SINGLE):
            if stop - position < 8:
                return MALFORMED
            if tag == _VALUES_SINGLE:
                if values_seen < values.shape[1]:
                    values[row, values_seen] = float_of_bits(load64(buffer, position))
                values_seen += 1
            else:
                if integers_seen < integers.shape[1]:
                    integers[row, integers_seen] = np.int64(load64(buffer, position))
                integers_seen += 1
            position += 8
        elif tag == _LABELS_TAG:
            text, position = read_length(buffer, position, stop)
            if position < 0 or not is_utf8(buffer, text, position):
                return MALFORMED
            if labels_seen < labels.shape[1]:
                labels[row, labels_seen, 0] = text
                labels[row, labels_seen, 1] = position
            labels_seen += 1
        elif tag == _REJECTION_TAG:
            payload, position = read_length(buffer, position, stop)
            if position < 0:
                return MALFORMED
            reason = _read_rejection(buffer, payload, position, reason)
            if reason < 0:
                return MALFORMED
        else:
            position = skip_field(buffer, position, stop, tag, DEPTH_MAX - 1)
            if position < 0:
                return MALFORMED
    return reason


@kernel(allocates=False)
def decode_outcomes(
    buffer: Bytes,
    values: npt.NDArray[Any],
    integers: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    reasons: npt.NDArray[np.uint8],
    ranges: npt.NDArray[Any],
    head: Bytes,
) -> tuple[int, int]:
    """Reads one response into the first rows of arrays for n events; entries that a row lacks keep what they held.

    values: float64[n, k]; integers: int64[n, m]; labels: int64[n, l, 2], start and stop in `buffer`; what an outcome
    holds beyond k, m and l belongs to outputs of a later version and is passed over.
    reasons: uint8[n], RejectionReason, 0 for an applied event; ranges: int64[n, 2], where each outcome stands in
    `buffer`; head: scratch as large as the message, receives all other fields, which the official library parses.
    Returns (outcomes, length of head); outcomes is MALFORMED, or TOO_MANY when there are more than n.
    """
    stop = buffer.size
    count = 0
    head_length = 0
    position = 0
    while position < stop:
        field = position
        tag, position = read_tag(buffer, position, stop)
        if position < 0:
            return MALFORMED, 0
        if tag == _OUTCOMES_TAG:
            payload, position = read_length(buffer, position, stop)
            if position < 0:
                return MALFORMED, 0
            if count == reasons.size:
                return TOO_MANY, 0
            reason = _read_outcome(buffer, payload, position, count, values, integers, labels)
            if reason < 0:
                return MALFORMED, 0
            reasons[count] = reason
            ranges[count, 0] = payload
            ranges[count, 1] = position
            count += 1
        else:
            position = skip_field(buffer, position, stop, tag, DEPTH_MAX)
            if position < 0:
                return MALFORMED, 0
            head_length = append(head, head_length, buffer, field, position)
            if head_length < 0:
                return MALFORMED, 0
    return count, head_length
