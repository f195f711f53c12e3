"""What the view manager wants done. The hub does it."""

from dataclasses import dataclass

from ringmill.core.errors import Code, RingmillError
from ringmill.core.view import View


@dataclass(frozen=True, slots=True)
class Admit:
    """Answer the registration on this link."""

    link: int
    name: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """End this link with a reason: the worker cannot join. UNAVAILABLE: not yet; any other code: not at all."""

    link: int
    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Cut this link: its worker is silent or dead, or has dialled again."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Find out whether anybody listens there, and say so by `Manager.probed`; nothing if that cannot be told."""

    name: str
    address: str
    incarnation: int = 0
    """The process that should listen there."""


@dataclass(frozen=True, slots=True)
class Store:
    """Keep this on disk, in the place of an older revision, and say so by `Manager.stored`. One at a time."""

    state: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Publish:
    """Obey a view, and tell the workers. It is durable."""

    view: View
    links: tuple[int | None, ...]
    """Link of each member, in the view's order; None where there is none."""
    tell: tuple[int, ...]
    """Links that have not heard of it."""


@dataclass(frozen=True, slots=True)
class LetGo:
    """End this link once nothing is owed on it: its worker holds nothing any more."""

    link: int
    why: str


@dataclass(frozen=True, slots=True)
class Want:
    """Tell whoever starts processes which workers should run."""

    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fatal:
    """End this process: going on would do harm."""

    error: RingmillError


Order = Admit | Refuse | Drop | Probe | Store | Publish | LetGo | Want | Fatal
