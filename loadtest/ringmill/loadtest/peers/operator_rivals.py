"""What others have for our operators: for one key, a function that takes an event and returns what ours returns.

Imported only by the benchmark's own process; what is not installed is left out.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np


class Row(NamedTuple):
    """One event as Python has it."""

    x: float
    y: float
    volume: float
    n: int
    flag: bool
    tag: str
    time_us: int


Feed = Callable[[Row], Any]
"""What one key has: takes an event, gives its output."""
Rivals = dict[str, Callable[[], Feed]]
"""By operator: makes what one key has."""


def _rival(make: Callable[[], Any], feed: Callable[[Any, Row], Any]) -> Callable[[], Feed]:
    return lambda: partial(feed, make())


def _value(statistic: Any, row: Row) -> Any:
    statistic.update(row.x)
    return statistic.get()


def _pair(statistic: Any, row: Row) -> Any:
    statistic.update(row.x, row.y)
    return statistic.get()


def _scaled(scaler: Any, row: Row) -> Any:
    scaler.learn_one({"x": row.x})
    return scaler.transform_one({"x": row.x})


def _forecast(model: Any, row: Row) -> Any:
    model.learn_one(row.x)
    return model.forecast(1) if model._initialized else None


def _drift(detector: Any, row: Row) -> Any:
    detector.update(row.x)
    return detector.drift_detected


def _counted(sketch: Any, row: Row) -> Any:
    sketch.update(row.tag)
    return sketch[row.tag]


def _unique(sketch: Any, row: Row) -> Any:
    sketch.update(str(row.n))  # it takes texts only
    return sketch.get()


def _binned(histogram: Any, row: Row) -> Any:
    histogram.update(row.x)  # it has no output of one event


def _linear(model: Any, row: Row) -> Any:
    features = {"x": row.x, "volume": row.volume}
    told = model.predict_one(features)
    model.learn_one(features, row.y)
    return told


def _logistic(model: Any, row: Row) -> Any:
    features = {"x": row.x, "volume": row.volume}
    told = model.predict_proba_one(features)
    model.learn_one(features, row.flag)
    return told


def river_rivals() -> Rivals:
    """What river has."""
    if find_spec("river") is None:
        return {}
    from river import drift, linear_model, optim, preprocessing, sketch, stats, time_series

    return {
        "count": _rival(stats.Count, _value),
        "sum": _rival(stats.Sum, _value),
        "mean": _rival(stats.Mean, _value),
        "variance": _rival(stats.Var, _value),
        "zscore": _rival(preprocessing.StandardScaler, _scaled),
        "ewma": _rival(lambda: stats.EWMean(0.3), _value),
        "ew_variance": _rival(lambda: stats.EWVar(0.3), _value),
        "min": _rival(stats.Min, _value),
        "max": _rival(stats.Max, _value),
        "lag": _rival(lambda: stats.Shift(2), _value),
        "covariance": _rival(stats.Cov, _pair),
        "correlation": _rival(stats.PearsonCorr, _pair),
        "holt_winters": _rival(partial(time_series.HoltWinters, 0.3, 0.1, 0.5, 7), _forecast),
        "page_hinkley": _rival(drift.PageHinkley, _drift),
        "adwin": _rival(drift.ADWIN, _drift),
        "quantiles": _rival(lambda: stats.Quantile(0.99), _value),
        "distinct": _rival(lambda: sketch.NUnique(error_rate=0.02), _unique),
        "frequency": _rival(lambda: sketch.Counter(epsilon=0.01, delta=0.01), _counted),
        "top_k": _rival(sketch.HeavyHitters, _counted),
        "histogram": _rival(sketch.Histogram, _binned),
        "linear_regression": _rival(lambda: linear_model.LinearRegression(optim.SGD(0.01)), _linear),
        "logistic_regression": _rival(lambda: linear_model.LogisticRegression(optim.SGD(0.01)), _logistic),
    }


def _hll(sketch: Any, row: Row) -> Any:
    sketch.update(row.n)
    return sketch.get_estimate()


def _estimated(sketch: Any, row: Row) -> Any:
    sketch.update(row.tag)
    return sketch.get_estimate(row.tag)


def _quantile(sketch: Any, row: Row) -> Any:
    sketch.add(row.x)
    return sketch.get_quantile_value(0.99)


def library_rivals() -> Rivals:
    """What a library made for the one thing has, called from Python for each event."""
    found: Rivals = {}
    if find_spec("datasketches") is not None:
        datasketches: Any = import_module("datasketches")  # it tells no types

        found["distinct"] = _rival(lambda: datasketches.hll_sketch(12), _hll)
        found["frequency"] = _rival(lambda: datasketches.count_min_sketch(5, 272), _estimated)
        found["top_k"] = _rival(lambda: datasketches.frequent_strings_sketch(6), _estimated)
    if find_spec("ddsketch") is not None:
        import ddsketch

        found["quantiles"] = _rival(lambda: ddsketch.DDSketch(0.01), _quantile)
    return found


def array_rivals(model: str) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """By operator: what a native library does with whole columns at once, for all keys as one, on one thread."""
    found: dict[str, Callable[[dict[str, Any]], Any]] = {}
    if find_spec("datasketches") is not None:
        datasketches: Any = import_module("datasketches")  # it tells no types

        def quantiles(columns: dict[str, Any]) -> Any:
            sketch = datasketches.kll_doubles_sketch(200)
            sketch.update(columns["x"])
            return sketch.get_quantile(0.99)

        found["quantiles"] = quantiles
    if find_spec("xgboost") is not None:
        import xgboost

        booster = xgboost.Booster({"nthread": 1}, model_file=model)
        found["model"] = lambda columns: booster.inplace_predict(
            np.column_stack((columns["x"], columns["y"], columns["volume"]))
        )
    return found


def save_model(path: str) -> bool:
    """Trains a hundred small trees and saves them; False: XGBoost is not installed."""
    if find_spec("xgboost") is None:
        return False
    import xgboost

    chance = np.random.default_rng(5)
    features = chance.normal(size=(4_000, 3)).astype(np.float32)
    label = (features[:, 0] + features[:, 1] ** 2 > 0.7).astype(int)
    settings = {"objective": "binary:logistic", "max_depth": 4, "nthread": 1, "seed": 1}
    xgboost.train(settings, xgboost.DMatrix(features, label=label), 100).save_model(path)
    return True
