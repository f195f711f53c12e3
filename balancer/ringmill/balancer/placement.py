"""Where partitions should be: the goal that the view is moved towards.

The primary is the one that the Maglev table names. The next copy is the one that the table names without all workers of
the primary's host: so that it is where the partition goes when that host is lost, which a proxy in front works out in
the same way.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ringmill.core.maglev import Table, maglev
from ringmill.core.view import Member

GOALS_MAX = 8
"""Goals that are kept: a worker that comes and goes asks for the same two again and again."""

_Key = tuple[tuple[str, int, str, str], ...]


@dataclass(frozen=True, slots=True)
class Goal:
    """The places of all copies for some set of workers."""

    names: tuple[str, ...]
    """The workers, in the order of their names."""
    copies: Table
    """int32[partitions, copies]: indices in `names`, the primary first. No more copies than workers."""

    def places(self, members: Sequence[Member]) -> Table:
        """The same, by indices in these members."""
        where = {member.name: place for place, member in enumerate(members)}
        return np.array([where[name] for name in self.names], np.int32)[self.copies]


def eligible(members: Sequence[Member]) -> list[Member]:
    """The workers that should hold partitions."""
    return [member for member in members if member.alive and not member.draining]


class Placement:
    """Goals by the set of workers."""

    def __init__(self, partitions: int, replicas: int) -> None:
        self._partitions = partitions
        self._replicas = replicas
        self._goals: OrderedDict[_Key, Goal] = OrderedDict()
        maglev({"": 1}, partitions)  # compiled now, not when the first view is wanted

    def goal(self, members: Sequence[Member]) -> Goal | None:
        """Where partitions should be when these are all workers; None if there are none."""
        if not members:
            return None
        key = tuple((each.name, each.weight, each.host, each.zone) for each in members)
        found = self._goals.get(key)
        if found is None:
            found = self._goals[key] = self._work_out(members)
        self._goals.move_to_end(key)
        while len(self._goals) > GOALS_MAX:
            self._goals.popitem(last=False)
        return found

    def _work_out(self, members: Sequence[Member]) -> Goal:
        tables = _Tables(members, self._partitions)
        chosen = tables.without(0)[:, None]
        for _ in range(1, min(self._replicas, len(members))):
            chosen = np.hstack([chosen, _next(chosen, tables)])
        return Goal(tuple(each.name for each in members), chosen)


def _next(chosen: Table, tables: "_Tables") -> Table:
    """int32[partitions, 1]: one more copy of each partition."""
    ways, which = np.unique(chosen, axis=0, return_inverse=True)
    named = np.stack([tables.without(tables.avoided([int(index) for index in way])) for way in ways])
    taken: Table = named[which.reshape(-1), np.arange(len(chosen))]
    return taken[:, None]


class _Tables:
    """Maglev tables of subsets of some workers. A subset is a number: bit n stands for worker n."""

    def __init__(self, members: Sequence[Member], partitions: int) -> None:
        self._members = members
        self._partitions = partitions
        self._tables: dict[int, Table] = {}

    def without(self, absent: int) -> Table:
        """int32[partitions]: the table without the workers of this subset, by indices of all."""
        found = self._tables.get(absent)
        if found is None:
            present = [place for place in range(len(self._members)) if not absent >> place & 1]
            weights = {self._members[place].name: self._members[place].weight for place in present}
            found = self._tables[absent] = np.array(present, np.int32)[maglev(weights, self._partitions)]
        return found

    def avoided(self, chosen: Sequence[int]) -> int:
        """Those that should not hold one more copy beside the chosen: all of their zones, or all of their hosts, or
        only themselves, whichever first leaves somebody."""
        everybody = (1 << len(self._members)) - 1
        themselves = sum(1 << place for place in chosen)
        for attribute in ("zone", "host"):
            theirs = {getattr(self._members[place], attribute) for place in chosen} - {""}
            beside = themselves | sum(
                1 << place for place, each in enumerate(self._members) if getattr(each, attribute) in theirs
            )
            if beside != everybody and theirs and (attribute == "host" or self._zones_known):
                return beside
        return themselves

    @property
    def _zones_known(self) -> bool:
        return all(member.zone for member in self._members)
