"""The figures as a table for people, and as JSON and Markdown for keeping."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ringmill.loadtest.measure import Figure

_STYLES = {"pass": "green", "short": "yellow", "skipped": "dim", "reported": "", "broken": "red"}
_NOTE = "Every process of a measurement, the client's included, shares the cores above."
_QUICK = "A quick run: it shows that everything runs; its figures mean nothing."


def show(console: Console, figures: Sequence[Figure], machine: Mapping[str, str], quick: bool) -> None:
    """Prints the table."""
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), style="dim", highlight=False)
    console.print(_QUICK if quick else _NOTE, style="dim")
    console.print(show_rows(figures))


def show_rows(figures: Sequence[Figure]) -> Table:
    """The figures as a table for a console."""
    table = Table(show_lines=False)
    for heading in ("Figure", "Goal", "Measured", ""):
        table.add_column(heading, overflow="fold")
    for figure in figures:
        told = f"{figure.what}\n[dim]{figure.detail}[/dim]" if figure.detail else figure.what
        verdict = f"[{_STYLES[figure.verdict]}]{figure.verdict}" if _STYLES[figure.verdict] else figure.verdict
        table.add_row(told, str(figure.goal or ""), measured(figure), verdict)
    return table


def save(folder: Path, figures: Sequence[Figure], machine: Mapping[str, str], quick: bool) -> list[Path]:
    """Writes bench.json (with every sample) and bench.md; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = [asdict(figure) | {"verdict": figure.verdict} for figure in figures]
    as_json = folder / "bench.json"
    as_json.write_text(json.dumps({"machine": dict(machine), "quick": quick, "figures": entries}, indent=2) + "\n")
    as_markdown = folder / "bench.md"
    as_markdown.write_text(markdown(figures, machine, quick))
    return [as_json, as_markdown]


def markdown(figures: Sequence[Figure], machine: Mapping[str, str], quick: bool) -> str:
    """The report as Markdown."""
    lines = [*(f"- {name}: {value}" for name, value in machine.items()), "", _QUICK if quick else _NOTE, ""]
    return "\n".join([*lines, *markdown_rows(figures)]) + "\n"


def markdown_rows(figures: Sequence[Figure]) -> list[str]:
    """The figures as lines of a table in Markdown."""
    lines = ["| Figure | Goal | Measured | Verdict | Medians |", "|---|---|---|---|---|"]
    for figure in figures:
        cells = (figure.what, str(figure.goal or ""), measured(figure), figure.verdict, figure.detail)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def measured(figure: Figure) -> str:
    """The figure with its unit."""
    if figure.measured is None:
        return ""
    if isinstance(figure.measured, int):
        return f"{figure.measured:,}"
    return f"{figure.measured:,.0f}{figure.unit}" if figure.measured >= 1000 else f"{figure.measured:.3g}{figure.unit}"
