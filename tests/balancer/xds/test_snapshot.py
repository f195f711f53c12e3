"""Snapshots: what a view becomes, what stays as it was, and what is never sent."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from envoy_data_plane.envoy.config.cluster.v3 import Cluster, ClusterLbPolicy
from envoy_data_plane.envoy.config.core.v3 import Address, Locality, Metadata, SocketAddress
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints
from envoy_data_plane.envoy.config.endpoint.v3 import Endpoint as LibraryEndpoint
from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration
from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryResponse, DiscoveryResponse
from envoy_data_plane.google.protobuf import Struct
from hypothesis import given
from hypothesis import strategies as st

from ringmill.balancer.adapters.admin import ADMIN
from ringmill.balancer.xds import clusters, edge
from ringmill.balancer.xds.assignments import encode_assignment
from ringmill.balancer.xds.check import check_links, check_members
from ringmill.balancer.xds.requests import Answer
from ringmill.balancer.xds.resources import ASSIGNMENT, CLUSTER, LISTENER, ROUTES, SECRET, TYPES, Snapshot
from ringmill.balancer.xds.settings import (
    CLIENTS,
    EDGE,
    EDGE_CERTIFICATE,
    EDGE_CLIENTS,
    OWNERS,
    ROUTERS,
    SERVICE,
    WORKERS,
    EdgeTls,
    Endpoint,
    XdsSettings,
    endpoint_of,
    secret_file,
)
from ringmill.balancer.xds.snapshot import SnapshotBuilder
from ringmill.balancer.xds.wire import encode, encode_delta, read_ask, read_delta_ask
from ringmill.core.errors import RingmillError
from ringmill.core.view import Member, View

PARTITIONS = 31


def view(*members: Member, version: int = 1) -> View:
    return View(version, "c", members, np.zeros(PARTITIONS, np.int32) - (not members))


def member(name: str, **others: Any) -> Member:
    return Member(name, 1, **{"address": f"10.0.0.{ord(name[-1]) - 96}:7400", **others})


def builder(direct: bool = True) -> SnapshotBuilder:
    return SnapshotBuilder(XdsSettings("127.0.0.1:7400", ("127.0.0.1:7401", "127.0.0.1:7403"), direct), PARTITIONS)


def content(snapshot: Snapshot, kind: str, name: str) -> bytes:
    (packed,) = DiscoveryResponse.parse(snapshot.kind(kind)[name].whole).resources
    assert packed.type_url == kind
    return packed.value


def endpoints(snapshot: Snapshot, cluster: str) -> list[tuple[str, str, int, int]]:
    """Name, host, port and weight of each member."""
    found = ClusterLoadAssignment.parse(content(snapshot, ASSIGNMENT, cluster))
    assert found.cluster_name == cluster
    told = []
    for group in found.endpoints:
        assert group.locality is not None, "gRPC refuses a group without one"
        assert group.load_balancing_weight == 1, "and one without a weight"
        for each in group.lb_endpoints:
            assert each.endpoint is not None
            assert each.endpoint.address is not None
            assert each.metadata is not None
            place = each.endpoint.address.socket_address
            assert place is not None
            key = each.metadata.filter_metadata["envoy.lb"].fields["hash_key"].string_value
            told.append((str(key), place.address, int(place.port_value or 0), int(each.load_balancing_weight or 0)))
    return told


def leads_to(snapshot: Snapshot, name: str) -> list[str]:
    found = RouteConfiguration.parse(content(snapshot, ROUTES, name))
    return [entry.route.cluster for entry in found.virtual_hosts[0].routes if entry.route is not None]


def test_a_view_becomes_clusters_members_listeners_and_routes() -> None:
    built = builder().build(view(member("a", weight=3), member("b")))
    assert {kind: [*built.kind(kind)] for kind in TYPES if built.kind(kind)} == {
        CLUSTER: [CLIENTS, OWNERS, ROUTERS, WORKERS],
        ASSIGNMENT: [CLIENTS, ROUTERS, WORKERS],
        LISTENER: [SERVICE, EDGE],
        ROUTES: [SERVICE, EDGE],
    }
    assert endpoints(built, WORKERS) == [("a", "10.0.0.1", 7400, 3), ("b", "10.0.0.2", 7400, 1)]
    assert [each[1:3] for each in endpoints(built, ROUTERS)] == [("127.0.0.1", 7401), ("127.0.0.1", 7403)]
    assert leads_to(built, EDGE) == [OWNERS, OWNERS, ROUTERS, ROUTERS, ROUTERS]
    assert leads_to(built, SERVICE) == [CLIENTS]
    maglev = Cluster.parse(content(built, CLUSTER, WORKERS))
    assert maglev.lb_policy == ClusterLbPolicy.MAGLEV
    assert maglev.maglev_lb_config is not None
    assert maglev.maglev_lb_config.table_size == PARTITIONS


def test_without_direct_everything_goes_to_the_balancers() -> None:
    built = builder(direct=False).build(view(member("a")))
    assert WORKERS not in built.kind(CLUSTER)
    assert set(leads_to(built, EDGE)) == {ROUTERS}


@pytest.mark.parametrize("address", ["", "worker-b:7400", "0.0.0.0:7400", "10.0.0.2:0"])
def test_one_worker_that_cannot_be_reached_keeps_streams_from_all(address: str) -> None:
    build = builder()
    assert endpoints(build.build(view(member("a"), member("b", address=address))), WORKERS) == []
    again = build.build(view(member("a"), member("b"), version=2))
    assert [each[0] for each in endpoints(again, WORKERS)] == ["a", "b"]


def test_the_dead_and_the_leaving_get_no_streams() -> None:
    built = builder().build(view(member("a"), member("b", alive=False), member("c", draining=True)))
    assert [each[0] for each in endpoints(built, WORKERS)] == ["a"]


def test_a_view_that_changes_nothing_for_proxies_gives_the_same_snapshot() -> None:
    build = builder()
    first = build.build(view(member("a"), member("b")))
    moved = View(2, "c", (member("a"), member("b")), np.ones(PARTITIONS, np.int32))
    assert build.build(moved) is first


def test_versions_come_from_content_alone() -> None:
    build = builder()
    first = build.build(view(member("a"), member("b")))
    grown = build.build(view(member("a"), member("b"), member("c"), version=2))
    back = build.build(view(member("a"), member("b"), version=3))
    assert back.versions == first.versions == builder().build(view(member("a"), member("b"), version=9)).versions
    assert {kind for kind in TYPES if grown.versions[kind] != first.versions[kind]} == {ASSIGNMENT}
    unchanged = {ROUTERS, CLIENTS}
    assert all(grown.kind(ASSIGNMENT)[name].version == first.kind(ASSIGNMENT)[name].version for name in unchanged)


def library_assignment(members: list[Endpoint]) -> ClusterLoadAssignment:
    group = LocalityLbEndpoints(
        locality=Locality(region="ringmill"),
        load_balancing_weight=1,
        lb_endpoints=[
            LbEndpoint(
                endpoint=LibraryEndpoint(
                    address=Address(socket_address=SocketAddress(address=each.host, port_value=each.port)),
                    hostname=each.name,
                ),
                metadata=Metadata(filter_metadata={"envoy.lb": Struct.from_dict({"hash_key": each.name})}),
                load_balancing_weight=each.weight,
            )
            for each in members
        ],
    )
    return ClusterLoadAssignment(cluster_name="some", endpoints=[group] if members else [])


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


@given(
    st.lists(
        st.builds(Endpoint, NAMES, st.ip_addresses().map(str), st.integers(1, 65_535), st.integers(1, 128)), max_size=9
    )
)
def test_an_assignment_is_what_the_library_would_write(members: list[Endpoint]) -> None:
    assert bytes(ClusterLoadAssignment.parse(encode_assignment("some", members))) == bytes(library_assignment(members))


def test_responses_are_resources_one_after_another() -> None:
    built = builder().build(view(member("a")))
    resources = tuple(built.kind(CLUSTER).values())
    answer = Answer(CLUSTER, "v", "7", resources, ("gone",))
    whole = DiscoveryResponse.parse(encode(answer))
    assert (whole.version_info, whole.nonce, whole.type_url, len(whole.resources)) == ("v", "7", CLUSTER, 4)
    delta = DeltaDiscoveryResponse.parse(encode_delta(answer))
    assert (delta.system_version_info, delta.nonce, delta.removed_resources) == ("v", "7", ["gone"])
    assert [(each.name, each.version) for each in delta.resources] == [(each.name, each.version) for each in resources]
    assert [each.resource for each in delta.resources] == whole.resources


@pytest.mark.parametrize(("read", "message"), [(read_ask, b"\x0a\x02\xff\xfe"), (read_delta_ask, b"\x12\x02\xff\xfe")])
def test_what_is_no_request_is_refused(read: Any, message: bytes) -> None:
    with pytest.raises(RingmillError, match="DiscoveryRequest"):
        read(message)


def test_operators_are_not_served_at_the_edge() -> None:
    found = RouteConfiguration.parse(content(builder().build(view(member("a"))), ROUTES, EDGE))
    prefixes = [entry.match.prefix for entry in found.virtual_hosts[0].routes if entry.match is not None]
    assert not any(f"/{ADMIN}/".startswith(prefix or "/") for prefix in prefixes)


@pytest.mark.parametrize(("edge_tls", "named"), [("none", []), ("server", [0]), ("mutual", [0, 1])])
def test_secrets_are_named_and_never_sent(edge_tls: EdgeTls, named: list[int]) -> None:
    settings = XdsSettings("127.0.0.1:7400", ("127.0.0.1:7401",), edge_tls=edge_tls)
    built = SnapshotBuilder(settings, PARTITIONS).build(view())
    files = [secret_file(EDGE_CERTIFICATE).encode(), secret_file(EDGE_CLIENTS).encode()]
    listener = content(built, LISTENER, EDGE)
    assert [place for place, file in enumerate(files) if file in listener] == named
    assert not built.kind(SECRET)


def test_the_edge_may_be_all_addresses_of_a_machine() -> None:
    SnapshotBuilder(XdsSettings("0.0.0.0:7400", ("127.0.0.1:7401",)), PARTITIONS)


# What does not hang together


def links(**others: Any) -> Any:
    kinds = [clusters.router_cluster(), clusters.client_cluster(), clusters.worker_cluster(PARTITIONS)]
    kinds.append(clusters.owner_cluster())
    listeners = [edge.edge_listener("127.0.0.1", 1, True), edge.client_listener()]
    routes = [edge.edge_routes(True), edge.client_routes()]
    return {"clusters": kinds, "listeners": listeners, "routes": routes, **others}


def test_what_we_build_hangs_together() -> None:
    check_links(**links())


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ({"clusters": [clusters.router_cluster(), clusters.client_cluster()]}, OWNERS),
        ({"clusters": [clusters.router_cluster(), clusters.client_cluster(), clusters.owner_cluster()]}, WORKERS),
        ({"routes": [edge.edge_routes(True)]}, SERVICE),
        ({"listeners": [edge.client_listener()]}, EDGE),
        ({"clusters": [clusters.router_cluster()] * 2}, "name of its own"),
        ({"routes": [edge.edge_routes(True), RouteConfiguration(name=SERVICE)]}, "are none"),
    ],
)
def test_a_name_that_names_nothing_is_found(others: Any, why: str) -> None:
    with pytest.raises(RingmillError, match=why):
        check_links(**links(**others))


WORKER = endpoint_of("a", "10.0.0.1:1")


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({}, WORKERS),
        ({WORKERS: [WORKER], "other": []}, "other"),
        ({WORKERS: [WORKER, dataclasses.replace(WORKER, port=2)]}, "name of its own"),
        ({WORKERS: [WORKER, dataclasses.replace(WORKER, name="b")]}, "address"),
        ({WORKERS: [dataclasses.replace(WORKER, weight=129)]}, "weight 129"),
        ({WORKERS: [Endpoint(f"w{n}", "10.0.0.1", n) for n in range(1, 32)]}, "table of 31"),
    ],
)
def test_members_that_cannot_be_served_are_found(members: Any, why: str) -> None:
    with pytest.raises(RingmillError, match=why):
        check_members([clusters.worker_cluster(PARTITIONS)], members)


@pytest.mark.parametrize("address", ["localhost:1", "127.0.0.1", "127.0.0.1:x", ":7400", "[::]:7400", "1.2.3.4:65536"])
def test_settings_that_nobody_can_reach_are_refused(address: str) -> None:
    with pytest.raises(RingmillError):
        SnapshotBuilder(XdsSettings("127.0.0.1:7400", (address,)), PARTITIONS)
