"""What the resources are made from, beside the view."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from ringmill.core.errors import Code, RingmillError

ROUTING_KEY_HEADER = "ringmill-routing-key"
"""Names a stream's one key; the metadata twin of ProcessOptions.routing_key."""

ROUTERS = "ringmill-routers"
"""Cluster of the balancers, which route any batch."""

WORKERS = "ringmill-workers"
"""Cluster of the workers, for streams about one key."""

OWNERS = "ringmill-owners"
"""Cluster of the workers, and of the balancers should no worker be healthy."""

CLIENTS = "ringmill-clients"
"""Cluster of the balancers once more, with a policy that gRPC's own xDS client knows."""

SERVICE = "ringmill"
"""Name that gRPC clients dial without a proxy, xds:///ringmill, and of their routes."""

EDGE = "ringmill-edge"
"""Name of the proxy's listener and of its routes."""


EDGE_CERTIFICATE = "ringmill-edge-certificate"
"""Names the key and certificate that a proxy shows its clients."""

EDGE_CLIENTS = "ringmill-edge-clients"
"""Names the authority that the clients' certificates must come from."""

EdgeTls = Literal["none", "server", "mutual"]
"""What clients meet at the proxy: clear text, a certificate, or one that asks for theirs."""


def secret_file(name: str) -> str:
    """File in a proxy's working directory that says where it has such a secret, and has it look for changes.

    Secrets come from files of the proxy's own machine, and never from here.
    """
    return f"{name}.json"


@dataclass(frozen=True, slots=True)
class XdsSettings:
    """How the data plane in front of a cluster is to be."""

    edge: str
    """ip:port where proxies listen for clients."""
    routers: tuple[str, ...]
    """ip:port of each balancer's public port, as proxies and clients reach it."""
    direct: bool = False
    """Whether a stream that names its one key goes straight to that key's worker."""
    edge_tls: EdgeTls = "none"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One process that takes streams."""

    name: str
    """A worker's name, from which its place in the table comes."""
    host: str
    """IP address: proxies look no names up here."""
    port: int
    weight: int = 1


def endpoint_of(name: str, address: str, weight: int = 1, reachable: bool = True) -> Endpoint:
    """The endpoint at ip:port. Raises INVALID_ARGUMENT, naming what to mend, for anything else.

    reachable: others are to connect to it; else it is where one listens, which may be all addresses of a machine.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        unspecified = ip_address(host).is_unspecified
    except ValueError:
        raise RingmillError(Code.INVALID_ARGUMENT, f"{name}: {address!r} is no ip:port") from None
    if not port.isdigit() or not 0 < int(port) <= 65_535 or (unspecified and reachable):
        raise RingmillError(Code.INVALID_ARGUMENT, f"{name}: nobody can be reached at {address!r}")
    return Endpoint(name, host, int(port), weight)
