"""What has been admitted and is not committed: every part and opening that some copy has not acknowledged."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from ringmill.internal.v1.link_pb2 import Open

Marks = npt.NDArray[np.bool_]
"""bool[partitions]."""


class Pending:
    """A part, or an opening, with its answer, until every channel that it was put on has acknowledged it."""

    __slots__ = ("admitted_ns", "answered", "number", "opening", "partitions", "response", "seals", "waits")

    def __init__(
        self, number: int, response: bytes, waits: int, admitted_ns: int, partitions: npt.NDArray[np.uint32] | int
    ) -> None:
        self.number = number
        """Of the part or the opening on the link; 0: nobody waits for the answer any more."""
        self.response = response
        """Encoded ProcessResponse, or Opened."""
        self.waits = waits
        """Acknowledgements that are outstanding."""
        self.admitted_ns = admitted_ns
        self.partitions = partitions
        """What it touches, each once; -1: every partition, as an opening does."""
        self.answered = False
        """The caller has the answer already (PRIMARY), and wants to know when copies have it."""
        self.opening: Open | None = None
        self.seals: list[int] = []
        """Partitions that are sealed once it is committed."""

    def touches(self, marks: Marks) -> bool:
        """Whether any of the marked partitions is touched."""
        if isinstance(self.partitions, int):
            return self.partitions < 0 or bool(marks[self.partitions])
        return bool(marks[self.partitions].any())

    def touched(self, marks: Marks) -> list[int]:
        """The marked partitions that are touched, each once."""
        if isinstance(self.partitions, int):
            if self.partitions < 0:
                found: list[int] = np.flatnonzero(marks).tolist()
                return found
            return [self.partitions] if marks[self.partitions] else []
        touched: list[int] = self.partitions[marks[self.partitions]].tolist()
        return touched


class Pendings:
    """All that is pending, oldest first, and what is to be sealed once it is not."""

    def __init__(self, sealed: Callable[[int], None]) -> None:
        """sealed: hears of each partition once nothing that touches it is pending."""
        self._all: dict[Pending, None] = {}
        self._sealing: dict[int, int] = {}
        self._sealed = sealed

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Pending]:
        return iter(list(self._all))

    def add(self, pending: Pending) -> None:
        """Something was admitted and put on channels."""
        self._all[pending] = None

    def remove(self, pending: Pending) -> bool:
        """It is committed, or given up. False: it was so before."""
        if self._all.pop(pending, self) is self:
            return False
        for partition in pending.seals:
            left = self._sealing.get(partition)
            if left == 1:
                del self._sealing[partition]
                self._sealed(partition)
            elif left:
                self._sealing[partition] = left - 1
        return True

    def seal(self, partitions: list[int], count: int) -> None:
        """Tells `sealed` of these partitions when all that is pending there now is done; some may be at once.

        count: partitions of the cluster.
        """
        marks = np.zeros(count, np.bool_)
        marks[partitions] = True
        for pending in self._all:
            for partition in pending.touched(marks):
                pending.seals.append(partition)
                self._sealing[partition] = self._sealing.get(partition, 0) + 1
        for partition in partitions:
            if partition not in self._sealing:
                self._sealed(partition)

    def unseal(self, partition: int) -> None:
        """Nothing needs to be told of this partition any more."""
        if self._sealing.pop(partition, 0):
            for pending in self._all:
                if partition in pending.seals:
                    pending.seals.remove(partition)

    def forget_link(self) -> None:
        """Nobody waits for the answers any more: the link that asked for them is gone."""
        for pending in self._all:
            pending.number = 0
