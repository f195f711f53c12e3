"""Fingerprints of 64 bits: of what a partition was asked, of what came out, and of its whole history.

A state takes in one word after another: xor, multiply by an odd constant to 128 bits, fold the halves together. That
step is wyhash's "mum" (https://github.com/wangyi-fudan/wyhash, public domain) with one factor fixed, so no word that a
client chooses can wipe out what came before. Fingerprints tell accidents apart. They are no defence against somebody
who looks for two contents with one print.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.core.jit import kernel
from ringmill.core.memory import bits_of_float, multiply_high

SEED = np.uint64(0x2D358DCCAA6C78A5)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_REJECTED = np.uint64(0x8BB84B93962EACC9)
_NAN = np.uint64(0x7FF8000000000000)


@kernel(inline=True)
def mix(state: np.uint64, word: np.uint64) -> np.uint64:
    """The state after one more word."""
    mixed = state ^ word
    folded: np.uint64 = mixed * _FACTOR ^ multiply_high(mixed, _FACTOR)
    return folded


@kernel(inline=True)
def canonical(value: float) -> np.uint64:
    """The bits of a number: the same for every NaN, and for 0.0 and -0.0."""
    bits: np.uint64 = bits_of_float(value + 0.0) if value == value else _NAN
    return bits


@kernel(inline=True)
def mix_columns(
    state: np.uint64,
    row: int,
    values: npt.NDArray[np.float64],
    labels: npt.NDArray[Any],
    integers: npt.NDArray[np.int64],
) -> np.uint64:
    """The state after all fields, or all outputs, of one event."""
    for column in range(values.shape[1]):
        state = mix(state, canonical(values[row, column]))
    for column in range(labels.shape[1]):
        state = mix(state, labels[row, column].hash)
    for column in range(integers.shape[1]):
        state = mix(state, np.uint64(integers[row, column]))
    return state


@kernel(inline=True)
def mix_reason(state: np.uint64, reason: int) -> np.uint64:
    """The state after an event that was rejected: only why counts."""
    return mix(state, _REJECTED + np.uint64(reason))
