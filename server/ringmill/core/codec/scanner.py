"""Walks a request without decoding it: where each event's bytes are, and which partition its key belongs to.

The scanner refuses all that the decoder would refuse, so that a batch is never half applied: it checks the structure of
every event and the UTF-8 of every string in it. Everything that is not an event is copied into the *head*, whose own
extents it checks and no more. The official library parses the head afterwards, and then
"scan accepts and the head parses" is exactly "the official library parses the whole message": a message is a sequence
of top-level fields that are parsed one by one, with the same depth left for each, so taking the events out changes
nothing for the rest, and the order of the rest is kept.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.codec.fields import COUNT_AND_LENGTH, RANGES
from ringmill.core.codec.layout import MALFORMED, RESERVED, RESERVED_FIRST, RESERVED_LAST, TOO_MANY, EventLayout, Role
from ringmill.core.hashing import reciprocal_of, remainder, xxh64_range
from ringmill.core.jit import kernel
from ringmill.core.memory import MESSAGE, SCRATCH, Bytes
from ringmill.core.utf8 import is_utf8
from ringmill.core.wire import DELIMITED, DEPTH_MAX, append, check_span, read_length, read_tag, skip_field

Scan = Callable[[Bytes, int, int, int, Bytes, npt.NDArray[Any]], tuple[int, int]]

SCAN = COUNT_AND_LENGTH(MESSAGE, types.int64, types.int64, types.int64, SCRATCH, RANGES)
"""Signature of `scan`."""


def build_scanner(layout: EventLayout, folder: Path | None = None) -> Scan:
    """Makes `scan(buffer, start, stop, partitions, head, ranges) -> (count, head length)`.

    buffer[start:stop] is the message; head is scratch of at least its length; ranges is RANGE[n] and receives the bytes
    of each event, tag and length included, and the partition of its key. Count is MALFORMED, TOO_MANY (more than n
    events) or RESERVED on failure. Raises ValueError where start and stop are not in the buffer, or head is too small.
    """
    events_tag = layout.events_number << 3 | DELIMITED
    key_tag = layout.arm(Role.KEY).delimited_tag
    labels_tag = layout.arm(Role.LABELS).delimited_tag
    time_tag = layout.arm(Role.TIME).fixed_tag
    values_tag, values_run = layout.arm(Role.VALUES).fixed_tag, layout.arm(Role.VALUES).delimited_tag
    integers_tag, integers_run = layout.arm(Role.INTEGERS).fixed_tag, layout.arm(Role.INTEGERS).delimited_tag

    @kernel(allocates=False, folder=folder)
    def scan(
        buffer: Bytes, start: int, stop: int, partitions: int, head: Bytes, ranges: npt.NDArray[Any]
    ) -> tuple[int, int]:
        check_span(buffer, start, stop, head)
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
            if count == ranges.size:
                return TOO_MANY, 0
            key_start = cursor
            key_stop = cursor
            while cursor < position:
                tag, cursor = read_tag(buffer, cursor, position)
                if cursor < 0:
                    return MALFORMED, 0
                if tag == key_tag:
                    key_start, cursor = read_length(buffer, cursor, position)
                    key_stop = cursor
                    if cursor < 0 or not is_utf8(buffer, key_start, cursor):
                        return MALFORMED, 0
                elif tag in (time_tag, values_tag, integers_tag):
                    cursor += 8
                    if cursor > position:
                        return MALFORMED, 0
                elif tag in (values_run, integers_run):
                    run_start, cursor = read_length(buffer, cursor, position)
                    if cursor < 0 or (cursor - run_start) & 7 != 0:
                        return MALFORMED, 0
                elif tag == labels_tag:
                    label_start, cursor = read_length(buffer, cursor, position)
                    if cursor < 0 or not is_utf8(buffer, label_start, cursor):
                        return MALFORMED, 0
                else:
                    cursor = skip_field(buffer, cursor, position, tag, DEPTH_MAX - 1)
                    if cursor < 0:
                        return MALFORMED, 0
            row = ranges[count]
            row.start = np.uint32(field_start)
            row.stop = np.uint32(position)
            row.partition = np.uint32(remainder(xxh64_range(buffer, key_start, key_stop), partitions, reciprocal))
            row.flags = np.uint32(0)
            count += 1
        if reserved:
            return RESERVED, 0
        return count, head_length

    return scan
