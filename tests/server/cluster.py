"""Several nodes in one process, on a network that delivers when told: what tests of replication stand on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ringmill.core.agreement import Served
from ringmill.core.errors import Code
from ringmill.core.frame import part_identity, part_prefix, varint
from ringmill.core.hashing import partition_of
from ringmill.core.view import Member, View, view_to_proto
from ringmill.engine.compiled import CompiledPipeline
from ringmill.engine.engine import Engine
from ringmill.engine.ledger import Ledger
from ringmill.internal.v1.link_pb2 import (
    JoinRequest,
    JoinResponse,
    Open,
    Opened,
    PartResult,
    ReplicateRequest,
    ReplicateResponse,
    Report,
)
from ringmill.pipeline import Event, Pipeline, ops
from ringmill.server.lane import Lane
from ringmill.server.node.effects import Dial, Dismiss, Fatal, Hangup, Obeyed, ToGuest, ToLink, ToPeer
from ringmill.server.node.identity import Identity, Rules
from ringmill.server.node.node import Node
from ringmill.telemetry import Telemetry
from ringmill.v1 import processing_pb2 as pb

PARTITIONS = 13
MS = 1_000_000
NOBODY = -1


class Reading(Event):
    value: float


PIPELINE = Pipeline("node", version="1.0.0", event=Reading, steps={"sum": ops.sum("value"), "n": ops.count()})


def keys_of(partition: int, count: int = 1, partitions: int = PARTITIONS) -> list[str]:
    """Keys that fall into a partition."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        key = f"k{number}"
        number += 1
        if partition_of(key.encode(), partitions) == partition:
            found.append(key)
    return found


def make_lane(compiled: CompiledPipeline, clock: Callable[[], int], events_max: int = 64, keys_max: int = 64) -> Lane:
    engine = Engine(compiled, events_max=events_max, keys_max=keys_max)
    return Lane(Served(PIPELINE.name, 0, PIPELINE.describe(), events_max), engine, clock, Telemetry.off())


@dataclass
class Channel:
    """A stream between two nodes: what is on its way, in both directions."""

    source: str
    target: str
    guest: int
    there: list[bytes] = field(default_factory=list)
    back: list[bytes] = field(default_factory=list)
    frozen: bool = False
    """Nothing is delivered."""


class Cluster:
    """Nodes by name, and what they have said to a balancer that the test plays."""

    def __init__(self, names: Sequence[str], partitions: int = PARTITIONS, rules: Rules | None = None) -> None:
        self.partitions = partitions
        self.rules = rules or Rules(audit_ns=0)
        self.now_ns = 1_000 * MS
        self.compiled = PIPELINE.compile(partitions)
        self.nodes: dict[str, Node] = {}
        self.said: dict[str, list[JoinRequest]] = {}
        self.waiting: dict[str, bytearray] = {}
        self.channels: list[Channel] = []
        self.dialled: dict[str, set[str]] = {}
        self.fatal: dict[str, Fatal] = {}
        self.dismissed: list[Dismiss] = []
        self.views: dict[str, list[int]] = {}
        self.unreachable: set[str] = set()
        self.incarnations = 0
        self._guests = 0
        for name in names:
            self.start(name)

    def start(self, name: str) -> Node:
        """Starts a process of this name, in the place of one that was there."""
        self.crash(name)
        self.incarnations += 1
        identity = Identity(name=name, incarnation=self.incarnations, peer_address=f"{name}:1")
        lane = make_lane(self.compiled, lambda: self.now_ns)
        node = Node(identity, [lane], Ledger(self.partitions, producers_max=64), self.rules)
        self.nodes[name] = node
        self.said[name], self.dialled[name], self.views[name] = [], set(), []
        self.waiting[name] = bytearray()
        node.link_up(self.now_ns)
        self.run()
        return node

    def crash(self, name: str) -> None:
        """The process is gone; its peers hear that their streams are."""
        if self.nodes.pop(name, None) is not None:
            for channel in [each for each in self.channels if name in (each.source, each.target)]:
                self.cut(channel)

    def member(self, name: str, **fields: object) -> Member:
        identity = self.nodes[name].identity
        return Member(name, identity.incarnation, peer_address=identity.peer_address, **fields)  # type: ignore[arg-type]

    def view(
        self,
        version: int,
        primary: Sequence[str] | str,
        replicas: Mapping[int, Sequence[str]] | Sequence[str] = (),
        learners: Mapping[int, str] | None = None,
        heirs: Mapping[int, str] | None = None,
        epochs: Sequence[int] | int = 1,
        names: Iterable[str] | None = None,
    ) -> View:
        """A view over the nodes that live; primary and replicas: for all partitions, or for each."""
        members = tuple(self.member(name) for name in sorted(names or self.nodes))
        index = {member.name: place for place, member in enumerate(members)}
        count = self.partitions
        owners = [primary] * count if isinstance(primary, str) else primary
        copies = replicas if isinstance(replicas, Mapping) else dict.fromkeys(range(count), replicas)
        width = max((len(each) for each in copies.values()), default=0)
        seats = np.full((count, width), NOBODY, np.int32)
        for partition, holders in copies.items():
            seats[partition, : len(holders)] = [index[name] for name in holders]
        return View(
            version,
            "cluster",
            members,
            np.array([index[owner] for owner in owners], np.int32),
            epochs=np.full(count, epochs, np.uint64) if isinstance(epochs, int) else np.array(epochs, np.uint64),
            replicas=seats,
            learners=self._seats(index, learners),
            heirs=self._seats(index, heirs),
        )

    def _seats(self, index: Mapping[str, int], named: Mapping[int, str] | None) -> np.ndarray:
        seats = np.full(self.partitions, NOBODY, np.int32)
        for partition, name in (named or {}).items():
            seats[partition] = index[name]
        return seats

    def publish(self, view: View, *names: str) -> None:
        """Sends a view to these nodes, or to all."""
        for name in names or sorted(self.nodes):
            self.to(name, JoinResponse(view=view_to_proto(view)).SerializeToString())

    def to(self, name: str, frame: bytes) -> None:
        """Hands a node a frame of its link, and lets everything run."""
        self.nodes[name].link_frame(frame, self.now_ns)
        self.run()

    def tick(self, after_ms: int = 20) -> None:
        self.now_ns += after_ms * MS
        for node in self.nodes.values():
            node.tick(self.now_ns)
        self.run()

    def run(self) -> None:
        """Performs effects and delivers what may be delivered, until nothing is left."""
        busy = True
        while busy:
            busy = False
            for name in sorted(self.nodes):
                busy |= self.perform(name)
            for channel in list(self.channels):
                busy |= self.deliver(channel)

    def perform(self, name: str) -> bool:
        node = self.nodes[name]
        effects = list(node.effects)
        node.effects.clear()
        for effect in effects:
            match effect:
                case ToLink(chunk):
                    self.said[name].append(JoinRequest.FromString(bytes(chunk)))
                case ToPeer(peer, chunk):
                    for channel in self.channels:
                        if (channel.source, channel.target) == (name, peer):
                            channel.there.append(bytes(chunk))
                case ToGuest(guest, chunk):
                    for channel in self.channels:
                        if channel.guest == guest:
                            channel.back.append(bytes(chunk))
                case Dial(peer, _):
                    self.dialled[name].add(peer)
                    self.connect(name, peer)
                case Hangup(peer):
                    self.dialled[name].discard(peer)
                    for channel in [c for c in self.channels if (c.source, c.target) == (name, peer)]:
                        self.channels.remove(channel)
                        self.nodes[peer].guest_down(channel.guest, self.now_ns)
                case Dismiss(guest, _, _):
                    self.dismissed.append(effect)
                    for channel in [c for c in self.channels if c.guest == guest]:
                        self.channels.remove(channel)
                        self.nodes[channel.source].peer_down(channel.target, self.now_ns)
                case Obeyed(view):
                    self.views[name].append(view.version)
                case Fatal():
                    self.fatal[name] = effect
        return bool(effects)

    def deliver(self, channel: Channel) -> bool:
        if channel.frozen or channel not in self.channels:
            return False
        there, back = b"".join(channel.there), b"".join(channel.back)
        channel.there.clear()
        channel.back.clear()
        if there:
            ReplicateRequest.FromString(there)
            self.nodes[channel.target].guest_frame(channel.guest, there, self.now_ns)
        if back:
            ReplicateResponse.FromString(back)
            self.nodes[channel.source].peer_frame(channel.target, back, self.now_ns)
        return bool(there or back)

    def connect(self, source: str, target: str) -> None:
        """Opens a stream from one node to another."""
        if target not in self.nodes or target in self.unreachable:
            return
        self._guests += 1
        self.channels.append(Channel(source, target, self._guests))
        self.nodes[target].guest_up(self._guests, self.now_ns)
        self.nodes[source].peer_up(target, self.now_ns)

    def channel(self, source: str, target: str) -> Channel:
        return next(each for each in self.channels if (each.source, each.target) == (source, target))

    def cut(self, channel: Channel) -> None:
        """A stream breaks; what is on its way is lost."""
        self.channels.remove(channel)
        if channel.source in self.nodes:
            self.nodes[channel.source].peer_down(channel.target, self.now_ns)
        if channel.target in self.nodes:
            self.nodes[channel.target].guest_down(channel.guest, self.now_ns)

    def results(self, name: str) -> list[PartResult]:
        return [result for said in self.said[name] for result in said.results]

    def result(self, name: str, part: int) -> PartResult | None:
        """The last answer to a part."""
        return next((each for each in reversed(self.results(name)) if each.id == part), None)

    def committed(self, name: str) -> list[int]:
        return [part for said in self.said[name] for part in said.committed]

    def opened(self, name: str) -> list[Opened]:
        return [opened for said in self.said[name] for opened in said.opened]

    def reports(self, name: str) -> list[Report]:
        return [said.report for said in self.said[name] if said.HasField("report")]

    def state(self, name: str, key: str) -> tuple[float, int] | None:
        """(sum, count) of a key at a node."""
        row = self.nodes[name].lanes[0].engine.table.get(key.encode())
        return None if row is None else (float(row["sum"]["total"]) if row["sum"].dtype.names else 0.0, 0)

    def same(self, left: str, right: str, partitions: Iterable[int] | None = None) -> bool:
        """Whether two nodes hold the same history and state of partitions."""
        a, b = self.nodes[left], self.nodes[right]
        return all(
            a.ledger.index[p] == b.ledger.index[p]
            and a.ledger.digest[p] == b.ledger.digest[p]
            and a.lanes[0].engine.table.export(p) == b.lanes[0].engine.table.export(p)
            for p in (range(self.partitions) if partitions is None else partitions)
        )


@dataclass
class Producer:
    """A stream of parts, as a router numbers them."""

    producer: int = 7
    fence: int = 1 << 40
    sequence: int = 0
    last: dict[int, int] = field(default_factory=dict)
    partitions: int = PARTITIONS

    def part(
        self, number: int, keys: Sequence[str], *, flags: int = 0, sequence: int = 0, value: float = 1.0, gap: int = 0
    ) -> bytes:
        """Encodes the next part, or with `sequence` an earlier one once more. gap: skips so many sequences before."""
        again = bool(sequence)
        if not again:
            self.sequence += 1 + gap
            sequence = self.sequence
        touched = dict.fromkeys(partition_of(key.encode(), self.partitions) for key in keys)
        previous = b""
        for partition in touched:
            before = 0 if again else self.last.get(partition, 0)
            previous += varint(sequence - before if before else 0)
            if not again:
                self.last[partition] = sequence
        events = [pb.Event(key=key, time_us=1, values=[value]) for key in keys]
        request = pb.ProcessRequest(pipeline="node", events=events, sequence=sequence).SerializeToString()
        identity = part_identity(0, self.producer, self.fence)
        return part_prefix(number, identity, sequence, 0, previous, flags, len(request)) + request

    def open(self, number: int, session: int = 0) -> bytes:
        """Encodes an opening under the next fence."""
        self.fence += 1
        self.last.clear()
        opening = Open(id=number, producer=self.producer, session=session, fence=self.fence)
        return JoinResponse(opens=[opening]).SerializeToString()


def values(result: PartResult | None) -> list[list[float]]:
    """The outcomes of an answer that is no refusal."""
    assert result is not None
    assert (result.code, result.again) == (Code.OK, False), result
    return [list(outcome.values) for outcome in pb.ProcessResponse.FromString(result.response).outcomes]


def response(result: PartResult | None) -> pb.ProcessResponse:
    assert result is not None
    assert (result.code, result.again) == (Code.OK, False), result
    return pb.ProcessResponse.FromString(result.response)
