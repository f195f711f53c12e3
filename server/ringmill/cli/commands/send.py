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
    producer: Annotated[
        str, typer.Option(help="Stable name of this sending of the file, so that it can be resumed.")
    ] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Send again what --producer sent before: nothing is applied twice.")
    ] = False,
) -> int:
    """Stream a CSV or Parquet file through a pipeline, and say what came back.

    Columns that bear the names of fields need no mapping. Rows are sent in the order of the file.
    Rejected events are counted by reason; they do not fail the command.
    After a crash, the same command with --resume applies each row of a file once; rows that were answered before and
    whose outcome is no longer kept are counted as such: applied then, or rejected. It needs the same file, --batch and
    mapping, and a producer's name that sent nothing else.

    [dim]$ ringmill send flights.parquet --pipeline flights_by_tail --key tailnum --field delay=dep_delay[/dim]
    [dim]$ ringmill send rides.csv.gz --pipeline rides --key city --key zone --time-unit s --out results.csv[/dim]
    """
    process.begin()
    if resume and not producer:
        raise typer.BadParameter("say which sending is to be resumed: --producer NAME")
    from ringmill.cli.feed.mapping import make_mapping, parse_assignments
    from ringmill.cli.feed.run import show, stream
    from ringmill.cli.feed.tables import open_source
    from ringmill.client import Client
    from ringmill.core.errors import Code, RingmillError

    assigned = parse_assignments(fields or [])
    source = open_source(file)
    with Client(to, pipeline, producer=producer, replay=resume, batch_events_max=batch) as client:
        if producer and not resume and client.last_sequence:
            raise RingmillError(
                Code.ALREADY_EXISTS,
                f"producer {producer!r} has sent {client.last_sequence:,} batches before: --resume goes on with the "
                "same file, another file needs another name",
            )
        mapping = make_mapping(file, source.columns, client.schema, key or (), time_column, assigned, time_unit)
        show(stream(client, source, mapping, out, file.name, producer), out)
    return 0
