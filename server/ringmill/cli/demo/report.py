"""The demo's report: rates, latencies, the waits of the failure, the most abnormal routes, and the checks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ringmill.cli import console
from ringmill.cli.admin.show import Account
from ringmill.cli.demo import oracle
from ringmill.cli.demo.failure import PACE_S, Failure, Waits
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
    failure: Failure
    sent: int
    """Events sent in all."""
    ledger: Account
    """What the cluster says became of them."""


def show(found: Findings, workers: int) -> int:
    """Prints the report. Returns the exit status: 1 if a check fails."""
    screen = console.out()
    for table in (
        _waits(found),
        _figures(found, workers),
        _latencies(found),
        _routes(oracle.abnormal_routes(found.by_route, found.routes.outputs)),
    ):
        screen.print()
        screen.print(table)
    screen.print()
    results = checks(found)
    for text, passed in results:
        screen.print(f"{'[green]yes[/green]' if passed else '[red]NO[/red] '}  {text}")
    return 0 if all(passed for _, passed in results) else 1


def checks(found: Findings) -> list[tuple[str, bool]]:
    """What must be so, in words, and whether it is."""
    unknown = _unknown_aircraft(found.by_tail)
    complete = found.tails.rejected == unknown and found.routes.rejected == 0
    miscounted = oracle.miscounted(found.by_tail, found.tails.outputs)
    check = oracle.check(found.by_tail, found.tails.outputs, found.checked_keys)
    ledger, failure = found.ledger, found.failure
    accounted = ledger.balances and ledger.applied + ledger.rejected == found.sent
    return [
        (
            f"nothing lost, nothing counted twice, though {failure.victim} was killed: each of {len(found.by_tail):,} "
            "flights has its place in the count of its aircraft",
            miscounted == 0,
        ),
        (f"{unknown:,} flights name no aircraft; just as many were rejected, and all others applied", complete),
        (
            f"{check.keys:,} aircraft with {check.events:,} flights: mean, z-score and EWMA equal pandas to "
            f"{oracle.TOLERANCE:g} (largest difference {check.difference:.1g})",
            check.passed,
        ),
        (
            f"ledger: {ledger.applied:,} events applied and {ledger.rejected:,} rejected, of {found.sent:,} sent",
            accounted,
        ),
        (_whole(failure.whole_after_s), bool(np.isfinite(failure.whole_after_s))),
    ]


def _whole(after_s: float) -> str:
    if not np.isfinite(after_s):
        return "every key has its copies again"
    return f"every key has its copies again, {console.seconds(after_s)} after the kill"


def _waits(found: Findings) -> "Table":
    """How long batches waited: those of the killed worker's keys, and the others."""
    from rich.table import Table

    failure = found.failure
    title = f"{failure.victim} was killed (SIGKILL) after {failure.sent:,} flights: how long batches waited"
    note = f"others waited where their copy was on {failure.victim}: an answer needs both"
    table = Table(title=title, title_justify="left", caption=note, caption_justify="left", box=None)
    table.add_column()
    for heading in ("aircraft", "usually", "longest before", "longest after"):
        table.add_column(heading, justify="right")
    for name, waits in ((f"served by {failure.victim}", failure.victims), ("served by others", failure.others)):
        table.add_row(name, f"{waits.keys:,}", *(console.seconds(wait_s) for wait_s in _usual_and_longest(waits)))
    return table


def _usual_and_longest(waits: Waits) -> tuple[float, float, float]:
    """The median of all, and the longest before and after the kill."""
    usual = float(np.median(np.concatenate([waits.before_s, waits.after_s])))
    return usual, float(waits.before_s.max(initial=0.0)), float(waits.after_s.max(initial=0.0))


def _figures(found: Findings, workers: int) -> "Table":
    from rich.table import Table

    table = Table(title=f"one client, one balancer, {workers} workers", title_justify="left", box=None)
    table.add_column()
    for heading in ("events", "took", "rate"):
        table.add_column(heading, justify="right")
    for name, streamed, paced in (
        ("by route", found.routes, ""),
        ("by aircraft", found.tails, f"a batch each {console.seconds(PACE_S)}"),
        ("ten copies by aircraft", found.rate, ""),
    ):
        rate = paced or f"{console.count(streamed.events / streamed.took_s)} events/s"
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
