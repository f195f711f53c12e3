"""What must hold, whatever happens: looked at after every step, at every acknowledgement, and in the end.

Numbers as in the rules of replication: I1 one value for each place, I2 exactly once, I3 order, I4 one primary for each
epoch, I5 copies are replays, I6 what is acknowledged is on every copy of the view, I9 bounds, I10 everybody finishes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ringmill.core.hashing import partition_of
from ringmill.core.maglev import NOBODY
from ringmill.core.view import View, view_from_proto, view_to_proto
from ringmill.internal.v1.store_pb2 import State
from tests.sim.checker import KEPT
from tests.sim.oracle import Row
from tests.sim.plan import PARTITIONS
from tests.sim.scheduler import Violation

if TYPE_CHECKING:
    from tests.sim.worker import WorkerProcess
    from tests.sim.world import World


class Invariants:
    """Looks at a world from outside, which no process of it can."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._durable: View | None = None
        self._claims: dict[tuple[int, int], int] = {}
        """Process that serves a partition in an epoch."""
        self.was_short = False
        """Whether a partition had nobody to serve it: a session that began meanwhile may be unknown there later."""
        self._views: dict[int, bytes] = {}
        """Published views by version."""
        self._begun_anew: set[int] = set()
        """Partitions that lost every copy and began without state."""
        self._partition_of = {key: partition_of(key.encode(), PARTITIONS) for key in world.keys}
        world.oracle.begun_anew = lambda key: self._partition_of[key] in self._begun_anew

    # At every step

    def after_step(self) -> None:
        """Cheap looks at what has changed."""
        for worker in self._world.workers:
            if worker.alive and worker.view is not worker.seen:
                worker.seen = worker.view
                self._obeyed(worker)

    def stored(self) -> None:
        """Something else is durable."""
        store = self._world.store
        assert store.state is not None
        now, published = _view_in(store.state), self._world.balancer.view
        if now is not None and now.version < published.version:
            raise Violation(f"view {now.version} is durable, and {published.version} was published")
        self._durable = now or self._durable

    def _orphans(self, before: View, now: View) -> list[int]:
        """Partitions whose primary was no copy in the view before (I4: only a copy may be promoted)."""
        found = []
        for partition in range(PARTITIONS):
            primary = _process(now, int(now.table[partition]))
            if primary != _process(before, int(before.table[partition])) and primary not in _copies(before, partition):
                found.append(partition)
        if found and not self._world.plan.reckless:
            raise Violation(f"view {now.version} gives partitions {found} to a worker that was no copy of them")
        return found

    def published(self, before: View, view: View) -> None:
        """A version stands for one view, for ever, and was durable before anybody was told."""
        encoded = view_to_proto(view).SerializeToString()
        if self._views.setdefault(view.version, encoded) != encoded:
            raise Violation(f"two views of version {view.version} were published")
        if self._durable is None or self._durable.version < view.version:
            raise Violation(f"view {view.version} was published before it was durable")
        self.was_short |= bool((view.routes == NOBODY).any())
        if before.version:
            self._begun_anew.update(self._orphans(before, view))

    def _obeyed(self, worker: "WorkerProcess") -> None:
        """I4: in one epoch one process serves a partition."""
        for partition, epoch in worker.serves():
            other = self._claims.setdefault((partition, epoch), worker.incarnation)
            if other != worker.incarnation:
                raise Violation(f"{worker.name} and process {other} both serve {partition} in epoch {epoch}")

    # At every acknowledgement

    def acknowledged(self, key: str, count: int) -> None:
        """I6: every living copy of the durable view has what a client was just told for good."""
        view = self._durable
        partition = self._partition_of[key]
        if view is None or partition in self._begun_anew:
            return
        for name, incarnation in _copies(view, partition):
            worker = self._world.worker(name)
            if worker is None or not worker.alive or worker.incarnation != incarnation:
                continue
            held = worker.count(key)
            if held < count:
                raise Violation(f"{key} was acknowledged at {count}, and {name}, a copy, has {held}")

    # What the nemesis and the end ask

    def possible_views(self) -> Sequence[View]:
        """Every view that is or may come to be in force."""
        store = self._world.store
        states = [_view_in(order.state) for order in store.writing]
        found = [self._world.balancer.view, self._durable, *states]
        return [view for view in found if view is not None and view.version]

    def lost(self) -> frozenset[int]:
        """Partitions that lost every copy: for good, or until they began anew."""
        view = self._durable
        if view is None:
            return frozenset()
        living = {(worker.name, worker.incarnation) for worker in self._world.workers if worker.alive}
        gone = {
            partition for partition in range(PARTITIONS) if not any(copy in living for copy in _copies(view, partition))
        }
        if gone and not self._world.plan.reckless:
            raise Violation(f"every copy of partitions {sorted(gone)} is gone")
        return frozenset(gone | self._begun_anew)

    def why_not_whole(self) -> str:
        """What the cluster lacks; empty: nothing."""
        world, balancer = self._world, self._world.balancer
        view = balancer.view
        if not balancer.alive or world.store.writing:
            return "the balancer is busy"
        serving = [worker for worker in world.workers if worker.alive]
        if {worker.name for worker in serving} != world.wanted:
            return f"of {sorted(world.wanted)} there run {[worker.name for worker in serving]}"
        if {(worker.name, worker.incarnation) for worker in serving} != {
            (member.name, member.incarnation) for member in view.members if member.alive
        } or not all(member.alive for member in view.members):
            return f"the view has {[(member.name, member.alive) for member in view.members]}"
        copies = min(world.plan.replicas, len(serving))
        short = [partition for partition in range(PARTITIONS) if int(view.copies()[partition]) < copies]
        if short:
            return f"partitions {short} have fewer than {copies} copies"
        if (view.learners != NOBODY).any() or (view.heirs != NOBODY).any():
            return "partitions are moving"
        behind = [worker.name for worker in serving if worker.view is None or worker.view.version != view.version]
        if behind:
            return f"{behind} do not obey view {view.version}"
        owing = [worker.name for worker in serving if worker.uncommitted]
        return f"{owing} have records that a copy has not acknowledged" if owing else ""

    def at_end(self) -> None:
        """I1, I2, I3 and I5, from the state of all copies."""
        lost = self.lost()
        state: dict[str, Row] = {}
        for partition in range(PARTITIONS):
            if not lost:
                self._check_copies(partition)
            copy = self._any_copy(partition)
            if copy is not None:
                state.update(copy.rows(partition))
        lost_keys = frozenset(key for key, partition in self._partition_of.items() if partition in lost)
        self._world.oracle.check(state, lost_keys)

    def _primary(self, partition: int) -> "WorkerProcess | None":
        view = self._durable
        assert view is not None
        process = _process(view, int(view.table[partition]))
        worker = None if process is None else self._world.worker(process[0])
        return worker if worker is not None and worker.alive and (worker.name, worker.incarnation) == process else None

    def _any_copy(self, partition: int) -> "WorkerProcess | None":
        """The first copy that lives: it has all that was acknowledged."""
        assert self._durable is not None
        for name, incarnation in _copies(self._durable, partition):
            worker = self._world.worker(name)
            if worker is not None and worker.alive and worker.incarnation == incarnation:
                return worker
        return None

    def _check_copies(self, partition: int) -> None:
        """I5: all copies have the same bytes, and their ledgers say what the state says."""
        view = self._durable
        primary = self._primary(partition)
        if view is None or primary is None:
            raise Violation(f"nobody serves partition {partition} in the end")
        rows = primary.rows(partition)
        applied = sum(row.count for row in rows.values())
        if primary.applied(partition) != applied:
            raise Violation(f"partition {partition} has {applied} events, its ledger says {primary.applied(partition)}")
        for name, _ in _copies(view, partition):
            copy = self._world.worker(name)
            if copy is None or copy is primary:
                continue
            if copy.rows(partition) != rows:
                raise Violation(f"{name} and {primary.name} have other states of partition {partition}")
            if copy.history(partition) != primary.history(partition):
                raise Violation(f"{name} and {primary.name} have other histories of partition {partition}")
        assert all(row.count <= KEPT for row in rows.values()), "schedules are meant to be small"


def _view_in(state: bytes) -> View | None:
    stored = State.FromString(state)
    return view_from_proto(stored.view) if stored.HasField("view") else None


def _process(view: View, place: int) -> tuple[str, int] | None:
    return None if place < 0 else (view.members[place].name, view.members[place].incarnation)


def _copies(view: View, partition: int) -> list[tuple[str, int]]:
    places = [int(view.table[partition]), *view.replicas[partition].tolist()]
    return [(view.members[place].name, view.members[place].incarnation) for place in places if place >= 0]
