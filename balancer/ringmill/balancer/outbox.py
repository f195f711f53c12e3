"""What waits for one worker's link, and what the worker has been handed and not yet answered. Pure.

Natural batching: while a write is in flight parts gather, and then travel as one frame.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ringmill.balancer.batch import EXPIRED, Part
from ringmill.core.frame import part_prefix
from ringmill.core.previous import Previous


class Outbox:
    """The parts of one link, oldest first."""

    def __init__(self, link: int, frame_bytes_max: int, previous: Previous) -> None:
        self.link = link
        self.busy = False
        """Whether a write is in flight."""
        self.queued_bytes = 0
        """Size of the requests that wait."""
        self.blocked: set[int] = set()
        """Streams that are not read until this link has caught up."""
        self.stalled = False
        """Whether its worker has refused something as not its own: it is handed nothing until it has answered all."""
        self.resume_ns = 0
        """While it is stalled and nothing is unanswered: when it is tried again."""
        self._frame_bytes_max = frame_bytes_max
        self._previous = previous
        self._queue: deque[Part] = deque()
        self._handed: dict[int, Part] = {}
        self._provisional: dict[int, Part] = {}
        """Parts answered before all replicas held them."""
        self._said: list[bytes] = []
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

    @property
    def uncommitted(self) -> int:
        """Parts that the worker has answered and its replicas may not hold."""
        return len(self._provisional)

    @property
    def ready(self) -> bool:
        """Whether there is something to write, and no write in flight."""
        return not self.busy and bool(self._said or (self._queue and not self.stalled))

    def put(self, part: Part) -> None:
        """Adds a part to what waits."""
        self._queue.append(part)
        self.queued_bytes += part.size

    def say(self, message: bytes) -> None:
        """Adds an encoded JoinResponse to the next frame, before its parts."""
        self._said.append(message)

    def frame(self, now_ns: int) -> tuple[bytes, Sequence[Part]]:
        """Takes what waits, up to the size of a frame, as one frame (empty: nothing), and the parts that are too late.

        From here on the worker may have applied the frame's parts: they can no longer be refused.
        """
        chunks, self._said = self._said, []
        late: list[Part] = []
        queue = self._queue
        size = self._frame_bytes_max if self.stalled else 0
        while queue and size < self._frame_bytes_max:
            part = queue.popleft()
            request, batch, flags = part.request, part.batch, part.flags
            self.queued_bytes -= part.size
            if not request or not batch.wanted:
                continue
            if part.deadline_ns and not part.answered and now_ns > part.deadline_ns:
                if part.refusable:
                    late.append(part)
                    continue
                flags |= EXPIRED  # a worker begins with a part when it gets it: it looks at no clock
            chunks.append(self._hand(part, flags, len(request)))
            chunks.append(request)
            batch.handed_ns = now_ns
            size += len(request)
        return b"".join(chunks), late

    def _hand(self, part: Part, flags: int, request_bytes: int) -> bytes:
        """Notes that the worker has the part; gives what stands before its request in the frame."""
        identity, sequence = part.identity, part.batch.number
        if not part.previous:
            part.previous = self._previous.write(part.touched, sequence, identity.last, identity.view)
        acknowledged = identity.acknowledged
        if acknowledged >= sequence:
            acknowledged = sequence - 1
        self._last_id = number = self._last_id + 1
        self._handed[number] = part
        return part_prefix(number, identity.prefix, sequence, acknowledged, part.previous, flags, request_bytes)

    def answered(self, number: int) -> Part | None:
        """Takes the part that an answer is for; None if the worker has no such part."""
        part = self._handed.pop(number, None)
        return part if part is not None else self._provisional.pop(number, None)

    def keep(self, number: int, part: Part) -> None:
        """Keeps a part whose answer came before all replicas held it."""
        self._provisional[number] = part

    def committed(self, number: int) -> Part | None:
        """Takes a part that all replicas hold by now."""
        return self._provisional.pop(number, None)

    def take_queued(self) -> Sequence[Part]:
        """Gives up all that waits."""
        taken = [part for part in self._queue if part.wanted]
        self._queue.clear()
        self.queued_bytes = 0
        return taken

    def take_late(self, now_ns: int) -> Sequence[Part]:
        """Gives up what waits beyond its deadline and was never handed over."""
        late = [part for part in self._queue if part.late(now_ns)]
        if late:
            self._keep(part for part in self._queue if not part.late(now_ns))
        return late

    def forget_unwanted(self) -> None:
        """Lets go of what waits and nobody wants any more."""
        self._keep(part for part in self._queue if part.wanted)

    def _keep(self, parts: Iterable[Part]) -> None:
        self._queue = deque(parts)
        self.queued_bytes = sum(part.size for part in self._queue)

    def handed(self) -> Sequence[Part]:
        """All that the worker may have applied and that is not known to be committed."""
        return [part for parts in (self._handed, self._provisional) for part in parts.values() if part.wanted]

    def take_handed(self) -> Sequence[Part]:
        """Gives up all of that: nobody knows whether it was applied."""
        taken = self.handed()
        self._handed.clear()
        self._provisional.clear()
        return taken

    def take_provisional(self, lost: Callable[[Part], bool]) -> Sequence[Part]:
        """Gives up what the worker answered and cannot commit any more."""
        taken = {number: part for number, part in self._provisional.items() if lost(part)}
        for number in taken:
            del self._provisional[number]
        return [part for part in taken.values() if part.wanted]
