"""Runs a node on a loop: brings it what streams and time say, and does what it wants done."""

from collections.abc import Callable, Sequence
from functools import partial

from ringmill.core.errors import RingmillError
from ringmill.core.view import View
from ringmill.server.adapters.link import Link
from ringmill.server.adapters.peers import LONGEST_PAUSE_S, Guest, Peer
from ringmill.server.lane import Clock
from ringmill.server.node.effects import (
    Dial,
    Dismiss,
    Effect,
    Fatal,
    Hangup,
    Obeyed,
    ToGuest,
    ToLink,
    ToPeer,
)
from ringmill.server.node.node import Node
from ringmill.transport.api import Channel, Loop, Status, Stream

TICK_S = 0.025


class Host:
    """A node, its link, its peers and its guests."""

    def __init__(
        self,
        loop: Loop,
        channel: Channel,
        node: Node,
        clock: Clock,
        *,
        reconnect_s: float,
        on_view: Callable[[View], None],
        on_let_go: Callable[[], None],
        on_fatal: Callable[[RingmillError], None],
    ) -> None:
        """channel: to the balancer. on_view: a newer view is obeyed; for the others see `Link`."""
        self._loop = loop
        self._node = node
        self._clock = clock
        self._on_view = on_view
        self._on_fatal = on_fatal
        self._over = False
        self._link = Link(
            loop,
            channel,
            reconnect_s=reconnect_s,
            up=lambda: self._feed(node.link_up),
            heard=partial(self._feed, node.link_frame),
            down=lambda: self._feed(node.link_down),
            held_alone=lambda: node.held_alone,
            turn_away=partial(self._feed, node.turn_away),
            on_let_go=on_let_go,
            on_fatal=self._fail,
        )
        self._peers: dict[str, Peer] = {}
        self._guests: dict[int, Guest] = {}
        self._last_guest = 0

    def start(self) -> None:
        """Dials the balancer."""
        self._link.dial()
        self._tick()

    def leave(self) -> None:
        """Asks the balancer to be let go, and serves on until then."""
        self._feed(self._node.leave)
        self._link.leave()

    def accept(self, stream: Stream) -> Guest:
        """A primary has dialled."""
        self._last_guest += 1
        number = self._last_guest
        guest = Guest(stream, partial(self._guest_heard, number), partial(self._guest_down, number))
        self._guests[number] = guest
        self._feed(self._node.guest_up, number)
        return guest

    def _guest_heard(self, number: int, message: bytes) -> None:
        self._feed(self._node.guest_frame, number, message)

    def _guest_down(self, number: int) -> None:
        self._guests.pop(number, None)
        self._feed(self._node.guest_down, number)

    def _tick(self) -> None:
        if not self._over:
            self._feed(self._node.tick)
            self._loop.call_later(TICK_S, self._tick)

    def _feed(self, take: Callable[..., None], *arguments: object) -> None:
        """Hands the node an input, and performs what it wants then."""
        if self._over:
            return
        take(*arguments, self._clock())
        effects = self._node.effects
        if effects:
            wanted: Sequence[Effect] = effects.copy()
            effects.clear()
            self._perform(wanted)

    def _perform(self, effects: Sequence[Effect]) -> None:
        link, peers, guests = self._link, self._peers, self._guests
        waiting: dict[Link | Peer | Guest, None] = {}
        for effect in effects:
            if isinstance(effect, ToLink):
                link.add(effect.chunk)
                waiting[link] = None
            elif isinstance(effect, ToPeer):
                peer = peers.get(effect.name)
                if peer is not None:
                    peer.add(effect.chunk, effect.follows)
                    waiting[peer] = None
            elif isinstance(effect, ToGuest):
                guest = guests.get(effect.guest)
                if guest is not None:
                    guest.add(effect.chunk)
                    waiting[guest] = None
            else:
                self._do(effect)
        for each in waiting:
            each.flush()

    def _do(self, effect: Effect) -> None:
        match effect:
            case Dial(name, address, pauses):
                self._dial(name, address, LONGEST_PAUSE_S if pauses else 0.0)
            case Hangup(name):
                peer = self._peers.pop(name, None)
                if peer is not None:
                    peer.hang_up()
            case Dismiss(number, code, why):
                guest = self._guests.pop(number, None)
                if guest is not None:
                    guest.dismiss(Status(code, why))
            case Obeyed(view):
                self._on_view(view)
            case Fatal(error):
                self._fail(error)

    def _dial(self, name: str, address: str, pause_s: float) -> None:
        node = self._node
        peer = self._peers[name] = Peer(
            self._loop,
            address,
            up=lambda: self._feed(node.peer_up, name),
            heard=lambda message: self._feed(node.peer_frame, name, message),
            down=lambda: self._feed(node.peer_down, name),
        )
        # Not at once: the node is in the middle of wanting things, and they are performed in order.
        if pause_s:
            self._loop.call_later(pause_s, peer.dial)
        else:
            self._loop.call_soon(peer.dial)

    def _fail(self, error: RingmillError) -> None:
        self._over = True
        self._on_fatal(error)
