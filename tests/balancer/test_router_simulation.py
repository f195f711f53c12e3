"""Whole clusters around the router, driven by a seeded scheduler: writes and answers in any order, links that break and
come back, clients that stall, half-close and vanish. What must always hold is checked at the end of each run, and
planted mistakes show that the checks bite."""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from ringmill.balancer.answers import UNAVAILABLE
from ringmill.balancer.batch import Part
from ringmill.balancer.outbox import Outbox
from ringmill.balancer.limits import RouterLimits
from ringmill.balancer.router import Router
from ringmill.core.agreement import StreamLimits
from ringmill.core.errors import Code, Reason
from ringmill.core.split import Splitter

World = Any
WORKERS = 3
LIMITS = RouterLimits(
    StreamLimits(requests_in_flight_max=6, bytes_in_flight_max=3000), link_bytes_max=600, frame_bytes_max=300
)
REQUEST_BYTES_MAX = 700


class Run:
    """One seeded run: what each client sent, and what came of it."""

    def __init__(self, world: World, make_request: Callable[..., bytes], seed: int) -> None:
        self.world = world
        self.random = Random(seed)
        self.make_request = make_request
        self.sent: dict[int, list[list[int]]] = defaultdict(list)
        """The numbers of each request's events, by stream."""
        self.half_closed: set[int] = set()
        self.gone: set[int] = set()
        self.lost_links = 0
        self._last_event = 0
        self._last_stream = 0

    def go(self, steps: int) -> None:
        actions = [self.open] * 2 + [self.send] * 30 + [self.write] * 20 + [self.answer] * 20
        actions += [self.half_close_one, self.vanish, self.stall, self.lose, self.rejoin, self.rejoin, self.pass_time]
        for _ in range(steps):
            self.random.choice(actions)()
            self.check_bounds()
        self.heal()

    def heal(self) -> None:
        """Everything comes back, and every client says goodbye: nothing may be left."""
        for worker in range(WORKERS):
            if self.world.links[worker] is None:
                self.world.rejoin(worker)
        for stream in self.live():
            self.world.router.clogged(stream, False)
        self.world.perform()
        self.world.settle()
        for stream in self.live():
            assert not self.world.clients[stream].paused, "a client is held back for ever"
            self.half_close(stream)
        self.world.settle()

    # What may happen

    def open(self) -> None:
        if len(self.live()) < 8:
            self._last_stream += 1
            self.sent[self._last_stream] = []
            self.world.open(self._last_stream)

    def live(self) -> list[int]:
        return [
            stream
            for stream in self.sent
            if stream not in self.gone | self.half_closed and self.world.clients[stream].finished is None
        ]

    def send(self) -> None:
        ready = [stream for stream in self.live() if not self.world.clients[stream].paused]
        if not ready:
            return
        stream = self.random.choice(ready)
        count = self.random.choice([0, 1, 1, 2, 5, 12])
        keys = [f"key-{self.random.randrange(40)}" for _ in range(count)]
        first = self._last_event + 1
        self._last_event += count
        self.sent[stream].append(list(range(first, first + count)))
        timeout_ms = self.random.choice([0, 0, 0, 5])
        message = self.make_request(keys, first, sequence=len(self.sent[stream]), timeout_ms=timeout_ms)
        assert len(message) < REQUEST_BYTES_MAX
        self.world.send(stream, message)

    def write(self) -> None:
        self.world.write(self.random.randrange(WORKERS))

    def answer(self) -> None:
        worker = self.random.randrange(WORKERS)
        link = self.world.links[worker]
        if link is not None and self.world.answers[link]:
            self.world.answer(worker, self.random.randrange(len(self.world.answers[link])))

    def half_close(self, stream: int) -> None:
        self.half_closed.add(stream)
        self.world.half_close(stream)

    def half_close_one(self) -> None:
        for stream in self.live()[:1]:
            self.half_close(stream)

    def vanish(self) -> None:
        for stream in self.live()[-1:]:
            self.gone.add(stream)
            self.world.router.closed(stream)
            self.world.perform()

    def stall(self) -> None:
        for stream in self.live()[:1]:
            self.world.router.clogged(stream, self.random.random() < 0.5)
            self.world.perform()

    def lose(self) -> None:
        worker = self.random.randrange(WORKERS)
        link = self.world.links[worker]
        if link is not None:
            if link in self.world.frames and self.random.random() < 0.5:
                self.world.apply(worker)  # and the answers are lost
            self.lost_links += 1
            self.world.lose(worker)

    def rejoin(self) -> None:
        worker = self.random.randrange(WORKERS)
        if self.world.links[worker] is None:
            self.world.rejoin(worker)

    def pass_time(self) -> None:
        self.world.now_ns += self.random.randrange(8_000_000)
        self.world.router.tick(self.world.now_ns)
        self.world.perform()

    # What must hold

    def check_bounds(self) -> None:
        limits = LIMITS.streams
        for state in self.world.router._streams.values():
            assert len(state.batches) <= limits.requests_in_flight_max + 2, "a paused stream was read"
            assert state.bytes <= limits.bytes_in_flight_max + REQUEST_BYTES_MAX
        for outbox in self.world.router._outboxes.values():
            assert outbox.queued_bytes <= LIMITS.link_bytes_max + 9 * REQUEST_BYTES_MAX, "a link's queue grows"

    def clients(self) -> list[Any]:
        return [client for stream, client in self.world.clients.items() if stream not in self.gone]

    def check(self) -> None:
        logs = [number for worker in self.world.workers for _, number in worker.applied]
        assert len(logs) == len(set(logs)), "an event was applied twice"
        applied = set(logs)
        for stream, requests in self.sent.items():
            self.check_stream(stream, requests, applied)
        for worker in self.world.workers:
            self.check_order(worker.applied)
        assert self.world.router.queued() == (0, 0, 0)
        counts = self.world.router.snapshot()
        assert all(each.in_flight == 0 for each in counts.values())

    def check_stream(self, stream: int, requests: list[list[int]], applied: set[int]) -> None:
        client = self.world.clients[stream]
        assert len(client.responses) <= len(requests)
        for place, response in enumerate(client.responses):
            assert response.sequence == place + 1
            assert response.HasField("stream") == (place == 0)
            self.check_response(response, requests[place], applied)
        if stream in self.gone:
            return
        assert client.finished is not None, "a client waits for ever"
        if client.finished[0] == Code.OK:
            assert len(client.responses) == len(requests)
        else:
            assert client.finished[0] == Code.UNAVAILABLE
            assert len(client.responses) < len(requests)
            assert self.lost_links

    def check_response(self, response: Any, numbers: list[int], applied: set[int]) -> None:
        assert len(response.outcomes) == len(numbers)
        rejected = 0
        for number, outcome in zip(numbers, response.outcomes, strict=True):
            if outcome.HasField("rejection"):
                rejected += 1
                assert outcome.rejection.reason in (Reason.UNAVAILABLE, Reason.DEADLINE)
                assert number not in applied, "a refusal that was a lie"
            else:
                assert outcome.values[0] == number, "an outcome of another event"
                assert number in applied
        assert response.rejected == rejected

    def check_order(self, log: list[tuple[str, int]]) -> None:
        """Events of one stream with one key are applied in the order they were sent: their numbers grow."""
        owner = {number: stream for stream, requests in self.sent.items() for each in requests for number in each}
        last: dict[tuple[int, str], int] = {}
        for key, number in log:
            place = (owner[number], key)
            assert last.get(place, 0) < number, "events of one key in the wrong order"
            last[place] = number


def simulate(make_world: Callable[..., World], make_request: Callable[..., bytes], seed: int) -> Run:
    run = Run(make_world(workers=WORKERS, limits=LIMITS).form(), make_request, seed)
    run.go(steps=400)
    run.check()
    return run


@pytest.mark.parametrize("block", range(4))
def test_what_must_hold_holds(make_world: Callable[..., World], make_request: Callable[..., bytes], block: int) -> None:
    answered = unsure = 0
    for seed in range(block * 25, block * 25 + 25):
        run = simulate(make_world, make_request, seed)
        answered += sum(len(client.responses) for client in run.world.clients.values())
        unsure += sum(client.finished is not None and client.finished[0] != Code.OK for client in run.clients())
    assert answered > 500  # the runs are about something
    assert unsure > 5


def overtaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done first is sent first."""
    advance = Router._advance

    def mutant(self: Router, stream: Any, now_ns: int) -> None:
        stream.batches = deque(sorted(stream.batches, key=lambda batch: batch.waiting > 0))
        advance(self, stream, now_ns)

    monkeypatch.setattr(Router, "_advance", mutant)


def refusing_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a lost worker had is refused, as if it had never had it."""

    def mutant(self: Router, part: Part, code: Code, detail: str, now_ns: int) -> None:
        self._refuse([part], UNAVAILABLE, Reason.UNAVAILABLE, now_ns)

    monkeypatch.setattr(Router, "_fail", mutant)


def newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link's queue is a stack."""

    def mutant(self: Outbox, part: Part) -> None:
        self._queue.appendleft(part)
        self.queued_bytes += len(part.request)

    monkeypatch.setattr(Outbox, "put", mutant)


def never_pausing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No backpressure."""
    monkeypatch.setattr(Router, "_press", lambda self, stream: None)


def never_resuming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who filled a link is never read again."""
    monkeypatch.setattr(Router, "_unblock", lambda self, outbox: None)


def crossing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers of two workers are mistaken for each other's."""
    merge = Splitter.merge

    def mutant(self: Splitter, owners: Any, parts: dict[int, bytes], refused: bytes) -> Any:
        return merge(self, owners, dict(zip(parts, reversed(parts.values()), strict=True)), refused)

    monkeypatch.setattr(Splitter, "merge", mutant)


def sending_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that waits is put on the link again when its write completes."""
    frame = Outbox.frame

    def mutant(self: Outbox, now_ns: int) -> Any:
        queue = [replace(part) for part in self._queue]
        result = frame(self, now_ns)
        if len(queue) > 2:
            self.put(queue[0])
        return result

    monkeypatch.setattr(Outbox, "frame", mutant)


@pytest.mark.parametrize(
    "plant",
    [overtaking, refusing_in_doubt, newest_first, never_pausing, never_resuming, crossing_answers, sending_twice],
)
def test_a_planted_mistake_is_caught(
    make_world: Callable[..., World],
    make_request: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
) -> None:
    plant(monkeypatch)
    assert any(_fails(make_world, make_request, seed) for seed in range(25))


def _fails(make_world: Callable[..., World], make_request: Callable[..., bytes], seed: int) -> bool:
    try:
        simulate(make_world, make_request, seed)
    except (AssertionError, IndexError, KeyError):
        return True
    return False
