"""What primaries have reported and no view has answered yet.

A report is about one view's roles. By the time that a view can be made of it, those may be others: so it is kept as it
came, and judged when the next view is drafted. Primaries repeat it until a view answers.
"""

from dataclasses import dataclass

import numpy as np

from ringmill.balancer.draft import Draft, Mask
from ringmill.balancer.progress import Progress
from ringmill.core.maglev import NOBODY
from ringmill.core.view import View
from ringmill.internal.v1.link_pb2 import Report


@dataclass(frozen=True, slots=True)
class _Process:
    name: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class _Claim:
    """A primary says something about another worker's part in a partition."""

    primary: _Process
    other: _Process
    epoch: int
    version: int


class Claims:
    """The newest of each kind for each partition."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._caught_up: dict[int, _Claim] = {}
        self._since_ms = 0
        """When the first of them was heard."""
        self._sealed: dict[int, _Claim] = {}
        self._diverged: dict[int, _Claim] = {}
        self._silent: dict[tuple[_Process, str], None] = {}

    def urgent(self, view: View, is_tick: bool) -> bool:
        """Whether somebody waits for a view: partitions that pause, or whose answers are held up.

        Those that pause for their heirs wait for each other, until the next tick: one view for all ends it sooner than
        a view for each primary.
        """
        sealed = len(self._sealed)
        if sealed and (is_tick or sealed >= int((view.heirs != NOBODY).sum())):
            return True
        return bool(self._diverged or self._silent)

    def may_count(self, view: View, long_ago_ms: int) -> bool:
        """Whether there are learners to be counted: all that the view has, or one that has waited for long enough."""
        caught_up = len(self._caught_up)
        return caught_up > 0 and (self._since_ms <= long_ago_ms or caught_up >= int((view.learners != NOBODY).sum()))

    def hear(self, name: str, incarnation: int, report: Report, now_ms: int) -> None:
        """Keeps what a worker reports."""
        primary = _Process(name, incarnation)
        if not self._caught_up:
            self._since_ms = now_ms
        for caught in report.caught_up:
            other = _Process(caught.learner, caught.incarnation)
            self._keep(self._caught_up, caught.partition, _Claim(primary, other, caught.epoch, caught.version))
        for sealed in report.sealed:
            other = _Process(sealed.heir, 0)
            self._keep(self._sealed, sealed.partition, _Claim(primary, other, sealed.epoch, sealed.version))
        for diverged in report.diverged:
            other = _Process(diverged.replica, diverged.incarnation)
            self._keep(self._diverged, diverged.partition, _Claim(primary, other, diverged.epoch, diverged.version))
        for peer in report.silent:
            self._silent[primary, peer] = None

    def _keep(self, claims: dict[int, _Claim], partition: int, claim: _Claim) -> None:
        if partition < self._partitions:
            claims[partition] = claim

    def restore(self, older: "Claims") -> None:
        """The view that was drafted from older ones came to nothing: they count as far as there is nothing newer."""
        self._caught_up = older._caught_up | self._caught_up
        self._since_ms = older._since_ms
        self._sealed = older._sealed | self._sealed
        self._diverged = older._diverged | self._diverged
        self._silent = older._silent | self._silent

    # Judging

    def demote(self, draft: Draft, progress: Progress) -> Mask:
        """Takes off the list who differs from its primary, and who does not answer it. Returns what to pause with."""
        differing: dict[int, Mask] = {}
        for partition, claim in self._diverged.items():
            index = self._judge(draft, partition, claim)
            if index != NOBODY and claim.version >= progress.copy_since[partition]:
                differing.setdefault(index, np.zeros(self._partitions, np.bool_))[partition] = True
        for index, partitions in differing.items():
            draft.demote(partitions, index)
        blamed = np.zeros(self._partitions, np.bool_)
        for primary, peer in self._silent:
            leader, index = draft.index(primary.name), draft.index(peer)
            if NOBODY in (leader, index) or draft.members[leader].incarnation != primary.incarnation:
                continue
            theirs = (draft.table == leader) & ((draft.copies == index).any(axis=1) | (draft.learners == index))
            draft.demote(theirs, index)
            blamed |= theirs
        return blamed

    def hand_over(self, draft: Draft, progress: Progress) -> None:
        """Lets heirs take over what is sealed for them."""
        for partition, claim in self._sealed.items():
            index = self._judge(draft, partition, claim)
            if index != NOBODY and index == draft.heirs[partition] and claim.version >= progress.heir_since[partition]:
                draft.succeed(partition)

    def count(self, draft: Draft, progress: Progress) -> None:
        """Counts learners that have caught up."""
        for partition, claim in self._caught_up.items():
            index = self._judge(draft, partition, claim)
            if (
                index != NOBODY
                and index == draft.learners[partition]
                and claim.version >= progress.learner_since[partition]
            ):
                draft.count(partition)

    def _judge(self, draft: Draft, partition: int, claim: _Claim) -> int:
        """Place of the worker that the claim is about; NOBODY if it is not about what is now.

        The epoch is compared with the last view's: one that this draft has changed is another primary's.
        """
        leader = int(draft.table[partition])
        if leader == NOBODY or int(draft.epochs[partition]) != claim.epoch:
            return NOBODY
        member = draft.members[leader]
        if (member.name, member.incarnation) != (claim.primary.name, claim.primary.incarnation):
            return NOBODY
        if not member.alive or claim.version > draft.before.version:
            return NOBODY
        index = draft.index(claim.other.name)
        if index == NOBODY or claim.other.incarnation not in (0, draft.members[index].incarnation):
            return NOBODY
        return index
