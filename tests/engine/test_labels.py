"""The label store: one hash is one label, each partition keeps its own, and declared labels are known everywhere."""

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from ringmill.core.errors import Code, RingmillError
from ringmill.core.jit import kernel
from ringmill.engine.labels import COLLISION, FULL, UNKNOWN, LabelArrays, LabelStore, intern, lookup
from ringmill.engine.snapshot import Content


@kernel(allocates=False)
def _intern(arrays: LabelArrays, partition: int, label_hash: np.uint64, text: np.ndarray) -> int:
    return intern(arrays, partition, label_hash, text, 0, text.size)


@kernel(allocates=False)
def _lookup(arrays: LabelArrays, partition: int, label_hash: np.uint64) -> tuple[int, int]:
    return lookup(arrays, partition, label_hash)


def hash_of(text: bytes) -> int:
    return xxhash.xxh64_intdigest(text) if text else 0


def put(store: LabelStore, partition: int, text: bytes, label_hash: int | None = None) -> int:
    number = hash_of(text) if label_hash is None else label_hash
    return _intern(store.arrays, partition, np.uint64(number), np.frombuffer(text, np.uint8))


def take(store: LabelStore, partition: int, label_hash: int) -> bytes | None:
    start, length = _lookup(store.arrays, partition, np.uint64(label_hash))
    return None if start == UNKNOWN else store.heap[start : start + length].tobytes()


texts = st.text(max_size=6).map(str.encode)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), texts), max_size=60))
def test_a_label_comes_back_from_its_hash_where_it_was_seen(seen: list[tuple[int, bytes]]) -> None:
    store = LabelStore(["UA", "DL"], partitions=3, labels_max=64, heap_bytes=2048)
    for partition, text in seen:
        offset = put(store, partition, text)
        assert store.heap[offset : offset + len(text)].tobytes() == text
    for partition in range(3):
        known = dict.fromkeys(text for where, text in seen if where == partition and text not in (b"", b"UA", b"DL"))
        assert store.labels(partition) == list(known)
        for text in {text for _, text in seen} | {b"UA", b"DL", b""}:
            expected = text if text in known or text in (b"UA", b"DL", b"") else None
            assert take(store, partition, hash_of(text)) == expected
            assert store.get(partition, hash_of(text)) == expected


@pytest.mark.parametrize("other", [b"yes!", b"yet", b"ye", b"", b"a label of more than twenty-two bytes"])
def test_a_second_label_with_the_same_hash_is_refused(other: bytes) -> None:
    store = LabelStore(partitions=2)
    first = put(store, 1, b"yes", 42)
    refused = put(store, 1, other, 42)
    assert refused == (COLLISION if other else 0)
    assert put(store, 1, b"yes", 42) == first
    assert take(store, 1, 42) == b"yes"
    assert put(store, 0, b"yet", 42) >= 0, "partitions do not know of each other"


def test_a_label_may_not_collide_with_a_declared_one_or_with_the_empty_one() -> None:
    store = LabelStore(["UA"], partitions=2)
    assert put(store, 0, b"not UA", hash_of(b"UA")) == COLLISION
    assert put(store, 0, b"not empty", 0) == COLLISION
    assert take(store, 0, hash_of(b"UA")) == b"UA"
    assert take(store, 0, 0) == b""


def test_declared_labels_take_no_room_in_partitions() -> None:
    store = LabelStore(["UA", "", "UA", "DL"], partitions=4)
    assert {put(store, partition, b"UA") for partition in range(4)} == {0}
    assert [store.labels(partition) for partition in range(4)] == [[]] * 4


def test_a_partition_holds_so_many_labels_and_so_many_bytes() -> None:
    store = LabelStore(partitions=2, labels_max=20, heap_bytes=1000)
    offsets = [put(store, 0, b"%d" % i) for i in range(20)]
    assert put(store, 0, b"one too many") == FULL
    assert [put(store, 0, b"%d" % i) for i in range(20)] == offsets
    assert put(store, 1, b"x" * 600) >= 0
    assert put(store, 1, b"y" * 401) == FULL
    assert put(store, 1, b"y" * 400) >= 0


def test_labels_are_exported_restored_and_dropped_with_their_partition() -> None:
    source = LabelStore(["UA"], partitions=3, labels_max=512)
    target = LabelStore(["UA"], partitions=3, labels_max=1024, heap_bytes=128 << 10)
    for i in range(400):
        put(source, i % 3, f"label {i}".encode())
    exports = [source.export(partition) for partition in range(3)]
    for partition in range(3):
        target.restore(partition, exports[partition])
    assert [target.export(partition) for partition in range(3)] == exports
    assert take(target, 1, hash_of(b"label 1")) == b"label 1"
    target.drop(1)
    assert target.labels(1) == []
    assert take(target, 1, hash_of(b"label 1")) is None
    assert [target.export(0), target.export(2)] == [exports[0], exports[2]]


def test_damaged_or_impossible_exports_are_refused_and_harm_nothing() -> None:
    store = LabelStore(partitions=3)
    for text in (b"one", b"two"):
        put(store, 1, text)
    data = store.export(1)
    store.drop(1)
    lengths = np.array([3, 3], "<u4").tobytes()
    impossible = [Content(2, lengths, b"oneone"), Content(2, lengths, b"onetw"), Content(2, lengths, b"one two")]
    impossible += [Content(2, lengths[:4], b"one"), Content(1, np.array([0], "<u4").tobytes(), b"")]
    for wrong in (
        data[:-1],
        data[:50] + b"?" + data[51:],
        *(store._snapshot.pack(1, content) for content in impossible),
    ):
        with pytest.raises(RingmillError) as raised:
            store.restore(1, wrong)
        assert raised.value.code is Code.DATA_LOSS
        assert store.labels(1) == []
    store.restore(1, data)
    assert store.labels(1) == [b"one", b"two"]
    with pytest.raises(RingmillError, match="drop it first"):
        store.restore(1, data)


def test_limits_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(RingmillError, match="4 GiB"):
        LabelStore(partitions=1021, heap_bytes=8 << 20)
    few = LabelStore(partitions=3, labels_max=16)
    many = LabelStore(partitions=3, labels_max=64)
    for i in range(40):
        put(many, 0, b"%d" % i)
    with pytest.raises(RingmillError) as raised:
        few.restore(0, many.export(0))
    assert raised.value.code is Code.RESOURCE_EXHAUSTED
