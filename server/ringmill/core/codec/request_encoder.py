"""Columns of events as the bytes of `ProcessRequest.events`: what a client sends, without an object for each event.

Written in the order of field numbers and without default values, so that the bytes equal what the official library
serialises. Field numbers come from the message's descriptor.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.codec.layout import MALFORMED, Role, event_layout
from ringmill.core.jit import kernel
from ringmill.core.memory import MESSAGE, SCRATCH, Bytes, bits_of_float, copy_bytes, store64
from ringmill.core.wire import DELIMITED, varint_size, write_varint
from ringmill.v1.processing_pb2 import ProcessRequest

_LAYOUT = event_layout(ProcessRequest.DESCRIPTOR)
_EVENTS_TAG = _LAYOUT.events_number << 3 | DELIMITED
_KEY_TAG = _LAYOUT.arm(Role.KEY).delimited_tag
_TIME_TAG = _LAYOUT.arm(Role.TIME).fixed_tag
_VALUES_TAG = _LAYOUT.arm(Role.VALUES).delimited_tag
_LABELS_TAG = _LAYOUT.arm(Role.LABELS).delimited_tag
_INTEGERS_TAG = _LAYOUT.arm(Role.INTEGERS).delimited_tag

_LONGS = types.Array(types.int64, 1, "C", readonly=True)
_LONG_ROWS = types.Array(types.int64, 2, "C", readonly=True)
_DOUBLE_ROWS = types.Array(types.float64, 2, "C", readonly=True)
ENCODE_EVENTS = types.UniTuple(types.int64, 2)(
    MESSAGE, _LONGS, _LONGS, _LONGS, _DOUBLE_ROWS, MESSAGE, _LONG_ROWS, _LONG_ROWS, _LONG_ROWS,
    types.int64, types.int64, SCRATCH,
)  # fmt: skip
"""Signature of `encode_events`. Every input is read-only, so that arrays of any origin fit one compiled kernel."""


@kernel(inline=True)
def _inside(heap: Bytes, start: int, stop: int) -> bool:
    return 0 <= start <= stop <= heap.size


@kernel(inline=True)
def _text_size(tag: int, length: int) -> int:
    return varint_size(tag) + varint_size(length) + length


@kernel(inline=True)
def _write_text(out: Bytes, position: int, tag: int, heap: Bytes, start: int, stop: int) -> int:
    position = write_varint(out, position, tag)
    position = write_varint(out, position, stop - start)
    return copy_bytes(out, position, heap, start, stop)


@kernel(allocates=False)
def encode_events(
    key_heap: Bytes,
    key_starts: npt.NDArray[Any],
    key_stops: npt.NDArray[Any],
    times_us: npt.NDArray[Any],
    values: npt.NDArray[Any],
    label_heap: Bytes,
    label_starts: npt.NDArray[Any],
    label_stops: npt.NDArray[Any],
    integers: npt.NDArray[Any],
    first: int,
    last: int,
    out: Bytes,
) -> tuple[int, int]:
    """Writes events first to last - 1 into `out`, as many as fit whole.

    Key i is key_heap[key_starts[i]:key_stops[i]], label (i, j) likewise; both must be UTF-8. times_us: int64[n];
    values: float64[n, k]; label_starts, label_stops: int64[n, l]; integers: int64[n, m].
    Returns (bytes written, events written); (MALFORMED, i) when a range of event i lies outside its heap.
    """
    number_bytes = 8 * values.shape[1]
    integer_bytes = 8 * integers.shape[1]
    fixed = 0
    if number_bytes:
        fixed += _text_size(_VALUES_TAG, number_bytes)
    if integer_bytes:
        fixed += _text_size(_INTEGERS_TAG, integer_bytes)
    position = 0
    for i in range(first, last):
        key_start = key_starts[i]
        key_stop = key_stops[i]
        if not _inside(key_heap, key_start, key_stop):
            return MALFORMED, i
        size = fixed
        if key_stop > key_start:
            size += _text_size(_KEY_TAG, key_stop - key_start)
        if times_us[i] != 0:
            size += varint_size(_TIME_TAG) + 8
        for j in range(label_starts.shape[1]):
            if not _inside(label_heap, label_starts[i, j], label_stops[i, j]):
                return MALFORMED, i
            size += _text_size(_LABELS_TAG, label_stops[i, j] - label_starts[i, j])
        if _text_size(_EVENTS_TAG, size) > out.size - position:  # all writes below are inside this
            return position, i - first
        position = write_varint(out, position, _EVENTS_TAG)
        position = write_varint(out, position, size)
        if key_stop > key_start:
            position = _write_text(out, position, _KEY_TAG, key_heap, key_start, key_stop)
        if times_us[i] != 0:
            position = write_varint(out, position, _TIME_TAG)
            store64(out, position, np.uint64(times_us[i]))
            position += 8
        if number_bytes:
            position = write_varint(out, position, _VALUES_TAG)
            position = write_varint(out, position, number_bytes)
            for j in range(values.shape[1]):
                store64(out, position, bits_of_float(values[i, j]))
                position += 8
        for j in range(label_starts.shape[1]):
            position = _write_text(out, position, _LABELS_TAG, label_heap, label_starts[i, j], label_stops[i, j])
        if integer_bytes:
            position = write_varint(out, position, _INTEGERS_TAG)
            position = write_varint(out, position, integer_bytes)
            for j in range(integers.shape[1]):
                store64(out, position, np.uint64(integers[i, j]))
                position += 8
    return position, last - first
