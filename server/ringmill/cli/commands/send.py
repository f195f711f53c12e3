"""`ringmill send`: streams a table through a pipeline."""

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ringmill.cli import console, process
from ringmill.cli.mapping import Mapping, arrow_types, fields_of, keys_of, make_mapping, parse_assignments, times_of
from ringmill.cli.progress import progress
from ringmill.cli.tables import FileSink, Source, open_sink, open_source
from ringmill.core.errors import Code, RingmillError

if TYPE_CHECKING:
    import pyarrow as pa

    from ringmill.client import Client, Result


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
    from ringmill.client import Client

    assigned = parse_assignments(fields or [])
    source = open_source(file)
    with Client(to, pipeline, producer=producer, batch_events_max=batch) as client:
        mapping = make_mapping(file, source.columns, client.schema, key or (), time_column, assigned, time_unit)
        with open_sink(out) if out else contextlib.nullcontext() as sink:
            summary = _stream(client, source, mapping, sink, file.name)
    _show(summary, out)
    return 0


@dataclass(slots=True)
class Summary:
    """What a run of `send` came to."""

    events: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    took_s: float = 0.0
    """Time spent in sending and waiting, the reading of the file left out."""

    def add(self, got: "Result", took_s: float) -> None:
        """Counts one piece."""
        import numpy as np

        self.events += len(got)
        self.rejected += got.rejected
        self.took_s += took_s
        if got.rejected:
            names, counts = np.unique(got.rejection[~got.applied].astype(str), return_counts=True)
            for name, count in zip(names.tolist(), counts.tolist(), strict=True):
                self.reasons[name] = self.reasons.get(name, 0) + count


def _stream(client: "Client", source: Source, mapping: Mapping, sink: FileSink | None, name: str) -> Summary:
    summary = Summary()
    with progress(name, source.total) as advance:
        for piece in source.pieces(mapping.columns, arrow_types(mapping, client.schema)):
            keys, times = keys_of(mapping, piece), times_of(mapping, piece)
            began_s = time.perf_counter()
            try:
                got = client.process(keys, times, **fields_of(mapping, piece))
            except (TypeError, ValueError) as problem:
                raise RingmillError(Code.INVALID_ARGUMENT, f"{name}: {problem}") from problem
            summary.add(got, time.perf_counter() - began_s)
            if sink is not None:
                sink.write(results(piece, got))
            advance(source.position, f"{console.count(summary.events)} events")
    return summary


def results(piece: "pa.Table", got: "Result") -> "pa.Table":
    """The sent columns, the outputs, and why an event was rejected (empty where it was applied)."""
    import pyarrow as pa

    table = piece
    for output in got.names:
        name = output
        while name in table.column_names:  # the file has a column of that name, which is kept
            name += "_"
        table = table.append_column(name, pa.array(got[output]))
    return table.append_column("rejection", pa.array(got.rejection, pa.string()))


def _show(summary: Summary, out: Path | None) -> None:
    screen = console.out()
    rate = summary.events / summary.took_s if summary.took_s else 0.0
    screen.print(
        f"{summary.events:,} events in {console.seconds(summary.took_s)}, {console.count(rate)} events/s; "
        f"{summary.rejected:,} rejected"
    )
    for reason, count in sorted(summary.reasons.items(), key=lambda item: -item[1]):
        screen.print(f"  {reason}: {count:,}")
    if out is not None:
        screen.print(f"results in {out}")
