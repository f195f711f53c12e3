"""`ringmill bench`: measures Ringmill against what else there is."""

from pathlib import Path
from typing import Annotated

import typer

from ringmill.cli import process


def bench(
    out: Annotated[Path | None, typer.Option(help="Folder for the report; by default none is saved.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Measure this figure alone; may be repeated.")] = None,
) -> int:
    """Measure against stock gRPC, Redis and C, as ratios within one run, and print the table.

    [dim]$ ringmill bench[/dim]
    [dim]$ ringmill bench --only round-trip --out .out[/dim]
    """
    process.begin()
    from ringmill.loadtest.main import run_bench

    return run_bench(out=out, only=only)
