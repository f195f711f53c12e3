"""How much a change would move: all the steps are taken in a draft, as if workers needed no time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ringmill.balancer import reconcile
from ringmill.balancer.draft import Draft
from ringmill.balancer.placement import Placement, eligible
from ringmill.balancer.progress import Progress
from ringmill.balancer.rules import Rules
from ringmill.core.maglev import NOBODY
from ringmill.core.view import Member, View

_ROUNDS_MAX = 24


@dataclass(frozen=True, slots=True)
class Effort:
    """What there is to be moved."""

    primaries: int
    """Partitions that get another primary."""
    copies: int
    """Copies that are made."""


NOTHING = Effort(0, 0)


def rehearse(view: View, target: Sequence[Member], rules: Rules, placement: Placement | None = None) -> Effort:
    """What it takes until these workers hold everything. Those that are not among them are emptied."""
    rules = replace(rules, learners_a_primary=view.partitions, learners_max=view.partitions)
    rules = replace(rules, handover_group=view.partitions)
    draft = Draft(view, rules.replicas)
    names = {member.name for member in target}
    for member in view.members:
        draft.seat(replace(member, draining=member.name not in names))
    for member in target:
        if draft.index(member.name) == NOBODY:
            draft.seat(member)
    goal = (placement or Placement(view.partitions, rules.replicas)).goal(eligible(draft.members))
    if goal is None:
        return NOTHING
    draft.learners[:] = NOBODY
    draft.heirs[:] = NOBODY
    progress = Progress(rules, view, 0)
    nowhere = np.zeros(view.partitions, np.bool_)
    primaries = copies = 0
    for _ in range(_ROUNDS_MAX):
        reconcile.plan(draft, goal, progress, rules, nowhere, ~nowhere)
        learners, heirs = np.flatnonzero(draft.learners != NOBODY), np.flatnonzero(draft.heirs != NOBODY)
        if not len(learners) and not len(heirs):
            break
        for partition in learners:
            draft.count(int(partition))
        for partition in heirs:
            draft.succeed(int(partition))
        primaries, copies = primaries + len(heirs), copies + len(learners)
    return Effort(primaries, copies)
