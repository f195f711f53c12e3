"""Every built-in operator against libraries that no one here wrote, over real sensor readings with gaps.

The readings: NASA's shuttle data, as bundled with river (BSD), 8,000 rows keyed by one of its columns, every eleventh
value taken out.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import river
import river.preprocessing
import river.stats
import scipy.stats

from ringmill.pipeline import Event, Pipeline, RunResult, ops

ROWS = 8_000
HALF_LIFE_S = 30.0


class Reading(Event):
    x: float | None


readings = Pipeline(
    "readings",
    version="1.0.0",
    event=Reading,
    steps={
        "events": ops.count(),
        "count": ops.count("x"),
        "sum": ops.sum("x"),
        "mean": ops.mean("x"),
        "sample": ops.variance("x"),
        "population": ops.variance("x", ddof=0),
        "z": ops.zscore("x"),
        "ewma": ops.ewma("x", alpha=0.2),
        "halved": ops.ewma("x", half_life=3.0),
        "min": ops.min("x"),
        "max": ops.max("x"),
        "last": ops.last("x"),
        "lag": ops.lag("x"),
        "lag3": ops.lag("x", n=3),
        "rate": ops.rate(half_life_s=HALF_LIFE_S),
        "lifetime": ops.rate(half_life_s=math.inf),
        "high": ops.alarm("x", above=60.0, clear=45.0),
        "low": ops.alarm("x", below=40.0, clear=50.0),
    },
)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    read = pd.read_csv(Path(river.__file__).parent / "datasets" / "shuttle.csv.gz", nrows=ROWS)
    frame = pd.DataFrame({"key": read.f9.astype(str), "x": read.f1.astype(float)})
    frame.loc[::11, "x"] = np.nan
    steps_us = np.random.default_rng(7).integers(0, 500_000, ROWS)  # some events fall on one microsecond
    steps_us[::5] = 0
    frame["time_us"] = 1_700_000_000_000_000 + np.cumsum(steps_us)
    return frame


@pytest.fixture(scope="module")
def got(frame: pd.DataFrame) -> RunResult:
    result = readings.run(keys=frame.key, times=frame.time_us, x=frame.x)
    assert result.rejected == 0
    return result


def by_key(frame: pd.DataFrame, compute: Callable[[Any], Any]) -> Any:
    """A pandas computation on each key's values, in the order of the events."""
    return frame.groupby("key", sort=False)["x"].transform(compute).to_numpy()


def fold(frame: pd.DataFrame, make: Callable[[], Any], skipped: Callable[[Any], float]) -> list[float]:
    """A river statistic for each key: its value after each event; `skipped` gives it where x is missing."""
    statistics: defaultdict[str, Any] = defaultdict(make)
    found = []
    for key, x in zip(frame.key, frame.x, strict=True):
        if not math.isnan(x):
            statistics[key].update(x)
        found.append(skipped(statistics[key]))
    return found


def agree(got: Any, expected: Any, relative: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(got, float), np.asarray(expected, float), rtol=relative, atol=1e-12)


def test_count(frame: pd.DataFrame, got: RunResult) -> None:
    agree(got["events"], frame.groupby("key").cumcount() + 1, 0)
    agree(got["count"], by_key(frame, lambda x: x.notna().cumsum()), 0)


def test_sum(frame: pd.DataFrame, got: RunResult) -> None:
    agree(got["sum"], by_key(frame, lambda x: x.fillna(0.0).cumsum()))


def test_mean(frame: pd.DataFrame, got: RunResult) -> None:
    agree(got["mean"], by_key(frame, lambda x: x.expanding().mean()))
    agree(
        got["mean"],
        fold(frame, river.stats.Mean, lambda mean: mean.get() if mean.n else math.nan),
    )


def test_variance(frame: pd.DataFrame, got: RunResult) -> None:
    agree(got["sample"], by_key(frame, lambda x: x.expanding().var()), 1e-9)
    agree(got["population"], by_key(frame, lambda x: x.expanding().var(ddof=0)), 1e-9)
    agree(
        got["sample"],
        fold(frame, river.stats.Var, lambda var: var.get() if var.mean.n > 1 else math.nan),
    )


def test_zscore(frame: pd.DataFrame, got: RunResult) -> None:
    """scipy over each key's values so far; river's scaler, which learns a value before it scales it."""
    values, scalers = defaultdict(list), defaultdict(river.preprocessing.StandardScaler)
    for i, (key, x) in enumerate(zip(frame.key, frame.x, strict=True)):
        if math.isnan(x):
            assert math.isnan(got["z"][i])
            continue
        values[key].append(x)
        scalers[key].learn_one({"x": x})
        if len(set(values[key])) == 1:
            assert math.isnan(got["z"][i])
        else:
            assert got["z"][i] == pytest.approx(scalers[key].transform_one({"x": x})["x"], rel=1e-9, abs=1e-12)
            if i % 50 == 0:
                assert got["z"][i] == pytest.approx(scipy.stats.zscore(values[key])[-1], rel=1e-9, abs=1e-12)


def test_ewma(frame: pd.DataFrame, got: RunResult) -> None:
    agree(got["ewma"], by_key(frame, lambda x: x.ewm(alpha=0.2, adjust=False, ignore_na=True).mean()))
    agree(got["halved"], by_key(frame, lambda x: x.ewm(halflife=3.0, adjust=False, ignore_na=True).mean()))
    seen: set[str] = set()
    expected = fold(frame, lambda: river.stats.EWMean(fading_factor=0.2), lambda mean: mean.get())
    for i, (key, x) in enumerate(zip(frame.key, frame.x, strict=True)):
        seen |= set() if math.isnan(x) else {key}
        assert (
            math.isnan(got["ewma"][i]) if key not in seen else got["ewma"][i] == pytest.approx(expected[i], rel=1e-12)
        )


def test_min_and_max(frame: pd.DataFrame, got: RunResult) -> None:
    agree(got["min"], by_key(frame, lambda x: x.expanding().min()), 0)
    agree(got["max"], by_key(frame, lambda x: x.expanding().max()), 0)


def test_last_and_lag(frame: pd.DataFrame, got: RunResult) -> None:
    agree(got["last"], by_key(frame, lambda x: x.ffill()), 0)
    agree(got["lag"], by_key(frame, lambda x: x.shift(1)), 0)
    agree(got["lag3"], by_key(frame, lambda x: x.shift(3)), 0)


def test_rate_over_a_keys_life(frame: pd.DataFrame, got: RunResult) -> None:
    groups = frame.groupby("key")
    elapsed_s = (frame.time_us - groups.time_us.transform("first")) / 1e6
    agree(got["lifetime"], (groups.cumcount() / elapsed_s.where(elapsed_s > 0)).to_numpy(), 1e-9)


def test_rate_with_decay_is_its_definition_summed_anew(frame: pd.DataFrame, got: RunResult) -> None:
    for _, group in frame.reset_index().groupby("key"):
        times_s = (group.time_us - group.time_us.iloc[0]).to_numpy() / 1e6
        for place in range(0, len(times_s), 97):
            now = times_s[place]
            weights = 0.5 ** ((now - times_s[1 : place + 1]) / HALF_LIFE_S)
            area = HALF_LIFE_S / math.log(2.0) * (1.0 - 0.5 ** (now / HALF_LIFE_S))
            expected = weights.sum() / area if now else math.nan
            assert got["rate"][group["index"].iloc[place]] == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_rate_of_a_steady_stream_is_its_frequency_and_of_any_order() -> None:
    """Ten events a second; and shuffled, where the newest time alone counts at the end."""
    times = 1_700_000_000_000_000 + np.arange(1, 3001) * 100_000
    steady = readings.run(keys=["k"] * 3000, times=times, x=np.zeros(3000))
    assert steady["rate"][-1] == pytest.approx(10.0, rel=2e-3)
    assert steady["lifetime"][-1] == pytest.approx(10.0, rel=1e-12)
    shuffled = readings.run(keys=["k"] * 3000, times=np.random.default_rng(3).permutation(times), x=np.zeros(3000))
    assert shuffled["rate"][-1] == pytest.approx(steady["rate"][-1], rel=1e-9)
    assert shuffled["lifetime"][-1] == steady["lifetime"][-1]


def test_alarm(frame: pd.DataFrame, got: RunResult) -> None:
    """The last signal that was not a missing one, and off before the first, in pandas' words."""

    def state(raised: pd.Series, cleared: pd.Series) -> Any:
        signals = pd.Series(np.nan, frame.index).mask(raised, 1.0).mask(cleared, 0.0)
        return signals.groupby(frame.key).ffill().fillna(0.0).to_numpy()

    agree(got["high"], state(frame.x > 60.0, frame.x <= 45.0), 0)
    agree(got["low"], state(frame.x < 40.0, frame.x >= 50.0), 0)
    assert got["high"].any()
    assert got["low"].any()


def test_the_sum_is_exact_where_plain_addition_loses_everything() -> None:
    values = [1e16, 1.0, -1e16, 1e-8, 3.0, -1.0] * 50
    got = readings.run(keys=["k"] * len(values), times=range(1, len(values) + 1), x=values)
    for i in range(len(values)):
        assert got["sum"][i] == pytest.approx(math.fsum(values[: i + 1]), rel=1e-15)


def test_the_variance_of_small_differences_on_a_large_value() -> None:
    """Where the textbook formula, mean of squares less square of mean, gives nothing but rounding."""
    values = 1e9 + np.random.default_rng(1).random(500)
    got = readings.run(keys=["k"] * 500, times=range(1, 501), x=values)
    assert got["sample"][-1] == pytest.approx(np.var(values, ddof=1), rel=1e-6)
    assert got["mean"][-1] == pytest.approx(np.mean(values), rel=1e-15)
