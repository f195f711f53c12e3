"""`ringmill send`: streams a table through a pipeline."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ringmill.cli import process


def send(
    file: Annotated[Path, typer.Argument(help="Table to send: .csv, .csv.gz or .parquet.", show_default=False)],
    pipeline: Annotated[str, typer.Option("--pipeline", help="Pipeline that gets the events.", show_default=False)],
    to: Annotated[str, typer.Option(help="Address of a balancer or worker, host:port.")] = "127.0.0.1:7400",
    key: Annotated[
        list[str] | None, typer.Option(help="Column of keys; several are joined by '-'. Default: key.")
    ] = None,
    time_column: Annotated[
        str | None,
        typer.Option("--time", help="Column of event times. Default: time_us, time or timestamp, if there is one."),
    ] = None,
    time_unit: Annotated[
        Literal["s", "ms", "us", "ns"], typer.Option(help="Unit of times that are plain numbers.")
    ] = "us",
    fields: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="FIELD=COLUMN", help="Column of a field, if its name differs; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write results here: .csv or .parquet.")] = None,
    batch: Annotated[int, typer.Option(help="Events in one message.", min=1, max=65_536)] = 4096,
    producer: Annotated[str, typer.Option(help="Stable name of the sender, echoed by the server.")] = "",
) -> int:
    """Stream a CSV or Parquet file through a pipeline, and say what came back.

    Columns that bear the names of fields need no mapping. Rows are sent in the order of the file.
    Rejected events are counted by reason; they do not fail the command.

    [dim]$ ringmill send flights.parquet --pipeline flights_by_tail --key tailnum --field delay=dep_delay[/dim]
    [dim]$ ringmill send rides.csv.gz --pipeline rides --key city --key zone --time-unit s --out results.csv[/dim]
    """
    process.begin()
    from ringmill.cli.feed.mapping import make_mapping, parse_assignments
    from ringmill.cli.feed.run import show, stream
    from ringmill.cli.feed.tables import open_source
    from ringmill.client import Client

    assigned = parse_assignments(fields or [])
    source = open_source(file)
    with Client(to, pipeline, producer=producer, batch_events_max=batch) as client:
        mapping = make_mapping(file, source.columns, client.schema, key or (), time_column, assigned, time_unit)
        show(stream(client, source, mapping, out, file.name), out)
    return 0
