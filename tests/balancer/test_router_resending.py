"""What was handed over and has no answer: parked, split again, handed over again, settled. Answers before copies."""

from collections.abc import Callable
from typing import Any

import pytest

from ringmill.core.errors import Code, Reason
from ringmill.core.hashing import partition_of
from ringmill.internal.v1.link_pb2 import JoinResponse
from ringmill.v1.processing_pb2 import AckLevel, ProcessOptions, ProcessRequest, ProcessResponse

World = Any
Request = Callable[..., bytes]
PRIMARY = AckLevel.ACK_LEVEL_PRIMARY


def numbers(response: ProcessResponse) -> list[float | int]:
    return [-each.rejection.reason if each.HasField("rejection") else each.values[0] for each in response.outcomes]


def place_of(key: str) -> int:
    return partition_of(key.encode(), 101)


@pytest.fixture
def copied(make_world: Callable[..., World]) -> World:
    return make_world(workers=3, copies=2).form()


@pytest.mark.parametrize("arrived", [False, True])
def test_what_a_lost_worker_had_goes_to_its_successor(copied: World, make_request: Request, arrived: bool) -> None:
    world = copied
    key = world.key_of(0)
    client = world.open(1)
    world.send(1, make_request([key], 1))
    if arrived:
        world.apply(0)  # and its copy has it, but the answer is lost
    world.lose(0)
    world.send(1, make_request([key], 2))
    world.settle()
    assert [numbers(response) for response in client.responses] == [[1], [2]]
    log = world.workers[int(world.table[place_of(key)])].partitions[place_of(key)].log
    assert [number for _, number in log] == [1, 2]


def test_a_part_is_split_again_as_often_as_it_takes(copied: World, make_request: Request) -> None:
    world = copied
    keys = [world.key_of(place % 3, place) for place in range(12)]
    client = world.open(1)
    world.send(1, make_request(keys[:6], 1))
    world.settle()
    world.send(1, make_request(keys, 10, sequence=4))
    world.lose(0)  # its part goes to worker 1, as a whole
    sealed = [place_of(key) for key in keys[1::3]]
    world.copy(sealed[0], 2)
    world.seal(sealed[:1], 2)
    world.cut(1)
    world.dial(1)
    world.hand_over()
    world.settle()
    assert numbers(client.responses[1]) == list(range(10, 22))
    assert client.responses[1].sequence == 4


def test_what_is_handed_over_again_says_what_came_before_it_the_first_time(
    copied: World, make_request: Request
) -> None:
    world = copied
    first, second = world.key_of(0, 0), world.key_of(0, 5)
    assert place_of(first) != place_of(second)
    world.open(1)
    world.send(1, make_request([first], 1))
    world.settle()
    world.send(1, make_request([second, first], 2))
    world.write(0)
    world.answers.clear()
    world.send(1, make_request([first], 4))
    world.write(0)
    before = {part.sequence: list(part.previous) for part in world.workers[0].parts}
    assert before == {1: [0], 2: [0, 1], 3: [1]}
    world.lose(0)
    world.settle()
    after = {part.sequence: list(part.previous) for part in world.workers[1].parts}
    assert after == {2: [0, 1], 3: [1]}


def test_what_was_never_handed_over_leaves_no_hole(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)], 1))
    world.send(1, make_request([world.key_of(0)], 2, timeout_ms=1))
    world.now_ns += 2_000_000
    world.send(1, make_request([world.key_of(0)], 3))
    world.settle()
    assert [numbers(each) for each in client.responses] == [[1], [-Reason.DEADLINE], [3]]
    assert [(part.sequence, list(part.previous)) for part in world.workers[0].parts] == [(1, [0]), (3, [2])]


def test_held_partitions_wait_and_keep_their_order(copied: World, make_request: Request) -> None:
    world = copied
    key, free = world.key_of(0), world.key_of(1)
    client, other = world.open(1), world.open(2)
    world.seal([place_of(key)], int(world.replicas[place_of(key), 0]))
    for number in range(3):
        world.send(1, make_request([key, free], 10 * number))
    world.send(2, make_request([free], 77))
    world.settle()
    assert client.responses == []
    assert numbers(other.responses[0]) == [77]
    world.hand_over()
    world.settle()
    assert [numbers(each) for each in client.responses] == [[0, 1], [10, 11], [20, 21]]
    log = world.workers[int(world.table[place_of(key)])].partitions[place_of(key)].log
    assert [number for _, number in log] == [0, 10, 20]


def test_what_is_held_too_long_is_refused_since_nobody_had_it(copied: World, make_request: Request) -> None:
    world = copied
    client = world.open(1)
    world.cut(0)
    world.send(1, make_request([world.key_of(0)], 1))
    world.send(1, make_request([world.key_of(0)], 1, timeout_ms=10))
    world.tick(11)
    world.tick(5000)
    assert [numbers(each) for each in client.responses] == [[-Reason.UNAVAILABLE], [-Reason.DEADLINE]]


def test_after_a_refusal_a_worker_gets_nothing_until_it_has_answered_all(world: World, make_request: Request) -> None:
    client = world.open(1)
    key = world.key_of(0)
    for number in range(1, 4):
        world.send(1, make_request([key], number))
    link = world.links[0]
    world.write(0)
    refused = (1, b"", 0, "", True, 1, False)
    world.workers[0].partitions.clear()
    world.workers[0].applied.clear()
    world.answers[link].clear()
    world.write(0)  # the others refer to the first, which is not there: refused as well
    world.router.results(link, [refused], world.now_ns)
    world.perform()
    world.send(1, make_request([key], 4))
    assert link not in world.frames
    world.answer(0)
    assert link not in world.frames
    world.answer(0)
    assert [part.sequence for part in JoinResponse.FromString(world.frames[link]).parts] == [1, 2, 3, 4]
    world.settle()
    assert [numbers(each) for each in client.responses] == [[1], [2], [3], [4]]


def test_refusals_without_end_are_damped_and_end_the_stream(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)]))
    world.workers[0].owns = lambda partition: False
    for _ in range(300):
        world.settle()
        world.tick(20)
    assert client.finished is not None
    assert client.finished[0] == Code.UNAVAILABLE
    assert len(world.workers[0].parts) < 150


def test_a_refusal_under_a_newer_view_waits_for_it(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)], 1))
    world.write(0)
    link = world.links[0]
    world.answers[link].clear()
    world.workers[0].partitions.clear()
    world.router.results(link, [(1, b"", 0, "", True, 2, False)], world.now_ns)
    world.perform()
    world.send(1, make_request([world.key_of(0)], 2))
    assert link not in world.frames
    world.publish()
    world.settle()
    assert [numbers(each) for each in client.responses] == [[1], [2]]


def test_what_may_have_been_applied_is_marked_expired_and_not_refused(copied: World, make_request: Request) -> None:
    world = copied
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)], 1, timeout_ms=10))
    world.cut(0)
    world.now_ns += 20_000_000
    world.dial(0)
    world.settle()
    assert [part.flags for part in world.workers[0].parts] == [1]
    assert numbers(client.responses[0]) == [-Reason.DEADLINE]


@pytest.mark.parametrize("by_option", [False, True])
def test_a_provisional_answer_is_told_to_be_committed_later(
    copied: World, make_request: Request, by_option: bool
) -> None:
    world = copied
    client = world.open(1)
    asked = {"options": ProcessOptions(ack=PRIMARY)} if by_option else {"ack": PRIMARY}
    world.send(1, make_request([world.key_of(0), world.key_of(1)], 1, sequence=1, **asked))
    for worker in (0, 1):
        world.write(worker)
        world.answer(worker)
    assert client.responses[0].committed_through == 0
    world.send(1, make_request([world.key_of(2)], 3, sequence=2, ack=AckLevel.ACK_LEVEL_ALL))
    world.write(2)
    world.answer(2)
    assert client.responses[1].committed_through == 0
    world.half_close(1)
    assert client.finished is None
    world.commit(0)
    assert client.finished is None
    world.commit(1)
    assert client.finished == (Code.OK, "")


def test_a_heartbeat_tells_what_is_committed_by_now(copied: World, make_request: Request) -> None:
    world = copied
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)], 1, sequence=5, ack=PRIMARY))
    world.write(0)
    world.answer(0)
    world.send(1, make_request([]))
    world.commit(0)
    world.send(1, make_request([]))
    assert [each.committed_through for each in client.responses] == [0, 0, 5]


def test_what_was_answered_early_survives_its_worker_and_is_answered_once(copied: World, make_request: Request) -> None:
    world = copied
    key = world.key_of(0)
    client = world.open(1)
    world.send(1, make_request([key], 1, sequence=1, ack=PRIMARY))
    world.write(0)
    world.answer(0)
    world.lose(0)
    world.settle()
    world.send(1, make_request([]))
    assert [numbers(each) for each in client.responses] == [[1], []]
    assert client.responses[1].committed_through == 1
    assert [part.flags for part in world.workers[1].parts] == [0]
    log = world.workers[int(world.table[place_of(key)])].partitions[place_of(key)].log
    assert [number for _, number in log] == [1]


def test_what_is_not_committed_counts_for_a_streams_bounds(copied: World, make_request: Request) -> None:
    world = copied
    client = world.open(1)
    for number in range(65):
        world.send(1, make_request([world.key_of(0)], number, ack=PRIMARY))
        world.write(0)
        world.answer(0)
    assert len(client.responses) == 65
    assert client.paused
    world.commit(0)
    assert not client.paused


def test_the_largest_request_is_split_again_with_what_was_appended(copied: World, make_request: Request) -> None:
    """A trace context goes behind the bytes that a client may fill to the last."""
    world = copied
    keys = [world.key_of(0, number) for number in range(2)]
    client = world.open(1, traceparent="t" * 55)
    request, again = make_request(keys, 1), ProcessRequest(pipeline="flights").SerializeToString()
    world.send(1, request + again * (((1 << 16) - len(request)) // len(again)))
    assert client.finished is None
    world.copy(place_of(keys[1]), 2)
    world.publish()
    world.lose(0)
    world.settle()
    assert [numbers(each) for each in client.responses] == [[1, 2]]
