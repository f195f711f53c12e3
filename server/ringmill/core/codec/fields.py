"""Splits the occurrences of one top-level field from the rest of a message: for link frames and for responses."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.codec.layout import MALFORMED, TOO_MANY
from ringmill.core.columns import RANGE
from ringmill.core.jit import kernel
from ringmill.core.memory import MESSAGE, SCRATCH, Bytes
from ringmill.core.wire import DELIMITED, DEPTH_MAX, append, check_span, read_length, read_tag, skip_field

RANGES = types.Array(numba.from_dtype(RANGE), 1, "C")
COUNT_AND_LENGTH = types.UniTuple(types.int64, 2)
SPLIT_FIELDS = COUNT_AND_LENGTH(MESSAGE, types.int64, types.int64, types.int64, RANGES, SCRATCH)
"""Signature of `split_fields`."""


@kernel(allocates=False)
def split_fields(
    buffer: Bytes, start: int, stop: int, number: int, ranges: npt.NDArray[Any], rest: Bytes
) -> tuple[int, int]:
    """Notes the payload of each delimited field `number` of the message buffer[start:stop], and copies all else.

    ranges: RANGE[n]; start and stop of each payload, and in flags the length of the tag and length before it.
    rest: scratch of at least stop - start bytes; receives every other field, in order: again a message.
    Returns (count, length of rest); count is MALFORMED or TOO_MANY (more than n) on failure. The payloads are not
    looked into. Raises ValueError where start and stop are not in the buffer, or rest is too small.
    """
    count = 0
    rest_length = 0
    position = start
    check_span(buffer, start, stop, rest)
    while position < stop:
        field_start = position
        tag, position = read_tag(buffer, position, stop)
        if position < 0:
            return MALFORMED, 0
        if tag == number << 3 | DELIMITED:
            payload, position = read_length(buffer, position, stop)
            if position < 0:
                return MALFORMED, 0
            if count == ranges.size:
                return TOO_MANY, 0
            row = ranges[count]
            row.start = np.uint32(payload)
            row.stop = np.uint32(position)
            row.partition = np.uint32(0)
            row.flags = np.uint32(payload - field_start)
            count += 1
        else:
            position = skip_field(buffer, position, stop, tag, DEPTH_MAX)
            if position < 0:
                return MALFORMED, 0
            rest_length = append(rest, rest_length, buffer, field_start, position)
    return count, rest_length
