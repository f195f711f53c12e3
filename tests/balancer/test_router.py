"""One batch's way through the router: every rule of the contract, one at a time."""

from collections.abc import Callable
from typing import Any

import pytest

from ringmill.balancer.batch import EMISSIONS
from ringmill.balancer.limits import RouterLimits
from ringmill.core.agreement import Served, StreamLimits
from ringmill.core.errors import Code, Reason
from ringmill.internal.v1.link_pb2 import JoinResponse
from ringmill.telemetry import Span, Telemetry
from ringmill.telemetry.counts import Stage, StageTimes
from ringmill.telemetry.names import SpanKind
from ringmill.v1.processing_pb2 import (
    AckLevel,
    DescribePipelineResponse,
    ProcessOptions,
    ProcessRequest,
    ProcessResponse,
)

World = Any
Request = Callable[..., bytes]


def numbers(response: ProcessResponse) -> list[float | int]:
    """Each outcome's event number, or the negative reason of its rejection."""
    return [
        -outcome.rejection.reason if outcome.HasField("rejection") else outcome.values[0]
        for outcome in response.outcomes
    ]


def parts_of(frame: bytes) -> list[bytes]:
    return [part.request for part in JoinResponse.FromString(frame).parts]


def test_a_batch_with_one_owner_passes_untouched(world: World, make_request: Request) -> None:
    message = make_request([world.key_of(0), world.key_of(0, 1)], sequence=7)
    client = world.open(1)
    world.send(1, message)
    assert parts_of(world.frames[world.links[0]]) == [message]
    world.settle()
    (response,) = client.responses
    assert numbers(response) == [0, 1]
    assert response.sequence == 7
    assert response.receipt.copies == 1
    assert response.receipt.kernel_us == 2


def test_a_split_batch_is_merged_in_the_order_of_its_events(world: World, make_request: Request) -> None:
    keys = [world.key_of(place % 2, place) for place in range(9)]
    client = world.open(1)
    world.send(1, make_request(keys, first=10, sequence=3))
    assert len(world.frames) == 2
    world.settle()
    (response,) = client.responses
    assert numbers(response) == list(range(10, 19))
    assert response.sequence == 3
    assert response.receipt.ack == AckLevel.ACK_LEVEL_PRIMARY
    assert response.receipt.kernel_us == 5  # the worse of 5 and 4


@pytest.mark.parametrize("wanted", [True, False])
def test_every_part_of_a_stream_that_asks_for_emissions_says_so(
    world: World, make_request: Request, wanted: bool
) -> None:
    world.open(1)
    world.send(1, make_request([world.key_of(0), world.key_of(1)], options=ProcessOptions(emissions=wanted)))
    world.send(1, make_request([world.key_of(0), world.key_of(1)]))
    world.settle()
    assert [part.flags for worker in world.workers for part in worker.parts] == [EMISSIONS if wanted else 0] * 4


def test_responses_keep_the_order_of_requests(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)], first=1))
    world.send(1, make_request([world.key_of(1)], first=2))
    world.send(1, make_request([]))
    world.write(1)
    world.answer(1)
    assert client.responses == []
    world.settle()
    assert [numbers(response) for response in client.responses] == [[1], [2], []]


def test_what_waits_for_a_write_travels_as_one_frame(world: World, make_request: Request) -> None:
    for stream in range(5):
        world.open(stream)
        world.send(stream, make_request([world.key_of(0)], first=stream))
    link = world.links[0]
    assert len(parts_of(world.frames[link])) == 1
    world.write(0)
    assert len(parts_of(world.frames[link])) == 4
    world.settle()
    assert [numbers(world.clients[stream].responses[0]) for stream in range(5)] == [[n] for n in range(5)]


def test_a_frame_has_a_bound(make_world: Callable[..., World], make_request: Request) -> None:
    world = make_world(limits=RouterLimits(frame_bytes_max=100)).form()
    client = world.open(1)
    for number in range(20):
        world.send(1, make_request([world.key_of(0)], first=number))
    frames = 0
    while world.write(0):
        frames += 1
    assert 4 < frames < 20
    world.settle()
    assert [numbers(response) for response in client.responses] == [[number] for number in range(20)]


def test_the_first_response_tells_about_the_stream(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, make_request([]))
    world.send(1, make_request([world.key_of(0)]))
    world.settle()
    first, second = client.responses
    assert first.stream.version == "2.1.0"
    assert not first.stream.deduplicates
    assert (first.stream.max_in_flight, first.stream.max_events) == (64, 64)
    assert first.stream.max_request_bytes == 4 << 20
    assert first.receipt.epoch == 1
    assert not second.HasField("stream")


def test_routing_time_is_told(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.open(2)
    world.send(2, make_request([world.key_of(0)]))
    world.send(1, make_request([world.key_of(0)]))
    world.now_ns += 40_000  # waits for the link
    world.write(0)
    world.write(0)
    world.now_ns += 1_000_000  # is worked on
    world.settle()
    assert client.responses[0].receipt.route_us == 40


@pytest.mark.parametrize(
    ("fields", "code", "why"),
    [
        ({"pipeline": ""}, Code.INVALID_ARGUMENT, "must name its pipeline"),
        ({"pipeline": "trains"}, Code.NOT_FOUND, "there is: flights"),
        ({"options": ProcessOptions(version="3")}, Code.FAILED_PRECONDITION, "served as version 2.1.0, not 3"),
        ({"options": ProcessOptions(version="2.1.1")}, Code.FAILED_PRECONDITION, "not 2.1.1"),
        ({"ack": 9}, Code.INVALID_ARGUMENT, "ack 9"),
        ({"options": ProcessOptions(ack=9)}, Code.INVALID_ARGUMENT, "options.ack 9"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_opening_ends_the_stream(
    world: World, make_request: Request, fields: dict[str, Any], code: Code, why: str
) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)], **fields))
    assert client.finished is not None
    assert client.finished[0] == code
    assert why in client.finished[1]
    assert not world.frames


@pytest.mark.parametrize("version", ["", "2", "2.1", "2.1.0"])
def test_versions_that_are_served(world: World, make_request: Request, version: str) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)], options=ProcessOptions(version=version)))
    world.settle()
    assert len(client.responses) == 1


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [
        ({"pipeline": ""}, True),
        ({"pipeline": "flights"}, True),
        ({"pipeline": "trains"}, False),
        ({"pipeline": "", "producer": "p"}, True),
        ({"pipeline": "", "producer": "q"}, False),
    ],
)
def test_later_messages_agree_with_the_first(
    world: World, make_request: Request, fields: dict[str, Any], accepted: bool
) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)], producer="p", sequence=1))
    world.send(1, make_request([world.key_of(1)], sequence=2, **fields))
    world.settle()
    assert len(client.responses) == 1 + accepted
    assert client.finished is None if accepted else client.finished[0] == Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("message", "code", "why"),
    [
        (b"\xff\xff", Code.INVALID_ARGUMENT, ""),
        (ProcessRequest(pipeline="flights").SerializeToString() + b"\xa2\x06\x00", Code.INVALID_ARGUMENT, ""),
        (b"x" * 70_000, Code.RESOURCE_EXHAUSTED, "max_request_bytes"),
        (
            ProcessRequest(pipeline="flights").SerializeToString() + b"\x22\x03\n\x01a" * 65,
            Code.RESOURCE_EXHAUSTED,
            "max_events",
        ),
    ],
)
def test_an_error_follows_all_earlier_responses(
    world: World, make_request: Request, message: bytes, code: Code, why: str
) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)]))
    world.send(1, message)
    world.send(1, make_request([world.key_of(1)]))  # comes too late
    assert client.finished is None
    assert client.paused
    world.settle()
    assert len(client.responses) == 1
    assert client.finished is not None
    assert client.finished[0] == code
    assert why in client.finished[1]
    assert world.workers[1].applied == []


def test_nothing_is_served_before_the_cluster_has_formed(
    make_world: Callable[..., World], make_request: Request
) -> None:
    world = make_world()
    world.router.waiting("waiting for workers: 1 of 2 have joined")
    client = world.open(1)
    world.send(1, make_request(["k"]))
    assert client.finished == (Code.UNAVAILABLE, "waiting for workers: 1 of 2 have joined")


def test_a_dead_workers_events_are_refused_and_the_rest_is_applied(world: World, make_request: Request) -> None:
    world.lose(1)
    client = world.open(1)
    mixed = [world.key_of(1), world.key_of(0), world.key_of(1)]
    world.send(1, make_request(mixed, first=5, sequence=1))
    world.send(1, make_request([world.key_of(1)], sequence=2))
    world.settle()
    first, second = client.responses
    assert numbers(first) == [-Reason.UNAVAILABLE, 6, -Reason.UNAVAILABLE]
    assert (first.rejected, first.sequence, first.receipt.copies) == (2, 1, 1)
    assert first.outcomes[0].rejection.retry_after_ms > 0
    assert numbers(second) == [-Reason.UNAVAILABLE]
    assert (second.rejected, second.sequence, second.receipt.epoch) == (1, 2, 2)
    world.rejoin(1)
    world.send(1, make_request([world.key_of(1)], first=9))
    world.settle()
    assert numbers(client.responses[2]) == [9]


def test_what_a_lost_worker_had_is_settled_in_time_or_ends_the_stream_after_earlier_responses(
    world: World, make_request: Request
) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)], first=1))
    world.send(1, make_request([world.key_of(0), world.key_of(1)], first=2))
    world.send(1, make_request([world.key_of(0)], first=4))
    world.write(1)
    world.lose(1)
    world.settle()
    world.tick(4999)
    assert [numbers(response) for response in client.responses] == [[1]]
    assert client.finished is None
    world.tick(1)
    assert [numbers(response) for response in client.responses] == [[1]]
    assert client.finished is not None
    assert client.finished[0] == Code.UNAVAILABLE


def test_what_a_lost_worker_was_not_given_is_refused(world: World, make_request: Request) -> None:
    client, other = world.open(1), world.open(2)
    world.send(2, make_request([world.key_of(1)]))  # occupies the link
    world.send(1, make_request([world.key_of(1), world.key_of(0)], first=1))
    world.lose(1)
    world.settle()
    assert numbers(client.responses[0]) == [-Reason.UNAVAILABLE, 2]
    assert client.finished is None
    assert other.responses == []
    world.tick(5000)
    assert other.finished is not None
    assert other.finished[0] == Code.UNAVAILABLE


def test_a_draining_worker_answers_what_it_has_and_gets_no_more(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(1)], first=1))
    world.send(1, make_request([world.key_of(1)], first=2))
    world.publish(dead=1)
    world.send(1, make_request([world.key_of(1)], first=3))
    assert world.router.unanswered(world.links[1]) == 1
    world.settle()
    assert world.router.unanswered(world.links[1]) == 0
    assert [numbers(response) for response in client.responses] == [[1], [-33], [-33]]


def test_a_part_that_waits_beyond_its_deadline_is_rejected(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.open(2)
    world.send(2, make_request([world.key_of(0)]))
    world.send(1, make_request([world.key_of(0), world.key_of(1)], first=1, timeout_ms=10))
    world.now_ns += 11_000_000
    world.settle()
    assert numbers(client.responses[0]) == [-Reason.DEADLINE, 2]
    assert client.responses[0].rejected == 1


def test_a_tick_rejects_what_waits_for_a_stuck_link(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)]))
    world.send(1, make_request([world.key_of(0)], timeout_ms=10))
    world.now_ns += 9_000_000
    world.router.tick(world.now_ns)
    assert world.router.queued()[1] == 1
    world.now_ns += 2_000_000
    world.router.tick(world.now_ns)
    assert world.router.queued()[1] == 0
    world.settle()
    assert [numbers(response) for response in client.responses] == [[0], [-Reason.DEADLINE]]


def test_a_workers_error_ends_the_stream(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)]))
    world.router.results(world.links[0], [(1, b"", int(Code.INTERNAL), "broke", False, 0, False)], world.now_ns)
    world.perform()
    assert client.finished == (Code.INTERNAL, "broke")


def test_a_wrong_number_of_outcomes_is_noticed(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0), world.key_of(1)]))
    short = ProcessResponse().SerializeToString()
    world.router.results(world.links[0], [(1, short, 0, "", False, 0, False)], world.now_ns)
    world.router.results(world.links[1], [(1, short, 0, "", False, 0, False)], world.now_ns)
    world.perform()
    assert client.finished is not None
    assert client.finished[0] == Code.INTERNAL


@pytest.mark.parametrize(
    "answer",
    [
        (ProcessResponse(outcomes=[{}]).SerializeToString() + b"\x1a\x01\xff", 0),  # a receipt that does not parse
        (b"", 99),  # a code that gRPC does not have
        (b"\xff", 0),
    ],
)
def test_garbage_from_a_worker_ends_the_stream_and_no_other(
    world: World, make_request: Request, answer: tuple[bytes, int]
) -> None:
    client, other = world.open(1), world.open(2)
    world.send(1, make_request([world.key_of(0), world.key_of(1)]))
    world.send(2, make_request([world.key_of(1)]))
    response, code = answer
    world.router.results(world.links[0], [(1, response, code, "?", False, 0, False)], world.now_ns)
    world.settle()
    assert client.finished is not None
    assert client.finished[0] == Code.INTERNAL
    assert client.responses == []
    assert [numbers(each) for each in other.responses] == [[0]]
    assert other.finished is None


def test_strange_answers_are_ignored(world: World) -> None:
    world.router.results(world.links[0], [(77, b"", 0, "", False, 0, False)], world.now_ns)
    world.router.results(4242, [(1, b"", 0, "", False, 0, False)], world.now_ns)
    world.router.link_drained(4242, world.now_ns)
    world.router.link_down(4242, world.now_ns)
    world.router.message(4242, b"", world.now_ns)
    assert not world.router.effects


def test_half_close_ends_well_when_all_is_answered(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.send(1, make_request([world.key_of(0)]))
    world.half_close(1)
    assert client.finished is None
    world.settle()
    assert client.finished == (Code.OK, "")
    assert world.router.idle


def test_a_stream_with_too_much_unanswered_is_not_read(make_world: Callable[..., World], make_request: Request) -> None:
    limits = RouterLimits(StreamLimits(requests_in_flight_max=4, bytes_in_flight_max=400))
    world = make_world(limits=limits).form()
    client = world.open(1)
    for _ in range(4):
        assert not world.send(1, make_request([world.key_of(0)])).paused
    assert world.send(1, make_request([world.key_of(0)])).paused
    world.settle()
    assert not client.paused
    big = make_request([world.key_of(0)] * 40)
    assert len(big) > 400
    assert world.send(1, big).paused
    world.settle()
    assert not client.paused


def test_many_streams_share_what_one_may_hold(make_world: Callable[..., World], make_request: Request) -> None:
    """A stream with more unanswered than its even share is not read, however little that is."""
    request = make_request([make_world().form().key_of(0)])
    world = make_world(limits=RouterLimits(bytes_in_flight_max=len(request) * 6)).form()
    alone = world.open(1)
    for _ in range(6):
        assert not world.send(1, request).paused
    assert world.send(1, request).paused
    world.settle()
    assert not alone.paused
    for stream in (2, 3):
        world.open(stream)
    for _ in range(2):
        assert not world.send(1, request).paused
    assert world.send(1, request).paused
    assert not world.send(2, request).paused, "the others have shares of their own"
    world.settle()
    assert not alone.paused


def test_a_slow_link_holds_back_who_fills_it_and_nobody_else(
    make_world: Callable[..., World], make_request: Request
) -> None:
    world = make_world(limits=RouterLimits(link_bytes_max=1000)).form()
    filling, other = world.open(1), world.open(2)
    sent = 0
    while not filling.paused:
        world.send(1, make_request([world.key_of(0)]))
        sent += 1
    for _ in range(50):
        world.send(2, make_request([world.key_of(1)]))
    assert not other.paused
    world.write(0)
    assert not filling.paused
    world.settle()
    assert (len(filling.responses), len(other.responses)) == (sent, 50)


def test_a_client_that_does_not_read_is_not_read(world: World, make_request: Request) -> None:
    client = world.open(1)
    world.router.clogged(1, True)
    world.perform()
    assert client.paused
    world.router.clogged(1, False)
    world.perform()
    assert not client.paused


def test_a_client_that_leaves_gives_back_what_it_filled(
    make_world: Callable[..., World], make_request: Request
) -> None:
    """Clients that come, fill a stuck link and go must not fill the memory."""
    world = make_world(limits=RouterLimits(link_bytes_max=500)).form()
    for stream in range(100):
        world.open(stream)
        for _ in range(10):
            world.send(stream, make_request([world.key_of(0)]))
        world.router.closed(stream)
        world.perform()
    assert world.router.queued()[1] < 60
    world.settle()
    assert len(world.workers[0].applied) == 1


def test_new_pipelines_end_the_streams_of_the_old(world: World, make_request: Request) -> None:
    client, fresh = world.open(1), world.open(2)
    world.send(1, make_request([world.key_of(0)]))
    world.settle()
    other = {"flights": Served("flights", 0, DescribePipelineResponse(version="3.0.0", digest="e"), 64)}
    world.publish(catalogue=other)
    assert client.finished is not None
    assert client.finished[0] == Code.UNAVAILABLE
    assert fresh.finished is None


def test_shutting_down_answers_what_was_sent(world: World, make_request: Request) -> None:
    client, quiet = world.open(1), world.open(2)
    world.send(1, make_request([world.key_of(0)]))
    world.router.end_all(Code.UNAVAILABLE, "bye", world.now_ns)
    world.perform()
    assert quiet.finished == (Code.UNAVAILABLE, "bye")
    assert client.finished is None
    world.settle()
    assert len(client.responses) == 1
    assert client.finished == (Code.UNAVAILABLE, "bye")
    assert world.router.idle


CONTEXT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def traceparents(world: World) -> list[str]:
    return [ProcessRequest.FromString(part).traceparent for frame in world.frames.values() for part in parts_of(frame)]


def test_a_streams_trace_context_reaches_the_workers(world: World, make_request: Request) -> None:
    world.open(1, CONTEXT)
    world.send(1, make_request([world.key_of(0), world.key_of(1)]))
    assert traceparents(world) == [CONTEXT, CONTEXT]
    world.settle()
    own = CONTEXT.replace("b7", "c8")
    message = make_request([world.key_of(0)], traceparent=own)
    world.send(1, message)
    assert parts_of(world.frames[world.links[0]]) == [message]


class Recorded(Span):
    recording = True
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-1111111111111111-01"

    def __init__(self) -> None:
        self.ended: list[tuple[int, int, str | None]] = []

    def end(self, events: int, rejected: int, error: str | None = None) -> None:
        self.ended.append((events, rejected, error))


class Recording(Telemetry):
    enabled = True

    def __init__(self) -> None:
        self.spans: list[tuple[str, str, Recorded]] = []
        self.times = StageTimes()

    def stages(self, pipeline: str) -> StageTimes:
        return self.times

    def span(self, kind: SpanKind, pipeline: str, traceparent: str) -> Recorded:
        self.spans.append((pipeline, traceparent, Recorded()))
        return self.spans[-1][2]


def test_a_span_for_each_traced_batch_and_times_for_all(
    make_world: Callable[..., World], make_request: Request
) -> None:
    telemetry = Recording()
    world = make_world(telemetry=telemetry).form()
    world.open(1)
    world.send(1, make_request([world.key_of(0)] * 3, traceparent=CONTEXT))
    assert traceparents(world) == [Recorded.traceparent]
    world.settle()
    world.send(1, make_request([world.key_of(0)]))
    world.settle()
    world.send(1, make_request([world.key_of(1)], traceparent=CONTEXT))
    world.write(1)
    world.lose(1)
    world.tick(5000)
    (first_pipeline, context, first), (_, _, second) = telemetry.spans
    assert (first_pipeline, context) == ("flights", CONTEXT)
    assert first.ended == [(3, 0, None)]
    assert second.ended == [(1, 0, "the stream ended first")]
    assert [sum(telemetry.times.buckets[stage]) for stage in (Stage.QUEUE, Stage.ROUTE, Stage.TOTAL)] == [2, 2, 2]


def test_figures(world: World, make_request: Request) -> None:
    world.open(1)
    world.send(1, make_request([world.key_of(0), world.key_of(1)]))
    world.send(1, make_request([]))
    counts = world.router.snapshot()["flights"]
    assert (counts.in_flight, counts.batches) == (2, 0)
    world.settle()
    assert (counts.in_flight, counts.batches, counts.events) == (0, 2, 2)
    world.send(1, make_request([world.key_of(0)]))
    world.send(1, make_request([world.key_of(0)]))
    world.router.tick(world.now_ns)
    assert counts.queue_depth == 1
    world.lose(1)
    world.send(1, make_request([world.key_of(1)]))
    assert counts.rejected[Reason.UNAVAILABLE] == 1
