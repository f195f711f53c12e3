"""Every kind of window at every event, against its definition, and against libraries that no one here wrote."""

import itertools
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import stats
from river.utils import TimeRolling

from ringmill.core.errors import Reason
from ringmill.engine.engine import Engine
from tests.oracle.window_pipelines import CASES, EVENTS, WINDOWS, Case, Feed, Row, wanted_rows

Events = list[tuple[str, int]]


class Engines:
    """One engine a case; every stream has keys of its own."""

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}
        self._numbers = itertools.count()
        self._pipelines = {case.name: case.make() for case in CASES}

    def fresh(self, case: Case) -> Engine:
        return Engine(self._pipelines[case.name].compile(), events_max=EVENTS, keys_max=4096)

    def feed(self, case: Case) -> Feed:
        if case.name not in self._engines:
            self._engines[case.name] = self.fresh(case)
        return Feed(self._engines[case.name], f"{next(self._numbers)} ")


@pytest.fixture(scope="module")
def engines() -> Engines:
    return Engines()


@st.composite
def streams(draw: st.DrawFn) -> Events:
    """Two keys; times that mostly move on, go back now and then, stand still, and jump."""
    steps = draw(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-7, 6), st.integers(0, 40)), max_size=60))
    time, events = draw(st.integers(1, 50)), []
    for key, step, jump in steps:
        time = max(1, time + (step if jump < 38 else 25))
        events.append((key, time))
    return events


def values_of(events: Events) -> list[float]:
    """Whole numbers whose sums tell what they were made of."""
    return [float(v) for v in np.random.default_rng(len(events)).integers(-(2**40), 2**40, len(events))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@settings(max_examples=200)
@given(events=streams())
def test_what_is_emitted_is_what_the_definition_says(engines: Engines, case: Case, events: Events) -> None:
    values = values_of(events)
    reasons, rows = wanted_rows(case.oracle(), events, values)
    got = engines.feed(case).feed(events, values)
    assert got.reasons == reasons
    for name in WINDOWS:
        assert got.rows[name] == rows[name], name


def long_stream(seed: int, count: int = 400, back: int = 4) -> Events:
    chance = np.random.default_rng(seed)
    times = 100 + np.cumsum(chance.integers(0, 3, count)) - chance.integers(0, back, count)
    return [(f"k{key}", int(time)) for key, time in zip(chance.zipf(1.5, count) % 5, times, strict=True)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("size", [1, 7, 50])
def test_emissions_do_not_depend_on_how_events_are_batched(engines: Engines, case: Case, size: int) -> None:
    events = long_stream(1)
    values = values_of(events)
    whole, split = engines.feed(case).feed(events, values), engines.feed(case)
    for first in range(0, len(events), size):
        split.feed(events[first : first + size], values[first : first + size])
    assert sum(len(rows) for rows in whole.rows.values()) > 100
    assert (split.rows, split.reasons) == (whole.rows, whole.reasons)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_copies_hold_the_same_bytes_and_a_moved_state_goes_on_as_if_it_had_stayed(
    engines: Engines, case: Case
) -> None:
    events = long_stream(2)
    values = values_of(events)
    one, other, moved = Feed(engines.fresh(case)), Feed(engines.fresh(case)), Feed(engines.fresh(case))
    one.feed(events[:200], values[:200])
    for first in range(0, 200, 9):
        last = min(200, first + 9)
        other.feed(events[first:last], values[first:last])
    exports = [one.engine.table.export(p) for p in range(one.engine.compiled.partitions)]
    assert exports == [other.engine.table.export(p) for p in range(one.engine.compiled.partitions)]
    for partition, data in enumerate(exports):
        moved.engine.table.restore(partition, data)
    before = {name: len(rows) for name, rows in one.rows.items()}
    one.feed(events[200:], values[200:])
    moved.feed(events[200:], values[200:])
    for name, rows in moved.rows.items():
        assert [row._replace(by=row.by + 200) for row in rows] == one.rows[name][before[name] :]
    assert moved.reasons == one.reasons[200:]


def in_order(seed: int) -> Events:
    return sorted(long_stream(seed), key=lambda event: event[1])


def with_room(engines: Engines, case: Case, events: Events) -> Events:
    """Without the events that are one too many for the sliding windows: they leave no trace."""
    reasons = engines.feed(case).feed(events, values_of(events)).reasons
    return [event for event, reason in zip(events, reasons, strict=True) if reason != Reason.OVERLOADED]


def final(rows: list[Row]) -> pd.DataFrame:
    """The last revision of each window."""
    frame = pd.DataFrame(rows, columns=list(Row._fields))
    return frame.drop_duplicates(["key", "start", "end"], keep="last").set_index(["key", "start"]).sort_index()


def test_tumbling_sums_are_those_of_pandas(engines: Engines) -> None:
    events = in_order(3)
    values = values_of(events)
    got = final(engines.feed(CASES[0]).feed(events, values).rows["tumbling"])
    frame = pd.DataFrame({"time": pd.to_datetime([t for _, t in events], unit="s"), "x": values})
    for key, some in frame.groupby([key for key, _ in events]):
        sums = some.set_index("time").x.resample("7s", origin="epoch").agg(["sum", "size"])
        sums = sums[sums["size"] > 0]["sum"]
        closed = sums[sums.index + pd.Timedelta("7s") <= some.time.max() - pd.Timedelta("3s")]
        starts = (closed.index - pd.Timestamp(0)) // pd.Timedelta("1s")
        assert got.loc[key].value.to_dict() == dict(zip(starts.astype(float), closed, strict=True))


def test_sliding_sums_are_those_of_river(engines: Engines) -> None:
    """Which takes events in order; of equal times the last says what the window holds."""
    events = with_room(engines, CASES[1], [(key, t) for key, t in in_order(4) if key == "k1"])
    values = values_of(events)
    got = final(engines.feed(CASES[1]).feed(events, values).rows["sliding"]).reset_index().set_index("end")
    rolling: Any = TimeRolling(stats.Sum, period=timedelta(seconds=5))
    wanted = {}
    for (_, time), value in zip(events, values, strict=True):
        rolling.update(value, t=datetime(1970, 1, 1) + timedelta(seconds=time))
        wanted[float(time)] = rolling.get()
    assert got.value.to_dict() == wanted


def bytewax_windows(events: Events, windower: Any, wait: int) -> tuple[list[tuple[str, tuple[int, ...]]], list[int]]:
    """What bytewax puts together, as numbers of events, and which it finds late."""
    import bytewax.operators as op
    import bytewax.operators.windowing as windows
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, TestingSource, run_main

    moment = datetime(2026, 1, 1, tzinfo=UTC)
    clock = windows.EventClock(
        lambda item: datetime.fromtimestamp(item[0], UTC), timedelta(seconds=wait), now_getter=lambda: moment,
        to_system_utc=lambda _: None,
    )  # fmt: skip
    down: list[Any] = []
    late: list[Any] = []
    flow = Dataflow("windows")
    items = [(key, (time, number)) for number, (key, time) in enumerate(events)]
    stream = op.input("in", flow, TestingSource(items, batch_size=1))
    collected = windows.collect_window("collect", stream, clock, windower)
    op.output("down", collected.down, TestingSink(down))
    op.output("late", collected.late, TestingSink(late))
    run_main(flow)
    contents = [(key, tuple(sorted(number for _, number in content))) for key, (_, content) in down]
    return contents, [number for _, (_, (_, number)) in late]


def tumbler() -> Any:
    from bytewax.operators.windowing import TumblingWindower

    return TumblingWindower(length=timedelta(seconds=7), align_to=datetime.fromtimestamp(0, UTC))


def hopper() -> Any:
    from bytewax.operators.windowing import SlidingWindower

    origin = datetime.fromtimestamp(0, UTC)
    return SlidingWindower(length=timedelta(seconds=9), offset=timedelta(seconds=3), align_to=origin)


def sessions() -> Any:
    """Its gap ends a session only when it is longer."""
    from bytewax.operators.windowing import SessionWindower

    return SessionWindower(gap=timedelta(seconds=3) - timedelta(microseconds=1))


@pytest.mark.parametrize(("name", "windower"), [("tumbling", tumbler), ("hopping", hopper), ("session", sessions)])
@pytest.mark.parametrize("seed", range(3))
def test_windows_hold_the_events_that_bytewax_puts_together(
    engines: Engines, name: str, windower: Callable[[], Any], seed: int
) -> None:
    """With three seconds of patience and no lateness. At the end it closes all windows, and we do not."""
    events = with_room(engines, CASES[0], long_stream(10 + seed, back=6))
    values = [float(2 ** (n % 50)) for n in range(len(events))]
    feed = engines.feed(CASES[0]).feed(events, values)
    contents, late = bytewax_windows(events, windower(), wait=3)
    assert sorted(set(late)) == [n for n, reason in enumerate(feed.reasons) if reason == Reason.LATE]
    wanted = sorted((key, sum(values[n] for n in content)) for key, content in contents)
    got = sorted((row.key, row.value) for row in feed.rows[name])
    left = list(difference(wanted, got))
    assert len(left) <= 4 * len({key for key, _ in events}), "more than the last of each key"
    assert len(got) > 10 * len({key for key, _ in events})


def difference(wanted: list[Any], got: list[Any]) -> Iterator[Any]:
    """What is wanted and was not got."""
    rest = list(got)
    for one in wanted:
        if one in rest:
            rest.remove(one)
        else:
            yield one
    assert not rest, "what bytewax does not have"


def test_late_events_and_windows_are_frequent_enough_to_be_tested(engines: Engines) -> None:
    events = long_stream(10, back=6)
    feed = engines.feed(CASES[2]).feed(events, [math.pi] * len(events))
    assert feed.reasons.count(Reason.NONE) > 300
    assert sum(row.revision > 0 for rows in feed.rows.values() for row in rows) > 20
