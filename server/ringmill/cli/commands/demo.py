"""`ringmill demo`."""

from typing import Annotated

import typer

from ringmill.cli import process


def demo(
    workers: Annotated[int, typer.Option("--workers", "-w", help="Worker processes.", min=1, max=64)] = 2,
) -> int:
    """Stream a year of real flights through a balancer and two workers, and report.

    All 336,776 departures from New York in 2013, by aircraft and by route: rates, latencies, the most
    abnormal routes, and a check of 1,000 aircraft against pandas. Ends by itself; status 1 if the check fails.

    [dim]$ ringmill demo[/dim]
    """
    process.begin()
    from ringmill.cli.demo.run import run

    return run(workers)
