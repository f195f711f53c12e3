"""The seats of a cluster: which process has each name, over which link, and whether it is believed to live.

A worker is dead when its link broke and its port refuses, or nobody has dialled again in time, or when it has been
silent for too long. It lives again when the same process dials. Another process of its name gets the seat only once
the first is dead, and no copy: the view sees to that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ringmill.balancer.orders import Drop, Order, Probe
from ringmill.balancer.rules import Rules
from ringmill.core.errors import Code, RingmillError
from ringmill.core.maglev import WEIGHT_MAX
from ringmill.core.view import Member
from ringmill.internal.v1.link_pb2 import Heartbeat, Registration

NAME_BYTES_MAX = 255


@dataclass(slots=True)
class Seat:
    """One name of the cluster."""

    member: Member
    """As it should stand in the next view."""
    link: int | None = None
    heard_ms: int = 0
    due_ms: int | None = None
    """When it is dead unless it has dialled; None while it has a link, or is dead already."""
    has_dialled: bool = False
    """False until it dials the first time in this manager's life."""
    asks_to_leave: bool = False
    """The worker itself wants to be let go."""
    is_contested: bool = False
    """Another process wants this name: perhaps this one is dead, and that one was started in its place.

    Until this one dials again, or its port is found open. Whoever wants the name knocks again, and then it is anew.
    """
    is_let_go: bool = False
    """It has been told to leave: when its link ends, so does its seat."""
    is_gone: bool = False
    """It has left in peace."""
    health: Heartbeat = field(default_factory=Heartbeat)

    @property
    def name(self) -> str:
        """The name."""
        return self.member.name

    @property
    def is_awaited(self) -> bool:
        """Whether it may dial again, or be dead."""
        return self.due_ms is not None


class Seats:
    """All seats, by name and by link."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._seats: dict[str, Seat] = {}
        self._names: dict[int, str] = {}
        self._ticked_ms: int | None = None
        self.changed = False
        """Whether any member has changed; the manager sets it back."""

    def __iter__(self) -> Iterator[Seat]:
        """In the order of names."""
        return iter([self._seats[name] for name in sorted(self._seats)])

    def __len__(self) -> int:
        return len(self._seats)

    def get(self, name: str) -> Seat | None:
        """The seat of a name."""
        return self._seats.get(name)

    def at(self, link: int) -> Seat | None:
        """The seat whose worker speaks over this link."""
        name = self._names.get(link)
        return self._seats[name] if name is not None else None

    @property
    def links(self) -> dict[str, int]:
        """Open links by the names of their workers."""
        return {seat.name: seat.link for seat in self if seat.link is not None}

    def obeyed(self, members: Sequence[Member]) -> npt.NDArray[np.uint64]:
        """uint64[members + 1]: version of the view that each was last heard to obey; 0: none, and for nobody."""
        versions = np.zeros(len(members) + 1, np.uint64)
        for place, member in enumerate(members):
            seat = self._seats.get(member.name)
            if seat is not None and seat.link is not None and seat.member.incarnation == member.incarnation:
                versions[place] = seat.health.view_version
        return versions

    # Coming

    def remember(self, member: Member, now_ms: int) -> list[Order]:
        """A seat of a stored view, whose worker has not dialled yet."""
        seat = self._seats[member.name] = Seat(member, heard_ms=now_ms)
        return self._await(seat, now_ms + self._rules.rejoin_ms) if member.alive else []

    def check(self, link: int, registration: Registration) -> None:
        """Raises INVALID_ARGUMENT if a registration makes no sense."""
        name = registration.name
        if link in self._names:
            raise RingmillError(Code.INVALID_ARGUMENT, "a link registers once")
        if not name or len(name.encode()) > NAME_BYTES_MAX:
            raise RingmillError(Code.INVALID_ARGUMENT, f"a worker needs a name of 1 to {NAME_BYTES_MAX} bytes")
        if not registration.incarnation:
            raise RingmillError(Code.INVALID_ARGUMENT, f"worker {name} has no incarnation")
        if (registration.weight or 1) > WEIGHT_MAX:
            raise RingmillError(Code.INVALID_ARGUMENT, f"worker {name}: weight must be 1 to {WEIGHT_MAX}")
        if self._rules.replicas > 1 and not registration.peer_address:
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"worker {name} has no address for the others, and partitions have {self._rules.replicas} copies",
            )

    def is_taken(self, registration: Registration) -> bool:
        """Whether another process that is believed to live has this name."""
        seat = self._seats.get(registration.name)
        return seat is not None and seat.member.alive and seat.member.incarnation != registration.incarnation

    def suspect(self, name: str) -> list[Order]:
        """Somebody wants the place of a worker: is that one alive?"""
        seat = self._seats[name]
        seat.is_contested = True
        return _probe(seat)

    def sit(self, link: int, registration: Registration, now_ms: int) -> list[Order]:
        """Gives a worker its seat. Returns the end of the link that it had before, if any."""
        name = registration.name
        orders: list[Order] = []
        seat = self._seats.get(name)
        if seat is None or seat.member.incarnation != registration.incarnation:
            seat = self._seats[name] = Seat(_member(registration))
        elif seat.link is not None:
            self._names.pop(seat.link, None)
            orders.append(Drop(seat.link, f"worker {name} has dialled again"))
        draining = seat.member.draining
        seat.member = _member(registration, draining)
        seat.link, seat.heard_ms, seat.due_ms = link, now_ms, None
        seat.has_dialled = True
        seat.is_let_go = seat.is_gone = seat.is_contested = False
        self._names[link] = name
        self.changed = True
        return orders

    # Being there

    def heard(self, link: int, now_ms: int) -> None:
        """Any bytes of a worker are a sign of life."""
        name = self._names.get(link)
        if name is not None:
            self._seats[name].heard_ms = now_ms

    # Going

    def broken(self, link: int, now_ms: int) -> list[Order]:
        """A link ended: perhaps its worker has died, perhaps it dials again."""
        name = self._names.pop(link, None)
        if name is None:
            return []
        seat = self._seats[name]
        seat.link = None
        if seat.is_let_go:
            seat.is_gone = True
            return self.bury(seat, "it was let go")
        if not _reached(seat.member):
            return self._await(seat, now_ms + self._rules.grace_ms)
        return self._await(seat, now_ms + self._rules.silence_ms)

    def probed(self, name: str, alive: bool, now_ms: int, incarnation: int = 0) -> list[Order]:
        """Somebody listens at a worker's port, or its machine says that nobody does.

        incarnation: the process that was probed; 0: whoever is there. An answer may be late, and of one that was there.
        """
        seat = self._seats.get(name)
        if seat is None or not seat.member.alive or incarnation not in (0, seat.member.incarnation):
            return []
        if not alive and seat.link is not None and not seat.is_contested:
            return []  # it has dialled again meanwhile
        if not alive:
            return self.bury(seat, "nobody listens at its port")
        seat.is_contested = False
        if seat.due_ms is not None and seat.has_dialled:  # else it may not know yet that there is a new balancer
            seat.due_ms = min(seat.due_ms, now_ms + self._rules.grace_ms)
        return []

    def slept(self, now_ms: int) -> bool:
        """Whether a tick comes so late that it was our own sleep, which says nothing about anybody else: then all
        deadlines begin anew. To be asked with each tick, first."""
        before, self._ticked_ms = self._ticked_ms, now_ms
        late = before is not None and now_ms - before > max(self._rules.late_ms, 2 * self._rules.tick_ms)
        if before is not None and late:
            self._begin_anew(now_ms, now_ms - before)
        return late

    def tick(self, now_ms: int) -> list[Order]:
        """Finds the silent and those who have not come back in time."""
        rules = self._rules
        orders: list[Order] = []
        for seat in self._seats.values():
            if seat.link is not None and now_ms - seat.heard_ms > rules.silence_ms:
                orders += self.bury(seat, f"silent for {now_ms - seat.heard_ms} ms")
            elif seat.due_ms is not None and now_ms >= seat.due_ms:
                orders += self.bury(seat, "it has not dialled again")
        return orders

    def bury(self, seat: Seat, why: str) -> list[Order]:
        """A worker is dead."""
        link, seat.link, seat.due_ms = seat.link, None, None
        seat.member = replace(seat.member, alive=False)
        self.changed = True
        if link is None:
            return []
        self._names.pop(link, None)
        return [Drop(link, f"worker {seat.name} is dead: {why}")]

    def remove(self, name: str) -> None:
        """Nobody of this name is part of the cluster any more."""
        seat = self._seats.pop(name)
        if seat.link is not None:
            self._names.pop(seat.link, None)

    def forget_the_gone(self, members: set[str]) -> None:
        """Removes the seats of those who have left and are no members any more."""
        for seat in list(self._seats.values()):
            if seat.is_gone and seat.name not in members:
                del self._seats[seat.name]

    def drain(self, seat: Seat, draining: bool) -> None:
        """Its partitions are to be moved elsewhere, or not any more."""
        if seat.member.draining != draining:
            seat.member = replace(seat.member, draining=draining)
            self.changed = True

    def _await(self, seat: Seat, due_ms: int) -> list[Order]:
        seat.due_ms = due_ms
        return _probe(seat)

    def _begin_anew(self, now_ms: int, slept_ms: int) -> None:
        for seat in self._seats.values():
            seat.heard_ms = now_ms
            if seat.due_ms is not None:
                seat.due_ms += slept_ms


def _probe(seat: Seat) -> list[Order]:
    address = _reached(seat.member)
    return [Probe(seat.name, address, seat.member.incarnation)] if address else []


def _reached(member: Member) -> str:
    return member.peer_address or member.address


def _member(registration: Registration, draining: bool = False) -> Member:
    return Member(
        name=registration.name,
        incarnation=registration.incarnation,
        weight=registration.weight or 1,
        alive=True,
        address=registration.address,
        peer_address=registration.peer_address,
        host=registration.host,
        zone=registration.zone,
        draining=draining,
    )
