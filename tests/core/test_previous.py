"""What came before a part, written and cut, against plain Python."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ringmill.core.frame import varint
from ringmill.core.previous import Previous

PARTITIONS = 13
PREVIOUS = Previous(PARTITIONS)

touches = st.lists(st.integers(0, PARTITIONS - 1), min_size=1, max_size=PARTITIONS, unique=True)
steps = st.integers(1, 2**60)


@given(st.lists(st.tuples(touches, steps), max_size=6))
def test_each_partition_has_its_own_predecessor(batches: list[tuple[list[int], int]]) -> None:
    last = np.zeros(PARTITIONS, np.uint64)
    expected = [0] * PARTITIONS
    sequence = 0
    for touched, step in batches:
        sequence += step
        gaps = b"".join(varint(sequence - expected[p] if expected[p] else 0) for p in touched)
        assert PREVIOUS.write(np.array(touched, np.uint32), sequence, last, last.data) == gaps
        for p in touched:
            expected[p] = sequence
        assert last.tolist() == expected


@given(touches, st.lists(st.integers(0, 2**64 - 2), min_size=PARTITIONS, max_size=PARTITIONS), st.data())
def test_a_part_that_is_cut_keeps_its_predecessors(touched: list[int], before: list[int], data: st.DataObject) -> None:
    sequence = 2**64 - 1
    last = np.array(before, np.uint64)
    whole = PREVIOUS.write(np.array(touched, np.uint32), sequence, last, last.data)
    sides = [data.draw(st.booleans()) for _ in touched]
    pieces = [[p for p, side in zip(touched, sides, strict=True) if side is wanted] for wanted in (False, True)]
    pieces = [piece for piece in pieces if piece]
    cut = PREVIOUS.cut(np.array(touched, np.uint32), sequence, whole, [np.array(each, np.uint32) for each in pieces])
    expected = [b"".join(varint(sequence - before[p] if before[p] else 0) for p in piece) for piece in pieces]
    assert cut == expected
