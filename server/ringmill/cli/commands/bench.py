"""`ringmill bench`: measures Ringmill against what else there is."""

from pathlib import Path
from typing import Annotated

import typer

from ringmill.cli import process


def bench(
    only: Annotated[list[str] | None, typer.Option(help="Run this section alone; repeatable.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="See that everything runs; the figures mean nothing.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path(".out"),
    workers_max: Annotated[int, typer.Option(help="Also measure up to so many workers; 0: do not.", min=0)] = 0,
) -> int:
    """Measure against stock gRPC, Redis and C, as ratios within one run; print the table and save it.

    [dim]$ ringmill bench[/dim]
    [dim]$ ringmill bench --only round-trip --only events[/dim]
    """
    process.begin()
    from ringmill.loadtest.main import run_bench

    return run_bench(only=only, quick=quick, out=out, workers_max=workers_max)
