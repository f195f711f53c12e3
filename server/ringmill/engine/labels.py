"""The labels that a partition has seen: from the 64-bit hash that kernels work with back to the bytes.

    items   [partition 0: label 0, label 1, ... | partition 1: ... | ... | declared]   in order of arrival
    slots   [partition 0's index                | partition 1's    | ... | declared]   hash -> item (`engine/index.py`)
    heap    [declared labels' bytes | partition 0's labels' bytes | partition 1's ... ]

A label that a state keeps, or an operator returns, outlives the message it came in. So every partition keeps the bytes
of those it has seen: append only, bounded, exported and dropped with the partition. The labels that a pipeline's code
declares are known in every partition. One hash is one label: a second label with the same hash is refused, never
taken for the first.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from ringmill.core.columns import LABEL
from ringmill.core.errors import Code, RingmillError
from ringmill.core.hashing import PARTITIONS, xxh64_range
from ringmill.core.jit import compile_kernel, kernel
from ringmill.core.memory import Bytes, copy_bytes
from ringmill.engine.index import (
    EMPTY,
    SEGMENT,
    home,
    item_of,
    make_room,
    slot_of,
    slots_for,
    slots_in_use,
    tag_matches,
)
from ringmill.engine.keys import same_bytes
from ringmill.engine.region import Region
from ringmill.engine.snapshot import Content, Snapshot

LABEL_BYTES_MAX = 1024

FULL = -1
"""Returned instead of an offset: the partition holds as many labels, or bytes of labels, as it may."""
COLLISION = -2
"""Returned instead of an offset: another label has this hash."""
UNKNOWN = -1
"""Returned as the start: the partition has not seen a label with this hash."""

_MESSAGE = numba.types.Array(numba.types.uint8, 1, "C", readonly=True)
_LENGTHS = numba.types.Array(numba.types.uint32, 1, "C", readonly=True)


class LabelArrays(NamedTuple):
    """What kernels get of a label store. The declared labels stand in one more partition, the last."""

    items: npt.NDArray[Any]  # LABEL[(partitions + 1) * labels_max]; start: an offset into the heap
    slots: npt.NDArray[np.uint64]  # [(partitions + 1) * slots_max]
    segments: npt.NDArray[Any]  # SEGMENT[partitions + 1]
    heap: Bytes  # [declared_bytes + partitions * heap_bytes]
    scratch: npt.NDArray[np.uint64]  # [labels_max], for doubling an index
    labels_max: int
    slots_max: int  # slots reserved for a partition
    heap_bytes: int  # reserved for a partition
    declared_bytes: int


@kernel(inline=True)
def _first_slot(arrays: LabelArrays, partition: int, label_hash: np.uint64) -> np.uint64:
    """Where in `slots` the search for a hash begins."""
    return np.uint64(partition * arrays.slots_max) + home(label_hash, arrays.segments[partition])


@kernel(inline=True)
def _find(arrays: LabelArrays, partition: int, label_hash: np.uint64) -> int:
    """The number, over the whole store, of the label with this hash; -1 if the partition has none."""
    at = _first_slot(arrays, partition, label_hash)
    found = -1
    while True:
        slot = arrays.slots[at]
        if slot == np.uint64(0):
            break
        if tag_matches(slot, label_hash):
            candidate = partition * arrays.labels_max + item_of(slot)
            if arrays.items[candidate].hash == label_hash:
                found = candidate
                break
        at += np.uint64(1)
    return found


@kernel(boundscheck=False, allocates=False)  # counts are compared with the limits, and slots reserved for as many
def _append(arrays: LabelArrays, partition: int, label_hash: np.uint64, buffer: Bytes, start: int, length: int) -> int:
    """Keeps a label that is not there; returns its offset in the heap, or FULL."""
    segment = arrays.segments[partition]
    count = int(np.int64(segment.count))
    used = int(np.int64(segment.used))
    declared = partition == arrays.segments.size - 1
    room = arrays.declared_bytes if declared else arrays.heap_bytes
    if count >= arrays.labels_max or used + length > room:
        return FULL
    make_room(arrays.slots, partition * arrays.slots_max, arrays.segments, partition, arrays.scratch)
    at = _first_slot(arrays, partition, label_hash)
    while arrays.slots[at] != np.uint64(0):
        at += np.uint64(1)
    arrays.slots[at] = slot_of(label_hash, count)
    offset = used if declared else arrays.declared_bytes + partition * arrays.heap_bytes + used
    copy_bytes(arrays.heap, offset, buffer, start, start + length)
    item = arrays.items[partition * arrays.labels_max + count]
    item.hash, item.start, item.length = label_hash, offset, length
    segment.count += 1
    segment.used += np.uint64(length)
    return offset


@kernel(inline=True)
def intern(arrays: LabelArrays, partition: int, label_hash: np.uint64, buffer: Bytes, start: int, length: int) -> int:
    """Keeps the label buffer[start : start + length], unless it is known. Its offset in the heap, FULL or COLLISION.

    label_hash: its xxh64, or 0 for the empty label, which is never kept: its offset is 0.
    """
    if length == 0:
        return 0
    item = _find(arrays, partition, label_hash)
    if item < 0:
        item = _find(arrays, arrays.segments.size - 1, label_hash)
    if label_hash == np.uint64(0):
        offset = COLLISION
    elif item < 0:
        offset = _append(arrays, partition, label_hash, buffer, start, length)
    else:
        offset = int(np.int64(arrays.items[item].start))
        known = int(np.int64(arrays.items[item].length))
        if known != length or not same_bytes(arrays.heap, offset, buffer, start, length):
            offset = COLLISION
    return offset


@kernel(inline=True)
def lookup(arrays: LabelArrays, partition: int, label_hash: np.uint64) -> tuple[int, int]:
    """Where the label with this hash stands in the heap, and its length. (UNKNOWN, 0) if nobody told it.

    The empty label, hash 0, is (0, 0).
    """
    start, length = 0, 0
    if label_hash != np.uint64(0):
        start = UNKNOWN
        item = _find(arrays, partition, label_hash)
        if item < 0:
            item = _find(arrays, arrays.segments.size - 1, label_hash)
        if item >= 0:
            start = int(np.int64(arrays.items[item].start))
            length = int(np.int64(arrays.items[item].length))
    return start, length


@kernel(allocates=False)
def _intern_all(arrays: LabelArrays, partition: int, lengths: npt.NDArray[np.uint32], texts: Bytes) -> int:
    """Interns labels that stand one after the other; returns how many were: all, unless one is not valid."""
    place = 0
    for i in range(lengths.size):
        length = int(np.int64(lengths[i]))
        if length < 1 or length > LABEL_BYTES_MAX or place + length > texts.size:
            return i
        before = arrays.segments[partition].count
        offset = intern(arrays, partition, xxh64_range(texts, place, place + length), texts, place, length)
        if offset < 0 or arrays.segments[partition].count == before:
            return i
        place += length
    return lengths.size if place == texts.size else -1


class LabelStore:
    """The labels of one pipeline on one worker. Used by one thread."""

    def __init__(
        self,
        declared: Sequence[str] = (),
        partitions: int = PARTITIONS,
        labels_max: int = 4096,
        heap_bytes: int = 256 << 10,
    ) -> None:
        """Reserves an empty store.

        declared: the labels that the pipeline's code names. labels_max, heap_bytes: labels, and bytes of them, that one
        partition may hold; 4 GiB in all at most, since a label's offset has 32 bits.
        Raises RingmillError: INVALID_ARGUMENT beyond that, or where two declared labels have the same hash;
        RESOURCE_EXHAUSTED when the system refuses the address space.
        """
        texts = [text.encode() for text in dict.fromkeys(declared) if text]
        declared_bytes = sum(map(len, texts))
        if declared_bytes + partitions * heap_bytes > 2**32:
            raise RingmillError(
                Code.INVALID_ARGUMENT,
                f"{partitions} partitions of {heap_bytes} bytes of labels are more than 4 GiB: lower heap_bytes",
            )
        labels_max = max(labels_max, len(texts))
        slots_max = slots_for(labels_max)
        segments = np.full(partitions + 1, np.array(EMPTY, SEGMENT))
        self._items = Region(LABEL, (partitions + 1) * labels_max, "labels")
        self._slots = Region(np.uint64, (partitions + 1) * slots_max, "the indexes of labels")
        self._heap = Region(np.uint8, declared_bytes + partitions * heap_bytes, "the bytes of labels")
        self._snapshot = Snapshot("labels", LABEL.descr, partitions)
        self.arrays = LabelArrays(
            items=self._items.array,
            slots=self._slots.array,
            segments=segments,
            heap=self._heap.array,
            scratch=np.zeros(labels_max, np.uint64),
            labels_max=labels_max,
            slots_max=slots_max,
            heap_bytes=heap_bytes,
            declared_bytes=declared_bytes,
        )
        if texts and self._load(partitions, texts) != len(texts):
            raise RingmillError(Code.INVALID_ARGUMENT, "two declared labels have the same hash: rename one of them")

    def prepare(self) -> None:
        """Compiles what `restore` and declared labels use; they do so themselves, unless the process is sealed."""
        signature = numba.types.int64(numba.typeof(self.arrays), numba.types.int64, _LENGTHS, _MESSAGE)
        compile_kernel(_intern_all, [signature])

    @property
    def heap(self) -> Bytes:
        """The bytes that the encoder copies labels from."""
        return self.arrays.heap

    @property
    def state_bytes(self) -> int:
        """Bytes in use for labels and their indexes."""
        segments = self.arrays.segments
        indexes = 8 * int(slots_in_use(segments).sum())
        return int(segments["count"].sum()) * LABEL.itemsize + indexes + int(segments["used"].sum())

    def labels(self, partition: int) -> list[bytes]:
        """The labels that the partition has seen, but for declared ones, in order of arrival."""
        return [self._bytes_of(item) for item in self._items_of(partition)]

    def get(self, partition: int, label_hash: int) -> bytes | None:
        """The label with this hash, or None."""
        for item in (*self._items_of(partition), *self._items_of(self.arrays.segments.size - 1)):
            if item["hash"] == label_hash:
                return self._bytes_of(item)
        return None if label_hash else b""

    def export(self, partition: int) -> bytes:
        """The partition's labels as bytes; equal for equal histories."""
        items = self._items_of(partition)
        texts = b"".join(self._bytes_of(item) for item in items)
        return self._snapshot.pack(partition, Content(len(items), items["length"].astype("<u4").tobytes(), texts))

    def restore(self, partition: int, data: bytes) -> None:
        """Fills an empty partition from an export of the same partition.

        Raises RingmillError as `Table.restore` does, and leaves the partition empty.
        """
        if self.arrays.segments[partition]["count"]:
            raise RingmillError(Code.FAILED_PRECONDITION, f"partition {partition} holds labels: drop it first")
        content = self._snapshot.unpack(partition, data)
        if content.count > self.arrays.labels_max or len(content.heap) > self.arrays.heap_bytes:
            raise RingmillError(
                Code.RESOURCE_EXHAUSTED,
                f"export of partition {partition} holds {content.count} labels in {len(content.heap)} bytes: more than "
                f"this worker's limits of {self.arrays.labels_max} and {self.arrays.heap_bytes}",
            )
        lengths = np.frombuffer(content.items, np.uint32) if len(content.items) == 4 * content.count else None
        if lengths is None or self._enter(partition, lengths, content.heap) != content.count:
            self.drop(partition)
            raise RingmillError(Code.DATA_LOSS, f"export of partition {partition}: its labels are not valid")

    def drop(self, partition: int) -> None:
        """Forgets the partition's labels and gives their memory back to the system."""
        segment = self.arrays.segments[partition]
        first_item = partition * self.arrays.labels_max
        first_slot = partition * self.arrays.slots_max
        first_byte = self.arrays.declared_bytes + partition * self.arrays.heap_bytes
        self._items.clear(first_item, first_item + int(segment["count"]))
        self._slots.clear(first_slot, first_slot + self.arrays.slots_max)
        self._heap.clear(first_byte, first_byte + int(segment["used"]))
        self.arrays.segments[partition] = EMPTY

    def _load(self, partition: int, texts: Sequence[bytes]) -> int:
        lengths = np.frombuffer(np.array([len(text) for text in texts], np.uint32).tobytes(), np.uint32)
        return self._enter(partition, lengths, b"".join(texts))

    def _enter(self, partition: int, lengths: npt.NDArray[np.uint32], texts: bytes) -> int:
        self.prepare()
        return int(_intern_all(self.arrays, partition, lengths, np.frombuffer(texts, np.uint8)))

    def _items_of(self, partition: int) -> npt.NDArray[Any]:
        first = partition * self.arrays.labels_max
        return self.arrays.items[first : first + int(self.arrays.segments[partition]["count"])]

    def _bytes_of(self, item: np.void) -> bytes:
        return self.arrays.heap[int(item["start"]) : int(item["start"]) + int(item["length"])].tobytes()
