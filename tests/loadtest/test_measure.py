"""Comparison by alternating rounds."""

import itertools

import numpy as np
import pytest

from ringmill.loadtest.latencies import percentiles, since_due
from ringmill.loadtest.measure import Effort, Figure, alternate, at_least, at_most, compare, each_second, ratio

QUIET = Effort(rounds=3, scale=1.0, tell=lambda _: None)


def test_sides_take_turns_and_the_first_round_warms_up() -> None:
    order: list[str] = []
    clock = itertools.count()

    def side(name: str) -> float:
        order.append(name)
        return float(next(clock))

    samples = alternate(QUIET, "title", {"a": lambda: side("a"), "b": lambda: side("b")})
    assert order == ["a", "b"] * 4
    assert samples == {"a": [2.0, 4.0, 6.0], "b": [3.0, 5.0, 7.0]}


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    # In the second round the machine was busy: both sides were slow, and their ratio was not.
    assert ratio({"a": [2.0, 20.0, 2.0], "b": [1.0, 10.0, 1.0]}, "a", "b") == 2.0


def test_a_figure_says_both_sides_and_whether_it_is_met() -> None:
    samples = {"ours": [14.0e6], "theirs": [2.0e6], "another": [1.0]}
    figure = compare("name", "what", at_least(5), samples, "ours", "theirs", each_second)
    assert figure.measured == 7.0
    assert figure.detail == "14 M/s (ours) / 2 M/s (theirs)"
    assert figure.verdict == "pass"
    assert figure.samples.keys() == {"ours", "theirs"}


@pytest.mark.parametrize(
    ("goal", "measured", "verdict"),
    [
        (at_least(4), 4.0, "pass"),
        (at_least(4), 3.9, "short"),
        (at_most(4), 4.0, "pass"),
        (at_most(4), 4.1, "short"),
        (None, 4.1, "reported"),
        (at_most(4), None, "skipped"),
    ],
)
def test_verdicts(goal: object, measured: float | None, verdict: str) -> None:
    assert Figure("name", "what", goal, measured).verdict == verdict  # type: ignore[arg-type]  # all are goals


def test_latency_counts_from_the_moment_an_event_was_due() -> None:
    # Ten events a second; the first request took two, the second one, and its answer came after a stall.
    answered = np.array([[2, 250_000_000], [3, 1_300_000_000]])
    assert since_due(answered, began_ns=0, events_per_s=10.0).tolist() == pytest.approx([150e3, 50e3, 1000e3])


def test_percentiles_are_exact() -> None:
    got = percentiles(np.arange(1001.0))
    assert got == pytest.approx({"p50_us": 500, "p90_us": 900, "p99_us": 990, "p999_us": 999, "max_us": 1000})
