"""What operators see: workers, and where a partition is and why. Words and figures, read off a view."""

from collections.abc import Iterable
from dataclasses import dataclass

from ringmill.balancer.rules import Rules
from ringmill.balancer.seats import Seat
from ringmill.core.maglev import NOBODY
from ringmill.core.view import View


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker as an operator sees it."""

    name: str
    state: str
    """joining, serving, draining or dead."""
    partitions: int
    """It is primary of so many."""
    copies: int
    """It holds in-sync copies of so many more."""
    learning: int
    """So many are being copied to it."""
    keys: int
    state_bytes: int
    events: int
    uncommitted: int
    """Records that some replica has not acknowledged."""
    host: str
    zone: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a partition is."""

    partition: int
    epoch: int
    primary: str
    """Empty: nobody's."""
    replicas: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Figures:
    """How whole a cluster is."""

    short: int
    """Partitions with fewer copies than were asked for."""
    refused: int
    """Partitions that take no events, since nobody can serve them."""
    moving: int
    """Partitions with a learner or an heir."""


def figures(view: View, rules: Rules) -> Figures:
    """Counts partitions by what is wrong with them."""
    moving = (view.learners != NOBODY) | (view.heirs != NOBODY)
    return Figures(
        short=int((view.copies() < rules.replicas).sum()),
        refused=int((view.routes == NOBODY).sum()),
        moving=int(moving.sum()),
    )


def worker_states(seats: Iterable[Seat], view: View) -> list[WorkerState]:
    """Every seat, in the order of names."""
    counts = view.counts()
    states = []
    for seat in seats:
        index = view.index(seat.name)
        known = index != NOBODY
        health = seat.health
        states.append(
            WorkerState(
                name=seat.name,
                state=_state(seat, view),
                partitions=counts[index] if known else 0,
                copies=int(view.copied_by(index).sum()) if known else 0,
                learning=int((view.learners == index).sum()) if known else 0,
                keys=health.keys,
                state_bytes=health.state_bytes,
                events=health.events,
                uncommitted=health.uncommitted,
                host=seat.member.host,
                zone=seat.member.zone,
            )
        )
    return states


def _state(seat: Seat, view: View) -> str:
    if not seat.member.alive:
        return "dead"
    if seat.member.draining or seat.asks_to_leave:
        return "draining"
    index = view.index(seat.name)
    joined = index != NOBODY and view.members[index].incarnation == seat.member.incarnation and seat.link is not None
    return "serving" if joined else "joining"


def explain(view: View, partition: int, rules: Rules) -> Explanation:
    """Where a partition is, and why there."""
    names = [member.name for member in view.members]
    primary = int(view.table[partition])
    replicas = tuple(names[index] for index in view.replicas[partition] if index != NOBODY)
    return Explanation(
        partition,
        int(view.epochs[partition]),
        names[primary] if primary != NOBODY else "",
        replicas,
        _why(view, partition, rules),
    )


def _why(view: View, partition: int, rules: Rules) -> str:
    primary = int(view.table[partition])
    if primary == NOBODY:
        return (
            "every copy is lost; it is refused until the balancer is started with --on-total-loss restart-empty, "
            "and then begins without state"
        )
    member = view.members[primary]
    if not member.alive:
        return f"{member.name} is dead and had the last copy; it is refused until " + (
            "a process of that name is back, without state" if rules.restarts_empty else "that process is back"
        )
    said = [f"{member.name} serves it since view {int(view.epochs[partition])}"]
    copies = int(view.copies()[partition])
    if copies < view.min_in_sync:
        said.append(f"refused, as it has {copies} of the {view.min_in_sync} copies it needs")
    elif copies < rules.replicas:
        said.append(f"it has {copies} of {rules.replicas} copies")
    learner, heir = int(view.learners[partition]), int(view.heirs[partition])
    if learner != NOBODY:
        said.append(f"it is being copied to {view.members[learner].name}")
    if heir != NOBODY:
        said.append(f"it is being handed to {view.members[heir].name}")
    if member.draining:
        said.append(f"{member.name} is to leave")
    return "; ".join(said)
