"""Every built-in operator: nanoseconds an event and bytes a key, against river and against a library of its own."""

import statistics
from collections.abc import Callable, Iterator
from functools import partial

from ringmill.loadtest.measure import Effort, Figure, alternate, at_least, ratio
from ringmill.loadtest.processes import Process, peer

_BATCHES = 48
_EVENTS = 8_000
_LEAST = 2_000
RIVER_GOAL = 50.0
_SAID = {
    "river": "river",
    "library": "a library called from Python",
    "arrays": "a native library over whole columns, one key",
}


def operators(effort: Effort) -> Iterator[Figure]:
    """One line for each operator, and one more for each library but river that has it."""
    with peer("operators.measure") as process:
        for name, sides in process.do("names")["names"].items():
            yield from _figures(effort, process, name, sides)


def _figures(effort: Effort, process: Process, name: str, sides: list[str]) -> Iterator[Figure]:
    batches, events = effort.amount(_BATCHES), max(_LEAST, effort.amount(_EVENTS))
    state_bytes = process.do("ours", name=name, batches=8)["state_bytes"]

    def rival(side: str) -> float:
        return float(process.do("rival", name=name, side=side, events=events)["ns"])

    measured: dict[str, Callable[[], float]] = {side: partial(rival, side) for side in sides}
    measured["ours"] = lambda: float(process.do("ours", name=name, batches=batches)["ns"])
    samples = alternate(effort, f"operators: {name}", measured)
    ours = statistics.median(samples["ours"])
    told = f"{ours:.1f} ns an event, {state_bytes:,} B a key"
    if not sides:
        yield Figure(f"operator-{name}", f"{name}: time an event", None, ours, told, samples, " ns")
    for side in sides:
        theirs = f"{told}; {statistics.median(samples[side]):.0f} ns ({_SAID[side]})"
        goal = at_least(RIVER_GOAL if side == "river" else 1.0)
        kept = {each: samples[each] for each in ("ours", side)}
        what = f"{name}: time of {_SAID[side]} over ours"
        yield Figure(f"operator-{name}-{side}", what, goal, ratio(samples, side, "ours"), theirs, kept)
