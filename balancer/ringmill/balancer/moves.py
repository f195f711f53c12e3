"""What an operator has asked for: another number of workers, one emptied, or all restarted. One request at a time.

Only intentions are kept, in the store: which workers should run, which are to leave, which are to be restarted yet. The
reconciler does the rest, so that a manager that begins again goes on where the last one was.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ringmill.balancer.orders import Want
from ringmill.balancer.rehearsal import Effort, rehearse
from ringmill.balancer.rules import Rules
from ringmill.core.errors import Code, RingmillError
from ringmill.core.view import Member, View
from ringmill.internal.v1.store_pb2 import Intention


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
    left: Effort
    text: str = ""
    done: bool = False
    error: RingmillError | None = None
    seen: int = 0
    """Version of the view that `left` was worked out from."""

    def measure(self, left: Effort, version: int) -> None:
        """Remembers what is left to be moved. It may turn out to be more than was thought."""
        done = Effort(self.effort.primaries - self.left.primaries, self.effort.copies - self.left.copies)
        self.effort = Effort(
            max(self.effort.primaries, left.primaries + done.primaries),
            max(self.effort.copies, left.copies + done.copies),
        )
        self.left, self.seen = left, version


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

    def scale(self, view: View, workers: int, validate_only: bool) -> Move:
        """Asks for this number of workers. Raises INVALID_ARGUMENT for none, or more than there are partitions."""
        if not 1 <= workers < view.partitions:
            raise RingmillError(Code.INVALID_ARGUMENT, f"scale to 1 to {view.partitions - 1} workers, not {workers}")
        names = sorted((member.name for member in view.members if not member.draining), key=_natural)
        stay, leave = names[:workers], names[workers:]
        come = _fresh_names({member.name for member in view.members}, workers - len(stay))
        target = [member for member in view.members if member.name in stay] + [_expected(name) for name in come]
        self._refuse_loss(view, leave)
        told = [f"{name} leaves" for name in leave] + [f"{name} joins" for name in come]
        text = ", ".join(told) or f"there are {workers} workers already"
        intention = Intention(wanted=[*stay, *come], leaving=leave)
        return self._begin(view, intention, rehearse(view, target, self._rules), text, validate_only)

    def drain(self, view: View, name: str, validate_only: bool) -> Move:
        """Asks for a worker to be emptied and let go. Raises NOT_FOUND, or FAILED_PRECONDITION if nobody else could
        take what it holds."""
        names = [member.name for member in view.members]
        if name not in names:
            raise RingmillError(Code.NOT_FOUND, f"no worker {name!r}; there are {', '.join(names)}")
        others = [member for member in view.members if member.name != name and member.alive and not member.draining]
        if not others:
            raise RingmillError(
                Code.FAILED_PRECONDITION, f"nobody else could take what {name} holds: start another worker first"
            )
        self._refuse_loss(view, [name])
        stay = [each for each in names if each != name and each not in self.intention.leaving]
        intention = Intention(wanted=stay, leaving=sorted({*self.intention.leaving, name}))
        return self._begin(view, intention, rehearse(view, others, self._rules), f"{name} leaves", validate_only)

    def restart_all(self, view: View, validate_only: bool) -> Move:
        """Asks for all workers to be restarted, one after the other. Raises FAILED_PRECONDITION if there is only one:
        nobody could serve meanwhile."""
        names = sorted((member.name for member in view.members if member.alive and not member.draining), key=_natural)
        if len(names) < 2:
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                "one worker cannot be restarted without losing its state: scale to two first",
            )
        held = Effort(int(view.partitions), int(view.copies().sum()))
        effort = Effort(2 * held.primaries, 2 * held.copies)  # out and back again
        text = f"one after the other: {', '.join(names)}"
        return self._begin(view, Intention(wanted=names, restarting=names), effort, text, validate_only)

    def progress(self, number: int, view: View) -> Move:
        """How far a request has come. Raises NOT_FOUND for a number that was never given."""
        request = self._request
        if not 1 <= number <= self._last:
            raise RingmillError(Code.NOT_FOUND, f"no request {number}")
        if request is None or request.number != number:
            taken = RingmillError(Code.ABORTED, "another request has taken over")
            return Move(number, 0, 0, 0, 0, taken.message, done=True, error=taken)
        if not request.done and not self.intention.restarting and request.seen != view.version:
            stay = [member for member in view.members if member.name in self.intention.wanted]
            request.measure(rehearse(view, stay, self._rules), view.version)
        return _told(request)

    def _begin(self, view: View, intention: Intention, effort: Effort, text: str, validate_only: bool) -> Move:
        if not view.version:
            raise RingmillError(Code.UNAVAILABLE, "the cluster has not formed yet")
        if validate_only:
            return Move(0, 0, effort.primaries, 0, effort.copies, text, done=True)
        self._last += 1
        self.intention = intention
        self.changed = True
        self._request = _Request(self._last, effort, effort, text)
        return _told(self._request)

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
        if member.name in intention.leaving:
            return True
        return bool(intention.restarting) and (intention.restarting[0], intention.restarted) == (
            member.name,
            member.incarnation,
        )

    def follow(self, view: View, is_whole: bool) -> None:
        """Looks at the newest view: what is done, and what is next? is_whole: nothing is left to be moved in it."""
        processes = {member.name: member.incarnation for member in view.members if member.alive}
        names = {member.name for member in view.members}
        intention = self.intention
        leaving = [name for name in intention.leaving if name in names]
        if leaving != list(intention.leaving):
            del intention.leaving[:]
            intention.leaving.extend(leaving)
            self.changed = True
        if intention.restarting:
            self._follow_restart(processes, is_whole)
        self._settle(processes, is_whole)

    def _follow_restart(self, processes: dict[str, int], is_whole: bool) -> None:
        intention = self.intention
        head = intention.restarting[0]
        process = processes.get(head)
        if not intention.restarted:
            if process is not None and is_whole:
                intention.restarted = process
                self.changed = True
                self._say(f"restarting {head}: its partitions go elsewhere")
        elif process is None:
            self._say(f"restarting {head}: waiting for it to come back")
        elif process != intention.restarted and is_whole:
            del intention.restarting[0]
            intention.restarted = 0
            self.changed = True

    def _settle(self, processes: dict[str, int], is_whole: bool) -> None:
        request, intention = self._request, self.intention
        if request is None or request.done:
            return
        missing = [name for name in intention.wanted if name not in processes]
        if intention.leaving or intention.restarting or not is_whole:
            return
        if missing:
            self._say(f"waiting for {', '.join(missing)} to start")
            return
        request.done = True
        request.left = Effort(0, 0)

    def _say(self, text: str) -> None:
        if self._request is not None:
            self._request.text = text


def _told(request: _Request) -> Move:
    effort, left = request.effort, request.left
    return Move(
        request.number,
        effort.primaries - left.primaries,
        effort.primaries,
        effort.copies - left.copies,
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


def _expected(name: str) -> Member:
    return Member(name, 1, peer_address="expected")
