"""Batches through a compiled pipeline: bytes in, bytes out, read by the official library."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pytest

from ringmill.core.columns import Columns
from ringmill.core.errors import Reason
from ringmill.core.hashing import PARTITIONS, partition_of
from ringmill.engine.engine import Engine
from ringmill.pipeline import Array, Event, Input, Label, Pipeline, State, array, label, operator
from ringmill.v1.processing_pb2 import Event as WireEvent
from ringmill.v1.processing_pb2 import Outcome, ProcessRequest, ProcessResponse

HIGH = label("high")


class Reading(Event):
    x: float
    gap: float | None = None
    slot: int = 0
    flag: bool = False
    tag: Label = label("none")


class Seen(State):
    total: float = 0.0
    count: int = 0
    last: Label = label("")
    slots: Array = array(4, fill=0)


@operator
def risky(state: Seen, event: Reading, limit: float) -> float:
    """Changes its state first, and fails afterwards in several ways."""
    state.count += 1
    state.total += event.x
    state.slots[event.slot] += 1
    if event.x > limit:
        raise ValueError("too large")
    return state.total / event.x


class Named(NamedTuple):
    newest: Label
    before: Label
    seen: int
    gap: float | None


@operator
def named(state: Seen, event: Reading, ratio: Input) -> Named:
    before = state.last
    state.last = event.tag
    state.count += 1
    newest = event.tag
    if event.flag:
        newest = event.key  # no label: nobody knows its text
    elif ratio > 100.0:
        newest = HIGH
    gap = math.inf if event.gap > 1e300 else event.gap
    return Named(newest, before, state.count, gap)


readings = Pipeline(
    "readings", version="1.0.0", event=Reading, steps={"risky": risky(limit=50.0), "named": named("risky")}
)
SMALL = 8


@pytest.fixture
def engine() -> Engine:
    return Engine(readings.compile(), events_max=64, keys_max=SMALL)


def reading(key: str, x: float, gap: float = math.nan, slot: int = 0, flag: bool = False, tag: str = "") -> WireEvent:
    return WireEvent(key=key, time_us=7, values=[x, gap], integers=[slot, int(flag)], labels=[tag])


def outcomes(engine: Engine, events: Iterable[WireEvent]) -> list[Outcome]:
    message = ProcessRequest(pipeline="readings", events=events).SerializeToString()
    buffer = np.frombuffer(message, np.uint8)
    count, head_length = engine.decode(buffer, 0, len(message))
    assert ProcessRequest.FromString(engine.head[:head_length].tobytes()) == ProcessRequest(pipeline="readings")
    rejected = engine.apply(buffer, count)
    response = ProcessResponse.FromString(engine.encode(count, ProcessResponse(sequence=9).SerializeToString()))
    assert response.sequence == 9
    assert rejected == sum(outcome.HasField("rejection") for outcome in response.outcomes)
    return list(response.outcomes)


def reasons(found: list[Outcome]) -> list[int]:
    return [outcome.rejection.reason for outcome in found]


def test_outputs_of_every_kind(engine: Engine) -> None:
    first, second = outcomes(engine, [reading("a", 1.0, tag="red"), reading("a", 0.004, gap=2.5, tag="grün")])
    assert first.values[0] == 1.0
    assert math.isnan(first.values[1])
    assert (list(first.labels), list(first.integers)) == (["red", ""], [1])
    assert list(second.values) == [1.004 / 0.004, 2.5]
    assert (list(second.labels), list(second.integers)) == (["high", "red"], [2])


def test_a_missing_tail_takes_the_defaults(engine: Engine) -> None:
    (outcome,) = outcomes(engine, [WireEvent(key="a", values=[2.0])])
    assert list(outcome.labels) == ["none", ""]
    assert math.isnan(outcome.values[1])


FAILURES = {
    "raises": reading("a", 51.0),
    "divides by zero": reading("a", 0.0),
    "index past the end": reading("a", 1.0, slot=4),
    "index before the beginning": reading("a", 1.0, slot=-5),
    "index far away": reading("a", 1.0, slot=2**62),
    "infinite output": reading("a", 1.0, gap=1.5e300),
    "a label that nobody knows": reading("a", 1.0, flag=True),
}


@pytest.mark.parametrize("failing", FAILURES.values(), ids=FAILURES)
def test_a_failure_leaves_no_trace(engine: Engine, failing: WireEvent) -> None:
    good = [reading("a", 1.0, tag="red"), reading("a", 2.0, tag="blue")]
    expected = outcomes(Engine(readings.compile(), 64, SMALL), good)
    before, failed, after = outcomes(engine, [good[0], failing, good[1]])
    assert failed.rejection.reason == Reason.OPERATOR_FAILED
    assert "risky" in failed.rejection.detail
    assert not failed.values
    assert [str(outcome) for outcome in (before, after)] == [str(outcome) for outcome in expected]


def test_a_new_key_whose_first_event_failed_is_not_kept(engine: Engine) -> None:
    assert reasons(outcomes(engine, [reading("a", 51.0)])) == [Reason.OPERATOR_FAILED]
    assert (engine.table.count, engine.table.get(b"a")) == (0, None)
    (outcome,) = outcomes(engine, [reading("a", 1.0)])
    assert (list(outcome.integers), engine.table.count) == ([1], 1)


def test_the_row_keeps_the_newest_time(engine: Engine) -> None:
    for time_us in (5, 9, 3):
        outcomes(engine, [WireEvent(key="a", time_us=time_us, values=[1.0])])
    outcomes(engine, [WireEvent(key="a", time_us=99, values=[60.0])])
    row = engine.table.get(b"a")
    assert row is not None
    assert row["time_us"] == 9


def test_events_of_partitions_that_are_not_owned(engine: Engine) -> None:
    owned = np.ones(PARTITIONS, np.uint8)
    owned[partition_of(b"b")] = 0
    engine.own(owned)
    found = outcomes(engine, [reading("a", 1.0), reading("b", 1.0)])
    assert reasons(found) == [0, Reason.UNAVAILABLE]
    assert engine.table.count == 1


def test_a_full_partition_refuses_new_keys_only(engine: Engine) -> None:
    partition = partition_of(b"0")
    keys = [key for key in map(str, range(40_000)) if partition_of(key.encode()) == partition][: SMALL + 1]
    found = outcomes(engine, [reading(key, 1.0) for key in (*keys, keys[0])])
    assert reasons(found) == [0] * SMALL + [Reason.OVERLOADED, 0]


def test_an_event_that_breaks_the_rules_is_not_applied(engine: Engine) -> None:
    found = outcomes(engine, [reading("", 1.0), reading("a", math.nan), reading("a", math.inf), reading("a", 1.0)])
    assert reasons(found) == [Reason.KEY_INVALID, Reason.VALUES_INVALID, Reason.VALUES_INVALID, 0]
    assert "x, [gap]" in found[1].rejection.detail


def test_batches_of_any_size_do_the_same() -> None:
    events = [reading(f"k{i % 5}", 1.0 + i % 49, gap=float(i), tag=f"t{i % 3}") for i in range(64)]
    whole, single = Engine(readings.compile(), 64), Engine(readings.compile(), 1)
    together = outcomes(whole, events)
    assert [str(outcome) for outcome in together] == [str(outcomes(single, [event])[0]) for event in events]


def test_more_events_than_the_columns_hold(engine: Engine) -> None:
    message = ProcessRequest(events=[reading("a", 1.0)] * 65).SerializeToString()
    buffer = np.frombuffer(message, np.uint8)
    assert engine.decode(buffer, 0, len(message))[0] < 0
    with pytest.raises(ValueError, match="65 events"):
        engine.apply(buffer, 65)


def test_the_compiled_code_comes_from_the_cache_the_second_time() -> None:
    from ringmill.engine.compiled import compile_pipeline

    readings.compile()
    again = compile_pipeline(readings.plan)
    assert not again.cold
    assert again.outcome_bytes_max >= 8 * 3 + 2 * 1024


def test_copied_columns_are_encoded_as_the_engine_encodes_its_own(engine: Engine) -> None:
    sent = [reading(f"k{i % 2}", 20.0 * (i + 1), tag=f"tag {i}") for i in range(4)]
    found = outcomes(engine, sent)
    assert reasons(found) == [0, 0, int(Reason.OPERATOR_FAILED), int(Reason.OPERATOR_FAILED)]
    expected = engine.encode(4, b"")
    columns = engine.columns
    copied = Columns(
        columns.events[:4].copy(),
        columns.values,
        columns.labels,
        columns.integers,
        columns.out_values[:4].copy(),
        columns.out_labels[:4].copy(),
        columns.out_integers[:4].copy(),
    )
    outcomes(engine, reversed(sent))
    assert engine.encode_columns(copied, 4) == expected
    with pytest.raises(ValueError, match="5 events"):
        engine.encode_columns(copied, 5)
