"""A slice of the simulator's schedules, all that ever failed, and the mistakes that it must find."""

import pytest

from tests.sim.__main__ import SEEDS, attempt
from tests.sim.mistakes import MISTAKES
from tests.sim.pin import finds, pinned, search
from tests.sim.plan import KINDS

pytestmark = pytest.mark.timeout(600)  # the first schedule compiles, where nothing has before

BLOCK = 40
NEARBY = 150
"""Schedules of the same kind to try where the one that is written down finds a mistake no more."""


@pytest.mark.parametrize("first", range(1, 4 * BLOCK, BLOCK))
def test_what_must_hold_holds(first: int) -> None:
    told = 0
    for seed in range(first, first + BLOCK):
        report, error = attempt(seed)
        assert report is not None, f"seed {seed}: {error}"
        told += report.told
    assert told > 200  # the schedules are about something


def test_a_seed_decides_everything() -> None:
    for seed in (3, 5, 8):
        reports = [attempt(seed)[0] for _ in range(2)]
        assert reports[0] is not None
        assert reports[0] == reports[1]


@pytest.mark.parametrize("seed", [int(line) for line in (SEEDS / "failed.txt").read_text().split()])
def test_what_failed_once_does_not_fail_again(seed: int) -> None:
    report, error = attempt(seed)
    assert report is not None, error


@pytest.mark.parametrize("name", sorted(MISTAKES))
def test_a_planted_mistake_is_found(name: str) -> None:
    seed = pinned().get(name)
    if seed is None:
        assert search(name, 1, NEARBY) is None, "a schedule finds it: python -m tests.sim.pin writes it down"
        pytest.xfail("no schedule is known that finds it: see docs/simulator.md")
    if finds(name, seed) and attempt(seed)[0] is not None:
        return
    assert search(name, seed + KINDS, NEARBY, KINDS) is not None, "python -m tests.sim.pin looks for other schedules"
