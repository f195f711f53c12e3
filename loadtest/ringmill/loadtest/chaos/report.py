"""What all trials and runs of a folder say together: a table for people, JSON and Markdown for keeping."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ringmill.loadtest.measure import Figure, Goal, at_most
from ringmill.loadtest.report import markdown_rows, show_rows

TRIALS = "trials.jsonl"
RUN = "run-*.json"
NOTE = (
    "A gap is the time from the last answer before the fault to the first answer to an event that was sent after it, "
    "for the slowest of the keys that the victim served; probes go out every {interval_ms:g} ms. "
    "Cluster, {producers} producers and probes share the cores above."
)
SUDDEN = {
    "kill": ("SIGKILL of a worker", {50: 100.0, 99: 300.0}),
    "stop": ("SIGSTOP of a worker for 1 to 2 s", {99: 1000.0}),
    "both": ("SIGKILL of two workers at once", {}),
    "balancer-kill": ("SIGKILL of the balancer", {}),
    "balancer-stop": ("SIGSTOP of the balancer for 1 to 2 s", {}),
}
"""What each kind is called, and the goals of its percentiles in milliseconds."""
PLANNED = {
    "scale-up": "one worker more",
    "scale-down": "one worker less",
    "drain": "draining a worker",
    "refill": "filling a drained worker's place",
    "restart": "a rolling restart of all workers",
}
WRONG = {
    "lost": "acknowledged events that are lost",
    "doubled": "events applied twice, or applied though refused",
    "altered": "histories that do not follow from what was sent",
    "order": "events of one producer out of order",
    "stale": "events that stand before one that was acknowledged before they were sent",
}


def load(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Trials and runs that were kept in a folder; a last line that was cut off is left out."""
    lines = (folder / TRIALS).read_text().splitlines() if (folder / TRIALS).exists() else []
    trials = [json.loads(line) for line in lines if line.endswith("}")]
    return trials, [json.loads(path.read_text()) for path in sorted(folder.glob(RUN))]


def figures(trials: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """The lines of the report."""
    return [*_exactness(runs), *_sudden(trials), *_planned(trials), *_quiet(trials), *_ends(trials, runs)]


def _exactness(runs: Sequence[Mapping[str, Any]]) -> Iterable[Figure]:
    found: Counter[str] = Counter()
    for run in runs:
        found.update({name: value for name, value in run["findings"].items() if isinstance(value, int)})
    unplaced = f"of which {found['unplaced']:,} without a place (told ALREADY_APPLIED)" if found["unplaced"] else ""
    acknowledged = found["placed"] + found["unplaced"]
    yield _count("acknowledged", "events acknowledged, each checked for its place", acknowledged, unplaced)
    doubts = f"digests found {found['filled']:,} of them applied, counts alone {found['unverified']:,}"
    yield _count("doubts", "events in doubt (never answered)", found["doubts"], doubts)
    yield _count("refused", "events refused; they stand nowhere", found["refused"])
    for kind, what in WRONG.items():
        count = sum(run["findings"]["wrong"].get(kind, 0) for run in runs)
        examples = [each for run in runs for each in run["findings"]["examples"] if each.startswith(kind)]
        yield _count(kind, what, count, "; ".join(examples[:3]), at_most(0))


def _count(name: str, what: str, count: int, detail: str = "", goal: Goal | None = None) -> Figure:
    return Figure(name, what, goal, count, detail)


def _sudden(trials: Sequence[Mapping[str, Any]]) -> Iterable[Figure]:
    for kind, (what, goals) in SUDDEN.items():
        mine = [trial for trial in trials if trial["kind"] == kind and "failed" not in trial]
        gaps = [trial["gap_ms"] for trial in mine if trial["gap_ms"] is not None]
        if not mine:
            continue
        whole = np.percentile([trial["whole_s"] for trial in mine], (50, 99))
        detail = f"{len(mine):,} trials; whole again after {whole[0]:.2f} s (p50), {whole[1]:.2f} s (p99)"
        yield from _percentiles(kind, f"{what}, its keys without service", gaps, goals, detail)
        others = [trial["others_ms"] for trial in mine if trial["others_ms"] is not None]
        yield from _percentiles(f"{kind}-others", f"{what}, the slowest of all other keys", others, {}, "")


def _planned(trials: Sequence[Mapping[str, Any]]) -> Iterable[Figure]:
    for kind, what in PLANNED.items():
        mine = [trial for trial in trials if trial["kind"] == kind and "failed" not in trial]
        if not mine:
            continue
        pauses = [pause for trial in mine for pause in trial["pauses_ms"]]
        others = [trial["others_ms"] for trial in mine if trial["others_ms"] is not None]
        told = max(trial["told_pause_ms"] for trial in mine)
        detail = f"{len(mine)} moves, {len(pauses)} moved keys probed; took {_mean(mine, 'took_s'):.1f} s each"
        detail += f"; longest pause by the balancer's clock {told:.1f} ms"
        if others:
            detail += f"; slowest key that did not move {np.median(others):.1f} ms (p50), {max(others):.1f} ms (max)"
        yield from _percentiles(kind, f"pause of a moved key, {what}", pauses, {}, detail)


def _mean(trials: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(np.mean([trial[name] for trial in trials]))


def _quiet(trials: Sequence[Mapping[str, Any]]) -> Iterable[Figure]:
    mine = [trial for trial in trials if trial["kind"] == "quiet" and "failed" not in trial]
    if not mine:
        return
    minutes = sum(trial["seconds"] for trial in mine) / 60
    rate = np.median([trial["events_s"] for trial in mine]) / 1e6
    worst = max(trial["others_ms"] or 0.0 for trial in mine)
    detail = f"{minutes:.1f} minutes, {rate:.2f} M events/s beside the traffic; longest wait of a key {worst:.0f} ms"
    views = sum(trial["views"] for trial in mine)
    yield _count("quiet", "changes of the view at full load, when nothing had died", views, detail, at_most(0))


def _ends(trials: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]) -> Iterable[Figure]:
    failed = [f"{trial['kind']}: {trial['failed']}" for trial in trials if "failed" in trial]
    yield _count("failed", "trials after which the cluster did not recover", len(failed), "; ".join(failed), at_most(0))
    crashes = [crash for run in runs for crash in run["crashes"]]
    what = "processes that ended with an error by themselves"
    yield _count("crashes", what, len(crashes), "; ".join(crashes[:3]), at_most(0))
    failures: Counter[str] = Counter()
    for run in runs:
        failures.update(run["failures"])
    detail = "; ".join(f"{count} x {told}" for told, count in failures.most_common(5))
    yield _count("failures", "calls and streams that ended with an error", failures.total(), detail)


def _percentiles(
    name: str, what: str, found: Sequence[float], goals: Mapping[int, float], detail: str
) -> Iterable[Figure]:
    if not found:
        return
    for percent in (50, 99):
        bound = goals.get(percent)
        goal = None if bound is None else at_most(bound, " ms")
        measured = float(np.percentile(found, percent))
        yield Figure(f"{name}-p{percent}", f"{what}, p{percent}", goal, measured, detail, unit=" ms")
        detail = f"of {len(found):,}; max {max(found):.1f} ms"


def save(folder: Path, machine: Mapping[str, str]) -> list[Figure]:
    """Writes report.json and report.md of all that the folder holds."""
    trials, runs = load(folder)
    found = figures(trials, runs)
    lines = [{"name": each.name, "what": each.what, "measured": each.measured, "unit": each.unit} for each in found]
    told = [line | {"verdict": each.verdict, "detail": each.detail} for line, each in zip(lines, found, strict=True)]
    kept = {"machine": dict(machine), "figures": told, "runs": runs}
    (folder / "report.json").write_text(json.dumps(kept, indent=2) + "\n")
    heading = [*(f"- {name}: {value}" for name, value in machine.items()), "", _note(runs), ""]
    (folder / "report.md").write_text("\n".join([*heading, *markdown_rows(found)]) + "\n")
    return found


def show(console: Console, folder: Path, found: Sequence[Figure], machine: Mapping[str, str]) -> None:
    """Prints the table."""
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), style="dim", highlight=False)
    console.print(_note(load(folder)[1]), style="dim")
    table: Table = show_rows(found)
    console.print(table)


def _note(runs: Sequence[Mapping[str, Any]]) -> str:
    if not runs:
        return ""
    shapes = Counter(f"{run['shape']['workers']} workers, {run['shape']['replicas']} copies" for run in runs)
    minutes = sum(run["seconds"] for run in runs) / 60
    shape = "; ".join(shapes)
    return f"{len(runs)} runs, {minutes:.1f} minutes ({shape}). " + NOTE.format(**runs[-1]["traffic"])
