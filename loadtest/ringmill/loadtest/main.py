"""Runs the benchmark: section after section, each in processes of its own that it stops."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from ringmill.core.errors import Code, RingmillError
from ringmill.loadtest import machine, report
from ringmill.loadtest.measure import Effort, Figure, Unavailable
from ringmill.loadtest.processes import ProcessFailedError
from ringmill.loadtest.sections import engine, latency, load, operators, replication, scaling, start, throughput

Section = Callable[[Effort], Iterator[Figure]]

SECTIONS: dict[str, Section] = {
    "round-trip": latency.round_trip,
    "messages": throughput.messages,
    "events": throughput.batches,
    "redis": throughput.redis,
    "open-loop": load.open_loop,
    "replicated": replication.rates,
    "replicated-round-trip": replication.round_trip,
    "kernel": engine.kernel,
    "keys": engine.keys,
    "start": start.start,
    "operators": operators.operators,
}
LONG = frozenset({"operators"})
"""What a quick run leaves out unless it is named: it compiles a pipeline for each operator, minutes the first time."""
DEFAULT_OUT = Path(".out")
_ROUNDS = 5
_QUICK_ROUNDS = 2
_QUICK_SCALE = 0.03


def run_bench(
    only: Sequence[str] | None = None, quick: bool = False, out: Path | None = None, workers_max: int = 0
) -> int:
    """Measures, prints the table, and saves it in `out`.

    only: names of sections; None: all.
    quick: little work and few rounds, to see that everything runs; its figures mean nothing.
    workers_max: also measure 1, 2, 4 ... workers behind a balancer; for machines with many cores. 0: no.
    Returns 0, or 1 if something broke; a figure that falls short of its goal is no failure. Raises RingmillError
    INVALID_ARGUMENT for a section that does not exist.
    """
    console = Console()
    sections = choose(only, workers_max, quick)
    described = machine.describe()
    folder = out or DEFAULT_OUT
    figures: list[Figure] = []
    broken: list[str] = []
    try:
        with console.status("starting") as status:
            effort = Effort(
                rounds=_QUICK_ROUNDS if quick else _ROUNDS,
                scale=_QUICK_SCALE if quick else 1.0,
                tell=status.update,
            )
            for name, section in sections.items():
                _measure(name, section, effort, figures, broken)
                report.save(folder, figures, described, quick)  # a run that is killed keeps what it has
    except KeyboardInterrupt:
        console.print("stopped; what was measured so far:")
        broken.append("interrupted")
    report.show(console, figures, described, quick)
    for line in broken:
        console.print(line, style="red", markup=False)
    saved = report.save(folder, figures, described, quick)
    console.print("saved " + " and ".join(map(str, saved)), style="dim")
    return 1 if broken else 0


def choose(only: Sequence[str] | None, workers_max: int, quick: bool = False) -> dict[str, Section]:
    """The sections of these names, in the order of the report; without names all, but a quick run's long ones."""
    sections = dict(SECTIONS)
    if workers_max:
        sections["scaling"] = scaling.up_to(workers_max)
    unknown = set(only or ()) - sections.keys()
    if unknown:
        raise RingmillError(
            Code.INVALID_ARGUMENT, f"no section {sorted(unknown)[0]!r}; there is: {', '.join(sections)}"
        )
    wanted = only or [name for name in sections if not (quick and name in LONG)]
    return {name: section for name, section in sections.items() if name in wanted}


def _measure(name: str, section: Section, effort: Effort, figures: list[Figure], broken: list[str]) -> None:
    try:
        figures.extend(section(effort))
    except Unavailable as reason:
        figures.append(Figure(name, name, None, None, str(reason)))
    except ProcessFailedError as error:
        figures.append(Figure(name, name, None, None, "see below", broken=True))
        broken.append(f"{name}: {error}")
