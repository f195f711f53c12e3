"""What is sent: named pieces of configuration, each with a version that its content gives it. Plain data.

Versions come from content alone, so that a balancer that begins again, or another one beside it, gives the same thing
the same version, and a client that has it is sent nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType

_TYPES = "type.googleapis.com/envoy."

CLUSTER = f"{_TYPES}config.cluster.v3.Cluster"
ASSIGNMENT = f"{_TYPES}config.endpoint.v3.ClusterLoadAssignment"
SECRET = f"{_TYPES}extensions.transport_sockets.tls.v3.Secret"
LISTENER = f"{_TYPES}config.listener.v3.Listener"
ROUTES = f"{_TYPES}config.route.v3.RouteConfiguration"

TYPES = (CLUSTER, ASSIGNMENT, SECRET, LISTENER, ROUTES)
"""In the order in which they are sent: what is named comes before what names it."""

COMPLETE = frozenset({CLUSTER, LISTENER})
"""Types of which a client may want whatever there is, and takes what is left out for removed."""


def short(type_url: str) -> str:
    """A type's last word, for people: "Cluster"."""
    return type_url.rpartition(".")[2]


def digest(*parts: bytes) -> str:
    """Names some content."""
    total = blake2b(digest_size=8)
    for part in parts:
        total.update(len(part).to_bytes(8, "big"))
        total.update(part)
    return total.hexdigest()


@dataclass(frozen=True, slots=True)
class Resource:
    """One piece of configuration, encoded once."""

    name: str
    version: str
    """Digest of the content."""
    whole: bytes = field(repr=False)
    """A DiscoveryResponse that holds nothing but this: responses are these, one after another."""
    single: bytes = field(repr=False)
    """A DeltaDiscoveryResponse that holds nothing but this."""
    listed: bool = True
    """Whether who wants everything gets it; else it must be asked for by name."""


def _nothing() -> Mapping[str, Mapping[str, Resource]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All resources at one time, by type and name, in the order of their names."""

    resources: Mapping[str, Mapping[str, Resource]] = field(default_factory=_nothing)
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Version of each type as a whole."""

    @classmethod
    def of(cls, resources: Mapping[str, Mapping[str, Resource]]) -> "Snapshot":
        """The snapshot of these."""
        held = {kind: {name: each[name] for name in sorted(each)} for kind, each in resources.items()}
        versions = {
            kind: digest(*(part.encode() for each in held.get(kind, {}).values() for part in (each.name, each.version)))
            for kind in TYPES
        }
        return cls(MappingProxyType(held), MappingProxyType(versions))

    def kind(self, type_url: str) -> Mapping[str, Resource]:
        """The resources of one type."""
        return self.resources.get(type_url, {})
