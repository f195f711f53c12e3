"""Whole clusters around the router, driven by a seeded scheduler: writes, answers and commits in any order, links that
break, workers that die and are followed by their copies, partitions that change hands, clients that stall, half-close,
vanish and come again. What must always hold is checked at the end of each run, and planted mistakes show that the
checks bite."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np
import pytest

from ringmill.balancer import routing
from ringmill.balancer.answers import UNAVAILABLE
from ringmill.balancer.batch import Batch, Part
from ringmill.balancer.limits import RouterLimits
from ringmill.balancer.outbox import Outbox
from ringmill.balancer.routing import Routing
from ringmill.balancer.sessions import Identity, Sessions
from ringmill.balancer.streams import Streams
from ringmill.core.agreement import StreamLimits
from ringmill.core.errors import Code, Reason
from ringmill.core.maglev import NOBODY
from ringmill.core.split import Splitter
from ringmill.v1.processing_pb2 import AckLevel, ProcessOptions, ProcessResponse

World = Any
Request = Callable[..., bytes]
WORKERS = 3
CALM, SAFE, ROUGH = range(3)
"""No faults; faults that nobody needs to notice; faults that lose partitions, and last longer than parts may wait."""
REQUEST_BYTES_MAX = 700
STREAMS = StreamLimits(requests_in_flight_max=6, bytes_in_flight_max=3000)
LIMITS = RouterLimits(STREAMS, link_bytes_max=600, frame_bytes_max=300, settle_ms=10_000)
PRIMARY = AckLevel.ACK_LEVEL_PRIMARY


@dataclass(eq=False)
class Sent:
    """One request of a client, which may be sent several times."""

    sequence: int
    numbers: list[int]
    message: bytes
    provisional: bool
    outcome: ProcessResponse | None = None
    """The answer that holds for good."""


@dataclass(eq=False)
class Sender:
    """A client: with a name it comes again until all is answered."""

    name: str
    stream: int
    session: int = 0
    sequence: int = 0
    requests: list[Sent] = field(default_factory=list)
    """All that it has ever sent."""
    on_stream: list[Sent | None] = field(default_factory=list)
    """What it has sent on its stream; None: a heartbeat."""
    heard: int = 0
    """Responses of the stream that it has looked at."""
    through: int = 0
    half_closed: bool = False
    gone: bool = False


class Run:
    """One seeded run: what each client sent, and what came of it."""

    def __init__(self, world: World, make_request: Request, seed: int) -> None:
        self.world = world
        self.random = Random(seed)
        self.mode = seed % 3
        self.make_request = make_request
        self.senders: list[Sender] = []
        self.ends: list[Code] = []
        self._last_event = 0
        self._last_stream = 0

    def go(self, steps: int) -> None:
        actions = [self.open] * 2 + [self.send] * 30 + [self.write] * 20 + [self.answer] * 20 + [self.commit] * 4
        actions += [self.half_close_one, self.vanish, self.stall, self.pass_time, self.come_again]
        if self.mode != CALM:
            actions += [self.cut, self.dial, self.dial, self.lose, self.restart, self.restart, self.copy, self.copy]
            actions += [self.seal, self.hand_over, self.hand_over]
        if self.mode == ROUGH:
            actions += [self.wait_long]
        for _ in range(steps):
            self.random.choice(actions)()
            self.check_bounds()
        self.heal()

    def heal(self) -> None:
        """Everything comes back, and every client says goodbye: nothing may be left."""
        for _ in range(20):
            self.repair()
            for sender in self.live():
                self.world.router.clogged(sender.stream, False)
            self.world.perform()
            self.world.settle()
            self.world.tick(100)
            self.come_again(everybody=True)
        self.world.settle()
        for sender in self.live():
            assert not self.world.clients[sender.stream].paused, "a client is held back for ever"
            self.half_close(sender)
        for _ in range(5):
            self.world.settle()
            self.world.tick(100)
        for sender in self.senders:
            self.listen(sender)

    def repair(self) -> None:
        for worker in range(WORKERS):
            if worker in self.world.dead:
                self.world.restart(worker)
            elif self.world.links[worker] is None:
                self.world.dial(worker)
        self.hand_over()

    # Clients

    def open(self) -> None:
        if len(self.live()) < 8:
            name = self.random.choice(["", f"producer-{len(self.senders)}"])
            sender = Sender(name, 0)
            self.senders.append(sender)
            self.open_stream(sender)

    def open_stream(self, sender: Sender) -> None:
        self._last_stream += 1
        sender.stream, sender.on_stream, sender.heard, sender.through = self._last_stream, [], 0, 0
        self.world.open(sender.stream)
        if sender.name:
            options = ProcessOptions(session=sender.session)
            sender.on_stream.append(None)
            self.world.send(sender.stream, self.make_request([], producer=sender.name, options=options))

    def live(self) -> list[Sender]:
        return [
            sender
            for sender in self.senders
            if not sender.gone and not sender.half_closed and self.world.clients[sender.stream].finished is None
        ]

    def ready(self) -> list[Sender]:
        return [sender for sender in self.live() if not self.world.clients[sender.stream].paused]

    def send(self) -> None:
        ready = self.ready()
        if not ready:
            return
        sender = self.random.choice(ready)
        count = self.random.choice([0, 1, 1, 2, 5, 12])
        keys = [f"key-{self.random.randrange(40)}" for _ in range(count)]
        if not count:
            sender.on_stream.append(None)
            self.world.send(sender.stream, self.make_request([]))
            return
        first = self._last_event + 1
        self._last_event += count
        sender.sequence += 1
        provisional = self.random.random() < 0.3
        message = self.make_request(
            keys,
            first,
            sequence=sender.sequence,
            producer=sender.name,
            timeout_ms=self.random.choice([0, 0, 0, 5]),
            ack=PRIMARY if provisional else AckLevel.ACK_LEVEL_UNSPECIFIED,
        )
        assert len(message) < REQUEST_BYTES_MAX
        request = Sent(sender.sequence, list(range(first, first + count)), message, provisional)
        sender.requests.append(request)
        sender.on_stream.append(request)
        self.world.send(sender.stream, message)

    def listen(self, sender: Sender) -> None:
        """Looks at what has been answered since."""
        client = self.world.clients[sender.stream]
        if client.responses:
            sender.through = max(sender.through, *(response.committed_through for response in client.responses))
            if sender.name and client.responses[0].stream.session:
                sender.session = client.responses[0].stream.session
        for place, response in enumerate(client.responses):
            assert response.HasField("stream") == (place == 0)
            request = sender.on_stream[place]
            if request is None:
                continue
            assert response.sequence == request.sequence
            settled = request.sequence <= sender.through or (client.finished or (None,))[0] == Code.OK
            if request.outcome is None and (settled or not request.provisional):
                request.outcome = response
        if client.finished is not None:
            self.ends.append(client.finished[0])

    def come_again(self, everybody: bool = False) -> None:
        """Clients with a name whose stream has ended, or who think so, go on with what has no answer for good."""
        for sender in self.senders:
            client = self.world.clients[sender.stream]
            if not sender.name or sender.gone or sender.half_closed:
                continue
            if client.finished is None and (everybody or self.random.random() < 0.9):
                continue
            self.listen(sender)
            if client.finished is not None and client.finished[0] == Code.FAILED_PRECONDITION:
                sender.session = 0
            self.open_stream(sender)
            for request in [request for request in sender.requests if request.outcome is None]:
                sender.on_stream.append(request)
                self.world.send(sender.stream, request.message)

    def half_close(self, sender: Sender) -> None:
        sender.half_closed = True
        self.world.half_close(sender.stream)

    def half_close_one(self) -> None:
        for sender in self.live()[:1]:
            self.half_close(sender)

    def vanish(self) -> None:
        for sender in self.live()[-1:]:
            sender.gone = True
            self.world.router.closed(sender.stream)
            self.world.perform()

    def stall(self) -> None:
        for sender in self.live()[:1]:
            self.world.router.clogged(sender.stream, self.random.random() < 0.5)
            self.world.perform()

    # Workers

    def write(self) -> None:
        self.world.write(self.random.randrange(WORKERS))

    def answer(self) -> None:
        worker = self.random.randrange(WORKERS)
        link = self.world.links[worker]
        if link is not None and self.world.answers[link]:
            self.world.answer(worker, self.random.randrange(len(self.world.answers[link])))

    def commit(self) -> None:
        self.world.commit(self.random.randrange(WORKERS))

    def cut(self) -> None:
        worker = self.random.randrange(WORKERS)
        link = self.world.links[worker]
        if link is not None:
            if link in self.world.frames and self.random.random() < 0.5:
                self.world.apply(worker)  # and the answers are lost
            self.world.cut(worker)

    def dial(self) -> None:
        worker = self.random.randrange(WORKERS)
        if self.world.links[worker] is None and worker not in self.world.dead:
            self.world.dial(worker)

    def lose(self) -> None:
        worker = self.random.randrange(WORKERS)
        world = self.world
        if worker in world.dead or len(world.dead) + 2 > WORKERS:
            return
        if self.mode == SAFE and (world.replicas[world.table == worker, 0] == NOBODY).any():
            return
        link = world.links[worker]
        if link in world.frames and self.random.random() < 0.5:
            world.apply(worker)
        world.lose(worker)

    def restart(self) -> None:
        worker = self.random.randrange(WORKERS)
        if worker in self.world.dead:
            self.world.restart(worker)

    def copy(self) -> None:
        """Partitions without a copy get one."""
        world = self.world
        places = [worker for worker in range(WORKERS) if worker not in world.dead]
        for p in np.flatnonzero(world.replicas[:, 0] == NOBODY).tolist():
            primary = int(world.table[p])
            others = [place for place in places if place != primary]
            if primary not in world.dead and others:
                world.copy(p, self.random.choice(others))
        world.publish()

    def seal(self) -> None:
        world = self.world
        if (world.heirs != NOBODY).any():
            return
        movable = [p for p in range(len(world.table)) if int(world.replicas[p, 0]) != NOBODY]
        movable = [p for p in movable if int(world.table[p]) not in world.dead]
        chosen = self.random.sample(movable, min(len(movable), 20))
        for p in chosen:
            world.heirs[p] = world.replicas[p, 0]
        world.publish()

    def hand_over(self) -> None:
        """Heirs take over, once their primaries admit nothing more and have committed all."""
        world = self.world
        sealed = np.flatnonzero(world.heirs != NOBODY).tolist()
        for primary in sorted({int(world.table[p]) for p in sealed}):
            if world.workers[primary].view is not world.view:
                return
            if world.workers[primary].uncommitted and not world.commit(primary):
                return
        if sealed:
            world.hand_over()

    # Time

    def pass_time(self) -> None:
        self.world.tick(self.random.randrange(8))

    def wait_long(self) -> None:
        if self.random.random() < 0.2:
            self.world.tick(11_000)

    # What must hold

    def check_bounds(self) -> None:
        for state in self.world.router._streams:
            assert state.bytes >= 0
            if not state.held:  # who comes again sends all that it has at once
                kept = len(state.batches) + len(state.uncommitted)
                assert kept <= STREAMS.requests_in_flight_max + 2 + self.resent(state.id), "a paused stream was read"
        for outbox in self.world.router._outboxes.values():
            bound = LIMITS.link_bytes_max + 30 * REQUEST_BYTES_MAX
            assert outbox.queued_bytes <= bound, "a link's queue grows"

    def resent(self, stream: int) -> int:
        sender = next(sender for sender in self.senders if sender.stream == stream)
        return len(sender.on_stream) if sender.name else 0

    def check(self) -> None:
        world = self.world
        final = [world.workers[int(world.table[p])].partitions[p].log for p in range(len(world.table))]
        logs = [number for log in final for _, number in log]
        assert len(logs) == len(set(logs)), "an event was applied twice"
        applied = set(logs)
        for sender in self.senders:
            self.check_sender(sender, applied)
        for log in final:
            self.check_order(log)
        assert world.router.queued() == (0, 0, 0)
        assert all(outbox.uncommitted == 0 for outbox in world.router._outboxes.values())
        assert all(each.in_flight == 0 for each in world.router.snapshot().values())

    def check_sender(self, sender: Sender, applied: set[int]) -> None:
        client = self.world.clients[sender.stream]
        for request in sender.requests:
            if request.outcome is not None:
                self.check_response(request.outcome, request, applied, bool(sender.name))
        if sender.gone:
            return
        assert client.finished is not None, "a client waits for ever"
        if client.finished[0] == Code.OK:
            assert len(client.responses) == len(sender.on_stream)
            assert all(request.outcome is not None for request in sender.requests)
        if self.mode != ROUGH:
            assert client.finished[0] == Code.OK, client.finished

    def check_response(self, response: Any, request: Sent, applied: set[int], named: bool) -> None:
        assert len(response.outcomes) == len(request.numbers)
        rejected = 0
        reasons = {Reason.DEADLINE, Reason.UNAVAILABLE} if self.mode == ROUGH else {Reason.DEADLINE}
        reasons |= {Reason.OUT_OF_ORDER} if named else set()
        for number, outcome in zip(request.numbers, response.outcomes, strict=True):
            if outcome.HasField("rejection"):
                rejected += 1
                assert outcome.rejection.reason in reasons
                assert number not in applied, "a refusal that was a lie"
            else:
                assert outcome.values[0] == number, "an outcome of another event"
                assert number in applied or self.world.restarted, "an event that was promised is lost"
        assert response.rejected == rejected

    def check_order(self, log: list[tuple[str, int]]) -> None:
        """Events of one client are applied in the order they were sent: their numbers grow."""
        owner = {
            n: place for place, sender in enumerate(self.senders) for each in sender.requests for n in each.numbers
        }
        last: dict[int, int] = {}
        for _, number in log:
            assert last.get(owner[number], 0) < number, "events of one client in the wrong order"
            last[owner[number]] = number


def simulate(make_world: Callable[..., World], make_request: Request, seed: int) -> Run:
    run = Run(make_world(workers=WORKERS, limits=LIMITS, copies=2).form(), make_request, seed)
    run.go(steps=400)
    run.check()
    return run


@pytest.mark.parametrize("block", range(4))
def test_what_must_hold_holds(make_world: Callable[..., World], make_request: Request, block: int) -> None:
    answered = 0
    unsure = 0
    for seed in range(block * 30, block * 30 + 30):
        run = simulate(make_world, make_request, seed)
        answered += sum(request.outcome is not None for sender in run.senders for request in sender.requests)
        unsure += sum(end == Code.UNAVAILABLE for end in run.ends)
    assert answered > 500  # the runs are about something
    assert unsure > 0


Plant = Callable[[pytest.MonkeyPatch], None]


def overtaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done first is sent first."""
    advance = Streams.advance

    def mutant(self: Streams, stream: Any, now_ns: int) -> None:
        stream.batches = deque(sorted(stream.batches, key=lambda batch: batch.waiting > 0))
        advance(self, stream, now_ns)

    monkeypatch.setattr(Streams, "advance", mutant)


def refusing_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a lost worker had is refused, as if it had never had it."""

    def mutant(self: Streams, part: Part, code: Code, detail: str, now_ns: int) -> None:
        self.refuse([part], UNAVAILABLE, Reason.UNAVAILABLE, now_ns)

    monkeypatch.setattr(Streams, "fail", mutant)


def newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link's queue is a stack."""

    def mutant(self: Outbox, part: Part) -> None:
        self._queue.appendleft(part)
        self.queued_bytes += part.size

    monkeypatch.setattr(Outbox, "put", mutant)


def never_pausing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No backpressure."""
    monkeypatch.setattr(Streams, "press", lambda self, stream: None)


def never_resuming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who filled a link is never read again."""
    monkeypatch.setattr(Streams, "unblock", lambda self, outbox: None)


def crossing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers of two workers are mistaken for each other's."""
    merge = Splitter.merge

    def mutant(self: Splitter, owners: Any, parts: dict[int, bytes], refused: bytes) -> Any:
        return merge(self, owners, dict(zip(parts, reversed(parts.values()), strict=True)), refused)

    monkeypatch.setattr(Splitter, "merge", mutant)


def resending_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for another worker goes there in the wrong order."""
    monkeypatch.setattr(routing, "_order", lambda part: -part.batch.order)


def predecessors_at_the_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came before a part is noted when it is split, though it may never be handed over."""
    give = Routing.give

    def mutant(self: Routing, part: Part, owner: int, now_ns: int) -> Any:
        identity = part.identity
        written = self._previous.write(part.touched, part.batch.number, identity.last, identity.view)
        outbox = give(self, part, owner, now_ns)
        monkeypatch.setitem(noted, part, written)
        return outbox

    noted: dict[Part, bytes] = {}
    hand = Outbox._hand

    def hand_noted(self: Outbox, part: Part, flags: int, request_bytes: int) -> bytes:
        part.previous = part.previous or noted.get(part, b"")
        return hand(self, part, flags, request_bytes)

    monkeypatch.setattr(Routing, "give", mutant)
    monkeypatch.setattr(Outbox, "_hand", hand_noted)


def overtaking_what_is_parked(monkeypatch: pytest.MonkeyPatch) -> None:
    """New batches of a partition that is held go to its primary at once."""
    give = Routing.give

    def mutant(self: Routing, part: Part, owner: int, now_ns: int) -> Any:
        primary = int(self.view.table[part.touched[0]])
        alone = (self.view.table[part.touched] == primary).all()
        if owner == len(self.members) and alone and primary >= 0 and self.members[primary] is not None:
            return give(self, part, primary, now_ns)
        return give(self, part, owner, now_ns)

    monkeypatch.setattr(Routing, "give", mutant)


def forgetting_the_provisional(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part whose answer came early is taken for committed."""
    take = Streams.take

    def mutant(self: Streams, part: Part, response: bytes, provisional: bool, now_ns: int) -> None:
        take(self, part, response, False, now_ns)

    monkeypatch.setattr(Streams, "take", mutant)


def keeping_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of a part that is split again keep their old slot."""
    monkeypatch.setattr(routing, "_reslot", lambda part, owners, slots: None)


def refusing_what_an_older_stream_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what this stream has handed over counts as handed over."""
    monkeypatch.setattr(Part, "refusable", property(lambda self: not self.previous))


def sharing_doubtful_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    """An identity serves the next stream though something of it is still on its way."""
    release = Sessions.release

    def mutant(self: Sessions, identity: Identity, stream: int, now_ns: int) -> None:
        identity.doubtful = False
        release(self, identity, stream, now_ns)

    monkeypatch.setattr(Sessions, "release", mutant)


def losing_what_is_parked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that lost its worker is not handed over again."""
    park = Routing.park

    def mutant(self: Routing, part: Part, now_ns: int) -> None:
        park(self, replace(part, batch=Batch()) if part.handed else part, now_ns)

    monkeypatch.setattr(Routing, "park", mutant)


@pytest.mark.parametrize(
    ("plant", "first"),
    [
        (overtaking, 0),
        (refusing_in_doubt, 17),
        (newest_first, 0),
        (never_pausing, 0),
        (never_resuming, 0),
        (crossing_answers, 0),
        (resending_newest_first, 0),
        (predecessors_at_the_split, 0),
        (overtaking_what_is_parked, 242),
        (forgetting_the_provisional, 125),
        (keeping_slots, 4),
        (refusing_what_an_older_stream_sent, 79),
        (sharing_doubtful_identities, 10),
        (losing_what_is_parked, 0),
    ],
)
def test_a_planted_mistake_is_caught(
    make_world: Callable[..., World], make_request: Request, monkeypatch: pytest.MonkeyPatch, plant: Plant, first: int
) -> None:
    """first: a seed that finds it. All of them together are found by some 250 seeds."""
    plant(monkeypatch)
    assert any(_fails(make_world, make_request, seed) for seed in range(first, first + 25))


def _fails(make_world: Callable[..., World], make_request: Request, seed: int) -> bool:
    try:
        simulate(make_world, make_request, seed)
    except (AssertionError, IndexError, KeyError, OverflowError, ValueError):
        return True
    return False
