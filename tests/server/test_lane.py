"""The lane: bytes in, bytes out, with a clock that the test turns."""

from collections.abc import Callable

import numpy as np
import pytest

from ringmill.core.agreement import Served
from ringmill.core.errors import Code, Reason, RingmillError
from ringmill.engine.engine import Engine
from ringmill.pipeline import Event, Pipeline, ops
from ringmill.server.lane import Lane, events_max
from ringmill.telemetry import Telemetry
from ringmill.v1 import processing_pb2 as pb


class Reading(Event):
    value: float


PIPELINE = Pipeline("lane", version="1.0.0", event=Reading, steps={"sum": ops.sum("value"), "n": ops.count()})


class TurnedClock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def lane(clock: TurnedClock) -> Lane:
    engine = Engine(PIPELINE.compile(), events_max=16, keys_max=8)
    served = Served(PIPELINE.name, 0, PIPELINE.describe(), 16)
    return Lane(served, engine, clock, Telemetry.off())


def request(*keys: str, **fields: object) -> bytes:
    events = [pb.Event(key=key, time_us=1, values=[1.0]) for key in keys]
    return pb.ProcessRequest(pipeline="lane", events=events, **fields).SerializeToString()


def handle(
    lane: Lane, message: bytes, arrived_ns: int = 0, check: Callable[..., object] | None = None
) -> pb.ProcessResponse:
    buffer = np.frombuffer(message, np.uint8)
    return pb.ProcessResponse.FromString(lane.handle(buffer, 0, len(message), arrived_ns, check))


def test_a_request_inside_a_larger_buffer(lane: Lane) -> None:
    message = request("a", "a", sequence=3)
    buffer = np.frombuffer(b"\xff" * 7 + message + b"\xff" * 9, np.uint8)
    got = pb.ProcessResponse.FromString(lane.handle(buffer, 7, 7 + len(message), 0))
    assert got.sequence == 3
    assert [list(outcome.values) for outcome in got.outcomes] == [[1.0], [2.0]]


def test_counts_what_it_did(lane: Lane) -> None:
    handle(lane, request("a", "", "b", ""))
    assert (lane.counts.batches, lane.counts.events) == (1, 4)
    assert lane.counts.rejected[Reason.KEY_INVALID] == 2
    assert sum(lane.counts.rejected) == 2


def test_too_late_is_rejected_and_changes_nothing(lane: Lane, clock: TurnedClock) -> None:
    clock.now_ns = 5_000_001
    got = handle(lane, request("a", "", "a", timeout_ms=5), arrived_ns=0)
    assert [outcome.rejection.reason for outcome in got.outcomes] == [
        Reason.DEADLINE,
        Reason.KEY_INVALID,
        Reason.DEADLINE,
    ]
    assert got.rejected == 3
    got = handle(lane, request("a", timeout_ms=5), arrived_ns=1)
    assert got.outcomes[0].values == [1.0], "in time, and the first that was applied"


def test_a_very_long_wait_still_has_a_receipt(lane: Lane, clock: TurnedClock) -> None:
    clock.now_ns = 5 * 3600 * 10**9
    assert handle(lane, request("a"), arrived_ns=0).receipt.queue_us == 2**32 - 1


def test_the_receipt_tells_how_long_it_waited(lane: Lane, clock: TurnedClock) -> None:
    lane.epoch = 9
    clock.now_ns = 7_000
    got = handle(lane, request("a"), arrived_ns=2_000)
    assert (got.receipt.queue_us, got.receipt.epoch, got.receipt.copies) == (5, 9, 1)
    assert got.receipt.ack == pb.ACK_LEVEL_ALL


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (request("a")[:-1], Code.INVALID_ARGUMENT),
        (request("a") + b"\x0a\x02\xc3\x28", Code.INVALID_ARGUMENT),
        (request("a") + b"\xa2\x06\x01x", Code.INVALID_ARGUMENT),
        (request(*"abcdefghijklmnopq"), Code.RESOURCE_EXHAUSTED),
    ],
    ids=["cut", "pipeline is no UTF-8", "reserved field", "too many events"],
)
def test_what_is_refused_as_a_whole_applies_nothing(lane: Lane, message: bytes, code: Code) -> None:
    with pytest.raises(RingmillError) as caught:
        handle(lane, message)
    assert caught.value.code == code
    assert lane.engine.table.count == 0
    assert lane.counts.events == 0


def test_the_check_comes_before_the_state(lane: Lane) -> None:
    def refuse(head: pb.ProcessRequest, count: int) -> None:
        raise RingmillError(Code.INVALID_ARGUMENT, f"{head.pipeline} {count}")

    with pytest.raises(RingmillError, match="lane 2"):
        handle(lane, request("a", "b"), check=refuse)
    assert lane.engine.table.count == 0


def test_emissions_are_in_the_response_where_the_check_says_so(lane: Lane) -> None:
    """Of a pipeline without windows there are none."""
    for wanted in (True, False):
        got = handle(lane, request("a"), check=lambda _head, _count, wanted=wanted: wanted)
        assert len(got.outcomes) == 1
        assert not got.outcomes[0].emissions


def test_events_of_others_are_refused_not_applied(lane: Lane) -> None:
    lane.engine.own(np.zeros(1021, np.uint8))
    got = handle(lane, request("a", "b"))
    assert {outcome.rejection.reason for outcome in got.outcomes} == {Reason.UNAVAILABLE}
    assert lane.engine.table.count == 0


def test_a_response_stays_below_four_mebibytes() -> None:
    for outcome_bytes in (4, 100, 5_000):
        limit = events_max(outcome_bytes, 65_536)
        assert limit * max(outcome_bytes, 224) < 4 << 20
    assert events_max(100, 10) == 10
    assert events_max(10 << 20, 10) == 1
