"""The contract, as a client in any language sees it: grpcio's own stubs against a worker alone and against a cluster.

Every test uses keys of its own, because the servers live through all of them.
"""

import math
import queue
import random
from collections import defaultdict
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from ringmill.core.hashing import partition_of
from ringmill.v1.processing_pb2 import (
    AckLevel,
    DescribePipelineRequest,
    Event,
    FieldKind,
    ListKeysRequest,
    LocateRequest,
    ProcessBatchRequest,
    ProcessOptions,
    ProcessRequest,
    ProcessResponse,
    QueryRequest,
    RejectionReason,
    SubscribeRequest,
)
from ringmill.v1.processing_pb2_grpc import ProcessingServiceStub


def event(key: str, value: float, *more: float, time_us: int = 1) -> Event:
    return Event(key=key, time_us=time_us, values=[value, *more])


def request(*events: Event, **fields: object) -> ProcessRequest:
    return ProcessRequest(pipeline="readings", events=events, **fields)


def failure(stub: ProcessingServiceStub, *requests: ProcessRequest) -> tuple[grpc.StatusCode, str, int]:
    """How a stream of these requests ends, and how many responses came before."""
    responses = stub.Process(iter(requests), timeout=20)
    count = 0
    with pytest.raises(grpc.RpcError) as caught:
        for _ in responses:
            count += 1
    return caught.value.code(), caught.value.details(), count


def test_answers_equal_plain_python(stub: ProcessingServiceStub) -> None:
    seeded = random.Random(5)
    sent = [
        request(
            *(
                event(f"plain-{seeded.randrange(300)}", seeded.uniform(-9, 9))
                for _ in range(seeded.choice([1, 7, 400]))
            ),
            sequence=number,
        )
        for number, size in enumerate(seeded.choices([1, 7, 400], k=60), start=1)
    ]
    totals: dict[str, float] = defaultdict(float)
    values: dict[str, list[float]] = defaultdict(list)
    answered = 0
    for asked, got in zip(sent, stub.Process(iter(sent), timeout=60), strict=True):
        assert got.sequence == asked.sequence
        assert len(got.outcomes) == len(asked.events)
        assert got.rejected == 0
        for each, outcome in zip(asked.events, got.outcomes, strict=True):
            key, value = each.key, each.values[0]
            totals[key] += value
            values[key].append(value)
            mean = math.fsum(values[key]) / len(values[key])
            assert outcome.values[0] == totals[key]
            assert outcome.integers[0] == len(values[key])
            assert outcome.values[1] == pytest.approx(mean, rel=1e-12, abs=1e-12)
            answered += 1
    assert answered == sum(len(asked.events) for asked in sent)


def test_the_first_response_describes_the_stream(stub: ProcessingServiceStub) -> None:
    sent = [request(event("stream-info", 1.0)), request(event("stream-info", 1.0))]
    first, second = stub.Process(iter(sent), timeout=20)
    assert first.stream.version == "2.1.0"
    assert not first.stream.deduplicates
    assert first.stream.max_in_flight >= 1
    assert first.stream.max_events >= 1000
    assert first.stream.max_request_bytes == 4 << 20
    assert not second.HasField("stream")


@pytest.mark.parametrize(("site", "copies"), [("alone", 1), ("balanced", 2)], indirect=["site"])
def test_the_receipt_claims_what_was_achieved(stub: ProcessingServiceStub, copies: int) -> None:
    (got,) = stub.Process(iter([request(event("receipt", 1.0), ack=AckLevel.ACK_LEVEL_ALL)]), timeout=20)
    assert got.receipt.ack == AckLevel.ACK_LEVEL_ALL
    assert got.receipt.copies == copies


def test_heartbeats_are_answered_in_their_place(stub: ProcessingServiceStub) -> None:
    sent = [request(), request(event("beat", 2.0), sequence=1), request(watermark_us=5), ProcessRequest()]
    got = list(stub.Process(iter(sent), timeout=20))
    assert [len(response.outcomes) for response in got] == [0, 1, 0, 0]


def test_events_of_one_batch_fall_alone(stub: ProcessingServiceStub) -> None:
    bad = {
        RejectionReason.REJECTION_REASON_KEY_INVALID: [event("", 1.0), event("x" * 1025, 1.0)],
        RejectionReason.REJECTION_REASON_VALUES_INVALID: [
            Event(key="alone", time_us=1),
            event("alone", math.nan),
            event("alone", math.inf),
            event("alone", 1.0, 1.0, 1.0),
        ],
        RejectionReason.REJECTION_REASON_LABELS_INVALID: [Event(key="alone", values=[1.0], labels=["a", "b"])],
        RejectionReason.REJECTION_REASON_INTEGERS_INVALID: [Event(key="alone", values=[1.0], integers=[1, 2])],
        RejectionReason.REJECTION_REASON_OPERATOR_FAILED: [event("alone", 666.0)],
    }
    good = event("alone", 1.0)
    events, reasons = [good], [0]
    for reason, wrong in bad.items():
        for each in wrong:
            events += [each, good]
            reasons += [reason, 0]
    (got,) = stub.Process(iter([request(*events)]), timeout=20)
    assert [outcome.rejection.reason for outcome in got.outcomes] == reasons
    assert got.rejected == sum(reason != 0 for reason in reasons)
    applied = [outcome for outcome in got.outcomes if not outcome.HasField("rejection")]
    assert [outcome.values[0] for outcome in applied] == [float(n) for n in range(1, len(applied) + 1)]
    for outcome in got.outcomes:
        if outcome.HasField("rejection"):
            assert not outcome.values
            assert 0 < len(outcome.rejection.detail.encode()) <= 200


def test_labels_come_back(stub: ProcessingServiceStub) -> None:
    """A kernel returns labels that were declared, or that it received in an earlier batch."""
    places = ["Zürich", "", "Nairobi", "x" * 1024, "Zürich"]
    sent = [request(Event(key="where", values=[1.0], labels=[place])) for place in places]
    got = [response.outcomes[0].labels[0] for response in stub.Process(iter(sent), timeout=20)]
    assert got == ["nowhere", *places[:-1]]


def test_statuses_of_bad_streams(stub: ProcessingServiceStub) -> None:
    good = request(event("status", 1.0))
    cases = [
        (grpc.StatusCode.NOT_FOUND, "readings", ProcessRequest(pipeline="nothing")),
        (grpc.StatusCode.INVALID_ARGUMENT, "pipeline", ProcessRequest(events=[event("status", 1.0)])),
        (grpc.StatusCode.FAILED_PRECONDITION, "2.1.0", request(options=ProcessOptions(version="3"))),
        (grpc.StatusCode.INVALID_ARGUMENT, "ack", request(ack=9)),
    ]
    for code, hint, first in cases:
        found, details, count = failure(stub, first)
        assert (found, count) == (code, 0), details
        assert hint in details
    found, details, count = failure(stub, good, ProcessRequest(pipeline="other", events=[event("status", 1.0)]))
    assert (found, count) == (grpc.StatusCode.INVALID_ARGUMENT, 1)
    found, details, count = failure(stub, good, request(event("status", 1.0), producer="late"))
    assert (found, count) == (grpc.StatusCode.INVALID_ARGUMENT, 1)


def test_a_version_may_be_asked_for(stub: ProcessingServiceStub) -> None:
    for version in ("2", "2.1", "2.1.0"):
        sent = request(event(f"version-{version}", 1.0), options=ProcessOptions(version=version))
        assert len(list(stub.Process(iter([sent]), timeout=20))) == 1


def raw(site_stub: ProcessingServiceStub, channel: grpc.Channel, *messages: bytes) -> tuple[grpc.StatusCode, int]:
    call = channel.stream_stream("/ringmill.v1.ProcessingService/Process")
    count = 0
    with pytest.raises(grpc.RpcError) as caught:
        for _ in call(iter(messages), timeout=20):
            count += 1
    return caught.value.code(), count


def test_what_does_not_parse_applies_nothing(site: object, stub: ProcessingServiceStub) -> None:
    good = request(event("parse", 1.0)).SerializeToString()
    with grpc.insecure_channel(site.address) as channel:  # type: ignore[attr-defined]
        for broken in (good[:-1], good + b"\x07", good + b"\x22\x7f", good + b"\xa0\x06\x01", b"\xff" * 11):
            assert raw(stub, channel, good, broken) == (grpc.StatusCode.INVALID_ARGUMENT, 1)
    (got,) = stub.Process(iter([request(event("parse", 1.0))]), timeout=20)
    assert got.outcomes[0].integers[0] == 6, "five good messages before this one, and nothing of the broken ones"


def test_a_batch_that_is_too_large_says_the_limit(stub: ProcessingServiceStub) -> None:
    (first,) = stub.Process(iter([request()]), timeout=20)
    limit = first.stream.max_events
    events = [Event(key="k", values=[1.0])] * (limit + 1)
    found, details, count = failure(stub, request(*events))
    assert found == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(limit) in details
    assert count == 0
    found, details, count = failure(stub, request(Event(key="x" * (5 << 20))))
    assert found == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(4 << 20) in details


def test_one_batch_without_a_stream(stub: ProcessingServiceStub) -> None:
    batch = ProcessBatchRequest(pipeline="readings", sequence=7, events=[event("unary", 3.0)])
    got = stub.ProcessBatch(batch, timeout=20)
    assert got.sequence == 7
    assert got.outcomes[0].values[0] == 3.0
    assert got.stream.version == "2.1.0"
    with pytest.raises(grpc.RpcError) as caught:
        stub.ProcessBatch(ProcessBatchRequest(pipeline="nothing"), timeout=20)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as caught:
        stub.ProcessBatch(batch, timeout=20, metadata=[("ringmill-version", "3")])
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION, "options may come as metadata"


def test_describe(stub: ProcessingServiceStub) -> None:
    got = stub.DescribePipeline(DescribePipelineRequest(pipeline="readings"), timeout=20)
    assert [field.name for field in got.fields] == ["value", "extra", "count", "place"]
    assert [field.kind for field in got.fields] == [
        FieldKind.FIELD_KIND_DOUBLE,
        FieldKind.FIELD_KIND_DOUBLE,
        FieldKind.FIELD_KIND_INTEGER,
        FieldKind.FIELD_KIND_LABEL,
    ]
    assert [field.nullable for field in got.fields] == [False, True, False, False]
    assert [field.has_default for field in got.fields] == [False, True, True, True]
    assert [field.name for field in got.outputs] == ["total", "seen", "mean", "z", "where"]
    assert len(got.digest) == 64
    assert not got.uses_time


def test_what_is_not_served_yet_says_so(stub: ProcessingServiceStub) -> None:
    calls = [
        lambda: stub.Query(QueryRequest(pipeline="readings"), timeout=20),
        lambda: stub.ListKeys(ListKeysRequest(pipeline="readings"), timeout=20),
        lambda: list(stub.Subscribe(SubscribeRequest(pipeline="readings"), timeout=20)),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_locate_tells_partition_and_owner(balanced: object) -> None:
    with grpc.insecure_channel(balanced.address) as channel:  # type: ignore[attr-defined]
        got = ProcessingServiceStub(channel).Locate(LocateRequest(keys=["a", "b"]), timeout=20)
    assert [each.partition for each in got.locations] == [partition_of(b"a"), partition_of(b"b")]
    for each in got.locations:
        assert {each.primary, *each.replicas} == {"worker-0", "worker-1"}


def test_health_and_reflection(site: object) -> None:
    with grpc.insecure_channel(site.address) as channel:  # type: ignore[attr-defined]
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "ringmill.v1.ProcessingService"):
            got = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
            assert got.status == health_pb2.HealthCheckResponse.SERVING
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "ringmill.v1.ProcessingService" in database.get_services()


def test_a_client_that_stops_reading_harms_no_other(site: object, stub: ProcessingServiceStub) -> None:
    """One stream is flooded and never read; another is answered all the same."""
    flood = request(*(event(f"flood-{n % 50}", 1.0) for n in range(3000)))

    def endless() -> Iterator[ProcessRequest]:
        for _ in range(500):
            yield flood

    with grpc.insecure_channel(site.address) as channel:  # type: ignore[attr-defined]
        stuck = ProcessingServiceStub(channel).Process(endless(), timeout=60)
        next(stuck)
        for n in range(100):
            (got,) = stub.Process(iter([request(event("calm", 1.0))]), timeout=20)
            assert got.outcomes[0].integers[0] == n + 1
        stuck.cancel()


def test_ping_pong_on_one_stream(stub: ProcessingServiceStub) -> None:
    outbox: queue.SimpleQueue[ProcessRequest | None] = queue.SimpleQueue()
    responses: Iterator[ProcessResponse] = stub.Process(iter(outbox.get, None), timeout=30)
    for n in range(1, 50):
        outbox.put(request(event("ping", 1.0), sequence=n))
        got = next(responses)
        assert (got.sequence, got.outcomes[0].values[0]) == (n, float(n))
    outbox.put(None)
    assert list(responses) == []
