"""Runs the demo: starts a cluster, streams the flights, measures, and reports."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ringmill.cli import console
from ringmill.cli.cluster import Cluster, ClusterConfig
from ringmill.cli.commands.up import show_logs, show_start
from ringmill.cli.demo import flights, report
from ringmill.cli.progress import progress
from ringmill.core.errors import Code, RingmillError

if TYPE_CHECKING:
    from ringmill.client import Client

BATCH_EVENTS = 4096
PIECE_EVENTS = 20 * BATCH_EVENTS
"""Events of one call: so many that the stream stays full, so few that progress shows."""
COPIES = 10
"""The throughput is measured with this many times the flights, each copy with keys of its own."""
BATCH_CALLS = 200
SINGLE_CALLS = 2_000
CHECKED_KEYS = 1_000


def run(workers: int) -> int:
    """Runs the whole demo and returns the exit status."""
    _need_pandas()
    signal.signal(signal.SIGTERM, _interrupt)
    years = flights.load()
    app = flights.app_file()
    console.out().print(f"{len(years[flights.BY_ROUTE]):,} flights of 2013, CC0; the pipelines are in {_short(app)}")
    with Cluster(ClusterConfig(app, workers=workers, port=0)) as cluster:
        show_start(cluster)
        found = _stream_all(cluster, years)
    return report.show(found, workers)


def _stream_all(cluster: Cluster, years: dict[str, flights.Events]) -> report.Findings:
    """Streams the flights, measures, and hands over all that the report needs."""

    def watch() -> None:
        show_logs(cluster.step(0.0))
        if len(cluster.workers) < cluster.config.workers:
            raise RingmillError(Code.UNAVAILABLE, "a worker died, and its keys' state with it: run the demo again")

    by_tail, by_route = years[flights.BY_TAIL], years[flights.BY_ROUTE]
    many = by_tail.copies(COPIES)
    with _client(cluster, flights.BY_ROUTE) as client:
        routes = stream(client, by_route, "flights by route", watch)
    with _client(cluster, flights.BY_TAIL) as client:
        tails = stream(client, by_tail, "flights by aircraft", watch)
        rate = stream(client, many, f"{COPIES} copies, for the rate", watch, keep=False)
        batches = _latencies(client, by_tail, BATCH_EVENTS, BATCH_CALLS)
        singles = _latencies(client, by_tail, 1, SINGLE_CALLS)
    return report.Findings(by_route, routes, by_tail, tails, rate, batches, singles, CHECKED_KEYS, BATCH_EVENTS)


def stream(
    client: "Client", events: flights.Events, name: str, watch: Callable[[], None], keep: bool = True
) -> report.Streamed:
    """Sends all events in order. Gives the outputs as whole columns (if they are to be kept), and what it took."""
    outputs: list[dict[str, npt.NDArray[Any]]] = []
    rejected, took_s = 0, 0.0
    with progress(name, len(events)) as advance:
        for start in range(0, len(events), PIECE_EVENTS):
            piece = events.piece(start, start + PIECE_EVENTS)
            began_s = time.perf_counter()
            got = client.process(piece.keys, piece.times, delay=piece.delay)
            took_s += time.perf_counter() - began_s
            rejected += got.rejected
            if keep:
                outputs.append({column: got[column] for column in got.names})
            advance(start + len(piece), f"{console.count((start + len(piece)) / took_s)} events/s")
            watch()
    columns = {column: np.concatenate([part[column] for part in outputs]) for column in outputs[0]} if keep else {}
    return report.Streamed(len(events), rejected, took_s, columns)


def _latencies(client: "Client", events: flights.Events, size: int, calls: int) -> npt.NDArray[np.float64]:
    """Seconds of single calls with `size` events each, one after the other, from call to outcomes."""
    took = np.empty(calls)
    for call in range(calls):
        start = call * size % (len(events) - size)
        piece = events.piece(start, start + size)
        began_s = time.perf_counter()
        client.process(piece.keys, piece.times, delay=piece.delay)
        took[call] = time.perf_counter() - began_s
    return took


def _client(cluster: Cluster, pipeline: str) -> "Client":
    from ringmill.client import Client

    return Client(cluster.address, pipeline, batch_events_max=BATCH_EVENTS)


def _need_pandas() -> None:
    try:
        import pandas  # noqa: F401  only whether it can be imported
    except ImportError:
        raise RingmillError(Code.FAILED_PRECONDITION, "needs pandas: pip install 'ringmill[frames]'") from None


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
