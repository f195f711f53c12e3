"""One request on its way through the balancer, and the parts it was split into."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ringmill.balancer.sessions import Identity
from ringmill.core.errors import Code
from ringmill.core.split import Owners, Touched
from ringmill.telemetry import NO_SPAN, Span

if TYPE_CHECKING:
    from ringmill.balancer.outbox import Outbox

EXPIRED = 1
"""Flag of a part whose time has run out after it was handed over: what was not applied of it never will be."""
PRIMARY = 2
"""Flag of a part whose answer is wanted before replicas have it."""
EMISSIONS = 4
"""Flag of a part whose answer is to hold what windows emitted."""


@dataclass(slots=True, eq=False)
class Batch:
    """A request that awaits its answer; or, with `end`, the place in a stream's order where it ends."""

    request_bytes: int = 0
    count: int = 0
    """Number of events."""
    sequence: int = 0
    """The client's number of it."""
    number: int = 0
    """The number by which workers know it: the producer's, or the router's own for a stream without one."""
    order: int = 0
    """Place among all batches, by arrival."""
    arrived_ns: int = 0
    handed_ns: int = 0
    """When the last of its parts was handed to a link."""
    answered_ns: int = 0
    """When the last of its answers came."""
    waiting: int = 0
    """Answers that are missing; 0: the batch is done."""
    uncommitted: int = 0
    """Answers that came before all replicas held their part."""
    committed_before: int = 0
    """The client's number of the batch before it, where it was answered uncommitted."""
    refused: int = 0
    """Events that were refused for want of a worker when the batch was split."""
    parts: list["Part"] = field(default_factory=list)
    slots: Owners | None = None
    """For each event, the slot of the part that it is in; None for a batch that is one part."""
    answers: dict[int, bytes] | None = None
    """Answer to each part of a split batch by its slot, while others are missing."""
    head: bytes = b""
    """What stands before the outcomes in the response to a split request."""
    response: bytes = b""
    span: Span = NO_SPAN
    wanted: bool = True
    """False once nobody waits for the response."""
    end: tuple[Code, str] | None = None
    """Status that ends the stream here."""


@dataclass(slots=True, eq=False)
class Part:
    """Events of one batch for one worker. It may be handed over again, and split again, until it is answered."""

    batch: Batch
    stream: int
    identity: Identity
    slot: int
    """Where its events stand in the batch's `slots`."""
    pipeline: int
    """Place of the pipeline in the catalogue."""
    request: bytes
    """Encoded ProcessRequest; empty once nobody needs it any more."""
    size: int
    """Bytes of the request."""
    touched: Touched
    """Partitions of its events."""
    deadline_ns: int
    """Not to be begun later than this; 0: no deadline."""
    flags: int
    resent: bool = False
    """Whether an older stream of its producer may have handed over the same."""
    previous: bytes = b""
    """What its stream handed over before it, for each partition touched. Empty: it was never handed over itself."""
    answered: bool = False
    """Whether its answer was taken before all replicas held it."""
    parked_ns: int = 0
    """When it first found nobody to go to, or lost who had it."""
    version: int = 0
    """The view that a worker refused it under: no older one may route it."""
    refusals: int = 0
    """How often a worker refused it."""
    source: "Outbox | None" = None
    """The link of the worker that refused it last."""

    @property
    def wanted(self) -> bool:
        """Whether its answer is still awaited, or that it is committed."""
        return bool(self.request) and self.batch.wanted

    @property
    def handed(self) -> bool:
        """Whether its stream has handed it over."""
        return bool(self.previous)

    @property
    def refusable(self) -> bool:
        """Whether no worker can have applied it, so that its events may be refused."""
        return not self.previous and not self.resent

    def late(self, now_ns: int) -> bool:
        """Whether its time has run out before it was handed over, so that it can be refused."""
        return bool(self.deadline_ns) and now_ns > self.deadline_ns and self.refusable
