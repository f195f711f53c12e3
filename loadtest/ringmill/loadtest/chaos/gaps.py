"""From the records of probes to times without service. Pure."""

from collections.abc import Sequence

import numpy as np

from ringmill.loadtest.chaos.records import Fate, Records


def served(rows: Records, key: int) -> Records:
    """Records of a key's probes that were applied, in the order of their answers."""
    mine = rows[(rows["key"] == key) & (rows["fate"] <= Fate.UNPLACED)]
    return np.asarray(mine[np.argsort(mine["answered_ns"], kind="stable")])


def gap_ms(rows: Records, key: int, at_ns: int) -> float | None:
    """Milliseconds without service around a moment: from the last answer before it to the first answer to a probe that
    was sent after it. None: no such probe has been answered yet.
    """
    mine = served(rows, key)
    after = mine["answered_ns"][mine["sent_ns"] > at_ns]
    if not len(after):
        return None
    before = mine["answered_ns"][mine["answered_ns"] <= at_ns]
    return float(after.min() - (before.max() if len(before) else at_ns)) / 1e6


def pause_ms(rows: Records, key: int) -> float | None:
    """Milliseconds of the longest time between two answers of a key; None if there are not two."""
    answered_ns = served(rows, key)["answered_ns"]
    return float(np.diff(answered_ns).max()) / 1e6 if len(answered_ns) > 1 else None


def worst(found: Sequence[float | None]) -> float | None:
    """The longest; None if one of them is not over, or there is none."""
    known = [each for each in found if each is not None]
    return max(known) if known and len(known) == len(found) else None
