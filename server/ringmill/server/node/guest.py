"""The receiving end of channels: primaries that dial, and their records in the order of their numbers.

A channel belongs to two processes, not to a stream: a primary that dials again is told the last record that is here.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from heapq import merge

import numpy as np
from google.protobuf.message import DecodeError

from ringmill.core.errors import Code, RingmillError
from ringmill.core.frame import PartEntry, PartsReader
from ringmill.core.memory import Bytes
from ringmill.core.view import View, view_from_proto
from ringmill.internal.v1.link_pb2 import Entry, Hello, Refused, ReplicateRequest, ReplicateResponse, Verdict, Welcome
from ringmill.server.node.channel import WORD_MAX
from ringmill.server.node.copying import Copying
from ringmill.server.node.effects import Dismiss, Effect, ToGuest, UnfitError
from ringmill.server.node.roles import Process

_ANSWERS_MAX = 65_536
"""Refusals and verdicts that are kept, should the stream that they went by break. When there are more, the stream is
broken off: the next hello says which of them were heard."""
_ANSWERS_BYTES_MAX = 16 << 20
"""Or when they have more bytes than this: each may name every partition, and all of them go in one welcome."""
_INBOXES_MAX = 1024
_LEAVING = "this worker is about to leave"


class Inbox:
    """What is known of one primary's channel."""

    __slots__ = ("channel", "guest", "outcomes", "received", "refused", "size", "source", "told", "verdicts")

    def __init__(self, source: int) -> None:
        self.source = source
        """The primary's number in the ledger."""
        self.guest = -1
        """Its stream; -1: none."""
        self.begin(0)

    def begin(self, channel: int) -> None:
        """A new channel begins."""
        self.channel = channel
        self.received = 0
        """Number of the last record."""
        self.outcomes = 0
        """Digest of what the records led to, since an audit last reset it."""
        self.told = True
        """Whether all records since were applied, so that the primary may compare."""
        self.refused: deque[Refused] = deque()
        self.verdicts: deque[Verdict] = deque()
        self.size = 0
        """Bytes of both."""

    def keep(self, answer: Refused | Verdict) -> None:
        """Keeps an answer until the primary says that it heard it."""
        if isinstance(answer, Refused):
            self.refused.append(answer)
        else:
            self.verdicts.append(answer)
        self.size += answer.ByteSize()

    def heard(self, number: int) -> None:
        """The primary knows what became of the records up to this one."""
        kept: tuple[deque[Refused] | deque[Verdict], ...] = (self.refused, self.verdicts)
        for answers in kept:
            while answers and answers[0].id <= number:
                self.size -= answers.popleft().ByteSize()

    @property
    def full(self) -> bool:
        """Whether no further answer can be kept."""
        return len(self.refused) + len(self.verdicts) >= _ANSWERS_MAX or self.size >= _ANSWERS_BYTES_MAX


class Guests:
    """All primaries that dial this worker."""

    def __init__(self, process: Process, copying: Copying, effects: list[Effect]) -> None:
        self.process = process
        self.view = View(0, "", (), np.empty(0, np.int32))
        """The view that this worker obeys."""
        self.on_view: Callable[[View], None] = lambda view: None
        """Obeys a view that a primary sent, if it is newer."""
        self._copying = copying
        self._effects = effects
        self._reader = PartsReader(ReplicateRequest)
        self._inboxes: dict[Process, Inbox] = {}
        self._streams: dict[int, Inbox | None] = {}
        self._closed = False

    def source_of(self, process: Process) -> int:
        """The number by which the ledger knows a process, from 1."""
        return self._inbox(process).source

    def retain(self, processes: Sequence[Process]) -> None:
        """Forgets the channels of all processes but these, if they have no stream."""
        keep = set(processes)
        for process in [each for each, inbox in self._inboxes.items() if each not in keep and inbox.guest < 0]:
            del self._inboxes[process]

    def turn_away(self, closed: bool) -> None:
        """Ends all streams, and welcomes nobody until told otherwise: this worker is about to leave."""
        self._closed = closed
        for guest in list(self._streams) if closed else ():
            self._dismiss(guest, Code.UNAVAILABLE, _LEAVING)

    def up(self, guest: int) -> None:
        """A stream begins; its first frame tells whose."""
        self._streams[guest] = None

    def down(self, guest: int) -> None:
        """A stream is gone."""
        inbox = self._streams.pop(guest, None)
        if inbox is not None and inbox.guest == guest:
            inbox.guest = -1

    def frame(self, guest: int, message: bytes) -> None:
        """Takes in a frame: its views, then its records; acknowledges once, at the end.

        What breaks the rules ends the stream. Raises UnfitError if this worker may have a wrong copy from here on.
        """
        if guest not in self._streams:
            return
        try:
            self._take(guest, message)
        except DecodeError as error:
            self._dismiss(guest, Code.INVALID_ARGUMENT, f"the frame does not parse: {error}")
        except RingmillError as error:
            if isinstance(error, UnfitError):
                raise
            self._dismiss(guest, error.code, error.message)

    def _take(self, guest: int, message: bytes) -> None:
        buffer = np.frombuffer(message, np.uint8)
        parts, rest = self._reader.read(buffer)
        inbox = self._streams[guest]
        answer = ReplicateResponse()
        entries: Sequence[Entry] = ()
        if rest:
            request = ReplicateRequest.FromString(rest)
            if request.HasField("hello"):
                inbox = self._welcome(guest, request.hello, answer)
            if inbox is not None:
                for view in request.views:
                    if view.version != self.view.version:  # mostly known by now, and reading one takes a while
                        self.on_view(view_from_proto(view))
            entries = request.entries
        if inbox is None:
            raise RingmillError(Code.INVALID_ARGUMENT, "a channel begins with its hello")
        records: Iterable[PartEntry | Entry] = parts
        if entries:
            records = merge(parts, entries, key=lambda record: record.id)
        for record in records:
            if record.id <= inbox.received:
                continue
            if inbox.full:
                self._say(guest, inbox, answer)
                raise RingmillError(Code.RESOURCE_EXHAUSTED, "more answers are unheard than are kept: dial again")
            if record.id != inbox.received + 1:
                raise RingmillError(Code.INTERNAL, f"record {record.id} came after {inbox.received}")
            if isinstance(record, PartEntry):
                self._part(inbox, buffer, record, answer)
            else:
                self._entry(inbox, record, answer)
            inbox.received += 1
        self._say(guest, inbox, answer)

    def _say(self, guest: int, inbox: Inbox, answer: ReplicateResponse) -> None:
        answer.acknowledged = inbox.received
        if inbox.told:
            answer.outcomes = inbox.outcomes
        self._effects.append(ToGuest(guest, answer.SerializeToString()))

    def _welcome(self, guest: int, hello: Hello, answer: ReplicateResponse) -> Inbox:
        process = (hello.name, hello.incarnation)
        if self._closed:
            raise RingmillError(Code.UNAVAILABLE, _LEAVING)
        if hello.replica_incarnation != self.process[1]:
            raise RingmillError(Code.FAILED_PRECONDITION, f"this is another process of {self.process[0]}")
        if self.view.cluster and hello.cluster != self.view.cluster:
            raise RingmillError(
                Code.FAILED_PRECONDITION, f"this worker is of cluster {self.view.cluster}, not of {hello.cluster}"
            )
        if self._streams[guest] is not None:
            raise RingmillError(Code.INVALID_ARGUMENT, "a second hello")
        inbox = self._inbox(process)
        if hello.channel < inbox.channel:
            raise RingmillError(Code.FAILED_PRECONDITION, "a newer channel of this process has begun")
        if inbox.guest >= 0:
            self._dismiss(inbox.guest, Code.ABORTED, "the same process has dialled again")
        if hello.channel > inbox.channel:
            inbox.begin(hello.channel)
        inbox.guest = guest
        inbox.heard(hello.acknowledged)
        self._streams[guest] = inbox
        answer.welcome.CopyFrom(Welcome(acknowledged=inbox.received))
        answer.refused.extend(inbox.refused)
        answer.verdicts.extend(inbox.verdicts)
        return inbox

    def _inbox(self, process: Process) -> Inbox:
        inbox = self._inboxes.get(process)
        if inbox is None:
            if len(self._inboxes) >= _INBOXES_MAX and not self._evict_stranger(process):
                raise RingmillError(Code.RESOURCE_EXHAUSTED, "too many primaries dial this worker")
            taken = {each.source for each in self._inboxes.values()}
            source = next(number for number in range(1, _INBOXES_MAX + 1) if number not in taken)
            inbox = self._inboxes[process] = Inbox(source)
        return inbox

    def _evict_stranger(self, newcomer: Process) -> bool:
        """Forgets one process that is no member of the view, whoever it says it is, for one that is."""
        members = {(member.name, member.incarnation) for member in self.view.members}
        stranger = next((process for process in self._inboxes if process not in members), None)
        if newcomer not in members or stranger is None:
            return False
        inbox = self._inboxes.pop(stranger)
        if inbox.guest >= 0:
            self._dismiss(inbox.guest, Code.PERMISSION_DENIED, "this process is no member of the cluster")
        return True

    def _part(self, inbox: Inbox, buffer: Bytes, part: PartEntry, answer: ReplicateResponse) -> None:
        applied = self._copying.apply(buffer, part, inbox.source)
        inbox.outcomes = (inbox.outcomes + applied.outcomes) & WORD_MAX
        if not applied.whole:
            inbox.told = False
        if applied.refused:
            self._refuse(inbox, part.id, applied.refused, answer)

    def _entry(self, inbox: Inbox, entry: Entry, answer: ReplicateResponse) -> None:
        kind, source, version = entry.WhichOneof("entry"), inbox.source, entry.version
        if kind == "open":
            failed = self._copying.open(entry.open, source, version)
            if failed or version < self.view.version:  # it may have missed partitions that are another's by now
                self._refuse(inbox, entry.id, failed, answer)
            return
        missing: list[int] | None = None
        if kind == "snapshot":
            missing = self._copying.snapshot(entry.snapshot, source, version)
            if missing is None:
                self._refuse(inbox, entry.id, [entry.snapshot.partition], answer)
                return
        elif kind == "audit":
            compare = self._copying.succeed if entry.audit.succession else self._copying.audit
            missing = compare(entry.audit, source, version)
            inbox.outcomes, inbox.told = 0, True
        verdict = Verdict(id=entry.id, missing=missing or [])
        if missing or kind == "snapshot" or entry.audit.succession:  # an audit that found nothing is no news
            inbox.keep(verdict)
        answer.verdicts.append(verdict)

    def _refuse(self, inbox: Inbox, number: int, partitions: list[int], answer: ReplicateResponse) -> None:
        refused = Refused(id=number, version=self.view.version, partitions=partitions)
        inbox.keep(refused)
        answer.refused.append(refused)

    def _dismiss(self, guest: int, code: Code, why: str) -> None:
        self.down(guest)
        self._effects.append(Dismiss(guest, code, why))
