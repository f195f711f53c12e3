"""A channel: my records to one process that copies some of my partitions, in one order, numbered from 1 without gaps.

It outlives its streams: what has not been acknowledged is sent again, and the copy ignores what it had.
"""

from collections import deque

from ringmill.internal.v1.link_pb2 import Hello, ReplicateRequest
from ringmill.server.node.effects import Chunk, Effect, ToPeer
from ringmill.server.node.pending import Pending
from ringmill.server.node.roles import Process

WORD_MAX = 2**64 - 1


class Record:
    """A part or an entry that has not been acknowledged."""

    __slots__ = ("body", "head", "number", "outcomes", "pending")

    def __init__(self, number: int, head: bytes, body: Chunk, pending: Pending | None, outcomes: int) -> None:
        self.number = number
        self.head = head
        self.body = body
        """Follows the head; empty where the head is all."""
        self.pending = pending
        self.outcomes = outcomes
        """Digest of what the records up to this one led to, since the copy last began to count."""


class Held:
    """A record that the copy did not apply, or only in part, until a view tells what becomes of it."""

    __slots__ = ("number", "partitions", "pending", "version")

    def __init__(self, pending: Pending, number: int, version: int, partitions: list[int]) -> None:
        self.pending = pending
        self.number = number
        self.version = version
        """The copy's view: nothing is decided before this worker obeys as new a one."""
        self.partitions = partitions
        """Those that were refused; none for an opening, which the copy heard under a newer view."""


class Channel:
    """The sending end. Whoever makes a record numbers it by `next_number`, and puts it there."""

    def __init__(self, copy: Process, address: str, number: int, bit: int, effects: list[Effect]) -> None:
        """number: grows with each channel to the same process. bit: 1 << place among this worker's channels.

        effects: where chunks go.
        """
        self.copy = copy
        self.number = number
        self.name = copy[0]
        self.address = address
        self.bit = bit
        self.next_number = 1
        self.acknowledged = 0
        self.window: deque[Record] = deque()
        self.held: list[Held] = []
        self.up = False
        """Whether the copy has welcomed the stream that is open now."""
        self.owing_ns = 0
        """Since when it owes an acknowledgement, or when it last sent one."""
        self._outcomes = 0
        self._effects = effects

    @property
    def has_all(self) -> bool:
        """Whether the copy can be reached, and has acknowledged and applied every record."""
        return self.up and not self.window and not self.held

    def put(self, head: bytes, body: Chunk, pending: Pending | None, outcomes: int, now_ns: int) -> None:
        """Appends the record numbered `next_number`, and sends it if the stream is up."""
        self._outcomes = (self._outcomes + outcomes) & WORD_MAX
        if not self.window:
            self.owing_ns = now_ns
        record = Record(self.next_number, head, body, pending, self._outcomes)
        self.next_number += 1
        self.window.append(record)
        if self.up:
            self._send(record)

    def recount(self) -> None:
        """Outcomes are counted from the next record on: an audit does so on both sides."""
        self._outcomes = 0

    def tell(self, view: bytes) -> None:
        """Sends an encoded frame with a view ahead of what will be admitted under it."""
        if self.up:
            self._effects.append(ToPeer(self.name, view))

    def greet(self, cluster: str, me: Process) -> None:
        """Begins a stream: says who dials."""
        self.up = False
        hello = Hello(
            cluster=cluster,
            name=me[0],
            incarnation=me[1],
            replica_incarnation=self.copy[1],
            channel=self.number,
            acknowledged=self.acknowledged,
        )
        self._effects.append(ToPeer(self.name, ReplicateRequest(hello=hello).SerializeToString()))

    def resume(self, view: bytes) -> None:
        """Goes on after the welcome: the view first, then all that the copy has not acknowledged."""
        self.up = True
        self._effects.append(ToPeer(self.name, view))
        for record in self.window:
            self._send(record)

    def down(self) -> None:
        """The stream is gone."""
        self.up = False

    def _send(self, record: Record) -> None:
        self._effects.append(ToPeer(self.name, record.head))
        if record.body:
            self._effects.append(ToPeer(self.name, record.body, follows=True))
