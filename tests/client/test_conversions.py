"""What must not become a number, a time or a key by accident."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from ringmill.client.columns import event_columns
from ringmill.client.errors import status_error
from ringmill.client.rows import RowEncoder
from ringmill.client.schema import BOOL, DOUBLE, INTEGER, LABEL, Schema
from ringmill.client.times import times_of
from ringmill.core.errors import Code
from ringmill.v1 import processing_pb2 as pb

SCHEMA = Schema.of(
    "rides",
    pb.DescribePipelineResponse(
        fields=[
            pb.Field(name="fare", kind=DOUBLE, nullable=True),
            pb.Field(name="seats", kind=INTEGER, has_default=True),
            pb.Field(name="shared", kind=BOOL, has_default=True),
            pb.Field(name="zone", kind=LABEL, has_default=True),
        ]
    ),
)
ZONED = pd.Series(pd.to_datetime(["2020-01-01", None]).tz_localize("Europe/Paris"))


@pytest.mark.parametrize(
    "column",
    [
        ["1", "2"],
        ["1", None],
        np.array(["1", "2"]),
        np.array(["2020-01-01", "NaT"], "datetime64[ns]"),
        pd.Series(pd.to_timedelta([1, None], unit="s")),
        np.array([1j, 2.0]),
        pl.Series(["1", "2"]),
        pa.array([1, None], pa.timestamp("us")),
    ],
)
def test_only_numbers_are_numbers(column: Any) -> None:
    with pytest.raises(TypeError, match="field 'fare' must hold numbers"):
        event_columns(SCHEMA, ["a", "b"], None, {"fare": column})


@pytest.mark.parametrize(
    "column", [[True, False], np.array([True, False]), pd.Series([True, False]), pl.Series([True, False])]
)
@pytest.mark.parametrize("field", ["seats", "shared"])
def test_bools_are_whole_numbers(field: str, column: Any) -> None:
    sent = {"fare": 1.0, "seats": 0, field: column}
    assert event_columns(SCHEMA, ["a", "b"], None, sent).integers[:, -1].tolist() == [1, 0]


@pytest.mark.parametrize("column", [[2**70, 1], np.array([2**63, 1], np.uint64), [1e30, 1.0]])
def test_whole_numbers_fit_in_64_bits(column: Any) -> None:
    with pytest.raises(ValueError, match="field 'seats' holds a number that does not fit in 64 bits"):
        event_columns(SCHEMA, ["a", "b"], None, {"fare": 1.0, "seats": column})


@pytest.mark.parametrize(
    "column",
    [
        [2**60 + 1, None],
        pd.array([2**60 + 1, None], "Int64"),
        pd.Series([2**60 + 1, None], dtype="int64[pyarrow]"),
        pl.Series([2**60 + 1, None]),
        pa.array([2**60 + 1, None]),
        pa.chunked_array([[2**60 + 1], [None]]),
    ],
)
def test_a_missing_whole_number_of_microseconds_is_unset_and_the_others_are_exact(column: Any) -> None:
    assert times_of(column, 2).tolist() == [2**60 + 1, 0]


@pytest.mark.parametrize(
    "column",
    [ZONED, ZONED.astype(pd.ArrowDtype(pa.timestamp("us", "Europe/Paris"))), pa.array(ZONED)],
    ids=["pandas", "pandas arrow", "arrow"],
)
def test_a_missing_time_with_a_zone_is_unset(column: Any) -> None:
    assert times_of(column, 2).tolist() == [1_577_833_200_000_000, 0]


@pytest.mark.parametrize(
    "column",
    [
        [2**70, 1],
        [2**70, None],
        np.array([2**64 - 1, 1], np.uint64),
        np.array(["300000", "2020"], "datetime64[Y]"),
        np.array([-(2**50), 1], "datetime64[s]"),
    ],
)
def test_a_time_too_far_away_does_not_wrap_around(column: Any) -> None:
    with pytest.raises(ValueError, match="does not fit in 64 bits"):
        times_of(column, 2)


@pytest.mark.parametrize(
    "keys", [[], np.array([]), pd.Series([], dtype=float), pl.Series([], dtype=pl.Int64), pa.array([], pa.int64())]
)
def test_no_keys_are_text_whatever_their_type(keys: Any) -> None:
    assert len(event_columns(SCHEMA, keys, None, {"fare": []})) == 0


@pytest.mark.parametrize(
    ("event", "kind", "message"),
    [
        ((5, 1, 1.0), TypeError, "the key must be text, not int"),
        (("a\ud800", 1, 1.0), ValueError, "the key must be text"),
        (("a", 1, "x"), TypeError, "field 'fare' must be a number, not 'x'"),
        (("a", 1, 1.0, None), TypeError, "field 'seats' must be a whole number of 64 bits, not None"),
        (("a", 1, 1.0, 2**70), ValueError, "field 'seats' must be a whole number of 64 bits"),
        (("a", 1, 1.0, 1, True, 5), TypeError, "field 'zone' must be text, not 5"),
        (("a", 1.5, 1.0), TypeError, "the time cannot be sent: a time must be integer microseconds"),
        ({"time_us": 1, "fare": 2.0}, TypeError, "this mapping has none"),
    ],
)
def test_what_is_wrong_with_a_single_event_is_named(event: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        RowEncoder(SCHEMA).encode(event)


def test_a_single_event_may_hold_numpys_own_scalars() -> None:
    row = ("a", np.int64(7), np.float32(1.5), np.int32(2), np.True_, np.str_("z"))
    (event,) = pb.ProcessRequest.FromString(RowEncoder(SCHEMA).encode(row)).events
    assert (event.time_us, *event.values, *event.integers, *event.labels) == (7, 1.5, 2, 1, "z")


def test_a_server_that_answers_unavailable_is_not_said_to_be_silent() -> None:
    own = status_error(Code.UNAVAILABLE, "waiting for workers: 0 of 2 have joined", "host:1").message
    assert own == "host:1: waiting for workers: 0 of 2 have joined"
    assert "nothing answers at host:1" in status_error(Code.UNAVAILABLE, "failed to connect to x", "host:1").message
