"""The demo's report: rates, latencies, the most abnormal routes, and the check against pandas."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ringmill.cli import console
from ringmill.cli.demo import oracle
from ringmill.cli.demo.flights import Events

if TYPE_CHECKING:
    from rich.table import Table

ROUTES_SHOWN = 8
_LEVELS = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Streamed:
    """One stream of events from end to end."""

    events: int
    rejected: int
    took_s: float
    outputs: dict[str, npt.NDArray[Any]]
    """Column of each output, one row for each event; empty if they were not kept."""


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the demo measured and received."""

    by_route: Events
    routes: Streamed
    by_tail: Events
    tails: Streamed
    rate: Streamed
    batches_s: npt.NDArray[np.float64]
    """Latency of each call with one batch."""
    singles_s: npt.NDArray[np.float64]
    """Latency of each call with one event."""
    checked_keys: int
    batch_events: int


def show(found: Findings, workers: int) -> int:
    """Prints the report. Returns the exit status: 1 if our figures are not pandas', or events went missing."""
    screen = console.out()
    screen.print()
    screen.print(_figures(found, workers))
    screen.print()
    screen.print(_latencies(found))
    screen.print()
    screen.print(_routes(oracle.abnormal_routes(found.by_route, found.routes.outputs)))
    screen.print()
    unknown = _unknown_aircraft(found.by_tail)
    complete = found.tails.rejected == unknown and found.routes.rejected == 0
    screen.print(
        f"{unknown:,} flights name no aircraft; just as many events were rejected, and all others applied: "
        f"{_verdict(complete)}"
    )
    check = oracle.check(found.by_tail, found.tails.outputs, found.checked_keys)
    screen.print(
        f"{check.keys:,} aircraft with {check.events:,} flights: mean, z-score and EWMA equal pandas to "
        f"{oracle.TOLERANCE:g} (largest difference {check.difference:.1g}): {_verdict(check.passed)}"
    )
    return 0 if complete and check.passed else 1


def _figures(found: Findings, workers: int) -> "Table":
    from rich.table import Table

    table = Table(title=f"one client, one balancer, {workers} workers", title_justify="left", box=None)
    table.add_column()
    for heading in ("events", "took", "rate"):
        table.add_column(heading, justify="right")
    for name, streamed in (
        ("by route", found.routes),
        ("by aircraft", found.tails),
        ("ten copies by aircraft", found.rate),
    ):
        rate = f"{console.count(streamed.events / streamed.took_s)} events/s"
        table.add_row(name, f"{streamed.events:,}", console.seconds(streamed.took_s), rate)
    return table


def _latencies(found: Findings) -> "Table":
    from rich.table import Table

    table = Table(title="latency of one call at a time, to its outcomes", title_justify="left", box=None)
    table.add_column()
    for level in _LEVELS:
        table.add_column(f"p{level}", justify="right")
    for name, took_s in ((f"{found.batch_events:,} events", found.batches_s), ("one event", found.singles_s)):
        table.add_row(name, *(console.seconds(level_s) for level_s in np.percentile(took_s, _LEVELS)))
    return table


def _routes(table: Any) -> "Table":
    from rich.table import Table

    shown = Table(title="most abnormal routes: alarms begin at z above 4, end below 1", title_justify="left", box=None)
    shown.add_column("route")
    for heading in ("flights", "mean delay, minutes", "alarms", "alarms per 1,000", "highest z"):
        shown.add_column(heading, justify="right")
    for row in table.head(ROUTES_SHOWN).itertuples():
        figures = (f"{row.flights:,}", f"{row.mean:.1f}", f"{row.alarms:,}", f"{row.per_1000:.1f}", f"{row.z:.1f}")
        shown.add_row(row.key, *figures)
    return shown


def _unknown_aircraft(events: Events) -> int:
    """Flights whose key is empty."""
    return int(np.count_nonzero(events.keys.indices.to_numpy() == events.keys.dictionary.index("").as_py()))


def _verdict(passed: bool) -> str:
    return "[green]yes[/green]" if passed else "[red]NO[/red]"
