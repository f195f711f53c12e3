"""Producers: their sessions, what an older stream left behind, and streams without a name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ringmill.balancer.limits import RouterLimits
from ringmill.balancer.openings import ABSENT_MAX
from ringmill.balancer.sessions import ANONYMOUS, FENCE_BITS, POOL_MAX, producer_number
from ringmill.core.errors import Code, Reason
from ringmill.core.hashing import partition_of
from ringmill.core.maglev import NOBODY
from ringmill.v1.processing_pb2 import ProcessOptions, ProcessResponse
from tests.balancer.conftest import Row

World = Any
Request = Callable[..., bytes]


def numbers(response: ProcessResponse) -> list[float | int]:
    return [-each.rejection.reason if each.HasField("rejection") else each.values[0] for each in response.outcomes]


def opening(make_request: Request, name: str = "p", session: int = 0) -> bytes:
    return make_request([], producer=name, options=ProcessOptions(session=session))


def test_a_producer_is_known_by_pipeline_and_name() -> None:
    known = {producer_number(pipeline, name) for pipeline in ("a", "b") for name in ("x", "y", "xy")}
    assert len(known) == 6
    assert all(0 < each < ANONYMOUS for each in known)
    assert producer_number("a", "bc") != producer_number("ab", "c")


def test_a_stream_is_open_once_every_primary_knows(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, opening(make_request))
    world.send(1, make_request([world.key_of(0)], producer="p", sequence=1))
    world.write(0)
    world.answer(0)
    world.write(0)
    assert client.responses == []
    assert world.workers[0].parts == []
    world.settle()
    first, second = client.responses
    assert first.stream.deduplicates
    assert first.stream.session > 0
    assert (first.stream.last_sequence, first.stream.max_in_flight) == (0, 64)
    assert numbers(second) == [0]
    assert second.committed_through == 1
    assert all(worker.opens[0].fence == first.stream.session for worker in world.workers)


def test_a_session_is_resumed_and_told_how_far_it_came(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, opening(make_request))
    world.send(1, make_request([world.key_of(0)], 5, producer="p", sequence=7))
    world.settle()
    session = client.responses[0].stream.session
    world.router.closed(1)
    other = world.open(2, session=str(session))  # the option's twin in metadata
    world.send(2, make_request([], producer="p"))
    world.send(2, make_request([world.key_of(0)], 5, producer="p", sequence=7))
    world.settle()
    assert (other.responses[0].stream.session, other.responses[0].stream.last_sequence) == (session, 7)
    assert numbers(other.responses[1]) == [5]
    assert len(world.workers[0].applied) == 1, "a retry was applied again"
    assert world.workers[0].opens[1].fence > session


@pytest.mark.parametrize(
    ("session", "code"), [(1 << FENCE_BITS, Code.ABORTED), (9 << FENCE_BITS, Code.FAILED_PRECONDITION)]
)
def test_a_session_that_is_not_the_newest_is_refused_and_fences_nobody(
    make_world: Callable[..., World], make_request: Request, session: int, code: Code
) -> None:
    world = make_world(generation=2).form()
    client, late = world.open(1), world.open(2)
    world.send(1, opening(make_request))
    world.settle()
    world.send(2, opening(make_request, session=session))
    assert late.finished is not None
    assert late.finished[0] == code
    assert client.finished is None


def test_workers_refuse_a_forgotten_session(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, opening(make_request, session=77))
    world.settle()
    assert client.finished is not None
    assert client.finished[0] == Code.FAILED_PRECONDITION
    assert "open a new one" in client.finished[1]


def test_a_newer_stream_ends_the_older_one_at_once(world: World, make_request: Request) -> None:
    older, newer = world.open(1), world.open(2)
    world.send(1, opening(make_request))
    world.settle()
    world.send(1, make_request([world.key_of(0)], 5, producer="p", sequence=1))
    world.send(1, make_request([world.key_of(0)], 6, producer="p", sequence=2))  # waits for the link
    world.send(2, opening(make_request))
    assert older.finished == (Code.ABORTED, "a newer stream of this producer has been opened")
    world.settle()
    assert newer.responses[0].stream.last_sequence == 1
    assert [number for _, number in world.workers[0].applied] == [5]


def test_a_stream_that_workers_have_fenced_is_aborted(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, opening(make_request))
    world.settle()
    row = world.workers[0].partitions[partition_of(world.key_of(0).encode(), 101)].rows[producer_number("flights", "p")]
    row.fence += 1
    world.send(1, make_request([world.key_of(0)], producer="p", sequence=1))
    world.settle()
    assert client.finished == (Code.ABORTED, "fenced")


@pytest.mark.parametrize("sequence", [0, 4, 5])
def test_a_producers_sequences_increase(world: World, make_request: Request, sequence: int) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)], producer="p", sequence=5))
    world.send(1, make_request([world.key_of(0)], producer="p", sequence=sequence))
    world.settle()
    assert len(client.responses) == 1
    assert client.finished is not None
    assert client.finished[0] == Code.INVALID_ARGUMENT


def test_a_session_without_a_producer_is_refused(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, make_request([], options=ProcessOptions(session=3)))
    assert client.finished is not None
    assert client.finished[0] == Code.INVALID_ARGUMENT


def test_an_opening_is_asked_again_of_new_primaries_and_skips_who_is_dead(
    make_world: Callable[..., World], make_request: Request
) -> None:
    world = make_world(workers=3, copies=2).form()
    client = world.open(1)
    world.send(1, opening(make_request))
    world.write(0)
    world.answer(0)
    world.lose(1)
    world.settle()
    assert client.responses[0].stream.session > 0
    fences = [[asked.fence for asked in world.workers[place].opens] for place in (0, 2)]
    assert [set(each) for each in fences] == [{fences[0][0]}] * 2
    assert len(fences[0]) == 2


def test_an_opening_that_nobody_answers_ends_its_stream(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, opening(make_request))
    world.half_close(1)
    world.tick(5001)
    assert client.finished is not None
    assert client.finished[0] == Code.UNAVAILABLE
    assert world.router.idle
    world.settle()


def test_what_comes_before_the_stream_is_open_counts_for_its_bounds(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, opening(make_request))
    for sequence in range(1, 70):
        world.send(1, make_request([world.key_of(0)], producer="p", sequence=sequence))
    assert client.paused
    world.half_close(1)
    world.settle()
    assert len(client.responses) == 70
    assert client.finished == (Code.OK, "")


def test_an_anonymous_stream_has_an_identity_of_its_own_and_gives_it_on(world: World, make_request: Request) -> None:
    for stream in (1, 2):
        client = world.open(stream)
        world.send(stream, make_request([world.key_of(0)], sequence=40))
        world.send(stream, make_request([world.key_of(0)]))
        world.settle()
        assert [response.sequence for response in client.responses] == [40, 0]
        assert not client.responses[0].stream.deduplicates
        world.router.closed(stream)
    parts = world.workers[0].parts
    assert {part.producer for part in parts} == {ANONYMOUS | parts[0].fence}
    assert [(part.sequence, part.acknowledged) for part in parts] == [(1, 0), (2, 0), (3, 2), (4, 2)]
    assert [list(part.previous) for part in parts] == [[0], [1], [1], [1]]


def test_an_identity_with_something_on_its_way_is_not_given_on_but_forgotten(
    world: World, make_request: Request
) -> None:
    world.open(1)
    world.send(1, make_request([world.key_of(0)]))
    world.router.closed(1)
    world.open(2)
    world.send(2, make_request([world.key_of(0)]))
    world.settle()
    first, second = world.workers[0].parts
    assert first.producer != second.producer
    world.tick(20)
    world.settle()
    for worker in world.workers:
        assert [list(asked.forget) for asked in worker.opens] == [[first.producer]]


def test_identities_beyond_the_pool_are_forgotten(world: World, make_request: Request) -> None:
    streams = range(POOL_MAX + 5)
    for stream in streams:
        world.open(stream)
        world.send(stream, make_request([world.key_of(0)]))
    world.settle()
    for stream in streams:
        world.router.closed(stream)
    world.tick(20)
    world.settle()
    assert [len(asked.forget) for asked in world.workers[0].opens] == [5]


def test_calls_of_one_producer_open_one_session(world: World, make_request: Request) -> None:
    for stream, sequence in ((1, 1), (2, 2), (3, 5)):
        client = world.open(stream, brief=True)
        world.send(stream, make_request([world.key_of(0)], sequence, producer="p", sequence=sequence))
        world.half_close(stream)
        world.settle()
        assert client.finished == (Code.OK, "")
        assert numbers(client.responses[0]) == [sequence]
    assert len(world.workers[0].opens) == 1
    retry = world.open(4, brief=True)
    world.send(4, make_request([world.key_of(0)], 2, producer="p", sequence=2))
    world.settle()
    assert numbers(retry.responses[0]) == [2]
    assert len(world.workers[0].opens) == 2
    assert len(world.workers[0].applied) == 3


def test_a_call_given_up_before_its_session_was_open_leaves_none_to_share(
    make_world: Callable[..., World], make_request: Request
) -> None:
    world = make_world(generation=2).form()
    world.open(1, brief=True)
    world.send(1, make_request([world.key_of(1)], producer="p", sequence=4))
    world.router.closed(1)
    world.lose(1)  # which may have applied the batch under an earlier balancer
    client = world.open(2, brief=True)
    world.send(2, make_request([world.key_of(1)], producer="p", sequence=4))
    world.settle()
    assert not client.responses, "nobody knows whether it was applied"
    assert world.workers[0].opens, "whoever is left is asked"


def test_an_idle_producer_is_forgotten_everywhere(make_world: Callable[..., World], make_request: Request) -> None:
    world = make_world(limits=RouterLimits(retention_ms=1000), generation=3).form()
    world.tick()
    client = world.open(1)
    world.send(1, opening(make_request))
    world.settle()
    world.router.closed(1)
    world.tick(900)
    world.open(2)
    world.send(2, opening(make_request, "other"))
    world.settle()
    world.tick(101)
    world.settle()
    for worker in world.workers:
        assert list(worker.opens[-1].forget) == [producer_number("flights", "p")]
        assert worker.opens[-1].floor > client.responses[0].stream.session >= 3 << FENCE_BITS
        assert not any(producer_number("flights", "p") in each.rows for each in worker.partitions.values())
        assert any(producer_number("flights", "other") in each.rows for each in worker.partitions.values())


def test_what_an_older_stream_may_have_handed_over_is_never_refused(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, opening(make_request))
    world.settle()
    message = make_request([world.key_of(1)], 5, producer="p", sequence=1, timeout_ms=10)
    world.send(1, message)
    world.write(1)  # applied, and the answer is lost
    world.lose(1)
    again = world.open(2)
    world.send(2, opening(make_request, session=client.responses[0].stream.session))
    world.send(2, message)
    world.send(2, make_request([world.key_of(1)], 6, producer="p", sequence=2))
    world.settle()
    world.tick(20)
    assert len(again.responses) == 1, "an event that was applied is refused"
    world.rejoin(1)
    world.settle()
    assert [numbers(each) for each in again.responses[1:]] == [[5], [-Reason.UNAVAILABLE]]
    assert [number for _, number in world.workers[1].applied] == [5]


@pytest.mark.parametrize(("generation", "refused"), [(1, True), (2, False)])
def test_what_an_earlier_balancer_may_have_handed_over_is_not_refused_either(
    make_world: Callable[..., World], make_request: Request, generation: int, refused: bool
) -> None:
    world = make_world(generation=generation).form()
    world.lose(1)
    client = world.open(1)
    world.send(1, opening(make_request))
    world.send(1, make_request([world.key_of(1)], producer="p", sequence=4))
    world.settle()
    assert (len(client.responses) == 2) is refused
    world.tick(5000)
    assert (client.finished is None) is refused
    world.settle()


def test_a_second_try_makes_nothing_of_an_earlier_balancer_certain(
    make_world: Callable[..., World], make_request: Request
) -> None:
    world = make_world(generation=2).form()
    session = 1 << FENCE_BITS | 7
    world.open(1)
    world.send(1, opening(make_request, session=session))
    world.router.closed(1)  # before the workers have answered
    world.lose(0)
    world.lose(1)
    client = world.open(2)
    world.send(2, opening(make_request, session=session))
    world.send(2, make_request([world.key_of(1)], producer="p", sequence=4))
    world.settle()
    assert len(client.responses) == 1, "an earlier balancer may have handed it over"
    world.tick(5000)
    assert client.finished is not None
    assert client.finished[0] == Code.UNAVAILABLE
    world.settle()


@pytest.mark.parametrize(("generation", "through"), [(1, 0), (2, ABSENT_MAX)])
def test_a_new_session_goes_on_after_all_that_an_absent_worker_can_have(
    make_world: Callable[..., World], make_request: Request, generation: int, through: int
) -> None:
    """Else its batches would be taken for those that the worker knows, and be swallowed when it is back."""
    world = make_world(generation=generation).form()
    world.lose(1)
    client = world.open(1)
    world.send(1, opening(make_request))
    world.settle()
    assert client.responses[0].stream.last_sequence == through
    world.send(1, make_request([world.key_of(1)], producer="p", sequence=through + 1))
    world.settle()
    assert numbers(client.responses[1]) == [-Reason.UNAVAILABLE], "what is surely new is refused at once"


def test_who_was_away_when_a_session_was_opened_hears_of_it(world: World, make_request: Request) -> None:
    world.lose(1)
    client = world.open(1)
    world.send(1, opening(make_request))
    world.settle()
    session = client.responses[0].stream.session
    world.rejoin(1)
    world.settle()
    told = [(each.session, each.fence, each.unforgotten) for each in world.workers[1].opens]
    assert told == [(session, session, True)]
    heard = len(world.workers[0].opens)
    world.republish()
    world.settle()
    assert len(world.workers[0].opens) == heard, "once is enough"


@pytest.mark.parametrize("restarts", [False, True])
def test_a_session_is_resumed_where_a_worker_was_away_unless_that_has_lost_its_state(
    world: World, make_request: Request, restarts: bool
) -> None:
    world.lose(1)
    client = world.open(1)
    world.send(1, opening(make_request))
    world.settle()
    session = client.responses[0].stream.session
    world.router.closed(1)
    if restarts:
        world.restart(1)
    else:
        world.rejoin(1)
    other = world.open(2)
    world.send(2, opening(make_request, session=session))
    world.settle()
    if restarts:
        assert other.finished is not None
        assert other.finished[0] == Code.FAILED_PRECONDITION
    else:
        assert other.responses[0].stream.session == session


@pytest.mark.parametrize("on_its_way", [False, True])
@pytest.mark.parametrize("producer", ["", "p"])
def test_a_partition_that_begins_anew_ends_every_stream_that_has_sent_something_there(
    world: World, make_request: Request, producer: str, on_its_way: bool
) -> None:
    client, other = world.open(1), world.open(2)
    named = {"producer": producer, "sequence": 1} if producer else {}
    world.send(1, make_request([world.key_of(1)], 2, **named))
    world.send(2, make_request([world.key_of(0)], 1))
    world.settle()
    if on_its_way:
        world.send(1, make_request([world.key_of(1)], 3, **(named | {"sequence": 2})))
        world.write(1)
    world.lose(1)
    assert client.finished is None, "the worker may come back"
    world.restart(1)
    assert client.finished is not None
    assert client.finished[0] == (Code.FAILED_PRECONDITION if producer else Code.UNAVAILABLE)
    assert [numbers(each) for each in client.responses] == [[2]]
    world.send(2, make_request([world.key_of(1)], 3))
    world.settle()
    assert [numbers(each) for each in other.responses] == [[1], [3]], "it was not concerned"
    assert list(world.workers[1].parts[-1].previous) == [0]


def test_what_an_earlier_stream_of_an_identity_has_sent_ends_nobody(world: World, make_request: Request) -> None:
    world.open(1)
    world.send(1, make_request([world.key_of(1)], 1))
    world.half_close(1)
    world.settle()
    client = world.open(2)
    world.send(2, make_request([world.key_of(0)], 2))
    world.settle()
    world.lose(1)
    world.restart(1)
    world.settle()
    assert len({part.producer for worker in world.workers for part in worker.parts}) == 1
    assert client.finished is None


def test_a_session_that_was_resumed_ends_whatever_its_newest_stream_has_sent(
    world: World, make_request: Request
) -> None:
    first = world.open(1)
    world.send(1, make_request([world.key_of(1)], 1, producer="p", sequence=1))
    world.settle()
    world.router.closed(1)
    client = world.open(2)
    world.send(2, opening(make_request, session=first.responses[0].stream.session))
    world.settle()
    world.lose(1)
    world.restart(1)
    assert client.finished is not None
    assert client.finished[0] == Code.FAILED_PRECONDITION


def test_what_was_to_go_to_a_partition_that_begins_anew_does_not_go_there(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(1)], 1))
    world.settle()
    world.cut(1)
    world.send(1, make_request([world.key_of(1)], 2))
    world.restart(1)
    world.settle()
    assert [numbers(each) for each in client.responses] == [[1]]
    assert client.finished is not None
    assert world.workers[1].parts == [], "its key would begin anew in the same stream"


def test_nothing_is_said_of_pipelines_before_any_worker_has_come_back(world: World, make_request: Request) -> None:
    world.publish(catalogue={})
    client = world.open(1)
    world.send(1, make_request([]))
    assert client.finished is not None
    assert client.finished[0] == Code.UNAVAILABLE
    assert (world.heirs == NOBODY).all()
    assert not np.any(world.table == NOBODY)


def test_what_an_earlier_balancer_may_have_handed_over_is_not_refused_since_the_last_worker_died_meanwhile(
    make_world: Callable[..., World], make_request: Request
) -> None:
    """The stream opens because nobody is left to be asked; what it sends may have been applied by who is away."""
    world = make_world(workers=1, generation=2).form()
    client = world.open(1)
    world.send(1, opening(make_request))
    world.send(1, make_request([world.key_of(0)], producer="p", sequence=5))
    world.cut(0)
    world.publish(dead=0)
    assert [numbers(each) for each in client.responses] == [[]]
    world.rejoin(0)
    assert world.members[0].alive
    world.settle()
    assert [numbers(each) for each in client.responses] == [[], [0]]


def test_idle_producers_leave_room_for_streams() -> None:
    assert 2 * RouterLimits().producers_max <= RouterLimits().identities_max


@pytest.mark.parametrize("name", ["", "p"])
def test_no_stream_is_opened_that_workers_have_no_room_for(
    make_world: Callable[..., World], make_request: Request, name: str
) -> None:
    world = make_world(limits=RouterLimits(identities_max=2)).form()
    world.open(1)
    world.send(1, make_request([world.key_of(0)]))
    world.open(2)
    world.send(2, make_request([world.key_of(0)], producer="q", sequence=1))
    world.settle()
    third = world.open(3)
    world.send(3, make_request([world.key_of(0)], producer=name, sequence=1))
    assert third.finished is not None
    assert third.finished[0] == Code.RESOURCE_EXHAUSTED
    again = world.open(4)
    world.send(4, make_request([world.key_of(0)], 7, producer="q", sequence=2))
    world.settle()
    assert numbers(again.responses[0]) == [7], "it is known"
    world.router.closed(1)
    fifth = world.open(5)
    world.send(5, make_request([world.key_of(0)], 8))
    world.settle()
    assert numbers(fifth.responses[0]) == [8]


@pytest.mark.parametrize("open_meanwhile", [False, True])
def test_whoever_can_come_back_is_forgotten_nowhere(
    make_world: Callable[..., World], make_request: Request, open_meanwhile: bool
) -> None:
    """A worker that was away knows a producer by an old fence, and alone has its last batch: once is enough."""
    world = make_world(limits=RouterLimits(retention_ms=1000)).form()
    world.tick()
    client = world.open(1)
    world.send(1, opening(make_request))
    world.settle()
    session = client.responses[0].stream.session
    batch = make_request([world.key_of(0)], 5, producer="p", sequence=9)
    world.send(1, batch)
    world.write(0)  # applied, and the answer is lost
    world.lose(0)
    world.router.closed(1)
    world.open(2)
    world.send(2, opening(make_request, session=session))
    world.settle()
    world.tick(1001)  # there is a floor by now
    if not open_meanwhile:
        world.router.closed(2)
    world.open(3)
    world.send(3, make_request([world.key_of(1)]))
    world.write(1)
    world.router.closed(3)  # in doubt, so that somebody is to be forgotten
    world.rejoin(0)
    for _ in range(3):
        world.tick(20)
        world.settle()
    again = world.open(4)
    world.send(4, opening(make_request, session=session))
    world.send(4, batch)
    world.settle()
    assert [numbers(each) for each in again.responses[1:]] == [[5]]
    assert [number for _, number in world.workers[0].applied] == [5], "applied twice"


def test_the_floor_rises_when_whoever_was_away_knows(make_world: Callable[..., World], make_request: Request) -> None:
    world = make_world(limits=RouterLimits(retention_ms=1000)).form()
    world.tick()
    client = world.open(1)
    world.send(1, opening(make_request))
    world.settle()
    world.router.closed(1)
    world.lose(0)
    world.open(2)
    world.send(2, opening(make_request, session=client.responses[0].stream.session))
    world.settle()
    sessions = world.router._sessions
    fence = world.workers[1].opens[-1].fence
    assert sessions.floor() < fence
    world.rejoin(0)
    assert sessions.floor() < fence, "it has not said so"
    world.settle()
    assert sessions.floor() == fence


def test_an_idle_producer_is_introduced_too(make_world: Callable[..., World], make_request: Request) -> None:
    world = make_world().form()
    world.lose(0)
    world.open(1)
    world.send(1, opening(make_request))
    world.settle()
    world.router.closed(1)
    world.rejoin(0)
    world.settle()
    assert [each.producer for each in world.workers[0].opens] == [producer_number("flights", "p")]
    world.republish()
    world.settle()
    assert len(world.workers[0].opens) == 1, "once"


def test_an_introduction_that_is_refused_ends_the_stream(
    make_world: Callable[..., World], make_request: Request
) -> None:
    world = make_world().form()
    world.lose(0)
    client = world.open(1)
    world.send(1, opening(make_request))
    world.settle()
    partition = int((world.view.table == 0).argmax())
    world.workers[0].partitions[partition].rows[producer_number("flights", "p")] = Row(1 << 60, 1 << 60)
    world.rejoin(0)
    world.settle()
    assert client.finished is not None
    assert client.finished[0] == Code.ABORTED


def test_a_call_is_told_once_that_what_calls_sent_is_lost(world: World, make_request: Request) -> None:
    def call(stream: int) -> Any:
        client = world.open(stream, brief=True)
        world.send(stream, make_request([world.key_of(0)], stream, producer="p", sequence=stream))
        world.half_close(stream)
        world.settle()
        return client

    assert call(1).finished == (Code.OK, "")
    world.lose(0)
    world.restart(0)
    world.settle()
    told = call(2)
    assert told.finished is not None
    assert told.finished[0] == Code.FAILED_PRECONDITION
    assert "begin anew" in told.finished[1]
    assert call(3).finished == (Code.OK, "")


def test_room_is_taken_until_workers_have_forgotten(make_world: Callable[..., World], make_request: Request) -> None:
    world = make_world(limits=RouterLimits(identities_max=2, retention_ms=1000)).form()
    world.tick()
    for stream, name in enumerate("ab"):
        world.open(stream)
        world.send(stream, opening(make_request, name))
        world.settle()
        world.router.closed(stream)
    world.tick(1001)
    refused = world.open(3)
    world.send(3, opening(make_request, "c"))
    assert refused.finished is not None
    assert refused.finished[0] == Code.RESOURCE_EXHAUSTED
    world.settle()
    admitted = world.open(4)
    world.send(4, opening(make_request, "c"))
    world.settle()
    assert admitted.finished is None
    assert len(admitted.responses) == 1


@pytest.mark.parametrize("resumes", [False, True])
def test_of_whom_was_forgotten_nothing_is_certain(
    make_world: Callable[..., World], make_request: Request, resumes: bool
) -> None:
    """A worker that is away may know more of a forgotten producer than anybody else."""
    world = make_world(limits=RouterLimits(retention_ms=1000)).form()
    client = world.open(1)
    world.send(1, opening(make_request))
    world.settle()
    session = client.responses[0].stream.session
    batch = make_request([world.key_of(0)], 5, producer="p", sequence=4)
    world.send(1, batch)
    world.write(0)  # applied, and the answer is lost
    world.lose(0)
    world.lose(1)
    world.router.closed(1)
    world.tick(1001)
    again = world.open(2)
    world.send(2, opening(make_request, session=session if resumes else 0))
    world.send(2, batch)
    world.settle()
    assert len(again.responses) == 1 or not resumes, "what may have been applied is refused"
    assert resumes or again.responses[0].stream.last_sequence >= ABSENT_MAX
