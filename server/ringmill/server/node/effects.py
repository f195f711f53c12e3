"""What a node wants done. Whoever feeds it performs its effects in order, after each input.

A chunk is a run of encoded fields of the message that goes there: chunks for the same place are joined, in order, into
one message, and all that gathers while a write is in flight goes as one.
"""

from dataclasses import dataclass

from ringmill.core.errors import Code, RingmillError
from ringmill.core.view import View

Chunk = bytes | memoryview


@dataclass(slots=True)
class ToLink:
    """Fields of a JoinRequest, to the balancer. Without a link it is dropped."""

    chunk: Chunk


@dataclass(slots=True)
class ToPeer:
    """Fields of a ReplicateRequest, to a copy of mine. Without a stream it is dropped: the channel sends it again."""

    name: str
    chunk: Chunk
    follows: bool = False
    """Whether it goes on with what the chunk before began: both must be in one message."""


@dataclass(slots=True)
class ToGuest:
    """Fields of a ReplicateResponse, to a primary whose partitions I copy."""

    guest: int
    chunk: Chunk


@dataclass(slots=True)
class Dial:
    """Reach this peer, and again after each break, until told to hang up; `peer_up` tells of each new stream."""

    name: str
    address: str
    pauses: bool = False
    """Not at once: what it said last made no sense, and it may say so again."""


@dataclass(slots=True)
class Hangup:
    """Reach this peer no more, and drop what waits for it. `peer_down` need not follow."""

    name: str


@dataclass(slots=True)
class Dismiss:
    """End a primary's stream with this status. `guest_down` need not follow."""

    guest: int
    code: Code
    why: str


@dataclass(slots=True)
class Obeyed:
    """A newer view is in force."""

    view: View


@dataclass(slots=True)
class Fatal:
    """End the process: it could only do harm."""

    error: RingmillError


class UnfitError(RingmillError):
    """What makes a worker stop: it could only do harm from here on."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.DATA_LOSS, message)


Effect = ToLink | ToPeer | ToGuest | Dial | Hangup | Dismiss | Obeyed | Fatal
