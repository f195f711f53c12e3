"""The state table against a plain dict, and what it promises of order, limits, export and damage."""

import hashlib

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from ringmill.core.errors import Code, RingmillError
from ringmill.core.jit import kernel
from ringmill.engine.snapshot import Content
from ringmill.engine.table import (
    FULL,
    KEYS_MAX,
    MISSING,
    Table,
    TableArrays,
    find,
    find_or_insert,
    is_row_of,
    prefetch_index,
    prefetch_row,
    remove_newest,
    row_dtype,
)

STATE = np.dtype([("n", "i8"), ("x", "f8")])
ROW = row_dtype([("step", STATE)])
TEMPLATE = np.zeros(1, ROW)
TEMPLATE["step"] = (7, 0.5)


@kernel(allocates=False)
def _enter(arrays: TableArrays, partition: int, key_hash: np.uint64, key: np.ndarray, row_bytes: int) -> int:
    at = prefetch_index(arrays, partition, key_hash)
    row = prefetch_row(arrays, partition, key_hash, at, row_bytes)
    if not is_row_of(arrays, partition, row, key, 0, key.size):
        row = find_or_insert(arrays, partition, key_hash, key, 0, key.size)
    if row >= 0:
        arrays.rows[row].step.n += 1
    return row


@kernel(allocates=False)
def _look(arrays: TableArrays, partition: int, key_hash: np.uint64, key: np.ndarray) -> int:
    return find(arrays, partition, key_hash, key, 0, key.size)


@kernel(allocates=False)
def _undo(arrays: TableArrays, partition: int, key_hash: np.uint64) -> None:
    remove_newest(arrays, partition, key_hash)


def small_table(partitions: int = 3, keys_max: int = 64, heap_bytes: int = 4096) -> Table:
    return Table.allocate(ROW, TEMPLATE, partitions, keys_max, heap_bytes)


def enter(table: Table, partition: int, key: bytes, key_hash: int | None = None) -> int:
    number = xxhash.xxh64_intdigest(key) if key_hash is None else key_hash
    return _enter(table.arrays, partition, np.uint64(number), np.frombuffer(key, np.uint8), ROW.itemsize)


def look(table: Table, partition: int, key: bytes, key_hash: int | None = None) -> int:
    number = xxhash.xxh64_intdigest(key) if key_hash is None else key_hash
    return _look(table.arrays, partition, np.uint64(number), np.frombuffer(key, np.uint8))


def fill(table: Table, keys: list[bytes]) -> None:
    """Enters keys where they belong."""
    for key in keys:
        assert enter(table, xxhash.xxh64_intdigest(key) % table.arrays.segments.size, key) != FULL


def names(count: int, prefix: str = "device-") -> list[bytes]:
    return [f"{prefix}{i}".encode() for i in range(count)]


keys_of_few_bytes = st.binary(min_size=1, max_size=3)
long_keys = st.binary(min_size=1, max_size=20).map(lambda text: bytes(20) + text)


def poor_hash(key: bytes) -> int:
    """Five hashes in all, so that nearly every key collides with others in all 64 bits."""
    return (0, 1, 2**32, 2**63, 2**64 - 1)[sum(key) % 5]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("eelu"), st.integers(0, 2), keys_of_few_bytes | long_keys), max_size=80))
def test_it_agrees_with_a_dict(steps: list[tuple[str, int, bytes]]) -> None:
    table = small_table(keys_max=24)
    model: list[dict[bytes, int]] = [{}, {}, {}]
    newest: tuple[int, bytes] | None = None
    for action, partition, key in steps:
        held = model[partition]
        if action == "e":
            row = enter(table, partition, key, poor_hash(key))
            is_new = key not in held
            assert (row == FULL) == (is_new and len(held) == 24)
            if row != FULL:
                held[key] = held.get(key, 7) + 1
                newest = (partition, key) if is_new else None
        elif action == "l":
            assert (look(table, partition, key, poor_hash(key)) == MISSING) == (key not in held)
        elif newest is not None:
            partition, key = newest
            _undo(table.arrays, partition, np.uint64(poor_hash(key)))
            del model[partition][key]
            newest = None
    for partition, held in enumerate(model):
        assert table.keys(partition) == list(held)
        rows = [look(table, partition, key, poor_hash(key)) for key in held]
        assert rows == [partition * table.arrays.rows_max + place for place in range(len(held))]
        assert [int(table.rows[row]["step"]["n"]) for row in rows] == list(held.values())


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 21, 22, 23, 24, 31, 32, 1024])
def test_keys_with_one_hash_and_one_byte_apart_are_two_keys(length: int) -> None:
    """Whichever byte differs: the hash alone never decides."""
    table = small_table(partitions=1, keys_max=4096, heap_bytes=4 << 20)
    base = bytes(length)
    others = [base[:i] + b"\1" + base[i + 1 :] for i in range(length)]
    rows = {enter(table, 0, key, 42) for key in (base, *others)}
    assert len(rows) == length + 1
    assert table.keys(0) == [base, *others]


def test_trailing_zeros_belong_to_the_key() -> None:
    table = small_table()
    assert enter(table, 0, b"a", 1) != enter(table, 0, b"a\0", 1)


def test_a_key_at_the_end_of_its_buffer_is_read_to_its_end_and_no_further() -> None:
    table = small_table()
    for length in range(1, 30):
        message = np.frombuffer(b"x" * 50 + b"k" * length, np.uint8)
        for view in (message[50:].copy(), message[50:]):
            view.flags.writeable = False
            _enter(table.arrays, 0, np.uint64(9), view, ROW.itemsize)
    assert table.keys(0) == [b"k" * length for length in range(1, 30)]


def test_rows_stay_where_they_are_while_the_index_doubles() -> None:
    table = small_table(keys_max=8192)
    keys = names(5000)
    rows = [enter(table, 1, key) for key in keys]
    first = table.arrays.rows_max
    assert rows == list(range(first, first + 5000))
    assert [enter(table, 1, key) for key in keys] == rows
    assert table.keys(1) == keys
    assert table.count == 5000
    assert look(table, 1, b"device-5000") == MISSING


def test_a_new_row_is_the_template() -> None:
    table = small_table()
    row = enter(table, 0, b"key")
    assert table.rows[row]["step"].tolist() == (8, 0.5)
    assert table.rows[row]["time_us"] == 0


def test_a_full_partition_refuses_the_new_key_and_serves_the_old_ones() -> None:
    table = small_table(keys_max=40)
    keys = names(40)
    rows = [enter(table, 1, key) for key in keys]
    assert enter(table, 1, b"one too many") == FULL
    assert [enter(table, 1, key) for key in keys] == rows
    assert enter(table, 0, b"one too many") != FULL


def test_long_keys_have_a_limit_of_their_own() -> None:
    table = small_table(heap_bytes=100)
    assert enter(table, 0, b"a" * 60) != FULL
    assert enter(table, 0, b"b" * 41) == FULL
    assert enter(table, 0, b"b" * 40) != FULL
    assert enter(table, 0, b"short") != FULL
    assert table.keys(0) == [b"a" * 60, b"b" * 40, b"short"]


def test_taking_back_a_long_key_frees_its_bytes() -> None:
    table = small_table(heap_bytes=60)
    for letter in (b"a", b"b", b"c"):
        key = letter * 60
        assert enter(table, 0, key) != FULL
        _undo(table.arrays, 0, np.uint64(xxhash.xxh64_intdigest(key)))
    assert table.count == 0


def test_get_gives_a_copy() -> None:
    table = small_table(partitions=1)
    fill(table, [b"short", b"long" * 20])
    found = table.get(b"long" * 20)
    assert found is not None
    found["step"]["n"] = 99
    assert table.get(b"long" * 20)["step"]["n"] == 8  # type: ignore[index]  # it was there a line above
    assert table.get(b"other") is None


def test_an_export_tells_the_history_of_its_partition_alone() -> None:
    """Two copies of a partition have equal bytes, whatever else their processes have held."""
    keys = [*names(60), *names(20, "a-key-of-more-than-twenty-two-bytes-")]
    one, other = small_table(), small_table(keys_max=128)
    fill(other, names(30, "was-here-before-and-its-bytes-remain-"))
    for partition in range(3):
        other.drop(partition)
    fill(one, keys)
    fill(other, sorted(keys, key=lambda key: xxhash.xxh64_intdigest(key) % 3))
    exports = [one.export(partition) for partition in range(3)]
    assert exports == [other.export(partition) for partition in range(3)]
    assert len(set(exports)) == 3


def test_a_restored_partition_goes_on_as_the_exported_one_would() -> None:
    keys = [*names(60), *names(20, "a-key-of-more-than-twenty-two-bytes-")]
    source, target = small_table(), small_table(keys_max=100)
    fill(source, [*keys, *keys[::2]])
    for partition in range(3):
        target.restore(partition, source.export(partition))
        assert target.keys(partition) == source.keys(partition)
    for table in (source, target):
        fill(table, [b"new", *keys])
    assert [target.export(partition) for partition in range(3)] == [source.export(p) for p in range(3)]


def test_dropping_touches_one_partition_and_leaves_no_trace_in_it() -> None:
    table = small_table(keys_max=4096)
    fill(table, [*names(3000), *names(30, "a-key-of-more-than-twenty-two-bytes-")])
    before = [table.export(partition) for partition in range(3)]
    table.drop(1)
    assert table.keys(1) == []
    assert [table.export(0), table.export(2)] == [before[0], before[2]]
    assert not table.rows[4096:8192].view(np.uint8).any()
    assert look(table, 1, table.keys(0)[0]) == MISSING
    table.restore(1, before[1])
    assert table.export(1) == before[1]


def test_damage_to_an_export_is_noticed_and_harms_nothing() -> None:
    table = small_table()
    fill(table, [*names(30), b"a key of more than twenty-two bytes"])
    exports = [table.export(partition) for partition in range(3)]
    table.drop(1)
    data = exports[1]
    damaged = [data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :] for i in range(0, len(data), 7)]
    for wrong in (*damaged, b"", data[:-1], data[: len(data) // 2], data + b"\0"):
        with pytest.raises(RingmillError) as raised:
            table.restore(1, wrong)
        assert raised.value.code is Code.DATA_LOSS
        assert table.keys(1) == []
    table.restore(1, data)
    assert [table.export(partition) for partition in range(3)] == exports


@pytest.mark.parametrize("what", ["twice the same key", "a key of another partition", "an empty key", "heap too short"])
def test_an_export_that_is_whole_but_impossible_is_refused(what: str) -> None:
    table = small_table()
    fill(table, [*names(20), b"a key of more than twenty-two bytes"])
    home = xxhash.xxh64_intdigest(b"a key of more than twenty-two bytes") % 3
    content = table._snapshot.unpack(home, table.export(home))
    row = ROW.itemsize
    items, heap = content.items, content.heap
    match what:
        case "twice the same key":
            items = items[:row] + items[:row] + items[2 * row :]
        case "a key of another partition":
            foreign = table.rows[(home + 1) % 3 * table.arrays.rows_max].tobytes()
            items = foreign + items[row:]
        case "an empty key":
            items = bytes(row) + items[row:]
        case _:
            heap = heap[:-1]
    table.drop(home)
    with pytest.raises(RingmillError) as raised:
        table.restore(home, table._snapshot.pack(home, Content(content.count, items, heap)))
    assert raised.value.code is Code.DATA_LOSS
    assert table.keys(home) == []


def test_an_export_is_for_the_same_state_and_the_same_partition() -> None:
    table = small_table()
    fill(table, names(30))
    other = row_dtype([("step", np.dtype([("n", "i8"), ("y", "f8")]))])
    for wrong in (Table.allocate(other, np.zeros(1, other), 3, 64), Table.allocate(ROW, TEMPLATE, 5, 64)):
        with pytest.raises(RingmillError) as raised:
            wrong.restore(1, table.export(1))
        assert raised.value.code is Code.FAILED_PRECONDITION
    with pytest.raises(RingmillError, match="holds partition 0 of 3"):
        small_table().restore(1, table.export(0))
    with pytest.raises(RingmillError, match="drop it before"):
        table.restore(1, table.export(1))


def test_more_than_the_limits_is_refused_before_anything_is_touched() -> None:
    source, target = small_table(), small_table(keys_max=4)
    fill(source, names(30))
    with pytest.raises(RingmillError) as raised:
        target.restore(0, source.export(0))
    assert raised.value.code is Code.RESOURCE_EXHAUSTED
    assert target.count == 0


def test_the_format_of_an_export_is_pinned() -> None:
    """Exports outlive releases: a change of this digest needs a new FORMAT."""
    table = small_table()
    fill(table, [b"short", b"a key of more than twenty-two bytes"])
    digests = hashlib.sha256(b"".join(table.export(partition) for partition in range(3))).hexdigest()[:12]
    assert digests == "203e5f75705a"


def test_address_space_that_cannot_be_had_is_refused_with_the_mend() -> None:
    with pytest.raises(RingmillError, match="lower the limit of keys") as raised:
        Table.allocate(ROW, TEMPLATE, partitions=100_000, keys_max=KEYS_MAX)
    assert raised.value.code is Code.RESOURCE_EXHAUSTED
    with pytest.raises(RingmillError, match="keys_max"):
        Table.allocate(ROW, TEMPLATE, keys_max=0)
    with pytest.raises(RingmillError, match="less than 4 GiB"):
        Table.allocate(ROW, TEMPLATE, heap_bytes=2**32)


def test_a_step_may_not_be_named_like_a_field_of_the_row() -> None:
    with pytest.raises(RingmillError, match="time_us"):
        row_dtype([("time_us", STATE)])
