"""What a client of the control plane says, and what it is told. Plain data, for both variants of the protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ringmill.balancer.xds.resources import Resource


@dataclass(frozen=True, slots=True)
class Ask:
    """State of the world: all that a client wants of one type, and what it thinks of what it was sent."""

    type_url: str
    names: tuple[str, ...] = ()
    nonce: str = ""
    """Of the response that it answers; empty: the first request of the type."""
    version: str = ""
    """Of what it uses."""
    error: str = ""
    """Why it does not take the response; empty: it does."""


@dataclass(frozen=True, slots=True)
class DeltaAsk:
    """Delta: what a client wants more, and less, of one type, and what it thinks of what it was sent."""

    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)
    """Versions that it still has from an earlier stream, by name; heard with the first request of the type."""
    nonce: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response."""

    type_url: str
    version: str
    nonce: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...] = ()
    """Delta: names of what is gone, or never was."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a client made of a response."""

    type_url: str
    version: str
    """Of the response."""
    names: tuple[str, ...]
    """What was in it."""
    error: str = ""
    """Why it was refused; empty: it was taken."""
