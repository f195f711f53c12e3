"""Faults, drawn from the seed: what comes, when, to whom and for how long."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ringmill.core.errors import RingmillError
from tests.sim.network import Weather, open_streams
from tests.sim.scheduler import MILLISECOND_NS, Process
from tests.sim.store import Mood

if TYPE_CHECKING:
    from tests.sim.world import World


class Nemesis:
    """Disturbs a world until it is told to stop; then everything heals."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._random = world.random
        self._names = list(world.plan.faults)
        self._weights = [world.plan.faults[name] for name in self._names]
        self._active = False
        self._cuts: list[tuple[Process, Process]] = []
        self._guarding: tuple[str, int] | None = None
        """The worker that was taken last, by name and incarnation, until the view is without it."""
        self._hurts_until_ns = 0
        """When the last fault that may cost a worker its seat is over, and all has heard of its end."""
        self.done: list[str] = []
        """What was done, for people."""

    def start(self) -> None:
        """Faults come from now on."""
        self._active = True
        self._later()

    def stop(self) -> None:
        """Everything heals, and no more faults come."""
        self._active = False
        world = self._world
        world.network.weather = Weather()
        world.network.mend_all()
        self._cuts.clear()
        world.store.mood = Mood()
        for process in world.processes():
            if process.paused:
                process.thaw(timers_first=False)
            if not process.alive:
                world.revive(process)

    def _later(self) -> None:
        delay_ns = int(self._random.expovariate(1.0) * self._world.plan.every_ms * MILLISECOND_NS)
        self._world.scheduler.at(delay_ns, None, self._strike)

    def _strike(self) -> None:
        if not self._active:
            return
        if self._names:
            name = self._random.choices(self._names, self._weights)[0]
            strike: Callable[[], str | None] = getattr(self, f"_{name}")
            told = strike()
            if told is not None:
                self.done.append(f"{self._world.now_ms:8.1f} ms  {name} {told}")
        self._later()

    def _for_a_while(self, least_ms: float, most_ms: float, call: Callable[[], None]) -> float:
        """Undoes something later."""
        duration_ms = least_ms * (most_ms / least_ms) ** self._random.random()
        self._world.scheduler.at(int(duration_ms * MILLISECOND_NS), None, call)
        return duration_ms

    # The network

    def _reset(self) -> str | None:
        streams = open_streams(self._world.network)
        if not streams:
            return None
        end = self._random.choice(streams)
        notice_ms = self._random.choice([0.1, 5.0, 30.0, 160.0])
        if not self._hurt(notice_ms):
            return None
        self._world.network.reset(end, int(notice_ms * MILLISECOND_NS))
        return f"{end.process.name} > {end.other.process.name}, noticed within {notice_ms} ms"

    def _cut_one_way(self) -> str | None:
        return self._cut(both=False)

    def _cut_both_ways(self) -> str | None:
        return self._cut(both=True)

    def _cut(self, *, both: bool) -> str | None:
        if not self._hurt(800.0):
            return None
        one, other = self._random.sample(self._world.processes(), 2)
        pairs = [(one, other), (other, one)] if both else [(one, other)]
        for pair in pairs:
            self._world.network.cut(*pair)
            self._cuts.append(pair)
        duration_ms = self._for_a_while(3.0, 600.0, lambda: self._mend(pairs))
        return f"{one.name} > {other.name} for {duration_ms:.0f} ms"

    def _isolate(self) -> str | None:
        """A worker and the balancer do not hear each other, one of them or both; all others do."""
        if not self._hurt(800.0):
            return None
        worker, balancer = self._random.choice(self._world.workers), self._world.balancer
        ways = [(worker, balancer), (balancer, worker)]
        pairs: list[tuple[Process, Process]] = self._random.choice([ways[:1], ways[1:], ways])
        for pair in pairs:
            self._world.network.cut(*pair)
            self._cuts.append(pair)
        duration_ms = self._for_a_while(60.0, 600.0, lambda: self._mend(pairs))
        return f"{', '.join(f'{one.name} > {other.name}' for one, other in pairs)} for {duration_ms:.0f} ms"

    def _mend(self, pairs: list[tuple[Process, Process]]) -> None:
        for pair in pairs:
            if pair in self._cuts:
                self._cuts.remove(pair)
                if pair not in self._cuts:
                    self._world.network.mend(*pair)

    def _gale(self) -> str | None:
        if not self._hurt(300.0):
            return None
        network, calm = self._world.network, self._world.weather
        network.weather = Weather(calm.delay_ns * self._random.choice([3, 20]), 0.05)
        duration_ms = self._for_a_while(10.0, 160.0, self._calm)
        return f"for {duration_ms:.0f} ms"

    def _calm(self) -> None:
        if self._active:
            self._world.network.weather = self._world.weather

    # Processes

    def _pause_worker(self) -> str | None:
        if not self._hurt(700.0):
            return None
        return self._pause(self._random.choice(self._world.workers))

    def _pause_balancer(self) -> str | None:
        return self._pause(self._world.balancer)

    def _pause_client(self) -> str | None:
        return self._pause(self._random.choice(self._world.clients))

    def _pause(self, process: Process) -> str | None:
        if not process.alive or process.paused:
            return None
        process.pause()
        life, timers_first = process.life, self._random.random() < 0.5

        def thaw() -> None:
            if process.life == life and process.paused:
                process.thaw(timers_first)

        duration_ms = self._for_a_while(3.0, 600.0, thaw)
        return f"{process.name} for {duration_ms:.0f} ms"

    def _crash_worker(self) -> str | None:
        world = self._world
        worker = self._random.choice(world.workers)
        if not worker.alive:
            return None
        if not world.plan.reckless:
            if not self._calm_now() or not world.can_lose(worker):
                return None
            self._guarding = (worker.name, worker.incarnation)
        self._kill(worker)
        return worker.name

    def _crash_balancer(self) -> str | None:
        if not self._world.balancer.alive:
            return None
        self._kill(self._world.balancer)
        return ""

    def _crash_client(self) -> str | None:
        client = self._random.choice(self._world.clients)
        if not client.alive or client.finished:
            return None
        self._kill(client)
        return client.name

    def _kill(self, process: Process) -> None:
        world = self._world
        world.kill(process)
        life = process.life
        delay_ns = int(self._random.choice([5.0, 40.0, 120.0, 400.0]) * self._random.random() * MILLISECOND_NS)

        def back() -> None:
            if process.life == life:
                world.revive(process)

        world.scheduler.at(delay_ns, None, back)

    def _skew(self) -> str:
        ahead_ms = self._random.choice([1.0, 20.0, 120.0, 5000.0])
        self._world.balancer.ahead_ns += int(ahead_ms * MILLISECOND_NS)
        return f"the balancer's clock jumps by {ahead_ms} ms"

    def _hurt(self, duration_ms: float) -> bool:
        """Whether something may come now that can cost workers their seats.

        Careful schedules take one worker at a time, and nothing else meanwhile, so that no partition may be lost
        whatever happens.
        """
        if self._world.plan.reckless:
            return True
        if self._guarded():
            return False
        until_ns = self._world.scheduler.now_ns + int((duration_ms + 200.0) * MILLISECOND_NS)
        self._hurts_until_ns = max(self._hurts_until_ns, until_ns)
        return True

    def _calm_now(self) -> bool:
        return self._world.scheduler.now_ns >= self._hurts_until_ns and not self._guarded()

    def _guarded(self) -> bool:
        if self._guarding is not None and not self._world.holds(*self._guarding):
            self._guarding = None
        return self._guarding is not None

    # The store and the operator

    def _store(self) -> str:
        chance = self._random.choice
        self._world.store.mood = Mood(
            chance([1, 10, 80]) * MILLISECOND_NS, chance([0.0, 0.5, 1.0]), chance([0.0, 0.5, 1.0]), chance([0.0, 0.3])
        )
        duration_ms = self._for_a_while(10.0, 400.0, self._store_well)
        return f"{self._world.store.mood} for {duration_ms:.0f} ms"

    def _store_well(self) -> None:
        self._world.store.mood = Mood()

    def _scale(self) -> str | None:
        workers = self._random.randint(max(1, self._world.plan.replicas), 5)
        return self._ask(f"to {workers}", lambda: self._world.balancer.scale(workers))

    def _drain(self) -> str | None:
        running = [worker for worker in self._world.workers if worker.alive]
        if len(running) <= self._world.plan.replicas:
            return None
        worker = self._random.choice(running)
        return self._ask(worker.name, lambda: self._world.balancer.drain(worker.name))

    def _restart_all(self) -> str | None:
        return self._ask("", self._world.balancer.restart_all)

    def _ask(self, what: str, request: Callable[[], None]) -> str | None:
        balancer = self._world.balancer
        if not balancer.alive or balancer.paused:
            return None
        try:
            request()
            self._world.asked_ns = self._world.scheduler.now_ns
        except RingmillError as error:
            return f"{what}: {error.message}"
        return what
