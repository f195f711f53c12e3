"""What both clients do, against a server of the official libraries."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from ringmill.client import Client, ClientError, Code, ProcessError, Reason, RejectedError
from ringmill.pipeline import Event, Label, label
from ringmill.v1 import processing_pb2 as pb

Connect = Callable[..., Any]


class Flight(Event):
    delay: float
    distance: int = 0
    carrier: Label = label("")
    gust: float | None = None


def test_columns_go_and_come_back_in_order(server: Any, connect: Connect) -> None:
    count = 1000
    keys = [f"N{i % 7}" for i in range(count)]
    carrier = np.array(["AA", "Ü"] * (count // 2))
    gust = np.where(np.arange(count) % 3 == 0, np.nan, np.arange(count))
    got = connect(server.address, "flights").process(
        keys, np.arange(1, count + 1), delay=np.arange(count), carrier=carrier, gust=gust, distance=5
    )
    assert len(got) == count
    assert got["double"].tolist() == [2.0 * i for i in range(count)]
    np.testing.assert_array_equal(got["gust"], gust)
    assert got["seen.count"].tolist() == [i // 7 + 1 for i in range(count)]
    assert got["seen.again"].tolist() == [i >= 7 for i in range(count)]
    assert got["carrier"].tolist() == carrier.tolist()
    assert got["time"].tolist() == list(range(1, count + 1))
    assert got.rejected == 0
    got.raise_for_rejections()


def test_batches_respect_the_servers_limits_and_the_clients(server: Any, connect: Connect) -> None:
    connect(server.address, "flights").process(["k" * 900] * 60, delay=1.0)  # the fake refuses what is too large
    assert max(len(r.events) for r in server.requests) < 60
    del server.requests[:]
    connect(server.address, "flights").process(["k"] * 250, delay=1.0)
    assert [len(r.events) for r in server.requests[1:]] == [100, 100, 50]  # the fake's max_events
    del server.requests[:]
    connect(server.address, "flights", batch_events_max=30).process(["k"] * 70, delay=1.0)
    assert [len(r.events) for r in server.requests[1:]] == [30, 30, 10]


def test_several_batches_are_on_their_way_but_no_more_than_allowed(server: Any, connect: Connect) -> None:
    client = connect(server.address, "flights", in_flight_max=3, batch_events_max=1)
    client.process(["k"], delay=1.0)
    server.gate.clear()
    threading.Timer(0.2, server.gate.set).start()
    assert client.process(["k"] * 20, delay=1.0)["seen.count"].tolist() == list(range(2, 22))


def test_an_event_larger_than_a_request_is_named(server: Any, connect: Connect) -> None:
    client = connect(server.address, "flights")
    with pytest.raises(ClientError, match="event 1 alone is larger") as caught:
        client.process(["k", "k" * 30_000], delay=1.0)
    assert caught.value.code == Code.RESOURCE_EXHAUSTED
    with pytest.raises(ClientError, match="larger than a request may be"):
        client.send(("k" * 30_000, 0, 1.0))
    assert client.process(["z"], delay=1.0)["seen.count"].tolist() == [1]  # the client goes on


def test_rejections_are_told_and_raise_only_when_asked(server: Any, connect: Connect) -> None:
    got = connect(server.address, "flights").process(["a", "", "b", "busy"], delay=[1, 2, None, 4])
    assert got.rejected == 3
    assert got.reasons.tolist() == [0, Reason.KEY_INVALID, Reason.VALUES_INVALID, Reason.OVERLOADED]
    assert got.applied.tolist() == [True, False, False, False]
    assert got.rejection.tolist() == [None, "KEY_INVALID", "VALUES_INVALID", "OVERLOADED"]
    np.testing.assert_array_equal(got["double"], [2.0, np.nan, np.nan, np.nan])
    assert got["carrier"].tolist() == [""] * 4
    details = dict(got.rejections())
    assert details[1].detail == "the key is empty"
    assert [details[i].retryable for i in (1, 2, 3)] == [False, False, True]
    with pytest.raises(RejectedError, match="3 of 4 events were rejected; event 1: KEY_INVALID: the key is empty"):
        got.raise_for_rejections()


def test_no_events_are_no_message(server: Any, connect: Connect) -> None:
    got = connect(server.address, "flights").process([], delay=[])
    assert len(got) == 0
    assert got["carrier"].tolist() == []
    assert len(server.requests) == 1


def test_a_producer_numbers_its_batches_after_its_last_and_acknowledges(server: Any, connect: Connect) -> None:
    client = connect(server.address, "flights", producer="loader", batch_events_max=1)
    client.process(["k"] * 3, delay=1.0)
    client.process(["k"], delay=1.0)
    assert server.requests[0].producer == "loader"
    assert [r.sequence for r in server.requests] == [0, 7, 8, 9, 10]  # the server had applied up to 6
    assert server.requests[-1].acknowledged == 9


def test_settings_travel(server: Any, connect: Connect) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client = connect(
        server.address, "flights", version="1.2", ack="primary", deadline_ms=70, metadata=[("traceparent", trace)]
    )
    client.process(["k"], delay=1.0)
    opening, batch = server.requests
    assert opening.options == pb.ProcessOptions(version="1.2", ack=pb.ACK_LEVEL_PRIMARY)
    assert batch.timeout_ms == 70
    assert server.metadata[0]["traceparent"] == trace


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"delay": [1.0], "speed": [1]}, "no field 'speed'; its fields are 'delay', 'distance', 'carrier', 'gust'"),
        ({"distance": [1]}, "needs field 'delay'"),
        ({"delay": ["fast"]}, "'delay' must hold numbers"),
        ({"delay": [1.0], "distance": [1.5]}, "'distance' must hold whole numbers"),
        ({"delay": [1.0], "distance": [None]}, "'distance' must hold whole numbers"),
        ({"delay": [1.0], "carrier": [5]}, "'carrier' must"),
    ],
)
def test_wrong_fields_are_named(server: Any, connect: Connect, fields: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        connect(server.address, "flights").process(["k"], **fields)


@pytest.mark.parametrize(
    "fields", [{"delay": [1.0]}, {"delay": 1.0, "carrier": ["a"]}, {"delay": 1.0, "distance": [1]}]
)
def test_columns_of_another_length_are_named(server: Any, connect: Connect, fields: Any) -> None:
    with pytest.raises(ValueError, match=f"{list(fields)[-1]!r} has 1 entries, but there are 2 keys"):
        connect(server.address, "flights").process(["k", "l"], **fields)


@pytest.mark.parametrize("library", [pd, pl])
def test_frames_come_back_with_the_outputs(server: Any, connect: Connect, library: Any) -> None:
    frame = library.DataFrame({"tail": ["N1", None, "N1"], "delay": [1.0, 2.0, 3.0], "line": ["AA", None, "BB"]})
    got = connect(server.address, "flights").process_frame(frame, key="tail", carrier="line")
    assert type(got) is type(frame)
    expected = ["tail", "delay", "line", "double", "gust", "seen.count", "seen.again", "carrier", "time", "rejection"]
    assert list(got.columns) == expected
    assert (
        got["double"].fill_null(0).to_list()[::2] == [2, 6] if library is pl else got["double"].tolist()[::2] == [2, 6]
    )
    assert list(got["seen.count"]) == [1, 0, 2]
    assert list(got["carrier"]) == ["AA", "", "BB"]
    assert got["rejection"][1] == "KEY_INVALID"
    assert list(frame.columns) == ["tail", "delay", "line"]


def test_frames_with_wrong_columns_are_refused(server: Any, connect: Connect) -> None:
    client = connect(server.address, "flights")
    frame = pd.DataFrame({"tail": ["N1"], "delay": [1.0], "double": [0]})
    with pytest.raises(KeyError, match="no column 'tial'"):
        client.process_frame(frame, key="tial")
    with pytest.raises(ValueError, match="double"):
        client.process_frame(frame, key="tail")
    with pytest.raises(TypeError, match="pandas or polars DataFrame is wanted, not Table"):
        client.process_frame(pa.table({"tail": ["N1"], "delay": [1.0]}), key="tail")
    assert server.seen == {}  # nothing was applied that the caller would then send again


@pytest.mark.parametrize(
    "event",
    [
        Flight(key="k", time_us=5, delay=1.5, distance=3, carrier="AA", gust=2.5),
        {"key": "k", "time_us": 5, "delay": 1.5, "distance": 3, "carrier": "AA", "gust": 2.5},
        ("k", 5, 1.5, 3, "AA", 2.5),
    ],
    ids=["Event", "mapping", "tuple"],
)
def test_a_single_event(server: Any, connect: Connect, event: Any) -> None:
    outcome = connect(server.address, "flights").send(event)
    expected = pb.Event(key="k", time_us=5, values=[1.5, 2.5], integers=[3], labels=["AA"])
    assert server.requests[1].events[0] == expected
    assert outcome.applied
    assert outcome.double == outcome["double"] == 3.0
    assert outcome.seen.count == outcome["seen.count"] == 1
    assert outcome.seen.again is False
    assert outcome.carrier == "AA"


def test_a_rejected_event(server: Any, connect: Connect) -> None:
    outcome = connect(server.address, "flights").send(Flight(key="", delay=1.0))
    assert not outcome.applied
    assert outcome.rejection.reason is Reason.KEY_INVALID
    assert str(outcome.rejection) == "KEY_INVALID: the key is empty"
    assert np.isnan(outcome.double)
    with pytest.raises(AttributeError, match="no output 'nothing'"):
        outcome.nothing  # noqa: B018  # the access is what is tested


def test_a_stream_gives_each_event_with_its_outcome(server: Any, connect: Connect) -> None:
    events = [Flight(key=f"k{i % 3}", delay=float(i)) for i in range(500)]
    client = connect(server.address, "flights")
    for source in (events, iter(events)):
        got = list(client.stream(source))
        assert [event for event, _ in got] == events
        assert [outcome.double for _, outcome in got] == [2.0 * i for i in range(500)]


def test_two_streams_and_a_call_may_take_turns(server: Any, connect: Connect) -> None:
    client = connect(server.address, "flights")
    one, two = client.stream([("a", 0, 1.0)] * 3), client.stream([("b", 0, 2.0)] * 3)
    counts = []
    for (_, a), (_, b) in zip(one, two, strict=True):
        counts.append((a.seen.count, b.seen.count, client.send(("c", 0, 3.0)).seen.count))
    assert counts == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]


def test_an_error_of_the_source_comes_after_its_outcomes(server: Any, connect: Connect) -> None:
    def source() -> Iterator[Any]:
        yield ("k", 0, 1.0)
        raise ArithmeticError("the source broke")

    stream = connect(server.address, "flights").stream(source())
    assert next(stream)[1].double == 2.0
    with pytest.raises(ArithmeticError, match="the source broke"):
        next(stream)


def test_a_stream_left_early_harms_nothing(server: Any, connect: Connect) -> None:
    client = connect(server.address, "flights")
    stream = client.stream(("k", 0, float(i)) for i in range(10_000))
    assert next(stream)[1].double == 0.0
    stream.close()
    assert client.process(["z"], delay=1.0)["seen.count"].tolist() == [1]


def test_nobody_listens(connect: Connect) -> None:
    client = connect("127.0.0.1:1", "flights")
    with pytest.raises(ClientError, match=r"nothing answers at 127\.0\.0\.1:1; is `ringmill up` running") as caught:
        client.process(["k"], delay=1.0)
    assert caught.value.code == Code.UNAVAILABLE


def test_an_unknown_pipeline(server: Any, connect: Connect) -> None:
    with pytest.raises(ClientError, match="no pipeline 'nobody' is served; there is: flights") as caught:
        connect(server.address, "nobody").process(["k"])
    assert caught.value.code == Code.NOT_FOUND


def test_a_version_that_is_not_served(server: Any, connect: Connect) -> None:
    with pytest.raises(ClientError, match=r"served as version 1\.2\.0") as caught:
        connect(server.address, "flights", version="2").process(["k"], delay=1.0)
    assert caught.value.code == Code.FAILED_PRECONDITION


@pytest.mark.parametrize(("pipeline", "code"), [("breaks", Code.ABORTED), ("leaves", Code.UNAVAILABLE)])
def test_a_stream_that_breaks_tells_what_is_known(server: Any, connect: Connect, pipeline: str, code: Code) -> None:
    client = connect(server.address, pipeline, batch_events_max=10, in_flight_max=1)
    with pytest.raises(ProcessError) as caught:
        client.process(["k"] * 100, delay=1.0)
    assert caught.value.code == code
    assert (caught.value.acknowledged, caught.value.unknown) == (20, 10)
    assert client.process(["k"] * 20, delay=1.0)["seen.count"].tolist() == list(range(21, 41))  # on a new stream


def test_a_stream_iterator_that_breaks_gives_what_came_first(server: Any, connect: Connect) -> None:
    client = connect(server.address, "breaks", batch_events_max=1, in_flight_max=1)
    stream = client.stream([("k", 0, 1.0)] * 9)
    assert [next(stream)[1].seen.count for _ in range(2)] == [1, 2]
    with pytest.raises(ProcessError) as caught:
        next(stream)
    assert caught.value.code == Code.ABORTED


def test_a_server_that_dies(server: Any, connect: Connect) -> None:
    client = connect(server.address, "flights", batch_events_max=1)
    client.process(["k"], delay=1.0)
    server.gate.clear()
    threading.Thread(target=lambda: (server.wait_for_requests(3), server.stop())).start()
    with pytest.raises(ProcessError) as caught:
        client.process(["k"] * 5, delay=1.0)
    assert caught.value.code == Code.UNAVAILABLE
    assert caught.value.unknown >= 1


def test_silence_ends_a_call(server: Any, connect: Connect) -> None:
    client = connect(server.address, "mute", timeout_s=0.2)
    with pytest.raises(ProcessError, match=r"no outcome came for 0\.2 s") as caught:
        client.process(["k"] * 3, delay=1.0)
    assert caught.value.code == Code.DEADLINE_EXCEEDED
    assert caught.value.unknown == 3


def test_a_slow_server_is_no_silent_one(server: Any, connect: Connect) -> None:
    client = connect(server.address, "slow", batch_events_max=1, timeout_s=1.0)
    assert len(client.process(["k"] * 60, delay=1.0)) == 60  # 1.2 s in all


def test_a_closed_client_says_so(server: Any, connect: Connect) -> None:
    client = connect(server.address, "flights")
    with client:
        client.process(["k"], delay=1.0)
    if isinstance(client, Client):
        with pytest.raises(ClientError, match="the client is closed"):
            client.process(["k"], delay=1.0)


@pytest.mark.parametrize(
    "settings",
    [{"ack": "some"}, {"batch_events_max": 0}, {"in_flight_max": 0}, {"timeout_s": 0.0}, {"deadline_ms": -1}],
)
def test_settings_that_cannot_work_are_refused(connect: Connect, settings: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        connect("127.0.0.1:1", "flights", **settings)
