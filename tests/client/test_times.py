"""Times of each library become the same microseconds."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from ringmill.client.times import times_of

MOMENTS = [datetime(2013, 1, 1, 5, 0, 0, 123456), datetime(1969, 12, 31, 23, 59, 59, 999999)]
MICROS = [1_357_016_400_123_456, -1]
EAST = timezone(timedelta(hours=9))


@pytest.mark.parametrize(
    "column",
    [
        MICROS,
        tuple(MICROS),
        np.array(MICROS),
        pd.Series(MICROS),
        pl.Series(MICROS),
        MOMENTS,
        [moment.replace(tzinfo=UTC).astimezone(EAST) for moment in MOMENTS],
        np.array(MOMENTS, "datetime64[us]"),
        np.array(MOMENTS, "datetime64[us]").astype("datetime64[ns]"),
        pd.Series(MOMENTS),
        pd.Series(MOMENTS).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
        pd.DatetimeIndex(MOMENTS),
        pd.DatetimeIndex(MOMENTS, tz="UTC").tz_convert("America/New_York"),
        [pd.Timestamp(moment) for moment in MOMENTS],
        pl.Series(MOMENTS),
        pl.Series(MOMENTS).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
    ],
    ids=lambda column: f"{type(column).__module__}.{type(column).__name__} {getattr(column, 'dtype', '')}",
)
def test_every_library_gives_the_same_times(column: Any) -> None:
    found = times_of(column, 2)
    assert found.dtype == np.int64
    assert found.tolist() == MICROS


@pytest.mark.parametrize(
    ("one", "micros"), [(None, 0), (7, 7), (MOMENTS[0], MICROS[0]), (np.datetime64(5, "s"), 5_000_000)]
)
def test_one_time_for_all(one: Any, micros: int) -> None:
    assert times_of(one, 3).tolist() == [micros] * 3


@pytest.mark.parametrize(
    "column", [pd.Series([MOMENTS[0], None]), np.array([MOMENTS[0], "NaT"], "datetime64[us]"), [MOMENTS[0], None]]
)
def test_a_missing_time_is_unset(column: Any) -> None:
    assert times_of(column, 2).tolist() == [MICROS[0], 0]


def test_a_range_is_microseconds() -> None:
    assert times_of(range(1, 4), 3).tolist() == [1, 2, 3]


@pytest.mark.parametrize("column", [[1.5], np.array([1.0]), ["2013-01-01"], [True], np.array(["a"])])
def test_what_is_no_time_is_refused(column: Any) -> None:
    with pytest.raises(TypeError, match="time"):
        times_of(column, 1)
