"""Envoy itself in front: it picks the workers that our own table names, from a header or from the first message."""

from collections.abc import Callable, Iterator

import pytest

from ringmill.v1.processing_pb2 import ProcessOptions
from tests.integration.envoy_lab import ROUTER, Caller, Lab, predicted, until

KEYS = [f"user-{number}" for number in range(3000)]


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    try:
        yield made
        assert not made.desk.counts.refused
    finally:
        made.close()


@pytest.fixture
def call(lab: Lab) -> Iterator[Callable[[], Caller]]:
    made: list[Caller] = []

    def one() -> Caller:
        made.append(Caller(lab.start_envoy()))
        return made[-1]

    yield one
    for each in made:
        each.close()


def agree(lab: Lab, caller: Caller, weights: dict[str, int]) -> None:
    """Makes these the workers; waits until Envoy has all of them, and compares all keys."""
    lab.publish(weights)
    wanted = predicted(weights, KEYS)
    few = KEYS[:200]
    # A worker counts once Envoy has found it healthy: before that its keys go elsewhere.
    until(lambda: caller.by_header(few) == {key: wanted[key] for key in few})
    assert caller.by_header(KEYS) == wanted


def test_envoy_and_our_table_name_the_same_worker(lab: Lab, call: Callable[[], Caller]) -> None:
    six = {f"worker-{number}": 1 for number in range(6)}
    lab.publish(six)
    caller = call()
    agree(lab, caller, six)
    agree(lab, caller, {"worker-0": 1, "worker-1": 2, "worker-2": 3, "worker-3": 1})
    agree(lab, caller, six)
    agree(lab, caller, {name: 1 for name in six if name != "worker-4"})
    agree(lab, caller, six | {"worker-6": 1, "worker-7": 2})


def test_a_stream_names_its_key_in_a_header_or_in_its_first_message(lab: Lab, call: Callable[[], Caller]) -> None:
    workers = {f"worker-{number}": 1 for number in range(4)}
    lab.publish(workers)
    caller = call()
    agree(lab, caller, workers)
    keys = [*KEYS[:100], "two words", "ключ", "[x]", "x" * 1024]
    assert caller.by_field(keys) == predicted(workers, keys)
    wanted = predicted(workers, keys)
    assert all(caller.first(metadata=(("ringmill-routing-key", key),)) == wanted[key] for key in KEYS[:20])
    assert {caller.first() for _ in range(20)} == {ROUTER}, "events are not looked at"
    assert caller.first(ProcessOptions(version="2")) == ROUTER
    ours = (("x-ringmill-extracted-key", '["user-1"]'),)
    assert caller.first(metadata=ours) == ROUTER, "what only Envoy may say is not taken from clients"


def test_without_a_worker_that_can_be_reached_everything_goes_to_the_balancers(
    lab: Lab, call: Callable[[], Caller]
) -> None:
    caller = call()
    assert set(caller.by_header(KEYS[:50]).values()) == {ROUTER}
    workers = {"worker-0": 1, "worker-1": 1}
    agree(lab, caller, workers)
    lab.publish({})
    until(lambda: set(caller.by_header(KEYS[:50]).values()) == {ROUTER})


def test_state_of_the_world_says_the_same(lab: Lab) -> None:
    workers = {f"worker-{number}": 1 for number in range(3)}
    lab.publish(workers)
    caller = Caller(lab.start_envoy("sotw"))
    try:
        agree(lab, caller, workers)
        agree(lab, caller, workers | {"worker-3": 2})
    finally:
        caller.close()
