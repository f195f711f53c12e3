"""A control plane, workers that only tell who they are, and a real Envoy in front of them."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from ringmill.balancer.adapters.xds import Desk
from ringmill.balancer.xds.settings import EdgeTls, XdsSettings
from ringmill.cli.envoy.bootstrap import Variant
from ringmill.core.hashing import PARTITIONS, partition_of
from ringmill.core.maglev import maglev
from ringmill.core.view import Member, View
from ringmill.transport import make_loop
from ringmill.transport.api import Server, Status, Stream
from ringmill.transport.health import Health
from ringmill.transport.unary import unary
from ringmill.v1 import processing_pb2
from ringmill.v1.processing_pb2_grpc import ProcessingServiceStub

SERVICE = "/ringmill.v1.ProcessingService"
ROUTER = "router"
WAIT_S = 30.0


class Teller:
    """Answers every message of a stream with its name."""

    def __init__(self, answer: bytes, stream: Stream) -> None:
        self._answer = answer
        self._stream = stream

    def on_message(self, message: bytes) -> None:
        self._stream.send(self._answer)

    def on_half_close(self) -> None:
        self._stream.finish()

    def on_drain(self) -> None:
        pass

    def on_close(self, status: Status) -> None:
        pass


class Lab:
    """Everything but Envoy is one loop in a thread."""

    def __init__(self, direct: bool = True, edge_tls: EdgeTls = "none") -> None:
        self._loop = make_loop("cq")
        self._servers: dict[str, Server] = {}
        self.addresses: dict[str, str] = {}
        self._thread = threading.Thread(target=self._loop.run, daemon=True)
        self._version = 0
        self.envoy: subprocess.Popen[bytes] | None = None
        self._thread.start()
        self.start_worker(ROUTER)
        settings = XdsSettings("127.0.0.1:" + free_port(), (self.addresses[ROUTER],), direct, edge_tls)
        self.desk = self.do(lambda: Desk(settings, PARTITIONS))
        self.publish({})
        self.xds = self.do(lambda: self._serve("xds", self.desk.routes()))

    def do(self, work: Callable[[], Any]) -> Any:
        """Runs something on the loop's thread."""
        done = threading.Event()
        results: list[Any] = []

        def run() -> None:
            try:
                results.append(work())
            finally:
                done.set()

        self._loop.call_soon(run)
        assert done.wait(WAIT_S)
        return results[0]

    def start_worker(self, name: str) -> None:
        """Starts a process that takes streams, or what looks like one from outside."""
        answer = processing_pb2.ProcessResponse(stream=processing_pb2.StreamInfo(version=name)).SerializeToString()
        health = Health()
        health.set_serving("", True)
        routes = {
            f"{SERVICE}/Process": lambda stream: Teller(answer, stream),
            f"{SERVICE}/ProcessBatch": unary(lambda _: answer),
        }
        self.addresses[name] = self.do(lambda: self._serve(name, {**routes, **health.routes()}))

    def _serve(self, name: str, routes: Any) -> str:
        server = self._servers[name] = self._loop.server(routes)
        port = server.listen("127.0.0.1:0")
        server.start()
        return f"127.0.0.1:{port}"

    def publish(self, weights: Mapping[str, int]) -> None:
        """Makes these the workers of the cluster."""
        for name in weights:
            if name not in self.addresses:
                self.start_worker(name)
        self._version += 1
        members = tuple(Member(name, 1, weights[name], address=self.addresses[name]) for name in sorted(weights))
        view = View(self._version, "lab", members, np.array(maglev(weights), np.int32))
        self.do(lambda: self.desk.publish(view))

    def start_envoy(self, variant: Variant = "delta", *more: str) -> str:
        """Starts Envoy, with more flags; returns where it takes streams."""
        words = [sys.executable, "-m", "ringmill.cli.main", "envoy", "run", "--xds", self.xds, "--variant", variant]
        self.envoy = subprocess.Popen(
            [*words, "--drain-time", "0", "--start-time", "15", *more], stdout=subprocess.PIPE
        )
        assert self.envoy.stdout is not None
        address: str = json.loads(self.envoy.stdout.readline())["address"]
        return address

    def close(self) -> None:
        if self.envoy is not None:
            self.envoy.terminate()
            assert self.envoy.wait(WAIT_S) == 0
        self.do(lambda: [server.stop() for server in self._servers.values()])
        self._loop.call_soon(self._loop.stop)
        self._thread.join(WAIT_S)


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def until(holds: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


class Caller:
    """A client of what is in front: asks who answers for a key."""

    def __init__(self, target: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        # A connection of its own: channels with equal settings would share one.
        options = [("grpc.use_local_subchannel_pool", 1)]
        if credentials is None:
            self.channel = grpc.insecure_channel(target, options)
        else:
            self.channel = grpc.secure_channel(target, credentials, options)
        self.stub = ProcessingServiceStub(self.channel)

    def by_header(self, keys: Sequence[str]) -> dict[str, str]:
        """Who answers for each key when a header names it."""
        return {key: name for start in range(0, len(keys), 200) for key, name in self._some(keys[start : start + 200])}

    def _some(self, keys: Sequence[str]) -> list[tuple[str, str]]:
        calls = [
            self.stub.ProcessBatch.future(
                processing_pb2.ProcessBatchRequest(), metadata=(("ringmill-routing-key", key),), timeout=WAIT_S
            )
            for key in keys
        ]
        return [(key, call.result().stream.version) for key, call in zip(keys, calls, strict=True)]

    def by_field(self, keys: Sequence[str]) -> dict[str, str]:
        """Who answers for each key when the first message of a stream names it."""
        return {key: self.first(processing_pb2.ProcessOptions(routing_key=key)) for key in keys}

    def first(self, options: processing_pb2.ProcessOptions | None = None, metadata: Any = ()) -> str:
        """Who answers the first message of a stream."""
        request = processing_pb2.ProcessRequest(pipeline="p", options=options)
        request.events.add(key="some other key")
        answers = self.stub.Process(iter([request]), metadata=metadata, timeout=WAIT_S)
        name: str = next(answers).stream.version
        return name

    def close(self) -> None:
        self.channel.close()


def predicted(weights: Mapping[str, int], keys: Sequence[str]) -> dict[str, str]:
    """Whom our own table names."""
    table, names = maglev(weights), sorted(weights)
    return {key: names[table[partition_of(key.encode())]] for key in keys}
