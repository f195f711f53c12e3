"""`ringmill demo`."""

from typing import Annotated

import typer

from ringmill.cli import process


def demo(
    workers: Annotated[int, typer.Option("--workers", "-w", help="Worker processes.", min=2, max=64)] = 2,
) -> int:
    """Stream a year of real flights through a balancer and two workers, kill one of them, and report.

    All 336,776 departures from New York in 2013, by aircraft and by route: rates, latencies, how long keys waited
    when their worker was killed, the most abnormal routes, and checks: nothing lost, nothing counted twice, and
    1,000 aircraft equal to pandas. Ends by itself; status 1 if a check fails.

    [dim]$ ringmill demo[/dim]
    """
    process.begin()
    from ringmill.cli.demo.run import run

    return run(workers)
