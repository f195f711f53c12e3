"""Which worker owns which partition: Maglev consistent hashing, exactly as Envoy's MAGLEV policy computes it.

Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4, with the
weights of Envoy's maglev_lb.cc. With `table_size` equal to our number of partitions, Envoy finds the owner of a key
from the key alone: slot `xxh64(key) % partitions` of the same table.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ringmill.core.errors import Code, RingmillError
from ringmill.core.hashing import PARTITIONS, xxh64
from ringmill.core.jit import kernel

WEIGHT_MAX = 128
"""The largest weight a worker may have."""

NOBODY = -1
"""The owner of a partition that no worker serves."""

Table = npt.NDArray[np.int32]
"""Owner of each partition, int32[partitions]: an index into a list of workers, or NOBODY."""

Numbers = npt.NDArray[np.int64]


def maglev(weights: Mapping[str, int], partitions: int = PARTITIONS) -> Table:
    """Fills the table for workers of these names and weights (1 to 128).

    Returns int32[partitions]: each partition's owner, as an index into the names in their sorted order.
    Raises FAILED_PRECONDITION when the number of partitions is not a prime or does not exceed the number of workers,
    or when a weight is out of range.
    """
    _validate(weights, partitions)
    if not weights:
        return np.full(partitions, NOBODY, np.int32)
    names = sorted(weights)
    keys = [name.encode() for name in names]
    table = np.full(partitions, NOBODY, np.int32)
    total = sum(weights.values())
    _fill(
        np.array([xxh64(key, 0) % partitions for key in keys], np.int64),
        np.array([xxh64(key, 1) % (partitions - 1) + 1 for key in keys], np.int64),
        np.array([weights[name] / total for name in names], np.float64),
        table,
    )
    return table


@kernel()
def _fill(slots: Numbers, skips: Numbers, shares: npt.NDArray[np.float64], table: Table) -> None:
    """Lets the workers take turns at claiming the next free slot of their own permutation.

    A permutation is (slot + skip * n) modulo a prime, which visits each slot once; `slots` says how far each has come.
    Each turn a worker's claim grows by its weight, and it takes a slot once the claim reaches its target, which the
    heaviest does every turn. The arithmetic is Envoy's, in doubles, so that rounding agrees as well.
    """
    partitions = len(table)
    heaviest = shares.max()
    targets = np.zeros(len(shares), np.float64)
    filled = 0
    turn = 1
    while True:
        for worker in range(len(shares)):
            if turn * shares[worker] < targets[worker]:
                continue
            targets[worker] += heaviest
            while table[slots[worker]] != NOBODY:
                slots[worker] = (slots[worker] + skips[worker]) % partitions
            table[slots[worker]] = worker
            filled += 1
            if filled == partitions:
                return
        turn += 1


def _validate(weights: Mapping[str, int], partitions: int) -> None:
    check_partitions(partitions)
    if len(weights) >= partitions:
        raise RingmillError(Code.FAILED_PRECONDITION, f"{len(weights)} workers need more than {partitions} partitions")
    for name, weight in weights.items():
        if not 1 <= weight <= WEIGHT_MAX:
            raise RingmillError(
                Code.FAILED_PRECONDITION, f"worker {name!r} has weight {weight}: give one from 1 to {WEIGHT_MAX}"
            )


def check_partitions(partitions: int) -> None:
    """Raises FAILED_PRECONDITION unless the number of partitions is a prime: only then each walk visits every slot."""
    if not is_prime(partitions):
        raise RingmillError(Code.FAILED_PRECONDITION, f"{partitions} partitions: the number must be a prime, like 1021")


def is_prime(number: int) -> bool:
    """Tells whether a number is a prime, by trial division: tables are small."""
    if number < 2:
        return False
    divisor = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 1
    return True
