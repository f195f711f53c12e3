"""Sessions that outlive their streams, without IO: broken anywhere, each event is applied and told once, in order.

Planted mistakes show that the checks bite."""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringmill.client import ClientError, Code, ProcessError
from ringmill.client.redial import RESUMES_MAX, Redial
from ringmill.client.responses import check_sequence, parse_response
from ringmill.client.session import KEPT_BYTES_MAX, BatchLimits, Session
from ringmill.client.settings import Settings
from ringmill.core.errors import RingmillError
from ringmill.v1 import processing_pb2 as pb
from tests.client.ledger import Ledger, LedgerStream

GONE = ClientError(Code.UNAVAILABLE, "gone")


class Numbers:
    """Sends keys "a0", "a1", ..., a few in each batch, and notes what it hears of each."""

    traceparent = ""

    def __init__(self, name: str, count: int, size: int = 3) -> None:
        self.keys = [f"{name}{number}" for number in range(count)]
        self.heard: list[tuple[str, int]] = []
        self.rejected: list[int] = []
        self.errors: list[ClientError] = []
        self._size = size
        self._sent = 0

    @property
    def answered(self) -> int:
        return len(self.heard)

    def take(self, limits: BatchLimits) -> tuple[bytes, int]:
        keys = self.keys[self._sent : self._sent + min(self._size, limits.events_max)]
        self._sent += len(keys)
        return pb.ProcessRequest(events=[pb.Event(key=key) for key in keys]).SerializeToString(), len(keys)

    def deliver(self, message: bytes, count: int, sequence: int) -> pb.ProcessResponse:
        response = parse_response(message)
        check_sequence(response, sequence)
        assert len(response.outcomes) == count
        for outcome in response.outcomes:
            place = outcome.integers[0] if outcome.integers else 0
            self.heard.append((self.keys[len(self.heard)], place))
            if outcome.HasField("rejection"):
                self.rejected.append(outcome.rejection.reason)
        return response

    def fail(self, error: ClientError) -> None:
        self.errors.append(error)


def settings_of(**given: Any) -> Settings:
    return Settings(**{"pipeline": "p", "producer": "me", "in_flight_max": 4, **given})


class Run:
    """A session, a server, and a wire between them that breaks."""

    def __init__(self, ack: str = "", in_flight_max: int = 4, max_in_flight: int = 6) -> None:
        self.ledger = Ledger(max_in_flight)
        self.session = Session(settings_of(ack=ack, in_flight_max=in_flight_max, retry_s=1e9))
        self.feeds = [Numbers("a", 25), Numbers("b", 10, size=2)]
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.stream: LedgerStream | None = None
        self.alive = False
        self.held = 0
        """Highest sequence of which the client holds the response."""
        self.granted = 0
        self.now_s = 0.0
        for feed in self.feeds:
            self.session.offer(feed)

    def step(self, action: int) -> None:
        """One of the things that may happen; what cannot happen now does not."""
        (self.dial, self.write, self.write, self.serve, self.serve, self.read, self.read, self.commit, self.lose)[
            action
        ]()

    def dial(self) -> None:
        if not self.alive and self.session.error is None:
            self.alive = True
            message = self.session.opening()
            assert pb.ProcessRequest.FromString(message).options.session == self.granted
            self.up.append(message)

    def write(self) -> None:
        if self.alive:
            message = self.session.take()
            if message is None:
                self.session.beat()
                message = self.session.take()
            if message is not None:
                request = pb.ProcessRequest.FromString(message)
                assert request.acknowledged <= self.held, "acknowledged ahead of what was delivered"
                self.up.append(message)

    def serve(self) -> None:
        if not self.up:
            return
        request = pb.ProcessRequest.FromString(self.up.popleft())
        try:
            if self.stream is None:
                self.stream = self.ledger.open(request)
                response = self.stream.opened()
            else:
                response = self.stream.handle(request)
        except RingmillError as error:
            self.lose(ClientError(error.code, error.message))
        else:
            self.down.append(response.SerializeToString())

    def read(self) -> None:
        if self.down:
            message = self.down.popleft()
            self.session.receive(message)
            response = parse_response(message)
            self.held = max(self.held, response.sequence)
            self.granted = response.stream.session or self.granted

    def commit(self) -> None:
        self.ledger.commit()

    def lose(self, error: ClientError = GONE) -> None:
        """The stream breaks, and with it the primary: what was on the wire is lost, applied or not."""
        if self.alive:
            self.up.clear()
            self.down.clear()
            self.stream = None
            self.alive = False
            self.ledger.fail_over()
            self.now_s += 1.0
            # a script may break far more often without progress than a client would bear
            self.session._redial.calm()
            self.session.broke(error, self.now_s, 0.5)

    def heal(self) -> None:
        """No more breaks: everything must come through."""
        self.session.flushes = 1
        for _ in range(2000):
            if self.session.idle or self.session.error is not None:
                return
            for action in (self.dial, self.write, self.serve, self.read, self.commit):
                action()
        raise AssertionError("the session never settles")

    def check(self, ordered: bool) -> None:
        """Each event was applied once and told once, in order.

        ordered: whether outcomes are final, so that they name the places at which the events are now.
        """
        assert self.session.error is None, self.session.error
        assert sorted(self.ledger.applied) == sorted(key for feed in self.feeds for key in feed.keys)
        for feed in self.feeds:
            assert not feed.errors
            assert not feed.rejected
            assert [key for key, _ in feed.heard] == feed.keys
            assert [key for key in self.ledger.applied if key in set(feed.keys)] == feed.keys
            if ordered:
                assert [self.ledger.applied[place - 1] for _, place in feed.heard] == feed.keys
        assert self.session.committed_through == self.session.sequence == self.ledger.committed
        assert self.session.revoked == 0
        assert self.session._kept_bytes == 0


def go(script: Sequence[int], ack: str) -> None:
    run = Run(ack)
    for action in script:
        run.step(action)
        assert len(run.session._kept) <= 6, "more is kept than the server allows"
    run.heal()
    run.check(ordered=ack != "primary")


@given(st.lists(st.integers(0, 8), max_size=120), st.sampled_from(["", "all", "primary"]))
def test_each_event_is_applied_and_told_once_wherever_streams_break(script: list[int], ack: str) -> None:
    go(script, ack)


@pytest.mark.parametrize("ack", ["all", "primary"])
@pytest.mark.parametrize("seed", range(40))
def test_long_runs(seed: int, ack: str) -> None:
    go(script_of(seed), ack)


def script_of(seed: int) -> list[int]:
    random = Random(seed)
    breaks = random.choice((1, 3, 10))
    return random.choices(range(9), weights=[8, 20, 20, 20, 20, 20, 20, random.choice((0, 2, 10)), breaks], k=600)


# Planted mistakes


def newest_first(session: Session) -> None:
    original = session.opening

    def opening() -> bytes:
        message = original()
        session._resend.reverse()
        return message

    session.opening = opening  # type: ignore[method-assign]


def a_new_sequence(session: Session) -> None:
    def again(batch: Any) -> bytes:
        session._sequence += 1
        batch.sequence = session._sequence
        session._awaited.append(batch)
        return bytes(batch.message + pb.ProcessRequest(sequence=batch.sequence).SerializeToString())

    session._again = again  # type: ignore[method-assign]


def other_bytes(session: Session) -> None:
    original = session._again
    more = pb.ProcessRequest(events=[pb.Event(key="more")]).SerializeToString()
    session._again = lambda batch: original(batch) + more  # type: ignore[method-assign]


def acknowledged_ahead(session: Session) -> None:
    original = session._new

    def new(feed: Any, events: Any, count: int) -> bytes:
        session._acknowledged = session._sequence
        return original(feed, events, count)

    session._new = new  # type: ignore[method-assign]


def a_second_answer_is_delivered(session: Session) -> None:
    original = session._swallow

    def swallow(batch: Any, message: bytes) -> Any:
        return (
            original(batch, message) if batch.feed is None else batch.feed.deliver(message, batch.count, batch.sequence)
        )

    session._swallow = swallow  # type: ignore[method-assign]


def only_the_undelivered_go_again(session: Session) -> None:
    original = session.opening

    def opening() -> bytes:
        message = original()
        session._resend = deque(batch for batch in session._resend if not batch.delivered)
        return message

    session.opening = opening  # type: ignore[method-assign]


def new_before_old(session: Session) -> None:
    original = session.take

    def take() -> bytes | None:
        resend, session._resend = session._resend, deque()
        message = original()
        session._resend = resend
        return original() if message is None else message

    session.take = take  # type: ignore[method-assign]


def what_was_answered_once_is_final(session: Session) -> None:
    original = session.receive

    def receive(message: bytes) -> None:
        response = parse_response(message)
        response.receipt.ack = pb.ACK_LEVEL_ALL
        original(response.SerializeToString())

    session.receive = receive  # type: ignore[method-assign]


def another_session_each_time(session: Session) -> None:
    original = session.opening

    def opening() -> bytes:
        session._number = 0
        return original()

    session.opening = opening  # type: ignore[method-assign]


def the_first_is_not_sent_again(session: Session) -> None:
    original = session.opening

    def opening() -> bytes:
        message = original()
        if session._resend:
            session._resend.popleft()
        return message

    session.opening = opening  # type: ignore[method-assign]


def the_old_wire_still_counts(session: Session) -> None:
    original = session.opening

    def opening() -> bytes:
        awaited = list(session._awaited)
        message = original()
        session._awaited.extend(awaited)
        return message

    session.opening = opening  # type: ignore[method-assign]


def nothing_is_bounded(session: Session) -> None:
    original = session._note

    def note(info: pb.StreamInfo) -> None:
        original(info)
        session._kept_max = session._window = 1000

    session._note = note  # type: ignore[method-assign]


MISTAKES: list[tuple[Callable[[Session], None], str]] = [
    (newest_first, "all"),
    (a_new_sequence, "all"),
    (other_bytes, "all"),
    (acknowledged_ahead, "all"),
    (a_second_answer_is_delivered, "primary"),
    (only_the_undelivered_go_again, "primary"),
    (new_before_old, "all"),
    (what_was_answered_once_is_final, "primary"),
    (another_session_each_time, "all"),
    (the_first_is_not_sent_again, "all"),
    (the_old_wire_still_counts, "all"),
    (nothing_is_bounded, "all"),
]


@pytest.mark.parametrize(("mistake", "ack"), MISTAKES, ids=lambda value: getattr(value, "__name__", value))
def test_a_planted_mistake_is_caught(
    mistake: Callable[[Session], None], ack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Session.__init__

    def planted(session: Session, *given: Any, **named: Any) -> None:
        original(session, *given, **named)
        mistake(session)

    monkeypatch.setattr(Session, "__init__", planted)
    caught = 0
    for seed in range(40):
        try:
            go(script_of(seed), ack)
        except (AssertionError, ClientError, IndexError):
            caught += 1
    assert caught


# What ends a session, and what does not


def opened(ledger: Ledger, **given: Any) -> Session:
    session = Session(settings_of(**given))
    reopen(session, ledger)
    return session


def reopen(session: Session, ledger: Ledger) -> LedgerStream:
    stream = ledger.open(pb.ProcessRequest.FromString(session.opening()))
    session.receive(stream.opened().SerializeToString())
    return stream


def sent(session: Session) -> list[pb.ProcessRequest]:
    messages = []
    while (message := session.take()) is not None:
        messages.append(pb.ProcessRequest.FromString(message))
    return messages


def answer(session: Session, stream: LedgerStream, request: pb.ProcessRequest) -> None:
    session.receive(stream.handle(request).SerializeToString())


def test_what_is_resent_differs_in_nothing_but_what_is_acknowledged() -> None:
    ledger = Ledger()
    session = Session(settings_of(deadline_ms=70))
    stream = reopen(session, ledger)
    feed = Numbers("a", 12)
    feed.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    session.offer(feed)
    first = sent(session)
    answer(session, stream, first[0])
    assert session.broke(GONE, 0.0, 0.5) is not None
    reopen(session, ledger)
    again = sent(session)
    for request in first[1:]:
        request.acknowledged = 1
    assert again == first[1:]
    assert ledger.openings == [0, 1]


def test_a_session_continues_after_the_producers_last_sequence_or_replays_it() -> None:
    ledger = Ledger()
    feeds = []
    for replay in (False, False, True):
        session = Session(settings_of(replay=replay))
        stream = reopen(session, ledger)
        feeds.append(Numbers("a", 6))
        session.offer(feeds[-1])
        requests = sent(session)
        for request in requests:
            answer(session, stream, request)
        assert [request.sequence for request in requests] == (
            [1, 2] if replay or session.last_sequence == 0 else [3, 4]
        )
    assert len(ledger.applied) == 12  # the replay added nothing
    assert session.last_sequence == 4
    assert feeds[2].heard == feeds[0].heard or set(feeds[2].rejected) == {pb.REJECTION_REASON_ALREADY_APPLIED}


def test_a_replay_needs_a_server_that_deduplicates() -> None:
    ledger = Ledger()
    ledger.info.deduplicates = False
    with pytest.raises(ClientError, match="does not deduplicate"):
        opened(ledger, replay=True)


@pytest.mark.parametrize(
    "code",
    [
        Code.ABORTED,
        Code.FAILED_PRECONDITION,
        Code.INVALID_ARGUMENT,
        Code.RESOURCE_EXHAUSTED,
        Code.NOT_FOUND,
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
        Code.UNIMPLEMENTED,
    ],
)
def test_ends_that_are_final(code: Code) -> None:
    session, feed = opened(Ledger()), Numbers("a", 6)
    session.offer(feed)
    sent(session)
    assert session.broke(ClientError(code, "so it is"), 0.0, 0.5) is None
    assert isinstance(feed.errors[0], ProcessError)
    assert (feed.errors[0].code, feed.errors[0].acknowledged, feed.errors[0].unknown) == (code, 0, 6)
    assert session.fenced == (code == Code.ABORTED)
    session.end(GONE)  # it is told once
    assert len(feed.errors) == 1


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.INTERNAL, Code.UNKNOWN, Code.CANCELLED])
def test_ends_that_are_not(code: Code) -> None:
    session, feed = opened(Ledger()), Numbers("a", 6)
    session.offer(feed)
    sent(session)
    assert session.broke(ClientError(code, "a break"), 0.0, 0.5) is not None
    assert feed.errors == []


def test_a_newer_client_of_the_same_name_and_a_forgotten_session_are_explained() -> None:
    ledger = Ledger()
    session, feed = opened(ledger), Numbers("a", 3)
    session.offer(feed)
    sent(session)
    opened(ledger)
    session.broke(GONE, 0.0, 0.5)
    with pytest.raises(RingmillError) as caught:
        ledger.open(pb.ProcessRequest.FromString(session.opening()))
    session.broke(ClientError(caught.value.code, caught.value.message), 0.0, 0.5)
    assert "clients that run at the same time need names of their own" in str(feed.errors[0])

    session, feed = opened(ledger), Numbers("a", 3)
    session.offer(feed)
    sent(session)
    ledger.forget()
    session.broke(GONE, 0.0, 0.5)
    session.opening()
    assert session.broke(ClientError(Code.FAILED_PRECONDITION, "forgotten"), 0.0, 0.5) is None
    assert "no longer knows the session of producer 'me'" in str(feed.errors[0])
    assert "of 3 sent after them the outcome is unknown" in str(feed.errors[0])


def test_a_forgotten_session_with_nothing_in_doubt_is_opened_anew() -> None:
    ledger = Ledger()
    session, feed = opened(ledger), Numbers("a", 3)
    ledger.forget()
    assert session.broke(GONE, 0.0, 0.5) is None  # nothing to dial for
    session.offer(feed)
    session.opening()
    assert session.broke(ClientError(Code.FAILED_PRECONDITION, "forgotten"), 0.0, 0.5) == 0.0
    stream = reopen(session, ledger)
    for request in sent(session):
        answer(session, stream, request)
    assert ledger.applied == feed.keys


def test_a_batch_that_breaks_every_stream_does_so_only_so_often() -> None:
    ledger = Ledger()
    session, feed = opened(ledger, ack="primary", retry_s=1e9), Numbers("a", 6)
    session.offer(feed)
    stream, breaks = reopen(session, ledger), 0
    while session.error is None:
        for number, request in enumerate(sent(session)):
            if number == 0:
                answer(session, stream, request)  # the same one each time, which is no progress
        if session.broke(ClientError(Code.INTERNAL, "poisoned"), 0.0, 0.5) is not None:
            breaks += 1
            stream = reopen(session, ledger)
    assert breaks == RESUMES_MAX
    assert "resumed 8 times in a row without any progress" in str(feed.errors[0])
    assert feed.errors[0].code == Code.INTERNAL
    assert feed.errors[0].unknown == 3  # type: ignore[attr-defined]
    assert session.take_unconfirmed() == 3
    assert session.take_unconfirmed() == 0


def test_dialling_goes_on_for_its_time_with_growing_delays() -> None:
    redial = Redial(retry_s=10.0)
    delays = [redial.delay_s(False, 0.0, 1.0) for _ in range(8)]
    assert delays == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
    assert redial.delay_s(False, 9.9, 0.0) == 0.5
    assert redial.delay_s(False, 10.0, 0.0) is None
    assert redial.why == "no stream could be opened for 10 s"
    assert redial.delay_s(True, 11.0, 0.0) is not None  # the time is that since a stream was last open
    redial.calm()
    assert redial.delay_s(False, 12.0, 1.0) == 0.05
    assert Redial(0.0).delay_s(True, 0.0, 0.0) is None


def test_a_server_that_does_not_deduplicate_is_not_sent_anything_twice() -> None:
    ledger = Ledger()
    ledger.info.deduplicates = False
    session = opened(ledger)
    one, other = Numbers("a", 3), Numbers("b", 30)
    session.offer(one)
    sent(session)
    session.offer(other)
    delay_s = session.broke(GONE, 0.0, 0.5)
    assert [error.code for error in one.errors] == [Code.UNAVAILABLE]
    assert delay_s is not None  # what was never sent goes on
    assert other.errors == []
    reopen(session, ledger)
    assert [event.key for request in sent(session) for event in request.events] == other.keys[:12]

    allowed, feed = opened(ledger, resend=True), Numbers("c", 3)
    allowed.offer(feed)
    first = sent(allowed)
    allowed.broke(GONE, 0.0, 0.5)
    reopen(allowed, ledger)
    assert sent(allowed) == first


def test_what_is_kept_is_bounded_in_bytes() -> None:
    ledger = Ledger()
    ledger.info.max_events, ledger.info.max_request_bytes = 100_000, 4 << 20

    class Large(Numbers):
        def take(self, limits: BatchLimits) -> tuple[bytes, int]:
            return bytes(limits.bytes_max), 1

    session = opened(ledger, in_flight_max=64)
    session.offer(Large("a", 1))
    taken = 0
    while session.take() is not None:
        taken += 1
    assert taken == KEPT_BYTES_MAX // (4 << 20) + 1  # each leaves a little room for its head


def test_heartbeats_ask_for_what_is_committed_only_while_it_is_wanted() -> None:
    ledger = Ledger()
    session, feed = Session(settings_of(ack="primary")), Numbers("a", 3)
    stream = reopen(session, ledger)
    session.offer(feed)
    (request,) = sent(session)
    answer(session, stream, request)
    assert feed.answered == 3
    assert session.holds(1)
    session.beat()
    assert sent(session) == []  # nobody waits
    session.flushes = 1
    for _ in range(2):
        session.beat()
        (beat,) = sent(session)
        assert beat == pb.ProcessRequest(acknowledged=1)
        answer(session, stream, beat)
        assert session.committed_through == ledger.committed
        ledger.commit()
    assert not session.holds(1)
    session.beat()
    assert sent(session) == []


def test_an_answer_undone_by_the_loss_of_a_primary_is_counted() -> None:
    ledger = Ledger()
    session, feed = Session(settings_of(ack="primary")), Numbers("a", 3)
    stream = reopen(session, ledger)
    session.offer(feed)
    (request,) = sent(session)
    answer(session, stream, request)
    ledger.fail_over()
    session.broke(GONE, 0.0, 0.5)
    reopen(session, ledger)
    (again,) = sent(session)
    outcome = pb.Outcome(rejection=pb.Rejection(reason=pb.REJECTION_REASON_UNAVAILABLE))
    session.receive(pb.ProcessResponse(sequence=again.sequence, outcomes=[outcome] * 3, rejected=3).SerializeToString())
    assert session.take_unconfirmed() == 3
    assert feed.rejected == []


def test_a_provisional_answer_that_cannot_be_sent_again_is_counted() -> None:
    ledger = Ledger()
    ledger.info.deduplicates = False
    session, feed = Session(settings_of(ack="primary")), Numbers("a", 3)
    stream = reopen(session, ledger)
    session.offer(feed)
    (request,) = sent(session)
    answer(session, stream, request)
    session.broke(GONE, 0.0, 0.5)
    assert session.take_unconfirmed() == 3
    assert session.idle


def test_what_was_refused_behind_a_provisional_answer_is_not_sent_again() -> None:
    ledger = Ledger()
    session = Session(settings_of(ack="primary"))
    stream = reopen(session, ledger)
    session.offer(Numbers("a", 3))
    session.offer(Numbers("b", 3))
    held, refused = sent(session)
    answer(session, stream, held)
    outcome = pb.Outcome(rejection=pb.Rejection(reason=pb.REJECTION_REASON_UNAVAILABLE))
    count = len(refused.events)
    rejected = pb.ProcessResponse(sequence=refused.sequence, outcomes=[outcome] * count, rejected=count)
    session.receive(rejected.SerializeToString())
    session.broke(GONE, 0.0, 0.5)
    stream = reopen(session, ledger)
    (again,) = sent(session)
    assert again.sequence == held.sequence
    ledger.commit()
    answer(session, stream, again)
    assert session.committed_through == refused.sequence
    assert session.idle


def test_a_server_that_wants_to_go_is_sent_nothing_more() -> None:
    ledger = Ledger()
    session, feed = opened(ledger), Numbers("a", 30)
    session.offer(feed)
    (first, *_) = sent(session)
    stream = LedgerStream(ledger, ledger.fence, primary=False)
    response = stream.handle(first)
    response.stream.CopyFrom(stream.opened().stream)
    response.stream.drain_ms = 1500
    session.receive(response.SerializeToString())
    assert session.drain_s == 1.5
    assert session.take() is None
    assert not session.all_answered


@pytest.mark.parametrize("sequence", [0, 2, 7])
def test_an_answer_to_something_else_is_never_delivered(sequence: int) -> None:
    session, feed = opened(Ledger()), Numbers("a", 3)
    session.offer(feed)
    sent(session)
    message = pb.ProcessResponse(sequence=sequence, outcomes=[pb.Outcome(integers=[1])] * 3).SerializeToString()
    with pytest.raises(ClientError, match=f"answered sequence {sequence} in place of 1"):
        session.receive(message)
    assert feed.heard == []


def test_a_pipeline_replaced_by_another_major_version_ends_the_session() -> None:
    ledger = Ledger()
    session = opened(ledger)
    ledger.info.version = "1.3.0"
    reopen(session, ledger)
    ledger.info.version = "2.0.0"
    with pytest.raises(ClientError, match=r"replaced by version 2\.0\.0"):
        reopen(session, ledger)
