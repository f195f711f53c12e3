"""Opens streams of producers at all workers at once: a pure state machine.

A stream may send only after every primary knows its fence: then nothing of an older stream, wherever it still is, can
be applied after anything of this one. A new view may have other primaries, so that all are asked again.
"""

from dataclasses import dataclass, field

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
        """Open streams that some worker may not know, which was away when they were opened."""

    def begin(self, stream: int, producer: Producer, asked: int, now_ns: int) -> bool:
        """Asks all primaries; True: there is none to wait for."""
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
        """Makes streams known to who was away when they were opened, before it gets anything of them."""
        opens = [
            Open(producer=each.number, session=each.session, fence=each.identity.fence, unforgotten=True)
            for each in self._absent.values()
            if each.unforgotten
        ]
        if not opens:
            return
        links = self._routing.primaries()
        for outbox in links:
            if outbox is not None:
                outbox.say(JoinResponse(opens=opens).SerializeToString())
        if None not in links and not (self._routing.view.routes == NOBODY).any():
            self._absent.clear()

    def answered(self, answer: Answer) -> int | None:
        """Takes a worker's answer; returns the stream that is open now. Raises what ends the stream `stream_of`."""
        number, code, session, last_sequence = answer
        stream = self._streams.pop(number, None)
        if stream is None:
            return None
        opening = self._openings[stream]
        opening.waits.discard(number)
        if code:
            known = Code(code) if code in Code._value2member_map_ else Code.INTERNAL
            raise RingmillError(known, _WHY.get(known, "a worker could not open the stream"))
        producer = opening.producer
        producer.session = max(producer.session, session)
        producer.last_sequence = max(producer.last_sequence, last_sequence)
        return stream if self._done(opening) else None

    def stream_of(self, number: int) -> int | None:
        """The stream that an Open without an answer is for."""
        return self._streams.get(number)

    def late(self, begun_before_ns: int) -> list[int]:
        """Streams that have waited since before then."""
        return [each.stream for each in self._openings.values() if each.begun_ns < begun_before_ns]

    def closed(self, stream: int) -> None:
        """A stream is over."""
        self._absent.pop(stream, None)
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
            ask = Open(
                id=number,
                producer=producer.number,
                session=opening.asked,
                fence=producer.identity.fence,
                unforgotten=producer.unforgotten and opening.asked != 0,
            )
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
                self._absent[opening.stream] = producer
                _allow_for_the_absent(producer, opening.asked)
            elif not producer.remembered:  # what older streams handed over is applied, or refused from here on
                producer.remembered, producer.doubtful_through = True, 0
            producer.doubtful_through = max(producer.doubtful_through, producer.last_sequence)
        return opening.done


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
