"""Who is given what: the links of the view's members, what finds nobody to go to, and what must go elsewhere.

A part that a worker refused as not its own, or whose link broke, is *parked*. When something has changed all that waits
is shared out anew, the oldest first and before anything newer, so that a stream's batches reach each partition in their
order. What was handed over keeps what it said came before it: whoever has applied it already knows it by that.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ringmill.balancer.answers import MILLISECOND_NS
from ringmill.balancer.batch import Part
from ringmill.balancer.outbox import Outbox
from ringmill.core.maglev import NOBODY, Table
from ringmill.core.previous import Previous
from ringmill.core.split import Splitter, Touched
from ringmill.core.view import HELD, View

BACKOFF_MS_MAX = 64
"""A worker that refuses the same again is tried again at most this much later."""

Mask = npt.NDArray[np.bool_]


class Routing:
    """Links, routes and all parts that have no answer."""

    def __init__(self, splitter: Splitter, view: View, frame_bytes_max: int) -> None:
        self.view = view
        self.outboxes: dict[int, Outbox] = {}
        self.members: list[Outbox | None] = []
        """The link of each member of the view."""
        self.routes: Table = view.routes
        """int32[partitions]: index in members, HELD or NOBODY."""
        self.doubtful: list[Part] = []
        """Every part that was parked since the last look; those that are settled may still be here."""
        self._parked: list[Part] = []
        self._splitter = splitter
        self._previous = Previous(splitter.partitions)
        self._frame_bytes_max = frame_bytes_max

    @property
    def parked(self) -> int:
        """Parts that have nobody to go to."""
        return sum(part.wanted for part in self._parked)

    def link_up(self, link: int) -> None:
        """A worker has registered on a link."""
        self.outboxes[link] = Outbox(link, self._frame_bytes_max, self._previous)

    def link_down(self, outbox: Outbox, now_ns: int) -> None:
        """A link broke: all that its worker had, or was to have, waits for the next view."""
        del self.outboxes[outbox.link]
        outbox.stalled = False
        for place, other in enumerate(self.members):
            if other is outbox:
                self.members[place] = None
                self.routes[self.routes == place] = HELD
        for part in (*outbox.take_handed(), *outbox.take_queued()):
            self.park(part, now_ns)

    def publish(self, view: View, links: Sequence[int | None], now_ns: int) -> Mask:
        """Goes by a new view. Returns the partitions that begin anew in it, without the state that they had.

        What waits is shared out by `reroute`, which is to follow.
        """
        restarted = _restarted(self.view, view)
        self.view = view
        self.members = [None if link is None else self.outboxes.get(link) for link in links]
        for outbox in self.outboxes.values():
            if not outbox.unanswered:
                outbox.stalled = False
            place = self.members.index(outbox) if outbox in self.members else NOBODY
            for part in outbox.take_provisional(lambda part, place=place: self._moved(part, place)):  # type: ignore[misc]
                self.park(part, now_ns)
        return restarted

    def _moved(self, part: Part, place: int) -> bool:
        return bool((self.view.table[part.touched] != place).any())

    def waiting_routes(self) -> Table:
        """The routes of what may not be refused: it is held where nobody serves it."""
        return np.where(self.routes == NOBODY, HELD, self.routes)

    @property
    def unserved(self) -> bool:
        """Whether there are partitions without a worker."""
        return bool((self.routes == NOBODY).any())

    def primaries(self) -> list[Outbox | None]:
        """The links of all workers that live and are primary of something; None for one whose link is missing."""
        owners = np.unique(self.view.table[self.view.table != NOBODY]).tolist()
        return [self.members[place] for place in owners if self.view.members[place].alive]

    def park(self, part: Part, now_ns: int) -> None:
        """Keeps a part until something changes."""
        if not part.parked_ns:
            part.parked_ns = now_ns
            self.doubtful.append(part)
        self._parked.append(part)

    def refused(self, outbox: Outbox, part: Part, version: int, now_ns: int) -> None:
        """A worker has nothing applied of a part, since not all of it is its own or something is missing before it.

        What it has besides may be refused for that, too. So nothing more goes there until all of it is answered.
        """
        part.refusals += 1
        part.version = max(part.version, version)
        part.source = outbox
        self.park(part, now_ns)
        outbox.stalled = True
        backoff_ms = min(1 << part.refusals, BACKOFF_MS_MAX) if part.refusals > 1 else 0
        outbox.resume_ns = max(outbox.resume_ns, now_ns + backoff_ms * MILLISECOND_NS)

    def resume(self, now_ns: int) -> bool:
        """Ends the stall of links that are drained and have waited; True: `reroute` is to follow."""
        resumed = False
        for outbox in self.outboxes.values():
            if outbox.stalled and not outbox.unanswered and now_ns >= outbox.resume_ns:
                outbox.stalled = False
                resumed = True
        return resumed

    def reroute(self, now_ns: int) -> list[Part]:
        """Shares out anew all that waits, the oldest first. Returns what nobody was ever given and nobody serves."""
        self.routes = self._fresh_routes()
        waiting, self._parked = self._parked, []
        for outbox in self.outboxes.values():
            waiting += outbox.take_queued()
        waiting.sort(key=_order)
        nobody: list[Part] = []
        for part in waiting:
            if not part.wanted:
                continue
            if part.version > self.view.version or (part.source is not None and part.source.stalled):
                self.routes[part.touched] = HELD  # nothing newer may overtake it
                self._parked.append(part)
                continue
            for piece, owner in self._pieces(part):
                if owner >= 0:
                    self._outbox(owner).put(piece)
                elif owner == HELD or not piece.refusable:
                    self.park(piece, now_ns)
                else:
                    nobody.append(piece)
        return nobody

    def give(self, part: Part, owner: int, now_ns: int) -> Outbox | None:
        """Puts a new part where it belongs. Returns where; None: it is held."""
        if owner == len(self.members):
            self.park(part, now_ns)
            return None
        outbox = self._outbox(owner)
        outbox.put(part)
        return outbox

    def _outbox(self, owner: int) -> Outbox:
        outbox = self.members[owner]
        assert outbox is not None, "a worker without a link has no routes"
        return outbox

    def _fresh_routes(self) -> Table:
        routes = self.view.routes
        for place, outbox in enumerate(self.members):
            if outbox is None:
                routes[routes == place] = HELD
        return routes

    def _pieces(self, part: Part) -> list[tuple[Part, int]]:
        """A part, or what is to become of it, each with its route."""
        route = self.routes[part.touched]
        if (route == route[0]).all():
            return [(part, int(route[0]))]
        nobody = len(self.members)
        table = np.where(self.routes == NOBODY, nobody, self.routes)
        split = self._splitter.split(part.request, self._splitter.rescan(part.request), table, nobody + 1)
        routes = {nobody: NOBODY, nobody + 1: HELD}
        pieces = self._cut(part, [(request, touched) for _, request, touched in split.parts])
        if not part.answered:
            _reslot(
                part, split.owners, {owner: piece.slot for (owner, *_), piece in zip(split.parts, pieces, strict=True)}
            )
        return [(piece, routes.get(owner, owner)) for (owner, *_), piece in zip(split.parts, pieces, strict=True)]

    def _cut(self, part: Part, shares: Sequence[tuple[bytes, Touched]]) -> list[Part]:
        """Makes a part into several. The first takes its slot, the others new ones."""
        batch = part.batch
        previous = [b""] * len(shares)
        if part.handed:
            previous = self._previous.cut(part.touched, batch.number, part.previous, [touched for _, touched in shares])
        if batch.slots is None and not part.answered:
            batch.slots, batch.answers = np.full(batch.count, part.slot, np.int16), {}
        slot = part.slot if batch.slots is None else int(batch.slots.max())
        pieces = []
        for place, ((request, touched), before) in enumerate(zip(shares, previous, strict=True)):
            piece = Part(
                batch,
                part.stream,
                part.identity,
                slot + place if place else part.slot,
                part.pipeline,
                request,
                len(request),
                touched,
                part.deadline_ns,
                part.flags,
                part.resent,
                before,
                part.answered,
                part.parked_ns,
                part.version,
                part.refusals,
            )
            if piece.parked_ns:
                self.doubtful.append(piece)
            pieces.append(piece)
        if part.answered:
            batch.uncommitted += len(pieces) - 1
        else:
            batch.waiting += len(pieces) - 1
        batch.parts.remove(part)
        batch.parts += pieces
        part.request = b""
        return pieces


def _order(part: Part) -> int:
    return part.batch.order


def _reslot(part: Part, owners: npt.NDArray[np.int16], slots: dict[int, int]) -> None:
    """Gives the events of a part that was cut the slots of its pieces."""
    assert part.batch.slots is not None
    table = np.zeros(max(slots) + 1, np.int16)
    for owner, slot in slots.items():
        table[owner] = slot
    part.batch.slots[part.batch.slots == part.slot] = table[owners]


def _restarted(before: View, after: View) -> Mask:
    """bool[partitions]: where the new primary is a process that held no copy before."""
    if not before.version:
        return np.zeros(after.partitions, np.bool_)
    places = {(member.name, member.incarnation): place for place, member in enumerate(after.members)}
    moved = np.array([places.get((m.name, m.incarnation), NOBODY) for m in before.members] + [NOBODY], np.int32)
    held = (moved[before.table] == after.table) | (moved[before.replicas] == after.table[:, None]).any(axis=1)
    return (after.table != NOBODY) & ~held
