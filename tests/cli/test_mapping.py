"""From columns of a table to key, time and fields."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ringmill.cli.feed.mapping import arrow_types, fields_of, keys_of, make_mapping, parse_assignments, times_of
from ringmill.client.schema import BOOL, DOUBLE, INTEGER, LABEL, Schema
from ringmill.core.errors import RingmillError
from ringmill.v1 import processing_pb2 as pb

SCHEMA = Schema.of(
    "rides",
    pb.DescribePipelineResponse(
        fields=[
            pb.Field(name="fare", kind=DOUBLE),
            pb.Field(name="tip", kind=DOUBLE, nullable=True),
            pb.Field(name="seats", kind=INTEGER, has_default=True),
            pb.Field(name="shared", kind=BOOL, has_default=True),
            pb.Field(name="zone", kind=LABEL, has_default=True),
        ]
    ),
)
FILE = Path("rides.csv")


def test_columns_that_bear_the_names_need_no_mapping() -> None:
    got = make_mapping(FILE, ["key", "time", "zone", "fare", "colour"], SCHEMA, (), None, {})
    assert (got.key, got.time, got.fields) == (("key",), "time", {"fare": "fare", "zone": "zone"})
    assert got.columns == ["key", "time", "fare", "zone"]


def test_what_is_named_wins() -> None:
    got = make_mapping(FILE, ["key", "time", "city", "at", "fare", "price"], SCHEMA, ["city"], "at", {"fare": "price"})
    assert (got.key, got.time, got.fields) == (("city",), "at", {"fare": "price"})


@pytest.mark.parametrize(
    ("columns", "key", "time", "fields", "says"),
    [
        (["city", "fare"], [], None, {}, "has no column 'key'; say --key COLUMN. Its columns are city, fare"),
        (["key"], [], None, {}, "field 'fare'; say --field fare=COLUMN. Its columns are key"),
        (["key", "fare"], ["town"], None, {}, "has no column 'town'. Its columns are key, fare"),
        (["key", "fare"], [], "when", {}, "has no column 'when'"),
        (["key", "fare"], [], None, {"fare": "price"}, "has no column 'price'"),
        (["key", "fare"], [], None, {"fair": "fare"}, "no field 'fair'; its fields are fare, tip, seats, shared, zone"),
    ],
)
def test_what_is_missing_is_named_with_what_there_is(
    columns: list[str], key: list[str], time: str | None, fields: dict[str, str], says: str
) -> None:
    with pytest.raises(RingmillError) as problem:
        make_mapping(FILE, columns, SCHEMA, key, time, fields)
    assert says in problem.value.message


@pytest.mark.parametrize("pair", ["fare", "=price", "fare=", ""])
def test_an_assignment_is_field_equals_column(pair: str) -> None:
    with pytest.raises(RingmillError, match="field=column"):
        parse_assignments([pair])
    assert parse_assignments(["fare=a=b"]) == {"fare": "a=b"}


def test_keys_of_several_columns_are_joined() -> None:
    mapping = make_mapping(FILE, ["from", "to", "fare"], SCHEMA, ["from", "to"], None, {})
    piece = pa.table({"from": ["JFK", "LGA", None], "to": ["LAX", None, "ORD"]})
    assert keys_of(mapping, piece).to_pylist() == ["JFK-LAX", "", ""]


@pytest.mark.parametrize("numbers", [pa.array([7, None]), pa.array([7, None]).dictionary_encode()])
def test_keys_become_text(numbers: pa.Array) -> None:
    mapping = make_mapping(FILE, ["key", "fare"], SCHEMA, (), None, {})
    assert keys_of(mapping, pa.table({"key": numbers})).to_pylist() == ["7", ""]


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        (pa.array([1_357_034_400, None]), "s"),
        (pa.array([1_357_034_400.0, None]), "s"),
        (pa.array([1_357_034_400_000, None]), "ms"),
        (pa.array([1_357_034_400_000_000, None]), "us"),
        (pa.array([1_357_034_400_000_000_000, None]), "ns"),
        (pa.array([pd.Timestamp("2013-01-01T10:00Z"), None]), "us"),
        (pa.array([pd.Timestamp("2013-01-01T05:00", tz="America/New_York"), None]), "us"),
        (pa.array([pd.Timestamp("2013-01-01T10:00"), None], pa.timestamp("s")), "us"),
    ],
)
def test_times_become_microseconds(column: pa.Array, unit: str) -> None:
    mapping = make_mapping(FILE, ["key", "time", "fare"], SCHEMA, (), None, {}, unit)
    expected = [pd.Timestamp("2013-01-01T10:00Z").value // 1000, 0]
    got = times_of(mapping, pa.table({"time": column}))
    assert got.dtype == np.int64
    assert got.tolist() == expected


def test_text_is_no_time() -> None:
    mapping = make_mapping(FILE, ["key", "time", "fare"], SCHEMA, (), None, {})
    with pytest.raises(RingmillError, match="'time' holds string"):
        times_of(mapping, pa.table({"time": ["noon"]}))


def test_a_csv_file_is_read_as_the_pipeline_declares() -> None:
    mapping = make_mapping(FILE, ["key", "fare", "seats", "zone"], SCHEMA, (), None, {})
    assert arrow_types(mapping, SCHEMA) == {"key": pa.string(), "fare": pa.float64(), "zone": pa.string()}
    piece = pa.table({"key": ["a"], "fare": [1.0], "seats": [2], "zone": ["x"]})
    assert {name: column.to_pylist() for name, column in fields_of(mapping, piece).items()} == {
        "fare": [1.0],
        "seats": [2],
        "zone": ["x"],
    }
