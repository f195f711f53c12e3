"""One suite for every built-in operator: what each promises, whatever it computes."""

import math
from typing import Any

import numpy as np
import pytest

from ringmill.core.errors import Code, RingmillError
from ringmill.engine.engine import Engine
from ringmill.pipeline import Event, Pipeline, ops
from ringmill.v1.processing_pb2 import ProcessRequest


class Point(Event):
    x: float
    y: float | None = None


STEPS = {
    "events": ops.count(),
    "count": ops.count("y"),
    "sum": ops.sum("x"),
    "mean": ops.mean("x"),
    "variance": ops.variance("x"),
    "z": ops.zscore("x"),
    "ewma": ops.ewma("x", alpha=0.3),
    "min": ops.min("x"),
    "max": ops.max("x"),
    "last": ops.last("y"),
    "lag": ops.lag("y", n=2),
    "rate": ops.rate(),
    "alarm": ops.alarm("z", above=3.0, clear=2.0),
}
points = Pipeline("points", version="1.0.0", event=Point, steps=STEPS)

STATE_BYTES = {
    "events": 8, "count": 8, "sum": 16, "mean": 16, "variance": 24, "z": 24, "ewma": 8, "min": 8, "max": 8, "last": 8,
    "lag": 24, "rate": 24, "alarm": 8,
}  # fmt: skip


def events(count: int, seed: int = 0) -> list[tuple[str, int, float, float]]:
    """Keys of uneven frequency, steps of time, noisy values with gaps."""
    chance = np.random.default_rng(seed)
    keys = chance.zipf(1.5, count) % 37
    times = 1_700_000_000_000_000 + np.cumsum(chance.integers(0, 10_000, count))
    y = np.where(chance.random(count) < 0.2, np.nan, chance.normal(size=count))
    return [
        (f"key {k}", int(t), float(x), float(m))
        for k, t, x, m in zip(keys, times, chance.normal(size=count), y, strict=True)
    ]


def apply(engine: Engine, batch: list[tuple[str, int, float, float]]) -> np.ndarray:
    """The outputs of one batch, all as doubles, one row for each event."""
    request = ProcessRequest()
    for key, time_us, x, y in batch:
        request.events.add(key=key, time_us=time_us, values=[x, y])
    message = request.SerializeToString()
    buffer = np.frombuffer(message, np.uint8)
    count, _ = engine.decode(buffer, 0, len(message))
    assert count == len(batch)
    assert engine.apply(buffer, count) == 0
    columns = engine.columns
    return np.hstack((columns.out_values[:count], columns.out_integers[:count].astype(float)))


def run_in_batches(engine: Engine, batch: list[tuple[str, int, float, float]], size: int) -> np.ndarray:
    return np.vstack([apply(engine, batch[first : first + size]) for first in range(0, len(batch), size)])


@pytest.fixture(scope="module")
def compiled() -> Any:
    return points.compile()


@pytest.fixture(scope="module")
def whole(compiled: Any) -> np.ndarray:
    return apply(Engine(compiled), events(2000))


@pytest.mark.parametrize("size", [1, 7, 333])
def test_outcomes_do_not_depend_on_how_events_are_batched(compiled: Any, whole: np.ndarray, size: int) -> None:
    assert run_in_batches(Engine(compiled), events(2000), size).tobytes() == whole.tobytes()


def test_outcomes_of_a_key_do_not_depend_on_other_keys(compiled: Any, whole: np.ndarray) -> None:
    batch = events(2000)
    for key in ("key 1", "key 2", "key 30"):
        places = [i for i, event in enumerate(batch) if event[0] == key]
        alone = apply(Engine(compiled), [batch[i] for i in places])
        assert alone.tobytes() == whole[places].tobytes()


def test_two_copies_that_saw_the_same_events_hold_the_same_bytes(compiled: Any) -> None:
    one, other = Engine(compiled), Engine(compiled)
    run_in_batches(one, events(2000), 100)
    run_in_batches(other, events(2000), 999)
    partitions = [p for p in range(compiled.partitions) if one.table.keys(p)]
    assert len(partitions) > 10
    assert [one.table.export(p) for p in partitions] == [other.table.export(p) for p in partitions]


def test_a_moved_state_goes_on_as_if_it_had_stayed(compiled: Any, whole: np.ndarray) -> None:
    batch = events(2000)
    first, second = Engine(compiled), Engine(compiled)
    apply(first, batch[:1000])
    for partition in range(compiled.partitions):
        if first.table.keys(partition):
            second.table.restore(partition, first.table.export(partition))
    assert apply(second, batch[1000:]).tobytes() == whole[1000:].tobytes()


EXTREMES = [1.7e308, -1.7e308, 5e-324, -5e-324, 0.0, -0.0, 1e-200, 1e154, -1e154, 1.0] * 3
TIMES = range(1, len(EXTREMES) + 1)


def some_of(*names: str) -> Pipeline:
    return Pipeline("some", version="1.0.0", event=Point, steps={name: STEPS[name] for name in names})


firm = some_of("events", "mean", "ewma", "min", "max")
limited = some_of("sum", "variance", "z")


@pytest.mark.parametrize("seed", range(6))
def test_no_value_is_too_large_or_too_small_for_an_average_or_an_extreme(seed: int) -> None:
    values = np.random.default_rng(seed).permutation(EXTREMES)
    got = firm.run(keys=["k"] * len(values), times=TIMES, x=values)
    assert got.rejected == 0
    assert np.isfinite(got["mean"]).all()
    assert np.isfinite(got["ewma"]).all()
    assert (got["min"] <= got["mean"]).all()
    assert (got["mean"] <= got["max"]).all()
    np.testing.assert_array_equal(got["min"], np.minimum.accumulate(values))
    np.testing.assert_array_equal(got["max"], np.maximum.accumulate(values))


@pytest.mark.parametrize("seed", range(6))
def test_what_a_double_cannot_hold_is_rejected_as_if_the_event_had_not_been(seed: int) -> None:
    values = np.random.default_rng(seed).permutation(EXTREMES)
    got = limited.run(keys=["k"] * len(values), times=TIMES, x=values)
    applied = got.reasons == 0
    assert 0 < got.rejected < len(values)
    alone = limited.run(keys=["k"] * int(applied.sum()), times=range(1, int(applied.sum()) + 1), x=values[applied])
    assert alone.rejected == 0
    for name in ("sum", "variance", "z"):
        assert np.array_equal(alone[name], got[name][applied], equal_nan=True)
        assert not np.isinf(got[name]).any()
    assert np.isfinite(alone["sum"]).all()
    assert np.isfinite(alone["variance"][1:]).all()


def test_equal_values_have_no_variance_and_no_zscore() -> None:
    for value in (0.1, 1e300, 5e-324, -3.0):
        got = points.run(keys=["k"] * 20, times=range(1, 21), x=[value] * 20)
        assert got.rejected == 0
        assert np.isnan(got["z"]).all()
        assert (got["variance"][1:] == 0.0).all()
        assert (got["mean"] == value).all()
        assert (got["ewma"] == value).all()


def test_a_missing_value_changes_no_state_but_that_of_lag_and_count_of_events() -> None:
    some = points.run(keys=["k"] * 4, times=range(1, 5), x=[1.0] * 4, y=[2.0, math.nan, math.nan, 5.0])
    assert some["count"].tolist() == [1, 1, 1, 2]
    assert some["events"].tolist() == [1, 2, 3, 4]
    assert some["last"].tolist() == [2.0, 2.0, 2.0, 5.0]
    np.testing.assert_array_equal(some["lag"], [math.nan, math.nan, 2.0, math.nan])


def test_a_very_late_flight_raises_the_alarm_until_the_next_is_on_time() -> None:
    got = points.run(keys=["N1"] * 12, times=range(1, 13), x=[5, 6] * 5 + [90, 5])
    assert got["alarm"].tolist() == [0] * 10 + [1, 0]
    assert got["z"][10] == pytest.approx(math.sqrt(10), rel=1e-3)


def test_the_state_takes_the_bytes_that_the_docstrings_say() -> None:
    assert {step.name: step.state.itemsize for step in points.plan.steps} | {"alarm": 8} == STATE_BYTES


@pytest.mark.parametrize(
    ("make", "mend"),
    [
        (lambda: ops.ewma("x"), "write one, as in alpha=0.1"),
        (lambda: ops.ewma("x", alpha=0.1, half_life=3), "write one, as in alpha=0.1"),
        (lambda: ops.ewma("x", alpha=0.0), "above 0 and at most 1"),
        (lambda: ops.ewma("x", alpha=1.1), "above 0 and at most 1"),
        (lambda: ops.ewma("x", alpha=math.nan), "above 0 and at most 1"),
        (lambda: ops.ewma("x", alpha=True), "above 0 and at most 1"),
        (lambda: ops.ewma("x", half_life=0), "number of values above 0"),
        (lambda: ops.lag("x", n=0), "from 1 to 1024"),
        (lambda: ops.lag("x", n=1.5), "from 1 to 1024"),  # type: ignore[arg-type]  # the mistake under test
        (lambda: ops.lag("x", n=1025), "from 1 to 1024"),
        (lambda: ops.rate(half_life_s=0.0), "as in half_life_s=60.0"),
        (lambda: ops.rate(half_life_s=math.nan), "as in half_life_s=60.0"),
        (lambda: ops.variance("x", ddof=2), "1 for a sample"),
        (lambda: ops.zscore("x", ddof=-1), "0 for a population"),
        (lambda: ops.alarm("z"), "write one, as in above=3.0"),
        (lambda: ops.alarm("z", above=3.0, below=1.0), "write one, as in above=3.0"),
        (lambda: ops.alarm("z", above=3.0, clear=3.5), "may be at most 3.0"),
        (lambda: ops.alarm("z", below=3.0, clear=2.5), "must be at least 3.0"),
        (lambda: ops.alarm("z", above=math.inf), "finite number"),
        (lambda: ops.alarm("z", above=3.0, clear=math.nan), "finite number"),
    ],
)
def test_a_wrong_parameter_is_refused_at_the_users_line_with_the_mend(make: Any, mend: str) -> None:
    with pytest.raises(RingmillError, match=mend) as raised:
        make()
    assert raised.value.code is Code.INVALID_ARGUMENT
    assert "test_ops_contract.py:" in raised.value.message
