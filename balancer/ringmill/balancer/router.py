"""Routes batches: a pure state machine. Messages, links and time in; what to send, pause and finish out.

A stream is a queue of batches in the order of its requests. A batch is scanned, checked, split by the owners of its
keys, and handed to their links; when the last part is answered it is merged, and leaves when it is the oldest of its
stream. An error takes its place in the same queue, so that it follows all earlier responses.

What was never handed to a worker is refused, event by event. What was handed over and not answered is in doubt: then
the stream ends, because a refusal would claim that nothing was applied.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ringmill.balancer.answers import DEADLINE, UNAVAILABLE, all_refused, empty, merged, routed
from ringmill.balancer.batch import Batch, Part
from ringmill.balancer.client_stream import NO_FIGURES, NO_HEAD, ClientStream, Figures
from ringmill.balancer.effects import Effect, Finish, Pause, Result, Resume, Send, SendFrame
from ringmill.balancer.outbox import Outbox
from ringmill.core.agreement import Metadata, Served, StreamLimits, parse_head
from ringmill.core.errors import Code, Reason, RingmillError
from ringmill.core.maglev import NOBODY, Table
from ringmill.core.split import Splitter
from ringmill.core.view import View
from ringmill.telemetry import Telemetry
from ringmill.telemetry.counts import Counts
from ringmill.telemetry.names import ROUTE
from ringmill.v1.processing_pb2 import ProcessRequest

MICROSECOND_NS = 1_000
MILLISECOND_NS = 1_000_000

_CODES = {int(code): code for code in Code}


@dataclass(frozen=True, slots=True)
class RouterLimits:
    """Bounds of what the router holds."""

    streams: StreamLimits = field(default_factory=StreamLimits)
    bytes_in_flight_max: int = 1 << 30
    """Unanswered request bytes of all streams. Each may hold an even share, and the request that passes it."""
    link_bytes_max: int = 8 << 20
    """Request bytes that may wait for one link. Streams that send it more are not read until half is gone."""
    frame_bytes_max: int = 1 << 20
    """A frame takes parts until it is this large: larger frames delay what comes behind them."""


class Router:
    """All streams and links of one balancer.

    Every method is an input and adds to `effects`, which the caller performs in order and clears.
    """

    def __init__(
        self, splitter: Splitter, view: View, limits: RouterLimits, telemetry: Telemetry | None = None
    ) -> None:
        self.effects: list[Effect] = []
        self._splitter = splitter
        self._limits = limits
        self._streams: dict[int, ClientStream] = {}
        self._outboxes: dict[int, Outbox] = {}
        self._slots: list[Outbox | None] = []
        self._view = view
        self._routes: Table = view.routes
        self._catalogue: Mapping[str, Served] = {}
        self._why_not = "waiting for workers"
        self._telemetry = telemetry or Telemetry.off()
        self._figures: dict[str, Figures] = {}

    # Membership

    def waiting(self, why: str) -> None:
        """Says what clients are told while there is no view yet."""
        self._why_not = why

    def publish(self, view: View, links: Sequence[int | None], catalogue: Mapping[str, Served], now_ns: int) -> None:
        """Routes by a new view from now on. links: link of each member, None where it is dead."""
        if not _same(self._catalogue, catalogue):
            self._end_agreed("the pipelines served have changed: open the stream again", now_ns)
        self._view = view
        self._catalogue = catalogue
        self._slots = [None if link is None else self._outboxes.get(link) for link in links]
        routes = view.routes
        for place, outbox in enumerate(self._slots):
            if outbox is None:
                routes[routes == place] = NOBODY
            elif not view.members[place].alive:
                self._refuse(outbox.take_queued(), UNAVAILABLE, Reason.UNAVAILABLE, now_ns)
                self._unblock(outbox)
        self._routes = routes

    def link_up(self, link: int) -> None:
        """A worker has registered on a link."""
        self._outboxes[link] = Outbox(link, self._limits.frame_bytes_max)

    def link_down(self, link: int, now_ns: int) -> None:
        """A link broke. What its worker had is in doubt; what it had not is refused."""
        outbox = self._outboxes.pop(link, None)
        if outbox is None:
            return
        for place, other in enumerate(self._slots):
            if other is outbox:
                self._slots[place] = None
                self._routes[self._routes == place] = NOBODY
        for part in outbox.take_handed():
            self._fail(part, Code.UNAVAILABLE, "a worker was lost before it answered: send the batch again", now_ns)
        self._refuse(outbox.take_queued(), UNAVAILABLE, Reason.UNAVAILABLE, now_ns)
        self._unblock(outbox)

    # Links

    def link_drained(self, link: int, now_ns: int) -> None:
        """The last frame is written: what has gathered since goes out as one."""
        outbox = self._outboxes.get(link)
        if outbox is not None:
            outbox.busy = False
            self._flush(outbox, now_ns)

    def results(self, link: int, results: Iterable[Result], now_ns: int) -> None:
        """A worker answers parts, in any order."""
        outbox = self._outboxes.get(link)
        if outbox is None:
            return
        for number, response, code, detail in results:
            part = outbox.answered(number)
            if part is None or not part.batch.wanted:
                continue
            if code:
                self._fail(part, _CODES.get(code, Code.INTERNAL), detail, now_ns)
            else:
                self._take(part, response, now_ns)

    def tick(self, now_ns: int) -> None:
        """Refuses what waits for a slow link beyond its deadline. To be called a few times a second."""
        for outbox in list(self._outboxes.values()):
            if outbox.queued:
                self._refuse(outbox.take_late(now_ns), DEADLINE, Reason.DEADLINE, now_ns)
                self._relieve(outbox)
        for served in self._catalogue.values():
            depth = sum(outbox.depth(served.index) for outbox in self._outboxes.values())
            self._figures_of(served.name).counts.queue_depth = depth

    # Streams

    def opened(self, stream: int, metadata: Metadata = ()) -> None:
        """A client has opened a stream. Its metadata may set options, and the trace context of batches without one."""
        self._streams[stream] = ClientStream(stream, self._limits.streams, NO_FIGURES, metadata)

    def message(self, stream: int, message: bytes, now_ns: int) -> None:
        """A client has sent a request."""
        state = self._streams.get(stream)
        if state is None or state.ending:
            return
        try:
            self._admit(state, message, now_ns)
        except RingmillError as error:
            self._end(state, error.code, error.message)
        self._advance(state, now_ns)

    def half_closed(self, stream: int, now_ns: int) -> None:
        """A client will send no more: its stream ends when all is answered."""
        state = self._streams.get(stream)
        if state is not None and not state.ending:
            self._end(state, Code.OK, "")
            self._advance(state, now_ns)

    def clogged(self, stream: int, clogged: bool) -> None:
        """A client does not read its responses, or reads them again: it is not read meanwhile either."""
        state = self._streams.get(stream)
        if state is not None:
            state.clogged = clogged
            self._press(state)

    def closed(self, stream: int) -> None:
        """A client is gone. What was not yet handed over for it never will be."""
        state = self._streams.pop(stream, None)
        if state is None:
            return
        for batch in state.batches:
            self._forget(state, batch)
        for outbox in self._outboxes.values():
            outbox.blocked.discard(stream)
            if outbox.queued_bytes > self._limits.link_bytes_max:
                outbox.forget_unwanted()
                self._relieve(outbox)

    def end_all(self, code: Code, detail: str, now_ns: int) -> None:
        """Takes no more requests; each stream ends once what it has sent is answered."""
        for state in list(self._streams.values()):
            if not state.ending:
                self._end(state, code, detail)
                self._advance(state, now_ns)

    def unanswered(self, link: int) -> int:
        """Parts that a link's worker has and has not answered."""
        outbox = self._outboxes.get(link)
        return 0 if outbox is None else outbox.unanswered

    @property
    def idle(self) -> bool:
        """Whether no stream is open."""
        return not self._streams

    def snapshot(self) -> Mapping[str, Counts]:
        """Figures of each pipeline. May be called from any thread; the numbers may be a batch apart."""
        return {name: figures.counts for name, figures in list(self._figures.items())}

    def queued(self) -> tuple[int, int, int]:
        """Open streams, parts that wait for links, and parts that workers have."""
        boxes = self._outboxes.values()
        return len(self._streams), sum(box.queued for box in boxes), sum(box.unanswered for box in boxes)

    # A batch's way in

    def _admit(self, stream: ClientStream, message: bytes, now_ns: int) -> None:
        if not self._view.version:
            raise RingmillError(Code.UNAVAILABLE, self._why_not)
        scanned = self._splitter.scan(message)
        if scanned.head != stream.head_bytes or stream.head is NO_HEAD:
            stream.head, stream.head_bytes = parse_head(scanned.head), scanned.head
        head = stream.head
        served = stream.agreement.accept(head, scanned.count, self._catalogue)
        if stream.figures is NO_FIGURES:
            stream.figures = self._figures_of(served.name)
        batch = Batch(len(message), scanned.count, head.sequence, now_ns, now_ns, now_ns)
        stream.batches.append(batch)
        stream.bytes += batch.request_bytes
        stream.figures.counts.in_flight += 1
        if not scanned.count:
            batch.response = empty(batch.sequence, self._view.version)
            return
        split = self._splitter.split(message, scanned, self._routes, len(self._slots))
        batch.refused = split.refused
        batch.waiting = len(split.parts)
        if batch.waiting != 1 or split.refused:
            batch.owners, batch.answers = split.owners, {}
        if split.refused:
            stream.figures.counts.rejected[Reason.UNAVAILABLE] += split.refused
        if not split.parts:
            self._complete(batch, now_ns)
        context = head.traceparent or stream.traceparent
        suffix = self._trace(batch, served, head, context) if context else b""
        deadline_ns = now_ns + head.timeout_ms * MILLISECOND_NS if head.timeout_ms else 0
        for worker, request in split.parts:
            part = Part(batch, stream.id, worker, served.index, request + suffix, deadline_ns)
            self._queue(stream, part, now_ns)

    def _trace(self, batch: Batch, served: Served, head: ProcessRequest, context: str) -> bytes:
        """Begins the batch's span, and gives what to append to its parts so that the workers' spans hang below it."""
        batch.span = self._telemetry.span(ROUTE, served.name, context)
        context = batch.span.traceparent or context
        return b"" if context == head.traceparent else ProcessRequest(traceparent=context).SerializeToString()

    def _queue(self, stream: ClientStream, part: Part, now_ns: int) -> None:
        outbox = self._slots[part.worker]
        assert outbox is not None, "a worker without a link has no routes"
        outbox.put(part)
        if not outbox.busy:
            self._flush(outbox, now_ns)
        if outbox.queued_bytes > self._limits.link_bytes_max and stream.id not in outbox.blocked:
            outbox.blocked.add(stream.id)
            stream.blocks += 1

    def _flush(self, outbox: Outbox, now_ns: int) -> None:
        frame, late = outbox.frame(now_ns)
        if frame:
            outbox.busy = True
            self.effects.append(SendFrame(outbox.link, frame))
        if late:
            self._refuse(late, DEADLINE, Reason.DEADLINE, now_ns)
        self._relieve(outbox)

    def _relieve(self, outbox: Outbox) -> None:
        if outbox.blocked and outbox.queued_bytes * 2 <= self._limits.link_bytes_max:
            self._unblock(outbox)

    def _unblock(self, outbox: Outbox) -> None:
        for stream in outbox.blocked:
            state = self._streams.get(stream)
            if state is not None:
                state.blocks -= 1
                self._press(state)
        outbox.blocked.clear()

    # A batch's way out

    def _take(self, part: Part, response: bytes, now_ns: int) -> None:
        batch = part.batch
        batch.waiting -= 1
        if batch.answers is None:
            batch.response = response
            batch.answered_ns = now_ns
        else:
            batch.answers[part.worker] = response
            if not batch.waiting:
                try:
                    self._complete(batch, now_ns)
                except RingmillError as error:
                    self._fail(part, error.code, error.message, now_ns)
                    return
        state = self._streams.get(part.stream)
        if state is not None:
            self._advance(state, now_ns)

    def _complete(self, batch: Batch, now_ns: int) -> None:
        """Merges the answers of a split batch, in the order of its events."""
        assert batch.owners is not None
        assert batch.answers is not None
        batch.response, heads = self._splitter.merge(batch.owners, batch.answers, UNAVAILABLE)
        batch.head = merged(heads, batch.refused, batch.sequence, self._view.version)
        batch.answers, batch.owners, batch.answered_ns = None, None, now_ns

    def _refuse(self, parts: Iterable[Part], outcome: bytes, reason: Reason, now_ns: int) -> None:
        """Answers parts that no worker was given."""
        for part in parts:
            state = self._streams.get(part.stream)
            batch = part.batch
            if state is None or not batch.wanted:
                continue
            count = batch.count if batch.owners is None else int((batch.owners == part.worker).sum())
            state.figures.counts.rejected[reason] += count
            answer = all_refused(outcome, count)
            if batch.owners is None:
                answer += empty(batch.sequence, self._view.version)
            self._take(part, answer, now_ns)

    def _advance(self, stream: ClientStream, now_ns: int) -> None:
        """Sends what is done, oldest first, up to the first batch that is not."""
        batches = stream.batches
        while batches and not batches[0].waiting:
            batch = batches.popleft()
            if batch.end is not None:
                self._close(stream, *batch.end)
                return
            stream.bytes -= batch.request_bytes
            stream.figures.answered(batch, now_ns)
            route_us = (batch.handed_ns - batch.arrived_ns + now_ns - batch.answered_ns) // MICROSECOND_NS
            info = stream.agreement.first_response_fields()
            self.effects.append(Send(stream.id, b"".join((batch.head, batch.response, routed(route_us), info))))
        self._press(stream)

    def _press(self, stream: ClientStream) -> None:
        """Reads a stream only while its client, its links and its own limits allow it."""
        share_bytes = self._limits.bytes_in_flight_max // max(1, len(self._streams))
        pause = stream.held_back(self._limits.streams, share_bytes)
        if pause != stream.paused:
            stream.paused = pause
            self.effects.append(Pause(stream.id) if pause else Resume(stream.id))

    # Ends

    def _fail(self, part: Part, code: Code, detail: str, now_ns: int) -> None:
        """Ends the stream at this batch; what came after it is forgotten."""
        state = self._streams.get(part.stream)
        if state is None or not part.batch.wanted:
            return
        while state.batches[-1] is not part.batch:
            self._forget(state, state.batches.pop())
        self._forget(state, state.batches.pop())
        self._end(state, code, detail)
        self._advance(state, now_ns)

    def _end(self, stream: ClientStream, code: Code, detail: str) -> None:
        """Puts an end after all that the stream has sent so far."""
        stream.ending = True
        stream.batches.append(Batch(end=(code, detail)))

    def _end_agreed(self, why: str, now_ns: int) -> None:
        for state in list(self._streams.values()):
            if state.agreement.served is not None and not state.ending:
                self._end(state, Code.UNAVAILABLE, why)
                self._advance(state, now_ns)

    def _close(self, stream: ClientStream, code: Code, detail: str) -> None:
        self.effects.append(Finish(stream.id, code, detail))
        self.closed(stream.id)

    def _forget(self, stream: ClientStream, batch: Batch) -> None:
        batch.wanted = False
        if batch.end is None:
            stream.figures.counts.in_flight -= 1
            batch.span.end(batch.count, 0, "the stream ended first")

    # Figures

    def _figures_of(self, pipeline: str) -> Figures:
        figures = self._figures.get(pipeline)
        if figures is None:
            times = self._telemetry.stages(pipeline) if self._telemetry.enabled else None
            figures = self._figures[pipeline] = Figures(times)
        return figures


def _same(left: Mapping[str, Served], right: Mapping[str, Served]) -> bool:
    return {name: (served.index, served.description.digest) for name, served in left.items()} == {
        name: (served.index, served.description.digest) for name, served in right.items()
    }
