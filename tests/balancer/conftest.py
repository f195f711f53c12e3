"""A small world around the pure router: clients, links and workers made of the official library."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from ringmill.balancer.effects import Finish, Pause, Result, Resume, Send, SendFrame
from ringmill.balancer.router import Router, RouterLimits
from ringmill.core.agreement import Served
from ringmill.core.errors import Code
from ringmill.core.hashing import partition_of
from ringmill.core.maglev import maglev
from ringmill.core.split import Splitter
from ringmill.core.view import Member, View
from ringmill.internal.v1.link_pb2 import JoinResponse, Part
from ringmill.telemetry import Telemetry
from ringmill.v1.processing_pb2 import (
    AckLevel,
    DescribePipelineResponse,
    Event,
    Outcome,
    ProcessRequest,
    ProcessResponse,
    Receipt,
)

PARTITIONS = 101
EVENTS_MAX = 64
CATALOGUE = {"flights": Served("flights", 0, DescribePipelineResponse(version="2.1.0", digest="d"), EVENTS_MAX)}


def request(keys: Iterable[str], first: int = 0, **fields: object) -> bytes:
    """A request whose events are numbered from `first` by their time."""
    events = [Event(key=key, time_us=first + place) for place, key in enumerate(keys)]
    return ProcessRequest(events=events, **({"pipeline": "flights"} | fields)).SerializeToString()  # type: ignore[arg-type]


class FakeWorker:
    """Applies events by writing them down: the log tells afterwards what happened, and in which order."""

    def __init__(self) -> None:
        self.applied: list[tuple[str, int]] = []

    def apply(self, part: Part) -> Result:
        """Applies a part and gives the answer; each outcome is the event's number and its place in the log."""
        asked = ProcessRequest.FromString(part.request)
        outcomes = []
        for event in asked.events:
            outcomes.append(Outcome(values=[float(event.time_us), float(len(self.applied))]))
            self.applied.append((event.key, event.time_us))
        receipt = Receipt(epoch=1, ack=AckLevel.ACK_LEVEL_PRIMARY, copies=1, kernel_us=len(outcomes))
        response = ProcessResponse(sequence=asked.sequence, outcomes=outcomes, receipt=receipt)
        return part.id, response.SerializeToString(), 0, ""


@dataclass
class Client:
    """What one client has heard."""

    responses: list[ProcessResponse] = field(default_factory=list)
    finished: tuple[Code, str] | None = None
    paused: bool = False


class World:
    """A router, its links (link 100 + n is worker n's first) and its clients."""

    def __init__(
        self, workers: int, limits: RouterLimits, splitter: Splitter, telemetry: Telemetry | None = None
    ) -> None:
        self.now_ns = 1_000_000_000
        names = [f"worker-{place}" for place in range(workers)]
        self.view = View(0, "", (), maglev({}, PARTITIONS))
        self.router = Router(splitter, self.view, limits, telemetry)
        self.members = tuple(Member(name, 1) for name in names)
        self.table = maglev(dict.fromkeys(names, 1), PARTITIONS)
        self.links: list[int | None] = [None] * workers
        self.workers = [FakeWorker() for _ in names]
        self.clients: dict[int, Client] = defaultdict(Client)
        self.frames: dict[int, bytes] = {}
        """The frame that each link is writing."""
        self.answers: dict[int, deque[Result]] = defaultdict(deque)
        """What a worker has applied and not yet answered."""
        self._last_link = 99

    def form(self) -> "World":
        """Brings all links up and publishes the first view."""
        for place in range(len(self.links)):
            self.links[place] = self._new_link()
        self.publish()
        return self

    def publish(self, catalogue: dict[str, Served] | None = None, draining: int | None = None) -> None:
        members = tuple(
            Member(member.name, 1, alive=link is not None and place != draining)
            for place, (member, link) in enumerate(zip(self.members, self.links, strict=True))
        )
        self.view = View(self.view.version + 1, "", members, self.table.copy())
        self.router.publish(self.view, self.links, CATALOGUE if catalogue is None else catalogue, self.now_ns)
        self.perform()

    def lose(self, worker: int) -> None:
        """A worker's link breaks, with all that it had not answered."""
        link = self.links[worker]
        assert link is not None
        self.links[worker] = None
        self.frames.pop(link, None)
        self.answers.pop(link, None)
        self.router.link_down(link, self.now_ns)
        self.publish()

    def rejoin(self, worker: int) -> None:
        self.links[worker] = self._new_link()
        self.publish()

    def _new_link(self) -> int:
        self._last_link += 1
        self.router.link_up(self._last_link)
        return self._last_link

    def open(self, stream: int, traceparent: str = "") -> Client:
        self.router.opened(stream, [("traceparent", traceparent)] if traceparent else ())
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
        self.router.link_drained(link, self.now_ns)
        self.perform()
        return True

    def apply(self, worker: int) -> None:
        """A worker applies the frame that its link is writing."""
        link = self.links[worker]
        assert link is not None
        for part in JoinResponse.FromString(self.frames[link]).parts:
            self.answers[link].append(self.workers[worker].apply(part))

    def answer(self, worker: int, place: int = 0) -> bool:
        """A worker answers one of the parts that it has."""
        link = self.links[worker]
        if link is None or not self.answers[link]:
            return False
        answer = self.answers[link][place]
        del self.answers[link][place]
        self.router.results(link, [answer], self.now_ns)
        self.perform()
        return True

    def settle(self) -> None:
        """Lets links and workers do all that they can."""
        while sum(self.write(worker) or self.answer(worker) for worker in range(len(self.links))):
            pass

    def perform(self) -> None:
        for effect in self.router.effects:
            match effect:
                case Send(stream, message):
                    assert self.clients[stream].finished is None, "a response after the end"
                    self.clients[stream].responses.append(ProcessResponse.FromString(message))
                case SendFrame(link, frame):
                    assert link not in self.frames, "two writes at once"
                    assert frame
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
    return lambda workers=2, limits=None, telemetry=None: World(workers, limits or RouterLimits(), splitter, telemetry)


@pytest.fixture
def world(make_world: Callable[..., World]) -> Iterator[World]:
    """A formed cluster of two workers. All tests leave it without anything pending."""
    made = make_world().form()
    yield made
    assert not made.router.effects


@pytest.fixture
def make_request() -> Callable[..., bytes]:
    return request
