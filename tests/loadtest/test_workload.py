"""The benchmark's messages, read by the official library."""

import numpy as np
import pytest

from ringmill.loadtest import workload
from ringmill.v1.processing_pb2 import ProcessRequest


def test_every_event_is_what_the_official_library_reads() -> None:
    numbers = np.array([0, 7, 99_999_999])
    rows = workload.events(numbers)
    request = ProcessRequest.FromString(rows.tobytes())
    assert [event.key.encode() for event in request.events] == workload.key_names(numbers.tolist())
    assert [list(event.values) for event in request.events] == rows["values"].tolist()
    assert [event.time_us for event in request.events] == rows["time_us"].tolist()


def test_the_official_library_writes_the_same_bytes() -> None:
    encoded = workload.events(np.arange(5)).tobytes()
    assert ProcessRequest.FromString(encoded).SerializeToString() == encoded


def test_messages_hold_as_many_events_and_keys_as_asked_for() -> None:
    messages = workload.messages(count=3, size=500, key_count=10)
    requests = [ProcessRequest.FromString(message) for message in messages]
    assert [len(request.events) for request in requests] == [500] * 3
    assert len({event.key for request in requests for event in request.events}) == 10


@pytest.mark.parametrize(("keys", "size"), [(10, 4), (8, 4), (3, 100)])
def test_every_key_comes_once(keys: int, size: int) -> None:
    requests = [ProcessRequest.FromString(message) for message in workload.every_key(keys, size)]
    assert sorted(event.key.encode() for request in requests for event in request.events) == sorted(
        workload.key_names(range(keys))
    )


def test_the_opening_names_the_pipeline_and_holds_no_event() -> None:
    request = ProcessRequest.FromString(workload.opening())
    assert request.pipeline == "readings"
    assert not request.events
