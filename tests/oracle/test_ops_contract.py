"""One suite for every built-in operator: what each promises, whatever it computes."""

import inspect
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ringmill.core.errors import Code, RingmillError
from ringmill.engine.engine import Engine
from ringmill.engine.fuse import columns_of
from ringmill.engine.plan import Kind
from ringmill.pipeline import Pipeline, ops
from ringmill.v1.processing_pb2 import ProcessRequest
from tests.oracle.catalogue import LINEAR, MODEL, STATE_BYTES, STEPS, combined, events, points, run

EVENTS = 2_000
MERGE_ANY = {
    "events", "count", "sum", "mean", "variance", "z", "min", "max", "rate", "ohlcv", "vwap", "covariance",
    "correlation", "trend", "histogram", "quantiles", "positive", "distinct", "distinct_tags", "frequency", "top_k",
}  # fmt: skip
MERGE_LATER = {"first", "last", "delta", "twap", "streak"}
INEXACT = {"top_k", "positive"}
"""Merged they keep their bounds, not the numbers of the union: counters ran out, bins fell off."""


def request_of(frame: pd.DataFrame) -> bytes:
    """The events as the official library writes them."""
    request = ProcessRequest()
    for row in frame.itertuples(index=False):
        request.events.add(
            key=row.key,
            time_us=row.time_us,
            values=[row.x, row.latitude, row.longitude, row.y, row.volume],
            integers=[row.n, int(row.flag)],
            labels=[row.tag],
        )
    return request.SerializeToString()


def apply(engine: Engine, frame: pd.DataFrame) -> pd.DataFrame:
    """The outputs of one batch, labels as their hashes. Every event must be applied."""
    message = request_of(frame)
    buffer = np.frombuffer(message, np.uint8)
    count, _ = engine.decode(buffer, 0, len(message))
    assert count == len(frame)
    assert engine.apply(buffer, count) == 0
    columns = engine.columns
    return pd.DataFrame({name: column[:count].copy() for name, column in output_columns(columns)}, index=frame.index)


def output_columns(columns: Any) -> Iterator[tuple[str, np.ndarray]]:
    for output, place in columns_of(points.plan.outputs):
        match output.kind:
            case Kind.DOUBLE:
                yield output.name, columns.out_values[:, place]
            case Kind.LABEL:
                yield output.name, columns.out_labels["hash"][:, place]
            case _:
                yield output.name, columns.out_integers[:, place]


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Bit by bit, NaN included."""
    assert list(left) == list(right)
    wrong = [name for name in left if left[name].to_numpy().tobytes() != right[name].to_numpy().tobytes()]
    assert not wrong


@pytest.fixture(scope="module")
def engines() -> Any:
    compiled = points.compile()
    return lambda: Engine(compiled, events_max=EVENTS, keys_max=256)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return events(EVENTS)


@pytest.fixture(scope="module")
def whole(engines: Any, frame: pd.DataFrame) -> pd.DataFrame:
    return apply(engines(), frame)


@pytest.mark.parametrize("size", [1, 7, 333])
def test_outcomes_do_not_depend_on_how_events_are_batched(
    engines: Any, frame: pd.DataFrame, whole: pd.DataFrame, size: int
) -> None:
    engine, some = engines(), frame[: 100 * size]
    split = [apply(engine, some[first : first + size]) for first in range(0, len(some), size)]
    same(pd.concat(split), whole[: len(some)])


def test_outcomes_of_a_key_do_not_depend_on_other_keys(engines: Any, frame: pd.DataFrame, whole: pd.DataFrame) -> None:
    for key in ("key 1", "key 2", "key 30"):
        own = frame.key == key
        same(apply(engines(), frame[own]), whole[own])


def test_two_copies_that_saw_the_same_events_hold_the_same_bytes(engines: Any, frame: pd.DataFrame) -> None:
    one, other = engines(), engines()
    for engine, size in ((one, 100), (other, 999)):
        for first in range(0, EVENTS, size):
            apply(engine, frame[first : first + size])
    partitions = [p for p in range(one.compiled.partitions) if one.table.keys(p)]
    assert len(partitions) > 10
    assert [one.table.export(p) for p in partitions] == [other.table.export(p) for p in partitions]


def test_a_moved_state_goes_on_as_if_it_had_stayed(engines: Any, frame: pd.DataFrame, whole: pd.DataFrame) -> None:
    first, second = engines(), engines()
    apply(first, frame[:1000])
    move(first, second)
    same(apply(second, frame[1000:]), whole[1000:])


def move(one: Engine, other: Engine) -> None:
    """All partitions, with the labels that their states name."""
    for partition in range(one.compiled.partitions):
        if one.table.keys(partition):
            other.labels.restore(partition, one.labels.export(partition))
            other.table.restore(partition, one.table.export(partition))


def row_of(engine: Engine, frame: pd.DataFrame) -> np.ndarray:
    """The row of the frame's only key."""
    apply(engine, frame)
    return np.array([engine.table.get(frame.key.iloc[0].encode())], engine.compiled.row_dtype)


OTHERWISE_NAMED = {
    "events": "count", "z": "zscore", "holt": "holt_winters", "seasonal": "holt_winters", "numbers": "sequence",
    "circle": "geofence", "polygon": "geofence", "positive": "quantiles", "distinct_tags": "distinct",
    "linear": "model",
}  # fmt: skip


def test_every_operator_is_in_the_catalogue() -> None:
    assert {OTHERWISE_NAMED.get(name, name) for name in STEPS} == set(ops.__all__)
    assert set(STATE_BYTES) == set(STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_what_merges_is_told(name: str) -> None:
    """In the docstring, and in the docs."""
    made = OTHERWISE_NAMED.get(name, name)
    text = " ".join((inspect.getdoc(getattr(ops, made)) or "").split())
    told = docs_rows()[made][4].strip().partition(",")[0]
    merges = STEPS[name].operator.merge is not None
    assert merges == (name in MERGE_ANY | MERGE_LATER)
    assert ("Merges" in text) == merges
    assert ("Merges with later states" in text) == (name in MERGE_LATER)
    assert told == ("later" if name in MERGE_LATER else "any" if merges else "none")


def docs_rows() -> dict[str, list[str]]:
    """The rows of the tables of docs/operators.md, as cells, by operator."""
    text = (Path(__file__).parents[2] / "docs" / "operators.md").read_text()
    table = [cells for cells in (line.split("|") for line in text.splitlines()) if len(cells) > 5]
    return {name: cells for cells in table for name in re.findall(r"`(\w+)`", cells[1])}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("later", [False, True], ids=["any", "later"])
def test_a_merged_state_is_that_of_the_union(engines: Any, later: bool, seed: int) -> None:
    """What it amounts to, and what it then says to further events. Halves drawn at random, or one after the other."""
    frame = events(900, seed=seed + 10).assign(key="k")
    events_of, rest = frame[:800], frame[800:]
    chosen = pd.Series(np.random.default_rng(seed).random(800) < (seed + 1) / 5)
    if later:
        events_of, chosen = events_of.sort_values("time_us"), chosen.sort_values(ascending=False)
    one, other = events_of[chosen.to_numpy()], events_of[~chosen.to_numpy()]
    both = engines()
    merged, union = row_of(engines(), one), row_of(both, events_of)
    assert combined().merge(merged, row_of(engines(), other)) == 1
    names = (MERGE_ANY | MERGE_LATER if later else MERGE_ANY) - INEXACT
    read, wanted = combined().read(merged), combined().read(union)
    for name in (name for name in wanted if name.partition(".")[0] in names):
        np.testing.assert_allclose(read[name].astype(float), wanted[name].astype(float), rtol=1e-9, err_msg=name)
    after, expected = go_on(engines(), both, merged, rest), go_on(engines(), both, union, rest)
    for name in (name for name in expected if name.partition(".")[0] in names):
        np.testing.assert_allclose(after[name].astype(float), expected[name].astype(float), rtol=1e-9, err_msg=name)


def go_on(engine: Engine, moved: Engine, row: np.ndarray, frame: pd.DataFrame) -> pd.DataFrame:
    """What a state says to further events of its key, in the place of that of another engine."""
    move(moved, engine)
    partition = next(p for p in range(engine.compiled.partitions) if engine.table.keys(p))
    engine.table.rows[partition * engine.table.arrays.rows_max] = row[0]
    return apply(engine, frame)


def test_what_is_merged_with_nothing_stays_as_it_was(engines: Any, frame: pd.DataFrame) -> None:
    fresh = engines().compiled.template.copy()
    row = row_of(engines(), frame.assign(key="k"))
    for left, right in ((row.copy(), fresh.copy()), (fresh.copy(), row.copy())):
        assert combined().merge(left, right) == 1
        read, wanted = combined().read(left), combined().read(row)
        for name in (name for name in wanted if name.partition(".")[0] in MERGE_ANY | MERGE_LATER):
            np.testing.assert_allclose(read[name].astype(float), wanted[name].astype(float), rtol=1e-12, err_msg=name)


def test_what_a_state_amounts_to_is_what_its_last_event_was_told(engines: Any, frame: pd.DataFrame) -> None:
    some = frame[frame.key == "key 1"]
    engine = engines()
    told = apply(engine, some).iloc[-1]
    read = combined().read(np.array([engine.table.get(b"key 1")], engine.compiled.row_dtype))
    assert len(read) > 40
    for name in read.keys() - {"adwin.change"}:  # belongs to its event
        assert np.array_equal(float(read[name][0]), float(told[name]), equal_nan=True), name


def test_nothing_is_nan_once_there_are_values(frame: pd.DataFrame) -> None:
    """In three hundred events of one key, of which none lacks anything."""
    full = frame.dropna().assign(key="k")[:300]
    got = run(full)
    assert got.rejected == 0
    for name, column in got.outputs.items():
        if column.dtype == np.float64:
            assert np.isfinite(column[100:]).all(), name


EXTREMES = [1.7e308, -1.7e308, 5e-324, -5e-324, 0.0, -0.0, 1e-200, 1e154, -1e154, 1.0] * 3
TIMES = range(1, len(EXTREMES) + 1)


def extreme(seed: int) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    some = events(len(EXTREMES), seed)
    return some.assign(
        key="k",
        time_us=chance.permutation([1, 2, 2**50, 253_402_300_799_999_999, *range(5, len(EXTREMES) + 1)]),
        x=chance.permutation(EXTREMES),
        y=chance.permutation(EXTREMES),
        volume=np.abs(chance.permutation(EXTREMES)),
        n=chance.permutation([2**63 - 1, -(2**63), 0, *range(len(EXTREMES) - 3)]),
    )


@pytest.mark.parametrize("seed", range(12))
def test_what_a_double_cannot_hold_is_rejected_as_if_the_event_had_not_been(seed: int) -> None:
    frame = extreme(seed)
    got = run(frame)
    applied = got.reasons == 0
    assert 0 < got.rejected < len(frame)
    alone = run(frame[applied])
    assert alone.rejected == 0
    for name, column in alone.outputs.items():
        equal = column.tolist() == got[name][applied].tolist()
        assert equal or np.array_equal(column, got[name][applied], equal_nan=True), name
        assert column.dtype != np.float64 or not np.isinf(column).any(), name


def some_of(*names: str) -> Pipeline:
    return Pipeline("some", version="1.0.0", event=points.event, steps={name: STEPS[name] for name in names})


firm = some_of("events", "mean", "ewma", "min", "max", "last", "first", "vwap", "twap", "quantiles", "histogram")


@pytest.mark.parametrize("seed", range(6))
def test_no_value_is_too_large_or_too_small_for_an_average_a_quantile_or_an_extreme(seed: int) -> None:
    frame = extreme(seed).assign(volume=1.0)
    got = run(frame, firm)
    assert got.rejected == 0
    for name in ("mean", "ewma", "vwap", "quantiles.p50"):
        assert np.isfinite(got[name]).all(), name
    assert np.isfinite(got["twap"][np.diff(np.maximum.accumulate(frame.time_us), prepend=0).cumsum() > 2**50]).all()
    assert (got["min"] <= got["mean"]).all()
    assert (got["mean"] <= got["max"]).all()
    np.testing.assert_array_equal(got["min"], np.minimum.accumulate(frame.x))
    np.testing.assert_array_equal(got["max"], np.maximum.accumulate(frame.x))


def test_equal_values_have_no_variance_and_no_zscore() -> None:
    for value in (0.1, 1e100, 5e-324, -3.0):
        frame = events(20).assign(key="k", x=value, y=1.0)
        got = run(frame)
        assert got.rejected == 0
        assert np.isnan(got["z"]).all()
        assert np.isnan(got["correlation"]).all()
        assert (got["variance"][1:] == 0.0).all()
        assert (got["mean"] == value).all()
        assert (got["ewma"] == value).all()


def test_a_missing_value_changes_no_state_but_that_of_lag_and_count_of_events() -> None:
    frame = events(4).assign(key="k", y=[2.0, math.nan, math.nan, 5.0])
    some = run(frame)
    assert some["count"].tolist() == [1, 1, 1, 2]
    assert some["events"].tolist() == [1, 2, 3, 4]
    assert some["last"].tolist() == [2.0, 2.0, 2.0, 5.0]
    np.testing.assert_array_equal(some["lag"], [math.nan, math.nan, 2.0, math.nan])


def test_what_is_missing_leaves_states_as_they_were(engines: Any, frame: pd.DataFrame) -> None:
    """But of those that count or order events, and of `lag`, in which a missing value has a place."""
    moving = {"events", "lag", "rate", "token_bucket", "gcra"}
    engine = engines()
    apply(engine, frame.assign(key="k"))
    before = engine.table.get(b"k")
    empty = frame[:5].assign(key="k", y=math.nan, volume=math.nan, tag="", latitude=52.5, longitude=13.4)
    apply(engine, empty)
    after = engine.table.get(b"k")
    assert before is not None
    assert after is not None
    reading = {name for name, step in STEPS.items() if any(part in str(step.arguments) for part in ("'x'", "'z'"))}
    reading |= {name for name, step in STEPS.items() if any(part in str(step.arguments) for part in ("'n'", "'flag'"))}
    for name in STATE_BYTES.keys() - moving - reading - {"circle", "polygon"}:
        assert before[name].tobytes() == after[name].tobytes(), name


def test_a_very_late_flight_raises_the_alarm_until_the_next_is_on_time() -> None:
    got = run(events(12).assign(key="N1", x=[5.0, 6.0] * 5 + [90.0, 5.0]))
    assert got["alarm"].tolist() == [0] * 10 + [1, 0]
    assert got["z"][10] == pytest.approx(math.sqrt(10), rel=1e-3)


def test_the_state_takes_the_bytes_that_are_told() -> None:
    assert {step.name: step.state.itemsize for step in points.plan.steps} == STATE_BYTES


def test_every_docstring_tells_source_state_and_merge() -> None:
    for name in ops.__all__:
        text = inspect.getdoc(getattr(ops, name)) or ""
        assert re.search(r"State:\s.*?byte", text, re.S), name
        assert re.search(r"Merges|Does\s+not\s+merge", text) or name == "model", name
        assert re.search(r"Source:|Definition:|[Aa]s pandas|as for", text) or name in ("count", "min", "max"), name


def test_the_table_of_the_docs_has_the_bytes_of_every_state() -> None:
    """Where they do not hang on a parameter."""
    for name, cells in docs_rows().items():
        if name in STATE_BYTES and cells[3].strip().isdigit():
            assert int(cells[3]) == STATE_BYTES[name], name


WRONG: list[tuple[Any, str]] = [
    (lambda: ops.ewma("x"), "write one, as in alpha=0.1"),
    (lambda: ops.ewma("x", alpha=0.1, half_life=3), "write one, as in alpha=0.1"),
    (lambda: ops.ewma("x", alpha=0.0), "above 0 and at most 1"),
    (lambda: ops.ewma("x", alpha=1.1), "above 0 and at most 1"),
    (lambda: ops.ewma("x", alpha=math.nan), "above 0 and at most 1"),
    (lambda: ops.ewma("x", alpha=True), "above 0 and at most 1"),
    (lambda: ops.ewma("x", half_life=0), "number of values above 0"),
    (lambda: ops.ew_variance("x", alpha=2.0), "above 0 and at most 1"),
    (lambda: ops.lag("x", n=0), "from 1 to 1024"),
    (lambda: ops.lag("x", n=1.5), "from 1 to 1024"),  # type: ignore[arg-type]  # the mistake under test
    (lambda: ops.lag("x", n=1025), "from 1 to 1024"),
    (lambda: ops.rate(half_life_s=0.0), "as in half_life_s=60.0"),
    (lambda: ops.rate(half_life_s=math.nan), "as in half_life_s=60.0"),
    (lambda: ops.variance("x", ddof=2), "1 for a sample"),
    (lambda: ops.zscore("x", ddof=-1), "0 for a population"),
    (lambda: ops.covariance("x", "y", ddof=3), "1 for a sample"),
    (lambda: ops.alarm("z"), "write one, as in above=3.0"),
    (lambda: ops.alarm("z", above=3.0, below=1.0), "write one, as in above=3.0"),
    (lambda: ops.alarm("z", above=3.0, clear=3.5), "may be at most 3.0"),
    (lambda: ops.alarm("z", below=3.0, clear=2.5), "must be at least 3.0"),
    (lambda: ops.alarm("z", above=math.inf), "finite number"),
    (lambda: ops.alarm("z", above=3.0, clear=math.nan), "finite number"),
    (lambda: ops.distinct("n", error=0.0001), "1.*8.* MiB for each key, and 256 KiB is the most"),
    (lambda: ops.distinct("n", error=1e-12), "PiB for each key"),
    (lambda: ops.distinct("n", error=0.0), "above 0 and at most 0.26"),
    (lambda: ops.frequency("n", error=1e-9), "GiB for each key"),
    (lambda: ops.frequency("n", confidence=1.0), "above 0 and below 1"),
    (lambda: ops.quantiles("x", 0.5, accuracy=1e-9), "GiB for each key"),
    (lambda: ops.quantiles("x", 0.5, accuracy=1.0), "above 0 and below 1"),
    (lambda: ops.quantiles("x"), "1 to 16 levels"),
    (lambda: ops.quantiles("x", 1.5), "at least 0 and at most 1"),
    (lambda: ops.quantiles("x", 0.5, 0.5), "a level twice"),
    (lambda: ops.quantiles("x", 0.5, spread=1.0), "above 1"),
    (lambda: ops.top_k("tag", k=0), "from 1 to 32"),
    (lambda: ops.top_k("tag", k=10, counters=5), "from 10 to 1,024"),
    (lambda: ops.histogram("x", [1.0]), "2 to 257 rising numbers"),
    (lambda: ops.histogram("x", [1.0, 1.0]), "rising order"),
    (lambda: ops.histogram("x", [1.0, math.inf]), "finite number"),
    (lambda: ops.holt_winters("x", alpha=0.0), "above 0 and at most 1"),
    (lambda: ops.holt_winters("x", alpha=0.5, gamma=0.5), "from 2 to 2,048"),
    (lambda: ops.holt_winters("x", alpha=0.5, season=7), r"holt_winters\(gamma=None\)"),
    (lambda: ops.kalman("x", process=-1.0, noise=1.0), "at least 0"),
    (lambda: ops.kalman("x", process=1.0, noise=0.0), "above 0"),
    (lambda: ops.kalman_motion("x", acceleration=1.0, noise=1.0, speed=math.inf), "at least 0"),
    (lambda: ops.cusum("x", threshold=0.0), "above 0"),
    (lambda: ops.cusum("x", slack=-1.0), "at least 0"),
    (lambda: ops.page_hinkley("x", alpha=0.0), "above 0 and at most 1"),
    (lambda: ops.adwin("x", delta=1.0), "above 0 and below 1"),
    (lambda: ops.adwin("x", clock=0), "whole number from 1"),
    (lambda: ops.token_bucket(rate=0.0, burst=1.0), "above 0"),
    (lambda: ops.token_bucket(rate=1.0, burst=math.inf), "above 0"),
    (lambda: ops.gcra(rate=2e6), "at most 1e"),
    (lambda: ops.gcra(rate=1.0, burst=0), "whole number from 1"),
    (lambda: ops.gcra(rate=1e-8, burst=2**40), "at most"),
    (lambda: ops.sequence("tag", ["a"]), "2 to 16 labels or numbers"),
    (lambda: ops.sequence("tag", ["a", 1.0]), "2 to 16 labels or numbers"),  # type: ignore[list-item]  # the mistake
    (lambda: ops.sequence("tag", ["a", "b"], within_s=0.0), "above 0"),
    (lambda: ops.geofence("a", "b"), "or polygon"),
    (lambda: ops.geofence("a", "b", center=(0.0, 0.0)), "or polygon"),
    (lambda: ops.geofence("a", "b", center=(91.0, 0.0), radius_m=1.0), "at least -90 and at most 90"),
    (lambda: ops.geofence("a", "b", center=(0.0, 0.0), radius_m=-1.0), "above 0"),
    (lambda: ops.geofence("a", "b", polygon=[(0.0, 0.0), (1.0, 1.0)]), "3 to 1,024"),
    (lambda: ops.geofence("a", "b", polygon=[(0.0, 0.0), (1.0, 1.0), 5]), "no place"),  # type: ignore[list-item]  # same
    (lambda: ops.linear_regression("y", []), "1 to 64 names"),
    (lambda: ops.linear_regression("y", ["x"], rate=0.0), "above 0"),
    (lambda: ops.logistic_regression("y", ["x"], l2=-1.0), "at least 0"),
    (lambda: ops.model("nothing.json"), "No such file"),
    (lambda: ops.model(__file__), "saved as JSON"),
    (lambda: ops.model(MODEL, ["x"]), "takes 3 features"),
    (lambda: ops.model(LINEAR), "1 to 1024 names"),
]


@pytest.mark.parametrize(("make", "mend"), WRONG)
def test_a_wrong_parameter_is_refused_at_the_users_line_with_the_mend(make: Any, mend: str) -> None:
    with pytest.raises(RingmillError, match=mend) as raised:
        make()
    assert raised.value.code is Code.INVALID_ARGUMENT
    assert "test_ops_contract.py:" in raised.value.message


def test_a_field_that_is_not_there_or_of_another_kind_is_refused_at_the_users_line() -> None:
    for step, mend in (
        (ops.distinct("gone"), "which is no field"),
        (ops.top_k("x"), "it wants a label"),
        (ops.mean("tag"), "an Input is a number"),
        (ops.linear_regression("y", ["x", "tag"]), "an Input is a number"),
        (ops.sequence("n", ["a", "b"]), "it wants a label"),
    ):
        with pytest.raises(RingmillError, match=mend) as raised:
            Pipeline("p", version="1.0.0", event=points.event, steps={"s": step})
        assert "test_ops_contract.py:" in raised.value.message
