"""The next steps from the view that is to the one that should be: a few at a time, each of them safe by itself.

For each partition, in this order: a missing copy is made, by a learner; the one that should be the primary is made a
copy, then the heir; copies move to other hosts or zones where that is safer, or off workers that hold too many; what is
left over is dropped. Copies that are as good as those of the goal stay where they are: moving them costs, and gains
nothing.

It comes to an end: a copy that the goal names is never dropped, every learner is one that the goal names, and the
primary changes only to the one that the goal names. So each step leaves fewer to be taken.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ringmill.balancer.draft import Draft, Mask
from ringmill.balancer.placement import Goal
from ringmill.balancer.progress import Progress
from ringmill.balancer.rules import Rules
from ringmill.core.maglev import NOBODY, Table

_SLACK = 0.1
"""A worker may hold so much more than its share of copies before some are moved off it."""

_Counts = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Picture:
    """What the steps look at. Rows are partitions; columns of `copies` as in the draft."""

    draft: Draft
    goal: Table
    """int32[partitions, want]: indices of members."""
    live: Mask
    """Whether the primary lives: only then anything can be done."""
    named: Mask
    """bool[partitions, width]: a copy that the goal names, too."""
    good: Mask
    """bool[partitions, width]: a copy on a worker that stays."""
    total: _Counts
    ready: Mask
    """Nothing is under way with the partition."""

    @property
    def want(self) -> int:
        """Copies that each partition should have."""
        return int(self.goal.shape[1])

    @property
    def enough(self) -> _Counts:
        """int64[partitions]: copies on workers that stay."""
        counted: _Counts = self.good.sum(axis=1)
        return counted

    @property
    def misled(self) -> Mask:
        """Where another than the goal's is the primary."""
        misled: Mask = self.live & (self.draft.table != self.goal[:, 0])
        return misled

    @property
    def heir_is_copy(self) -> Mask:
        """Where the goal's primary is a copy."""
        copied: Mask = (self.draft.copies == self.goal[:, :1]).any(axis=1)
        return copied


def withdraw(draft: Draft, progress: Progress, now_ms: int) -> Mask:
    """Takes back learners and heirs of which nothing has been heard for too long. Returns of which partitions."""
    late_learners = (draft.learners != NOBODY) & (progress.learner_due_ms <= now_ms)
    late_heirs = (draft.heirs != NOBODY) & (progress.heir_due_ms <= now_ms)
    draft.learners[late_learners] = NOBODY
    draft.heirs[late_heirs] = NOBODY
    late: Mask = late_learners | late_heirs
    return late


def plan(draft: Draft, goal: Goal, progress: Progress, rules: Rules, paused: Mask, proven: Mask) -> bool:
    """Takes the next steps in a draft.

    paused: bool[partitions], where nothing is to be begun. proven: bool[partitions], where the primary has shown that
    it lives since it is the primary, and since who leaves is to leave. Returns whether such a proof is waited for.
    """
    picture = _look(draft, goal)
    waits = bool((picture.live & (picture.total > picture.want) & ~_may_drop(picture, proven)).any())
    if _drop_surplus(picture, rules.replicas, proven):
        picture = _look(draft, goal)
    ready = _to_hand_over(picture, ~paused)
    _copy(picture, progress, rules, ~paused)
    _hand_over(picture, ready, progress, rules)
    return waits


def is_whole(draft: Draft, goal: Goal) -> bool:
    """Whether nothing is left to be done: what is under way, and what will be."""
    if ((draft.learners != NOBODY) | (draft.heirs != NOBODY)).any():
        return False
    picture = _look(draft, goal)
    surplus = picture.live & (picture.total > picture.want)
    if (picture.misled | surplus).any():
        return False
    learner, possible = _learners(picture)
    return not (possible.any() and (possible & (_urgency(picture, learner) > 0)).any())


def _look(draft: Draft, goal: Goal) -> _Picture:
    places = goal.places(draft.members)
    alive, draining = draft.flags("alive"), draft.flags("draining")
    return _Picture(
        draft=draft,
        goal=places,
        live=alive[draft.table],
        named=(draft.copies[:, :, None] == places[:, None, :]).any(axis=2),
        good=(alive & ~draining)[draft.copies],
        total=draft.counts,
        ready=alive[draft.table] & (draft.learners == NOBODY) & (draft.heirs == NOBODY),
    )


def _may_drop(picture: _Picture, proven: Mask) -> Mask:
    """Where a copy less may be. The last but one is kept until the primary has shown that it lives: it may have died
    unseen, and what is dropped is gone."""
    may: Mask = proven | (picture.total > 2)
    return may


def _drop_surplus(picture: _Picture, replicas: int, proven: Mask) -> bool:
    """Drops one copy too many of each partition: of those who leave first, then of those that the goal does not name,
    then of those that add no other host, then of who has most. The last one is never dropped, nor is the primary.
    Where no one takes its place, since too few workers stay, a copy is kept until who leaves is primary of nothing.
    Returns whether there was one too many.

    replicas: copies of each partition, where there are workers enough."""
    draft = picture.draft
    spare = picture.live & (picture.total > picture.want) & (draft.heirs == NOBODY) & _may_drop(picture, proven)
    if not spare.any():
        return False
    leaving = ~picture.good & (draft.copies != NOBODY)
    leads = np.zeros(len(draft.members) + 1, np.bool_)
    leads[draft.table] = True
    leads[NOBODY] = False
    leaving &= ~leads[draft.copies] | (picture.enough >= replicas)[:, None]
    stray = ~picture.named & picture.good & (picture.enough > picture.want)[:, None]
    worth = np.where(leaving, 1000.0, 0.0) + np.where(stray, 1.0 + _crowding(picture) + _burden(picture), 0.0)
    worth[:, 0] = 0.0
    slots = worth.argmax(axis=1)
    rows = np.flatnonzero(spare & (worth[np.arange(len(worth)), slots] > 0))
    draft.demote_slots(rows, slots[rows])
    return True


def _to_hand_over(picture: _Picture, allowed: Mask) -> _Counts:
    """Partitions whose heir could take over. Nothing else is begun with them."""
    rows = np.flatnonzero(allowed & picture.ready & picture.misled & picture.heir_is_copy)
    picture.ready[rows] = False
    return rows


def _hand_over(picture: _Picture, ready: _Counts, progress: Progress, rules: Rules) -> None:
    """Makes the goal's primary the heir: of one group, and of the next once nobody waits any more.

    A group is full, or nobody is about to join it: each makes everybody wait for a moment.
    """
    draft = picture.draft
    if (draft.heirs != NOBODY).any():
        return
    coming = picture.misled & (draft.learners == picture.goal[:, 0]) & (progress.attempts == 0)
    if len(ready) >= rules.handover_group or not coming.any():
        rows = ready[: rules.handover_group]
        draft.heirs[rows] = picture.goal[rows, 0]


def _copy(picture: _Picture, progress: Progress, rules: Rules, allowed: Mask) -> None:
    """Appoints learners: the first that the goal names and that is no copy."""
    draft = picture.draft
    learner, possible = _learners(picture)
    candidates = allowed & picture.ready & possible
    if not candidates.any():
        return
    urgency = _urgency(picture, learner)
    wanted = np.flatnonzero(candidates & (urgency > 0))
    wanted = wanted[np.argsort(-urgency[wanted], kind="stable")]
    chosen = _bounded(wanted, draft, rules)
    draft.learners[chosen] = learner[chosen]
    _elsewhere(picture, progress, chosen)


def _learners(picture: _Picture) -> tuple[Table, Mask]:
    """int32[partitions], the next that should hold a copy and does not; and where there is one who can."""
    draft = picture.draft
    absent = ~(picture.goal[:, :, None] == draft.copies[:, None, :]).any(axis=2)
    learner = picture.goal[np.arange(len(absent)), absent.argmax(axis=1)]
    reached = np.array([bool(member.peer_address) for member in draft.members] + [False])
    possible: Mask = absent.any(axis=1) & reached[learner]
    return learner, possible


def _urgency(picture: _Picture, learner: Table) -> _Counts:
    """int64[partitions]: 0, nothing is to be copied; else the more, the sooner."""
    draft = picture.draft
    leaving = ~picture.good[:, 0] & picture.live
    room = picture.live & (picture.total <= picture.want)
    elsewhere = picture.misled & ~picture.heir_is_copy & (room | (leaving & (picture.enough <= picture.want)))
    safer = room & (_spread(picture.draft.copies, draft) < _spread(picture.goal, draft))
    fairer = room & _unfair(picture, learner)
    urgency = np.where(fairer, 1, 0)
    urgency = np.where(safer, 2, urgency)
    urgency = np.where(elsewhere, 3, urgency)
    return np.where(_missing(picture), 4, urgency)  # however many leave: they keep theirs until these are there


def _missing(picture: _Picture) -> Mask:
    missing: Mask = picture.live & (picture.enough < picture.want)
    return missing


def _bounded(wanted: _Counts, draft: Draft, rules: Rules) -> _Counts:
    """The first of these partitions, so that no primary has too many learners, nor all together."""
    workers = len(draft.members)
    busy = np.bincount(draft.table[draft.learners != NOBODY], minlength=workers)
    primaries = draft.table[wanted]
    order = np.argsort(primaries, kind="stable")
    ranked = primaries[order]
    rank = np.empty(len(wanted), np.int64)
    rank[order] = np.arange(len(ranked)) - np.searchsorted(ranked, ranked)
    fits = wanted[rank < (rules.learners_a_primary - busy)[primaries]]
    return fits[: max(0, rules.learners_max - int(busy.sum()))]


def _elsewhere(picture: _Picture, progress: Progress, chosen: _Counts) -> None:
    """Where it failed before and a copy is missing, every second try is with another worker than the goal's: perhaps
    just these two cannot reach each other."""
    draft = picture.draft
    for row in chosen[(progress.attempts[chosen] % 2 == 1) & _missing(picture)[chosen]]:
        taken = {int(index) for index in draft.copies[row]} | {int(draft.learners[row])}
        others = [
            place
            for place, member in enumerate(draft.members)
            if member.alive and not member.draining and member.peer_address and place not in taken
        ]
        if others:
            draft.learners[row] = others[(int(row) + int(progress.attempts[row])) % len(others)]


# Comparing


def _crowding(picture: _Picture) -> npt.NDArray[np.float64]:
    """float64[partitions, width]: 0.5 for a copy on the host of another copy."""
    hosts = _domains(picture.draft)[1][picture.draft.copies]
    same = (hosts[:, :, None] == hosts[:, None, :]) & (picture.draft.copies != NOBODY)[:, None, :]
    return np.where(same.sum(axis=2) > 1, 0.5, 0.0)


def _burden(picture: _Picture) -> npt.NDArray[np.float64]:
    """float64[partitions, width]: below 0.5, the more the more copies the worker has."""
    load = _load(picture.draft.copies, len(picture.draft.members))
    burden: npt.NDArray[np.float64] = np.append(load, 0)[picture.draft.copies] / (2 * load.sum() + 1)
    return burden


def _load(copies: Table, workers: int) -> _Counts:
    return np.bincount(copies[copies != NOBODY], minlength=workers)


def _unfair(picture: _Picture, learner: Table) -> Mask:
    """Where a copy is on a worker that has too many, and the learner has too few: no more rows than are too many."""
    draft = picture.draft
    workers = len(draft.members)
    moving = picture.live & ((draft.learners != NOBODY) | (picture.total > picture.want))
    stray = ~picture.named & picture.good
    stray[:, 0] = False
    load = _load(draft.copies, workers) - _load(np.where(stray & moving[:, None], draft.copies, NOBODY), workers)
    share = _load(picture.goal, workers)
    excess = np.maximum(0, load - np.ceil(share * (1 + _SLACK)).astype(np.int64) - 1)
    lacks = np.append(load < share, False)
    unfair = np.zeros(len(draft.copies), np.bool_)
    candidates = picture.ready & lacks[learner]
    for worker in np.flatnonzero(excess):
        rows = np.flatnonzero(candidates & ~unfair & (stray & (draft.copies == worker)).any(axis=1))
        unfair[rows[: excess[worker]]] = True
    return unfair


def _spread(copies: Table, draft: Draft) -> _Counts:
    """int64[partitions]: how far copies are from each other; zones count before hosts."""
    zones, hosts = _domains(draft)
    return _distinct(zones[copies]) * 64 + _distinct(hosts[copies])


def _domains(draft: Draft) -> tuple[Table, Table]:
    """int32[members + 1] each: numbers of zone and host of each member; NOBODY for nobody. Each of unknown host is on
    one of its own; all of unknown zone are in one."""
    return _numbered(tuple((member.zone, member.host) for member in draft.members))


@lru_cache(64)
def _numbered(where: tuple[tuple[str, str], ...]) -> tuple[Table, Table]:
    zones = {name: place for place, name in enumerate(sorted({zone for zone, _ in where}))}
    hosts = {name: place for place, name in enumerate(sorted({host for _, host in where} - {""}))}
    return (
        np.array([zones[zone] for zone, _ in where] + [NOBODY], np.int32),
        np.array([hosts.get(host, len(hosts) + place) for place, (_, host) in enumerate(where)] + [NOBODY], np.int32),
    )


def _distinct(numbers: Table) -> _Counts:
    """int64[rows]: how many different numbers from 0 are in each row."""
    ranked = np.sort(numbers, axis=1)
    new: _Counts = (ranked[:, 1:] > ranked[:, :-1]).sum(axis=1) + (ranked[:, 0] >= 0)
    return new
