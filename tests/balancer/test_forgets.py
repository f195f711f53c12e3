"""Whoever serves a partition forgets whom it need not know, whoever that is by then."""

from collections.abc import Callable

import pytest

from ringmill.balancer.limits import RouterLimits
from ringmill.balancer.sessions import POOL_MAX, producer_number
from ringmill.core.hashing import partition_of
from tests.balancer.conftest import PARTITIONS, World

Request = Callable[..., bytes]


def abandon(world: World, make_request: Request, worker: int = 0) -> int:
    """A stream ends while what it sent is on its way: nobody else may be it. Returns the partition that knows it."""
    key = world.key_of(worker)
    world.open(1)
    world.send(1, make_request([key]))
    world.write(worker)
    world.router.closed(1)
    world.settle()
    return partition_of(key.encode(), PARTITIONS)


def known(world: World, partition: int) -> int:
    """Producers that the primary of a partition knows there."""
    return len(world.workers[int(world.view.table[partition])].partitions[partition].rows)


def test_the_next_primary_forgets_who_was_to_be_forgotten_by_the_last(world: World, make_request: Request) -> None:
    partition = abandon(world, make_request)
    world.copy(partition, 1)
    world.seal([partition], 1)
    world.router.tick(world.now_ns)  # tells everybody
    world.hand_over()  # and nobody has heard of it yet where it matters
    assert known(world, partition) == 1
    world.settle()
    world.tick(20)
    world.settle()
    assert known(world, partition) == 0


def test_who_was_cut_off_is_told_when_it_is_back(world: World, make_request: Request) -> None:
    partition = abandon(world, make_request)
    world.cut(0)
    world.tick(20)
    world.settle()
    assert known(world, partition) == 1
    world.dial(0)
    world.settle()
    assert known(world, partition) == 0


def test_who_was_taken_for_dead_is_told_when_it_is_back(world: World, make_request: Request) -> None:
    partition = abandon(world, make_request)
    world.lose(0)
    world.tick(20)
    world.settle()
    world.rejoin(0)
    world.tick(20)
    world.settle()
    assert known(world, partition) == 0


def test_who_has_come_back_meanwhile_is_not_forgotten(make_world: Callable[..., World], make_request: Request) -> None:
    world = make_world(limits=RouterLimits(retention_ms=100), generation=2).form()
    producer = producer_number("flights", "p")

    def open_session(stream: int) -> None:
        world.open(stream)
        world.send(stream, make_request([], producer="p", sequence=0))
        world.settle()

    open_session(1)
    world.router.closed(1)
    world.lose(0)
    world.tick(101)  # forgotten, but worker 0 has not heard of it
    world.settle()
    open_session(2)
    world.rejoin(0)
    world.settle()
    world.tick(20)
    world.settle()
    partition = int((world.view.table == 0).argmax())
    assert producer in world.workers[0].partitions[partition].rows


def test_everybody_is_told_once(world: World, make_request: Request) -> None:
    abandon(world, make_request)
    for _ in range(3):
        world.tick(20)
        world.settle()
        world.republish()
        world.settle()
    assert [len(worker.opens) for worker in world.workers] == [1] * len(world.workers)


def test_many_are_forgotten_a_few_at_a_time(
    world: World, make_request: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringmill.balancer.forgets.BATCH_MAX", 2)
    streams = range(POOL_MAX + 5)
    for stream in streams:
        world.open(stream)
        world.send(stream, make_request([world.key_of(0)]))
    world.settle()
    for stream in streams:
        world.router.closed(stream)
    for _ in range(5):
        world.tick(20)
        world.settle()
    assert [len(asked.forget) for asked in world.workers[0].opens] == [2, 2, 1]
