"""What the manager remembers about each partition beside the view: since when, until when, and how often in vain.

It follows the views as they are published, so that a view that could not be stored leaves no trace.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ringmill.balancer.draft import Draft, Mask
from ringmill.balancer.rules import Rules
from ringmill.core.maglev import NOBODY, Table
from ringmill.core.view import Member, View

Times = npt.NDArray[np.int64]

FOREVER_MS = 1 << 62

_ATTEMPTS_MAX = 7
"""Patience doubles so often at most."""

_PAUSE_MS = 500

_DOUBLINGS_MAX = 5
"""Of pauses: no longer than 16 s."""


class Progress:
    """Arrays over all partitions."""

    def __init__(self, rules: Rules, view: View, now_ms: int) -> None:
        """Begins with a view that was loaded: what was reported about older ones is void."""
        partitions = view.partitions
        self._rules = rules
        self.learner_since = np.full(partitions, view.version, np.uint64)
        """Version of the view that made the learner the learner of this primary; older reports of it are void."""
        self.heir_since = self.learner_since.copy()
        self.copy_since = self.learner_since.copy()
        """Version of the view that last added a copy."""
        self.settled_since = self.learner_since.copy()
        """Version of the view that last changed the primary, or who is to leave."""
        self.learner_due_ms: Times = np.where(view.learners != NOBODY, now_ms + rules.stall_ms, FOREVER_MS)
        self.heir_due_ms: Times = np.where(view.heirs != NOBODY, now_ms + rules.handover_ms, FOREVER_MS)
        self._sealed_ms: Times = np.full(partitions, now_ms, np.int64)
        """When the view that named the heir was published."""
        self.pause_ms = 0
        """The longest that a partition took no events while it changed hands."""
        self.handed = 0
        """Partitions that the last view has handed over."""
        self.copied = 0
        """Learners that it has made copies."""
        self.attempts = np.zeros(partitions, np.int64)
        """How often in a row something was tried in vain."""
        self.retry_ms: Times = np.zeros(partitions, np.int64)
        """Nothing new is tried with the partition before this."""

    def follow(self, before: View, after: View, now_ms: int) -> None:
        """A view is in force."""
        places = _places(before.members, after.members)
        led = after.epochs != before.epochs
        self._follow_learners(places[before.learners], after, led, now_ms)
        self.settled_since[led | (_leavers(before) != _leavers(after))] = after.version
        new_heirs = (after.heirs != NOBODY) & ((places[before.heirs] != after.heirs) | led)
        taken_over = (before.heirs != NOBODY) & (places[before.heirs] == after.table)
        self.handed = int(taken_over.sum())
        self.pause_ms = max(self.pause_ms, int((now_ms - self._sealed_ms[taken_over]).max(initial=0)))
        self.heir_since[new_heirs] = after.version
        self._sealed_ms[new_heirs] = now_ms
        self.heir_due_ms[new_heirs] = now_ms + self._rules.handover_ms
        self.heir_due_ms[after.heirs == NOBODY] = FOREVER_MS
        old = np.column_stack([before.table, before.replicas])
        fresh = ~(after.replicas[:, :, None] == places[old][:, None, :]).any(axis=2) & (after.replicas != NOBODY)
        self.copy_since[fresh.any(axis=1)] = after.version

    def proven(self, draft: Draft, view: View, obeyed: npt.NDArray[np.uint64]) -> Mask:
        """bool[partitions]: where the primary has shown that it lives since it is the primary, and since who leaves is
        to leave. obeyed: uint64[members + 1], the view that each was last heard to obey."""
        proven: Mask = (draft.epochs == view.epochs) & (obeyed[draft.table] >= self.settled_since)
        return proven

    def _follow_learners(self, before: Table, after: View, led: Mask, now_ms: int) -> None:
        new = (after.learners != NOBODY) & ((before != after.learners) | led)
        self.learner_since[new] = after.version
        self.learner_due_ms[new] = now_ms + self._patience_ms(new)
        self.learner_due_ms[after.learners == NOBODY] = FOREVER_MS
        ended = (before != NOBODY) & (before != after.learners)
        counted = ended & (after.replicas == before[:, None]).any(axis=1)
        self.attempts[counted] = 0
        self.copied = int(counted.sum())
        for primary in np.unique(after.table[counted]):
            # One that gets something done is not stuck: the others of it get their full time again.
            waiting = (after.table == primary) & (after.learners != NOBODY)
            self.learner_due_ms[waiting] = now_ms + self._patience_ms(waiting)

    def blame(self, partitions: Mask, now_ms: int) -> None:
        """Something was tried with these partitions in vain: it is tried again after a pause."""
        self.attempts[partitions] = np.minimum(self.attempts[partitions] + 1, _ATTEMPTS_MAX)
        self.retry_ms[partitions] = now_ms + (_PAUSE_MS << np.minimum(self.attempts[partitions], _DOUBLINGS_MAX))

    def restart(self, view: View, now_ms: int) -> None:
        """All deadlines begin anew."""
        learning = view.learners != NOBODY
        self.learner_due_ms[learning] = now_ms + self._patience_ms(learning)
        self.heir_due_ms[view.heirs != NOBODY] = now_ms + self._rules.handover_ms

    def wake_ms(self, now_ms: int) -> int:
        """When something has taken too long, or may be tried again."""
        pauses = self.retry_ms[self.retry_ms > now_ms]
        return int(min(self.learner_due_ms.min(), self.heir_due_ms.min(), pauses.min(initial=FOREVER_MS)))

    def _patience_ms(self, partitions: Mask) -> Times:
        patience: Times = self._rules.stall_ms << self.attempts[partitions]
        return patience


def _leavers(view: View) -> set[tuple[str, int]]:
    return {(member.name, member.incarnation) for member in view.members if member.draining}


def _places(before: Sequence[Member], after: Sequence[Member]) -> Table:
    """int32[members before + 1]: where each process is now; NOBODY if it is gone, and for NOBODY itself."""
    where = {(member.name, member.incarnation): place for place, member in enumerate(after)}
    return np.array([where.get((each.name, each.incarnation), NOBODY) for each in before] + [NOBODY], np.int32)
