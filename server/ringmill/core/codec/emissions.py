"""Puts what windows emitted into outcomes that are already encoded, at the end of the outcome of its event.

Only streams that ask for emissions pay for it, and only where a batch has some. An emission inside an outcome has no
key, which is its event's.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.codec.decoder import INTEGERS, LABELS, VALUES
from ringmill.core.codec.encoder import OUTCOMES
from ringmill.core.codec.layout import emission_layout
from ringmill.core.columns import EMISSION, Emissions
from ringmill.core.jit import kernel
from ringmill.core.memory import SCRATCH, Bytes, bits_of_float, copy_bytes, store64
from ringmill.core.wire import read_length, read_tag, varint_size, write_varint
from ringmill.v1.processing_pb2 import ProcessResponse

EMISSIONS = types.NamedTuple(
    [types.Array(types.int64, 1, "C"), types.Array(numba.from_dtype(EMISSION), 1, "C"), VALUES, LABELS, INTEGERS],
    Emissions,
)
ATTACH = types.int64(types.int64, EMISSIONS, SCRATCH, SCRATCH, types.int64, types.int64, SCRATCH)
"""Signature of `attach`."""

_LAYOUT = emission_layout(ProcessResponse.DESCRIPTOR)
_TIME, _START, _EMITTER, _REVISION = _LAYOUT.time, _LAYOUT.start, _LAYOUT.emitter, _LAYOUT.revision
_VALUES, _LABELS, _INTEGERS = _LAYOUT.values, _LAYOUT.labels, _LAYOUT.integers
_EMISSIONS, _OUTCOMES = _LAYOUT.emissions, OUTCOMES.outcomes


class Widths(NamedTuple):
    """How many outputs of each kind an emitter has."""

    values: int
    labels: int
    integers: int


@kernel(inline=True, allocates=False)
def _run_size(tag: int, count: int) -> int:
    return varint_size(tag) + varint_size(8 * count) + 8 * count if count > 0 else 0


@kernel(inline=True, allocates=False)
def _number_size(tag: int, value: int) -> int:
    return varint_size(tag) + varint_size(value) if value != 0 else 0


@kernel(inline=True, allocates=False)
def _time_size(tag: int, time_us: int) -> int:
    return varint_size(tag) + 8 if time_us != 0 else 0


@kernel(inline=True, allocates=False)
def _write_number(out: Bytes, position: int, tag: int, value: int) -> int:
    if value != 0:
        position = write_varint(out, position, tag)
        position = write_varint(out, position, value)
    return position


@kernel(inline=True, allocates=False)
def _write_time(out: Bytes, position: int, tag: int, time_us: int) -> int:
    if time_us != 0:
        position = write_varint(out, position, tag)
        store64(out, position, np.uint64(time_us))
        position += 8
    return position


@kernel(allocates=False)
def _size_of(shapes: npt.NDArray[np.int64], n: int, emissions: Emissions) -> int:
    head: Any = emissions.heads[n]
    emitter: Any = np.int64(head.emitter)
    revision: Any = np.int64(head.revision)
    size = _time_size(_TIME, head.time_us) + _run_size(_VALUES, shapes[emitter, 0])
    for column in range(shapes[emitter, 1]):
        length: Any = np.int64(emissions.labels[n, column].length)
        size += varint_size(_LABELS) + varint_size(length) + length
    size += _run_size(_INTEGERS, shapes[emitter, 2]) + _number_size(_EMITTER, emitter)
    return size + _time_size(_START, head.start_us) + _number_size(_REVISION, revision)


@kernel(allocates=False)
def _write(
    shapes: npt.NDArray[np.int64], n: int, emissions: Emissions, label_heap: Bytes, out: Bytes, position: int
) -> int:
    head: Any = emissions.heads[n]
    emitter: Any = np.int64(head.emitter)
    revision: Any = np.int64(head.revision)
    position = write_varint(out, position, _EMISSIONS)
    position = write_varint(out, position, _size_of(shapes, n, emissions))
    position = _write_time(out, position, _TIME, head.time_us)
    if shapes[emitter, 0] > 0:
        position = write_varint(out, position, _VALUES)
        position = write_varint(out, position, 8 * shapes[emitter, 0])
    for column in range(shapes[emitter, 0]):
        store64(out, position, bits_of_float(emissions.values[n, column]))
        position += 8
    for column in range(shapes[emitter, 1]):
        label: Any = emissions.labels[n, column]
        start: Any = np.int64(label.start)
        length: Any = np.int64(label.length)
        if start + length > label_heap.size:
            raise ValueError("a label lies outside the label heap")
        position = write_varint(out, position, _LABELS)
        position = write_varint(out, position, length)
        position = copy_bytes(out, position, label_heap, start, start + length)
    if shapes[emitter, 2] > 0:
        position = write_varint(out, position, _INTEGERS)
        position = write_varint(out, position, 8 * shapes[emitter, 2])
    for column in range(shapes[emitter, 2]):
        store64(out, position, np.uint64(emissions.integers[n, column]))
        position += 8
    position = _write_number(out, position, _EMITTER, emitter)
    position = _write_time(out, position, _START, head.start_us)
    return _write_number(out, position, _REVISION, revision)


def build_attach(widths: Sequence[Widths], folder: Path | None = None) -> Callable[..., int]:
    """Makes `attach(count, emissions, label_heap, encoded, start, stop, out) -> length` for a pipeline's emitters.

    encoded[start:stop] holds `count` outcomes as the encoder wrote them. out receives encoded[:start], and the outcomes
    with what their events made windows emit; -1 if it is too small. Raises ValueError where the outcomes are not that
    many, emissions not in the order of events, or a label lies outside the heap.
    """
    shapes = np.array(widths, np.int64).reshape(len(widths), 3)

    @kernel(allocates=False, folder=folder)
    def attach(
        count: int, emissions: Emissions, label_heap: Bytes, encoded: Bytes, start: int, stop: int, out: Bytes
    ) -> int:
        if not 0 <= start <= stop <= encoded.size or start > out.size:
            raise ValueError("the outcomes lie outside their buffer")
        position = copy_bytes(out, 0, encoded, 0, start)
        first, last = 0, emissions.counts[0]
        for row in range(count):
            tag, start = read_tag(encoded, start, stop)
            body, start = read_length(encoded, start, stop)
            if tag != _OUTCOMES or start < 0:
                raise ValueError("there are fewer outcomes than events")
            size = start - body
            after = first
            while after < last and np.int64(emissions.heads[after].event) == row:
                inner = _size_of(shapes, after, emissions)
                size += varint_size(_EMISSIONS) + varint_size(inner) + inner
                after += 1
            if out.size - position < varint_size(tag) + varint_size(size) + size:
                return -1
            position = write_varint(out, position, tag)
            position = write_varint(out, position, size)
            position = copy_bytes(out, position, encoded, body, start)
            for n in range(first, after):
                position = _write(shapes, n, emissions, label_heap, out, position)
            first = after
        if first != last or start != stop:
            raise ValueError("emissions are not in the order of events, or there are more outcomes than events")
        return position

    return attach
