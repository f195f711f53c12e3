"""Encodes the outcomes of a batch straight from its columns: one entry of `ProcessResponse.outcomes` for each event."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.codec.decoder import EVENTS, INTEGERS, LABELS, VALUES
from ringmill.core.codec.layout import OutcomeLayout, outcome_layout
from ringmill.core.columns import Shape
from ringmill.core.jit import kernel
from ringmill.core.memory import SCRATCH, Bytes, bits_of_float, copy_bytes, store64
from ringmill.core.wire import varint_size, write_varint
from ringmill.v1.processing_pb2 import ProcessResponse

Encode = Callable[
    [
        int,
        npt.NDArray[Any],
        npt.NDArray[np.float64],
        npt.NDArray[np.int64],
        npt.NDArray[Any],
        Bytes,
        Bytes,
        npt.NDArray[np.int64],
        Bytes,
        int,
    ],
    int,
]

DETAIL_RANGES = types.Array(types.int64, 2, "C")
ENCODE = types.int64(
    types.int64, EVENTS, VALUES, INTEGERS, LABELS, SCRATCH, SCRATCH, DETAIL_RANGES, SCRATCH, types.int64
)
"""Signature of `encode`."""

OUTCOMES = outcome_layout(ProcessResponse.DESCRIPTOR)


@kernel(inline=True, allocates=False)
def _labels_size(labels: npt.NDArray[Any], row: int, tag: int) -> int:
    size = 0
    for column in range(labels.shape[1]):
        length: Any = np.int64(labels[row, column].length)
        size += varint_size(tag) + varint_size(length) + length
    return size


@kernel(inline=True, allocates=False)
def _write_label(out: Bytes, position: int, tag: int, label: Any, heap: Bytes) -> int:
    length: Any = np.int64(label.length)
    start: Any = np.int64(label.start)
    if start + length > heap.size:
        raise ValueError("a label lies outside the label heap")
    position = write_varint(out, position, tag)
    position = write_varint(out, position, length)
    return copy_bytes(out, position, heap, start, start + length)


@kernel(allocates=False)
def _write_rejection(
    out: Bytes,
    position: int,
    reason: int,
    details: Bytes,
    detail_ranges: npt.NDArray[np.int64],
    tags: tuple[int, int, int, int],
) -> int:
    """Writes Outcome{rejection{reason, detail}} and returns the next offset, or -1. Not inlined: it is rare."""
    outcomes_tag, rejection_tag, reason_tag, detail_tag = tags
    detail_start = 0
    detail_stop = 0
    if reason < detail_ranges.shape[0]:
        detail_start = detail_ranges[reason, 0]
        detail_stop = detail_ranges[reason, 1]
    if detail_start < 0 or detail_stop < detail_start or detail_stop > details.size:
        raise ValueError("a detail lies outside the details")
    length = detail_stop - detail_start
    inner = varint_size(reason_tag) + varint_size(reason)
    if length > 0:
        inner += varint_size(detail_tag) + varint_size(length) + length
    outer = varint_size(rejection_tag) + varint_size(inner) + inner
    if out.size - position < varint_size(outcomes_tag) + varint_size(outer) + outer:
        return -1
    position = write_varint(out, position, outcomes_tag)
    position = write_varint(out, position, outer)
    position = write_varint(out, position, rejection_tag)
    position = write_varint(out, position, inner)
    position = write_varint(out, position, reason_tag)
    position = write_varint(out, position, reason)
    if length > 0:
        position = write_varint(out, position, detail_tag)
        position = write_varint(out, position, length)
        position = copy_bytes(out, position, details, detail_start, detail_stop)
    return position


def _packed_size(tag: int, count: int) -> int:
    """Bytes of a packed run of 8-byte numbers; an empty run is left out."""
    return _varint_bytes(tag) + _varint_bytes(8 * count) + 8 * count if count else 0


def _varint_bytes(value: int) -> int:
    return max(1, (value.bit_length() + 6) // 7)


def build_encoder(shape: Shape, folder: Path | None = None, layout: OutcomeLayout = OUTCOMES) -> Encode:
    """Makes the encoder of a pipeline with these output columns.

    `encode(count, events, out_values, out_integers, out_labels, label_heap, details, detail_ranges, out, position)`
    appends `count` outcomes to out[position:] and returns the next offset, or -1 if out is too small. An event with a
    reason becomes a Rejection with that reason and, from int64[reasons, 2] detail_ranges, the detail
    details[start:stop]; a reason past its end has none. Raises ValueError where a label or a detail lies outside its
    bytes, or the columns have another shape.
    """
    outcomes_tag, values_tag, labels_tag, integers_tag = layout.outcomes, layout.values, layout.labels, layout.integers
    rejection_tags = (layout.outcomes, layout.rejection, layout.reason, layout.detail)
    values_max, integers_max, labels_max = shape.out_values, shape.out_integers, shape.out_labels
    fixed_size = _packed_size(values_tag, values_max) + _packed_size(integers_tag, integers_max)
    outcomes_tag_size = _varint_bytes(outcomes_tag)

    @kernel(allocates=False, folder=folder)
    def encode(
        count: int,
        events: npt.NDArray[Any],
        out_values: npt.NDArray[np.float64],
        out_integers: npt.NDArray[np.int64],
        out_labels: npt.NDArray[Any],
        label_heap: Bytes,
        details: Bytes,
        detail_ranges: npt.NDArray[np.int64],
        out: Bytes,
        position: int,
    ) -> int:
        if out_values.shape[1] != values_max or out_integers.shape[1] != integers_max:
            raise ValueError("the columns have not the shape that the encoder was built for")
        if out_labels.shape[1] != labels_max or position < 0:
            raise ValueError("the columns have not the shape that the encoder was built for")
        for row in range(count):
            reason: Any = np.int64(events[row].reason)
            if reason != 0:
                position = _write_rejection(out, position, reason, details, detail_ranges, rejection_tags)
                if position < 0:
                    return -1
                continue
            size = fixed_size
            if labels_max > 0:
                size += _labels_size(out_labels, row, labels_tag)
            if out.size - position < outcomes_tag_size + varint_size(size) + size:
                return -1
            position = write_varint(out, position, outcomes_tag)
            position = write_varint(out, position, size)
            if values_max > 0:
                position = write_varint(out, position, values_tag)
                position = write_varint(out, position, 8 * values_max)
                for column in range(values_max):
                    store64(out, position, bits_of_float(out_values[row, column]))
                    position += 8
            if integers_max > 0:
                position = write_varint(out, position, integers_tag)
                position = write_varint(out, position, 8 * integers_max)
                for column in range(integers_max):
                    store64(out, position, np.uint64(out_integers[row, column]))
                    position += 8
            for column in range(labels_max):
                position = _write_label(out, position, labels_tag, out_labels[row, column], label_heap)
        return position

    return encode
