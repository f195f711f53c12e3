"""A balancer's process: the production hub, router and manager on virtual streams and a virtual store."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ringmill.balancer.adapters.hub import Hub
from ringmill.balancer.adapters.link import link_routes
from ringmill.balancer.adapters.service import public_routes
from ringmill.balancer.limits import RouterLimits
from ringmill.balancer.manager import Manager
from ringmill.balancer.orders import Fatal, Probe, Store, Want
from ringmill.balancer.router import Router
from ringmill.balancer.rules import Rules
from ringmill.core.agreement import StreamLimits
from ringmill.core.view import View
from tests.sim.clients import PUBLIC
from tests.sim.network import VirtualLoop
from tests.sim.plan import PARTITIONS
from tests.sim.pool import REQUEST_BYTES_MAX
from tests.sim.scheduler import MILLISECOND_NS, Process, Violation
from tests.sim.worker import LINK

if TYPE_CHECKING:
    from tests.sim.world import World

LIMITS = RouterLimits(
    StreamLimits(requests_in_flight_max=8, bytes_in_flight_max=4000, request_bytes_max=REQUEST_BYTES_MAX),
    link_bytes_max=2000,
    frame_bytes_max=600,
)
"""Small, so that backpressure is met."""
FORGETFUL_MS = 120
"""How long sessions are kept for who is away, in schedules in which that may be too short."""


class BalancerProcess(Process):
    """The only one; it may die and start again with what it has stored."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.scheduler, "balancer")
        self._world = world
        self.manager: Manager | None = None
        self.router: Router | None = None
        self.view = View(0, "", (), world.pool.nobody)
        """The newest view that was published, by any life of it."""
        self.died = ""

    @property
    def formed(self) -> bool:
        """Whether this life has published a view."""
        return self.alive and self.manager is not None and self.manager.formed

    def start(self) -> None:
        super().start()
        world, plan = self._world, self._world.plan
        rules = Rules(
            expected_workers=plan.workers,
            partitions=PARTITIONS,
            cluster="simulated",
            replicas=plan.replicas,
            min_in_sync=plan.min_in_sync,
            on_total_loss=plan.total_loss,
            heartbeat_ms=80,
            silence_ms=250,
            grace_ms=60,
            rejoin_ms=600,
            late_ms=80,
            tick_ms=20,
            handover_ms=400,
            store_retry_ms=80,
            stall_ms=plan.stall_ms,
        )
        self.manager = Manager(rules, world.store.state)
        limits = replace(LIMITS, retention_ms=FORGETFUL_MS) if world.forgetful else LIMITS
        self.router = Router(world.pool.splitter, self.manager.view, limits, generation=self.manager.generation)
        self.hub = Hub(
            self.manager,
            self.router,
            self.clock,
            self,
            heartbeat_ms=rules.heartbeat_ms,
            response_bytes_max=4000,
            on_view=self._viewed,
        )
        self._loop = loop = VirtualLoop(world.network, self)
        self._tick_s = rules.tick_ms / 1000
        loop.server(public_routes(self.hub)).listen(PUBLIC)
        loop.server(link_routes(self.hub)).listen(LINK)
        self.hub.start()
        loop.call_later(self._tick_s, self._tick)

    def crash(self) -> None:
        super().crash()
        self.manager = self.router = None

    def _tick(self) -> None:
        self.hub.tick()
        self._loop.call_later(self._tick_s, self._tick)

    def _viewed(self) -> None:
        assert self.manager is not None
        if self.manager.view is not self.view:
            before, self.view = self.view, self.manager.view
            self._world.invariants.published(before, self.view)

    # Edges

    def probe(self, order: Probe) -> None:
        """Connects to a worker's port: a dead process refuses, an unreachable one says nothing."""
        world = self._world
        worker = next((each for each in world.workers if each.address == order.address), None)
        delay_ns = world.network.weather.draw(world.random) * 2
        if worker is None or world.network.path(self, worker).cut or world.network.path(worker, self).cut:
            return
        world.scheduler.at(delay_ns, self, self._probed, (order, worker))

    def _probed(self, order: Probe, worker: Process) -> None:
        self.hub.probed(order.name, worker.alive, order.incarnation)

    def store(self, order: Store) -> None:
        """Writes to the store."""
        self._world.store.put(order, self, partial(self._stored))

    def _stored(self, revision: int, error: str) -> None:
        self.hub.stored(revision, error)

    def want(self, order: Want) -> None:
        """Tells whoever starts processes."""
        self._world.want(order.workers)

    def fatal(self, order: Fatal) -> None:
        """It would do harm to go on: never so here."""
        raise Violation(f"the balancer ends itself: {order.error.message}")

    # Operators

    def scale(self, workers: int) -> None:
        """Asks for so many workers."""
        assert self.manager is not None
        self.manager.scale(workers, False, self.clock() // MILLISECOND_NS)

    def drain(self, name: str) -> None:
        """Asks for a worker to be emptied and let go."""
        assert self.manager is not None
        self.manager.drain_worker(name, False, self.clock() // MILLISECOND_NS)

    def restart_all(self) -> None:
        """Asks for all workers to be restarted, one after the other."""
        assert self.manager is not None
        self.manager.restart_all(False, self.clock() // MILLISECOND_NS)
