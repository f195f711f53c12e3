"""A batch as columns: what the decoder fills, the kernels read and write, and the encoder reads.

The arrays are allocated once for the largest batch and used again for every batch, so that the path from bytes to bytes
allocates nothing. Offsets point into the message's own bytes.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

EVENT = np.dtype(
    [
        ("hash", "u8"),  # xxh64 of the key, seed 0
        ("time_us", "i8"),
        ("key_start", "u4"),  # offset of the key's bytes in the message
        ("key_length", "u4"),
        ("partition", "u4"),  # hash % number of partitions
        ("reason", "u4"),  # RejectionReason; 0: not rejected (so far)
    ],
    align=True,
)
"""One event's fixed part: 32 bytes."""

LABEL = np.dtype([("hash", "u8"), ("start", "u4"), ("length", "u4")], align=True)
"""One label of one event: xxh64 of its bytes (0 for the empty, missing label) and where they stand in the message."""

RANGE = np.dtype([("start", "u4"), ("stop", "u4"), ("partition", "u4"), ("flags", "u4")], align=True)
"""One event's bytes in a message, its tag and length included, and its partition: what routing needs."""


EMISSION = np.dtype(
    [
        ("start_us", "i8"),
        ("time_us", "i8"),  # end of the window
        ("event", "u4"),  # number in the batch of the event that caused it, whose key it has
        ("emitter", "u4"),
        ("revision", "u4"),
        ("partition", "u4"),
    ],
    align=True,
)
"""What a window led to, its outputs left out: 32 bytes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many columns a pipeline has of each kind, in and out."""

    values: int
    labels: int
    integers: int
    out_values: int
    out_labels: int
    out_integers: int
    emitted_values: int = 0
    emitted_labels: int = 0
    emitted_integers: int = 0
    """Of the emitter that has most of them."""
    emissions_max: int = 0
    """Of one event."""


class Emissions(NamedTuple):
    """What a batch made windows emit, in the order of its events. An emitter with fewer outputs uses the first columns.

    m is events times `Shape.emissions_max`; memory that is not used is not committed.
    """

    counts: npt.NDArray[np.int64]  # [2]: emissions of the batch; since the beginning, those that could not be computed
    heads: npt.NDArray[Any]  # EMISSION[m]
    values: npt.NDArray[np.float64]  # [m, shape.emitted_values]
    labels: npt.NDArray[Any]  # LABEL[m, shape.emitted_labels]; start and length point into the engine's label heap
    integers: npt.NDArray[np.int64]  # [m, shape.emitted_integers]

    @classmethod
    def allocate(cls, events: int, shape: Shape) -> "Emissions":
        """Makes the columns for batches of up to `events` events."""
        most = events * shape.emissions_max
        return cls(
            counts=np.zeros(2, np.int64),
            heads=np.zeros(most, EMISSION),
            values=np.zeros((most, shape.emitted_values)),
            labels=np.zeros((most, shape.emitted_labels), LABEL),
            integers=np.zeros((most, shape.emitted_integers), np.int64),
        )


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one batch. n is the capacity; a batch uses the first rows."""

    events: npt.NDArray[Any]  # EVENT[n]
    values: npt.NDArray[np.float64]  # [n, shape.values]; NaN: missing
    labels: npt.NDArray[Any]  # LABEL[n, shape.labels]
    integers: npt.NDArray[np.int64]  # [n, shape.integers]
    out_values: npt.NDArray[np.float64]  # [n, shape.out_values]; NaN: no value
    out_labels: npt.NDArray[Any]  # LABEL[n, shape.out_labels]; start and length point into the engine's label heap
    out_integers: npt.NDArray[np.int64]  # [n, shape.out_integers]

    @classmethod
    def allocate(cls, capacity: int, shape: Shape) -> "Columns":
        """Makes the columns for batches of up to `capacity` events."""
        return cls(
            events=np.zeros(capacity, EVENT),
            values=np.zeros((capacity, shape.values)),
            labels=np.zeros((capacity, shape.labels), LABEL),
            integers=np.zeros((capacity, shape.integers), np.int64),
            out_values=np.zeros((capacity, shape.out_values)),
            out_labels=np.zeros((capacity, shape.out_labels), LABEL),
            out_integers=np.zeros((capacity, shape.out_integers), np.int64),
        )
