"""Clients: the production session and connection, with batches that are planned and outcomes that are judged."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

import ringmill.client.connection as connection_module
from ringmill.client.connection import Connection
from ringmill.client.errors import ClientError
from ringmill.client.session import BatchLimits, Session, check_sequence, parse_response
from ringmill.client.settings import Settings
from ringmill.core.errors import Code
from ringmill.transport.api import Metadata, StreamHandler
from ringmill.v1 import processing_pb2 as pb
from tests.sim.network import End, VirtualChannel, VirtualLoop
from tests.sim.oracle import Oracle
from tests.sim.plan import Sender
from tests.sim.scheduler import MILLISECOND_NS, SECOND_NS, Process, Scheduler, Violation

if TYPE_CHECKING:
    from tests.sim.world import World

PUBLIC = "balancer:7400"
WATCH_MS = 20
AGAIN_MS = 20
RETRYABLE = frozenset({Code.UNAVAILABLE})
"""How a session may end, whatever faults there are."""
LOSING = frozenset({Code.FAILED_PRECONDITION, Code.ABORTED})
"""How it may end, too, where a partition lost its copies; or had none for a while, and a balancer died, which was the
only one to know that it cannot have forgotten the session; or where it was away for longer than sessions are kept."""


class Batches:
    """What one client sends, in order: keys and names of each batch. It outlives the client's process."""

    def __init__(
        self,
        number: int,
        sender: Sender,
        keys: list[str],
        oracle: Oracle,
        acknowledged: Callable[[str, int], None],
        random: Random,
    ) -> None:
        self.acknowledged = acknowledged
        self.sender = sender
        self.number = number
        self.oracle = oracle
        self.keys = [random.choices(keys, k=random.randint(1, sender.events_max)) for _ in range(sender.batches)]
        self.names: list[list[int]] = []
        """Of the events that have been sent."""
        self.done: set[int] = set()
        """Batches whose fate was told, or that nobody will be told of."""
        self.due = 0
        """Batches that may be sent by now."""
        self.streams = 0
        """Streams that were opened to send them."""

    def encoded(self, place: int) -> bytes:
        """A batch's events as a client writes them."""
        if place == len(self.names):
            stream = 0 if self.sender.producer else self.streams
            self.names.append([self.oracle.name(self.number, key, stream) for key in self.keys[place]])
        else:
            for name in self.names[place]:
                self.oracle.sent_again(name)
        events = [
            pb.Event(key=key, integers=[name]) for key, name in zip(self.keys[place], self.names[place], strict=True)
        ]
        return pb.ProcessRequest(events=events).SerializeToString()


class PlannedFeed:
    """The feed of one life of a client."""

    traceparent = ""

    def __init__(self, batches: Batches, first: int) -> None:
        self.answered = 0
        self.error: ClientError | None = None
        self._batches = batches
        self._next = first
        self._on_way: list[int] = []
        self._provisional: dict[int, list[int]] = {}

    @property
    def hungry(self) -> bool:
        """Whether a batch is due."""
        return self._next < min(self._batches.due, self._batches.sender.batches)

    @property
    def next(self) -> int:
        """The batch that is sent next."""
        return self._next

    def take(self, limits: BatchLimits) -> tuple[bytes, int]:
        if not self.hungry:
            return b"", 0
        place = self._next
        self._next += 1
        self._on_way.append(place)
        return self._batches.encoded(place), len(self._batches.keys[place])

    def deliver(self, message: bytes, count: int, sequence: int) -> pb.ProcessResponse:
        response = parse_response(message)
        check_sequence(response, sequence)
        place = self._on_way.pop(0)
        names = self._batches.names[place]
        if not len(response.outcomes) == len(names) == count:
            raise Violation(f"{len(response.outcomes)} outcomes for {len(names)} events")
        rejected = sum(outcome.HasField("rejection") for outcome in response.outcomes)
        if response.rejected != rejected:
            raise Violation(f"{rejected} outcomes are rejections, and the answer says {response.rejected}")
        if response.receipt.ack == pb.ACK_LEVEL_PRIMARY:
            self._hold(sequence, names, response)
        else:
            self._settle(names, response)
        self.answered += count
        self._batches.done.add(place)
        return response

    def _hold(self, sequence: int, names: list[int], response: pb.ProcessResponse) -> None:
        held = self._provisional[sequence] = []
        for name, outcome in zip(names, response.outcomes, strict=True):
            if not outcome.HasField("rejection"):
                self._batches.oracle.provisional(name)
                held.append(name)

    def _settle(self, names: list[int], response: pb.ProcessResponse) -> None:
        oracle = self._batches.oracle
        for name, outcome in zip(names, response.outcomes, strict=True):
            if outcome.HasField("rejection"):
                oracle.refused(name, outcome.rejection.reason, first=self._batches.streams == 1)
            else:
                count, digest = outcome.integers
                oracle.applied(name, count, digest)
                self._batches.acknowledged(oracle.events[name].key, count)

    def committed(self, through: int, revoked: int) -> None:
        """All batches up to a sequence are held by all copies."""
        for sequence in [each for each in self._provisional if each <= through]:
            for name in self._provisional.pop(sequence):
                if not revoked:
                    self._batches.oracle.committed(name)

    def fail(self, error: ClientError) -> None:
        self.error = error
        self._batches.done.update(self._on_way)  # nobody will ever know
        self._on_way.clear()


class ClientProcess(Process):
    """A program that sends its batches and ends."""

    def __init__(self, world: "World", number: int, sender: Sender, keys: list[str]) -> None:
        super().__init__(world.scheduler, f"client-{number}")
        self.sender = sender
        self.batches = Batches(number, sender, keys, world.oracle, world.acknowledged, world.random)
        self.replays = bool(sender.producer) and sender.replays and not world.forgetful
        self.errors: list[str] = []
        """Why its sessions ended."""
        self._world = world
        self._connection: Connection | None = None
        self._feed: PlannedFeed

    @property
    def finished(self) -> bool:
        """Whether it was told the fate of all that it sent."""
        session = None if self._connection is None else self._connection.session
        return (
            len(self.batches.done) == self.sender.batches
            and self.batches.due >= self.sender.batches
            and (session is None or session.idle or session.error is not None)
        )

    def told(self) -> str:
        """How far it is, for people."""
        session = None if self._connection is None else self._connection.session
        state = (
            ""
            if session is None
            else (
                f"in flight {session.in_flight}, through {session.committed_through}, "
                f"sequence {session.sequence}, opened {session.opened}, error {session.error}"
            )
        )
        return (
            f"{self.name} ({self.sender.producer or 'anonymous'}, {self.sender.ack or 'default'}): "
            f"{len(self.batches.done)} of {self.sender.batches} batches, {self.batches.due} due; {state}"
        )

    def start(self) -> None:
        super().start()
        sender = self.sender
        if self.life == 1:
            self._think()
        first = 0 if self.replays else max(self.batches.done, default=-1) + 1
        if not self.replays:
            first = max(first, len(self.batches.names))
            self.batches.done.update(range(first))  # what the last life did not hear it never will
        self._feed = PlannedFeed(self.batches, first)
        loop = VirtualLoop(self._world.network, self)
        settings = Settings(
            pipeline="checker",
            producer=sender.producer,
            ack=sender.ack,
            in_flight_max=sender.in_flight,
            deadline_ms=sender.timeout_ms,
            replay=self.replays,
        )
        channel = _Counted(loop, self.batches)
        self._connection = Connection(loop, channel, Session(settings), PUBLIC, (), 0.8)
        self._watch()

    def _think(self) -> None:
        """One more batch falls due."""
        if self.batches.due < self.sender.batches:
            self.batches.due += 1
            delay_ns = int(self._world.random.expovariate(1.0) * self.sender.think_ms * MILLISECOND_NS)
            self.scheduler.at(delay_ns, None, self._think)

    def _watch(self) -> None:
        connection = self._connection
        assert connection is not None
        session = connection.session
        self._feed.committed(session.committed_through, session.revoked)
        if session.error is not None:
            self.errors.append(f"{self._world.now_ms:8.1f} ms  {session.error.code.name}: {session.error.message}")
            fenced = session.error.code == Code.ABORTED and self.life > 1  # an opening of its last life came late
            world = self._world
            losing = world.plan.reckless or world.forgetful or (world.invariants.was_short and world.balancer.life > 1)
            allowed = RETRYABLE | LOSING if losing else RETRYABLE
            if session.error.code not in allowed and not fenced:
                raise Violation(f"{self.name} was told {session.error.code.name}: {session.error.message}")
            self.scheduler.at(AGAIN_MS * MILLISECOND_NS, self, self._again)
            return
        session.flushes = int(self._feed.next >= self.sender.batches)
        if self._feed.hungry:
            connection.offer(self._feed)
        elif session.flushes and not session.idle:
            connection.send()
        if not self.finished:
            self.scheduler.at(WATCH_MS * MILLISECOND_NS, self, self._watch)

    def _again(self) -> None:
        """Its session is over: the program begins anew, as a supervisor would have it."""
        if not self.finished:
            self._world.kill(self)
            self._world.revive(self)


class _Counted(VirtualChannel):
    """Counts the streams that a client opens."""

    def __init__(self, loop: VirtualLoop, batches: Batches) -> None:
        super().__init__(loop, PUBLIC)
        self._batches = batches

    def open(self, method: str, handler: StreamHandler, metadata: Metadata = (), timeout_s: float | None = None) -> End:
        self._batches.streams += 1
        return super().open(method, handler, metadata, timeout_s)


class _Clock:
    """Stands for the modules `time` and `random` in the production connection."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def monotonic(self) -> float:
        return self._scheduler.now_ns / SECOND_NS

    def random(self) -> float:
        return self._scheduler.random.random()


def use_clock(scheduler: Scheduler) -> Callable[[], None]:
    """Connections take time and chance from this world from now on; undone by calling what is returned."""
    module: Any = connection_module
    before = (module.time, module.random)
    module.time = module.random = _Clock(scheduler)

    def undo() -> None:
        module.time, module.random = before

    return undo
