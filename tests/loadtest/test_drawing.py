"""Moments, keys and values: as they were asked for, and the same for one seed."""

from typing import Any

import numpy as np
import pytest

from ringmill.loadtest.runner.arrivals import due_moments
from ringmill.loadtest.runner.events import RING_MAX, make_ring
from ringmill.loadtest.runner.fields import columns
from ringmill.loadtest.runner.keys import key_names, key_numbers
from ringmill.loadtest.runner.scenario import Keys, Load, Scenario, from_tables
from ringmill.loadtest.runner.settings import ScenarioError
from tests.loadtest.virtual import SCHEMA

PATTERNS = ("poisson", "constant", "bursty", "ramp")
S = 1_000_000_000


def moments(arrivals: str, rate: float = 2000.0, stream: int = 0, **load: Any) -> np.ndarray[Any, Any]:
    return due_moments(Load(arrivals=arrivals, warmup_seconds=0, **load), rate, stream)


def within(due: np.ndarray[Any, Any], first_s: float, last_s: float) -> int:
    return int(np.count_nonzero((due >= first_s * S) & (due < last_s * S)))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_moments_are_in_order_within_the_step_and_the_same_for_one_seed(pattern: str) -> None:
    due = moments(pattern, seconds=5)
    assert (np.diff(due) >= 0).all()
    assert 0 <= due[0] <= due[-1] < 5 * S
    np.testing.assert_array_equal(due, moments(pattern, seconds=5))
    if pattern != "constant":
        assert not np.array_equal(due, moments(pattern, seconds=5, seed=2))


@pytest.mark.parametrize("pattern", ["poisson", "constant", "bursty"])
def test_the_rate_is_that_of_all_streams_and_of_events(pattern: str) -> None:
    due = [moments(pattern, 8000.0, stream, seconds=10, streams=4, batch=8) for stream in range(4)]
    assert sum(map(len, due)) == pytest.approx(10_000, rel=0.04)  # 4 deviations


def test_streams_differ_and_constant_ones_take_turns() -> None:
    assert not np.array_equal(moments("poisson", stream=0, streams=2), moments("poisson", stream=1, streams=2))
    both = np.sort(np.concatenate([moments("constant", 100.0, stream, streams=2) for stream in range(2)]))
    assert len(both) == 1000
    np.testing.assert_allclose(np.diff(both), 0.01 * S, atol=2)


def test_gaps_of_poisson_arrivals_are_exponential() -> None:
    gaps = np.diff(moments("poisson", 10_000.0, seconds=10)) / S * 10_000
    assert gaps.mean() == pytest.approx(1.0, abs=0.02)
    assert gaps.std() == pytest.approx(1.0, abs=0.03)
    assert np.mean(gaps > 3) == pytest.approx(np.exp(-3), abs=0.005)


def test_bursts_come_at_the_beginning_of_each_period() -> None:
    due = moments("bursty", seconds=10, burst_period_ms=500.0, burst_share=0.2)
    assert ((due % (S // 2)) <= 0.2 * (S // 2) + 1).all()
    assert all(within(due, first / 2, first / 2 + 0.5) > 800 for first in range(20))


def test_the_last_period_has_its_burst_even_where_it_is_cut() -> None:
    assert within(moments("bursty", seconds=2.5), 2.0, 2.5) == pytest.approx(2000, rel=0.1)


def test_a_ramp_grows_evenly_from_its_first_rate() -> None:
    due = moments("ramp", 10_000.0, seconds=10, ramp_from=1000.0)
    counts = [within(due, first, first + 1) for first in range(10)]
    expected = [1000 + 900 * (first + 0.5) for first in range(10)]
    assert counts == [pytest.approx(each, rel=0.12) for each in expected]
    warm = due_moments(Load(arrivals="ramp", seconds=10, warmup_seconds=5, ramp_from=1000.0), 10_000.0, 0)
    assert within(warm, 0, 5) == pytest.approx(5000, rel=0.06)
    assert within(warm, 14, 15) == pytest.approx(9550, rel=0.05)


DRAWS = 200_000


def frequencies(**keys: Any) -> np.ndarray[Any, Any]:
    rule = Keys(**keys)
    numbers = key_numbers(rule, np.random.default_rng(5), DRAWS)
    np.testing.assert_array_equal(numbers, key_numbers(rule, np.random.default_rng(5), DRAWS))
    assert 0 <= numbers.min() <= numbers.max() < rule.count
    return np.bincount(numbers, minlength=rule.count) / DRAWS


def test_uniform_keys_come_equally_often() -> None:
    np.testing.assert_allclose(frequencies(distribution="uniform", count=50), 1 / 50, rtol=0.1)


@pytest.mark.parametrize("alpha", [0.9, 1.0, 1.4])
def test_zipf_keys_come_by_their_rank(alpha: float) -> None:
    found = frequencies(distribution="zipf", count=1000, alpha=alpha)
    weights = np.arange(1, 1001) ** -alpha
    np.testing.assert_allclose(found[:20], (weights / weights.sum())[:20], rtol=0.1)


@pytest.mark.parametrize(("hot", "share"), [(1, 0.5), (3, 0.9)])
def test_hot_keys_have_their_share(hot: int, share: float) -> None:
    found = frequencies(distribution="hot", count=100, hot_keys=hot, hot_share=share)
    np.testing.assert_allclose(found[:hot], share / hot, rtol=0.05)
    np.testing.assert_allclose(found[hot:], (1 - share) / (100 - hot), rtol=0.3)


def test_all_keys_may_be_hot() -> None:
    np.testing.assert_allclose(frequencies(distribution="hot", count=4, hot_keys=4), 0.25, rtol=0.05)


@pytest.mark.parametrize(("count", "names"), [(1, ["k-0"] * 3), (11, ["k-00", "k-10", "k-07"])])
def test_names_of_keys_have_one_width(count: int, names: list[str]) -> None:
    numbers = np.array([0, 0, 0] if count == 1 else [0, 10, 7])
    made = key_names(Keys(count=count, prefix="k-"), numbers)
    heap = made.heap.tobytes().decode()
    spans = zip(made.starts.tolist(), made.stops.tolist(), strict=True)
    assert [heap[start:stop] for start, stop in spans] == names


def with_fields(**fields: Any) -> Scenario:
    return from_tables({"target": {"pipeline": "readings"}, "fields": fields})


def test_fields_are_drawn_by_their_rules_and_the_others_by_their_kind() -> None:
    rules = with_fields(temperature={"uniform": [3.0, 4.0]}).fields
    drawn = columns(SCHEMA, rules, np.random.default_rng(1), 1000)
    assert 3.0 <= drawn["temperature"].min() < drawn["temperature"].max() <= 4.0
    assert set(drawn["room"]) == {"a", "b", "c", "d"}
    rules = with_fields(temperature={"integers": [1, 3]}, room={"value": "hall"}).fields
    drawn = columns(SCHEMA, rules, np.random.default_rng(1), 1000)
    assert set(drawn["temperature"].tolist()) == {1, 2, 3}
    assert set(drawn["room"]) == {"hall"}
    rules = with_fields(temperature={"choice": [1.5, 2.5]}).fields
    assert set(columns(SCHEMA, rules, np.random.default_rng(1), 1000)["temperature"].tolist()) == {1.5, 2.5}


def test_a_rule_for_no_field_is_refused_with_the_fields_there_are() -> None:
    with pytest.raises(ScenarioError, match="fields has no setting 'temprature'; did you mean 'temperature'"):
        columns(SCHEMA, with_fields(temprature={"value": 1}).fields, np.random.default_rng(1), 1)


def test_processes_draw_their_own_events_and_no_more_than_a_ring() -> None:
    scenario = with_fields()
    first, keys = make_ring(scenario, SCHEMA, 0, 5000)
    other, _ = make_ring(scenario, SCHEMA, 1, 5000)
    assert (len(first), 3500 < keys < 5000) == (5000, True)
    assert not np.array_equal(first.keys.starts, other.keys.starts)
    assert len(make_ring(scenario, SCHEMA, 0, RING_MAX * 3)[0]) == RING_MAX
    assert not first.times.any()
