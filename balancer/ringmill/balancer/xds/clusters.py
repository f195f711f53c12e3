"""CDS: the groups of processes that streams may go to, and how one of them is chosen."""

from datetime import timedelta

import envoy_data_plane.envoy.config.cluster.v3 as clusters
import envoy_data_plane.envoy.config.core.v3 as core
from envoy_data_plane.envoy.extensions.clusters.aggregate.v3 import ClusterConfig as Aggregate
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions,
    HttpProtocolOptionsExplicitHttpConfig,
)
from envoy_data_plane.envoy.type.v3 import Percent
from envoy_data_plane.google.protobuf import Any

from ringmill.balancer.xds.settings import CLIENTS, OWNERS, ROUTERS, WORKERS

_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

_AGGREGATE = "envoy.clusters.aggregate"

_UNBOUNDED = 1_000_000
"""Streams are long: the balancer bounds them, by tenant and by bytes, which a breaker cannot."""


def own_source() -> core.ConfigSource:
    """Says that a resource comes over the stream that named it."""
    return core.ConfigSource(ads=core.AggregatedConfigSource(), resource_api_version=core.ApiVersion.V3)


def socket_address(host: str, port: int) -> core.Address:
    """A TCP address."""
    return core.Address(socket_address=core.SocketAddress(address=host, port_value=port))


def router_cluster() -> clusters.Cluster:
    """The balancers, by how busy they are."""
    # None of them healthy: then one of them is asked all the same, and says why.
    cluster = _cluster(ROUTERS, health_ms=250, panic_percent=1.0)
    cluster.lb_policy = clusters.ClusterLbPolicy.LEAST_REQUEST
    return cluster


def worker_cluster(partitions: int) -> clusters.Cluster:
    """The workers, by Maglev over as many slots as there are partitions: a key's slot is its partition, and the worker
    that holds it the one that `core.maglev` names."""
    # None of them healthy: then none is asked, and the balancers are.
    cluster = _cluster(WORKERS, health_ms=100, panic_percent=0.0)
    cluster.lb_policy = clusters.ClusterLbPolicy.MAGLEV
    cluster.maglev_lb_config = clusters.ClusterMaglevLbConfig(table_size=partitions)
    return cluster


def owner_cluster() -> clusters.Cluster:
    """The workers; and the balancers, which serve any key, while no worker is there or known to be healthy."""
    either = Aggregate(clusters=[WORKERS, ROUTERS])
    return clusters.Cluster(
        name=OWNERS,
        cluster_type=clusters.ClusterCustomClusterType(name=_AGGREGATE, typed_config=Any.pack(either)),
        lb_policy=clusters.ClusterLbPolicy.CLUSTER_PROVIDED,
        connect_timeout=timedelta(milliseconds=250),
    )


def client_cluster() -> clusters.Cluster:
    """The balancers for gRPC clients, whose own xDS client refuses policies that it does not know."""
    return clusters.Cluster(
        name=CLIENTS,
        type=clusters.ClusterDiscoveryType.EDS,
        eds_cluster_config=clusters.ClusterEdsClusterConfig(eds_config=own_source()),
        lb_policy=clusters.ClusterLbPolicy.ROUND_ROBIN,
    )


def _cluster(name: str, health_ms: int, panic_percent: float) -> clusters.Cluster:
    """HTTP/2, health checks, and pings which find a peer that hangs: its streams end then, instead of waiting.

    A failed check keeps new streams away and leaves those there are: a process that drains fails it, and answers them.
    """
    pings = core.KeepaliveSettings(interval=timedelta(milliseconds=500), timeout=timedelta(seconds=1))
    http2 = core.Http2ProtocolOptions(
        connection_keepalive=pings, initial_stream_window_size=4 << 20, initial_connection_window_size=16 << 20
    )
    options = HttpProtocolOptions(
        explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=http2)
    )
    interval = timedelta(milliseconds=health_ms)
    health = core.HealthCheck(
        interval=interval,
        no_traffic_interval=interval,
        unhealthy_interval=interval,
        timeout=timedelta(seconds=1),  # of the busy; who is dead refuses at once, and who hangs leaves the view
        unhealthy_threshold=2,
        healthy_threshold=1,
        grpc_health_check=core.HealthCheckGrpcHealthCheck(),
    )
    limits = clusters.CircuitBreakersThresholds(
        max_connections=_UNBOUNDED, max_pending_requests=_UNBOUNDED, max_requests=_UNBOUNDED, max_retries=_UNBOUNDED
    )
    return clusters.Cluster(
        name=name,
        type=clusters.ClusterDiscoveryType.EDS,
        eds_cluster_config=clusters.ClusterEdsClusterConfig(eds_config=own_source()),
        connect_timeout=timedelta(milliseconds=250),
        health_checks=[health],
        typed_extension_protocol_options={_HTTP: Any.pack(options)},
        circuit_breakers=clusters.CircuitBreakers(thresholds=[limits]),
        common_lb_config=clusters.ClusterCommonLbConfig(healthy_panic_threshold=Percent(value=panic_percent)),
        ignore_health_on_host_removal=True,
    )
