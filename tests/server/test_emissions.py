"""What windows emit, in the responses of a stream that asks for it."""

import pytest

from ringmill.core.agreement import Agreement, Served, StreamLimits
from ringmill.core.frame import EMISSIONS
from ringmill.engine.engine import Engine
from ringmill.pipeline import Event, Pipeline, count, ops, tumbling
from ringmill.server.adapters.service import ProcessingService
from ringmill.server.lane import Lane
from ringmill.telemetry import Telemetry
from ringmill.v1 import processing_pb2 as pb
from tests.server import cluster

SECOND = 1_000_000


class Reading(Event):
    value: float


WINDOWED = Pipeline(
    "windowed", version="1.0.0", event=Reading, steps={"sums": ops.sum("value").over(tumbling(seconds=10))}
)


@pytest.fixture
def service() -> ProcessingService:
    lane = Lane(
        Served(WINDOWED.name, 0, WINDOWED.describe(), 16),
        Engine(WINDOWED.compile(), events_max=16, keys_max=8),
        lambda: 0,
        Telemetry.off(),
    )
    return ProcessingService([lane], StreamLimits(), lambda: 0)


def answer(service: ProcessingService, agreement: Agreement, *times: int, **fields: object) -> pb.ProcessResponse:
    events = [pb.Event(key="k", time_us=time * SECOND, values=[float(time)]) for time in times]
    request = pb.ProcessRequest(pipeline="windowed", events=events, **fields)
    return pb.ProcessResponse.FromString(service.handle(request.SerializeToString(), agreement))


def test_a_stream_that_asks_gets_emissions_with_every_response(service: ProcessingService) -> None:
    agreement = Agreement(StreamLimits())
    first = answer(service, agreement, 1, 2, 11, options=pb.ProcessOptions(emissions=True))
    assert [len(outcome.emissions) for outcome in first.outcomes] == [0, 0, 1]
    second = answer(service, agreement, 5, 40)
    assert [outcome.rejection.reason for outcome in second.outcomes] == [pb.REJECTION_REASON_LATE, 0]
    (emission,) = second.outcomes[1].emissions
    assert emission == pb.Emission(start_us=10 * SECOND, time_us=20 * SECOND, values=[11.0])


def test_a_stream_that_does_not_ask_gets_none(service: ProcessingService) -> None:
    got = answer(service, Agreement(StreamLimits()), 1, 2, 11)
    assert [len(outcome.emissions) for outcome in got.outcomes] == [0, 0, 0]


def test_metadata_asks_too(service: ProcessingService) -> None:
    got = answer(service, Agreement(StreamLimits(), [("ringmill-emissions", "true")]), 1, 11)
    assert [len(outcome.emissions) for outcome in got.outcomes] == [0, 1]


COPIED = Pipeline("copied", version="1.0.0", event=Reading, steps={"sums": ops.sum("value").over(count(2))})


def test_a_part_that_asks_gets_emissions_and_a_copy_holds_the_same_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PIPELINE", COPIED)
    pair = cluster.Cluster(["a", "b"])
    pair.publish(pair.view(1, "a", ["b"]))
    producer = cluster.Producer()
    for number, flags in enumerate((0, EMISSIONS, 0, 0), start=1):
        pair.to("a", producer.part(number, ["k"], flags=flags, value=float(number)))
    pair.to("a", producer.part(5, ["k"], flags=EMISSIONS, sequence=2, value=2.0))
    found = [pair.result("a", number) for number in range(1, 6)]
    responses = [pb.ProcessResponse.FromString(result.response) for result in found if result is not None]
    sums = [[list(each.values) for each in response.outcomes[0].emissions] for response in responses]
    assert sums == [[], [[3.0]], [], [], [[3.0]]]
    assert pair.same("a", "b")


def test_rejections_of_late_events_are_counted(service: ProcessingService) -> None:
    answer(service, Agreement(StreamLimits()), 50, 1, 2)
    (lane,) = service._lanes
    assert lane.counts.rejected[pb.REJECTION_REASON_LATE] == 2
