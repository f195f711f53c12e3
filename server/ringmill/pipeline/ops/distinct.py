"""How many different values: HyperLogLog."""

import math

import numpy as np

from ringmill.pipeline.fields import Array, Event, State, Token, array
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.ops.parameters import check_state_bytes, checked_number

BITS_MIN = 4
RANKS = 62
"""More than the highest rank of a register: 65 - BITS_MIN."""
_MISSING, _ONE = np.uint64(0), np.uint64(1)


def tau(x: float) -> float:
    """Ertl 2017, algorithm 6: of the share x of registers that are not full."""
    if x == 0.0 or x == 1.0:
        return 0.0
    y, z = 1.0, 1.0 - x
    for _ in range(64):
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1.0 - x) * (1.0 - x) * y
        if z == before:
            break
    return z / 3.0


def sigma(x: float) -> float:
    """Ertl 2017, algorithm 6: of the share x of registers that are empty, below 1."""
    y, z = 1.0, x
    for _ in range(64):
        x *= x
        before = z
        z += x * y
        y += y
        if z == before:
            break
    return z


def distinct(source: str, error: float = 0.02) -> Step:
    """How many different values `source` has had at the key, estimated with a standard error of at most `error`.

    source: a field of any kind, or an earlier number; a missing value or empty label is not counted. error: above 0 and
    at most 0.26; 1.04 / sqrt(registers), for 16 registers or more, a power of two. State: registers + 512 bytes, 4,608
    at the default. Integer. Merges: to the sketch of the union, bit by bit.
    Source: Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog", AofA 2007, on 64-bit hashes; estimated as in Ertl, "New
    cardinality estimation algorithms for HyperLogLog sketches", 2017, algorithm 6, which needs no table of corrections.
    """
    error = checked_number("distinct", "error", error, above=0.0, at_most=0.26)
    bits = max(BITS_MIN, math.ceil(2.0 * math.log2(1.04 / error)))
    check_state_bytes("distinct", 2.0**bits + 8.0 * (RANKS + 2), f"error={error:g}")
    registers, top = 1 << bits, 65 - bits
    shift = np.uint64(64 - bits)

    class Registers(State):
        """Eight registers a word, how many registers hold each rank but 0, how many any, and the estimate."""

        words: Array = array(registers // 8, fill=0)
        ranks: Array = array(RANKS, fill=0)
        filled: int = 0
        estimate: int = 0

    def raise_register(state: Registers, place: int, rank: int) -> bool:
        word, left = place >> 3, (place & 7) << 3
        held = (state.words[word] >> left) & 255
        if rank <= held:
            return False
        state.words[word] += (rank - held) << left
        state.ranks[rank] += 1
        if held == 0:
            state.filled += 1
        else:
            state.ranks[held] -= 1
        return True

    def estimated(state: Registers) -> int:
        size = float(registers)
        z = size * tau(1.0 - state.ranks[top] / size)
        for rank in range(top - 1, 0, -1):
            z = 0.5 * (z + state.ranks[rank])
        z += size * sigma(1.0 - state.filled / size)
        return round(size * size / (2.0 * math.log(2.0) * z))

    def merged(state: Registers, other: Registers) -> None:
        for place in range(registers):
            raise_register(state, place, (other.words[place >> 3] >> ((place & 7) << 3)) & 255)
        if state.filled > 0:
            state.estimate = estimated(state)

    def estimate_of(state: Registers) -> int:
        return state.estimate

    def never(state: Registers, event: Event, source: Token) -> None:
        """It cannot fail."""

    @operator(merge=merged, result=estimate_of, guard=never)
    def _distinct(state: Registers, event: Event, source: Token) -> int:
        if source != _MISSING:
            rank = 1
            bit = _ONE
            while rank < top and source & bit == _MISSING:
                rank += 1
                bit <<= _ONE
            if raise_register(state, int(source >> shift), rank):
                state.estimate = estimated(state)
        return state.estimate

    return _distinct(source)
