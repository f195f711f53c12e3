"""Starts a worker: loads and compiles the pipelines, then joins a balancer, listens, or both."""

import gc
import hashlib
import json
import logging
import os
import platform
import secrets
import signal
import time
from collections.abc import Sequence
from functools import partial

import llvmlite
import llvmlite.binding as llvm
import numba

from ringmill.core.agreement import Served
from ringmill.core.errors import RingmillError
from ringmill.core.jit import seal
from ringmill.engine.engine import Engine
from ringmill.engine.ledger import Ledger
from ringmill.pipeline import Pipeline, load_pipelines
from ringmill.server.adapters.host import Host
from ringmill.server.adapters.peers import PEER_LIMITS, replica_routes
from ringmill.server.adapters.service import SERVICE, ProcessingService
from ringmill.server.config import WorkerConfig
from ringmill.server.lane import Lane, events_max
from ringmill.server.node.identity import Identity, Rules
from ringmill.server.node.node import Node
from ringmill.telemetry import Counts, Telemetry, TelemetryConfig
from ringmill.transport import make_loop
from ringmill.transport.api import Limits, Loop, Server
from ringmill.transport.health import Health
from ringmill.transport.reflection import reflection_routes

ANSWER_S = 30.0
"""How long what is in flight may take to be answered, where nothing else is said."""

logger = logging.getLogger("ringmill.worker")


def run(config: WorkerConfig) -> int:
    """Runs a worker until SIGTERM or SIGINT. Returns the exit status; raises RingmillError if it cannot start."""
    config.validate()
    pin(config.cpu)
    began_s = time.perf_counter()
    pipelines = load_pipelines(config.app)
    telemetry = Telemetry.start(
        "ringmill-worker", TelemetryConfig.from_environment(config.prometheus_port, instance=config.name)
    )
    lanes = [make_lane(index, pipeline, config, telemetry) for index, pipeline in enumerate(pipelines.values())]
    telemetry.watch(partial(figures, lanes))
    ledger = Ledger(config.partitions, config.producers_max) if config.join is not None else None
    worker = Worker(config, lanes, ledger, time.perf_counter() - began_s, telemetry)
    try:
        return worker.run()
    finally:
        telemetry.stop()


def pin(cpu: int | None) -> None:
    """Keeps this process on one core, where the system allows it."""
    if cpu is None:
        return
    try:
        os.sched_setaffinity(0, {cpu})
    except (OSError, AttributeError) as error:
        logger.warning("cannot pin the worker to core %d: %s", cpu, error)


def make_lane(index: int, pipeline: Pipeline, config: WorkerConfig, telemetry: Telemetry) -> Lane:
    """Compiles one pipeline and makes its state."""
    compiled = pipeline.compile(config.partitions)
    limit = events_max(compiled.outcome_bytes_max, config.events_max)
    served = Served(pipeline.name, index, pipeline.describe(), limit)
    engine = Engine(compiled, events_max=limit, keys_max=config.keys_max)
    logger.info("%s %s: %s in %.1f s", pipeline.name, pipeline.version, how(compiled.cold), compiled.compile_s)
    return Lane(served, engine, time.perf_counter_ns, telemetry)


def toolchain() -> str:
    """What machine code is made with and for: copies whose results must agree to the last bit must agree in this."""
    features = hashlib.sha256(llvm.get_host_cpu_features().flatten().encode()).hexdigest()[:16]
    libc = " ".join(platform.libc_ver())
    return f"numba {numba.__version__}, llvmlite {llvmlite.__version__}, {libc}, {llvm.get_host_cpu_name()} {features}"


def figures(lanes: Sequence[Lane]) -> dict[str, Counts]:
    """What telemetry reads when it collects: the counts by pipeline."""
    for lane in lanes:
        lane.counts.keys = lane.engine.table.count
        lane.counts.state_bytes = lane.engine.table.state_bytes
    return {lane.served.name: lane.counts for lane in lanes}


def how(cold: bool) -> str:
    """How machine code came to be, in words."""
    return "compiled" if cold else "loaded from the cache"


class Worker:
    """One worker process: lanes on a loop, with a link, a port, or both."""

    def __init__(
        self,
        config: WorkerConfig,
        lanes: Sequence[Lane],
        ledger: Ledger | None,
        start_s: float,
        telemetry: Telemetry,
    ) -> None:
        """ledger: of a worker that joins a balancer."""
        self._config = config
        self._lanes = lanes
        self._ledger = ledger
        self._start_s = start_s
        self._prometheus_port = telemetry.prometheus_port
        self._loop: Loop = make_loop(config.transport)
        self._health = Health()
        self._server: Server | None = None
        self._address = ""
        self._host: Host | None = None
        self._ready = False
        self._draining = False
        self._failure: RingmillError | None = None

    def run(self) -> int:
        """Serves until told to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._loop.call_soon(self._drain))
        if self._config.listen is not None:
            self._listen(self._config.listen)
        if self._config.join is not None and self._ledger is not None:
            self._join(self._config.join, self._ledger)
        else:
            self._loop.call_soon(self._announce)
        seal()
        gc.freeze()  # else a full collection walks all that was imported, and everybody waits 70 ms for it
        self._loop.run()
        if self._failure is not None:
            raise self._failure
        return 0

    def _listen(self, address: str) -> None:
        limits = self._config.limits
        service = ProcessingService(self._lanes, limits, time.perf_counter_ns, joined=self._ledger is not None)
        routes = service.routes() | self._health.routes()
        if self._config.reflection:
            routes |= reflection_routes([SERVICE])
        self._server = self._loop.server(routes, Limits(message_bytes_max=limits.request_bytes_max))
        port = self._server.listen(address)
        self._address = f"{address.rpartition(':')[0]}:{port}"
        self._server.start()

    def _join(self, target: str, ledger: Ledger) -> None:
        """Binds the peer port, and registers with it."""
        config = self._config
        peers = self._loop.server(replica_routes(lambda stream: host.accept(stream)), PEER_LIMITS)
        port = peers.listen(config.peer_listen)
        identity = Identity(
            name=config.name,
            incarnation=secrets.randbits(63) | 1,
            weight=config.weight,
            address=self._address,
            peer_address=config.peer_advertise or f"{config.peer_listen.rpartition(':')[0]}:{port}",
            host=config.host_label or platform.node(),
            zone=config.zone,
            platform=toolchain(),
        )
        rules = Rules(request_bytes_max=config.limits.request_bytes_max)
        node = Node(identity, self._lanes, ledger, rules)
        self._host = host = Host(
            self._loop,
            self._loop.channel(target, limits=PEER_LIMITS),
            node,
            time.perf_counter_ns,
            reconnect_s=config.reconnect_s,
            on_view=lambda _view: self._announce(),
            on_let_go=self._loop.stop,
            on_fatal=self._fail,
        )
        peers.start()
        self._loop.call_soon(host.start)

    def _announce(self) -> None:
        if self._ready or self._draining:  # views go on while the worker drains: it must not be ready again
            return
        self._ready = True
        for name in ("", SERVICE):
            self._health.set_serving(name, True)
        print(json.dumps(self._readiness()), flush=True)

    def _readiness(self) -> dict[str, object]:
        return {
            "event": "ready",
            "name": self._config.name,
            "address": self._address,
            "start_s": round(self._start_s, 3),
            "prometheus_port": self._prometheus_port,
            "pipelines": [
                {
                    "name": lane.served.name,
                    "version": lane.served.description.version,
                    "digest": lane.served.description.digest,
                    "cold": lane.engine.compiled.cold,
                    "compile_s": round(lane.engine.compiled.compile_s, 3),
                }
                for lane in self._lanes
            ],
        }

    def _fail(self, error: RingmillError) -> None:
        self._failure = error
        self._loop.stop()

    def _drain(self) -> None:
        """Serves on until others have what it holds, or all is answered; a second signal stops at once."""
        if not self._ready or self._draining:
            self._loop.stop()
            return
        self._draining = True
        for name in ("", SERVICE):
            self._health.set_serving(name, False)
        drain_s = self._config.drain_s
        if drain_s is not None or self._host is None:
            self._loop.call_later(ANSWER_S if drain_s is None else drain_s, self._loop.stop)
        if self._server is not None:
            self._server.stop(ANSWER_S if drain_s is None else drain_s)
        if self._host is not None:
            self._host.leave()
        elif self._server is not None:
            self._loop.call_later(0.2 if drain_s is None else min(0.2, drain_s), self._loop.stop)
