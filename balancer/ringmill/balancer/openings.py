"""Opens streams of producers at all workers at once: a pure state machine.

A stream may send only after every primary knows its fence: then nothing of an older stream, wherever it still is, can
be applied after anything of this one. A new view may have other primaries, so that all are asked again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ringmill.balancer.routing import Routing
from ringmill.balancer.sessions import Producer
from ringmill.core.errors import Code, RingmillError
from ringmill.core.maglev import NOBODY
from ringmill.internal.v1.link_pb2 import JoinResponse, Open

SEQUENCE_MAX = (1 << 64) - 1
ABSENT_MAX = 1 << 40
"""Sequences that a producer may have used on partitions of an absent worker alone: at a million a second, 12 days."""

Answer = tuple[int, int, int, int]
"""A worker's Opened: id, gRPC status code, session, and the highest sequence applied there."""

_WHY = {
    Code.ABORTED: "a newer stream or session of this producer has been opened",
    Code.FAILED_PRECONDITION: "this session has been forgotten: open a new one, with options.session 0",
}


@dataclass(slots=True, eq=False)
class Opening:
    """A stream whose producer is being made known."""

    stream: int
    producer: Producer
    asked: int
    """The session to be resumed; 0: a new one."""
    begun_ns: int
    waits: set[int] = field(default_factory=set)
    """Numbers of the Opens without an answer."""
    whole: bool = True
    """Whether all primaries have a link, and so have been asked."""

    @property
    def done(self) -> bool:
        """Whether every primary knows."""
        return self.whole and not self.waits


class Openings:
    """All streams that are not open yet."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing
        self._openings: dict[int, Opening] = {}
        """By stream."""
        self._streams: dict[int, int] = {}
        """The stream that each Open is for."""
        self._last = 0
        self._absent: dict[int, Producer] = {}
        """Producers that some worker may not know by their newest fence, since it was away when that was given."""
        self._unserved = np.zeros(routing.view.partitions, np.bool_)
        """Where nobody served then, and nobody that serves by now has said that it knows them."""
        self._introduced: dict[int, Producer] = {}
        """Whom each Open without an answer makes known to a worker that is back."""
        self._served_again = self._unserved
        """Where those that are asked serve."""

    def begin(self, stream: int, producer: Producer, asked: int, now_ns: int) -> bool:
        """Asks all primaries; True: there is none to wait for."""
        self.forget(producer.number)
        opening = self._openings[stream] = Opening(stream, producer, asked, now_ns)
        self._ask(opening)
        return self._done(opening)

    def ask_again(self) -> list[int]:
        """Asks the primaries of a new view; returns the streams that need not wait any more."""
        done = []
        for opening in list(self._openings.values()):
            self._forget(opening)
            self._ask(opening)
            if self._done(opening):
                done.append(opening.stream)
        return done

    def introduce(self) -> None:
        """Makes producers known to who was away when their streams were opened, before it gets anything of them."""
        self._introduced.clear()
        view = self._routing.view
        back = self._unserved & (view.routes != NOBODY)
        known = [each for each in self._absent.values() if each.unforgotten]
        if not known:
            self._unserved &= ~back
            return
        links = [self._routing.members[place] for place in np.unique(view.table[back]).tolist()]
        for outbox in links:
            if outbox is not None:
                outbox.say(JoinResponse(opens=self._introductions(known)).SerializeToString())
        self._served_again = back & (None not in links)  # a link that comes up begins this anew

    def forget(self, producer: int) -> None:
        """Nobody needs to know a producer any more, or it opens a newer stream."""
        self._absent.pop(producer, None)

    def answered(self, answer: Answer) -> int | None:
        """Takes a worker's answer; returns the stream that is open now. Raises what ends the stream `stream_of`."""
        number, code, session, last_sequence = answer
        introduced = self._introduced.pop(number, None)
        if introduced is not None:
            if code and self._absent.get(introduced.number) is introduced:
                self.forget(introduced.number)
            self._meet()
            _check(code)
            return None
        stream = self._streams.pop(number, None)
        if stream is None:
            return None
        opening = self._openings[stream]
        opening.waits.discard(number)
        _check(code)
        producer = opening.producer
        producer.session = max(producer.session, session)
        producer.last_sequence = max(producer.last_sequence, last_sequence)
        return stream if self._done(opening) else None

    def stream_of(self, number: int) -> int | None:
        """The stream that an Open without an answer is for."""
        introduced = self._introduced.get(number)
        return introduced.stream if introduced is not None else self._streams.get(number)

    def late(self, begun_before_ns: int) -> list[int]:
        """Streams that have waited since before then."""
        return [each.stream for each in self._openings.values() if each.begun_ns < begun_before_ns]

    def closed(self, stream: int) -> None:
        """A stream is over."""
        opening = self._openings.pop(stream, None)
        if opening is not None:
            self._forget(opening)

    def _ask(self, opening: Opening) -> None:
        producer = opening.producer
        opening.whole = True
        producer.last_sequence = 0
        for outbox in self._routing.primaries():
            if outbox is None:
                opening.whole = False
                continue
            self._last = number = self._last + 1
            opening.waits.add(number)
            self._streams[number] = opening.stream
            ask = _open(number, producer, opening.asked, producer.unforgotten and opening.asked != 0)
            outbox.say(JoinResponse(opens=[ask]).SerializeToString())

    def _forget(self, opening: Opening) -> None:
        for number in opening.waits:
            del self._streams[number]
        opening.waits.clear()

    def _done(self, opening: Opening) -> bool:
        if opening.done:
            del self._openings[opening.stream]
            producer = opening.producer
            producer.unforgotten |= not opening.asked or not self._routing.unserved
            if self._routing.unserved:
                self._absent[producer.number] = producer
                self._unserved |= self._routing.routes == NOBODY
                _allow_for_the_absent(producer, opening.asked)
            else:
                producer.oldest = producer.identity.fence
                if not producer.remembered:  # what older streams handed over is applied, or refused from here on
                    producer.remembered, producer.doubtful_through = True, 0
            producer.doubtful_through = max(producer.doubtful_through, producer.last_sequence)
        return opening.done

    def _introductions(self, producers: Iterable[Producer]) -> list[Open]:
        opens = []
        for each in producers:
            self._last = number = self._last + 1
            self._introduced[number] = each
            opens.append(_open(number, each, each.session, True))
        return opens

    def _meet(self) -> None:
        """Nobody is away any more who may know producers by an older fence, when all that were asked know them."""
        if self._introduced:
            return
        self._unserved &= ~self._served_again
        if self._unserved.any():
            return
        for producer in self._absent.values():
            if producer.unforgotten:
                producer.oldest = producer.identity.fence
        self._absent.clear()


def _open(number: int, producer: Producer, session: int, unforgotten: bool) -> Open:
    return Open(
        id=number, producer=producer.number, session=session, fence=producer.identity.fence, unforgotten=unforgotten
    )


def _check(code: int) -> None:
    if code:
        known = Code(code) if code in Code._value2member_map_ else Code.INTERNAL
        raise RingmillError(known, _WHY.get(known, "a worker could not open the stream"))


def _allow_for_the_absent(producer: Producer, asked: int) -> None:
    """Some worker is away, and may come back with more of the producer's batches than the others know of.

    A new session goes on after all that it can have: else its batches would be taken for those. In a session that is
    resumed nothing is known to be new.
    """
    if producer.remembered:
        producer.last_sequence = max(producer.last_sequence, producer.doubtful_through)
    elif asked:
        producer.doubtful_through = SEQUENCE_MAX
    else:
        producer.last_sequence = min(producer.last_sequence + ABSENT_MAX, SEQUENCE_MAX)
