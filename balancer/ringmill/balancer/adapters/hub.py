"""Ties view manager and router to open streams: hands them what is heard, and performs what they want done."""

import logging
from collections import deque
from collections.abc import Callable, Sequence

from ringmill.balancer import effects as routing
from ringmill.balancer import orders
from ringmill.balancer.adapters.edges import Edges
from ringmill.balancer.manager import Manager
from ringmill.balancer.router import Router
from ringmill.core.errors import Code
from ringmill.core.view import view_to_proto
from ringmill.internal.v1.link_pb2 import JoinRequest, JoinResponse, Registration
from ringmill.transport.api import Status, Stream
from ringmill.v1.admin_pb2 import LedgerRow

Clock = Callable[[], int]
"""Monotonic nanoseconds."""

MILLISECOND_NS = 1_000_000

logger = logging.getLogger("ringmill.balancer")


class Hub:
    """All open streams of one balancer, by number: those of clients and those of workers."""

    def __init__(
        self,
        manager: Manager,
        router: Router,
        clock: Clock,
        edges: Edges,
        *,
        heartbeat_ms: int,
        response_bytes_max: int,
        on_view: Callable[[], None],
    ) -> None:
        """Begins with nothing open.

        edges: what reaches further than to streams. on_view: called after each view.
        response_bytes_max: a client is not read while more than this waits for it to read.
        """
        self.manager = manager
        self.router = router
        self.clock = clock
        self.on_ledger: Callable[[int, Sequence[LedgerRow]], None] = lambda link, rows: None
        """Hears what a worker answers to `ask_ledger`."""
        self._edges = edges
        self._heartbeat_ms = heartbeat_ms
        self._response_bytes_max = response_bytes_max
        self._on_view = on_view
        self._streams: dict[int, Stream] = {}
        self._links: dict[int, Stream] = {}
        self._leaving: dict[int, str] = {}
        """Links to be ended once nothing is owed on them, and why."""
        self._clogged: set[int] = set()
        self._due: deque[routing.Effect] = deque()
        """What the router wants done and is not done yet."""
        self._refused: set[str] = set()
        """Why workers were refused since the last one joined."""
        self._last = 0
        router.waiting(manager.missing())

    def start(self) -> None:
        """Begins. Once, before anything else."""
        self._obey(self.manager.start(self._now_ms()))

    # Clients

    def open_stream(self, stream: Stream, brief: bool = False) -> int:
        """A client has opened a stream, or calls with one request (brief); gives it a number."""
        number = self._number()
        self._streams[number] = stream
        self.router.opened(number, stream.metadata, brief)
        return number

    def stream_drained(self, number: int) -> None:
        """A client has read all that there was."""
        if number in self._clogged:
            self._clogged.discard(number)
            self.router.clogged(number, False)
            self.perform()

    def close_stream(self, number: int) -> None:
        """A client's stream is over."""
        self._streams.pop(number, None)
        self._clogged.discard(number)
        self.router.closed(number)
        self.perform()

    # Workers

    def open_link(self, stream: Stream) -> int:
        """A worker has dialled; gives its link a number."""
        number = self._number()
        self._links[number] = stream
        return number

    def register(self, link: int, registration: Registration) -> None:
        """A worker says who it is."""
        self._obey(self.manager.register(link, registration, self._now_ms()))

    def hear(self, link: int, frame: JoinRequest) -> None:
        """A registered worker says something else."""
        now_ns = self.clock()
        now_ms = now_ns // MILLISECOND_NS
        self.manager.heard(link, now_ms)
        if frame.results:
            self.router.results(
                link,
                [
                    (each.id, each.response, each.code, each.detail, each.again, each.version, each.provisional)
                    for each in frame.results
                ],
                now_ns,
            )
        if frame.committed:
            self.router.committed(link, frame.committed, now_ns)
        if frame.opened:
            answers = [(each.id, each.code, each.session, each.last_sequence) for each in frame.opened]
            self.router.producers_opened(link, answers, now_ns)
        self.perform()
        if frame.ledger:
            self.on_ledger(link, frame.ledger)
        if frame.HasField("heartbeat"):
            self.manager.beat(link, frame.heartbeat, now_ms)
        if frame.HasField("report"):
            self._obey(self.manager.report(link, frame.report, now_ms))
        if frame.draining:
            self._obey(self.manager.drain(link, now_ms))
        self._let_go(link)

    def ask_ledger(self) -> None:
        """Asks every worker for the ledger of what it serves."""
        frame = JoinResponse(ledger=True).SerializeToString()
        for link in self.manager.links.values():
            self._links[link].send(frame)

    def close_link(self, link: int) -> None:
        """A worker's link is over."""
        self._links.pop(link, None)
        self._leaving.pop(link, None)
        self.router.link_down(link, self.clock())
        self._obey(self.manager.broken(link, self._now_ms()))

    # Time, and what was asked of the world outside

    def tick(self) -> None:
        """Looks for silent workers and for all else that has a deadline."""
        self.router.tick(self.clock())
        self._obey(self.manager.tick(self._now_ms()))
        for link in list(self._leaving):
            self._let_go(link)

    def probed(self, name: str, alive: bool, incarnation: int) -> None:
        """Whether anybody listens where a worker did."""
        self._obey(self.manager.probed(name, alive, self._now_ms(), incarnation))

    def stored(self, revision: int, error: str) -> None:
        """The store holds this revision; error: why it does not hold what it was given."""
        self._obey(self.manager.stored(revision, error, self._now_ms()))

    # Effects

    def perform(self) -> None:
        """Does what the router wants done, each thing once, in order.

        Whatever fails is raised and not tried again. What follows belongs to others: the next call goes on with it.
        """
        wanted, due = self.router.effects, self._due
        while wanted or due:
            due.extend(wanted)
            wanted.clear()
            while due:
                effect = due.popleft()
                if type(effect) is routing.Send:
                    self._send(effect.stream, effect.message)
                elif type(effect) is routing.SendFrame:
                    self._links[effect.link].send(effect.frame)
                elif type(effect) is routing.Pause:
                    self._streams[effect.stream].pause()
                elif type(effect) is routing.Resume:
                    self._streams[effect.stream].resume()
                elif type(effect) is routing.Finish:
                    self._streams.pop(effect.stream).finish(Status(effect.code, effect.detail))

    def _send(self, number: int, message: bytes) -> None:
        stream = self._streams[number]
        stream.send(message)
        if stream.queued_bytes > self._response_bytes_max and number not in self._clogged:
            self._clogged.add(number)
            self.router.clogged(number, True)

    def _obey(self, wanted: Sequence[orders.Order]) -> None:
        for order in wanted:
            match order:
                case orders.Admit(link, name):
                    logger.info("worker %s joined from %s", name, self._links[link].peer)
                    self._refused.clear()
                    self.router.link_up(link)
                    self._links[link].send(JoinResponse(heartbeat_ms=self._heartbeat_ms).SerializeToString())
                case orders.Refuse(link, code, reason):
                    if reason not in self._refused:  # it may dial again and again
                        self._refused.add(reason)
                        logger.warning("refused a worker from %s: %s", self._links[link].peer, reason)
                    self._links[link].finish(Status(code, reason))
                case orders.Drop(link, reason):
                    logger.warning("dropping a link: %s", reason)
                    self._links[link].cancel()
                    self.router.link_down(link, self.clock())  # its end may be heard only after the next view
                case orders.Publish():
                    self._publish(order)
                case orders.LetGo(link, why):
                    self._leaving[link] = why
                    self._let_go(link)
                case orders.Probe():
                    self._edges.probe(order)
                case orders.Store():
                    self._edges.store(order)
                case orders.Want():
                    self._edges.want(order)
                case orders.Fatal():
                    self._edges.fatal(order)
        if not self.manager.formed:
            self.router.waiting(self.manager.missing())
        self.perform()

    def _publish(self, order: orders.Publish) -> None:
        view = order.view
        frame = JoinResponse(view=view_to_proto(view)).SerializeToString()
        for link in order.tell:
            self._links[link].send(frame)
        alive = sum(member.alive for member in view.members)
        logger.info("view %d: %d of %d workers serve", view.version, alive, len(view.members))
        self.router.publish(view, order.links, self.manager.catalogue, self.clock())
        self.perform()
        self._on_view()

    def _let_go(self, link: int) -> None:
        """Ends the link of a worker that holds nothing, once it owes no answer."""
        if link in self._leaving and not self.router.unanswered(link):
            self._links[link].finish(Status(Code.OK, self._leaving.pop(link)))

    def _number(self) -> int:
        self._last += 1
        return self._last

    def _now_ms(self) -> int:
        return self.clock() // MILLISECOND_NS
