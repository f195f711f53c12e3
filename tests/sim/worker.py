"""A worker's process: the production node on virtual streams, as its adapters would drive it."""

from typing import TYPE_CHECKING

import numpy as np

from ringmill.core.agreement import Served
from ringmill.core.errors import Code
from ringmill.core.view import View
from ringmill.internal.v1.link_pb2 import JoinRequest
from ringmill.server.lane import Lane
from ringmill.server.node import effects
from ringmill.server.node.identity import Identity, Rules
from ringmill.server.node.node import Node
from ringmill.telemetry import Telemetry
from ringmill.transport.api import Status, Stream
from tests.sim.checker import pipeline
from tests.sim.network import VirtualLoop
from tests.sim.oracle import Row
from tests.sim.pool import EVENTS_MAX, REQUEST_BYTES_MAX
from tests.sim.scheduler import MILLISECOND_NS, Process, Violation

if TYPE_CHECKING:
    from tests.sim.pool import Kit
    from tests.sim.world import World

LINK = "balancer:7401"
JOIN = "/ringmill.internal.v1.LinkService/Join"
REPLICATE = "/ringmill.internal.v1.ReplicaService/Replicate"
TICK_MS = 30
REDIAL_MS = 10
_FATAL = frozenset({Code.FAILED_PRECONDITION, Code.INVALID_ARGUMENT, Code.ALREADY_EXISTS, Code.PERMISSION_DENIED})

DESCRIPTION = pipeline.describe()


class WorkerProcess(Process):
    """One name, and the process that has it now."""

    prompt = True

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world.scheduler, name)
        self.incarnation = 0
        self.ended = False
        """Whether it has ended by itself."""
        self.started_ns = 0
        self.blamed_ns = 0
        """When it last had something to say against one of its copies."""
        self.seen: View | None = None
        self.view: View | None = None
        """The newest view that it obeys."""
        self._world = world
        self._kit: Kit | None = None
        self._peers: dict[str, _Peer] = {}
        self._guests: dict[int, Stream] = {}
        self._guest_chunks: dict[int, list[bytes]] = {}
        self._last_guest = 0
        self._link: _Link | None = None
        self.node: Node

    @property
    def address(self) -> str:
        """Where primaries reach it."""
        return f"{self.name}:7500"

    # Life

    def start(self) -> None:
        super().start()
        world = self._world
        self.begin(world.random.getrandbits(62) << 1 | 1)
        self.ended = False
        self.started_ns = world.scheduler.now_ns
        self.seen = self.view = None
        self._kit = world.pool.take()
        served = Served("checker", 0, DESCRIPTION, EVENTS_MAX)
        lane = Lane(served, self._kit.engine, self.clock, Telemetry.off())
        identity = Identity(self.name, self.incarnation, peer_address=self.address, platform="virtual")
        rules = Rules(
            silent_ns=world.plan.silent_ms * MILLISECOND_NS,
            heartbeat_ns=80 * MILLISECOND_NS,
            report_ns=60 * MILLISECOND_NS,
            audit_ns=100 * MILLISECOND_NS,
            seeding_partitions=world.plan.seeding,
            request_bytes_max=REQUEST_BYTES_MAX,
        )
        self.node = Node(identity, [lane], self._kit.ledger, rules)
        self._peers, self._guests, self._guest_chunks = {}, {}, {}
        loop = VirtualLoop(world.network, self)
        loop.server({REPLICATE: self._accept}).listen(self.address)
        self._loop = loop
        self._dial()
        self._tick()

    def begin(self, incarnation: int) -> None:
        """A process has an identity of its own."""
        self.incarnation = incarnation

    def crash(self) -> None:
        super().crash()
        self.view = self.seen = None
        self._link = None
        self.give_back()

    def leave(self) -> None:
        """It is asked to end in peace, as by SIGTERM."""
        self.node.leave(self.clock())
        self.perform()

    def give_back(self) -> None:
        """Its engine and ledger may serve another."""
        if self._kit is not None:
            self._world.pool.give_back(self._kit)
            self._kit = None

    def _tick(self) -> None:
        self.node.tick(self.clock())
        if self.node._reports._silent or self.node._reports._diverged:
            self.blamed_ns = self.scheduler.now_ns
        self.perform()
        self._loop.call_later(TICK_MS / 1000, self._tick)

    # Link

    def _dial(self) -> None:
        link = _Link(self)
        link.stream = self._loop.channel(LINK).open(JOIN, link)
        self._link = link
        self.node.link_up(self.clock())
        self.perform()

    def link_over(self, link: "_Link", status: Status) -> None:
        if link is not self._link:
            return
        self._link = None
        self.node.link_down(self.clock())
        self.perform()
        if status.code == Code.OK or status.code in _FATAL:
            self.ended = True
            if status.code != Code.OK:
                self._world.refusals.append(f"{self.name}: {status.code.name} {status.details}")
            self._world.scheduler.at(0, self, self._world.ended, (self,))
        else:
            self._loop.call_later(REDIAL_MS / 1000, self._dial)

    # Peers

    def _accept(self, stream: Stream) -> "_Guest":
        self._last_guest += 1
        guest = _Guest(self, self._last_guest, stream)
        self._guests[guest.number] = stream
        self._guest_chunks[guest.number] = []
        self.node.guest_up(guest.number, self.clock())
        self.perform()
        return guest

    def guest_over(self, number: int) -> None:
        if self._guests.pop(number, None) is not None:
            del self._guest_chunks[number]
            self.node.guest_down(number, self.clock())
            self.perform()

    # Effects

    def perform(self) -> None:
        """Does what the node wants done."""
        node = self.node
        if not node.effects:
            return
        while node.effects:
            wanted = list(node.effects)
            node.effects.clear()
            for effect in wanted:
                self._do(effect)
        if self._link is not None:
            self._link.flush()
        for peer in self._peers.values():
            peer.flush()
        for number in self._guests:
            self.flush_guest(number)

    def _do(self, effect: effects.Effect) -> None:
        match effect:
            case effects.ToLink(chunk):
                if self._link is not None:
                    self._link.chunks.append(bytes(chunk))
            case effects.ToPeer(name, chunk):
                peer = self._peers.get(name)
                if peer is not None and peer.stream is not None:
                    peer.chunks.append(bytes(chunk))
            case effects.ToGuest(guest, chunk):
                if guest in self._guest_chunks:
                    self._guest_chunks[guest].append(bytes(chunk))
            case effects.Dial(name, address):
                if name in self._peers:
                    raise Violation(f"{self.name} dials {name} twice")
                self._peers[name] = peer = _Peer(self, name, address)
                peer.dial()
            case effects.Hangup(name):
                peer = self._peers.pop(name, None)
                if peer is not None:
                    peer.hang_up()
            case effects.Dismiss(guest, code, why):
                stream = self._guests.pop(guest, None)
                if stream is not None:
                    del self._guest_chunks[guest]
                    stream.finish(Status(code, why))
            case effects.Obeyed(view):
                self.view = view
            case effects.Fatal(error):
                raise Violation(f"{self.name} ends itself: {error.message}")

    def flush_guest(self, number: int) -> None:
        stream, chunks = self._guests.get(number), self._guest_chunks.get(number)
        if stream is not None and chunks and not stream.writing:
            message = b"".join(chunks)
            chunks.clear()
            stream.send(message)

    # What invariants look at

    def serves(self) -> list[tuple[int, int]]:
        """(partition, epoch) of each partition that it is primary of."""
        assert self._kit is not None
        ledger = self._kit.ledger
        return [(int(p), int(ledger.epochs[p])) for p in np.flatnonzero(ledger.sources == 0)]

    def count(self, key: str) -> int:
        """Events that a key has had, here."""
        assert self._kit is not None
        row = self._kit.engine.table.get(key.encode())
        return 0 if row is None else int(row["place"]["count"])

    def rows(self, partition: int) -> dict[str, Row]:
        """The state of a partition."""
        assert self._kit is not None
        table = self._kit.engine.table
        keys = table.keys(partition)
        first = partition * table.arrays.rows_max
        rows = table.rows[first : first + len(keys)]["place"]
        return {
            key.decode(): Row(int(row["count"]), int(row["digest"]), row["names"][: int(row["count"])].tolist())
            for key, row in zip(keys, rows, strict=True)
        }

    def applied(self, partition: int) -> int:
        """Events of a partition that its ledger says were applied."""
        assert self._kit is not None
        return int(self._kit.ledger.rows([partition])[0].applied)

    def history(self, partition: int) -> tuple[int, int, dict[int, tuple[int, int, int]]]:
        """How many records a partition has had, their digest, and what is known of producers there."""
        assert self._kit is not None
        ledger = self._kit.ledger
        producers = {
            producer: tuple(ledger.arrays.entries[row * ledger.partitions + partition].tolist())
            for row, producer in enumerate(ledger.arrays.producers.tolist())
            if producer
        }
        known = {producer: entry for producer, entry in producers.items() if entry[0]}
        return int(ledger.index[partition]), int(ledger.digest[partition]), known

    @property
    def uncommitted(self) -> int:
        """Records that some copy has not acknowledged."""
        return len(self.node.pendings)


class _Link:
    """The stream to the balancer."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self.stream: Stream
        self.chunks: list[bytes] = []

    def flush(self) -> None:
        stream = getattr(self, "stream", None)
        if self.chunks and stream is not None and not stream.writing:
            message = b"".join(self.chunks)
            self.chunks.clear()
            stream.send(message)

    def on_message(self, message: bytes) -> None:
        worker = self._worker
        if worker._link is self:
            worker.node.link_frame(message, worker.clock())
            worker.perform()

    def on_drain(self) -> None:
        self.flush()

    def on_half_close(self) -> None: ...

    def on_close(self, status: Status) -> None:
        self._worker.link_over(self, status)


class _Peer:
    """The streams to one copy, one after the other."""

    def __init__(self, worker: WorkerProcess, name: str, address: str) -> None:
        self._worker = worker
        self.name = name
        self.address = address
        self.stream: Stream | None = None
        self.chunks: list[bytes] = []
        self._over = False

    def dial(self) -> None:
        if self._over:
            return
        self.chunks.clear()
        worker = self._worker
        self.stream = worker._loop.channel(self.address).open(REPLICATE, _Call(self))
        worker.node.peer_up(self.name, worker.clock())
        worker.perform()

    def hang_up(self) -> None:
        self._over = True
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.cancel()

    def flush(self) -> None:
        if self.chunks and self.stream is not None and not self.stream.writing:
            message = b"".join(self.chunks)
            self.chunks.clear()
            self.stream.send(message)

    def heard(self, message: bytes) -> None:
        worker = self._worker
        if not self._over:
            worker.node.peer_frame(self.name, message, worker.clock())
            worker.perform()

    def broke(self) -> None:
        if self._over:
            return
        self.stream = None
        worker = self._worker
        worker.node.peer_down(self.name, worker.clock())
        worker.perform()
        worker._loop.call_later(REDIAL_MS / 1000, self.dial)


class _Call:
    """One stream to a copy."""

    def __init__(self, peer: _Peer) -> None:
        self._peer = peer

    def on_message(self, message: bytes) -> None:
        self._peer.heard(message)

    def on_drain(self) -> None:
        self._peer.flush()

    def on_half_close(self) -> None: ...

    def on_close(self, status: Status) -> None:
        self._peer.broke()


class _Guest:
    """One stream of a primary."""

    def __init__(self, worker: WorkerProcess, number: int, stream: Stream) -> None:
        self._worker = worker
        self.number = number
        self._stream = stream

    def on_message(self, message: bytes) -> None:
        worker = self._worker
        if self.number in worker._guests:
            worker.node.guest_frame(self.number, message, worker.clock())
            worker.perform()

    def on_drain(self) -> None:
        self._worker.flush_guest(self.number)

    def on_half_close(self) -> None:
        self._stream.finish()

    def on_close(self, status: Status) -> None:
        self._worker.guest_over(self.number)


def registered(message: bytes) -> bool:
    """Whether a frame of a link is a registration."""
    return JoinRequest.FromString(message).HasField("registration")
