"""Our client counts only answers to events that were applied."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from ringmill.loadtest.peers.ours import METHOD, Client, EventsRejectedError
from ringmill.v1.processing_pb2 import ProcessRequest, ProcessResponse


def _refuse(requests: Iterator[ProcessRequest], _context: Any) -> Iterator[ProcessResponse]:
    for request in requests:
        yield ProcessResponse(rejected=len(request.events))


@pytest.fixture
def address() -> Iterator[str]:
    """Address of a server, made of the official libraries, that refuses every event."""
    server = grpc.server(ThreadPoolExecutor(2))
    handler = grpc.stream_stream_rpc_method_handler(
        _refuse, ProcessRequest.FromString, ProcessResponse.SerializeToString
    )
    service, _, method = METHOD[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_the_rate_of_refusals_is_no_figure(address: str) -> None:
    client = Client(address)
    with pytest.raises(EventsRejectedError, match="5 events"):
        client.stream(count=3, size=5, key_count=10, in_flight=2)
    with pytest.raises(EventsRejectedError, match="1 events"):
        client.round_trip(count=3)
