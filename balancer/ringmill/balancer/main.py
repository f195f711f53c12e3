"""Starts a balancer: one public port for clients, one link port for workers, one thread."""

import gc
import json
import logging
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ringmill.balancer.adapters.admin import ADMIN, admin_routes
from ringmill.balancer.adapters.hub import Hub
from ringmill.balancer.adapters.link import link_routes
from ringmill.balancer.adapters.probe import Prober
from ringmill.balancer.adapters.service import PROCESSING, public_routes
from ringmill.balancer.adapters.store import FileStore, StoreThread
from ringmill.balancer.config import BalancerConfig
from ringmill.balancer.manager import Manager
from ringmill.balancer.news import news_of
from ringmill.balancer.orders import Fatal, Probe, Store, Want
from ringmill.balancer.router import Router
from ringmill.balancer.store import MemoryStore, StateStore
from ringmill.core.errors import Code, RingmillError
from ringmill.core.split import Splitter
from ringmill.core.view import View
from ringmill.telemetry import Telemetry, TelemetryConfig
from ringmill.transport import make_loop
from ringmill.transport.api import Accept, Limits, Loop
from ringmill.transport.health import Health
from ringmill.transport.reflection import reflection_routes

logger = logging.getLogger("ringmill.balancer")

FRAME_BYTES_MAX = 256 << 20
"""What a worker may send in one message: many responses travel together."""

EVENTS_MAX = 65_536
"""What the scanner has room for; each pipeline's own limit is what its workers say."""

PROXY_LIMITS = Limits(message_bytes_max=4 << 20, keepalive_interval_s=30.0, keepalive_timeout_s=20.0)
"""A proxy says who it is in 60 KB, and is in no hurry to answer a ping."""

_SERVICES = ("", PROCESSING, ADMIN)


def run(config: BalancerConfig) -> int:
    """Runs a balancer until SIGTERM or SIGINT. Returns the exit status; raises RingmillError if it cannot start, or
    must not go on."""
    return Balancer(config.validate()).run()


class Balancer:
    """One balancer process."""

    def __init__(self, config: BalancerConfig) -> None:
        self._config = config
        self._loop: Loop = make_loop(config.transport)
        self._health = Health()
        self._stopping = False
        self._published: list[Callable[[View], None]] = []
        """Who else hears of views."""
        store: StateStore = FileStore(config.state_dir) if config.state_dir is not None else MemoryStore()
        stored = store.load()
        fresh = replace(config.rules, cluster=config.cluster or secrets.token_hex(8))
        self._manager = Manager(config.rules if stored else fresh, stored)
        self._view = self._manager.view
        self._edges = _Edges(self, store)
        limits = config.limits.streams
        splitter = Splitter(config.partitions, EVENTS_MAX, limits.request_bytes_max)
        self._telemetry = Telemetry.start(
            "ringmill-balancer", TelemetryConfig.from_environment(prometheus_port=config.prometheus_port)
        )
        self._router = Router(splitter, self._view, config.limits, self._telemetry, generation=self._manager.generation)
        self._telemetry.watch(self._router.snapshot)
        self.hub = Hub(
            self._manager,
            self._router,
            time.perf_counter_ns,
            self._edges,
            heartbeat_ms=config.heartbeat_ms,
            response_bytes_max=limits.bytes_in_flight_max,
            on_view=self._viewed,
        )
        self._public = self._loop.server(
            public_routes(self.hub) | admin_routes(self.hub, self._loop) | self._health.routes() | self._reflection(),
            # A message that is a little too large is refused by the router, in words; the transport guards the memory.
            Limits(message_bytes_max=2 * limits.request_bytes_max),
        )
        self._link = self._loop.server(
            link_routes(self.hub),
            # Heartbeats find a silent worker first; and it answers pings only between batches, so be patient.
            Limits(message_bytes_max=FRAME_BYTES_MAX, keepalive_interval_s=5.0, keepalive_timeout_s=10.0),
        )

    @property
    def loop(self) -> Loop:
        """What drives all of it."""
        return self._loop

    def run(self) -> int:
        """Serves until told to stop."""
        config = self._config
        link = _bound(config.link, self._link.listen(config.link))
        address = _bound(config.listen, self._public.listen(config.listen))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._loop.call_soon(self._drain))
        self._link.start()
        self._public.start()
        xds = {} if config.xds_listen is None else {"xds": self._serve_proxies(config.xds_listen, address)}
        tell({"event": "ready", "address": address, "link": link, **xds})
        self.hub.start()
        self._tick()
        if config.status_interval_s:
            self._loop.call_later(config.status_interval_s, self._report)
        gc.freeze()  # else a full collection walks all that was imported, and everybody waits 70 ms for it
        self._loop.run()
        self._telemetry.stop()
        self._edges.stop()
        if self._edges.error is not None:
            raise self._edges.error
        return 0

    def _serve_proxies(self, listen: str, address: str) -> str:
        """Opens the control plane; returns its address."""
        config = self._config
        try:  # half a second and 60 MB, which only those pay who want it
            from ringmill.balancer.adapters.xds import Desk
            from ringmill.balancer.xds.settings import XdsSettings
        except ModuleNotFoundError as error:
            raise RingmillError(
                Code.FAILED_PRECONDITION, f"xds_listen needs {error.name}: pip install 'ringmill[envoy]'"
            ) from None
        routers = (config.advertise or address,)
        settings = XdsSettings(config.edge, routers, direct=config.direct, edge_tls=config.edge_tls)
        desk = Desk(settings, config.partitions)
        self._telemetry.watch_proxies(desk.counts.figures)
        self._published.append(desk.publish)
        server = self._loop.server(desk.routes(), PROXY_LIMITS)
        bound = _bound(listen, server.listen(listen))
        desk.publish(self._view)
        server.start()
        return bound

    def _reflection(self) -> dict[str, Accept]:
        return reflection_routes([PROCESSING, ADMIN]) if self._config.reflection else {}

    def _viewed(self) -> None:
        """Tells what is new; and probes, whether anybody is there to answer: a proxy else sends callers elsewhere."""
        before, self._view = self._view, self._manager.view
        for news in news_of(before, self._view, self._config.rules):
            tell(news)
        for publish in self._published:
            publish(self._view)
        if self._stopping:
            return
        alive = any(member.alive for member in self._view.members)
        for service in _SERVICES:
            self._health.set_serving(service, alive)

    def _tick(self) -> None:
        self.hub.tick()
        self._loop.call_later(self._config.rules.tick_ms / 1000, self._tick)

    def _report(self) -> None:
        tell({"event": "status", **self._figures()})
        self._loop.call_later(self._config.status_interval_s, self._report)

    def _figures(self) -> dict[str, int]:
        streams, queued, unanswered = self._router.queued()
        counts = self._router.snapshot().values()
        workers = self._manager.workers()
        figures = self._manager.figures()
        return {
            "events": sum(each.events for each in counts),
            "batches": sum(each.batches for each in counts),
            "in_flight": sum(each.in_flight for each in counts),
            "streams": streams,
            "parts_queued": queued,
            "parts_unanswered": unanswered,
            "keys": sum(worker.keys for worker in workers),
            "state_bytes": sum(worker.state_bytes for worker in workers),
            "workers": sum(worker.state == "serving" for worker in workers),
            "members": len(workers),
            "view": self._view.version,
            "copies_wanted": self._manager.copies_wanted,
            "partitions_short": figures.short,
            "partitions_refused": figures.refused,
            "short": figures.short,
            "moving": figures.moving,
        }

    def _drain(self) -> None:
        """Ends each stream once what it sent is answered, then stops; a second signal stops at once."""
        if self._stopping:
            self._loop.stop()
            return
        self._stopping = True
        for service in _SERVICES:
            self._health.set_serving(service, False)
        self._public.stop(self._config.grace_s)
        self._router.end_all(Code.UNAVAILABLE, "the balancer is shutting down", time.perf_counter_ns())
        self.hub.perform()
        self._loop.call_later(self._config.grace_s, self._loop.stop)
        self._leave_when_idle()

    def _leave_when_idle(self) -> None:
        if self._router.idle:
            self._loop.call_later(0.05, self._loop.stop)  # the last statuses are still being written
        else:
            self._loop.call_later(0.02, self._leave_when_idle)


class _Edges:
    """Disk, probes, the supervisor, and the end."""

    def __init__(self, balancer: Balancer, store: StateStore) -> None:
        loop = balancer.loop
        self.error: RingmillError | None = None
        self._stop = loop.stop
        self._store = StoreThread(store, loop.call_soon, lambda *answer: balancer.hub.stored(*answer))
        self._prober = Prober(loop.call_soon, lambda *answer: balancer.hub.probed(*answer))

    def probe(self, order: Probe) -> None:
        """Finds out whether anybody listens at an address."""
        self._prober.probe(order)

    def store(self, order: Store) -> None:
        """Makes a state durable."""
        self._store.put(order)

    def want(self, order: Want) -> None:
        """Tells which workers should run."""
        tell({"event": "want", "workers": list(order.workers)})

    def fatal(self, order: Fatal) -> None:
        """Ends the process."""
        logger.error("%s", order.error.message)
        self.error = order.error
        self._stop()

    def stop(self) -> None:
        """Waits for what is being written."""
        self._store.stop()


def tell(news: dict[str, Any]) -> None:
    """Says something to who started this process: a line of JSON."""
    print(json.dumps(news), flush=True)


def _bound(asked: str, port: int) -> str:
    return f"{asked.rpartition(':')[0]}:{port}"
