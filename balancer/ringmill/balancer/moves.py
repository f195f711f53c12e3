"""What an operator has asked for: another number of workers, one emptied, or all restarted. One request at a time.

Only intentions are kept, in the store: which workers should run, which are to leave, which are to be restarted yet. The
reconciler does the rest, so that a manager that begins again goes on where the last one was.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ringmill.balancer.orders import Want
from ringmill.balancer.rehearsal import NOTHING, Effort, rehearse
from ringmill.balancer.rules import Rules
from ringmill.balancer.seats import Seats
from ringmill.core.errors import Code, RingmillError
from ringmill.core.view import Member, View
from ringmill.internal.v1.store_pb2 import Intention, Leaver


@dataclass(frozen=True, slots=True)
class Move:
    """How far a request has come, or what it would take."""

    number: int
    """To ask about it by; 0 for what was only asked about."""
    moved: int
    """Primaries that have changed hands."""
    total: int
    copied: int
    """Copies made."""
    copies: int
    text: str
    """What is being done, in words."""
    done: bool = False
    error: RingmillError | None = None
    """Why it came to nothing."""
    pause_ms: int = 0
    """The longest that a partition has taken no events while it changed hands."""


@dataclass(slots=True)
class _Request:
    number: int
    effort: Effort
    """What it is thought to take, or has taken."""
    text: str = ""
    done: bool = False
    error: RingmillError | None = None
    moved: Effort = NOTHING

    def count(self, moved: Effort) -> None:
        """Remembers what has been moved. It may turn out to be more than was thought."""
        before = self.moved
        self.moved = Effort(before.primaries + moved.primaries, before.copies + moved.copies)
        self.effort = Effort(
            max(self.effort.primaries, self.moved.primaries), max(self.effort.copies, self.moved.copies)
        )

    def finish(self) -> None:
        """All that was to be moved has been."""
        self.done, self.effort = True, self.moved


GONE_MAX = 64
"""Processes that were let go and are remembered."""


class Moves:
    """The request in hand."""

    def __init__(self, intention: Intention, rules: Rules) -> None:
        self._rules = rules
        self.intention = Intention()
        self.intention.CopyFrom(intention)
        self._request: _Request | None = None
        self._last = 0
        self._told: tuple[str, ...] = ()
        self.changed = False
        """Whether the intention is to be stored."""

    @property
    def busy(self) -> bool:
        """Whether anything is left to be done."""
        return bool(self.intention.leaving or self.intention.restarting or self._request)

    # Requests

    def scale(self, view: View, seats: Seats, workers: int, validate_only: bool) -> Move:
        """Asks for this number of workers. Raises INVALID_ARGUMENT for none, or more than there are partitions, and
        FAILED_PRECONDITION for fewer than events must have copies."""
        if not 1 <= workers < view.partitions:
            raise RingmillError(Code.INVALID_ARGUMENT, f"scale to 1 to {view.partitions - 1} workers, not {workers}")
        self._refuse_too_few(workers)
        names = self._staying(view, seats)
        stay, leave = names[:workers], names[workers:]
        come = _fresh_names({*names, *(member.name for member in view.members)}, workers - len(stay))
        target = [member for member in view.members if member.name in stay]
        here = {member.name for member in view.members}
        target += [_expected(name, view.members) for name in (*stay, *come) if name not in here]
        self._refuse_loss(view, leave)
        told = [f"{name} leaves" for name in leave] + [f"{name} joins" for name in come]
        text = ", ".join(told) or f"there are {workers} workers already"
        intention = self._intend([*stay, *come], leave, seats)
        return self._begin(view, intention, rehearse(view, target, self._rules), text, validate_only)

    def drain(self, view: View, seats: Seats, name: str, validate_only: bool) -> Move:
        """Asks for a worker to be emptied and let go. Raises NOT_FOUND, or FAILED_PRECONDITION if nobody else could
        take what it holds."""
        names = [member.name for member in view.members]
        if name not in names:
            raise RingmillError(Code.NOT_FOUND, f"no worker {name!r}; there are {', '.join(names)}")
        stay = [each for each in self._staying(view, seats) if each != name]
        # Who was asked to leave a moment ago may not stand as draining in a view yet.
        others = [each for each in view.members if each.name in stay and each.alive and not each.draining]
        if not others:
            raise RingmillError(
                Code.FAILED_PRECONDITION, f"nobody else could take what {name} holds: start another worker first"
            )
        self._refuse_too_few(len(others))
        self._refuse_loss(view, [name])
        intention = self._intend(stay, [name], seats)
        return self._begin(view, intention, rehearse(view, others, self._rules), f"{name} leaves", validate_only)

    def restart_all(self, view: View, seats: Seats, validate_only: bool) -> Move:
        """Asks for all workers to be restarted, one after the other. Raises FAILED_PRECONDITION if there is only one:
        nobody could serve meanwhile."""
        stay = self._staying(view, seats)
        able = {member.name for member in view.members if member.alive and not member.draining}
        names = [name for name in stay if name in able]
        if len(names) < 2:
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                "one worker cannot be restarted without losing its state: scale to two first",
            )
        held = Effort(int(view.partitions), int(view.copies().sum()))
        effort = Effort(2 * held.primaries, 2 * held.copies)  # out and back again
        text = f"one after the other: {', '.join(names)}"
        intention = self._intend(stay, [], seats)
        intention.restarting.extend(names)
        return self._begin(view, intention, effort, text, validate_only)

    def count(self, moved: Effort) -> None:
        """Hears what a view has moved, so that whoever asks can be told."""
        if self._request is not None and not self._request.done:
            self._request.count(moved)

    def progress(self, number: int) -> Move:
        """How far a request has come. Raises NOT_FOUND for a number that was never given."""
        request = self._request
        if not 1 <= number <= self._last:
            raise RingmillError(Code.NOT_FOUND, f"no request {number}")
        if request is None or request.number != number:
            taken = RingmillError(Code.ABORTED, "another request has taken over")
            return Move(number, 0, 0, 0, 0, taken.message, done=True, error=taken)
        return _told(request)

    def _staying(self, view: View, seats: Seats) -> list[str]:
        """Names of all who are here or are to come, and are not to leave; the dead among them."""
        here = {member.name for member in view.members} | {seat.name for seat in seats if not seat.asks_to_leave}
        leaving = {leaver.name for leaver in self.intention.leaving}
        return sorted({*here, *self.intention.wanted} - leaving, key=_natural)

    def _intend(self, wanted: Sequence[str], leave: Sequence[str], seats: Seats) -> Intention:
        """Who was to leave before and is not wanted leaves still.

        Who is not linked just now may be on its way, and who is contested may be dead: then whoever comes is to leave.
        """
        intention = Intention(wanted=wanted, gone=self.intention.gone)
        intention.leaving.extend(each for each in self.intention.leaving if each.name not in (*wanted, *leave))
        for name in leave:
            seat = seats.get(name)
            sure = seat is not None and seat.link is not None and not seat.is_contested
            intention.leaving.add(name=name, incarnation=seat.member.incarnation if seat is not None and sure else 0)
        return intention

    def _begin(self, view: View, intention: Intention, effort: Effort, text: str, validate_only: bool) -> Move:
        if not view.version:
            raise RingmillError(Code.UNAVAILABLE, "the cluster has not formed yet")
        if validate_only:
            return Move(0, 0, effort.primaries, 0, effort.copies, text, done=True)
        self._last += 1
        self.intention = intention
        self.changed = True
        self._request = _Request(self._last, effort, text)
        return _told(self._request)

    def _refuse_too_few(self, workers: int) -> None:
        least = self._rules.min_in_sync
        if workers < least:
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"events are taken only where {least} workers have them (--min-in-sync), and {workers} would be left: "
                "start another worker first",
            )

    def _refuse_loss(self, view: View, leave: Sequence[str]) -> None:
        dead = {place for place, each in enumerate(view.members) if each.name in leave and not each.alive}
        lost = sum(int((view.table == place).sum()) for place in dead)
        if lost and not self._rules.restarts_empty:
            names = ", ".join(view.members[place].name for place in sorted(dead))
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"{names} is dead and had the last copy of {lost} partitions. Bring its process back, or start the "
                "balancer with --on-total-loss restart-empty to go on without their state",
            )

    # Going on

    def wants(self) -> list[Want]:
        """Tells which workers should run, if that is news."""
        wanted = tuple(self.intention.wanted)
        if wanted == self._told or not wanted:
            return []
        self._told = wanted
        return [Want(wanted)]

    def drains(self, member: Member) -> bool:
        """Whether a worker is to be emptied."""
        intention = self.intention
        process = member.name, member.incarnation
        if any(leaver.name == member.name and leaver.incarnation in (0, process[1]) for leaver in intention.leaving):
            return True
        if any((leaver.name, leaver.incarnation) == process for leaver in intention.gone):
            return True
        return bool(intention.restarting) and (intention.restarting[0], intention.restarted) == process

    def left(self, member: Member) -> None:
        """A process has left in peace. It does not come back, unless it never heard that it may go."""
        leaving = self.intention.leaving
        if any(leaver.name == member.name for leaver in leaving):
            self._keep([leaver for leaver in leaving if leaver.name != member.name or not leaver.incarnation])
            self.intention.gone.add(name=member.name, incarnation=member.incarnation)
            del self.intention.gone[:-GONE_MAX]

    def came(self, name: str, incarnation: int) -> None:
        """A process has registered. If another was to leave, that one is gone; if whichever comes was to, it is it."""
        leavers = [
            Leaver(name=each.name, incarnation=incarnation) if each.name == name else each
            for each in self.intention.leaving
            if each.name != name or each.incarnation in (0, incarnation)
        ]
        if leavers != list(self.intention.leaving):
            self._keep(leavers)

    def contested(self, name: str) -> None:
        """Another process wants the place of one that is to leave, which may be dead: whichever has it then leaves."""
        if any(each.name == name and each.incarnation for each in self.intention.leaving):
            self._keep([Leaver(name=name) if each.name == name else each for each in self.intention.leaving])

    def _keep(self, leavers: Sequence[Leaver]) -> None:
        kept = list(leavers)
        del self.intention.leaving[:]
        self.intention.leaving.extend(kept)
        self.changed = True

    def follow(self, view: View, seats: Seats, is_whole: bool) -> None:
        """Looks at the newest view: what is done, and what is next? is_whole: nothing is left to be moved in it."""
        processes = {member.name: member.incarnation for member in view.members if member.alive}
        if self.intention.restarting:
            self._follow_restart(processes, is_whole)
        present = [*view.members, *(seat.member for seat in seats)]
        self._settle(processes, is_whole and not any(each.draining or self.drains(each) for each in present))

    def _follow_restart(self, processes: dict[str, int], is_whole: bool) -> None:
        intention = self.intention
        head = intention.restarting[0]
        process = processes.get(head)
        away = [name for name in intention.wanted if name not in processes and name != head]
        if process is not None and away:  # to empty one more would leave too few copies
            self._say(f"restarting {head}: waiting for {', '.join(away)} to come back")
            if process == intention.restarted:
                intention.restarted = 0
                self.changed = True
        elif not intention.restarted:
            if process is not None and is_whole:
                intention.restarted = process
                self.changed = True
                self._say(f"restarting {head}: its partitions go elsewhere")
        elif process is None:
            self._say(f"restarting {head}: waiting for it to come back")
        elif process != intention.restarted:
            del intention.restarting[0]
            intention.restarted = 0
            self.changed = True

    def _settle(self, processes: dict[str, int], is_whole: bool) -> None:
        request, intention = self._request, self.intention
        if request is None or request.done:
            return
        missing = [name for name in intention.wanted if name not in processes]
        if intention.restarting or not is_whole:
            return
        if missing:
            self._say(f"waiting for {', '.join(missing)} to start")
            return
        request.finish()

    def _say(self, text: str) -> None:
        if self._request is not None:
            self._request.text = text


def _told(request: _Request) -> Move:
    moved, effort = request.moved, request.effort
    return Move(
        request.number,
        moved.primaries,
        effort.primaries,
        moved.copies,
        effort.copies,
        request.text,
        request.done,
        request.error,
    )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """worker-10 comes after worker-9."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", name) if part]


def _fresh_names(taken: set[str], count: int) -> list[str]:
    names: list[str] = []
    number = 0
    while len(names) < count:
        name = f"worker-{number}"
        if name not in taken:
            names.append(name)
        number += 1
    return names


def _expected(name: str, members: Sequence[Member]) -> Member:
    """Somebody who has not come yet: on the host and in the zone of the others, if those are all in one."""
    hosts, zones = {member.host for member in members}, {member.zone for member in members}
    return Member(
        name,
        1,
        peer_address="expected",
        host=hosts.pop() if len(hosts) == 1 else "",
        zone=zones.pop() if len(zones) == 1 else "",
    )
