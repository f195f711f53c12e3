"""Decodes the events of a request into columns, straight from the message's bytes, and checks them against the rules.

Structure that the official library refuses refuses the whole message; an event that breaks a pipeline's rules gets a
reason and the rest of the batch goes on. Where several rules are broken, the reason is the first of: key, values,
labels, integers, time. Fields that a pipeline does not use are checked and counted, and not stored. As everywhere in
Protobuf, the last of a repeated single field counts, and runs of a repeated field add up.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.codec.fields import COUNT_AND_LENGTH
from ringmill.core.codec.layout import (
    KEY_BYTES_MAX,
    LABEL_BYTES_MAX,
    MALFORMED,
    RESERVED,
    RESERVED_FIRST,
    RESERVED_LAST,
    TIME_US_MAX,
    TOO_MANY,
    EventLayout,
    FieldRules,
    Role,
)
from ringmill.core.columns import EVENT, LABEL
from ringmill.core.errors import Reason
from ringmill.core.hashing import reciprocal_of, remainder, xxh64_range
from ringmill.core.jit import kernel
from ringmill.core.memory import MESSAGE, SCRATCH, Bytes, float_of_bits, load64
from ringmill.core.utf8 import is_utf8
from ringmill.core.wire import DELIMITED, DEPTH_MAX, append, check_span, read_length, read_tag, skip_field

Decode = Callable[
    [Bytes, int, int, int, Bytes, npt.NDArray[Any], npt.NDArray[np.float64], npt.NDArray[Any], npt.NDArray[np.int64]],
    tuple[int, int],
]

EVENTS = types.Array(numba.from_dtype(EVENT), 1, "C")
LABELS = types.Array(numba.from_dtype(LABEL), 2, "C")
VALUES = types.Array(types.float64, 2, "C")
INTEGERS = types.Array(types.int64, 2, "C")
DECODE = COUNT_AND_LENGTH(MESSAGE, types.int64, types.int64, types.int64, SCRATCH, EVENTS, VALUES, LABELS, INTEGERS)
"""Signature of `decode`."""

_KEY_INVALID = int(Reason.KEY_INVALID)
_VALUES_INVALID = int(Reason.VALUES_INVALID)
_LABELS_INVALID = int(Reason.LABELS_INVALID)
_INTEGERS_INVALID = int(Reason.INTEGERS_INVALID)
_TIME_INVALID = int(Reason.TIME_INVALID)

_EXPONENT = np.uint64(0x7FF0000000000000)
_MANTISSA = np.uint64(0x000FFFFFFFFFFFFF)


@kernel(inline=True, allocates=False)
def _store_values(
    values: npt.NDArray[np.float64],
    row: int,
    stored: int,
    nullable: npt.NDArray[np.bool_],
    buffer: Bytes,
    position: int,
    stop: int,
) -> int:
    """Stores the doubles of buffer[position:stop] after the first `stored` and returns how many there are then.

    Too many, or one that may not stand there, gives one more than there are columns, and stays so.
    """
    columns: int = values.shape[1]
    count = stored + ((stop - position) >> 3)
    if count > columns:
        return columns + 1
    for column in range(stored, count):
        word = load64(buffer, position)
        position += 8
        value = float_of_bits(word)
        if word & _EXPONENT == _EXPONENT:
            if word & _MANTISSA == np.uint64(0) or not nullable[column]:
                return columns + 1
            value = np.nan
        values[row, column] = value
    return count


@kernel(inline=True, allocates=False)
def _store_integers(
    integers: npt.NDArray[np.int64],
    row: int,
    stored: int,
    bools: npt.NDArray[np.bool_],
    buffer: Bytes,
    position: int,
    stop: int,
) -> int:
    """Like `_store_values`, for sfixed64."""
    columns: int = integers.shape[1]
    count = stored + ((stop - position) >> 3)
    if count > columns:
        return columns + 1
    for column in range(stored, count):
        word = load64(buffer, position)
        position += 8
        if bools[column] and word > np.uint64(1):
            return columns + 1
        integers[row, column] = np.int64(word)
    return count


@kernel(inline=True, allocates=False)
def _store_label(labels: npt.NDArray[Any], row: int, stored: int, buffer: Bytes, position: int, stop: int) -> int:
    """Like `_store_values`, for the one label buffer[position:stop]."""
    columns: int = labels.shape[1]
    if stored >= columns or stop - position > LABEL_BYTES_MAX:
        return columns + 1
    label = labels[row, stored]
    label.hash = xxh64_range(buffer, position, stop) if stop > position else np.uint64(0)
    label.start = np.uint32(position)
    label.length = np.uint32(stop - position)
    return stored + 1


@kernel(inline=True, allocates=False)
def _clear_label(labels: npt.NDArray[Any], row: int, column: int) -> None:
    label = labels[row, column]
    label.hash = np.uint64(0)
    label.start = np.uint32(0)
    label.length = np.uint32(0)


def build_decoder(layout: EventLayout, rules: FieldRules, folder: Path | None = None) -> Decode:
    """Makes `decode(buffer, start, stop, partitions, head, events, values, labels, integers) -> (count, head length)`.

    buffer[start:stop] is the message; head is scratch of at least its length and receives all that is not an event.
    events is EVENT[n]; values, labels and integers are [n, rules.values], LABEL[n, rules.labels] and
    [n, rules.integers]. Rows of an event with a reason hold nothing to rely on but key, hash and partition. NaN is
    stored as NumPy's one quiet NaN. Count is MALFORMED, TOO_MANY (more than n events) or RESERVED on failure.
    Raises ValueError where start and stop are not in the buffer, or head is too small.
    """
    events_tag = layout.events_number << 3 | DELIMITED
    key_tag, time_tag = layout.arm(Role.KEY).delimited_tag, layout.arm(Role.TIME).fixed_tag
    values_tag, values_run = layout.arm(Role.VALUES).fixed_tag, layout.arm(Role.VALUES).delimited_tag
    labels_tag = layout.arm(Role.LABELS).delimited_tag
    integers_tag, integers_run = layout.arm(Role.INTEGERS).fixed_tag, layout.arm(Role.INTEGERS).delimited_tag
    values_max, values_required = rules.values, rules.values_required
    labels_max, labels_required = rules.labels, rules.labels_required
    integers_max, integers_required = rules.integers, rules.integers_required
    value_defaults = np.array(rules.value_defaults, np.float64)
    nullable = np.array(rules.nullable, np.bool_)
    integer_defaults = np.array(rules.integer_defaults, np.int64)
    bools = np.array(rules.bools, np.bool_)
    time_us_min = 1 if rules.uses_time else 0

    @kernel(allocates=False, folder=folder)
    def decode(
        buffer: Bytes,
        start: int,
        stop: int,
        partitions: int,
        head: Bytes,
        events: npt.NDArray[Any],
        values: npt.NDArray[np.float64],
        labels: npt.NDArray[Any],
        integers: npt.NDArray[np.int64],
    ) -> tuple[int, int]:
        check_span(buffer, start, stop, head)
        if values.shape[1] != values_max or labels.shape[1] != labels_max or integers.shape[1] != integers_max:
            raise ValueError("the columns have not the shape that the decoder was built for")
        reciprocal = reciprocal_of(partitions)
        count = 0
        head_length = 0
        reserved = False
        position = start
        while position < stop:
            field_start = position
            tag, position = read_tag(buffer, position, stop)
            if position < 0:
                return MALFORMED, 0
            if tag != events_tag:
                position = skip_field(buffer, position, stop, tag, DEPTH_MAX)
                if position < 0:
                    return MALFORMED, 0
                head_length = append(head, head_length, buffer, field_start, position)
                reserved |= RESERVED_FIRST <= tag >> 3 <= RESERVED_LAST
                continue
            cursor, position = read_length(buffer, position, stop)
            if position < 0:
                return MALFORMED, 0
            if count == events.size:
                return TOO_MANY, 0

            key_start = cursor
            key_stop = cursor
            time_us = np.int64(0)
            values_count = 0
            labels_count = 0
            integers_count = 0
            while cursor < position:
                tag, cursor = read_tag(buffer, cursor, position)
                if cursor < 0:
                    return MALFORMED, 0
                if tag == key_tag:
                    key_start, cursor = read_length(buffer, cursor, position)
                    key_stop = cursor
                    if cursor < 0 or not is_utf8(buffer, key_start, cursor):
                        return MALFORMED, 0
                elif tag == time_tag:
                    if position - cursor < 8:
                        return MALFORMED, 0
                    time_us = np.int64(load64(buffer, cursor))
                    cursor += 8
                elif tag == values_run:
                    run, cursor = read_length(buffer, cursor, position)
                    if cursor < 0 or (cursor - run) & 7 != 0:
                        return MALFORMED, 0
                    values_count = _store_values(values, count, values_count, nullable, buffer, run, cursor)
                elif tag == values_tag:
                    run = cursor
                    cursor += 8
                    if cursor > position:
                        return MALFORMED, 0
                    values_count = _store_values(values, count, values_count, nullable, buffer, run, cursor)
                elif tag == labels_tag:
                    run, cursor = read_length(buffer, cursor, position)
                    if cursor < 0 or not is_utf8(buffer, run, cursor):
                        return MALFORMED, 0
                    labels_count = _store_label(labels, count, labels_count, buffer, run, cursor)
                elif tag == integers_run:
                    run, cursor = read_length(buffer, cursor, position)
                    if cursor < 0 or (cursor - run) & 7 != 0:
                        return MALFORMED, 0
                    integers_count = _store_integers(integers, count, integers_count, bools, buffer, run, cursor)
                elif tag == integers_tag:
                    run = cursor
                    cursor += 8
                    if cursor > position:
                        return MALFORMED, 0
                    integers_count = _store_integers(integers, count, integers_count, bools, buffer, run, cursor)
                else:
                    cursor = skip_field(buffer, cursor, position, tag, DEPTH_MAX - 1)
                    if cursor < 0:
                        return MALFORMED, 0

            reason = 0
            if key_stop == key_start or key_stop - key_start > KEY_BYTES_MAX:
                reason = _KEY_INVALID
            elif values_count < values_required or values_count > values_max:
                reason = _VALUES_INVALID
            elif labels_count < labels_required or labels_count > labels_max:
                reason = _LABELS_INVALID
            elif integers_count < integers_required or integers_count > integers_max:
                reason = _INTEGERS_INVALID
            elif time_us < time_us_min or time_us > TIME_US_MAX:
                reason = _TIME_INVALID
            for column in range(values_count, values_max):
                values[count, column] = value_defaults[column]
            for column in range(labels_count, labels_max):
                _clear_label(labels, count, column)
            for column in range(integers_count, integers_max):
                integers[count, column] = integer_defaults[column]
            key_hash = xxh64_range(buffer, key_start, key_stop)
            event = events[count]
            event.hash = key_hash
            event.time_us = time_us
            event.key_start = np.uint32(key_start)
            event.key_length = np.uint32(key_stop - key_start)
            event.partition = np.uint32(remainder(key_hash, partitions, reciprocal))
            event.reason = np.uint32(reason)
            count += 1
        if reserved:
            return RESERVED, 0
        return count, head_length

    return decode
