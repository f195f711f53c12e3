"""One schedule: a cluster of production state machines, its clients, a network and a nemesis, all in virtual time."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.sim.balancer import BalancerProcess
from tests.sim.clients import ClientProcess, use_clock
from tests.sim.invariants import Invariants
from tests.sim.nemesis import Nemesis
from tests.sim.network import Network, Weather
from tests.sim.oracle import Oracle
from tests.sim.plan import PARTITIONS, Plan, draw
from tests.sim.pool import Pool
from tests.sim.scheduler import MILLISECOND_NS, Process, Scheduler, Violation
from tests.sim.store import DurableStore
from tests.sim.worker import WorkerProcess

FORM_MS = 2_000
"""Within this a cluster forms."""
LOST_MS = 1_200
"""What is left of a cluster that lost a partition is watched for so long."""
HEAL_MS = 12_000
"""Within this, after the last fault, every client has finished and every partition has its copies."""
FORGETFUL = 7
"""Of so many schedules, in one producers are forgotten soon after they have closed their stream."""
BLAME_MS = 200
"""Within this what a worker says against a copy has had its effect."""
LOOK_MS = 20
"""How often that is looked at."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a schedule."""

    seed: int
    trace: int
    """Equal for equal seeds."""
    steps: int
    told: int
    """Events whose fate clients were told."""
    sent: int
    faults: int
    views: int
    lost: int
    """Partitions whose every copy was taken: only in reckless schedules."""
    virtual_ms: float
    whole: bool


class World:
    """All processes of one schedule, and what connects them."""

    def __init__(self, plan: Plan, pool: Pool) -> None:
        self.plan = plan
        self.pool = pool
        self.forgetful = plan.seed % FORGETFUL == FORGETFUL - 1
        self.random = Random(plan.seed)
        self.scheduler = Scheduler(self.random)
        self.network = Network(self.scheduler)
        self.network.uneven = plan.uneven
        self.weather = Weather(plan.delay_us * 1000, plan.slow)
        self.store = DurableStore(self.scheduler)
        self.oracle = Oracle()
        self.keys = [f"key-{number}" for number in range(plan.keys)]
        self.refusals: list[str] = []
        """Workers that were told that they cannot join, and why."""
        self.workers: list[WorkerProcess] = []
        """In the order in which they first ran; some may have been let go."""
        self.asked_ns = 0
        """When an operator last asked for something."""
        self.wanted = {f"worker-{number}" for number in range(plan.workers)}
        self.balancer = BalancerProcess(self)
        self.clients = [ClientProcess(self, number, sender, self.keys) for number, sender in enumerate(plan.senders)]
        self.nemesis = Nemesis(self)
        self.invariants = Invariants(self)
        self.store.landed = self.invariants.stored
        self.scheduler.after_step = self.invariants.after_step

    @property
    def now_ms(self) -> float:
        """Virtual time since the beginning."""
        return (self.scheduler.now_ns - self._began_ns) / MILLISECOND_NS

    def run(self) -> Report:
        """Plays the schedule. Raises Violation."""
        undo = use_clock(self.scheduler)
        self._began_ns = self.scheduler.now_ns
        try:
            self._play()
            self.invariants.at_end()
        finally:
            undo()
            for worker in self.workers:
                worker.give_back()
        return self._report()

    def _play(self) -> None:
        self.balancer.start()
        for name in sorted(self.wanted):
            self.run_worker(name)
        if not self._run(FORM_MS, lambda: self.balancer.formed):
            raise Violation("the cluster does not form")
        self.network.weather = self.weather
        for client in self.clients:
            client.start()
        self.nemesis.start()
        self._run(self.plan.phase_ms, _never)
        self.nemesis.stop()
        self._heal()

    def _heal(self) -> None:
        self._healed_ns = self.scheduler.now_ns
        until_ns = self.scheduler.now_ns + HEAL_MS * MILLISECOND_NS
        while not self._well():
            if self.scheduler.now_ns >= until_ns:
                raise Violation(f"not whole {HEAL_MS} ms after the last fault: {self.why_not_well()}")
            self._run(LOOK_MS, _never)

    def _run(self, duration_ms: int, done: Callable[[], bool]) -> bool:
        return self.scheduler.run(self.scheduler.now_ns + duration_ms * MILLISECOND_NS, done)

    def _well(self) -> bool:
        return not self.why_not_well()

    def why_not_well(self) -> str:
        """What is missing until all is done and whole; empty: nothing."""
        if self.invariants.lost():  # these partitions come back never, or empty: no client can be asked to finish
            passed_ns = self.scheduler.now_ns - self._healed_ns
            return "" if passed_ns >= LOST_MS * MILLISECOND_NS else "partitions are lost"
        waiting = [client.name for client in self.clients if not client.finished]
        if waiting:
            return f"{', '.join(waiting)} have not finished"
        return self.invariants.why_not_whole()

    # Processes

    def processes(self) -> list[Process]:
        """All, whether they live or not."""
        return [self.balancer, *self.workers, *self.clients]

    def worker(self, name: str) -> WorkerProcess | None:
        """The worker of a name, if one has ever run."""
        return next((worker for worker in self.workers if worker.name == name), None)

    def run_worker(self, name: str) -> None:
        """Starts a worker, unless it runs."""
        worker = self.worker(name)
        if worker is None:
            worker = WorkerProcess(self, name)
            self.workers.append(worker)
        if not worker.alive:
            worker.start()

    def want(self, names: tuple[str, ...]) -> None:
        """The manager wants these workers to run: whoever starts processes obeys, in a while."""
        self.wanted = set(names)
        for worker in self.workers:
            if worker.alive and worker.name not in self.wanted and worker.started_ns >= self.asked_ns:
                self.scheduler.at(0, worker, worker.leave)  # it was started before it was known to be wanted no more
        for name in names:
            worker = self.worker(name)
            if worker is None or not worker.alive:
                delay_ns = int(self.random.random() * 40 * MILLISECOND_NS)
                self.scheduler.at(delay_ns, None, self._run_wanted, (name,))

    def _run_wanted(self, name: str) -> None:
        if name in self.wanted:
            self.run_worker(name)

    def ended(self, worker: WorkerProcess) -> None:
        """A worker has ended by itself: let go, or told that it cannot join. It is started anew if it is wanted."""
        self.kill(worker)
        delay_ns = int(self.random.random() * 40 * MILLISECOND_NS)
        self.scheduler.at(delay_ns, None, self._run_wanted, (worker.name,))

    def kill(self, process: Process) -> None:
        """A process dies."""
        process.crash()
        self.network.lost(process)
        if process is self.balancer:
            self.store.process_died()

    def revive(self, process: Process) -> None:
        """A process that died is started again, unless nobody wants it."""
        if process.alive or (isinstance(process, WorkerProcess) and process.name not in self.wanted):
            return
        if isinstance(process, ClientProcess) and process.finished:
            return
        process.start()

    def acknowledged(self, key: str, count: int) -> None:
        """A client was told for good that a key has had so many events."""
        self.invariants.acknowledged(key, count)

    # What the nemesis asks

    def holds(self, name: str, incarnation: int) -> bool:
        """Whether a process may still count as a copy: in the newest view, or in one that is being stored."""
        return any(
            member.name == name and member.incarnation == incarnation
            for view in self.invariants.possible_views()
            for place, member in enumerate(view.members)
            if (view.table == place).any() or view.copied_by(place).any()
        )

    def can_lose(self, worker: WorkerProcess) -> bool:
        """Whether every partition has a living copy without this worker, in every view that may come to hold."""
        if not self.balancer.alive or self.balancer.paused or not self.balancer.formed or self.store.writing:
            return False
        if worker.blamed_ns and self.scheduler.now_ns - worker.blamed_ns < BLAME_MS * MILLISECOND_NS:
            return False  # on its word it may be about to be left as the last copy
        living = {each.incarnation for each in self.workers if each.alive and each is not worker and not each.paused}
        for view in self.invariants.possible_views():
            # while one leaves, what stays is all that counts: once it is told to go, its copies are gone
            alive = [member.alive and not member.draining and member.incarnation in living for member in view.members]
            for partition in range(PARTITIONS):
                copies = [int(view.table[partition]), *view.replicas[partition].tolist()]
                if not any(place >= 0 and alive[place] for place in copies):
                    return False
        return True

    def _report(self) -> Report:
        return Report(
            seed=self.plan.seed,
            trace=self.scheduler.trace,
            steps=self.scheduler.steps,
            told=self.oracle.told,
            sent=len(self.oracle.events),
            faults=len(self.nemesis.done),
            views=self.balancer.view.version,
            lost=len(self.invariants.lost()),
            virtual_ms=self.now_ms,
            whole=not self.invariants.lost(),
        )


def play(seed: int, pool: Pool) -> Report:
    """Plays the schedule of a seed. Raises Violation."""
    return World(draw(seed), pool).run()


def _never() -> bool:
    return False
