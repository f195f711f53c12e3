"""A world around the pure manager: processes that register, obey views, copy partitions and die; a store; a clock.

Every view that is published is checked against the one before, and against who really holds what.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np

from ringmill.balancer.manager import Manager
from ringmill.balancer.orders import Admit, Drop, Fatal, LetGo, Order, Probe, Publish, Refuse, Store, Want
from ringmill.balancer.rules import Rules
from ringmill.balancer.store import MemoryStore
from ringmill.core.errors import Code, RingmillError
from ringmill.core.maglev import NOBODY
from ringmill.core.view import View
from ringmill.internal.v1.link_pb2 import Heartbeat, Registration, Report
from ringmill.v1.processing_pb2 import DescribePipelineResponse

STEP_MS = 20
Process = tuple[str, int]


def registration(name: str, incarnation: int = 1, digest: str = "d1", **others: Any) -> Registration:
    return Registration(
        name=name,
        incarnation=incarnation,
        pipeline_names=["flights"],
        pipelines=[DescribePipelineResponse(version="1.0.0", digest=digest)],
        events_max=[1000],
        **{"peer_address": f"{name}:{incarnation}"} | others,
    )


@dataclass
class Worker:
    """One process."""

    name: str
    incarnation: int
    host: str = ""
    zone: str = ""
    weight: int = 1
    link: int | None = None
    up: bool = True
    hung: bool = False
    """Says nothing, and its port still answers."""
    leaves: bool = False
    exited: bool = False
    cluster: str = ""
    view: View | None = None
    """The newest it has heard of."""
    caught: dict[int, tuple[int, int, str, int]] = field(default_factory=dict)
    """Learners that hold all: partition -> (view version, epoch, name, incarnation)."""
    dial_ms: int = 0

    @property
    def process(self) -> Process:
        return self.name, self.incarnation


class World:
    """Everything around one manager, and the manager after it."""

    def __init__(self, rules: Rules, seed: int = 0, slow: bool = False) -> None:
        self.rules = rules
        self.random = Random(seed)
        self.slow = slow
        """Whether copies and sealing take their time."""
        self.now = 1000
        self.store = MemoryStore()
        self.store_fails = 0.0
        self.store_delay_ms = 0
        self.writes: deque[tuple[int, Store]] = deque()
        self.probes: deque[tuple[int, str]] = deque()
        self.workers: dict[str, Worker] = {}
        self.views: list[View] = []
        self.holders: dict[int, set[Process]] = {}
        """Who really has all of a partition."""
        self.restarted: list[int] = []
        """Partitions that have begun anew without state."""
        self.refused: list[tuple[str, Code, str]] = []
        self.wanted: tuple[str, ...] = ()
        self.supervised = False
        """Whether somebody starts wanted workers that have exited."""
        self.fatal: RingmillError | None = None
        self.blocked: set[tuple[str, str]] = set()
        """Pairs, primary and peer, whose channels do not work."""
        self.dead_long_ms = 100
        self._last_link = 0
        self._incarnation = 0
        self.manager = self._begin()

    def _begin(self) -> Manager:
        self.manager = Manager(self.rules, self.store.load())
        self.perform(self.manager.start(self.now))
        return self.manager

    def restart_manager(self) -> None:
        """The balancer dies, and another begins with what is stored."""
        self.writes.clear()
        self.probes.clear()
        for worker in self.workers.values():
            worker.link = None
            worker.dial_ms = self.now + self.random.randrange(300)
        self._begin()

    # Processes

    def join(self, name: str, **others: Any) -> Worker:
        """A new process of this name."""
        self._incarnation += 1
        worker = self.workers[name] = Worker(name, self._incarnation, **others)
        self.dial(worker)
        return worker

    def dial(self, worker: Worker) -> None:
        self._last_link += 1
        worker.link = self._last_link
        asked = registration(
            worker.name,
            worker.incarnation,
            host=worker.host,
            zone=worker.zone,
            weight=worker.weight,
            cluster=worker.cluster,
            view_version=worker.view.version if worker.view else 0,
        )
        self.perform(self.manager.register(worker.link, asked, self.now))
        if worker.link is not None and worker.leaves:
            self.perform(self.manager.drain(worker.link, self.now))

    def form(self, count: int, hosts: int = 0) -> "World":
        for number in range(count):
            self.join(f"worker-{number}", host=f"host-{number % hosts}" if hosts else "")
        return self

    def kill(self, name: str) -> None:
        worker = self.workers[name]
        worker.up = False
        for holders in self.holders.values():
            holders.discard(worker.process)
        self.cut(name)

    def cut(self, name: str) -> None:
        """A link breaks; a living process dials again."""
        worker = self.workers[name]
        link, worker.link = worker.link, None
        worker.dial_ms = self.now + 50
        if link is not None:
            self.perform(self.manager.broken(link, self.now))

    def leave(self, name: str) -> None:
        """SIGTERM."""
        worker = self.workers[name]
        worker.leaves = True
        if worker.link is not None:
            self.perform(self.manager.drain(worker.link, self.now))

    # Time

    def run(self, ms: int) -> "World":
        until = self.now + ms
        while self.now < until:
            self.step()
        return self

    def settle(self, limit_ms: int = 400_000) -> int:
        """Runs until nothing changes for longer than any pause; returns when it last did."""
        changed, version, begun = self.now, self.manager.view.version, self.now
        while self.now - changed < 40_000:
            self.step()
            if self.manager.view.version != version:
                changed, version = self.now, self.manager.view.version
            assert self.now - begun < limit_ms, "it does not come to rest"
        return changed - begun

    def step(self) -> None:
        self.now += STEP_MS
        self._answer_writes()
        self._answer_probes()
        for worker in list(self.workers.values()):
            if worker.up and not worker.hung:
                self._act(worker)
        self.perform(self.manager.tick(self.now))

    def _answer_writes(self) -> None:
        while self.writes and self.writes[0][0] <= self.now:
            _, order = self.writes.popleft()
            self._write(order)

    def _write(self, order: Store) -> None:
        error = ""
        if self.random.random() < self.store_fails:
            error = "disk full"
            if self.random.random() < 0.3:  # it has landed all the same
                self.store.put(order.state, order.revision)
        else:
            self.store.put(order.state, order.revision)
        self.perform(self.manager.stored(self.store.revision, error, self.now))

    def _answer_probes(self) -> None:
        while self.probes and self.probes[0][0] <= self.now:
            _, name = self.probes.popleft()
            worker = self.workers.get(name)
            self.perform(self.manager.probed(name, worker is not None and worker.up, self.now))

    def _act(self, worker: Worker) -> None:
        if worker.exited:
            if self.supervised and worker.name in self.wanted:
                self.join(worker.name, host=worker.host, zone=worker.zone)
            return
        if worker.link is None:
            if self.now >= worker.dial_ms:
                worker.dial_ms = self.now + 200
                self.dial(worker)
            return
        self.manager.heard(worker.link, self.now)
        obeyed = 0 if worker.view is None else worker.view.version
        self.manager.beat(worker.link, Heartbeat(keys=5, view_version=obeyed), self.now)
        report = self._report(worker)
        if report is not None:
            self.perform(self.manager.report(worker.link, report, self.now))

    def _report(self, worker: Worker) -> Report | None:
        """What a primary has to say about the view that it obeys."""
        view = worker.view
        if view is None:
            return None
        report = Report()
        place = view.index(worker.name)
        if place == NOBODY or view.members[place].incarnation != worker.incarnation:
            return None
        for partition in np.flatnonzero((view.table == place) & (view.learners != NOBODY)):
            self._copy(worker, view, int(partition), report)
        for partition in np.flatnonzero((view.table == place) & (view.heirs != NOBODY)):
            heir = view.members[view.heirs[partition]]
            if not self.slow or self.random.random() < 0.2:
                report.sealed.add(
                    partition=int(partition), epoch=int(view.epochs[partition]), heir=heir.name, version=view.version
                )
        for peer in sorted(peer for name, peer in self.blocked if name == worker.name):
            report.silent.append(peer)
        return report

    def _copy(self, worker: Worker, view: View, partition: int, report: Report) -> None:
        learner = view.members[view.learners[partition]]
        target = self.workers.get(learner.name)
        if target is None or not target.up or target.incarnation != learner.incarnation:
            return
        if (worker.name, learner.name) in self.blocked:
            return
        if self.slow and self.random.random() < 0.7:
            return
        if worker.process in self.holders[partition]:
            self.holders[partition].add(target.process)
        report.caught_up.add(
            partition=partition,
            epoch=int(view.epochs[partition]),
            learner=learner.name,
            incarnation=learner.incarnation,
            version=view.version,
        )

    # Orders

    def perform(self, orders: Sequence[Order]) -> None:
        for order in orders:
            match order:
                case Store():
                    if self.store_delay_ms:
                        self.writes.append((self.now + self.random.randrange(self.store_delay_ms), order))
                    else:
                        self._write(order)
                case Publish():
                    self._publish(order)
                case Probe(name, _):
                    self.probes.append((self.now + STEP_MS, name))
                case Drop(link, _) | Refuse(link, _, _):
                    self._ended(link, order)
                case LetGo(link, _):
                    self._let_go(link)
                case Want(workers):
                    self._want(workers)
                case Fatal(error):
                    self.fatal = error
                case Admit():
                    pass

    def _ended(self, link: int, order: Drop | Refuse) -> None:
        for worker in self.workers.values():
            if worker.link == link:
                worker.link = None
                worker.dial_ms = self.now + 200
                if isinstance(order, Refuse):
                    self.refused.append((worker.name, order.code, order.reason))

    def _let_go(self, link: int) -> None:
        (worker,) = [worker for worker in self.workers.values() if worker.link == link]
        worker.exited, worker.link = True, None
        self.perform(self.manager.broken(link, self.now))

    def _want(self, workers: tuple[str, ...]) -> None:
        self.wanted = workers
        if self.supervised:
            for name in workers:
                if name not in self.workers:
                    self.join(name)

    def _publish(self, order: Publish) -> None:
        view = order.view
        before = self.views[-1] if self.views else None
        if before is None or view.version > before.version:
            self.check(before, view)
            self.views.append(view)
        for worker in self.workers.values():
            if worker.link is not None and worker.link in order.tell:
                worker.view, worker.cluster = view, view.cluster

    # Checks

    def check(self, before: View | None, after: View) -> None:
        """A view may follow another: copies hold what they should, and epochs tell of every new primary."""
        for partition in range(after.partitions):
            copies = copies_of(after, partition)
            old = copies_of(before, partition) if before is not None else []
            primary = copies[0] if copies else None
            if before is not None:
                led = old[0] if old else None
                changed = int(after.epochs[partition]) != int(before.epochs[partition])
                assert changed == (led != primary), f"epoch of {partition}: {old} -> {copies}"
                assert not changed or int(after.epochs[partition]) == after.version
            self._check_holders(before, partition, old, copies)
            self._check_roles(after, partition, copies)

    def _check_holders(self, before: View | None, partition: int, old: list[Process], copies: list[Process]) -> None:
        if before is None or (copies and copies[0] not in old):
            # A new cluster, or all is lost: the one that goes on is not one that had it, and it is alone.
            assert before is None or self.rules.restarts_empty, f"{copies[0]} was no copy of {partition}: {old}"
            assert before is None or len(copies) == 1
            if before is not None:
                self.restarted.append(partition)
            self.holders[partition] = set(copies)
        learner = learner_of(before, partition) if before is not None else None
        for process in copies:
            worker = self.workers.get(process[0])
            if worker is None or not worker.up or worker.incarnation != process[1]:
                continue  # it has died, and nobody has noticed yet
            assert process in self.holders[partition], f"{process} does not hold {partition}"
            assert before is None or process in [*old, learner] or partition in self.restarted
        kept = {*copies}
        if self.manager.view.version:
            self.holders[partition] &= kept | ({learner} if learner else set())

    def _check_roles(self, view: View, partition: int, copies: list[Process]) -> None:
        assert len(set(copies)) == len(copies)
        learner, heir = int(view.learners[partition]), int(view.heirs[partition])
        primary = int(view.table[partition])
        if heir != NOBODY:
            assert learner == NOBODY
            assert heir in view.replicas[partition]
        if learner != NOBODY:
            assert learner not in view.replicas[partition]
            assert learner != primary
        if primary != NOBODY and view.members[primary].alive:
            others = [place for place in (*view.replicas[partition], learner, heir) if place != NOBODY]
            assert all(view.members[place].alive for place in others)
        else:
            assert learner == heir == NOBODY


def copies_of(view: View, partition: int) -> list[Process]:
    places = [int(view.table[partition]), *(int(place) for place in view.replicas[partition])]
    return [(view.members[place].name, view.members[place].incarnation) for place in places if place != NOBODY]


def learner_of(view: View, partition: int) -> Process | None:
    place = int(view.learners[partition])
    return (view.members[place].name, view.members[place].incarnation) if place != NOBODY else None


def small(**others: Any) -> Rules:
    """Rules of a small cluster."""
    return replace(Rules(expected_workers=3, partitions=31, replicas=2, cluster="test"), **others)
