"""Makes the trials of a plan and keeps what they find: a run that is stopped or killed loses no more than its last."""

import json
import secrets
import time
from pathlib import Path

from rich.console import Console

from ringmill.core.errors import Code, RingmillError
from ringmill.loadtest import machine
from ringmill.loadtest.chaos import report
from ringmill.loadtest.chaos.cluster import Shape
from ringmill.loadtest.chaos.run import Run, Traffic
from ringmill.loadtest.chaos.trials import Plan, Trial, Trials
from ringmill.loadtest.processes import ProcessFailedError

FAILED_MAX = 5
"""Clusters that may fail to recover before the rest of the plan is given up."""
_TELL_S = 10.0
_KEEP_S = 10.0


def run_chaos(plan: Plan, shape: Shape, traffic: Traffic, out: Path, seconds: float, seed: int) -> int:
    """Makes the trials and prints the report of all that the folder `out` holds, of earlier runs too.

    seconds: begin no trial later than this; 0: any time. Returns 0, or 1 if anything was lost, doubled or out of order,
    a process crashed, or a cluster did not recover; a goal that is missed is no failure. Raises RingmillError for a
    plan that cannot be.
    """
    if plan.both and shape.replicas < 3:
        raise RingmillError(
            Code.INVALID_ARGUMENT, "two workers at once take both copies of what they share: say --replicas 3"
        )
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    described = machine.describe()
    kinds = plan.kinds(seed)
    deadline_s = time.monotonic() + seconds if seconds else float("inf")
    keeper = _Keeper(out, console, len(kinds), described)
    try:
        for number in range(FAILED_MAX):
            if not kinds or time.monotonic() > deadline_s:
                break
            _make(plan, kinds, shape, traffic, keeper, deadline_s, seed + number)
    except ProcessFailedError as error:
        raise RingmillError(Code.UNAVAILABLE, str(error)) from None
    except KeyboardInterrupt:
        console.print("stopped; what was found so far:")
    found = report.save(out, described)
    report.show(console, out, found, described)
    console.print(f"saved {out / 'report.json'}, {out / 'report.md'} and every trial", style="dim")
    return 1 if any(figure.verdict == "short" and isinstance(figure.measured, int) for figure in found) else 0


def _make(
    plan: Plan, kinds: list[str], shape: Shape, traffic: Traffic, keeper: "_Keeper", deadline_s: float, seed: int
) -> None:
    """Makes trials on one cluster, and removes them from `kinds`, until all are made or one fails."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    keeper.tell(f"starting {shape.workers} workers with {shape.replicas} copies")
    with Run(name, shape, traffic, keeper.folder / f"logs-{name}", seed) as run:
        trials = Trials(run, seed, plan.quiet_s)
        try:
            while kinds and time.monotonic() < deadline_s:
                kind = kinds.pop(0)
                try:
                    keeper.keep(run, trials.make(kind))
                except ProcessFailedError as error:
                    keeper.keep(run, [{"kind": kind, "failed": str(error)}])
                    break
            keeper.tell("checking")
        finally:
            try:
                run.close()
            except ProcessFailedError as error:
                keeper.keep(run, [{"kind": "close", "failed": str(error)}])
            keeper.keep(run, [])


class _Keeper:
    """Writes trials as they come, and tells of progress now and then."""

    def __init__(self, folder: Path, console: Console, total: int, described: dict[str, str]) -> None:
        self.folder = folder
        self._console = console
        self._total = total
        self._described = described
        self._made = 0
        self._began_s = time.monotonic()
        self._next_tell_s = self._next_keep_s = 0.0

    def keep(self, run: Run, trials: list[Trial]) -> None:
        """Appends trials, and from time to time, or without any, writes what the run has found."""
        with (self.folder / report.TRIALS).open("a") as kept:
            for trial in trials:
                kept.write(json.dumps({"run": run.name, "at_s": round(run.now_ns() / 1e9, 3), **trial}) + "\n")
        self._made += bool(trials)
        now_s = time.monotonic()
        if not trials or now_s > self._next_keep_s:
            self._next_keep_s = now_s + _KEEP_S
            part = self.folder / f".run-{run.name}"
            part.write_text(json.dumps(run.report()))
            part.rename(self.folder / f"run-{run.name}.json")
        if trials and ("failed" in trials[-1] or now_s > self._next_tell_s):
            self._next_tell_s = now_s + _TELL_S
            self._progress(run, trials[-1], now_s)

    def tell(self, words: str) -> None:
        """Prints a line."""
        self._console.print(words, style="dim", highlight=False)

    def _progress(self, run: Run, trial: Trial, now_s: float) -> None:
        findings = run.findings
        took_s = (now_s - self._began_s) / max(1, self._made)
        words = ", ".join(f"{name} {trial[name]}" for name in ("gap_ms", "whole_s", "failed") if name in trial)
        self.tell(
            f"{self._made} of {self._total} trials ({took_s:.2f} s each); {trial['kind']}: {words}; "
            f"{findings.placed:,} events acknowledged, {findings.violations} violations"
        )
