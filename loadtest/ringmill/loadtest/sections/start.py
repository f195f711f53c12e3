"""How long a worker takes until it is ready."""

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from ringmill.loadtest.measure import Effort, Figure
from ringmill.loadtest.processes import APP, ringmill


def start(effort: Effort) -> Iterator[Figure]:
    """From the start of the process to READY: with an empty compile cache, and with what that start left in it."""
    with tempfile.TemporaryDirectory(prefix="ringmill-bench-") as cache:
        effort.tell("start: cold")
        cold_s, compile_s = _start(Path(cache))
        warm: list[float] = []
        for number in range(effort.rounds):
            effort.tell(f"start: warm, round {number + 1} of {effort.rounds}")
            warm.append(_start(Path(cache))[0])
    what = "warm start of a worker, from exec to READY"
    yield Figure("start-warm", what, None, statistics.median(warm), "", {"warm_s": warm}, " s")
    detail = f"of which loading and compiling the pipeline {compile_s:.1f} s"
    yield Figure("start-cold", "the same with an empty compile cache", None, cold_s, detail, {"cold_s": [cold_s]}, " s")


def _start(cache: Path) -> tuple[float, float]:
    began = perf_counter()
    with ringmill("worker", str(APP), "--listen", "127.0.0.1:0", cache=cache) as worker:
        ready = worker.wait_ready().ready
        return perf_counter() - began, float(ready["start_s"])
