"""Events as columns, in the form that the encoder reads: what `process` is given, checked and converted once."""

from collections.abc import Container, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.client.arrays import numpy_of
from ringmill.client.schema import BOOL, DOUBLE, INTEGER, LABEL, Column, Schema
from ringmill.client.strings import Strings, strings_of
from ringmill.client.times import times_of
from ringmill.v1 import processing_pb2 as pb


@dataclass(frozen=True)
class EventColumns:
    """n events with k values, l labels and m integers each."""

    keys: Strings
    times: npt.NDArray[np.int64]  # [n], microseconds
    values: npt.NDArray[np.float64]  # [n, k]
    label_heap: npt.NDArray[np.uint8]
    label_starts: npt.NDArray[np.int64]  # [n, l], into label_heap
    label_stops: npt.NDArray[np.int64]  # [n, l]
    integers: npt.NDArray[np.int64]  # [n, m]

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """What `encode_events` reads, in its order, as read-only views."""
        keys = self.keys
        return tuple(
            _read_only(array)
            for array in (
                keys.heap, keys.starts, keys.stops, self.times, self.values,
                self.label_heap, self.label_starts, self.label_stops, self.integers,
            )
        )  # fmt: skip


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def event_columns(schema: Schema, keys: Any, times: Any, fields: dict[str, Any]) -> EventColumns:
    """Converts the arguments of `process`; a field may be one value for all events.

    Raises TypeError for a name or a type that the pipeline does not declare, ValueError for a length that differs.
    """
    schema.given(fields)
    key_strings = strings_of(keys, "keys")
    count = len(key_strings)
    times_us = times_of(times, count)
    _check_length("times", times_us.size, count)
    values, integers, labels = [], [], []
    for column in sent_columns(schema, fields):
        source = fields.get(column.name)
        if column.kind == LABEL:
            labels.append(_labels(column, source, count))
        elif column.kind == DOUBLE:
            values.append(_doubles(column, source, count))
        else:
            integers.append(_integers(column, source, count))
    return EventColumns(
        key_strings, times_us, _side_by_side(values, count, np.float64), *_joined(labels, count),
        _side_by_side(integers, count, np.int64),
    )  # fmt: skip


def sent_columns(schema: Schema, given: Container[str]) -> list[Column]:
    """The columns to send: in each array all up to the last given one; the rest take their defaults."""
    last: dict[pb.FieldKind, int] = dict.fromkeys((DOUBLE, INTEGER, LABEL), -1)
    for column in schema.fields:
        if column.name in given:
            last[INTEGER if column.kind == BOOL else column.kind] = column.place
    return [c for c in schema.fields if c.place <= last[INTEGER if c.kind == BOOL else c.kind]]


def _check_length(name: str, length: int, count: int) -> None:
    if length != count:
        raise ValueError(f"{name} has {length} entries, but there are {count} keys")


def _doubles(column: Column, source: Any, count: int) -> npt.NDArray[np.float64]:
    if source is None:
        return np.full(count, np.nan)
    array = numpy_of(source)
    # NumPy would make numbers of texts, times and complex numbers, and -9.2e18 of a missing time.
    if array.dtype.kind not in "biufO" or (array.dtype.kind == "O" and _any_text(array)):
        raise TypeError(f"field {column.name!r} must hold numbers, not {_kind_of(array)}")
    try:
        array = np.asarray(array, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"field {column.name!r} must hold numbers: {error}") from None
    return _sized(column, array, count)


def _integers(column: Column, source: Any, count: int) -> npt.NDArray[np.int64]:
    array = numpy_of(source)
    kind = "true or false" if column.kind == BOOL else "whole numbers"
    if array.dtype.kind == "f" and not np.array_equal(array, np.trunc(array)):
        raise TypeError(f"field {column.name!r} must hold {kind}, none missing")
    if array.dtype.kind not in "biuf" and not (array.dtype.kind == "O" and _all_integers(array)):
        raise TypeError(f"field {column.name!r} must hold {kind}, none missing; got {array.dtype}")
    if array.dtype.kind in "uf" and array.size and (array.max() >= 2**63 or array.min() < -(2**63)):
        raise ValueError(f"field {column.name!r} holds a number that does not fit in 64 bits")
    try:
        return _sized(column, array.astype(np.int64), count)
    except OverflowError:
        raise ValueError(f"field {column.name!r} holds a number that does not fit in 64 bits") from None


def _any_text(array: npt.NDArray[Any]) -> bool:
    return any(isinstance(item, str | bytes) for item in array.reshape(-1))


def _kind_of(array: npt.NDArray[Any]) -> str:
    return "text" if array.dtype.kind in "USTO" else str(array.dtype)


def _all_integers(array: npt.NDArray[Any]) -> bool:
    return all(isinstance(item, int | np.integer | np.bool_) for item in array.reshape(-1))


def _sized(column: Column, array: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    if array.ndim == 0:
        return np.full(count, array)
    if array.ndim != 1:
        raise ValueError(f"field {column.name!r} must have one dimension, not {array.ndim}")
    _check_length(f"field {column.name!r}", array.size, count)
    return array


def _labels(column: Column, source: Any, count: int) -> Strings:
    if source is None or isinstance(source, str):
        source = [source or ""]
        one = strings_of(source, f"field {column.name!r}")
        return Strings(one.heap, np.repeat(one.starts, count), np.repeat(one.stops, count))
    if isinstance(source, Sized):
        _check_length(f"field {column.name!r}", len(source), count)
    strings = strings_of(source, f"field {column.name!r}")
    _check_length(f"field {column.name!r}", len(strings), count)
    return strings


def _side_by_side(columns: list[npt.NDArray[Any]], count: int, dtype: type[Any]) -> npt.NDArray[Any]:
    if not columns:
        return np.zeros((count, 0), dtype)
    if len(columns) == 1:
        return np.ascontiguousarray(columns[0], dtype).reshape(count, 1)  # no copy of what fits already
    return np.ascontiguousarray(np.stack(columns, axis=1), dtype)


def _joined(
    labels: list[Strings], count: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All label columns over one heap."""
    if not labels:
        none = np.zeros((count, 0), np.int64)
        return np.zeros(0, np.uint8), none, none
    if len(labels) == 1:
        only = labels[0]
        return only.heap, np.ascontiguousarray(only.starts).reshape(count, 1), only.stops.reshape(count, 1)
    shifts = np.cumsum([0, *(column.heap.size for column in labels[:-1])])
    starts = np.stack([column.starts + shift for column, shift in zip(labels, shifts, strict=True)], axis=1)
    stops = np.stack([column.stops + shift for column, shift in zip(labels, shifts, strict=True)], axis=1)
    return np.concatenate([column.heap for column in labels]), starts, stops
