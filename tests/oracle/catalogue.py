"""Every built-in operator once, and some in two shapes, in one pipeline: compiled once for all tests over it."""

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ringmill.pipeline import Event, Label, Pipeline, RunResult, label, ops
from ringmill.pipeline.combine import Combiner, combiner

MODEL = Path(__file__).parent / "data" / "model.json"
"""Trained by `make_model.py` beside it."""
LINEAR = Path(__file__).parent / "data" / "linear.json"
CENTER, RADIUS_M = (52.5, 13.4), 30_000.0
POLYGON = [(52.3, 13.1), (52.3, 13.7), (52.5, 13.5), (52.7, 13.7), (52.7, 13.1)]
EDGES = [-1.5, -0.5, 0.0, 0.5, 1.5]
LEVELS = (0.0, 0.5, 0.9, 0.99, 1.0)
SEQUENCE = ["t1", "t2", "t3"]
WITHIN_S = 20.0
HALF_LIFE_S = 30.0


class Point(Event):
    """What happened: numbers of which some are missing, a whole number, a bool, a place and a label."""

    x: float
    latitude: float
    longitude: float
    y: float | None = None
    volume: float | None = None
    n: int = 0
    flag: bool = False
    tag: Label = label("")


STEPS = {
    "events": ops.count(),
    "count": ops.count("y"),
    "sum": ops.sum("x"),
    "mean": ops.mean("x"),
    "variance": ops.variance("x"),
    "z": ops.zscore("x"),
    "ewma": ops.ewma("x", alpha=0.3),
    "ew_variance": ops.ew_variance("y", alpha=0.1),
    "min": ops.min("x"),
    "max": ops.max("x"),
    "first": ops.first("y"),
    "last": ops.last("y"),
    "lag": ops.lag("y", n=2),
    "delta": ops.delta("y"),
    "rate": ops.rate(HALF_LIFE_S),
    "alarm": ops.alarm("z", above=3.0, clear=2.0),
    "ohlcv": ops.ohlcv("y", "volume"),
    "vwap": ops.vwap("y", "volume"),
    "twap": ops.twap("y"),
    "covariance": ops.covariance("x", "y"),
    "correlation": ops.correlation("x", "y"),
    "trend": ops.trend("y"),
    "holt": ops.holt_winters("y", alpha=0.3, beta=0.1),
    "holt_winters": ops.holt_winters("volume", alpha=0.3, beta=0.1, gamma=0.5, season=7, multiplicative=True),
    "seasonal": ops.holt_winters("y", alpha=0.3, beta=0.1, gamma=0.5, season=7),
    "kalman": ops.kalman("y", process=0.01, noise=1.0),
    "kalman_motion": ops.kalman_motion("y", acceleration=0.1, noise=1.0, speed=4.0),
    "cusum": ops.cusum("y", target=0.2, slack=0.5, threshold=4.0),
    "page_hinkley": ops.page_hinkley("x", delta=0.1, threshold=15.0),
    "adwin": ops.adwin("x"),
    "token_bucket": ops.token_bucket(rate=2.0, burst=5.0),
    "gcra": ops.gcra(rate=2.0, burst=5),
    "streak": ops.streak("flag"),
    "sequence": ops.sequence("tag", SEQUENCE, within_s=WITHIN_S),
    "numbers": ops.sequence("n", [1, 2, 1]),
    "circle": ops.geofence("latitude", "longitude", center=CENTER, radius_m=RADIUS_M),
    "polygon": ops.geofence("latitude", "longitude", polygon=POLYGON),
    "histogram": ops.histogram("y", EDGES),
    "quantiles": ops.quantiles("y", *LEVELS, negative=True),
    "positive": ops.quantiles("volume", 0.5, 0.95, accuracy=0.02, spread=100.0),
    "distinct": ops.distinct("n"),
    "distinct_tags": ops.distinct("tag", error=0.1),
    "frequency": ops.frequency("tag"),
    "top_k": ops.top_k("tag", k=3, counters=32),
    "linear_regression": ops.linear_regression("y", ["x", "z"], rate=0.02, l2=0.001),
    "logistic_regression": ops.logistic_regression("flag", ["x", "y"]),
    "model": ops.model(MODEL, ["x", "y", "volume"]),
    "linear": ops.model(LINEAR, ["x", "y", "volume"]),
}

STATE_BYTES = {
    "events": 8, "count": 8, "sum": 16, "mean": 16, "variance": 24, "z": 24, "ewma": 8, "ew_variance": 16, "min": 8,
    "max": 8, "first": 8, "last": 8, "lag": 24, "delta": 8, "rate": 24, "alarm": 1, "ohlcv": 64, "vwap": 16, "twap": 40,
    "covariance": 48, "correlation": 48, "trend": 56, "holt": 48, "holt_winters": 88, "seasonal": 88, "kalman": 16,
    "kalman_motion": 48, "cusum": 16, "page_hinkley": 48, "adwin": 3_368, "token_bucket": 16, "gcra": 8, "streak": 32,
    "sequence": 24, "numbers": 24, "circle": 1, "polygon": 1, "histogram": 48, "quantiles": 11_176, "positive": 1_008,
    "distinct": 4_608, "distinct_tags": 640, "frequency": 10_880, "top_k": 776, "linear_regression": 24,
    "logistic_regression": 24, "model": 24, "linear": 8,
}  # fmt: skip

points = Pipeline("points", version="1.0.0", event=Point, steps=STEPS)


@functools.cache
def combined() -> Combiner:
    """Merges and results of all of them."""
    return combiner(points.steps, points.compile().row_dtype)


def events(count: int, seed: int = 0) -> pd.DataFrame:
    """Keys of uneven frequency; times with ties, some late; noisy values with gaps and a shift of the mean."""
    chance = np.random.default_rng(seed)
    steps_us = chance.integers(0, 2_000_000, count)
    steps_us[::7] = 0
    times = 1_700_000_000_000_000 + np.cumsum(steps_us)
    times[::29] -= 5_000_000
    y = chance.normal(size=count) + 2.0 * (np.arange(count) % 1500 > 900)
    y[chance.random(count) < 0.1] = math.nan
    volume = np.round(chance.gamma(2.0, 2.0, count) + 0.01, 2)
    volume[chance.random(count) < 0.1] = math.nan
    return pd.DataFrame(
        {
            "key": [f"key {k}" for k in chance.zipf(1.5, count) % 37],
            "time_us": times,
            "x": chance.normal(size=count) + 3.0 * (np.arange(count) > 0.6 * count),
            "latitude": 52.5 + 0.3 * chance.standard_normal(count),
            "longitude": 13.4 + 0.3 * chance.standard_normal(count),
            "y": y,
            "volume": volume,
            "n": chance.integers(0, 400, count),
            "flag": chance.random(count) < 0.7,
            "tag": [f"t{z}" if z < 300 else "" for z in chance.zipf(1.3, count)],
        }
    )


def run(frame: pd.DataFrame, pipeline: Pipeline = points) -> RunResult:
    """The events of a frame, by `Pipeline.run`, from empty state."""
    fields: dict[str, Any] = {name: frame[name] for name in frame.columns if name not in ("key", "time_us")}
    return pipeline.run(keys=frame.key, times=frame.time_us, **fields)
