"""Whether a snapshot hangs together, looked at as a whole before anybody is sent any of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from envoy_data_plane.envoy.config.cluster.v3 import Cluster, ClusterDiscoveryType, ClusterLbPolicy
from envoy_data_plane.envoy.config.listener.v3 import Listener
from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration
from envoy_data_plane.envoy.extensions.clusters.aggregate.v3 import ClusterConfig as Aggregate
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpConnectionManager

from ringmill.balancer.xds.settings import Endpoint
from ringmill.core.errors import Code, RingmillError
from ringmill.core.maglev import WEIGHT_MAX, is_prime


def check_links(
    clusters: Sequence[Cluster], listeners: Sequence[Listener], routes: Sequence[RouteConfiguration]
) -> None:
    """Raises INTERNAL, naming the resource, when a name is used twice or names nothing, or one is not used."""
    for what, names in (
        ("cluster", [each.name for each in clusters]),
        ("listener", [each.name for each in listeners]),
        ("route configuration", [each.name for each in routes]),
    ):
        _unique(what, names)
    _same(
        "route configurations and the listeners that use them",
        {each.name for each in routes},
        [name for each in listeners for name in _routes_of(each)],
    )
    known = {each.name for each in clusters}
    for cluster in clusters:
        for name in _parts_of(cluster):
            if name not in known - {cluster.name}:
                raise _wrong(f"{cluster.name} is made of a cluster that is not there: {name!r}")
    for configuration in routes:
        for name in _clusters_of(configuration):
            if name not in known:
                raise _wrong(f"routes {configuration.name} lead to a cluster that is not there: {name!r}")


def check_members(clusters: Sequence[Cluster], members: Mapping[str, Sequence[Endpoint]]) -> None:
    """Raises INTERNAL, naming the cluster, when its members are unknown or cannot be served together."""
    own = [each for each in clusters if each.type == ClusterDiscoveryType.EDS]
    _same("clusters and their members", {each.name for each in own}, members)
    for cluster in own:
        _check_members(cluster, members[cluster.name])


def _check_members(cluster: Cluster, members: Sequence[Endpoint]) -> None:
    _unique(f"member of {cluster.name}", [each.name for each in members])
    _unique(f"address in {cluster.name}", [f"{each.host}:{each.port}" for each in members])
    for each in members:
        if not 1 <= each.weight <= WEIGHT_MAX:
            raise _wrong(f"{each.name} in {cluster.name} has weight {each.weight}")
    if cluster.lb_policy == ClusterLbPolicy.MAGLEV:
        size = cluster.maglev_lb_config.table_size if cluster.maglev_lb_config is not None else None
        if size is None or not is_prime(size) or size <= len(members):
            raise _wrong(f"{cluster.name} has {len(members)} members and a table of {size}, which is to be a prime")


def _routes_of(listener: Listener) -> list[str]:
    packed = [one.typed_config for chain in listener.filter_chains for one in chain.filters]
    if listener.api_listener is not None:
        packed.append(listener.api_listener.api_listener)
    names = []
    for each in packed:
        manager = HttpConnectionManager.parse(each.value) if each is not None else HttpConnectionManager()
        if manager.rds is None or not manager.http_filters:
            raise _wrong(f"listener {listener.name} leads nowhere")
        names.append(manager.rds.route_config_name)
    return names


def _parts_of(cluster: Cluster) -> list[str]:
    if cluster.cluster_type is None or cluster.cluster_type.typed_config is None:
        return []
    return Aggregate.parse(cluster.cluster_type.typed_config.value).clusters


def _clusters_of(configuration: RouteConfiguration) -> list[str]:
    actions = [entry.route for host in configuration.virtual_hosts for entry in host.routes]
    if not actions:
        raise _wrong(f"routes {configuration.name} are none")
    return [(action.cluster or "") if action is not None else "" for action in actions]


def _unique(what: str, names: Sequence[str]) -> None:
    counts = Counter(names)
    twice = sorted(name for name, count in counts.items() if count > 1 or not name)
    if twice:
        raise _wrong(f"each {what} needs a name of its own: {twice}")


def _same(what: str, these: set[str], those: Iterable[str]) -> None:
    if these != set(those):
        raise _wrong(f"{what} do not fit: {sorted(these ^ set(those))}")


def _wrong(why: str) -> RingmillError:
    return RingmillError(Code.INTERNAL, why)
