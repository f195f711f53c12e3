"""`ringmill chaos`: kills, freezes, scales and restarts real processes under load, and checks every acknowledgement."""

from pathlib import Path
from typing import Annotated

import typer

from ringmill.cli import process


def chaos(
    kills: Annotated[int, typer.Option(help="Kill a worker (SIGKILL) so often.", min=0)] = 0,
    stops: Annotated[int, typer.Option(help="Freeze a worker (SIGSTOP) for 1 to 2 s so often.", min=0)] = 0,
    both: Annotated[int, typer.Option(help="Kill two workers at once so often; needs --replicas 3.", min=0)] = 0,
    balancer_kills: Annotated[int, typer.Option(help="Kill the balancer so often.", min=0)] = 0,
    balancer_stops: Annotated[int, typer.Option(help="Freeze the balancer for 1 to 2 s so often.", min=0)] = 0,
    scale: Annotated[int, typer.Option(help="So often: a worker more, one less, one drained and replaced.", min=0)] = 0,
    restarts: Annotated[int, typer.Option(help="Rolling restarts of all workers.", min=0)] = 0,
    quiet_minutes: Annotated[
        float, typer.Option(help="Minutes of full load at which nobody must be taken for dead.", min=0)
    ] = 0.0,
    workers: Annotated[int, typer.Option("--workers", "-w", help="Worker processes.", min=2, max=64)] = 4,
    replicas: Annotated[int, typer.Option(help="Copies of each partition, the primary included.", min=1)] = 2,
    producers: Annotated[int, typer.Option(help="Named producers.", min=1, max=256)] = 16,
    rate: Annotated[float, typer.Option(help="Events a second of all producers together.", min=1)] = 5_000.0,
    seconds: Annotated[float, typer.Option(help="Begin no trial after so many seconds; 0: any time.", min=0)] = 0.0,
    seed: Annotated[int, typer.Option(help="Decides victims, moments and keys.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the trials and the report; further runs add to it.")] = Path(
        ".out/chaos"
    ),
) -> int:
    """Kill, freeze, scale and restart real processes under load, and check every acknowledged event.

    An operator appends each event to its key's history, so each answer names its place: lost, doubled and reordered
    events are found. Probes time what callers notice. Status 1 if anything was lost, doubled or out of order.

    [dim]$ ringmill chaos --kills 20 --stops 5[/dim]
    """
    process.begin()
    from ringmill.loadtest.chaos.cluster import Shape
    from ringmill.loadtest.chaos.main import run_chaos
    from ringmill.loadtest.chaos.run import Traffic
    from ringmill.loadtest.chaos.trials import Plan

    plan = Plan(kills, stops, both, balancer_kills, balancer_stops, scale, restarts, quiet_minutes)
    traffic = Traffic(producers=producers, events_s=rate)
    return run_chaos(plan, Shape(workers, replicas), traffic, out, seconds, seed)
