"""Looks for a seed that finds each planted mistake: python -m tests.sim.pin --budget 2000 [MISTAKE ...].

A seed counts only if its schedule passes without the mistake. What is found is written to tests/sim/seeds/mistakes.txt,
which the tests replay. Ends with status 1 if a mistake survives.
"""

import argparse
import logging
import multiprocessing
import os
import sys
import time

from tests.sim.__main__ import SEEDS, attempt, pool
from tests.sim.mistakes import MISTAKES

PINNED = SEEDS / "mistakes.txt"


def pinned() -> dict[str, int]:
    """The seed that finds each mistake, as far as one is known."""
    lines = PINNED.read_text().splitlines() if PINNED.exists() else []
    return {name: int(seed) for name, seed, *_ in (line.split() for line in lines if not line.startswith("#"))}


def finds(name: str, seed: int) -> str:
    """What a schedule says of a mistake; empty: nothing."""
    undo = MISTAKES[name].plant()
    try:
        report, error = attempt(seed)
    finally:
        undo()
    return "" if report is not None else error.strip().splitlines()[-1]


def search(name: str, first: int, budget: int, step: int = 1) -> tuple[int, str] | None:
    """The first seed, from `first` on, that finds a mistake, and what it says. step: 10 for one kind of schedule."""
    for seed in range(first, first + budget * step, step):
        error = finds(name, seed)
        if error and attempt(seed)[0] is not None:
            return seed, error
    return None


def _search(task: tuple[str, int, int, int]) -> tuple[str, tuple[int, str] | None, float]:
    began_s = time.monotonic()
    return task[0], search(*task), time.monotonic() - began_s


def main() -> int:
    """Searches for all, or for those that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.pin", description=__doc__)
    parser.add_argument("mistakes", nargs="*", help="those to look for; all, if none is named")
    parser.add_argument("--budget", type=int, default=2000, help="schedules to try with each")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--step", type=int, default=1, help="to the next seed; 10: of the same kind")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    pool()
    known, survived = pinned(), []
    tasks = [(name, options.first, options.budget, options.step) for name in options.mistakes or sorted(MISTAKES)]
    with multiprocessing.get_context("fork").Pool(options.jobs) as processes:
        for name, found, took_s in processes.imap_unordered(_search, tasks, chunksize=1):
            if found is None:
                survived.append(name)
                print(f"{name:32s} survives {options.budget} schedules ({took_s:.0f} s)", flush=True)
            else:
                known[name] = found[0]
                write(known)
                print(f"{name:32s} seed {found[0]:5d} ({took_s:.0f} s): {found[1][:110]}", flush=True)
    return 1 if survived else 0


def write(known: dict[str, int]) -> None:
    """Writes down what is known."""
    lines = ["# A seed that finds each planted mistake: python -m tests.sim.pin"]
    lines += [f"{name} {seed}" for name, seed in sorted(known.items()) if name in MISTAKES]
    PINNED.parent.mkdir(exist_ok=True)
    PINNED.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
