"""Routes batches: a pure state machine. Messages, links and time in; what to send, pause and finish out.

A stream is a queue of batches in the order of its requests. A batch is scanned, checked, split by the owners of its
keys, and handed to their links; when the last part is answered it is merged, and leaves when it is the oldest of its
stream. An error takes its place in the same queue, so that it follows all earlier responses.

What was never handed to a worker can be refused, event by event. What was handed over and not answered is in doubt: it
is handed over again until it is answered, as often as it takes and to whoever serves it then (`routing.py`), since
workers apply nothing twice (`sessions.py`). Only when it is not settled in time the stream ends, because a refusal
would claim that nothing was applied.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from ringmill.balancer.answers import DEADLINE, MILLISECOND_NS, UNAVAILABLE, empty
from ringmill.balancer.batch import EMISSIONS, PRIMARY, Batch, Part
from ringmill.balancer.client_stream import NO_HEAD, ClientStream, Held
from ringmill.balancer.effects import Effect, Result, SendFrame
from ringmill.balancer.forgets import Forgets
from ringmill.balancer.limits import RouterLimits
from ringmill.balancer.openings import Answer, Openings
from ringmill.balancer.outbox import Outbox
from ringmill.balancer.routing import Mask, Routing
from ringmill.balancer.sessions import Identity, Sessions, producer_number
from ringmill.balancer.streams import Streams
from ringmill.core.agreement import Metadata, Served, parse_head
from ringmill.core.errors import Code, Reason, RingmillError
from ringmill.core.split import Splitter
from ringmill.core.view import View
from ringmill.telemetry import Telemetry
from ringmill.telemetry.counts import Counts
from ringmill.telemetry.names import ROUTE
from ringmill.v1.processing_pb2 import AckLevel, ProcessRequest

MEASURED_NS = 250 * MILLISECOND_NS
"""How often the depth of queues is looked at."""

_CODES = {int(code): code for code in Code}
_PRIMARY_LEVEL = AckLevel.ACK_LEVEL_PRIMARY

_IN_DOUBT = "a worker was lost, and nobody knows whether it applied the batch: send it again under its sequence"
_BEGUN_ANEW = "keys of this stream were lost with the last worker that held them, and begin anew without their state"
_NEWER_STREAM = "a newer stream of this producer has been opened"
_OTHER_PIPELINES = "the pipelines served have changed: open the stream again"
_NOT_OPENED = "the workers did not open the stream in time: try again"


class Router:
    """All streams and links of one balancer.

    Every method is an input and adds to `effects`, which the caller performs in order and clears.
    """

    def __init__(
        self,
        splitter: Splitter,
        view: View,
        limits: RouterLimits,
        telemetry: Telemetry | None = None,
        generation: int = 0,
    ) -> None:
        """generation: grows with every balancer of a cluster, so that streams of an earlier one are told by it."""
        self._splitter = splitter
        self._settle_ns = limits.settle_ms * MILLISECOND_NS
        self._routing = Routing(splitter, view, limits.frame_bytes_max)
        self._outboxes = self._routing.outboxes
        retention_ns = limits.retention_ms * MILLISECOND_NS
        self._sessions = Sessions(
            splitter.partitions, retention_ns, limits.producers_max, generation, limits.identities_max
        )
        self._openings = Openings(self._routing)
        self._forgets = Forgets(self._routing, self._sessions)
        self._catalogue: Mapping[str, Served] = {}
        self._why_not = "waiting for workers"
        self._telemetry = telemetry or Telemetry.off()
        self._streams = Streams(splitter, limits, self._routing, self._sessions, self._openings, self._telemetry)
        self.effects: list[Effect] = self._streams.effects
        self._order = 0
        self._measured_ns: int | None = None

    # Membership

    def waiting(self, why: str) -> None:
        """Says what clients are told while there is no view yet."""
        self._why_not = why

    def publish(self, view: View, links: Sequence[int | None], catalogue: Mapping[str, Served], now_ns: int) -> None:
        """Routes by a new view from now on, or by the same with other links.

        links: link of each member, None where it has none.
        """
        if not _same(self._catalogue, catalogue):
            self._end_agreed(now_ns)
        self._catalogue = catalogue
        restarted = self._routing.publish(view, links, now_ns)
        if restarted.any():
            self._begin_anew(restarted, now_ns)
        self._openings.introduce()
        self._forgets.ask_again()
        self._reroute(now_ns)
        for stream in self._openings.ask_again():
            self._open(stream, now_ns)
        self._flush_all(now_ns)

    def link_up(self, link: int) -> None:
        """A worker has registered on a link."""
        self._routing.link_up(link)

    def link_down(self, link: int, now_ns: int) -> None:
        """A link broke. What its worker had, or was to have, waits for the next view."""
        outbox = self._outboxes.get(link)
        if outbox is not None:
            self._routing.link_down(outbox, now_ns)
            self._streams.unblock(outbox)

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
        for number, response, code, detail, again, version, provisional in results:
            part = outbox.answered(number)
            if part is None or not part.wanted:
                continue
            if code:
                self._streams.fail(part, _CODES.get(code, Code.INTERNAL), detail, now_ns)
            elif again:
                self._routing.refused(outbox, part, version, now_ns)
            elif part.answered:
                self._streams.commit(part, now_ns)
            else:
                if provisional:
                    outbox.keep(number, part)
                self._streams.take(part, response, provisional, now_ns)
        if outbox.stalled and not outbox.unanswered:
            self._resume(now_ns)

    def committed(self, link: int, parts: Iterable[int], now_ns: int) -> None:
        """All replicas hold parts that were answered before they did."""
        outbox = self._outboxes.get(link)
        if outbox is None:
            return
        for number in parts:
            part = outbox.committed(number)
            if part is not None and part.wanted:
                self._streams.commit(part, now_ns)

    def producers_opened(self, link: int, answers: Iterable[Answer], now_ns: int) -> None:
        """A worker knows producers' streams, or refuses them."""
        if link not in self._outboxes:
            return
        for answer in answers:
            if self._forgets.answered(answer[0]):
                continue
            stream = self._openings.stream_of(answer[0])
            try:
                opened = self._openings.answered(answer)
            except RingmillError as error:
                self._close(stream, error.code, error.message)
                continue
            if opened is not None:
                self._open(opened, now_ns)

    def tick(self, now_ns: int) -> None:
        """Looks after all that has a deadline. To be called a few times a second."""
        self._streams.now_ns = now_ns
        for outbox in list(self._outboxes.values()):
            if outbox.queued:
                self._streams.refuse(outbox.take_late(now_ns), DEADLINE, Reason.DEADLINE, now_ns)
                self._streams.relieve(outbox)
        self._settle(now_ns)
        self._resume(now_ns)
        for stream in self._openings.late(now_ns - self._settle_ns):
            self._close(stream, Code.UNAVAILABLE, _NOT_OPENED)
        self._forget_producers(now_ns)
        if self._measured_ns is None or now_ns - self._measured_ns >= MEASURED_NS:
            self._measured_ns = now_ns
            self._streams.measure(self._catalogue.values())

    # Streams

    def opened(self, stream: int, metadata: Metadata = (), brief: bool = False) -> None:
        """A client has opened a stream. Its metadata may set options, and the trace context of batches without one.

        brief: it is a call of one request.
        """
        self._streams.opened(stream, metadata, brief)

    def message(self, stream: int, message: bytes, now_ns: int) -> None:
        """A client has sent a request."""
        state = self._streams.get(stream)
        if state is None or state.ending:
            return
        if state.held is not None:
            state.held.append(message)
            state.bytes += len(message)
            self._streams.press(state)
            return
        self._hear(state, message, now_ns)
        self._streams.advance(state, now_ns)

    def half_closed(self, stream: int, now_ns: int) -> None:
        """A client will send no more: its stream ends when all is answered, and held by all replicas."""
        state = self._streams.get(stream)
        if state is not None and not state.ending:
            self._streams.end(state, Code.OK, "")
            self._streams.advance(state, now_ns)

    def clogged(self, stream: int, clogged: bool) -> None:
        """A client does not read its responses, or reads them again: it is not read meanwhile either."""
        state = self._streams.get(stream)
        if state is not None:
            state.clogged = clogged
            self._streams.press(state)

    def closed(self, stream: int) -> None:
        """A client is gone. What was not yet handed over for it never will be."""
        self._streams.closed(stream)

    def end_all(self, code: Code, detail: str, now_ns: int) -> None:
        """Takes no more requests; each stream ends once what it has sent is answered."""
        for state in self._streams:
            if not state.ending:
                self._streams.end(state, code, detail)
                self._streams.advance(state, now_ns)

    def unanswered(self, link: int) -> int:
        """Parts that a link's worker has and has not answered, or not committed."""
        outbox = self._outboxes.get(link)
        return 0 if outbox is None else outbox.unanswered + outbox.uncommitted

    @property
    def idle(self) -> bool:
        """Whether no stream is open."""
        return not self._streams

    def snapshot(self) -> Mapping[str, Counts]:
        """Figures of each pipeline. May be called from any thread; the numbers may be a batch apart."""
        return self._streams.snapshot()

    def queued(self) -> tuple[int, int, int]:
        """Open streams, parts that wait for links or for somebody to serve them, and parts that workers have."""
        boxes = self._outboxes.values()
        waiting = sum(box.queued for box in boxes) + self._routing.parked
        return len(self._streams), waiting, sum(box.unanswered for box in boxes)

    # A batch's way in

    def _hear(self, stream: ClientStream, message: bytes, now_ns: int) -> None:
        try:
            self._admit(stream, message, now_ns)
        except RingmillError as error:
            self._streams.end(stream, error.code, error.message)

    def _admit(self, stream: ClientStream, message: bytes, now_ns: int) -> None:
        routing = self._routing
        if not routing.view.version or not self._catalogue:
            raise RingmillError(Code.UNAVAILABLE, self._why_not)
        scanned = self._splitter.scan(message)
        if scanned.head != stream.head_bytes or stream.head is NO_HEAD:
            stream.head, stream.head_bytes = parse_head(scanned.head), scanned.head
        head = stream.head
        served = stream.agreement.accept(head, scanned.count, self._catalogue)
        identity = stream.identity
        if identity is None:
            identity = self._identify(stream, served, head.sequence, now_ns)
            if stream.held is not None:
                stream.held.append(message)
                stream.bytes += len(message)
                return
        number = stream.number(identity, head, scanned.count)
        self._order += 1
        batch = Batch(len(message), scanned.count, head.sequence, number, self._order, now_ns, now_ns, now_ns)
        stream.batches.append(batch)
        stream.bytes += batch.request_bytes
        stream.figures.counts.in_flight += 1
        if not scanned.count:
            batch.response = empty(batch.sequence, routing.view.version)
            return
        resent = stream.producer is not None and number <= stream.producer.doubtful_through
        routes = routing.waiting_routes() if resent else routing.routes
        split = self._splitter.split(message, scanned, routes, len(routing.members))
        batch.refused = split.refused
        batch.waiting = len(split.parts)
        if batch.waiting != 1 or split.refused:
            batch.slots, batch.answers = split.owners, {}
        if split.refused:
            stream.figures.counts.rejected[Reason.UNAVAILABLE] += split.refused
        if not split.parts:
            self._streams.complete(batch, now_ns)
        context = head.traceparent or stream.traceparent
        suffix = self._trace(batch, served, head, context) if context else b""
        deadline_ns = now_ns + head.timeout_ms * MILLISECOND_NS if head.timeout_ms else 0
        flags = PRIMARY if (head.ack or stream.agreement.ack) == _PRIMARY_LEVEL else 0
        flags |= EMISSIONS if stream.agreement.emissions else 0
        for owner, request, touched in split.parts:
            request += suffix
            part = Part(
                batch,
                stream.id,
                identity,
                owner,
                served.index,
                request,
                len(request),
                touched,
                deadline_ns,
                flags,
                resent,
            )
            batch.parts.append(part)
            outbox = routing.give(part, owner, now_ns)
            if outbox is not None:
                if outbox.ready:
                    self._flush(outbox, now_ns)
                self._streams.block(stream, outbox)

    def _identify(self, stream: ClientStream, served: Served, sequence: int, now_ns: int) -> Identity:
        """Finds out who a stream is to the workers, by its first message. A named one is held until all know it."""
        stream.figures = self._streams.figures_of(served.name)
        agreement = stream.agreement
        if not agreement.producer:
            identity = stream.identity = self._sessions.anonymous(served.index)
            stream.numbers_from = identity.number
            return identity
        number = producer_number(served.name, agreement.producer)
        asked = agreement.session
        known = self._sessions.find(number, asked)
        if known is not None and known.stream is not None:
            self._close(known.stream, Code.ABORTED, _NEWER_STREAM)
        if known is not None and known.begun_anew and stream.brief:
            known.begun_anew = False
            raise RingmillError(Code.FAILED_PRECONDITION, _BEGUN_ANEW)
        if known is None or not stream.brief or not self._sessions.share(known, sequence, stream.id):
            known = self._sessions.open(number, served.index, asked, stream.id, stream.brief)
            if not self._openings.begin(stream.id, known, asked, now_ns):
                stream.held = deque()
                self._flush_all(now_ns)
        stream.producer, stream.identity = known, known.identity
        return known.identity

    def _trace(self, batch: Batch, served: Served, head: ProcessRequest, context: str) -> bytes:
        """Begins the batch's span, and gives what to append to its parts so that the workers' spans hang below it."""
        batch.span = self._telemetry.span(ROUTE, served.name, context)
        context = batch.span.traceparent or context
        return b"" if context == head.traceparent else ProcessRequest(traceparent=context).SerializeToString()

    def _flush(self, outbox: Outbox, now_ns: int) -> None:
        frame, late = outbox.frame(now_ns)
        if frame:
            outbox.busy = True
            self.effects.append(SendFrame(outbox.link, frame))
        if late:
            self._streams.refuse(late, DEADLINE, Reason.DEADLINE, now_ns)
        self._streams.relieve(outbox)

    def _flush_all(self, now_ns: int) -> None:
        for outbox in self._outboxes.values():
            if outbox.ready:
                self._flush(outbox, now_ns)
            else:
                self._streams.relieve(outbox)

    # Changes

    def _open(self, stream: int, now_ns: int) -> None:
        """All workers know a stream: what it has sent meanwhile goes its way."""
        state = self._streams.get(stream)
        assert state is not None, "an opening ends with its stream"
        held, state.held = state.held or deque[Held](), None
        for said in held:
            if state.ending:
                break
            if isinstance(said, bytes):
                state.bytes -= len(said)
                self._hear(state, said, now_ns)
            else:
                self._streams.end(state, *said)
        self._streams.advance(state, now_ns)

    def _reroute(self, now_ns: int) -> None:
        self._streams.refuse(self._routing.reroute(now_ns), UNAVAILABLE, Reason.UNAVAILABLE, now_ns)
        self._flush_all(now_ns)

    def _resume(self, now_ns: int) -> None:
        if self._routing.resume(now_ns):
            self._reroute(now_ns)

    def _begin_anew(self, partitions: Mask, now_ns: int) -> None:
        """Partitions have lost their state: every stream that has sent something there ends, and says so."""
        for state in self._streams:
            if state.may_have_touched(partitions):
                code = Code.UNAVAILABLE if state.producer is None else Code.FAILED_PRECONDITION
                self._streams.break_off(state, partitions, code, _BEGUN_ANEW, now_ns)
        self._sessions.restarted(partitions)

    def _settle(self, now_ns: int) -> None:
        """Gives up what has looked for a worker for too long."""
        routing = self._routing
        if not routing.doubtful:
            return
        since_ns = now_ns - self._settle_ns
        routing.doubtful, waiting = [], [part for part in routing.doubtful if part.wanted]
        for part in waiting:
            if not part.wanted:  # its stream has ended with another part
                continue
            if part.parked_ns <= since_ns and not part.refusable:
                self._streams.fail(part, Code.UNAVAILABLE, _IN_DOUBT, now_ns)
            elif part.parked_ns <= since_ns:
                self._streams.refuse([part], UNAVAILABLE, Reason.UNAVAILABLE, now_ns)
            elif part.late(now_ns):
                self._streams.refuse([part], DEADLINE, Reason.DEADLINE, now_ns)
            else:
                routing.doubtful.append(part)

    def _forget_producers(self, now_ns: int) -> None:
        """Tells workers whom they need not know any more."""
        gone = self._sessions.forgotten(now_ns)
        for identity in gone:
            self._openings.forget(identity.producer)
        self._forgets.add(gone)
        self._forgets.pump(now_ns)
        self._flush_all(now_ns)

    def _end_agreed(self, now_ns: int) -> None:
        for state in self._streams:
            if state.agreement.served is not None and not state.ending:
                self._streams.end(state, Code.UNAVAILABLE, _OTHER_PIPELINES)
                self._streams.advance(state, now_ns)

    def _close(self, stream: int | None, code: Code, detail: str) -> None:
        state = self._streams.get(stream) if stream is not None else None
        if state is not None:
            self._streams.close(state, code, detail)


def _same(left: Mapping[str, Served], right: Mapping[str, Served]) -> bool:
    return {name: (served.index, served.description.digest) for name, served in left.items()} == {
        name: (served.index, served.description.digest) for name, served in right.items()
    }
