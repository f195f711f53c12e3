"""Histograms, rows and the search for a rate, from cases whose answers are known."""

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from ringmill.loadtest.runner import histogram, rows
from ringmill.loadtest.runner.search import RATE_LEAST, RateSearch
from ringmill.loadtest.runner.step import keeps, runner_limit

MS = 1_000_000


def test_a_histogram_of_an_array_is_the_librarys_own_of_each_value() -> None:
    rng = np.random.default_rng(3)
    took = np.concatenate([np.exp(rng.uniform(0, 29, 3000)).astype(np.int64), [0, 1, 2047, 2048, 131_071, 131_072]])
    one_by_one = HdrHistogram(100, histogram.LONGEST_NS, 3)
    for value in took.tolist():
        one_by_one.record_value(min(value, histogram.LONGEST_NS))
    ours = histogram.of(took)
    assert list(ours.counts) == list(one_by_one.counts)
    assert ours.get_total_count() == took.size


def test_percentiles_are_true_to_three_digits() -> None:
    took = np.sort(np.random.default_rng(3).lognormal(13, 2, 200_000).astype(np.int64))
    found = histogram.percentiles(histogram.of(took))
    for percent in histogram.PERCENTILES:
        exact = took[round(took.size * percent / 100) - 1] / 1e3
        assert found[histogram.name_of(percent)] == pytest.approx(exact, rel=2e-3)
    assert found["max_us"] == pytest.approx(took.max() / 1e3, rel=2e-3)
    assert list(found) == ["p50_us", "p90_us", "p99_us", "p999_us", "p9999_us", "max_us"]


def test_parts_that_were_encoded_add_up() -> None:
    took = np.random.default_rng(3).integers(0, 10**9, 5000)
    parts = [histogram.encode(histogram.of(part)) for part in np.split(took, 5)]
    assert list(histogram.merge(parts).counts) == list(histogram.of(took).counts)
    assert histogram.percentiles(histogram.merge([]))["p99_us"] == 0.0


def test_times_beyond_the_bounds_count_as_the_bounds() -> None:
    found = histogram.of(np.array([-5, histogram.LONGEST_NS * 4]))
    assert found.get_total_count() == 2
    assert found.get_max_value() == pytest.approx(histogram.LONGEST_NS, rel=1e-3)


def test_a_curve_goes_as_far_as_there_are_events() -> None:
    curve = histogram.curve(histogram.of(np.arange(1, 1001) * MS))
    assert curve[0][0] == 0.0
    assert curve[-1][0] == pytest.approx(99.9)
    assert curve[-1][1] == pytest.approx(999_000, rel=2e-3)
    assert histogram.curve(histogram.of(np.arange(1, 100_001)))[-1][0] == pytest.approx(99.99)
    assert [us for _, us in curve] == sorted(us for _, us in curve)
    assert histogram.curve(histogram.make()) == []


def tally(due: list[int], answered: list[tuple[int, int, int]], closed: int, batch: int = 1) -> rows.Tally:
    """Of a stream in milliseconds; the window is from 10 to 30, in halves. All is handed over when due."""
    found = rows.Tally(rows.Window(10 * MS, 30 * MS, 10 * MS))
    handed = np.array([(batch * (place + 1), at) for place, at in enumerate(due)], np.int64).reshape(-1, 2)
    scale = np.array([1, MS, MS])
    noted = np.array(answered, np.int64).reshape(-1, 3) * scale
    found.add(rows.Rows(np.array(due) * MS, batch, handed * scale[:2], noted), closed * MS)
    return found


def took_ms(found: rows.Tally) -> list[list[float]]:
    return [(np.concatenate(took) / MS).tolist() for took in found.took_ns]


def test_each_event_waits_from_when_it_was_due() -> None:
    found = tally([5, 10, 15, 22, 29], [(2, 11, 12), (5, 30, 31)], 40)
    assert took_ms(found) == [[2, 16], [9, 2]]  # the first was due in the warm-up
    assert found.offered.tolist() == [2, 2]
    assert found.answered.tolist() == [2, 0]  # by when they were answered: two at 12, the rest after the window
    assert found.served.get_max_value() == pytest.approx(MS, rel=1e-3)
    assert found.unanswered == 0


def test_a_batch_is_answered_when_its_last_event_is() -> None:
    found = tally([10, 11], [(3, 10, 12), (4, 12, 14), (8, 14, 19)], 40, batch=4)
    assert took_ms(found) == [[4, 8], []]


def test_what_has_no_answer_has_waited_until_the_end() -> None:
    found = tally([11, 12, 45], [(1, 11, 13)], 40)
    assert took_ms(found) == [[2, 28], []]
    assert found.unanswered == 1  # the last one was not even due


def test_a_step_without_any_answer() -> None:
    found = tally([11, 12], [], 20)
    assert took_ms(found) == [[9, 8], []]
    assert (found.unanswered, found.served.get_total_count()) == (2, 0)


def test_a_closed_loop_is_due_when_it_sends() -> None:
    answered = np.array([(5, 10, 12), (10, 12, 20)]) * np.array([1, MS, MS])
    found = rows.Tally(rows.Window(10 * MS, 30 * MS, 10 * MS))
    found.add(rows.of_closed(answered, np.array([25 * MS])), 28 * MS)
    assert took_ms(found) == [[2, 8], [3]]
    assert found.unanswered == 1


def test_reports_of_several_processes_add_up() -> None:
    one = tally([11, 25], [(1, 11, 13), (2, 25, 26)], 40).report()
    other = tally([12], [(1, 12, 15)], 40).report()
    both = rows.merge([one, other])
    assert both["offered"] == [2, 1]
    assert both["answered"] == [2, 1]
    assert [histogram.merge([each]).get_total_count() for each in both["latency"]] == [2, 1]
    assert rows.add_counts([{"a": 1}, {"a": 2, "b": 3}]) == {"a": 3, "b": 3}


@pytest.mark.parametrize("limit", [1.5, 37.0, 1000.0, 12_345.0, 1e9])
def test_a_search_ends_just_below_the_limit(limit: float) -> None:
    search = RateSearch(1000.0, rate_max=1e6, within=0.05, tries=1)
    tried = 0
    while not search.done:
        tried += 1
        search.hear(search.rate <= limit)
    highest = min(limit, 1e6)
    assert search.kept is not None
    assert highest / 1.05 <= search.kept <= highest
    assert tried < 30


def test_a_search_gives_up_where_nothing_holds() -> None:
    search = RateSearch(1000.0, 1e6, 0.05, 1)
    while not search.done:
        search.hear(False)
    assert (search.kept, search.failed) == (None, RATE_LEAST)


def test_one_bad_moment_is_no_failure() -> None:
    search = RateSearch(1000.0, 1e6, 0.05, tries=2)
    search.hear(False)
    assert (search.rate, search.failed) == (1000.0, None)
    search.hear(True)
    assert (search.rate, search.kept, search.failed) == (2000.0, 1000.0, None)
    search.hear(False)
    search.hear(False)
    assert search.failed == 2000.0


def step(p99_us: float, late_us: float, cpu: float = 0.1, **changed: object) -> dict[str, object]:
    usual = {"events": 10, "unanswered": 0, "failures": {}, "processes": [{"cpu_share": cpu}]}
    late = {"p99_us": late_us, "max_us": late_us}
    return {**usual, "latency": {"p99_us": p99_us}, "late": late, **changed}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (step(1000, 200), ""),
        (step(1000, 300), "late by 0.30 ms at p99"),
        (step(300, 99), ""),  # too little to be told
        (step(1000, 0, cpu=0.95), "used 95% of a core"),
    ],
)
def test_a_runner_at_its_limit_says_so(made: dict[str, object], words: str) -> None:
    told = runner_limit(made)
    assert words in told
    assert bool(told) == bool(words)


@pytest.mark.parametrize(
    ("made", "held"),
    [
        (step(4999, 0), True),
        (step(5001, 0), False),
        (step(10, 0, unanswered=1), False),
        (step(10, 0, failures={"gone": 1}), False),
        (step(0, 0, events=0), False),
    ],
)
def test_a_rate_is_kept_only_if_all_was_answered(made: dict[str, object], held: bool) -> None:
    assert keeps(made, 5.0) is held
