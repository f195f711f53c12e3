"""Who streams are to the workers: producers, their sessions, and the fences that tell an older stream from a newer.

A stream with a producer's name is that producer; any other gets an identity of its own, so that whatever a worker is
handed twice is applied once. An anonymous identity that has nothing unanswered serves the next anonymous stream: its
sequences simply go on, and workers need not learn and forget one for each call.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ringmill.core.errors import Code, RingmillError
from ringmill.core.frame import part_identity

FENCE_BITS = 40
"""A fence is the generation of the balancer above so many bits of a counter: it grows over restarts, too."""

ANONYMOUS = 1 << 63
"""Set in the producer of a stream without a name, whose other bits are its fence."""

POOL_MAX = 64
"""Anonymous identities, and those of calls with a name, that are kept for the next."""


class Identity:
    """What workers know a stream by, and what it has handed them."""

    __slots__ = ("acknowledged", "doubtful", "fence", "last", "number", "prefix", "producer", "view")

    def __init__(self, producer: int, fence: int, partitions: int) -> None:
        self.producer = producer
        self.fence = fence
        self.last = np.zeros(partitions, np.uint64)
        """Sequence of the batch last handed over for each partition; 0: none."""
        self.view = self.last.data.cast("B").cast("Q")
        self.number = 0
        """Sequence of the newest batch."""
        self.acknowledged = 0
        """The producer has all responses up to this sequence."""
        self.doubtful = False
        """Whether something was handed over and its answer is not awaited any more."""
        self.prefix = b""
        """What stands in each of its parts, encoded."""

    @property
    def named(self) -> bool:
        """Whether it is a producer with a name."""
        return not self.producer & ANONYMOUS

    def serve(self, pipeline: int) -> "Identity":
        """Makes it the identity of a stream of this pipeline."""
        self.prefix = part_identity(pipeline, self.producer, self.fence)
        return self


@dataclass(slots=True, eq=False)
class Producer:
    """A producer by name, as long as its session can be resumed."""

    number: int
    """Its identity: a digest of pipeline and name."""
    session: int
    identity: Identity
    stream: int | None
    """Its open stream."""
    brief: bool
    """Whether its session was opened by a call of one request, so that the next call may share it."""
    doubtful_through: int
    """Up to this sequence its older streams may have handed over batches."""
    remembered: bool
    """Whether `doubtful_through` is known: all its older streams were ours, or every worker has told what it has."""
    unforgotten: bool = False
    """Whether its session was open here once, so that nobody can have forgotten it since."""
    oldest: int = 0
    """The oldest fence that a worker which was away may know it by; 0: one of an earlier balancer."""
    last_sequence: int = 0
    """No batch above this was applied when its stream was opened."""
    begun_anew: bool = False
    """Whether something that its calls have sent was lost since, and it was not told."""
    idle_ns: int = 0
    """Since when it has no stream."""


def producer_number(pipeline: str, name: str) -> int:
    """The identity of a producer: 63 bits, never 0."""
    digest = hashlib.blake2b(f"{pipeline}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") & ~ANONYMOUS or 1


class Sessions:
    """All identities of one balancer."""

    def __init__(
        self, partitions: int, retention_ns: int, producers_max: int, generation: int, identities_max: int = 4096
    ) -> None:
        """Begins with nobody.

        retention_ns: a producer without a stream is forgotten after this. producers_max: and before, if there are more.
        generation: of the balancer; its streams are numbered above those of all earlier ones. identities_max: of all
        that workers are to know at once.
        """
        self._partitions = partitions
        self._retention_ns = retention_ns
        self._producers_max = producers_max
        self._identities_max = identities_max
        self._fence = generation << FENCE_BITS
        self._remembers_all = generation <= 1
        """Whether nobody that is unknown here can have had streams: no earlier balancer was, and none was forgotten."""
        self._begun_ns: int | None = None
        self._alive: dict[int, Identity] = {}
        """Every identity that may still be used, by fence: the oldest first."""
        self._producers: dict[int, Producer] = {}
        self._idle: dict[int, Producer] = {}
        """Producers without a stream, the longest idle first."""
        self._pool: list[Identity] = []
        self._forgotten: list[Identity] = []
        self._leaving: set[int] = set()
        """Producers that are forgotten here, and that workers may still know."""

    def anonymous(self, pipeline: int) -> Identity:
        """An identity for a stream without a name. Raises RESOURCE_EXHAUSTED if there are too many."""
        if self._pool:
            return self._pool.pop().serve(pipeline)
        self._check_room()
        fence = self._next_fence()
        return self._new(ANONYMOUS | fence, fence).serve(pipeline)

    def knows(self, producer: int) -> bool:
        """Whether a producer with a name has a session here."""
        return producer in self._producers

    def find(self, producer: int, session: int) -> Producer | None:
        """The producer, if it has a session here. Raises what ends a stream that asks for another session than that.

        session: to be resumed; 0: a new one.
        """
        found = self._producers.get(producer)
        if found is None or session in (0, found.session):
            return found
        if session < found.session:
            raise RingmillError(Code.ABORTED, "a newer session of this producer has been opened")
        raise RingmillError(Code.FAILED_PRECONDITION, "this session was never opened: open one with options.session 0")

    def open(self, number: int, pipeline: int, session: int, stream: int, brief: bool) -> Producer:
        """Begins a stream of a producer, in a session that it resumes or in a new one.

        Raises RESOURCE_EXHAUSTED if there are too many.
        """
        if number not in self._producers:
            self._check_room()
        older = self._producers.pop(number, None)
        if older is not None:
            self._alive.pop(older.identity.fence, None)
            self._idle.pop(number, None)
        fence = self._next_fence()
        identity = self._new(number, fence).serve(pipeline)
        remembered = self._remembers_all or (older is not None and older.remembered)
        producer = Producer(number, session or fence, identity, stream, brief and not session, 0, remembered)
        self._leaving.discard(number)
        producer.oldest = fence if self._remembers_all else 0
        if older is not None:
            producer.oldest = older.oldest
            producer.doubtful_through = max(older.doubtful_through, int(older.identity.last.max()))
            producer.unforgotten = older.unforgotten and older.session == session
        self._producers[number] = producer
        return producer

    def share(self, producer: Producer, sequence: int, stream: int) -> bool:
        """Whether a call goes on where the producer's call before it ended, so that workers need not be asked."""
        identity = producer.identity
        if not producer.brief or not producer.unforgotten or producer.stream is not None:
            return False  # a call that was given up before its opening was answered has asked nobody
        if identity.doubtful or sequence <= identity.number:
            return False
        producer.stream = stream
        producer.last_sequence = max(producer.last_sequence, identity.number)
        self._idle.pop(producer.number, None)
        return True

    def release(self, identity: Identity, stream: int, now_ns: int) -> None:
        """A stream is over."""
        if not identity.named:
            if not identity.doubtful and len(self._pool) < POOL_MAX:
                self._pool.append(identity)
            else:
                self._forget(identity)
            return
        producer = self._producers.get(identity.producer)
        if producer is not None and producer.stream == stream:
            producer.stream = None
            producer.idle_ns = now_ns
            self._idle[producer.number] = producer

    def restarted(self, partitions: npt.NDArray[np.bool_]) -> None:
        """Partitions have begun anew, without their state: nothing came before there."""
        for producer in self._producers.values():
            producer.unforgotten = False
            producer.begun_anew |= producer.brief and bool(producer.identity.last[partitions].any())
        for identity in self._alive.values():
            identity.last[partitions] = 0

    def forgotten(self, now_ns: int) -> list[Identity]:
        """Takes the identities that workers are to forget, those of long idle producers among them."""
        while self._idle:
            number, producer = next(iter(self._idle.items()))
            if now_ns - producer.idle_ns <= self._retention_ns and len(self._idle) <= self._producers_max:
                break
            del self._idle[number], self._producers[number]
            self._forget(producer.identity)
            self._remembers_all = False
        taken, self._forgotten = self._forgotten, []
        return taken

    def gone(self, producers: Iterable[int]) -> None:
        """Workers have forgotten these."""
        self._leaving.difference_update(producers)

    def may_have_floor(self, now_ns: int) -> bool:
        """Whether a producer of an earlier balancer has had its time to come back, from the first time that this is
        asked."""
        if self._begun_ns is None:
            self._begun_ns = now_ns
        return now_ns - self._begun_ns > self._retention_ns

    def floor(self) -> int:
        """Workers may forget every identity whose fence is below this; 0: none.

        Whoever may come back is known by this fence or a newer one everywhere, also where a worker was away while it
        opened streams: what such a worker forgot it would apply again.
        """
        newest = next(iter(self._alive), self._fence + 1)
        return min(newest, min((each.oldest for each in self._producers.values()), default=newest))

    def _check_room(self) -> None:
        if len(self._alive) + len(self._leaving) >= self._identities_max:
            raise RingmillError(
                Code.RESOURCE_EXHAUSTED,
                f"{self._identities_max} producers and streams are known, those without a stream included: close "
                "streams, or use fewer names",
            )

    def _new(self, producer: int, fence: int) -> Identity:
        identity = self._alive[fence] = Identity(producer, fence, self._partitions)
        return identity

    def _forget(self, identity: Identity) -> None:
        self._alive.pop(identity.fence, None)
        self._forgotten.append(identity)
        self._leaving.add(identity.producer)

    def _next_fence(self) -> int:
        self._fence += 1
        return self._fence
