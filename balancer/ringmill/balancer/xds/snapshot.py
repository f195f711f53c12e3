"""From a view to all resources."""

from ringmill.balancer.placement import eligible
from ringmill.balancer.xds import clusters, edge
from ringmill.balancer.xds.assignments import encode_assignment
from ringmill.balancer.xds.check import check_links, check_members
from ringmill.balancer.xds.resources import ASSIGNMENT, CLUSTER, LISTENER, ROUTES, Snapshot
from ringmill.balancer.xds.settings import CLIENTS, ROUTERS, SERVICE, WORKERS, Endpoint, XdsSettings, endpoint_of
from ringmill.balancer.xds.wire import resource
from ringmill.core.errors import RingmillError
from ringmill.core.view import View

_Members = tuple[Endpoint, ...]


class SnapshotBuilder:
    """Builds snapshots, and remembers the newest: a view that changes nothing for proxies gives the same one again."""

    def __init__(self, settings: XdsSettings, partitions: int) -> None:
        """Raises INVALID_ARGUMENT when an address of the settings is none that can be reached."""
        self._direct = settings.direct
        self._routers = tuple(endpoint_of(address, address) for address in settings.routers)
        self._fixed = _Fixed(settings, partitions)
        self._workers: _Members | None = None
        self._snapshot = Snapshot()

    def build(self, view: View) -> Snapshot:
        """The snapshot for a view. Raises INTERNAL when it does not hang together."""
        workers = self._reachable(view)
        if workers != self._workers:
            self._snapshot = self._build(workers)
            self._workers = workers
        return self._snapshot

    def _reachable(self, view: View) -> _Members:
        """The workers that streams may go to; nobody unless all of them can be reached: a table that misses some would
        send most keys astray."""
        wanted = eligible(view.members) if self._direct else []
        try:
            return tuple(endpoint_of(each.name, each.address, each.weight) for each in wanted)
        except RingmillError:
            return ()

    def _build(self, workers: _Members) -> Snapshot:
        members = {ROUTERS: self._routers, CLIENTS: self._routers}
        if self._direct:
            members[WORKERS] = workers
        check_members(self._fixed.kinds, members)
        assignments = {
            name: resource(ASSIGNMENT, name, encode_assignment(name, each)) for name, each in members.items()
        }
        return Snapshot.of(
            {
                CLUSTER: self._fixed.clusters,
                ASSIGNMENT: assignments,
                LISTENER: self._fixed.listeners,
                ROUTES: self._fixed.routes,
            }
        )


class _Fixed:
    """What does not depend on who is there; and so, for one, listeners: clients lose their connections when those
    change."""

    def __init__(self, settings: XdsSettings, partitions: int) -> None:
        where, direct = endpoint_of("edge", settings.edge, reachable=False), settings.direct
        self.kinds = [clusters.router_cluster(), clusters.client_cluster()]
        if direct:
            self.kinds += [clusters.worker_cluster(partitions), clusters.owner_cluster()]
        listeners = [edge.edge_listener(where.host, where.port, direct, settings.edge_tls), edge.client_listener()]
        routes = [edge.edge_routes(direct), edge.client_routes()]
        check_links(self.kinds, listeners, routes)
        # What gRPC clients ask for by name is nothing for Envoy, which asks for everything.
        self.clusters = {
            each.name: resource(CLUSTER, each.name, bytes(each), listed=each.name != CLIENTS) for each in self.kinds
        }
        self.listeners = {
            each.name: resource(LISTENER, each.name, bytes(each), listed=each.name != SERVICE) for each in listeners
        }
        self.routes = {each.name: resource(ROUTES, each.name, bytes(each)) for each in routes}
