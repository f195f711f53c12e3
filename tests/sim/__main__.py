"""Plays schedules: python -m tests.sim --seeds 10000 --first 1 --jobs 2; or one, with what happened: --seed 17.

Ends with status 1 at a violation. Seeds that fail are written to tests/sim/seeds/, where the tests replay them.
"""

import argparse
import gc
import logging
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.sim.mistakes import MISTAKES
from tests.sim.plan import draw
from tests.sim.pool import Pool
from tests.sim.scheduler import Violation
from tests.sim.world import Report, World

SEEDS = Path(__file__).parent / "seeds"
BLOCK = 25
"""Schedules that a process plays before it tells of them."""

_pool: list[Pool] = []


def pool() -> Pool:
    """The pool of this process."""
    if not _pool:
        _pool.append(Pool())
        gc.collect()
        gc.freeze()  # what is there now stays: it is not looked at again after each block
    return _pool[0]


def attempt(seed: int) -> tuple[Report | None, str]:
    """Plays one schedule: what came of it, or what went wrong."""
    world = World(draw(seed), pool())
    try:
        return world.run(), ""
    except Violation as error:
        return None, str(error)
    except Exception:
        return None, traceback.format_exc()


def play_block(seeds: range) -> list[tuple[int, Report | None, str]]:
    """Plays some schedules. Garbage is collected after them: meanwhile it would be most of the work."""
    pool()
    gc.disable()
    try:
        return [(seed, *attempt(seed)) for seed in seeds]
    finally:
        gc.enable()
        gc.collect()


def main() -> int:
    """Plays schedules until all are done, or the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="schedules to play")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="play this one alone, and tell what happens")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after this time")
    parser.add_argument("--failures", type=int, default=10, help="stop after so many violations")
    parser.add_argument("--mistake", choices=sorted(MISTAKES), help="plant this mistake")
    options = parser.parse_args()
    if options.mistake:
        MISTAKES[options.mistake].plant()
    if options.seed is not None:
        return tell(options.seed)
    return sweep(options)


def tell(seed: int) -> int:
    """Plays one schedule and prints its plan and its faults."""
    world = World(draw(seed), pool())
    print(world.plan)
    status = 0
    try:
        print(world.run())
    except Exception:
        traceback.print_exc()
        status = 1
    for line in world.nemesis.done:
        print(line)
    for client in world.clients:
        print(client.told())
        for line in client.errors[-5:]:
            print(f"    {line}")
    print(f"ended at {world.now_ms:.1f} ms")
    return status


def sweep(options: argparse.Namespace) -> int:
    """Plays many, on all cores."""
    logging.getLogger("ringmill").setLevel(logging.CRITICAL + 1)  # faults are what they are about
    blocks = [
        range(first, min(first + BLOCK, options.first + options.seeds))
        for first in range(options.first, options.first + options.seeds, BLOCK)
    ]
    began_s = time.monotonic()
    played = told = lost = steps = 0
    failed: list[int] = []
    for block in _blocks(blocks, options.jobs):
        for seed, report, error in block:
            played += 1
            if report is None:
                failed.append(seed)
                print(f"\nseed {seed}: {error.strip()}", flush=True)
            else:
                told, steps, lost = told + report.told, steps + report.steps, lost + (report.lost > 0)
        passed_s = time.monotonic() - began_s
        rate = played / passed_s
        left_s = (options.seeds - played) / rate
        _line(f"{played}/{options.seeds}  {rate:.0f} a second  {left_s:.0f} s left  {len(failed)} failed", played)
        if passed_s > 60 * options.minutes or len(failed) >= options.failures:
            break
    print(
        f"\n{played} schedules, {steps} steps, {told} outcomes judged, {lost} lost a partition, {len(failed)} failed, "
        f"{played / (time.monotonic() - began_s):.1f} schedules a second",
        flush=True,
    )
    if failed and not options.mistake:
        keep(failed)
    return 1 if failed else 0


def _blocks(blocks: list[range], jobs: int) -> Iterator[list[tuple[int, Report | None, str]]]:
    if jobs == 1:
        yield from map(play_block, blocks)
        return
    context = multiprocessing.get_context("fork")
    pool()  # compiled once, before the others are made
    with context.Pool(jobs) as processes:
        yield from processes.imap_unordered(play_block, blocks)


def _line(text: str, played: int) -> None:
    if sys.stdout.isatty():
        print(f"\r{text}   ", end="", flush=True)
    elif played % (40 * BLOCK) == 0:
        print(text, flush=True)


def keep(failed: list[int]) -> None:
    """Writes seeds down, for the tests to replay."""
    path = SEEDS / "failed.txt"
    known = set(path.read_text().split()) if path.exists() else set()
    new = [str(seed) for seed in failed if str(seed) not in known]
    if new:
        with path.open("a") as file:
            file.write("".join(f"{seed}\n" for seed in new))
        print(f"written to {path}")


if __name__ == "__main__":
    sys.exit(main())
