"""The bytes of an exported partition: a header, the items in order, the heap, and a digest of all before it.

    8s magic, u32 format, 32s layout, u32 partition, u32 partitions, u64 count, u64 bytes of items, u64 bytes of heap
    items, heap
    32s SHA-256

Little-endian. `layout` is a digest of what the items are made of, so an export of another pipeline, or of the same one
with other operators, is refused and never misread. Equal content gives equal bytes.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Any

from ringmill.core.errors import Code, RingmillError

FORMAT = 1
_MAGIC = b"RINGMILL"
_HEADER = struct.Struct("<8sI32sIIQQQ")
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Content:
    """What a partition holds: `count` items, their bytes, and the bytes they point into."""

    count: int
    items: bytes
    heap: bytes


class Snapshot:
    """Packs and unpacks the partitions of one store."""

    def __init__(self, what: str, layout: Any, partitions: int) -> None:
        """what and layout: name what the items are and their fields; partitions: how many the cluster has."""
        self._layout = hashlib.sha256(f"{what} {layout!r}".encode()).digest()
        self._partitions = partitions

    def pack(self, partition: int, content: Content) -> bytes:
        """The partition as bytes."""
        sizes = (content.count, len(content.items), len(content.heap))
        header = _HEADER.pack(_MAGIC, FORMAT, self._layout, partition, self._partitions, *sizes)
        body = header + content.items + content.heap
        return body + hashlib.sha256(body).digest()

    def unpack(self, partition: int, data: bytes) -> Content:
        """What `pack` was given for this partition.

        Raises RingmillError DATA_LOSS when the bytes are damaged or cut off, FAILED_PRECONDITION when they are whole
        but of another partition, layout or format.
        """
        what = f"export of partition {partition}"
        if len(data) < _HEADER.size + _DIGEST_BYTES or data[: len(_MAGIC)] != _MAGIC:
            raise RingmillError(Code.DATA_LOSS, f"{what}: not an export, or cut off")
        body = memoryview(data)[:-_DIGEST_BYTES]
        if hashlib.sha256(body).digest() != data[-_DIGEST_BYTES:]:
            raise RingmillError(Code.DATA_LOSS, f"{what}: damaged: its digest does not match")
        _, version, layout, packed, partitions, count, items, heap = _HEADER.unpack_from(body)
        if version != FORMAT:
            raise RingmillError(Code.FAILED_PRECONDITION, f"{what}: format {version}; this release reads {FORMAT}")
        if layout != self._layout:
            raise RingmillError(Code.FAILED_PRECONDITION, f"{what}: written by a pipeline with other state")
        if (packed, partitions) != (partition, self._partitions):
            raise RingmillError(Code.FAILED_PRECONDITION, f"{what}: holds partition {packed} of {partitions}")
        if len(body) != _HEADER.size + items + heap:
            raise RingmillError(Code.DATA_LOSS, f"{what}: its sizes disagree")
        middle = _HEADER.size + items
        return Content(count, bytes(body[_HEADER.size : middle]), bytes(body[middle:]))
