"""The control plane of a balancer process, asked as a proxy asks it."""

import queue
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from envoy_data_plane.envoy.config.core.v3 import Node
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment
from envoy_data_plane.envoy.service.discovery.v3 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from envoy_data_plane.google.rpc import Status

from ringmill.balancer.xds.resources import ASSIGNMENT, CLUSTER
from ringmill.balancer.xds.settings import OWNERS, ROUTERS, WORKERS
from tests.balancer.process import Balancer, until
from tests.balancer.small_worker import DEADLINE_S

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/{}AggregatedResources"


@pytest.fixture(params=["cq", "aio"])
def balancer(request: pytest.FixtureRequest) -> Iterator[Balancer]:
    started = Balancer(transport=request.param, xds_listen="127.0.0.1:0", direct=True)
    try:
        yield started
        assert started.stop() == 0, started.errors
    finally:
        started.close()


class Asking:
    """One stream towards the control plane."""

    def __init__(self, channel: grpc.Channel, variant: str, read: Callable[[bytes], Any]) -> None:
        self._say: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        call = channel.stream_stream(METHOD.format(variant))
        self.call = call(iter(self._say.get, None), timeout=DEADLINE_S)
        self._read = read

    def ask(self, request: DiscoveryRequest | DeltaDiscoveryRequest | None) -> None:
        self._say.put(None if request is None else bytes(request))

    def next(self) -> Any:
        return self._read(next(self.call))


def members(value: bytes) -> list[str]:
    groups = ClusterLoadAssignment.parse(value).endpoints
    return [each.endpoint.hostname for group in groups for each in group.lb_endpoints if each.endpoint is not None]


def test_state_of_the_world_follows_the_cluster(balancer: Balancer) -> None:
    with grpc.insecure_channel(balancer.ready["xds"]) as channel:
        asking = Asking(channel, "Stream", DiscoveryResponse.parse)
        asking.ask(DiscoveryRequest(node=Node(id="test"), type_url=ASSIGNMENT, resource_names=[ROUTERS, WORKERS]))
        first = asking.next()
        told = {ClusterLoadAssignment.parse(each.value).cluster_name: members(each.value) for each in first.resources}
        assert told == {ROUTERS: [balancer.ready["address"]], WORKERS: []}
        asking.ask(
            DiscoveryRequest(
                type_url=ASSIGNMENT,
                resource_names=[ROUTERS, WORKERS],
                response_nonce=first.nonce,
                version_info=first.version_info,
            )
        )
        balancer.join("a", address="10.0.0.1:1")
        balancer.join("b", address="10.0.0.2:1")
        newer = asking.next()
        assert newer.version_info != first.version_info
        assert members(newer.resources[1].value) == ["a", "b"]
        asking.ask(
            DiscoveryRequest(
                type_url=ASSIGNMENT,
                resource_names=[ROUTERS, WORKERS],
                response_nonce=newer.nonce,
                version_info=newer.version_info,
            )
        )
        balancer.workers[1].kill()
        assert members(asking.next().resources[1].value) == ["a"]


def test_a_refusal_is_logged_with_its_reason(balancer: Balancer) -> None:
    with grpc.insecure_channel(balancer.ready["xds"]) as channel:
        asking = Asking(channel, "Delta", DeltaDiscoveryResponse.parse)
        asking.ask(DeltaDiscoveryRequest(node=Node(id="edge-7"), type_url=CLUSTER))
        first = asking.next()
        assert {each.name for each in first.resources} == {OWNERS, ROUTERS, WORKERS}
        error = Status(code=3, message="no such policy")
        asking.ask(DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce=first.nonce, error_detail=error))
        until(lambda: "no such policy" in balancer.errors)
        line = next(line for line in balancer.errors.splitlines() if "no such policy" in line)
        assert "edge-7 refuses Cluster" in line
        assert WORKERS in line


def test_what_is_no_request_ends_its_stream(balancer: Balancer) -> None:
    with grpc.insecure_channel(balancer.ready["xds"]) as channel:
        asking = Asking(channel, "Delta", DeltaDiscoveryResponse.parse)
        asking._say.put(b"\x12\x02\xff\xfe")
        with pytest.raises(grpc.RpcError) as ended:
            asking.next()
        assert ended.value.code() == grpc.StatusCode.INVALID_ARGUMENT
