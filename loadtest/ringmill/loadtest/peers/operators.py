"""Every built-in operator in a process of its own, one pipeline for each, and what others have for the same work."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.engine.engine import Engine
from ringmill.loadtest.peers import protocol
from ringmill.loadtest.peers.operator_rivals import (
    Feed,
    Row,
    array_rivals,
    library_rivals,
    river_rivals,
    save_model,
)
from ringmill.pipeline import Event, Label, Pipeline, Step, label, ops
from ringmill.v1.processing_pb2 import ProcessRequest

BATCH = 4096
KEYS = 1_000
_MESSAGES = 8
_START_US = 1_767_225_600_000_000  # 2026-01-01 UTC


class Point(Event):
    """What the operators read."""

    x: float
    y: float
    volume: float
    n: int
    flag: bool
    tag: Label = label("")


def steps() -> dict[str, Step]:
    """One step for each operator, named as it is."""
    return {
        "count": ops.count(),
        "sum": ops.sum("x"),
        "mean": ops.mean("x"),
        "variance": ops.variance("x"),
        "zscore": ops.zscore("x"),
        "ewma": ops.ewma("x", alpha=0.3),
        "ew_variance": ops.ew_variance("x", alpha=0.3),
        "min": ops.min("x"),
        "max": ops.max("x"),
        "first": ops.first("x"),
        "last": ops.last("x"),
        "lag": ops.lag("x", n=2),
        "delta": ops.delta("x"),
        "rate": ops.rate(),
        "alarm": ops.alarm("x", above=2.0, clear=1.0),
        "streak": ops.streak("flag"),
        "sequence": ops.sequence("tag", ["t1", "t2", "t3"], within_s=60.0),
        "histogram": ops.histogram("x", [-1.0, 0.0, 1.0]),
        "ohlcv": ops.ohlcv("x", "volume"),
        "vwap": ops.vwap("x", "volume"),
        "twap": ops.twap("x"),
        "covariance": ops.covariance("x", "y"),
        "correlation": ops.correlation("x", "y"),
        "trend": ops.trend("x"),
        "holt_winters": ops.holt_winters("x", alpha=0.3, beta=0.1, gamma=0.5, season=7),
        "kalman": ops.kalman("x", process=0.01, noise=1.0),
        "kalman_motion": ops.kalman_motion("x", acceleration=0.1, noise=1.0, speed=1.0),
        "geofence": ops.geofence("x", "y", center=(0.0, 0.0), radius_m=100_000.0),
        "cusum": ops.cusum("x"),
        "page_hinkley": ops.page_hinkley("x"),
        "adwin": ops.adwin("x"),
        "token_bucket": ops.token_bucket(rate=1.0, burst=10.0),
        "gcra": ops.gcra(rate=1.0, burst=10),
        "distinct": ops.distinct("n"),
        "quantiles": ops.quantiles("x", 0.99, negative=True),
        "frequency": ops.frequency("tag"),
        "top_k": ops.top_k("tag"),
        "linear_regression": ops.linear_regression("y", ["x", "volume"]),
        "logistic_regression": ops.logistic_regression("flag", ["x", "volume"]),
    }


class Operators:
    """One engine at a time, over the same messages; and its rivals over the same events."""

    def __init__(self, folder: str) -> None:
        self._steps = steps()
        self._model = str(Path(folder) / "model.json")
        if save_model(self._model):
            self._steps["model"] = ops.model(self._model, ["x", "y", "volume"])
        self._messages, self._columns = messages()
        self._rows = rows(self._columns)
        self._river, self._library, self._arrays = river_rivals(), library_rivals(), array_rivals(self._model)
        self._name = ""
        self._engine: Engine | None = None
        self._states: dict[tuple[str, str], defaultdict[str, Feed]] = {}

    def names(self) -> protocol.Answer:
        """The operators, and who else can do each."""
        sides: dict[str, Mapping[str, object]] = {
            "river": self._river,
            "library": self._library,
            "arrays": self._arrays,
        }
        return {"names": {name: [side for side, has in sides.items() if name in has] for name in self._steps}}

    def ours(self, name: str, batches: int) -> protocol.Answer:
        """Nanoseconds an event to find its key's row and run the step, and the bytes of its state."""
        engine = self._engine_of(name)
        spent = events = 0
        for number in range(batches):
            message = self._messages[number % _MESSAGES]
            count, _ = engine.decode(message, 0, message.size)
            began = perf_counter_ns()
            rejected = engine.apply(message, count)
            spent += perf_counter_ns() - began
            events += count
            if rejected:
                raise AssertionError(f"{name}: {rejected} events were rejected")
        return {"ns": spent / events, "state_bytes": engine.compiled.plan.steps[0].state.itemsize}

    def rival(self, name: str, side: str, events: int) -> protocol.Answer:
        """Nanoseconds an event, with a dict of keys, in Python; or, for arrays, of all events at once."""
        if side == "arrays":
            self._arrays[name](self._columns)
            began = perf_counter_ns()
            self._arrays[name](self._columns)
            return {"ns": (perf_counter_ns() - began) / len(self._rows)}
        make = (self._river if side == "river" else self._library)[name]
        states = self._states.setdefault((name, side), defaultdict(make))
        some = self._rows[: min(events, len(self._rows))]
        began = perf_counter_ns()
        for key, row in some:
            states[key](row)
        return {"ns": (perf_counter_ns() - began) / len(some)}

    def _engine_of(self, name: str) -> Engine:
        if self._name != name or self._engine is None:
            self._states.clear()
            pipeline = Pipeline("bench", version="1.0.0", event=Point, steps={"step": self._steps[name]})
            self._name, self._engine = name, Engine(pipeline.compile(), BATCH, keys_max=KEYS)
        return self._engine


def messages() -> tuple[list[npt.NDArray[np.uint8]], dict[str, Any]]:
    """Requests as the kernels read them, and the same events as columns."""
    chance = np.random.default_rng(11)
    count = BATCH * _MESSAGES
    columns: dict[str, Any] = {
        "key": chance.integers(0, KEYS, count),
        "time_us": _START_US + np.arange(1, count + 1) * 1000,
        "x": chance.normal(size=count),
        "y": chance.normal(size=count),
        "volume": chance.gamma(2.0, 2.0, count),
        "n": chance.integers(0, 10_000, count),
        "flag": chance.random(count) < 0.7,
        "tag": np.minimum(chance.zipf(1.3, count), 1_000),
    }
    made = []
    for first in range(0, count, BATCH):
        request = ProcessRequest()
        for i in range(first, first + BATCH):
            request.events.add(
                key=f"key-{columns['key'][i]}",
                time_us=int(columns["time_us"][i]),
                values=[columns["x"][i], columns["y"][i], columns["volume"][i]],
                integers=[int(columns["n"][i]), int(columns["flag"][i])],
                labels=[f"t{columns['tag'][i]}"],
            )
        made.append(np.frombuffer(request.SerializeToString(), np.uint8))
    return made, columns


def rows(columns: dict[str, Any]) -> list[tuple[str, Row]]:
    """The events as Python has them, with their keys."""
    names = ("x", "y", "volume", "n", "flag", "tag", "time_us")
    plain = [columns[name].tolist() for name in names]
    plain[names.index("tag")] = [f"t{tag}" for tag in plain[names.index("tag")]]
    keys = [f"key-{key}" for key in columns["key"].tolist()]
    return [(key, Row(*values)) for key, *values in zip(keys, *plain, strict=True)]


def measure() -> None:
    """Answers until stdin closes."""
    with tempfile.TemporaryDirectory() as folder:
        made = Operators(folder)
        commands: dict[str, Callable[..., protocol.Answer]] = {
            "names": made.names,
            "ours": made.ours,
            "rival": made.rival,
        }
        protocol.obey(commands)
