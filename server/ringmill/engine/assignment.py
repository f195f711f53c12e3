"""What a view makes of each partition at one worker, as machine code: a view is obeyed between two batches.

take_roles   what this worker is in each partition now, and what of it it still holds
place        tells the ledger whose each partition is, and whether it takes anything
connect      tells the ledger on which channels each partition's records go
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.jit import compile_kernel, entry_point, kernel
from ringmill.core.maglev import NOBODY, Table
from ringmill.core.memory import SCRATCH, Bytes
from ringmill.core.view import REPLICAS, TABLE, Epochs, Replicas
from ringmill.engine.ledger_arrays import PAGE

NONE = 0
PRIMARY = 1
REPLICA = 2
LEARNER = 3

LOST = 0
DEPOSED = 1
LED = 2
LEARNING = 3
SEALING = 4
LISTS = 5
"""Of partitions, that `take_roles` fills: to be forgotten; served by another process now; served here since this view;
served here, with a learner; served here, with an heir."""

COPIED = 1
"""In `seats`: this worker copies, or is to copy, what that member is primary of."""
COPYING = 2
"""In `seats`: that member copies, or is to copy, what this worker is primary of."""

Lists = npt.NDArray[np.int64]
"""int64[LISTS, partitions]."""


class RoleArrays(NamedTuple):
    """What is remembered of each partition. All are [partitions]; see `ringmill.server.node.roles`."""

    role: npt.NDArray[np.int8]
    whole: npt.NDArray[np.bool_]
    spoiled: npt.NDArray[np.bool_]
    unproven: npt.NDArray[np.bool_]
    awaiting: npt.NDArray[np.bool_]
    sources: npt.NDArray[np.int16]


@kernel(inline=True)
def _role_of(partition: int, me: int, table: Table, replicas: Replicas, learners: Table) -> int:
    """What the member on seat `me` is in a partition."""
    role = NONE
    if me != NOBODY:
        if learners[partition] == me:
            role = LEARNER
        for place in range(replicas.shape[1]):
            if replicas[partition, place] == me:
                role = REPLICA
        if table[partition] == me:
            role = PRIMARY
    return role


@kernel(allocates=False)
def take_roles(
    roles: RoleArrays,
    table: Table,
    replicas: Replicas,
    learners: Table,
    heirs: Table,
    epochs: Epochs,
    before: Epochs,
    me: int,
    first: int,
    handed: Bytes,
    seats: Bytes,
    lists: Lists,
) -> tuple[int, int, int, int, int]:
    """Takes the roles of a newer view; returns the lengths of the lists.

    before: the epochs of the view obeyed until now. me: this process's seat, or NOBODY. first: the view's version if it
    is the first that is obeyed, else 0. handed: uint8[partitions], 1 where this worker had sealed its partition for who
    is its primary now. seats: uint8[members], zeros; filled with COPIED and COPYING.
    """
    lost = deposed = led = learning = sealing = 0
    for partition in range(table.size):
        old = roles.role[partition]
        new = _role_of(partition, me, table, replicas, learners)
        had = roles.whole[partition]
        kept = new != NONE
        if old == PRIMARY and new != PRIMARY:
            # It may hold what was never acknowledged, unless it handed everything over to the one that followed it.
            kept = new == REPLICA and handed[partition] != 0
            lists[DEPOSED, deposed] = partition
            deposed += 1
        if new == PRIMARY and old != NONE and not had:
            kept = False
        if not kept and (old != NONE or had):
            lists[LOST, lost] = partition
            lost += 1
        changed = epochs[partition] != before[partition]
        again = old == LEARNER and not changed
        # A learner proves with each offer that it holds what the primary has: only a primary of its own makes it whole.
        whole = new == PRIMARY or (had and kept and (new != LEARNER or again))
        # In the first view of a cluster every partition begins empty, and every copy of it with it.
        newborn = first != 0 and epochs[partition] == np.uint64(first)
        whole |= newborn and new == REPLICA
        roles.unproven[partition] = (roles.unproven[partition] or changed) and new == REPLICA and not newborn
        roles.awaiting[partition] &= new == LEARNER and again and not whole
        roles.spoiled[partition] &= kept and new in (REPLICA, LEARNER)
        roles.whole[partition] = whole
        roles.role[partition] = new
        if new == PRIMARY:
            if changed:
                lists[LED, led] = partition
                led += 1
            for place in range(replicas.shape[1]):
                if replicas[partition, place] != NOBODY:
                    seats[replicas[partition, place]] |= np.uint8(COPYING)
            if learners[partition] != NOBODY:
                seats[learners[partition]] |= np.uint8(COPYING)
                lists[LEARNING, learning] = partition
                learning += 1
            if heirs[partition] != NOBODY:
                lists[SEALING, sealing] = partition
                sealing += 1
        elif new != NONE and table[partition] != NOBODY:
            seats[table[partition]] |= np.uint8(COPIED)
    return lost, deposed, led, learning, sealing


@kernel(allocates=False)
def place(
    roles: RoleArrays,
    pages: npt.NDArray[Any],
    table: Table,
    replicas: Replicas,
    heirs: Table,
    epochs: Epochs,
    min_in_sync: int,
    sources: npt.NDArray[np.int16],
) -> None:
    """Tells the ledger whose partitions are whose. sources: int16[members], the number of each peer that is copied."""
    for partition in range(table.size):
        page: Any = pages[partition]
        role = roles.role[partition]
        awaiting = roles.awaiting[partition]
        roles.sources[partition] = page.source = np.int16(NOBODY)
        held = False
        if role == PRIMARY:
            copies = 1
            for slot in range(replicas.shape[1]):
                copies += replicas[partition, slot] != NOBODY
            page.source = np.int16(0)
            held = heirs[partition] != NOBODY or copies < min_in_sync
        elif role != NONE and table[partition] != NOBODY:
            roles.sources[partition] = sources[table[partition]]
        proven = roles.whole[partition] and not roles.unproven[partition]
        if role in (REPLICA, LEARNER) and (proven or awaiting):
            page.source = roles.sources[partition]
            held = awaiting
        page.held = np.uint8(1 if held else 0)
        page.epoch = epochs[partition]


@kernel(allocates=False)
def connect(
    roles: RoleArrays,
    pages: npt.NDArray[Any],
    replicas: Replicas,
    learners: Table,
    counted: Bytes,
    bits: npt.NDArray[np.uint64],
) -> None:
    """Tells the ledger on which channels each partition's records go.

    counted: uint8[partitions], 1 where the learner gets them too. bits: uint64[members], the channel of each.
    """
    for partition in range(learners.size):
        page: Any = pages[partition]
        mask = np.uint64(0)
        if roles.role[partition] == PRIMARY:
            for slot in range(replicas.shape[1]):
                if replicas[partition, slot] != NOBODY:
                    mask |= bits[replicas[partition, slot]]
            if counted[partition] != 0 and learners[partition] != NOBODY:
                mask |= bits[learners[partition]]
        page.channels = mask


class AssignmentKernels(NamedTuple):
    """These kernels, compiled."""

    take_roles: Callable[..., tuple[int, int, int, int, int]]
    place: Callable[..., None]
    connect: Callable[..., None]


@cache
def assignment_kernels(arrays: Any) -> AssignmentKernels:
    """Compiles them, or loads them. arrays: Numba's type of RoleArrays."""
    integer, pages = types.int64, types.Array(numba.from_dtype(PAGE), 1, "C")
    words, halves = types.Array(types.uint64, 1, "C"), types.Array(types.int16, 1, "C")
    lists = types.Array(types.int64, 2, "C")
    view = (TABLE, REPLICAS, TABLE, TABLE, words)
    take = types.UniTuple(integer, 5)(arrays, *view, words, integer, integer, SCRATCH, SCRATCH, lists)
    tell = types.void(arrays, pages, TABLE, REPLICAS, TABLE, words, integer, halves)
    wire = types.void(arrays, pages, REPLICAS, TABLE, SCRATCH, words)
    compile_kernel(take_roles, [take])
    compile_kernel(place, [tell])
    compile_kernel(connect, [wire])
    return AssignmentKernels(entry_point(take_roles, take), entry_point(place, tell), entry_point(connect, wire))
