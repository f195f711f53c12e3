"""What became of each event that was sent, as rows; and the digest of the `history` pipeline, once more in NumPy.

Pure. `ringmill.loadtest.chaos.app` has the operator; a test holds the two together.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Records = npt.NDArray[np.void]
"""RECORD[n]."""
Integers = npt.NDArray[np.int64]

RECORD = np.dtype(
    [
        ("key", "i4"),
        ("producer", "i4"),
        ("sequence", "i8"),
        ("count", "i8"),
        ("digest", "i8"),
        ("sent_ns", "i8"),
        ("answered_ns", "i8"),
        ("fate", "u1"),
    ]
)
"""One event: whose, the place that its outcome named, no later than when it was sent and no earlier than when it was
answered (one clock for all processes), and its fate."""


class Fate(IntEnum):
    """What the sender knows of an event."""

    PLACED = 0
    """Acknowledged, and its place is known."""
    UNPLACED = 1
    """Acknowledged, but the outcome was no longer kept (ALREADY_APPLIED), or got lost with the error of a call."""
    DOUBT = 2
    """Never answered: applied once or not at all."""
    REFUSED = 3
    """Answered with a rejection that says that it was not applied."""


STEP = 6364136223846793005
"""Factor by which the digest of a history grows older with each entry."""


def mix(producer: Integers, sequence: Integers) -> Integers:
    """`app.mix` of whole columns; 64 bits that wrap around."""
    mixed = producer * np.int64(7046029254386353131) + sequence * np.int64(1609587929392839161)
    mixed ^= mixed >> 29
    mixed *= np.int64(5871781006564002453)
    mixed ^= mixed >> 32
    return mixed


def after(digest: Integers, mixed: Integers) -> Integers:
    """The digests that follow these ones when each history gets one more entry."""
    return np.asarray(digest * np.int64(STEP) + mixed)


def follow(digest: int, mixed: Sequence[int]) -> int:
    """The digest, from 0 to 2**64, that follows when a history gets some more entries."""
    for each in mixed:
        digest = digest * STEP + each
    return digest % (1 << 64)
