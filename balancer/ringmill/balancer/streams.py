"""All open streams, and a batch's way out: answers are merged, and leave in the order of the requests. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from ringmill.balancer.answers import (
    UNAVAILABLE,
    all_refused,
    committed_through,
    empty,
    merged,
    routed,
)
from ringmill.balancer.batch import Batch, Part
from ringmill.balancer.client_stream import NO_FIGURES, ClientStream, Figures
from ringmill.balancer.effects import Effect, Finish, Pause, Resume, Send
from ringmill.balancer.limits import RouterLimits
from ringmill.balancer.openings import Openings
from ringmill.balancer.outbox import Outbox
from ringmill.balancer.routing import Mask, Routing
from ringmill.balancer.sessions import Sessions
from ringmill.core.agreement import Metadata, Served
from ringmill.core.errors import Code, Reason, RingmillError
from ringmill.core.split import Splitter
from ringmill.telemetry import Telemetry
from ringmill.telemetry.counts import Counts

MICROSECOND_NS = 1_000


class Streams:
    """The clients' streams of one balancer. What is to be done for them is added to `effects`."""

    def __init__(
        self,
        splitter: Splitter,
        limits: RouterLimits,
        routing: Routing,
        sessions: Sessions,
        openings: Openings,
        telemetry: Telemetry,
    ) -> None:
        self.effects: list[Effect] = []
        self.now_ns = 0
        """Roughly: when the router was last told the time."""
        self._streams: dict[int, ClientStream] = {}
        self._splitter = splitter
        self._limits = limits
        self._routing = routing
        self._sessions = sessions
        self._openings = openings
        self._telemetry = telemetry
        self._figures: dict[str, Figures] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[ClientStream]:
        """All streams; they may end meanwhile."""
        return iter(list(self._streams.values()))

    def get(self, stream: int) -> ClientStream | None:
        """An open stream."""
        return self._streams.get(stream)

    def opened(self, stream: int, metadata: Metadata, brief: bool) -> None:
        """A client has opened a stream."""
        self._streams[stream] = ClientStream(stream, self._limits.streams, NO_FIGURES, metadata, brief)

    # A batch's way out

    def take(self, part: Part, response: bytes, provisional: bool, now_ns: int) -> None:
        """Takes the answer to a part. provisional: replicas do not hold it yet."""
        batch = part.batch
        batch.waiting -= 1
        if provisional:
            part.answered = True
            part.flags = 0  # if it is handed over again, then to know that it is committed
            batch.uncommitted += 1
        else:
            part.request = b""
        if batch.answers is None:
            batch.response = response
            batch.answered_ns = now_ns
        else:
            batch.answers[part.slot] = response
            if not batch.waiting:
                try:
                    self.complete(batch, now_ns)
                except RingmillError as error:
                    self.fail(part, error.code, error.message, now_ns)
                    return
        state = self._streams.get(part.stream)
        if state is not None:
            self.advance(state, now_ns)

    def complete(self, batch: Batch, now_ns: int) -> None:
        """Merges the answers of a split batch, in the order of its events."""
        assert batch.slots is not None
        assert batch.answers is not None
        batch.response, heads = self._splitter.merge(batch.slots, batch.answers, UNAVAILABLE)
        batch.head = merged(heads, batch.refused, batch.sequence, self._routing.view.version)
        batch.answers, batch.slots, batch.answered_ns = None, None, now_ns

    def refuse(self, parts: Iterable[Part], outcome: bytes, reason: Reason, now_ns: int) -> None:
        """Answers parts that no worker was given."""
        for part in parts:
            state = self._streams.get(part.stream)
            batch = part.batch
            if state is None or not part.wanted:
                continue
            count = batch.count if batch.slots is None else int((batch.slots == part.slot).sum())
            state.figures.counts.rejected[reason] += count
            answer = all_refused(outcome, count)
            if batch.slots is None:
                answer += empty(batch.sequence, self._routing.view.version)
            self.take(part, answer, False, now_ns)

    def commit(self, part: Part, now_ns: int) -> None:
        """Notes that all replicas hold a part that was answered before they did."""
        part.request = b""
        part.batch.uncommitted -= 1
        state = self._streams.get(part.stream)
        if state is not None and not part.batch.uncommitted:
            state.committed()
            self.advance(state, now_ns)

    def advance(self, stream: ClientStream, now_ns: int) -> None:
        """Sends what is done, oldest first, up to the first batch that is not."""
        batches = stream.batches
        while batches and not batches[0].waiting:
            batch = batches[0]
            if batch.end is not None:
                if batch.end[0] == Code.OK and stream.uncommitted:
                    break
                self.close(stream, *batch.end)
                return
            batches.popleft()
            stream.figures.answered(batch, now_ns)
            stream.answered(batch)
            if stream.producer is None and stream.identity is not None:
                stream.identity.acknowledged = batch.number
            self.effects.append(
                Send(stream.id, b"".join((batch.head, batch.response, self._tail(stream, batch, now_ns))))
            )
        self.press(stream)

    def _tail(self, stream: ClientStream, batch: Batch, now_ns: int) -> bytes:
        """What the router itself says in a response."""
        route_us = (batch.handed_ns - batch.arrived_ns + now_ns - batch.answered_ns) // MICROSECOND_NS
        tail = routed(route_us)
        through = stream.committed_through
        if through:
            tail += committed_through(through)
        if not stream.agreement.told:
            producer = stream.producer
            session, last = (producer.session, producer.last_sequence) if producer is not None else (0, 0)
            tail += stream.agreement.first_response_fields(session, last)
        return tail

    # Ends

    def closed(self, stream: int) -> None:
        """A client is gone. What was not yet handed over for it never will be."""
        state = self._streams.pop(stream, None)
        if state is None:
            return
        for batch in state.batches:
            self._forget(state, batch)
        for batch in state.uncommitted:
            _let_go(batch)
        self._openings.closed(stream)
        if state.identity is not None:
            self._sessions.release(state.identity, stream, self.now_ns)
        for outbox in self._routing.outboxes.values():
            outbox.blocked.discard(stream)
            if outbox.queued_bytes > self._limits.link_bytes_max:
                outbox.forget_unwanted()
                self.relieve(outbox)

    def fail(self, part: Part, code: Code, detail: str, now_ns: int) -> None:
        """Ends the stream at this batch; what came after it is forgotten."""
        state = self._streams.get(part.stream)
        if state is None or not part.batch.wanted:
            return
        if part.answered:  # its response has left, or may have
            self.close(state, code, detail)
            return
        while state.batches[-1] is not part.batch:
            self._forget(state, state.batches.pop())
        self._forget(state, state.batches.pop())
        self.end(state, code, detail)
        self.advance(state, now_ns)

    def break_off(self, stream: ClientStream, partitions: Mask, code: Code, detail: str, now_ns: int) -> None:
        """Ends a stream at its first batch without an answer that touches one of these; without such, after all."""
        batches = (*stream.uncommitted, *stream.batches)
        for part in (part for batch in batches for part in batch.parts):
            if part.wanted and partitions[part.touched].any():
                self.fail(part, code, detail, now_ns)
                return
        if not stream.ending:
            self.end(stream, code, detail)
            self.advance(stream, now_ns)

    def end(self, stream: ClientStream, code: Code, detail: str) -> None:
        """Puts an end after all that the stream has sent so far."""
        if stream.held is not None:
            stream.held.append((code, detail))
            return
        stream.ending = True
        stream.batches.append(Batch(end=(code, detail)))

    def close(self, stream: ClientStream, code: Code, detail: str) -> None:
        """Ends a stream now, whatever it still waits for."""
        self.effects.append(Finish(stream.id, code, detail))
        self.closed(stream.id)

    def _forget(self, stream: ClientStream, batch: Batch) -> None:
        _let_go(batch)
        if batch.end is None:
            stream.figures.counts.in_flight -= 1
            batch.span.end(batch.count, 0, "the stream ended first")

    # Backpressure

    def block(self, stream: ClientStream, outbox: Outbox) -> None:
        """A stream is not read while more waits for a link than should, and it has sent some of it."""
        if outbox.queued_bytes > self._limits.link_bytes_max and stream.id not in outbox.blocked:
            outbox.blocked.add(stream.id)
            stream.blocks += 1

    def relieve(self, outbox: Outbox) -> None:
        """Lets streams be read again once enough of what waits for a link is gone."""
        if outbox.blocked and outbox.queued_bytes * 2 <= self._limits.link_bytes_max:
            self.unblock(outbox)

    def unblock(self, outbox: Outbox) -> None:
        """No stream needs to wait for a link any more."""
        for stream in sorted(outbox.blocked):
            state = self._streams.get(stream)
            if state is not None:
                state.blocks -= 1
                self.press(state)
        outbox.blocked.clear()

    def press(self, stream: ClientStream) -> None:
        """Reads a stream only while its client, its links and its own limits allow it."""
        share_bytes = self._limits.bytes_in_flight_max // max(1, len(self._streams))
        pause = stream.held_back(self._limits.streams, share_bytes)
        if pause != stream.paused:
            stream.paused = pause
            self.effects.append(Pause(stream.id) if pause else Resume(stream.id))

    # Figures

    def snapshot(self) -> Mapping[str, Counts]:
        """Figures of each pipeline. May be called from any thread."""
        return {name: figures.counts for name, figures in list(self._figures.items())}

    def measure(self, pipelines: Iterable[Served]) -> None:
        """Looks how much waits for links."""
        for served in pipelines:
            depth = sum(outbox.depth(served.index) for outbox in self._routing.outboxes.values())
            self.figures_of(served.name).counts.queue_depth = depth

    def figures_of(self, pipeline: str) -> Figures:
        """What is measured of a pipeline."""
        figures = self._figures.get(pipeline)
        if figures is None:
            times = self._telemetry.stages(pipeline) if self._telemetry.enabled else None
            figures = self._figures[pipeline] = Figures(times)
        return figures


def _let_go(batch: Batch) -> None:
    """Nobody waits for a batch any more."""
    batch.wanted = False
    for part in batch.parts:
        if part.handed and part.request:
            part.identity.doubtful = True
        part.request = b""
    batch.parts.clear()
