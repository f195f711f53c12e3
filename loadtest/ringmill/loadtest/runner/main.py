"""Runs a scenario: the steps one after the other, each by several processes, and the search for a rate."""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from rich.console import Console

from ringmill.core.errors import Code, RingmillError
from ringmill.loadtest import machine
from ringmill.loadtest.processes import Process, ProcessFailedError
from ringmill.loadtest.runner import report
from ringmill.loadtest.runner.child import window_of
from ringmill.loadtest.runner.live import Words, live
from ringmill.loadtest.runner.page import Page
from ringmill.loadtest.runner.scenario import Scenario, check_rate, to_tables
from ringmill.loadtest.runner.search import RateSearch
from ringmill.loadtest.runner.settings import ScenarioError
from ringmill.loadtest.runner.step import Step, keeps, runner_limit, summarise

DEFAULT_OUT = Path(".out/loadtest")
_BEGIN_S = 0.2
"""From the order to begin to the beginning: all processes hear of it by then."""
_LOOK_S = 0.25


def run_loadtest(scenario: Scenario, out: Path = DEFAULT_OUT) -> int:
    """Runs a scenario, shows it, and saves report.json and report.html in `out` after each step.

    Returns 0; 1 if streams failed, nothing was answered, or it was interrupted; a rate that a search tried in vain is
    no failure, but one that finds none is. Raises RingmillError.
    """
    console = Console()
    run = report.begin(scenario, machine.describe())
    saved: list[Path] = []
    try:
        with Processes(scenario, console) as processes:
            for step in _search(scenario, processes, run) if scenario.search.p99_ms else _rates(scenario, processes):
                report.add(run, step, processes.described)
                report.show_step(console, step)
                saved = report.save(out, run)
                if step["stopped"]:
                    break
    except ProcessFailedError as error:
        raise RingmillError(Code.UNAVAILABLE, str(error)) from None
    if not saved:
        return 1
    saved = report.save(out, run)  # a search may have ended without a further step
    report.show(console, run)
    console.print("saved " + " and ".join(map(str, saved)), style="dim")
    return report.status(run)


def _rates(scenario: Scenario, processes: "Processes") -> Iterator[Step]:
    has_rate = scenario.load.loop == "open" and not scenario.recording.file
    for rate in scenario.load.rate if has_rate else (0.0,):
        yield processes.step(rate)


def _search(scenario: Scenario, processes: "Processes", run: report.Report) -> Iterator[Step]:
    """Steps until the highest rate is found; told in `run`."""
    asked = scenario.search
    search = RateSearch(scenario.load.rate[0], asked.rate_max, asked.within, asked.tries)
    found = run["search"] = {"p99_ms": asked.p99_ms, "kept": None, "failed": None, "limit": ""}
    while not search.done:
        try:
            check_rate(scenario, search.rate)
        except ScenarioError as error:
            found["limit"] = error.message
            return
        step = processes.step(search.rate)
        held = step["held"] = keeps(step, asked.p99_ms)
        search.hear(held)
        found["kept"], found["failed"] = search.kept, search.failed
        if not held:
            # Where the runner could not keep up, the rate is no figure of the server.
            found["limit"] = runner_limit(step)
        yield step


class Processes:
    """The processes that send. Use it as a context manager: none is left afterwards."""

    def __init__(self, scenario: Scenario, console: Console) -> None:
        self.described: dict[str, Any] = {}
        """What the first process says of the pipeline and of the keys that it drew."""
        self._scenario = scenario
        self._console = console
        self._stack = ExitStack()
        self._processes: list[Process] = []
        self._steps = 0

    def __enter__(self) -> Self:
        try:
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ringmill-loadtest-")))
            command = [sys.executable, "-m", "ringmill.loadtest.runner"]
            for _ in range(self._scenario.load.processes):
                self._processes.append(self._stack.enter_context(Process(command, ends_with_stdin=True)))
            for process in self._processes:
                process.wait_ready()
            self._pool = self._stack.enter_context(ThreadPoolExecutor(len(self._processes)))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def step(self, rate: float) -> Step:
        """Runs one step. Ctrl-C ends it early, with what was measured so far."""
        self._steps += 1
        pages = [Page(str(self._folder / f"{self._steps}-{place}")) for place in range(len(self._processes))]
        tables = to_tables(self._scenario)
        prepared = [
            self._pool.submit(process.do, "prepare", scenario=tables, rate=rate, process=place, page=page.path)
            for place, (process, page) in enumerate(zip(self._processes, pages, strict=True))
        ]
        self.described = _answers(prepared)[0]
        begin_ns = time.monotonic_ns() + int(_BEGIN_S * 1e9)
        running = [self._pool.submit(process.do, "run", begin_ns=begin_ns) for process in self._processes]
        try:
            self._watch(rate, pages, running, begin_ns)
        except KeyboardInterrupt:
            for page in pages:
                page.stop()
        return summarise(self._scenario, rate, window_of(self._scenario), _answers(running))

    def _watch(self, rate: float, pages: Sequence[Page], running: Sequence["Future[Any]"], begin_ns: int) -> None:
        load = self._scenario.load
        name = f"{rate:,.0f} events/s" if rate else "closed loop" if load.loop == "closed" else "recording"
        words = Words()
        with live(self._console, name, load.warmup_seconds + load.seconds) as show:
            while not all(each.done() for each in running):
                time.sleep(_LOOK_S)
                at_s = (time.monotonic_ns() - begin_ns) / 1e9
                show(at_s, words([page.read() for page in pages], at_s))


def _answers(futures: Sequence["Future[dict[str, Any]]"]) -> list[dict[str, Any]]:
    """What the processes answered. Raises RingmillError for the first error among them."""
    answers = [future.result() for future in futures]
    for answer in answers:
        if "error" in answer:
            raise RingmillError(Code(answer["code"]), answer["error"])
    return answers


def read_scenario(path: Path) -> str:
    """The text of a scenario or of a report. Raises RingmillError for what is no text."""
    try:
        return path.read_text()
    except UnicodeDecodeError:
        raise RingmillError(Code.INVALID_ARGUMENT, f"{path} is no text") from None
