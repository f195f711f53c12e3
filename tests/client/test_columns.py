"""Fields from each library become the same columns."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from ringmill.client.columns import event_columns
from ringmill.client.schema import BOOL, DOUBLE, INTEGER, Schema
from ringmill.v1 import processing_pb2 as pb

SCHEMA = Schema.of(
    "rides",
    pb.DescribePipelineResponse(
        fields=[
            pb.Field(name="fare", kind=DOUBLE, nullable=True),
            pb.Field(name="seats", kind=INTEGER, has_default=True),
            pb.Field(name="shared", kind=BOOL, has_default=True),
        ]
    ),
)


@pytest.mark.parametrize(
    "column",
    [
        [1.5, None, -2.0],
        np.array([1.5, np.nan, -2.0]),
        pd.Series([1.5, None, -2.0]),
        pd.Series([1.5, None, -2.0], dtype="Float64"),
        pd.Series([1.5, None, -2.0], dtype="double[pyarrow]"),
        pl.Series([1.5, None, -2.0]),
        pa.array([1.5, None, -2.0]),
        pa.array([0.0, 1.5, None, -2.0]).slice(1),
        pa.chunked_array([[1.5, None], [-2.0]]),
    ],
    ids=["list", "numpy", "pandas", "pandas masked", "pandas arrow", "polars", "arrow", "arrow slice", "arrow chunks"],
)
def test_a_missing_value_is_nan(column: Any) -> None:
    got = event_columns(SCHEMA, ["a", "b", "c"], None, {"fare": column})
    np.testing.assert_array_equal(got.values, [[1.5], [np.nan], [-2.0]])


@pytest.mark.parametrize("column", [pa.array([2, 7]), pa.chunked_array([[2], [7]]), pl.Series([2, 7]), [2, 7]])
def test_whole_numbers(column: Any) -> None:
    got = event_columns(SCHEMA, ["a", "b"], None, {"fare": 0.0, "seats": column})
    assert got.integers.tolist() == [[2], [7]]


@pytest.mark.parametrize("library", [pa.array, pl.Series, pd.Series])
@pytest.mark.parametrize(("field", "column"), [("seats", [2, None]), ("shared", [True, None])])
def test_a_missing_whole_number_or_bool_is_refused(library: Any, field: str, column: list[Any]) -> None:
    with pytest.raises(TypeError, match=f"field '{field}' must hold .*, none missing"):
        event_columns(SCHEMA, ["a", "b"], None, {"fare": 0.0, "seats": 1, field: library(column)})
