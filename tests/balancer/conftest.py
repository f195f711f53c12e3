"""A small world around the pure router: clients, links and workers made of the official library.

A worker keeps, for each partition, what it has applied, of whom, and what came of it. Copies are plain copies of that.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from ringmill.balancer.effects import Finish, Pause, Result, Resume, Send, SendFrame
from ringmill.balancer.limits import RouterLimits
from ringmill.balancer.router import Router
from ringmill.core.agreement import Served
from ringmill.core.errors import Code
from ringmill.core.hashing import partition_of
from ringmill.core.maglev import NOBODY, maglev
from ringmill.core.split import Splitter
from ringmill.core.view import Member, View
from ringmill.internal.v1.link_pb2 import JoinResponse, Open, Part
from ringmill.telemetry import Telemetry
from ringmill.v1.processing_pb2 import (
    AckLevel,
    DescribePipelineResponse,
    Event,
    Outcome,
    ProcessRequest,
    ProcessResponse,
    Receipt,
    Rejection,
)

PARTITIONS = 101
EVENTS_MAX = 64
CATALOGUE = {"flights": Served("flights", 0, DescribePipelineResponse(version="2.1.0", digest="d"), EVENTS_MAX)}
EXPIRED, PRIMARY = 1, 2


def request(keys: Iterable[str], first: int = 0, **fields: object) -> bytes:
    """A request whose events are numbered from `first` by their time."""
    events = [Event(key=key, time_us=first + place) for place, key in enumerate(keys)]
    return ProcessRequest(events=events, **({"pipeline": "flights"} | fields)).SerializeToString()  # type: ignore[arg-type]


@dataclass
class Row:
    """What a partition knows of a producer."""

    session: int
    fence: int
    last: int = 0
    outcomes: dict[int, list[Outcome]] = field(default_factory=dict)
    """By sequence."""


@dataclass
class Partition:
    """One copy of a partition."""

    log: list[tuple[str, int]] = field(default_factory=list)
    """Key and number of each event that was applied."""
    rows: dict[int, Row] = field(default_factory=dict)


class FakeWorker:
    """One process: keeps the rules of a primary, one part at a time."""

    def __init__(self, view: View, place: int) -> None:
        self.view = view
        self.place = place
        self.partitions: dict[int, Partition] = defaultdict(Partition)
        self.uncommitted: list[tuple[int, list[int]]] = []
        """PRIMARY parts that no copy has: id and partitions."""
        self.applied: list[tuple[str, int]] = []
        """All that it applied itself, in order."""
        self.parts: list[Part] = []
        """All that it was handed."""
        self.opens: list[Open] = []

    def owns(self, partition: int) -> bool:
        return int(self.view.table[partition]) == self.place and int(self.view.heirs[partition]) == NOBODY

    def open(self, asked: Open) -> tuple[int, int, int, int] | None:
        """Takes an Open; gives its answer."""
        self.opens.append(asked)
        for p, partition in self.partitions.items():
            if int(self.view.table[p]) != self.place:
                continue
            for producer in [each for each, row in partition.rows.items() if row.fence < asked.floor]:
                del partition.rows[producer]
            for producer in asked.forget:
                partition.rows.pop(producer, None)
        if not asked.producer:
            return (asked.id, 0, 0, 0) if asked.id else None
        own = [p for p in range(PARTITIONS) if int(self.view.table[p]) == self.place]
        rows = [self.partitions[p].rows.get(asked.producer) for p in own]
        if any(row and row.fence > asked.fence for row in rows):
            return asked.id, int(Code.ABORTED), 0, 0
        if asked.session and not asked.unforgotten and any(row is None for row in rows):
            return asked.id, int(Code.FAILED_PRECONDITION), 0, 0
        if asked.session and any(row and row.session != asked.session for row in rows):
            return asked.id, int(Code.ABORTED), 0, 0
        for p in own:
            row = self.partitions[p].rows.setdefault(asked.producer, Row(0, 0))
            row.session, row.fence = asked.session or asked.fence, asked.fence
        return asked.id, 0, asked.session or asked.fence, max((row.last for row in rows if row), default=0)

    def apply(self, part: Part) -> Result:
        """Applies a part and gives the answer; each outcome is the event's number and its place in the log."""
        self.parts.append(part)
        asked = ProcessRequest.FromString(part.request)
        events: dict[int, list[Event]] = {}
        for event in asked.events:
            events.setdefault(partition_of(event.key.encode(), PARTITIONS), []).append(event)
        before = [part.sequence - gap if gap else 0 for gap in varints(part.previous)]
        assert len(before) == len(events), "not one predecessor for each partition"
        assert part.producer
        assert part.sequence
        assert part.acknowledged < part.sequence
        if not all(map(self.owns, events)):
            return again(part.id, self.view.version)
        for p, previous in zip(events, before, strict=True):
            row = self.partitions[p].rows.get(part.producer)
            if row and row.fence > part.fence:
                return result(part.id, code=Code.ABORTED, detail="fenced")
            last = row.last if row else 0
            if part.sequence > last and previous > last:
                return again(part.id, self.view.version)
        outcomes = {p: deque(self._apply(p, each, part)) for p, each in events.items()}
        answer = [outcomes[partition_of(event.key.encode(), PARTITIONS)].popleft() for event in asked.events]
        provisional = bool(part.flags & PRIMARY)
        if provisional:
            self.uncommitted.append((part.id, list(events)))
        receipt = Receipt(epoch=1, ack=AckLevel.ACK_LEVEL_PRIMARY, copies=1, kernel_us=len(answer))
        rejected = sum(outcome.HasField("rejection") for outcome in answer)
        response = ProcessResponse(sequence=asked.sequence, outcomes=answer, receipt=receipt, rejected=rejected)
        return result(part.id, response.SerializeToString(), provisional=provisional)

    def _apply(self, p: int, events: Sequence[Event], part: Part) -> list[Outcome]:
        partition = self.partitions[p]
        row = partition.rows.setdefault(part.producer, Row(part.fence, part.fence))
        row.fence = max(row.fence, part.fence)
        if part.sequence <= row.last:
            known = row.outcomes.get(part.sequence)
            return known if known is not None else [rejection(10) for _ in events]
        row.last = part.sequence
        outcomes = []
        for event in events:
            if part.flags & EXPIRED:
                outcomes.append(rejection(34))
                continue
            outcomes.append(Outcome(values=[float(event.time_us), float(len(partition.log))]))
            partition.log.append((event.key, event.time_us))
            self.applied.append((event.key, event.time_us))
        row.outcomes[part.sequence] = outcomes
        return outcomes


def varints(encoded: bytes) -> list[int]:
    values, value, shift = [], 0, 0
    for byte in encoded:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            values.append(value)
            value, shift = 0, 0
    return values


def rejection(reason: int) -> Outcome:
    return Outcome(rejection=Rejection(reason=reason))  # type: ignore[arg-type]


def result(number: int, response: bytes = b"", code: int = 0, detail: str = "", provisional: bool = False) -> Result:
    return number, response, int(code), detail, False, 0, provisional


def again(number: int, version: int) -> Result:
    return number, b"", 0, "", True, version, False


@dataclass
class Client:
    """What one client has heard."""

    responses: list[ProcessResponse] = field(default_factory=list)
    finished: tuple[Code, str] | None = None
    paused: bool = False


class World:
    """A router, its links (link 100 + n is worker n's first) and its clients."""

    def __init__(
        self,
        workers: int,
        limits: RouterLimits,
        splitter: Splitter,
        telemetry: Telemetry | None = None,
        copies: int = 1,
        generation: int = 0,
    ) -> None:
        self.now_ns = 1_000_000_000
        names = [f"worker-{place}" for place in range(workers)]
        self.view = View(0, "", (), maglev({}, PARTITIONS))
        self.router = Router(splitter, self.view, limits, telemetry, generation)
        self.members = tuple(Member(name, 1) for name in names)
        self.table = maglev(dict.fromkeys(names, 1), PARTITIONS)
        self.replicas = np.full((PARTITIONS, 1), NOBODY, np.int32)
        if copies > 1:
            self.replicas[:, 0] = (self.table + 1) % workers
        self.heirs = np.full(PARTITIONS, NOBODY, np.int32)
        self.epochs = np.zeros(PARTITIONS, np.uint64)
        self.links: list[int | None] = [None] * workers
        self.workers = [FakeWorker(self.view, place) for place in range(workers)]
        self.clients: dict[int, Client] = defaultdict(Client)
        self.frames: dict[int, bytes] = {}
        """The frame that each link is writing."""
        self.answers: dict[int, deque[object]] = defaultdict(deque)
        """What a worker has applied and not yet answered."""
        self.restarted: set[int] = set()
        """Partitions that have lost everything."""
        self.dead: set[int] = set()
        self._views: list[View | None] = [None] * workers
        """View that comes after the frame on each link."""
        self._last_link = 99

    def form(self) -> "World":
        """Brings all links up and publishes the first view."""
        for place in range(len(self.links)):
            self.links[place] = self._new_link()
        self.publish()
        return self

    def publish(self, catalogue: dict[str, Served] | None = None, dead: int | None = None) -> None:
        """Publishes the view as it is now. Workers hear of it behind what is on its way to them."""
        members = tuple(
            replace(member, alive=place not in (dead, *self.dead)) for place, member in enumerate(self.members)
        )
        self.members = members
        self.view = View(
            self.view.version + 1,
            "",
            members,
            self.table.copy(),
            epochs=self.epochs.copy(),
            replicas=self.replicas.copy(),
            heirs=self.heirs.copy(),
        )
        for place, link in enumerate(self.links):
            if link in self.frames:
                self._views[place] = self.view
            elif link is not None:
                self.workers[place].view = self.view
        self.router.publish(self.view, self.links, CATALOGUE if catalogue is None else catalogue, self.now_ns)
        self.perform()

    def republish(self) -> None:
        """The same view with the links that there are now."""
        self.router.publish(self.view, self.links, CATALOGUE, self.now_ns)
        self.perform()

    def cut(self, worker: int) -> None:
        """A worker's link breaks, with all that it had not answered. Its process lives."""
        link = self.links[worker]
        assert link is not None
        self.links[worker] = None
        self.frames.pop(link, None)
        self.answers.pop(link, None)
        self.workers[worker].view = self._views[worker] or self.workers[worker].view
        self._views[worker] = None
        self.workers[worker].uncommitted.clear()
        self.router.link_down(link, self.now_ns)
        self.perform()

    def dial(self, worker: int) -> None:
        """A worker that was cut off dials again."""
        self.links[worker] = self._new_link()
        self.workers[worker].view = self.view
        self.republish()

    def lose(self, worker: int) -> None:
        """A worker dies. Who has a copy takes over."""
        if self.links[worker] is not None:
            self.cut(worker)
        self.dead.add(worker)
        self.fail_over(worker)
        self.publish()

    def fail_over(self, worker: int) -> None:
        """Makes copies the primaries of what a worker had."""
        for p in range(PARTITIONS):
            if int(self.replicas[p, 0]) == worker:
                self.replicas[p, 0] = NOBODY
            elif int(self.table[p]) == worker and int(self.replicas[p, 0]) != NOBODY:
                self.table[p] = self.replicas[p, 0]
                self.replicas[p, 0] = NOBODY
                self.epochs[p] = self.view.version + 1
                self.heirs[p] = NOBODY
            if int(self.heirs[p]) == worker:
                self.heirs[p] = NOBODY

    def rejoin(self, worker: int) -> None:
        """The same process comes back, which was only thought dead."""
        self.dead.discard(worker)
        self.links[worker] = self._new_link()
        self.publish()

    def restart(self, worker: int) -> None:
        """Another process of the name comes; what nobody else has begins anew."""
        self.dead.discard(worker)
        self.members = tuple(
            replace(member, incarnation=member.incarnation + (place == worker))
            for place, member in enumerate(self.members)
        )
        log = self.workers[worker].applied
        self.workers[worker] = FakeWorker(self.view, worker)
        self.workers[worker].applied = log
        self.epochs[self.table == worker] = self.view.version + 1
        self.restarted |= {p for p in range(PARTITIONS) if int(self.table[p]) == worker}
        self.links[worker] = self._new_link()
        self.publish()

    def seal(self, partitions: Iterable[int], heir: int) -> None:
        """Nobody takes events of these until the heir, which has a copy of them, is their primary."""
        for p in partitions:
            self.heirs[p] = heir
        self.publish()

    def hand_over(self) -> None:
        """Every heir takes its place."""
        for p in np.flatnonzero(self.heirs != NOBODY).tolist():
            self.table[p], self.replicas[p, 0] = self.heirs[p], self.table[p]
            self.heirs[p] = NOBODY
            self.epochs[p] = self.view.version + 1
        self.publish()

    def copy(self, p: int, to: int) -> None:
        """Makes an in-sync copy."""
        self.workers[to].partitions[p] = deepcopy(self.workers[int(self.table[p])].partitions[p])
        self.replicas[p, 0] = to

    def _new_link(self) -> int:
        self._last_link += 1
        self.router.link_up(self._last_link)
        return self._last_link

    def open(self, stream: int, traceparent: str = "", brief: bool = False, **options: str) -> Client:
        metadata = [(f"ringmill-{name}", value) for name, value in options.items()]
        self.router.opened(stream, [*metadata, *([("traceparent", traceparent)] if traceparent else ())], brief)
        return self.clients[stream]

    def send(self, stream: int, message: bytes) -> Client:
        self.router.message(stream, message, self.now_ns)
        self.perform()
        return self.clients[stream]

    def half_close(self, stream: int) -> None:
        self.router.half_closed(stream, self.now_ns)
        self.perform()

    def write(self, worker: int) -> bool:
        """A link's write completes: the worker has the frame."""
        link = self.links[worker]
        if link is None or link not in self.frames:
            return False
        self.apply(worker)
        del self.frames[link]
        self.workers[worker].view = self._views[worker] or self.workers[worker].view
        self._views[worker] = None
        self.router.link_drained(link, self.now_ns)
        self.perform()
        return True

    def apply(self, worker: int) -> None:
        """A worker applies the frame that its link is writing."""
        link = self.links[worker]
        assert link is not None
        frame = JoinResponse.FromString(self.frames[link])
        for asked in frame.opens:
            answer = self.workers[worker].open(asked)
            if answer is not None:
                self.answers[link].append(answer)
        for part in frame.parts:
            answered = self.workers[worker].apply(part)
            self.answers[link].append(answered)
            if not answered[6]:
                self.copy_out(worker)
        if frame.opens:
            self.copy_out(worker)

    def copy_out(self, worker: int) -> None:
        """Every copy becomes equal to its primary."""
        primary = self.workers[worker]
        for p, partition in primary.partitions.items():
            copy = int(self.replicas[p, 0])
            if copy != NOBODY and int(self.table[p]) == worker:
                self.workers[copy].partitions[p] = deepcopy(partition)

    def answer(self, worker: int, place: int = 0) -> bool:
        """A worker answers one of the parts that it has."""
        link = self.links[worker]
        if link is None or not self.answers[link]:
            return False
        answer = self.answers[link][place]
        del self.answers[link][place]
        assert isinstance(answer, tuple)
        if len(answer) == 4:
            self.router.producers_opened(link, [answer], self.now_ns)
        else:
            self.router.results(link, [answer], self.now_ns)
        self.perform()
        return True

    def commit(self, worker: int) -> bool:
        """Copies become equal, and the router hears of it."""
        link = self.links[worker]
        primary = self.workers[worker]
        if link is None or not primary.uncommitted or any(len(a) == 7 and a[6] for a in self.answers[link]):  # type: ignore[arg-type, index]
            return False
        self.copy_out(worker)
        committed = []
        for number, partitions in primary.uncommitted:
            if all(int(self.table[p]) == worker for p in partitions):
                committed.append(number)
        primary.uncommitted.clear()
        self.router.committed(link, committed, self.now_ns)
        self.perform()
        return True

    def settle(self) -> None:
        """Lets links and workers do all that they can."""
        while sum(self.write(each) or self.answer(each) or self.commit(each) for each in range(len(self.links))):
            pass

    def tick(self, milliseconds: float = 0) -> None:
        self.now_ns += int(milliseconds * 1_000_000)
        self.router.tick(self.now_ns)
        self.perform()

    def perform(self) -> None:
        for effect in self.router.effects:
            match effect:
                case Send(stream, message):
                    assert self.clients[stream].finished is None, "a response after the end"
                    self.clients[stream].responses.append(ProcessResponse.FromString(message))
                case SendFrame(link, frame):
                    assert link not in self.frames, "two writes at once"
                    assert frame
                    assert link in self.links, "a frame for a link that is gone"
                    self.frames[link] = frame
                case Finish(stream, code, detail):
                    assert self.clients[stream].finished is None, "two ends"
                    self.clients[stream].finished = (code, detail)
                case Pause(stream):
                    assert not self.clients[stream].paused
                    self.clients[stream].paused = True
                case Resume(stream):
                    assert self.clients[stream].paused
                    self.clients[stream].paused = False
        self.router.effects.clear()

    def key_of(self, worker: int, number: int = 0) -> str:
        """The nth key that this worker owns."""
        return next(
            key
            for place, key in enumerate(filter(self._owned_by(worker), (f"key-{n}" for n in range(10_000))))
            if place == number
        )

    def _owned_by(self, worker: int) -> Callable[[str], bool]:
        return lambda key: int(self.table[partition_of(key.encode(), PARTITIONS)]) == worker


@pytest.fixture(scope="session")
def splitter() -> Splitter:
    return Splitter(PARTITIONS, EVENTS_MAX, 1 << 16)


@pytest.fixture
def make_world(splitter: Splitter) -> Callable[..., World]:
    return lambda workers=2, limits=None, telemetry=None, copies=1, generation=0: World(
        workers, limits or RouterLimits(), splitter, telemetry, copies, generation
    )


@pytest.fixture
def world(make_world: Callable[..., World]) -> Iterator[World]:
    """A formed cluster of two workers. All tests leave it without anything pending."""
    made = make_world().form()
    yield made
    assert not made.router.effects


@pytest.fixture
def make_request() -> Callable[..., bytes]:
    return request
