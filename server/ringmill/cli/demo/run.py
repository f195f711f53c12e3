"""Runs the demo: starts a cluster, streams the flights, kills a worker on the way, measures, and reports."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ringmill.cli import console
from ringmill.cli.admin import show
from ringmill.cli.cluster import Cluster, ClusterConfig
from ringmill.cli.commands.up import show_logs, show_start
from ringmill.cli.demo import failure, flights, report
from ringmill.cli.extras import need
from ringmill.cli.progress import progress

if TYPE_CHECKING:
    from ringmill.cli.admin.connect import Admin
    from ringmill.client import Client

BATCH_EVENTS = 4096
PIECE_EVENTS = 20 * BATCH_EVENTS
"""Events of one call: so many that the stream stays full, so few that progress shows."""
COPIES = 10
"""The throughput is measured with this many times the flights, each copy with keys of its own."""
BATCH_CALLS = 200
SINGLE_CALLS = 2_000
CHECKED_KEYS = 1_000
PREPARING_EVENTS = 2


def run(workers: int) -> int:
    """Runs the whole demo and returns the exit status."""
    need("pandas")
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
    from ringmill.cli.admin.connect import connected

    def watch() -> None:
        show_logs(cluster.step(0.0))

    by_tail, by_route = years[flights.BY_TAIL], years[flights.BY_ROUTE]
    many = by_tail.copies(COPIES)
    with _client(cluster, flights.BY_ROUTE) as client:
        _prepare(client)
        routes = stream(client, by_route, "flights by route", watch)
    with connected(cluster.address) as admin:
        failed = _fail(cluster, admin, by_tail, watch)
        with _client(cluster, flights.BY_TAIL) as client:
            rate = stream(client, many, "ten copies by aircraft", watch, keep=False)
            batches = _batch_latencies(client, by_tail)
            singles = _single_latencies(client, by_tail)
        ledger = show.total(show.accounts(admin.ledger([]), []))
    tails = report.Streamed(len(by_tail), failed.rejected, failed.took_s, failed.outputs)
    sent = sum(map(len, (by_route, by_tail, many))) + BATCH_CALLS * BATCH_EVENTS + SINGLE_CALLS + PREPARING_EVENTS
    return report.Findings(
        by_route=by_route,
        routes=routes,
        by_tail=by_tail,
        tails=tails,
        rate=rate,
        batches_s=batches,
        singles_s=singles,
        checked_keys=CHECKED_KEYS,
        batch_events=BATCH_EVENTS,
        failure=failed,
        sent=sent,
        ledger=ledger,
    )


def _fail(cluster: Cluster, admin: "Admin", events: flights.Events, watch: Callable[[], None]) -> failure.Failure:
    """Streams flights while the last worker is killed."""
    victim = cluster.workers[-1]
    keys = events.keys.dictionary.to_pylist()
    mine = failure.served_by(admin, victim.name, keys)
    console.out().print(f"{victim.name} serves {np.count_nonzero(mine):,} aircraft; it will be killed in mid-stream")
    with _client(cluster, flights.BY_TAIL) as its, _client(cluster, flights.BY_TAIL) as others:
        return failure.stream_through_failure((its, others), events, mine, (victim.name, victim.pid), admin, watch)


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


def _batch_latencies(client: "Client", events: flights.Events) -> npt.NDArray[np.float64]:
    """Seconds of calls with one batch each, one after the other, from call to outcomes."""
    took_s = np.empty(BATCH_CALLS)
    for call in range(BATCH_CALLS):
        start = call * BATCH_EVENTS % (len(events) - BATCH_EVENTS)
        piece = events.piece(start, start + BATCH_EVENTS)
        began_s = time.perf_counter()
        client.process(piece.keys, piece.times, delay=piece.delay)
        took_s[call] = time.perf_counter() - began_s
    return took_s


def _single_latencies(client: "Client", events: flights.Events) -> npt.NDArray[np.float64]:
    """Seconds of calls with one event each, one after the other, from call to outcome."""
    some = events.piece(0, SINGLE_CALLS)
    took_s = np.empty(SINGLE_CALLS)
    rows = zip(some.keys.to_pylist(), some.times.tolist(), some.delay.tolist(), strict=True)
    for call, (key, time_us, delay) in enumerate(rows):
        began_s = time.perf_counter()
        client.process_one(key, time_us, delay=delay)
        took_s[call] = time.perf_counter() - began_s
    return took_s


def _prepare(client: "Client") -> None:
    """Has the client compile or load its codec, so that the first figures are not of that. An empty key is rejected,
    so no state changes."""
    with console.out().status("preparing the client"):
        client.process([""], delay=[0.0])
        client.process_one("", delay=0.0)


def _client(cluster: Cluster, pipeline: str) -> "Client":
    from ringmill.client import Client

    return Client(cluster.address, pipeline, batch_events_max=BATCH_EVENTS)


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
