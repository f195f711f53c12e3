"""One request on its way through the balancer, and the parts it was split into."""

from dataclasses import dataclass

from ringmill.core.errors import Code
from ringmill.core.split import Owners
from ringmill.telemetry import NO_SPAN, Span


@dataclass(slots=True, eq=False)
class Batch:
    """A request that awaits its answer; or, with `end`, the place in a stream's order where it ends."""

    request_bytes: int = 0
    count: int = 0
    """Number of events."""
    sequence: int = 0
    arrived_ns: int = 0
    handed_ns: int = 0
    """When the last of its parts was handed to a link."""
    answered_ns: int = 0
    """When the last of its answers came."""
    waiting: int = 0
    """Answers that are missing; 0: the batch is done."""
    refused: int = 0
    """Events that were refused for want of a worker when the batch was split."""
    owners: Owners | None = None
    """Worker of each event; None for a batch with one owner."""
    answers: dict[int, bytes] | None = None
    """Answer of each worker of a split batch, while others are missing."""
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
    """The events of one batch for one worker."""

    batch: Batch
    stream: int
    worker: int
    """Place of the worker in the view that the batch was split by."""
    pipeline: int
    """Place of the pipeline in the catalogue."""
    request: bytes
    """Encoded ProcessRequest; given up once it is handed over."""
    deadline_ns: int
    """Not to be handed over later than this; 0: no deadline."""
