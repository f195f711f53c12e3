"""Encoded outcomes against the official library."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringmill.core.codec.encoder import build_encoder
from ringmill.core.columns import Columns, Shape
from ringmill.core.errors import Reason
from ringmill.v1.processing_pb2 import Outcome, ProcessResponse, Rejection

FULL = Shape(4, 3, 3, 4, 3, 3)
DOUBLES = Shape(0, 0, 0, 2, 0, 0)
ENCODERS = {FULL: build_encoder(FULL), DOUBLES: build_encoder(DOUBLES)}
HEAP = b"heap of text" * 20
DETAILS = b"the key is empty" + b"the operator failed"
DETAIL_RANGES = np.zeros((34, 2), np.int64)
DETAIL_RANGES[Reason.KEY_INVALID] = 0, 16
DETAIL_RANGES[Reason.OPERATOR_FAILED] = 16, 35
REASONS = (Reason.KEY_INVALID, Reason.OPERATOR_FAILED, Reason.OVERLOADED, Reason.DEADLINE)


def encoded(columns: Columns, shape: Shape, count: int, out: np.ndarray, position: int = 0) -> int:
    return ENCODERS[shape](
        count,
        columns.events,
        columns.out_values,
        columns.out_integers,
        columns.out_labels,
        np.frombuffer(bytearray(HEAP), np.uint8),
        np.frombuffer(bytearray(DETAILS), np.uint8),
        DETAIL_RANGES,
        out,
        position,
    )


rows = st.tuples(
    st.lists(st.floats(), min_size=4, max_size=4),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 200)), min_size=3, max_size=3),
    st.one_of(st.just(Reason.NONE), st.sampled_from(REASONS)),
)


def outcome(row: tuple[Any, ...]) -> Outcome:
    values, integers, labels, reason = row
    if reason:
        start, stop = DETAIL_RANGES[reason].tolist() if reason < 34 else (0, 0)
        return Outcome(rejection=Rejection(reason=int(reason), detail=DETAILS[start:stop]))
    texts = [HEAP[start : start + length].decode() for start, length in labels]
    return Outcome(values=values, integers=integers, labels=texts)


@given(st.lists(rows, max_size=6))
def test_equals_the_official_bytes(batch: list[tuple[Any, ...]]) -> None:
    columns = Columns.allocate(6, FULL)
    for index, (values, integers, labels, reason) in enumerate(batch):
        columns.out_values[index] = values
        columns.out_integers[index] = integers
        for column, (start, length) in enumerate(labels):
            columns.out_labels[index, column] = (0, start, length)
        columns.events["reason"][index] = reason
    out = np.empty(1 << 13, np.uint8)
    stop = encoded(columns, FULL, len(batch), out)
    expected = ProcessResponse(outcomes=[outcome(row) for row in batch]).SerializeToString()
    assert out[:stop].tobytes() == expected
    if batch:
        assert encoded(columns, FULL, len(batch), np.empty(len(expected) - 1, np.uint8)) == -1


def test_appends_and_keeps_what_was_there() -> None:
    columns = Columns.allocate(1, DOUBLES)
    columns.out_values[0] = 1.5, np.nan
    out = np.full(64, 7, np.uint8)
    stop = encoded(columns, DOUBLES, 1, out, 5)
    assert out[:5].tolist() == [7] * 5
    assert out[stop:].tolist() == [7] * (64 - stop)
    values = ProcessResponse.FromString(out[5:stop].tobytes()).outcomes[0].values
    assert values[0] == 1.5
    assert np.isnan(values[1])


def test_a_label_outside_the_heap_is_our_own_fault() -> None:
    columns = Columns.allocate(1, FULL)
    columns.out_labels[0, 1] = (1, len(HEAP) - 1, 2)
    with pytest.raises(ValueError, match="label heap"):
        encoded(columns, FULL, 1, np.empty(1 << 12, np.uint8))


def test_columns_of_another_shape_are_our_own_fault() -> None:
    with pytest.raises(ValueError, match="shape"):
        encoded(Columns.allocate(1, FULL), DOUBLES, 1, np.empty(64, np.uint8))
