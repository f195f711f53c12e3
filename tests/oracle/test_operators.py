"""Operators against libraries that no one here wrote, over made-up events with gaps, ties and late ones.

What has its own tests over real readings is in `test_ops.py`.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import datasketches
import ddsketch
import filterpy.common
import filterpy.kalman
import numpy as np
import pandas as pd
import pytest
import river.drift
import river.linear_model
import river.optim
import river.stats
import river.time_series
import scipy.stats
import shapely
import token_bucket
import xgboost
from river._river_rust.drift import AdaptiveWindowing

from ringmill.pipeline import RunResult
from tests.oracle.catalogue import (
    CENTER,
    EDGES,
    LEVELS,
    LINEAR,
    MODEL,
    POLYGON,
    RADIUS_M,
    SEQUENCE,
    WITHIN_S,
    events,
    run,
)

ROWS = 6_000


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return events(ROWS, seed=1)


@pytest.fixture(scope="module")
def got(frame: pd.DataFrame) -> RunResult:
    result = run(frame)
    assert result.rejected == 0
    return result


def keys(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The events of each key, with their places in the frame as the index."""
    for _, own in frame.groupby("key", sort=False):
        yield own


def agree(got: Any, expected: Any, relative: float = 1e-9, absolute: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(got, float), np.asarray(expected, float), rtol=relative, atol=absolute)


def ordered(own: pd.DataFrame) -> pd.DataFrame:
    """Without the late ones: those that are older than one before them."""
    return own[own.time_us >= own.time_us.cummax()]


def test_first_and_delta(frame: pd.DataFrame, got: RunResult) -> None:
    for own in keys(frame):
        agree(got["first"][own.index], own.y.expanding().apply(lambda y: y.dropna().iloc[0]))
        agree(got["delta"][own.index], own.y.dropna().diff().reindex(own.index))


def test_ohlcv(frame: pd.DataFrame, got: RunResult) -> None:
    """Pandas' bar of the trades so far in the order of their times, which keeps that of arrival for equal ones."""
    for own in keys(frame):
        for place in {*range(0, len(own), 50), len(own) - 1}:
            trades = own.iloc[: place + 1].dropna(subset="y").sort_values("time_us", kind="stable")
            bar = trades.y.groupby(np.zeros(len(trades))).ohlc()
            at = own.index[place]
            if trades.empty:
                assert math.isnan(got["ohlcv.open"][at])
                continue
            for name in ("open", "high", "low", "close"):
                assert got[f"ohlcv.{name}"][at] == bar[name].iloc[0]
            assert got["ohlcv.volume"][at] == pytest.approx(trades.volume.sum())
            assert got["ohlcv.trades"][at] == len(trades)


def test_vwap(frame: pd.DataFrame, got: RunResult) -> None:
    for own in keys(frame):
        weight = own.volume.where(own.y.notna())
        total = (own.y * own.volume).cumsum().ffill() / weight.cumsum().ffill()
        agree(got["vwap"][own.index], total)


def test_twap(frame: pd.DataFrame, got: RunResult) -> None:
    for own in keys(frame):
        some = own.dropna(subset="y")
        prices = ordered(some)
        for place in range(1, len(prices), 20):
            lasted = np.diff(prices.time_us[: place + 1])
            expected = np.average(prices.y[:place], weights=lasted) if lasted.sum() else math.nan
            agree(got["twap"][prices.index[place]], expected)


def test_covariance_and_correlation(frame: pd.DataFrame, got: RunResult) -> None:
    for own in keys(frame):
        agree(got["covariance"][own.index], own.x.expanding().cov(own.y).ffill())
        expected = own.x.expanding().corr(own.y).ffill()
        pairs = own.y.notna().cumsum()
        agree(got["correlation"][own.index], expected.where(pairs > 1), 1e-7)


def test_ew_variance(frame: pd.DataFrame, got: RunResult) -> None:
    for own in keys(frame):
        agree(got["ew_variance"][own.index], own.y.ewm(alpha=0.1, adjust=False, ignore_na=True).var(bias=True))
        theirs = river.stats.EWVar(fading_factor=0.1)
        for y in own.y.dropna():
            theirs.update(y)
        if own.y.notna().any():
            assert got["ew_variance"][own.index[-1]] == pytest.approx(theirs.get(), abs=1e-9)


def test_trend(frame: pd.DataFrame, got: RunResult) -> None:
    for own in keys(frame):
        values = own.dropna(subset="y")
        for place in range(2, len(values), 40):
            part = values[: place + 1]
            times_s = (part.time_us - part.time_us.iloc[0]) / 1e6
            if times_s.nunique() == 1:
                continue
            line = scipy.stats.linregress(times_s, part.y)
            agree(got["trend.slope"][part.index[-1]], line.slope, 1e-7)
            agree(got["trend.value"][part.index[-1]], line.intercept + line.slope * times_s.max(), 1e-7)


@pytest.mark.parametrize(
    ("name", "column", "season", "multiplicative"),
    [("holt", "y", 0, False), ("holt_winters", "volume", 7, True), ("seasonal", "y", 7, False)],
)
def test_holt_winters(
    frame: pd.DataFrame, got: RunResult, name: str, column: str, season: int, multiplicative: bool
) -> None:
    """River's; but it begins an additive season with ratios, so that one is given what ours begins with."""
    for own in keys(frame):
        model = river.time_series.HoltWinters(0.3, 0.1, 0.5 if season else None, season, multiplicative)
        first = max(2, season)
        values = own.dropna(subset=column)
        for number, (place, value) in enumerate(values[column].items(), 1):
            model.learn_one(value)
            if number == first and season and not multiplicative:
                begun = values[column].iloc[:first]
                model.season.clear()
                model.season.extend(begun - begun.mean())
            if number >= first:
                agree(got[f"{name}.forecast"][place], model.forecast(1)[0], 1e-9, 1e-9)
            else:
                assert math.isnan(got[f"{name}.forecast"][place])


def test_kalman(frame: pd.DataFrame, got: RunResult) -> None:
    for own in keys(frame):
        values = own.y.dropna()
        theirs = filterpy.kalman.KalmanFilter(dim_x=1, dim_z=1)
        theirs.F, theirs.H, theirs.Q, theirs.R = np.eye(1), np.eye(1), np.array([[0.01]]), np.eye(1)
        for number, (place, y) in enumerate(values.items()):
            if number == 0:
                theirs.x, theirs.P = np.array([[y]]), np.eye(1)
            else:
                theirs.predict()
                theirs.update(y)
            agree(got["kalman.level"][place], theirs.x[0, 0])
            agree(got["kalman.variance"][place], theirs.P[0, 0])


def test_kalman_motion(frame: pd.DataFrame, got: RunResult) -> None:
    for own in itertools.islice(keys(frame), 3):
        values = own.dropna(subset="y")[:400]
        theirs = filterpy.kalman.KalmanFilter(dim_x=2, dim_z=1)
        theirs.H, theirs.R = np.array([[1.0, 0.0]]), np.eye(1)
        newest_us = 0
        for number, (place, row) in enumerate(values.iterrows()):
            if number == 0:
                theirs.x, theirs.P = np.array([[row.y], [0.0]]), np.diag([1.0, 4.0])
            else:
                dt = max(0, row.time_us - newest_us) / 1e6
                noise = filterpy.common.Q_discrete_white_noise(2, dt, 0.1)
                theirs.predict(F=np.array([[1.0, dt], [0.0, 1.0]]), Q=noise)
                theirs.update(row.y)
            newest_us = max(newest_us, row.time_us)
            agree(got["kalman_motion.position"][place], theirs.x[0, 0], 1e-8)
            agree(got["kalman_motion.velocity"][place], theirs.x[1, 0], 1e-8, 1e-10)
            agree(got["kalman_motion.variance"][place], theirs.P[0, 0], 1e-8)


def test_cusum(frame: pd.DataFrame, got: RunResult) -> None:
    """Each sum is how far a plain walk has come from its lowest point since it began anew (Lindley's identity)."""
    changes = 0
    for own in keys(frame):
        values = own.y.dropna()
        while len(values):
            up = np.cumsum(values - 0.2 - 0.5)
            down = np.cumsum(0.2 - 0.5 - values)
            high = up - np.minimum.accumulate(np.minimum(up, 0.0))
            low = down - np.minimum.accumulate(np.minimum(down, 0.0))
            told = np.flatnonzero((high > 4.0) | (low > 4.0))
            stop = told[0] + 1 if len(told) else len(values)
            agree(got["cusum.high"][values.index[:stop]], high[:stop], 1e-9, 1e-9)
            agree(got["cusum.low"][values.index[:stop]], low[:stop], 1e-9, 1e-9)
            assert not got["cusum.change"][values.index[: stop - 1]].any()
            assert got["cusum.change"][values.index[stop - 1]] == bool(len(told))
            changes += bool(len(told))
            values = values[stop:]
    assert changes > 20


def test_page_hinkley(frame: pd.DataFrame, got: RunResult) -> None:
    found = 0
    for own in keys(frame):
        theirs = river.drift.PageHinkley(delta=0.1, threshold=15.0)
        for place, x in own.x.items():
            theirs.update(x)
            assert got["page_hinkley"][place] == theirs.drift_detected
            found += theirs.drift_detected
    assert found > 3


def test_adwin(frame: pd.DataFrame, got: RunResult) -> None:
    """The part of river's that keeps what is left of the window, as the paper does; its class forgets all of it."""
    found = 0
    for own in keys(frame):
        theirs = AdaptiveWindowing()
        for place, x in own.x.items():
            change = theirs.update(x)
            assert got["adwin.change"][place] == change
            assert got["adwin.width"][place] == theirs.get_width()
            agree(got["adwin.mean"][place], theirs.get_total() / theirs.get_width())
            found += change
    assert found > 3


class FakeClock:
    """Stands for the time module inside `token_bucket`."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    time = monotonic


def test_token_bucket_and_gcra(frame: pd.DataFrame, got: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    """Falcon's token bucket under the events' times, in their order: both of ours decide as it does."""
    clock = FakeClock()
    monkeypatch.setattr(token_bucket.storage, "time", clock)
    refused = 0
    for own in keys(frame):
        in_order = own.sort_values("time_us", kind="stable").reset_index(drop=True)
        in_order.time_us = in_order.time_us.iloc[0] + (in_order.time_us - in_order.time_us.iloc[0]) // 16
        ours = run(in_order)
        clock.now_s = in_order.time_us.iloc[0] / 1e6
        limiter = token_bucket.Limiter(2.0, 5, token_bucket.MemoryStorage())
        for place, time_us in enumerate(in_order.time_us):
            clock.now_s = time_us / 1e6
            allowed = limiter.consume("k")
            found = ours["token_bucket.tokens"][place] + ours["token_bucket.allowed"][place]
            if 0.0 < abs(found - 1.0) < 1e-5:
                break  # their seconds near 1.7e9 are rounded: they may decide otherwise
            assert ours["token_bucket.allowed"][place] == allowed
            assert ours["gcra.allowed"][place] == allowed
            refused += not allowed
    assert refused > 100


def test_a_bucket_of_five_lets_exactly_five_pass_and_tells_when_the_next_may() -> None:
    frame = events(30).assign(key="k", time_us=1_700_000_000_000_000)
    got = run(frame)
    for name in ("token_bucket.allowed", "gcra.allowed"):
        assert got[name].tolist() == [True] * 5 + [False] * 25
    assert (got["gcra.retry_after_s"][5:] == 0.5).all()
    later = run(pd.concat([frame[:6], frame[6:7].assign(time_us=1_700_000_000_500_000)], ignore_index=True))
    assert later["gcra.allowed"].tolist()[-1]
    assert later["token_bucket.allowed"].tolist()[-1]


def test_streak(frame: pd.DataFrame, got: RunResult) -> None:
    for own in keys(frame):
        runs = [list(group) for _, group in itertools.groupby(own.flag)]
        current = [number * value for group in runs for number, value in enumerate(group, 1)]
        assert got["streak.current"][own.index].tolist() == current
        assert got["streak.longest"][own.index].tolist() == np.maximum.accumulate(current).tolist()


def test_a_sequence_is_what_a_regular_expression_finds(frame: pd.DataFrame, got: RunResult) -> None:
    """Numbers 1, 2, 1 one after the other with anything in between, no time between them."""
    frame = frame.assign(n=frame.n % 5)
    got = run(frame)
    found = 0
    for own in keys(frame):
        text = "".join(map(str, own.n))
        expected = np.zeros(len(own), bool)
        for match in re.finditer("1.*?2.*?1", text):
            expected[match.end() - 1] = True
        assert got["numbers.matched"][own.index].tolist() == expected.tolist()
        found += expected.sum()
    assert found > 100


def test_a_sequence_within_a_time(frame: pd.DataFrame, got: RunResult) -> None:
    """By trying all: some first value since the last match, with the others after it, not longer ago than that."""
    found = 0
    for own in keys(frame):
        since: list[tuple[str, int]] = []
        for place, tag, time_us in zip(own.index, own.tag, own.time_us, strict=True):
            since.append((tag, time_us))
            expected = tag == SEQUENCE[-1] and any(
                name == SEQUENCE[0]
                and time_us - start_us <= WITHIN_S * 1e6
                and any(between == SEQUENCE[1] for between, _ in since[first + 1 : -1])
                for first, (name, start_us) in enumerate(since)
            )
            assert got["sequence.matched"][place] == expected
            if expected:
                found += 1
                since = []
    assert found > 50


def test_geofence_of_a_polygon(frame: pd.DataFrame, got: RunResult) -> None:
    fence = shapely.Polygon([(longitude, latitude) for latitude, longitude in POLYGON])
    inside = shapely.contains_xy(fence, frame.longitude, frame.latitude)
    check_crossings(frame, got, "polygon", pd.Series(inside))


def test_geofence_of_a_circle(frame: pd.DataFrame, got: RunResult) -> None:
    """By the angle between unit vectors, which is another formula."""

    def vectors(latitude: Any, longitude: Any) -> Any:
        up, along = np.radians(latitude), np.radians(longitude)
        return np.array([np.cos(up) * np.cos(along), np.cos(up) * np.sin(along), np.sin(up)])

    places, center = vectors(frame.latitude, frame.longitude), vectors(*CENTER)
    crossed = np.linalg.norm(np.cross(places.T, center), axis=1)
    distances_m = 6_371_008.8 * np.arctan2(crossed, center @ places)
    check_crossings(frame, got, "circle", pd.Series(distances_m <= RADIUS_M))


def check_crossings(frame: pd.DataFrame, got: RunResult, name: str, inside: pd.Series) -> None:
    before = inside.groupby(frame.key).shift(fill_value=False)
    assert 100 < inside.sum() < len(inside) - 100
    assert got[f"{name}.inside"].tolist() == inside.tolist()
    assert got[f"{name}.entered"].tolist() == (inside & ~before).tolist()
    assert got[f"{name}.left"].tolist() == (~inside & before).tolist()


def test_histogram(frame: pd.DataFrame, got: RunResult) -> None:
    edges = [-math.inf, *EDGES, math.inf]
    for own in keys(frame):
        for place in {*range(0, len(own), 100), len(own) - 1}:
            counts, _ = np.histogram(own.y[: place + 1].dropna(), edges)
            names = ["under", *(f"bin{number}" for number in range(len(EDGES) - 1)), "over"]
            assert [got[f"histogram.{name}"][own.index[place]] for name in names] == counts.tolist()


def test_quantiles(frame: pd.DataFrame, got: RunResult) -> None:
    """Within the promised error of NumPy's, at every event; and nearly always in the same bin as DataDog's sketch."""
    near, asked = 0, 0
    for own in keys(frame):
        theirs = ddsketch.DDSketch(0.01)
        seen: list[float] = []
        for place, y in own.y.items():
            if not math.isnan(y):
                seen.append(y)
                theirs.add(y)
            if not seen:
                assert math.isnan(got["quantiles.p50"][place])
                continue
            for level in LEVELS:
                ours = got[f"quantiles.p{100 * level:g}"][place]
                if place % 10 == 0:
                    agree(ours, np.quantile(seen, level, method="lower"), 0.01 + 1e-9)
                near += ours == pytest.approx(theirs.get_quantile_value(level), rel=1e-9)
                asked += 1
    assert near > 0.98 * asked


def test_quantiles_where_low_values_were_given_up(frame: pd.DataFrame, got: RunResult) -> None:
    """Values below the largest over `spread` are in the lowest bin; all others are as accurate as ever."""
    for own in keys(frame):
        values = own.volume.dropna()
        for place in range(20, len(values), 50):
            part = values[: place + 1]
            for level, name in ((0.5, "p50"), (0.95, "p95")):
                expected = np.quantile(part, level, method="lower")
                floor = part.max() / 100.0
                agree(
                    got[f"positive.{name}"][part.index[-1]], max(expected, floor), 0.06 if expected < floor else 0.021
                )


def test_distinct(frame: pd.DataFrame, got: RunResult) -> None:
    """Within four standard errors of the truth, as Apache's sketch of as many registers is."""
    for own in keys(frame):
        theirs = datasketches.hll_sketch(12)
        seen: set[int] = set()
        for place, n in own.n.items():
            seen.add(n)
            theirs.update(n)
            assert abs(got["distinct"][place] - len(seen)) <= max(1.0, 4 * 0.01625 * len(seen))
            assert abs(theirs.get_estimate() - len(seen)) <= max(1.0, 4 * 0.01625 * len(seen))
        tags = set(own.tag) - {""}
        assert abs(got["distinct_tags"][own.index[-1]] - len(tags)) <= max(1.0, 4 * 0.092 * len(tags))


@pytest.mark.parametrize("count", [100_000])
def test_distinct_of_many(count: int) -> None:
    numbers = np.random.default_rng(3).integers(0, 2**62, count)
    some = events(64).assign(key="k")
    frame = pd.concat([some] * (count // 64 + 1), ignore_index=True)[:count].assign(
        n=numbers, time_us=range(1, count + 1)
    )
    got = run(frame)["distinct"]
    for place in (10, 100, 1_000, 4_000, 10_000, 30_000, count - 1):
        assert got[place] == pytest.approx(place + 1, rel=4 * 0.01625)


def test_frequency(frame: pd.DataFrame, got: RunResult) -> None:
    """Never too few; too many by at most the error, and not more often than Apache's sketch is allowed to."""
    over = asked = 0
    for own in keys(frame):
        exact: Counter[str] = Counter()
        theirs = datasketches.count_min_sketch(5, 272)
        for number, (place, tag) in enumerate(own.tag.items(), 1):
            if not tag:
                assert got["frequency"][place] == 0
                continue
            exact[tag] += 1
            theirs.update(tag)
            ours = int(got["frequency"][place])
            assert ours >= exact[tag]
            assert theirs.get_estimate(tag) >= exact[tag]
            over += ours > exact[tag] + 0.01 * number
            asked += 1
    assert over <= 0.01 * asked


def test_top_k(frame: pd.DataFrame, got: RunResult) -> None:
    """The bounds of the paper against exact counts; and the leader is that of Apache's sketch."""
    for own in keys(frame):
        exact: Counter[str] = Counter()
        theirs = datasketches.frequent_strings_sketch(6)
        for place, tag in own.tag.items():
            if tag:
                exact[tag] += 1
                theirs.update(tag)
            total = sum(exact.values())
            last = math.inf
            for number in (1, 2, 3):
                name, count = got[f"top_k.label{number}"][place], got[f"top_k.count{number}"][place]
                assert count <= last
                last = count
                if name:
                    assert exact[name] <= count <= exact[name] + total / 32
                else:
                    assert count == 0
                    assert len(exact) < number
            ranked = exact.most_common(4)
            if len(ranked) > 1 and ranked[0][1] > ranked[1][1] + total / 32:
                assert got["top_k.label1"][place] == ranked[0][0]
        if len(exact) > 1:
            leader = theirs.get_frequent_items(datasketches.frequent_items_error_type.NO_FALSE_NEGATIVES)[0]
            assert exact[got["top_k.label1"][own.index[-1]]] >= leader[2]


def test_linear_regression(frame: pd.DataFrame, got: RunResult) -> None:
    for own in keys(frame):
        model = river.linear_model.LinearRegression(river.optim.SGD(0.02), l2=0.001, intercept_lr=0.02)
        for place, x, y, z in zip(own.index, own.x, own.y, got["z"][own.index], strict=True):
            if math.isnan(z):
                assert math.isnan(got["linear_regression"][place])
                continue
            agree(got["linear_regression"][place], model.predict_one({"x": x, "z": z}))
            if not math.isnan(y):
                model.learn_one({"x": x, "z": z}, y)


def test_logistic_regression(frame: pd.DataFrame, got: RunResult) -> None:
    for own in keys(frame):
        model = river.linear_model.LogisticRegression(river.optim.SGD(0.01), intercept_lr=0.01)
        for place, x, y, flag in zip(own.index, own.x, own.y, own.flag, strict=True):
            if math.isnan(y):
                assert math.isnan(got["logistic_regression"][place])
                continue
            agree(got["logistic_regression"][place], model.predict_proba_one({"x": x, "y": y})[True])
            model.learn_one({"x": x, "y": y}, flag)


def test_a_model_predicts_what_xgboost_does(frame: pd.DataFrame, got: RunResult) -> None:
    data = xgboost.DMatrix(frame[["x", "y", "volume"]].to_numpy(np.float64))
    agree(got["model"], xgboost.Booster(model_file=MODEL).predict(data), 1e-5)
    agree(got["linear"], xgboost.Booster(model_file=LINEAR).predict(data), 1e-5, 1e-5)
