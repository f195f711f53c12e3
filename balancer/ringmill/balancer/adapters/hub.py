"""Ties membership and router to open streams: hands them what is heard, and performs the effects."""

import logging
from collections.abc import Callable, Sequence

from ringmill.balancer import effects as routing
from ringmill.balancer import membership
from ringmill.balancer.membership import Membership
from ringmill.balancer.router import Router
from ringmill.core.view import view_to_proto
from ringmill.internal.v1.link_pb2 import Heartbeat, JoinRequest, JoinResponse, Registration
from ringmill.transport.api import OK, Status, Stream

Clock = Callable[[], int]
"""Monotonic nanoseconds."""

MILLISECOND_NS = 1_000_000

logger = logging.getLogger("ringmill.balancer")


class Hub:
    """All open streams of one balancer, by number: those of clients and those of workers."""

    def __init__(
        self,
        members: Membership,
        routes: Router,
        clock: Clock,
        *,
        heartbeat_ms: int,
        response_bytes_max: int,
        on_view: Callable[[], None],
    ) -> None:
        """Begins with nothing open.

        response_bytes_max: a client is not read while more than this waits for it to read.
        """
        self.membership = members
        self.router = routes
        self.clock = clock
        self._heartbeat_ms = heartbeat_ms
        self._response_bytes_max = response_bytes_max
        self._on_view = on_view
        self._streams: dict[int, Stream] = {}
        self._links: dict[int, Stream] = {}
        self._leaving: set[int] = set()
        self._clogged: set[int] = set()
        self._last = 0
        routes.waiting(members.missing())

    # Clients

    def open_stream(self, stream: Stream) -> int:
        """A client has opened a stream; gives it a number."""
        number = self._number()
        self._streams[number] = stream
        self.router.opened(number, stream.metadata)
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
        self._obey(self.membership.register(link, registration, self._now_ms()))

    def beat(self, link: int, heartbeat: Heartbeat) -> None:
        """A worker says how it is."""
        self.membership.beat(link, heartbeat)

    def drain(self, link: int) -> None:
        """A worker wants to leave: it gets nothing new, and is let go when it has answered all that it has."""
        self._leaving.add(link)
        self._obey(self.membership.drain(link))

    def results(self, link: int, frame: JoinRequest) -> None:
        """A worker answers parts."""
        self.router.results(
            link, [(each.id, each.response, each.code, each.detail) for each in frame.results], self.clock()
        )
        self.perform()

    def heard(self, link: int) -> None:
        """A worker has shown a sign of life."""
        self.membership.heard(link, self._now_ms())

    def let_go(self, link: int) -> None:
        """Ends the link of a worker that wants to leave and owes no answer."""
        if link in self._leaving and not self.router.unanswered(link):
            self._leaving.discard(link)
            self._links[link].finish(OK)

    def close_link(self, link: int) -> None:
        """A worker's link is over."""
        self._links.pop(link, None)
        self._leaving.discard(link)
        self.router.link_down(link, self.clock())
        self._obey(self.membership.broken(link))

    def tick(self) -> None:
        """Looks for silent workers and for parts that are too late."""
        self.router.tick(self.clock())
        self._obey(self.membership.tick(self._now_ms()))

    # Effects

    def perform(self) -> None:
        """Does what the router wants done."""
        effects = self.router.effects
        for effect in effects:
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
        effects.clear()

    def _send(self, number: int, message: bytes) -> None:
        stream = self._streams[number]
        stream.send(message)
        if stream.queued_bytes > self._response_bytes_max and number not in self._clogged:
            self._clogged.add(number)
            self.router.clogged(number, True)

    def _obey(self, effects: Sequence[membership.Effect]) -> None:
        for effect in effects:
            match effect:
                case membership.Admit(link, name):
                    logger.info("worker %s joined from %s", name, self._links[link].peer)
                    self.router.link_up(link)
                    self._links[link].send(JoinResponse(heartbeat_ms=self._heartbeat_ms).SerializeToString())
                case membership.Refuse(link, code, reason):
                    logger.warning("refused a worker from %s: %s", self._links[link].peer, reason)
                    self._links[link].finish(Status(code, reason))
                case membership.Drop(link, reason):
                    logger.warning("dropping a link: %s", reason)
                    self._links[link].cancel()
                case membership.Publish():
                    self._publish(effect)
        if not self.membership.formed:
            self.router.waiting(self.membership.missing())
        self.perform()

    def _publish(self, effect: membership.Publish) -> None:
        frame = JoinResponse(view=view_to_proto(effect.view)).SerializeToString()
        for link in effect.links:
            if link is not None:
                self._links[link].send(frame)
        alive = sum(member.alive for member in effect.view.members)
        logger.info("view %d: %d of %d workers serve", effect.view.version, alive, len(effect.view.members))
        self.router.publish(effect.view, effect.links, self.membership.catalogue, self.clock())
        self._on_view()

    def _number(self) -> int:
        self._last += 1
        return self._last

    def _now_ms(self) -> int:
        return self.clock() // MILLISECOND_NS
