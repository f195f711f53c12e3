"""The report of a run: lines for people, JSON to keep and to run again, and a page for a browser."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ringmill.loadtest.measure import each_second
from ringmill.loadtest.runner import histogram
from ringmill.loadtest.runner.html import milliseconds, page
from ringmill.loadtest.runner.scenario import Scenario, to_tables, to_toml
from ringmill.loadtest.runner.step import Step

Report = dict[str, Any]

FORMAT = 1


def begin(scenario: Scenario, machine: Mapping[str, str]) -> Report:
    """A report without steps. `scenario` in it is all that is needed to run it again."""
    return {
        "format": FORMAT,
        "began": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "scenario": to_tables(scenario),
        "toml": to_toml(scenario),
        "machine": dict(machine),
        "pipeline": {},
        "search": None,
        "steps": [],
    }


def add(report: Report, step: Step, described: Mapping[str, Any]) -> None:
    """Adds a step, and what the server said of the pipeline."""
    report["steps"].append(step)
    report["pipeline"] = dict(described)


def save(folder: Path, report: Report) -> list[Path]:
    """Writes report.json and report.html; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_html = folder / "report.json", folder / "report.html"
    as_json.write_text(json.dumps(report, indent=1) + "\n")
    as_html.write_text(page(report))
    return [as_json, as_html]


def status(report: Report) -> int:
    """The exit status: 1 if a step did not do what it says. What a search tried in vain is left out."""
    steps = [step for step in report["steps"] if step.get("held", True)]
    stopped = any(step["stopped"] for step in report["steps"])
    return int(not steps or stopped or any(step["failures"] or not step["answered_s"] for step in steps))


def show_step(console: Console, step: Step) -> None:
    """Prints a step's warnings, and in a search whether the rate was kept."""
    if "held" in step:
        told = "kept" if step["held"] else "[yellow]not kept[/yellow]"
        console.print(f"{step['rate']:,.0f} events/s: p99 {told} ({step['latency']['p99_us'] / 1e3:.2f} ms)")
    for line in step["warnings"]:
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def show(console: Console, report: Report) -> None:
    """Prints the steps as a table, and what a search has found."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=_TITLE, title_justify="left", title_style="dim")
    for heading in ("offered", "answered", *map(_title, _NAMES), "late p99"):
        table.add_column(heading, justify="right", no_wrap=True)
    for step in report["steps"]:
        latency = (milliseconds(step["latency"][name]) for name in _NAMES)
        cells = (each_second(step["offered_s"]), each_second(step["answered_s"]), *latency)
        table.add_row(*cells, milliseconds(step["late"]["p99_us"]))
    console.print(table)
    if report["search"]:
        console.print(told_search(report["search"]), highlight=False, soft_wrap=True)


def told_search(search: Mapping[str, Any]) -> str:
    """What a search has found, in words."""
    bound = f"a p99 of {search['p99_ms']:g} ms"
    told = f"no rate kept {bound}" if search["kept"] is None else f"{search['kept']:,.0f} events/s kept {bound}"
    if search["failed"] is not None:
        told += f"; {search['failed']:,.0f} did not"
    return told + (f". {search['limit']}" if search["limit"] else "")


_TITLE = "latencies in ms; late: by what the runner itself was late"
_NAMES = (*map(histogram.name_of, histogram.PERCENTILES), "max_us")


def _title(name: str) -> str:
    titles = {histogram.name_of(percent): f"p{percent:g}" for percent in histogram.PERCENTILES}
    return titles.get(name, "max")
