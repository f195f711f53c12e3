"""What waits for one worker's link, and what the worker has been handed and not yet answered. Pure.

Natural batching: while a write is in flight parts gather, and then travel as one frame.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from ringmill.balancer.answers import MILLISECOND_NS, remaining
from ringmill.balancer.batch import Part
from ringmill.core.frame import part_prefix


class Outbox:
    """The parts of one link, oldest first."""

    def __init__(self, link: int, frame_bytes_max: int) -> None:
        self.link = link
        self.busy = False
        """Whether a write is in flight."""
        self.queued_bytes = 0
        """Size of the requests that wait."""
        self.blocked: set[int] = set()
        """Streams that are not read until this link has caught up."""
        self._frame_bytes_max = frame_bytes_max
        self._queue: deque[Part] = deque()
        self._handed: dict[int, Part] = {}
        self._last_id = 0

    @property
    def queued(self) -> int:
        """Parts that wait."""
        return len(self._queue)

    def depth(self, pipeline: int) -> int:
        """Parts of one pipeline that wait."""
        return sum(part.pipeline == pipeline for part in self._queue)

    @property
    def unanswered(self) -> int:
        """Parts that the worker has."""
        return len(self._handed)

    def put(self, part: Part) -> None:
        """Adds a part to what waits."""
        self._queue.append(part)
        self.queued_bytes += len(part.request)

    def frame(self, now_ns: int) -> tuple[bytes, Sequence[Part]]:
        """Takes what waits, up to the size of a frame, as one frame (empty: nothing), and the parts that are too late.

        From here on the worker may have applied the frame's parts: they can no longer be refused.
        """
        chunks: list[bytes] = []
        late: list[Part] = []
        queue = self._queue
        size = 0
        while queue and size < self._frame_bytes_max:
            part = queue.popleft()
            request = part.request
            self.queued_bytes -= len(request)
            if not part.batch.wanted:
                continue
            if part.deadline_ns and now_ns > part.deadline_ns:
                late.append(part)
                continue
            if part.deadline_ns and now_ns - part.batch.arrived_ns >= MILLISECOND_NS:
                request += remaining(part.deadline_ns - now_ns)  # the worker counts from its own arrival
            self._last_id = number = self._last_id + 1
            self._handed[number] = part
            chunks += (part_prefix(number, part.pipeline, len(request)), request)
            part.request = b""
            part.batch.handed_ns = now_ns
            size += len(request)
        return b"".join(chunks), late

    def answered(self, number: int) -> Part | None:
        """Takes the part that an answer is for; None if the worker has no such part."""
        return self._handed.pop(number, None)

    def take_queued(self) -> Sequence[Part]:
        """Gives up all that waits and was never handed over."""
        taken = [part for part in self._queue if part.batch.wanted]
        self._queue.clear()
        self.queued_bytes = 0
        return taken

    def take_late(self, now_ns: int) -> Sequence[Part]:
        """Gives up what waits beyond its deadline."""
        late = [part for part in self._queue if part.deadline_ns and now_ns > part.deadline_ns]
        if late:
            self._keep(part for part in self._queue if not (part.deadline_ns and now_ns > part.deadline_ns))
        return late

    def forget_unwanted(self) -> None:
        """Lets go of what waits and nobody wants any more."""
        self._keep(part for part in self._queue if part.batch.wanted)

    def _keep(self, parts: Iterable[Part]) -> None:
        self._queue = deque(parts)
        self.queued_bytes = sum(len(part.request) for part in self._queue)

    def take_handed(self) -> Sequence[Part]:
        """Gives up all that the worker has and has not answered: nobody knows whether it was applied."""
        taken = [part for part in self._handed.values() if part.batch.wanted]
        self._handed.clear()
        return taken
