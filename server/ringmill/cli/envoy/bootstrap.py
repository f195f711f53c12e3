"""The file that Envoy is started with. It says where the control plane is; all else comes from there."""

from dataclasses import dataclass
from typing import Any, Literal

from ringmill.core.errors import Code, RingmillError

_TYPES = "type.googleapis.com/envoy.extensions"
_CONTROL_PLANE = "ringmill-xds"

Variant = Literal["delta", "sotw"]
"""How the control plane tells what is new: what has changed, or all of it (state of the world)."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What one Envoy must know to begin."""

    xds: str
    """host:port of the balancer's control plane."""
    node: str = "ringmill-edge"
    """Identity of this Envoy, for the balancer's log."""
    admin: str = "127.0.0.1:0"
    """ip:port of Envoy's own administration: whoever reaches it can stop it. Port 0: any free one."""
    connections_max: int = 50_000
    """Clients' connections at a time; more are refused."""
    variant: Variant = "delta"

    def config(self) -> dict[str, Any]:
        """The configuration, for `json.dumps`. Raises INVALID_ARGUMENT for an address that is none."""
        return {
            "node": {"id": self.node, "cluster": "ringmill"},
            "admin": {"address": _socket("admin", self.admin)},
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC" if self.variant == "delta" else "GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": True,
                    "grpc_services": [{"envoy_grpc": {"cluster_name": _CONTROL_PLANE}}],
                },
                "lds_config": {"ads": {}, "resource_api_version": "V3"},
                "cds_config": {"ads": {}, "resource_api_version": "V3"},
            },
            "static_resources": {"clusters": [self._control_plane()]},
            "overload_manager": {"resource_monitors": [self._connections()]},
        }

    def _control_plane(self) -> dict[str, Any]:
        endpoint = {"endpoint": {"address": _socket("xds", self.xds)}}
        http2 = {"connection_keepalive": {"interval": "5s", "timeout": "5s"}}
        return {
            "name": _CONTROL_PLANE,
            "type": "STRICT_DNS",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": http2},
                }
            },
            "load_assignment": {"cluster_name": _CONTROL_PLANE, "endpoints": [{"lb_endpoints": [endpoint]}]},
        }

    def _connections(self) -> dict[str, Any]:
        return {
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": f"{_TYPES}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": self.connections_max,
            },
        }


def _socket(what: str, address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise RingmillError(Code.INVALID_ARGUMENT, f"{what} {address!r} is no host:port")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}
