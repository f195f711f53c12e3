"""The manager's durable store in virtual time: slow, failing, and failing although the write has landed."""

from collections.abc import Callable
from dataclasses import dataclass

from ringmill.balancer.orders import Store
from tests.sim.scheduler import MILLISECOND_NS, Process, Scheduler, Violation


@dataclass(slots=True)
class Mood:
    """How the store behaves now."""

    delay_ns: int = MILLISECOND_NS
    fails: float = 0.0
    """Chance that a write is said to have failed."""
    landed: float = 0.0
    """Chance that a write that is said to have failed has landed."""
    late: float = 0.0
    """Chance that the answer comes very late."""


class DurableStore:
    """Outlives the balancer. One process at a time has it open."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.mood = Mood()
        self.state: bytes | None = None
        self.revision = 0
        self.landed: Callable[[], None] = lambda: None
        """Called when something else is durable."""
        self.writing: list[Store] = []
        """Writes that are under way: each may still land."""

    def put(self, order: Store, process: Process, stored: Callable[[int, str], None]) -> None:
        """Writes, and answers by stored(revision, error), unless the process is gone by then."""
        mood, random = self.mood, self.scheduler.random
        self.writing.append(order)
        delay_ns = int(random.random() * 2 * mood.delay_ns)
        failed = random.random() < mood.fails
        lands = not failed or random.random() < mood.landed
        known = failed and lands and random.random() < 0.3
        late_ns = 320 * MILLISECOND_NS if random.random() < mood.late else 0
        self.scheduler.at(delay_ns, None, self._done, (order, lands))
        self.scheduler.at(delay_ns + late_ns, process, self._answer, (order, failed, known, stored))

    def process_died(self) -> None:
        """Each write that was under way has landed by now, or never will."""
        writing, self.writing = self.writing, []
        for order in writing:
            if self.scheduler.random.random() < 0.5:
                self._land(order)

    def _done(self, order: Store, lands: bool) -> None:
        if order in self.writing:
            self.writing.remove(order)
            if lands:
                self._land(order)

    def _land(self, order: Store) -> None:
        if order.revision <= self.revision:
            raise Violation(f"revision {order.revision} was to be stored over {self.revision}")
        self.state, self.revision = order.state, order.revision
        self.landed()

    def _answer(self, order: Store, failed: bool, known: bool, stored: Callable[[int, str], None]) -> None:
        if failed and not known:
            stored(min(self.revision, order.revision - 1), "the disk is not well")
        else:
            stored(order.revision, "the disk is not well" if failed else "")
