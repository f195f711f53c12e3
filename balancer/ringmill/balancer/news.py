"""What a new view means, for who watches: the supervisor reads it as lines of JSON."""

from typing import Any

import numpy as np

from ringmill.balancer.draft import Mask
from ringmill.balancer.report import figures
from ringmill.balancer.rules import Rules
from ringmill.core.maglev import NOBODY
from ringmill.core.view import View

News = dict[str, Any]


def news_of(before: View, after: View, rules: Rules) -> list[News]:
    """What has happened between two views: failovers, losses, what began anew, and that the cluster is whole again."""
    if not before.version:
        return []
    told: list[News] = []
    anew = _begun_anew(before, after)
    alive = {(member.name, member.incarnation) for member in after.members if member.alive}
    for place, member in enumerate(before.members):
        if member.alive and (member.name, member.incarnation) not in alive:
            told += _of_the_dead(before, after, place, anew)
    told += _of_the_lost(after, anew)
    if figures(before, rules).short and not figures(after, rules).short:
        told.append({"event": "whole"})
    return told


def _of_the_dead(before: View, after: View, place: int, anew: Mask) -> list[News]:
    name = before.members[place].name
    led = before.table == place
    moved = led & (after.epochs != before.epochs) & (after.table != NOBODY) & ~anew
    refused = led & (after.routes == NOBODY)
    told: list[News] = []
    if moved.any():
        by = [after.members[index].name for index in np.unique(after.table[moved])]
        told.append({"event": "failover", "worker": name, "partitions": int(moved.sum()), "by": by})
    if refused.any():
        told.append({"event": "lost", "worker": name, "partitions": int(refused.sum())})
    return told


def _begun_anew(before: View, after: View) -> Mask:
    """bool[partitions]: whose new primary held no copy, so that they begin without state."""
    places = {(member.name, member.incarnation): place for place, member in enumerate(before.members)}
    unknown = len(before.members)
    where = np.array([places.get((each.name, each.incarnation), unknown) for each in after.members] + [unknown])
    primary = where[after.table]
    held = (before.table == primary) | (before.replicas == primary[:, None]).any(axis=1)
    anew: Mask = (after.epochs != before.epochs) & (after.table != NOBODY) & ~held
    return anew


def _of_the_lost(after: View, anew: Mask) -> list[News]:
    counts = np.bincount(after.table[anew], minlength=len(after.members))
    return [
        {"event": "restarted", "worker": after.members[place].name, "partitions": int(counts[place])}
        for place in np.flatnonzero(counts)
    ]
