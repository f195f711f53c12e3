"""The code that a newcomer must be able to write."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from ringmill.core.errors import Reason, RingmillError
from ringmill.pipeline import Array, Event, Label, Pipeline, State, array, label, minutes, operator, ops, tumbling

OWN = label("UA")


class Flight(Event):
    delay: float
    distance: int = 0
    carrier: Label = label("")


class Recent(State):
    seen: int = 0
    delays: Array = array(8, fill=0.0)


class Jump(NamedTuple):
    size: float
    abrupt: bool


@operator
def jump(state: Recent, event: Flight, limit: float = 30.0) -> Jump:
    slot = state.seen % 8
    size = event.delay - state.delays[slot]
    state.delays[slot] = event.delay
    state.seen += 1
    return Jump(size, state.seen > 8 and size > limit and event.carrier != OWN)


STEPS = {
    "mean": ops.mean("delay"),
    "z": ops.zscore("delay"),
    "jump": jump(limit=45.0),
    "alarm": ops.alarm("z", above=3.0, clear=2.0),
    "hourly": ops.mean("delay").over(tumbling(hours=1), lateness=minutes(5)),  # has no output column: it emits
}
flights = Pipeline("flights", version="1.0.0", event=Flight, steps=STEPS)


def test_one_very_late_flight_raises_the_alarm() -> None:
    got = flights.run(keys=["N1"] * 12, times=range(1, 13), delay=[5, 6] * 5 + [90, 5], carrier=["AA"] * 12)
    assert got["alarm"].tolist() == [0] * 10 + [1, 0]
    assert got["jump.abrupt"].tolist() == [0] * 10 + [1, 0]
    assert got.rejected == 0
    assert len(got.emissions["hourly"]) == 0


def test_a_late_flight_corrects_its_hour_and_a_later_one_is_rejected() -> None:
    times = [int(1e6 * 60 * minute) for minute in (10, 50, 61, 59, 70, 64)]
    got = flights.run(keys=["N1"] * 6, times=times, delay=[2.0, 4.0, 9.0, 12.0, 0.0, 1.0])
    assert got.emissions["hourly"]["value"].tolist() == [3.0, 6.0]
    assert got.emissions["hourly"].revisions.tolist() == [0, 1]
    assert got.reasons.tolist() == [0, 0, 0, 0, 0, Reason.LATE]


def test_a_declared_label_is_compared_by_its_text() -> None:
    got = flights.run(keys=["N1"] * 12, times=range(1, 13), delay=[5, 6] * 5 + [90, 5], carrier=["UA"] * 12)
    assert not got["jump.abrupt"].any()


@pytest.mark.parametrize(
    "kind", [list, np.array, pd.Series, pd.Index, iter], ids=["list", "array", "series", "index", "iterator"]
)
def test_columns_may_be_sequences_of_any_library(kind: type) -> None:
    got = flights.run(keys=kind(["a", "b", "a"]), times=kind([1, 2, 3]), delay=kind([1.0, 2.0, 3.0]))
    assert got["mean"].tolist() == [1.0, 2.0, 2.0]


def test_more_than_one_batch() -> None:
    count = 10_000
    got = flights.run(keys=(f"k{i % 7}" for i in range(count)), times=range(1, count + 1), delay=range(count))
    expected = pd.Series(range(count), dtype=float).groupby(np.arange(count) % 7).expanding().mean()
    np.testing.assert_allclose(got["mean"], expected.droplevel(0).sort_index(), rtol=1e-12)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "delay is missing"),
        ({"delay": [1.0], "speed": [1.0]}, "no field speed"),
        ({"delay": [1.0, 2.0]}, "2 values for 1 keys"),
    ],
)
def test_columns_that_do_not_fit(fields: dict[str, list[float]], said: str) -> None:
    with pytest.raises(RingmillError, match=said):
        flights.run(keys=["a"], times=[1], **fields)


def test_description() -> None:
    told = flights.describe()
    assert [(field.name, field.kind, field.has_default) for field in told.fields] == [
        ("delay", 1, False),
        ("distance", 2, True),
        ("carrier", 4, True),
    ]
    outputs = [(field.name, field.kind, field.nullable) for field in told.outputs]
    assert outputs == [
        ("mean", 1, True),
        ("z", 1, True),
        ("jump.size", 1, False),
        ("jump.abrupt", 3, False),
        ("alarm", 3, False),
    ]
    assert "jump.delays[7]" in [field.name for field in told.state]
    assert (told.version, told.digest, told.uses_time) == ("1.0.0", flights.digest, True)


def test_events_are_ordinary_objects_outside_kernels() -> None:
    event = Flight(key="N1", delay=2.0)
    assert (event.key, event.time_us, event.carrier) == ("N1", 0, "")
    assert event == Flight(key="N1", delay=2.0, distance=0)
    with pytest.raises(TypeError):
        Flight("N1", 2.0)  # type: ignore[misc]  # that this is an error is what is tested
