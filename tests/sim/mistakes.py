"""Mistakes to be planted in the production code, one at a time: each must be found.

The first ten are those that a model of one shard was tested with; the others are of this protocol alone. Each is a few
lines that stand in for a method, and says what whoever wrote them would have forgotten.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ringmill.balancer import routing
from ringmill.balancer.draft import Draft
from ringmill.balancer.progress import Progress
from ringmill.balancer.routing import Routing
from ringmill.balancer.sessions import Sessions
from ringmill.balancer.streams import Streams
from ringmill.core.maglev import NOBODY
from ringmill.core.previous import Previous
from ringmill.core.view import View
from ringmill.engine.ledger_arrays import AGAIN, DIVERGED
from ringmill.engine.outcomes import Outcomes
from ringmill.server.node.copying import Copying
from ringmill.server.node.guest import Guests
from ringmill.server.node.node import Node
from ringmill.server.node.pending import Pendings
from ringmill.server.node.roles import LEARNER, PRIMARY, REPLICA
from ringmill.server.node.seeding import Seeding
from ringmill.server.node.serving import Serving
from tests.sim.store import DurableStore
from tests.sim.worker import WorkerProcess

Undo = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A method, and what stands in its place."""

    owner: type
    method: str
    replace: Callable[[Callable[..., Any]], Callable[..., Any]]
    """From the right method to the wrong one."""

    def plant(self) -> Undo:
        """Makes the mistake; undone by calling what is returned."""
        right = getattr(self.owner, self.method)
        setattr(self.owner, self.method, self.replace(right))
        return lambda: setattr(self.owner, self.method, right)


MISTAKES: dict[str, Mistake] = {}


def mistake(owner: type, method: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declares a mistake under the name of the function that makes it."""

    def declare(replace: Callable[..., Any]) -> Callable[..., Any]:
        MISTAKES[replace.__name__] = Mistake(owner, method, replace)
        return replace

    return declare


def _promoted(node: Any, obey: Callable[..., Any], view: View) -> list[int]:
    """Obeys a view; the partitions that the node had copied and serves now."""
    before = node.roles.role.copy()
    obey(node, view)
    promoted: list[int] = np.flatnonzero((before == REPLICA) & (node.roles.role == PRIMARY)).tolist()
    return promoted


# Those of the model


@mistake(Node, "_obey")
def sequences_not_copied(obey: Callable[..., Any]) -> Callable[..., Any]:
    """The table of producers is no part of what is copied."""

    def wrong(self: Any, view: View) -> None:
        for partition in _promoted(self, obey, view):
            self.ledger.arrays.entries.reshape(-1, self.ledger.partitions)["last"][:, partition] = 0

    return wrong


@mistake(Serving, "_forward")
def answered_before_the_copies(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A part is answered as soon as it was sent to its copies."""

    def wrong(self: Any, message: bytes, buffer: Any, part: Any, judged: Any, settled: Any, pending: Any) -> None:
        forward(self, message, buffer, part, judged, settled, pending)
        pending.waits = 0

    return wrong


@mistake(Node, "_obey")
def new_primary_truncates(obey: Callable[..., Any]) -> Callable[..., Any]:
    """A new primary throws away what it does not know to be committed."""

    def wrong(self: Any, view: View) -> None:
        self._store.drop(_promoted(self, obey, view))

    return wrong


@mistake(WorkerProcess, "begin")
def lost_state_keeps_its_seat(begin: Callable[..., Any]) -> Callable[..., Any]:
    """A process that lost its state says that it is the one from before."""

    def wrong(self: Any, incarnation: int) -> None:
        begin(self, self.incarnation or incarnation)

    return wrong


@mistake(Draft, "fail_over")
def stranger_promoted(fail_over: Callable[..., Any]) -> Callable[..., Any]:
    """Whoever lives may follow a dead primary, copy or not."""

    def wrong(self: Any) -> None:
        led = self.copies[:, 0].copy()
        fail_over(self)
        living = [place for place, member in enumerate(self.members) if member.alive]
        for row in np.flatnonzero(led != self.copies[:, 0]).tolist():
            others = [place for place in living if place not in self.copies[row]]
            if others:
                self.copies[row, 0] = others[0]
                self.copies[row, 1:] = NOBODY

    return wrong


@mistake(Copying, "apply")
def copy_ignores_epochs(apply: Callable[..., Any]) -> Callable[..., Any]:
    """A copy takes records from whoever says to be the primary, and whatever history that one has."""

    def wrong(self: Any, buffer: Any, part: Any, source: int) -> Any:
        ledger = self._ledger
        sources, epochs = ledger.sources.copy(), ledger.epochs.copy()
        ledger.sources[sources >= 0] = source
        ledger.epochs[:] = 0
        examine = ledger.examine

        def trusting(columns: Any, count: int, buffer: Any, part: Any, source: int) -> Any:
            judged = examine(columns, count, buffer, part, source)
            if judged.status != DIVERGED:
                return judged
            return examine(columns, count, buffer, part._replace(check=judged.check), source)

        ledger.examine = trusting
        try:
            return apply(self, buffer, part, source)
        finally:
            del ledger.examine
            ledger.sources[:] = sources
            ledger.epochs[:] = epochs

    return wrong


@mistake(Seeding, "verdict")
def learner_counted_early(verdict: Callable[..., Any]) -> Callable[..., Any]:
    """A learner is reported to have caught up as soon as it answers."""
    return lambda self, channel, number, missing: verdict(self, channel, number, False)


@mistake(Copying, "snapshot")
def old_transfer_rolls_back(take: Callable[..., Any]) -> Callable[..., Any]:
    """A snapshot is taken whoever sent it, and however late it comes."""

    def wrong(self: Any, snapshot: Any, source: int, version: int) -> Any:
        role = self._roles.role[snapshot.partition]
        if snapshot.offer or role not in (REPLICA, LEARNER):
            return take(self, snapshot, source, version)
        return self._restore(snapshot, int(self._roles.sources[snapshot.partition]))

    return wrong


@mistake(Node, "_obey")
def old_views_obeyed(obey: Callable[..., Any]) -> Callable[..., Any]:
    """Whatever view comes is obeyed."""

    def wrong(self: Any, view: View) -> None:
        if self.view.version and view.version < self.view.version:
            object.__setattr__(self.view, "version", 0)
        obey(self, view)

    return wrong


@mistake(Node, "_tick")
def unsealed_by_itself(tick: Callable[..., Any]) -> Callable[..., Any]:
    """A primary that has waited too long for its heir's view takes parts again."""

    def wrong(self: Any) -> None:
        for partition in self._heirs:
            if partition in self.roles.sealed_for:
                self.ledger.held[partition] = 0
                self.ledger.channels[partition] = 0
        tick(self)

    return wrong


# Those of this protocol


@mistake(Previous, "write")
def previous_ignored(write: Callable[..., Any]) -> Callable[..., Any]:
    """Parts do not say what came before them."""

    def wrong(self: Any, touched: Any, sequence: int, last: Any, view: Any) -> bytes:
        return bytes(len(write(self, touched, sequence, last, view)) and int(touched.size))

    return wrong


@mistake(Serving, "part")
def half_applied(part: Callable[..., Any]) -> Callable[..., Any]:
    """What a worker may take of a part it takes, though it refuses the rest."""

    def wrong(self: Any, message: bytes, buffer: Any, entry: Any, now_ns: int) -> None:
        ledger = self._ledger
        sources, held = ledger.sources.copy(), ledger.held.copy()
        lane = self._lanes[entry.pipeline]
        _, count = lane.decode(buffer, entry.start, entry.stop)
        judged = ledger.examine(lane.engine.columns, count, buffer, entry)
        if judged.status == AGAIN:
            mine = ledger.sources == 0
            ledger.sources[:] = 0
            ledger.held[:] = 0
            judged = ledger.examine(lane.engine.columns, count, buffer, entry)
            if judged.status == 0 and mine.any():
                lane.engine.apply(buffer, count)
                ledger.settle(lane.engine.columns, count)
            ledger.sources[:] = sources
            ledger.held[:] = held
        elif judged.status == 0:
            lane.engine.apply(buffer, count)
            ledger.settle(lane.engine.columns, count)
        part(self, message, buffer, entry, now_ns)

    return wrong


@mistake(Routing, "reroute")
def newest_first(reroute: Callable[..., Any]) -> Callable[..., Any]:
    """What is handed over again goes newest first, and says that nothing came before."""

    def wrong(self: Any, now_ns: int) -> Any:
        for part in (*self._parked, *(part for box in self.outboxes.values() for part in box._queue)):
            part.previous = bytes(part.touched.size) if part.previous else part.previous
        order = routing._order
        vars(routing)["_order"] = lambda part: -order(part)
        try:
            return reroute(self, now_ns)
        finally:
            vars(routing)["_order"] = order

    return wrong


@mistake(Node, "_obey")
def last_sequence_off_by_one(obey: Callable[..., Any]) -> Callable[..., Any]:
    """After a failover the newest batch is taken for unknown."""

    def wrong(self: Any, view: View) -> None:
        for partition in _promoted(self, obey, view):
            last = self.ledger.arrays.entries.reshape(-1, self.ledger.partitions)["last"][:, partition]
            last -= (last > 0).astype(np.uint64)

    return wrong


@mistake(Serving, "_forward")
def known_answered_at_once(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A retry of what is applied is answered, though copies may not have it yet."""

    def wrong(self: Any, message: bytes, buffer: Any, part: Any, judged: Any, settled: Any, pending: Any) -> None:
        if judged.fresh:
            forward(self, message, buffer, part, judged, settled, pending)

    return wrong


@mistake(Progress, "follow")
def stale_report_counted(follow: Callable[..., Any]) -> Callable[..., Any]:
    """Reports are believed whatever view they were made under."""

    def wrong(self: Any, before: View, after: View, now_ms: int) -> None:
        follow(self, before, after, now_ms)
        self.learner_since[:] = self.heir_since[:] = self.copy_since[:] = 0

    return wrong


@mistake(Pendings, "seal")
def sealed_before_drained(seal: Callable[..., Any]) -> Callable[..., Any]:
    """A partition is reported sealed while records of it are still on their way to its heir."""

    def wrong(self: Any, partitions: list[int], count: int) -> None:
        for partition in partitions:
            self._sealed(partition)

    return wrong


@mistake(Outcomes, "export")
def outcomes_not_handed_over(export: Callable[..., Any]) -> Callable[..., Any]:
    """Recorded outcomes stay behind when a partition is copied."""
    return lambda self, partition, producers=(): b""


@mistake(DurableStore, "put")
def told_before_durable(put: Callable[..., Any]) -> Callable[..., Any]:
    """A view is published before it is stored."""

    def wrong(self: Any, order: Any, process: Any, stored: Callable[[int, str], None]) -> None:
        put(self, order, process, lambda revision, error: None)
        self.scheduler.at(0, process, stored, (order.revision, ""))

    return wrong


@mistake(Guests, "_refuse")
def refusals_not_told(refuse: Callable[..., Any]) -> Callable[..., Any]:
    """A copy acknowledges what it has refused."""
    return lambda self, inbox, number, partitions, answer: None


@mistake(Streams, "fail")
def doubt_refused(fail: Callable[..., Any]) -> Callable[..., Any]:
    """What was handed to a worker that died is refused, as if it had never been handed over."""

    def wrong(self: Any, part: Any, code: Any, detail: str, now_ns: int) -> None:
        from ringmill.balancer.answers import UNAVAILABLE
        from ringmill.core.errors import Reason

        self.refuse([part], UNAVAILABLE, Reason.UNAVAILABLE, now_ns)

    return wrong


@mistake(Copying, "succeed")
def survivor_skips(succeed: Callable[..., Any]) -> Callable[..., Any]:
    """A copy that differs from a new primary keeps it to itself, and lets its records pass by."""

    def wrong(self: Any, audit: Any, source: int, version: int) -> list[int]:
        differ = succeed(self, audit, source, version)
        self._ledger.sources[differ] = source
        self._ledger.held[differ] = 1
        return []

    return wrong


@mistake(Guests, "_part")
def acknowledged_and_not_applied(take: Callable[..., Any]) -> Callable[..., Any]:
    """A copy that is busy drops a record now and then, and acknowledges it."""

    def wrong(self: Any, inbox: Any, buffer: Any, part: Any, answer: Any) -> None:
        if part.id % 5:
            take(self, inbox, buffer, part, answer)

    return wrong


@mistake(Sessions, "floor")
def floor_above_who_was_away(_: Callable[..., Any]) -> Callable[..., Any]:
    """Workers may forget whatever is older than the oldest stream, although one that was away knows no newer one of a
    producer that can come back."""

    def wrong(self: Any) -> int:
        return next(iter(self._alive), self._fence + 1)

    return wrong
