"""Streams a table through a pipeline, piece by piece."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ringmill.cli import console
from ringmill.cli.feed.mapping import Mapping, arrow_types, fields_of, keys_of, times_of
from ringmill.cli.feed.tables import FileSink, Source, open_sink
from ringmill.cli.news import plural
from ringmill.cli.progress import progress
from ringmill.client import ProcessError
from ringmill.client.codec import load_codec
from ringmill.core.errors import Code, RingmillError

if TYPE_CHECKING:
    import pyarrow as pa

    from ringmill.client import Client, Result


ANSWERED_BEFORE = "ALREADY_APPLIED"
"""How a server rejects an event that is sent again and whose outcome it does not know any more."""


@dataclass(slots=True)
class Summary:
    """What a run of `send` came to."""

    events: int = 0
    rejected: int = 0
    """Those that were answered before left out."""
    before: int = 0
    """Answered in an earlier run of the same sending: applied or rejected then, which the server does not know."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Rejected events by reason."""
    took_s: float = 0.0
    """Time spent in sending and waiting, the reading of the file left out."""

    def add(self, got: "Result", took_s: float) -> None:
        """Counts one piece."""
        self.events += len(got)
        self.took_s += took_s
        if got.rejected:
            names, counts = np.unique(got.rejection[~got.applied].astype(str), return_counts=True)
            for name, count in zip(names.tolist(), counts.tolist(), strict=True):
                if name == ANSWERED_BEFORE:
                    self.before += count
                else:
                    self.rejected += count
                    self.reasons[name] = self.reasons.get(name, 0) + count


def stream(
    client: "Client", source: Source, mapping: Mapping, out: Path | None, name: str, producer: str = ""
) -> Summary:
    """Sends all rows in order and writes the results to `out`, if there is one.

    Raises RingmillError: the file's rows do not fit the pipeline, or the stream broke; it tells how many went before.
    """
    summary = Summary()
    with open_sink(out) if out else nullcontext() as sink, _broken_off(summary, producer):
        _stream(client, source, mapping, sink, name, summary)
    return summary


@contextmanager
def _broken_off(summary: Summary, producer: str) -> Iterator[None]:
    """Of a file that breaks off half-way, tells what was sent of it: that has its effect."""
    try:
        yield
    except RingmillError as problem:
        answered = summary.events + (problem.acknowledged if isinstance(problem, ProcessError) else 0)
        if not answered:
            raise
        told = f"{plural(answered, 'row')} before had been sent and answered"
        raise RingmillError(problem.code, f"{problem.message}; {told}: {_mend(producer)}") from problem
    except KeyboardInterrupt:
        told = f"{plural(summary.events, 'row')} had been sent and answered, and some after them may have been applied"
        console.error(f"interrupted; {told}: {_mend(producer)}")
        raise


def _mend(producer: str) -> str:
    """How the rest of a file is sent."""
    if producer:
        return "the same command with --resume goes on"
    return "sent again, they count twice; a sending with --producer NAME can be resumed"


def _stream(
    client: "Client", source: Source, mapping: Mapping, sink: FileSink | None, name: str, summary: Summary
) -> None:
    load_codec()  # the first use on a machine compiles for seconds, which are no part of the rate
    with progress(name, source.total) as advance:
        for piece in source.pieces(mapping.columns, arrow_types(mapping, client.schema)):
            keys, times = keys_of(mapping, piece), times_of(mapping, piece)
            began_s = time.perf_counter()
            try:
                got = client.process(keys, times, **fields_of(mapping, piece))
            except (TypeError, ValueError) as problem:
                first = summary.events + 1
                where = f"rows {first:,} to {summary.events + len(piece):,}"
                raise RingmillError(Code.INVALID_ARGUMENT, f"{name}, {where}: {problem}") from problem
            summary.add(got, time.perf_counter() - began_s)
            if sink is not None:
                sink.write(results(piece, got))
            advance(source.position, f"{console.count(summary.events)} events")


def results(piece: "pa.Table", got: "Result") -> "pa.Table":
    """The sent columns, the outputs, and why an event was rejected (empty where it was applied)."""
    import pyarrow as pa

    table = piece
    columns = {output: pa.array(got[output]) for output in got.names}
    for output, column in {**columns, "rejection": pa.array(got.rejection, pa.string())}.items():
        name = output
        while name in table.column_names:  # the file has a column of that name, which is kept
            name += "_"
        table = table.append_column(name, column)
    return table


def show(summary: Summary, out: Path | None) -> None:
    """Prints what came back."""
    screen = console.out()
    rate = summary.events / summary.took_s if summary.took_s else 0.0
    before = f"{summary.before:,} were answered before, " if summary.before else ""
    screen.print(
        f"{summary.events:,} events in {console.seconds(summary.took_s)}, {console.count(rate)} events/s; "
        f"{before}{summary.rejected:,} rejected"
    )
    for reason, count in sorted(summary.reasons.items(), key=lambda item: -item[1]):
        screen.print(f"  {reason}: {count:,}")
    if out is not None:
        screen.print(f"results in {out}")
