"""The view manager: a pure state machine. What workers say and time in, orders out.

It knows who is there (`seats`), what was reported (`claims`), where partitions should be (`placement`) and what an
operator wants (`moves`). From these and the newest view it drafts the next (`draft`, `reconcile`). At most one is being
stored; what happens meanwhile goes into the one after. A view is published once it is durable, so a manager that begins
again knows every view that anybody has obeyed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ringmill.balancer import reconcile
from ringmill.balancer.catalogue import Catalogue
from ringmill.balancer.claims import Claims
from ringmill.balancer.draft import Draft, Mask, first_view
from ringmill.balancer.moves import Move, Moves
from ringmill.balancer.orders import Admit, Fatal, LetGo, Order, Publish, Refuse, Store
from ringmill.balancer.placement import Placement, eligible
from ringmill.balancer.progress import Progress
from ringmill.balancer.rehearsal import Effort
from ringmill.balancer.report import Explanation, Figures, WorkerState, explain, figures, worker_states
from ringmill.balancer.rules import Rules
from ringmill.balancer.seats import Seat, Seats
from ringmill.balancer.state import behind, loaded, no_view
from ringmill.core.agreement import Served
from ringmill.core.errors import Code, RingmillError
from ringmill.core.maglev import NOBODY
from ringmill.core.view import View, view_to_proto
from ringmill.internal.v1.link_pb2 import Heartbeat, Registration, Report
from ringmill.internal.v1.store_pb2 import State


@dataclass(frozen=True, slots=True)
class _Write:
    """What the store is writing."""

    revision: int
    view: View | None
    """None if the view stays as it is."""
    claims: Claims
    """What the view answers."""
    blamed: Mask
    """bool[partitions]: where something has failed."""


class Manager:
    """Makes the views of one cluster."""

    def __init__(self, rules: Rules, stored: bytes | None = None) -> None:
        """stored: what the store holds, if anything. Raises FAILED_PRECONDITION if it is of another cluster."""
        rules.validate()
        self._rules = rules
        state = State.FromString(stored) if stored else State()
        self._view = loaded(rules, state)
        """The newest durable view."""
        self._published: View | None = None
        self._revision = state.revision
        self.generation = state.generation + 1
        """Grows with every start. It may be used once the cluster has formed."""
        self._catalogue = Catalogue(state.serves, state.platform)
        self._seats = Seats(rules)
        self._claims = Claims(rules.partitions)
        self._placement = Placement(rules.partitions, rules.replicas)
        self._progress = Progress(rules, self._view, 0)
        self._moves = Moves(state.intention, rules)
        self._write: _Write | None = None
        self._whole: tuple[View | None, bool] = (None, False)
        """A view, and whether nothing was left to be moved in it."""
        self._started = False
        self._is_begun = False
        """Whether the generation is durable."""
        self._unsaved = True
        """Something other than the view is to be stored: the generation, to begin with."""
        self._restless = True
        """The last plan may not have been all that there is to do."""
        self._paced_ms = 0
        """Before this nothing is planned."""
        self._wake_ms = 0
        """When something planned has taken too long, or may be tried again."""
        self._retry_ms = 0
        """Before this nothing is stored."""
        self.trouble = ""
        """Why the store failed last; empty while it works."""

    # What it knows

    @property
    def view(self) -> View:
        """The newest view that was published; version 0 until the first."""
        return self._published or no_view(self._rules, self._view.cluster)

    @property
    def formed(self) -> bool:
        """Whether there is a view."""
        return self._published is not None

    @property
    def catalogue(self) -> Mapping[str, Served]:
        """The pipelines that the workers serve, by name, in the order that Part.pipeline counts."""
        return self._catalogue.served

    @property
    def links(self) -> Mapping[str, int]:
        """Open links by the names of their workers."""
        return self._seats.links

    def missing(self) -> str:
        """Why nothing is served yet, for people."""
        if self.trouble:
            return f"the view cannot be stored: {self.trouble}"
        joined = len(self._seats.links)
        return f"waiting for workers: {joined} of {len(self._view.members) or self._rules.expected_workers} have joined"

    def workers(self) -> Sequence[WorkerState]:
        """Every seat, in the order of names."""
        return worker_states(self._seats, self.view)

    def explain(self, partition: int) -> Explanation:
        """Where a partition is, and why there."""
        return explain(self.view, partition, self._rules)

    def figures(self) -> Figures:
        """How whole the cluster is."""
        return figures(self.view, self._rules)

    @property
    def copies_wanted(self) -> int:
        """Copies that each partition should have."""
        return self._rules.replicas

    # Workers

    def start(self, now_ms: int) -> Sequence[Order]:
        """Begins: once, before anything else."""
        self._started = True
        self._seats.slept(now_ms)  # its first sleep may come before its first tick
        self._progress = Progress(self._rules, self._view, now_ms)
        orders: list[Order] = []
        for member in self._view.members:
            orders += self._seats.remember(member, now_ms)
        return [*orders, *self._go_on(now_ms)]

    def register(self, link: int, registration: Registration, now_ms: int) -> Sequence[Order]:
        """Gives a worker its seat, or refuses it with a reason. First message of a link; a second one is refused."""
        try:
            self._check(link, registration)
        except RingmillError as error:
            return [Refuse(link, error.code, error.message)]
        name = registration.name
        if registration.cluster and registration.view_version > self._view.version:
            return [Fatal(behind(registration, self._view))]
        if self._seats.is_taken(registration):
            self._moves.contested(name)
            why = f"another process is worker {name}: this one may have its place once that one is dead"
            return [Refuse(link, Code.UNAVAILABLE, why), *self._seats.suspect(name)]
        orders = self._seats.sit(link, registration, now_ms)
        self._catalogue.adopt(registration)
        self._moves.came(name, registration.incarnation)
        orders.append(Admit(link, name))
        orders += [self._publish((link,))] if self._published is not None else self._announce()
        return [*orders, *self._go_on(now_ms)]

    def heard(self, link: int, now_ms: int) -> None:
        """Any bytes of a worker are a sign of life."""
        self._seats.heard(link, now_ms)

    def beat(self, link: int, heartbeat: Heartbeat, now_ms: int) -> None:
        """Remembers what a worker tells of itself."""
        seat = self._seats.at(link)
        if seat is not None:
            seat.heard_ms, seat.health = now_ms, heartbeat

    def report(self, link: int, report: Report, now_ms: int) -> Sequence[Order]:
        """A primary tells what the view should follow."""
        seat = self._seats.at(link)
        if seat is None:
            return []
        self._claims.hear(seat.name, seat.member.incarnation, report, now_ms)
        return self._go_on(now_ms)

    def drain(self, link: int, now_ms: int) -> Sequence[Order]:
        """A worker wants to leave. It serves until its partitions are elsewhere."""
        seat = self._seats.at(link)
        if seat is None or seat.asks_to_leave:
            return []
        seat.asks_to_leave = True
        return self._go_on(now_ms)

    def broken(self, link: int, now_ms: int) -> Sequence[Order]:
        """A link ended."""
        seat = self._seats.at(link)
        orders = self._seats.broken(link, now_ms)
        if seat is not None and seat.is_gone:
            self._moves.left(seat.member)
        if seat is not None and self._is_forming:
            self._seats.remove(seat.name)
            return []
        return [*orders, *self._go_on(now_ms)]

    def probed(self, name: str, alive: bool, now_ms: int, incarnation: int = 0) -> Sequence[Order]:
        """Whether anybody listens at a worker's port; incarnation: of the probe that is answered, 0 for any."""
        return [*self._seats.probed(name, alive, now_ms, incarnation), *self._go_on(now_ms)]

    def tick(self, now_ms: int) -> Sequence[Order]:
        """Time has passed."""
        if self._seats.slept(now_ms):
            self._progress.restart(self._view, now_ms)
        return [*self._seats.tick(now_ms), *self._go_on(now_ms, is_tick=True)]

    # Operators

    def scale(self, workers: int, validate_only: bool, now_ms: int) -> Move:
        """Asks for this number of workers."""
        return self._asked(self._moves.scale(self.view, self._seats, workers, validate_only))

    def drain_worker(self, name: str, validate_only: bool, now_ms: int) -> Move:
        """Asks for a worker to be emptied and let go."""
        return self._asked(self._moves.drain(self.view, self._seats, name, validate_only))

    def restart_all(self, validate_only: bool, now_ms: int) -> Move:
        """Asks for all workers to be restarted, one after the other."""
        return self._asked(self._moves.restart_all(self.view, self._seats, validate_only))

    def move(self, number: int) -> Move:
        """How far a request has come. Raises NOT_FOUND for a number that was never given."""
        return self._asked(self._moves.progress(number))

    def _asked(self, move: Move) -> Move:
        """Adds the longest pause. One that was only asked about is expected to cost what the last one did."""
        if move.number and not move.moved:
            self._progress.pause_ms = 0
        return replace(move, pause_ms=self._progress.pause_ms)

    # The next view

    def stored(self, revision: int, error: str, now_ms: int) -> Sequence[Order]:
        """The store has answered. revision: what is durable now; error: for people."""
        write, self._write = self._write, None
        if write is None:
            return []
        if revision < write.revision:
            return self._not_stored(write, error or f"it holds revision {revision}", now_ms)
        self._revision, self.trouble = revision, ""
        self._progress.blame(write.blamed, now_ms)
        orders: list[Order] = []
        if write.view is not None:
            self._progress.follow(self._view, write.view, now_ms)
            self._moves.count(Effort(self._progress.handed, self._progress.copied))
            self._view, self._restless = write.view, True
            self._wake_ms = self._progress.wake_ms(now_ms)
            self._seats.forget_the_gone({member.name for member in write.view.members})
        self._is_begun = True
        orders += self._announce()
        return [*orders, *self._go_on(now_ms)]

    def _announce(self) -> list[Order]:
        """Publishes the newest view if nobody knows it, once the generation is durable and somebody has said what is
        served: until then callers are to wait."""
        if not (self._is_begun and self._view.version and self.catalogue) or self._published is self._view:
            return []
        self._published = self._view
        return [self._publish(tuple(self._links_of(self._view).values()))]

    def _not_stored(self, write: _Write, error: str, now_ms: int) -> list[Order]:
        """The old view stays. What was written may turn up yet: the next revision is newer, and goes over it."""
        self._revision = write.revision
        self._claims.restore(write.claims)
        self._unsaved = self._seats.changed = self._restless = True
        self._retry_ms = now_ms + self._rules.store_retry_ms
        self.trouble = error
        return []

    def _go_on(self, now_ms: int, is_tick: bool = False) -> list[Order]:
        """Does what is due: lets workers go, tells what is wanted, and has the next view stored."""
        if not self._started or self._write is not None or now_ms < self._retry_ms:
            return []
        orders = self._follow_moves()
        urgent = self._seats.changed or self._claims.urgent(self._view, is_tick)
        if not (urgent or self._unsaved or self._is_time(now_ms)):
            return orders
        draft, blamed = self._draft(now_ms)
        view = draft.view() if draft is not None else self._first_view()
        claims, self._claims = self._claims, Claims(self._rules.partitions)
        if view is None and not self._unsaved:
            return orders
        self._unsaved = self._moves.changed = False
        self._write = _Write(self._revision + 1, view, claims, blamed)
        return [*orders, Store(self._state(view).SerializeToString(), self._revision + 1)]

    def _is_time(self, now_ms: int) -> bool:
        """Whether a plan may find something to do. While partitions pause the store is kept free for what ends it."""
        if not self._view.version or now_ms < self._paced_ms:
            return False
        if now_ms >= self._wake_ms:
            return True
        if (self._view.heirs != NOBODY).any():
            return False
        return self._restless or self._claims.may_count(self._view, now_ms - self._rules.count_ms)

    def _draft(self, now_ms: int) -> tuple[Draft | None, Mask]:
        """The next view; and where something has failed."""
        changed, self._seats.changed = self._seats.changed, False
        if not self._view.version:
            return None, np.zeros(self._rules.partitions, np.bool_)
        draft = Draft(self._view, self._rules.replicas)
        draft.min_in_sync = self._rules.min_in_sync
        if changed:
            self._sit(draft)
            draft.fail_over()
            self._unseat(draft)
        blamed = self._claims.demote(draft, self._progress)
        self._claims.hand_over(draft, self._progress)
        self._claims.count(draft, self._progress)
        if changed:
            self._restless = True  # the dead wait for no table: what is to be done about it comes next
            return draft, blamed
        return draft, self._plan(draft, blamed, now_ms)

    def _plan(self, draft: Draft, blamed: Mask, now_ms: int) -> Mask:
        self._paced_ms = now_ms + self._rules.pace_ms
        blamed = blamed | reconcile.withdraw(draft, self._progress, now_ms)
        self._restless = any(seat.is_awaited for seat in self._seats)  # of these it will soon be known what they are
        goal = self._placement.goal(eligible(draft.members))
        if goal is not None and not self._restless:
            if self._rules.restarts_empty:
                draft.restart(draft.table == NOBODY, goal.places(draft.members)[:, 0])
            proven = self._progress.proven(draft, self._view, self._seats.obeyed(draft.members))
            paused = blamed | (self._progress.retry_ms > now_ms)
            self._restless = reconcile.plan(draft, goal, self._progress, self._rules, paused, proven)
        self._wake_ms = self._progress.wake_ms(now_ms)
        return blamed

    def _first_view(self) -> View | None:
        """The view of a new cluster, once all who were expected are there."""
        members = [seat.member for seat in self._seats if seat.member.alive]
        if self._view.version or len(members) < self._rules.expected_workers:
            return None
        goal = self._placement.goal(members)
        if goal is None:
            return None
        return first_view(self._view.cluster, members, goal.copies, self._rules.min_in_sync, 1)

    def _is_whole(self) -> bool:
        """Whether nothing is left to be moved."""
        if self._whole[0] is not self._view:  # asked at each tick, and worth working out once for each view
            goal = self._placement.goal(eligible(self._view.members))
            whole = goal is not None and reconcile.is_whole(Draft(self._view, self._rules.replicas), goal)
            self._whole = (self._view, whole)
        return self._whole[1]

    def _sit(self, draft: Draft) -> None:
        """Members as the seats are. Another process of a name has no copies; where it was the last one, the partition
        begins anew with it, or is lost."""
        for seat in self._seats:
            index = draft.index(seat.name)
            if index != NOBODY and draft.members[index].incarnation != seat.member.incarnation:
                lost = draft.forget(index)
                if self._rules.restarts_empty:
                    draft.restart(lost, np.full(draft.before.partitions, index, np.int32))
            draft.seat(seat.member)

    def _unseat(self, draft: Draft) -> None:
        """Removes who has left, or died on its way out. Whom the operator sends away takes along what only it had."""
        for seat in self._seats:
            if seat.member.alive or seat.link is not None:
                continue
            index = draft.index(seat.name)
            if self._moves.drains(seat.member):
                seat.is_gone = True
                if self._rules.restarts_empty:
                    draft.forget(index)
            if (seat.is_gone or seat.asks_to_leave) and not draft.holds(index):
                draft.unseat(seat.name)

    def _follow_moves(self) -> list[Order]:
        """Tells workers that hold nothing any more that they may go."""
        if self._moves.busy:
            self._moves.follow(self._view, self._seats, self._is_whole())
        self._unsaved |= self._moves.changed
        if self._unsaved:
            return []  # nobody is told what may yet be forgotten; nor let go, since a supervisor would start it again
        orders: list[Order] = [*self._moves.wants()]
        for seat in self._seats:
            self._seats.drain(seat, seat.asks_to_leave or self._moves.drains(seat.member))
            if seat.link is not None and seat.member.draining and not seat.is_let_go and self._may_go(seat):
                seat.is_let_go = True
                orders.append(LetGo(seat.link, f"worker {seat.name} holds nothing any more"))
        return orders

    def _may_go(self, seat: Seat) -> bool:
        if not self._view.version:
            return True
        index = self._view.index(seat.name)
        if index == NOBODY or not Draft(self._view, self._rules.replicas).holds(index):
            return True
        if not seat.asks_to_leave:
            return False  # an operator can wait until somebody is there to take over, and data cannot
        others = (each.member for each in self._seats if each is not seat)
        return not any(other.alive and not other.draining and other.peer_address for other in others)

    def _check(self, link: int, registration: Registration) -> None:
        self._seats.check(link, registration)
        name, cluster = registration.name, self._view.cluster
        if registration.cluster not in ("", cluster):
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"worker {name} belongs to cluster {registration.cluster!r}, and this is {cluster!r}: "
                "start it anew to join this one",
            )
        if self._view.version and not registration.peer_address and self._view.index(name) == NOBODY:
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"worker {name} has no address for other workers, so that nothing can be moved to it",
            )
        self._catalogue.check(
            registration, [seat.name for seat in self._seats if seat.member.alive and seat.name != name]
        )

    @property
    def _is_forming(self) -> bool:
        return not self._view.version and (self._write is None or self._write.view is None)

    def _links_of(self, view: View) -> dict[int, int]:
        """Links of the processes that are members of a view, by their places in it."""
        links = {}
        for place, member in enumerate(view.members):
            seat = self._seats.get(member.name)
            if seat is not None and seat.link is not None and seat.member.incarnation == member.incarnation:
                links[place] = seat.link
        return links

    def _publish(self, tell: tuple[int, ...]) -> Publish:
        links = self._links_of(self.view)
        places = range(len(self.view.members))
        known = tuple(link for link in tell if link in links.values())
        return Publish(self.view, tuple(links.get(place) for place in places), known)

    def _state(self, view: View | None) -> State:
        view = view or self._view
        return State(
            revision=self._revision + 1,
            generation=self.generation,
            view=view_to_proto(view) if view.version else None,
            cluster=view.cluster,
            intention=self._moves.intention,
            serves=self._catalogue.serves,
            platform=self._catalogue.platform,
        )
