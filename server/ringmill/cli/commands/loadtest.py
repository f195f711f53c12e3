"""`ringmill loadtest`: a load that does not wait, against any cluster."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ringmill.cli import extras, process


def loadtest(
    scenario: Annotated[
        Path | None, typer.Argument(help="Scenario (TOML), or the report.json of a run.", show_default=False)
    ] = None,
    to: Annotated[str | None, typer.Option(help="Address of a balancer or worker, host:port.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Pipeline that gets the events.")] = None,
    rate: Annotated[
        list[float] | None, typer.Option(help="Events a second; repeatable: one step for each.", show_default=False)
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Measured seconds of each step.")] = None,
    warmup: Annotated[float | None, typer.Option(help="Seconds before, which are left out.")] = None,
    arrivals: Annotated[
        Literal["poisson", "constant", "bursty", "ramp"] | None, typer.Option(help="How events come.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Events that come together, as a message; 0: one by one.")] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Send when answered, not when due.")] = False,
    in_flight: Annotated[int | None, typer.Option(help="Messages of a stream on their way at once.")] = None,
    streams: Annotated[int | None, typer.Option(help="Streams, each with its own producer.")] = None,
    processes: Annotated[int | None, typer.Option(help="Processes that share the streams.")] = None,
    keys: Annotated[Literal["uniform", "zipf", "hot"] | None, typer.Option(help="How keys are drawn.")] = None,
    key_count: Annotated[int | None, typer.Option(help="Keys there are.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Of zipf: its exponent.")] = None,
    p99_ms: Annotated[float | None, typer.Option(help="Look for the highest rate that keeps this p99.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides keys, values and moments.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path(".out/loadtest"),
) -> int:
    """Offer events to a cluster at a set rate, whatever its answers do, and report what each one waited.

    Latency counts from the moment an event was due: a stall is charged to every event that it delayed. Flags go
    before the scenario's settings. Writes a report as one HTML page, and as JSON that can be run again.

    [dim]$ ringmill loadtest --pipeline readings --rate 50000[/dim]
    [dim]$ ringmill loadtest --pipeline readings --rate 10000 --p99-ms 5 --streams 4 --processes 2[/dim]
    [dim]$ ringmill loadtest scenario.toml --seconds 60[/dim]
    """
    process.begin()
    extras.need("hdrh", "loadtest")
    from ringmill.loadtest.runner.main import read_scenario, run_loadtest
    from ringmill.loadtest.runner.scenario import parse

    flags: dict[str, dict[str, Any]] = {
        "target": {"address": to, "pipeline": pipeline},
        "load": {
            "loop": "closed" if closed else None,
            "rate": rate or None,
            "seconds": seconds,
            "warmup_seconds": warmup,
            "arrivals": arrivals,
            "batch": batch,
            "in_flight": in_flight,
            "streams": streams,
            "processes": processes,
            "seed": seed,
        },
        "keys": {"distribution": keys, "count": key_count, "alpha": alpha},
        "search": {"p99_ms": p99_ms},
    }
    given = {name: {key: value for key, value in table.items() if value is not None} for name, table in flags.items()}
    made = parse(read_scenario(scenario) if scenario else "", given)
    if made.recording.file:
        extras.need("pyarrow")
    return run_loadtest(made, out)
