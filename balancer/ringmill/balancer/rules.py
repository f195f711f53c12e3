"""What the view manager goes by."""

from dataclasses import dataclass
from typing import Literal

from ringmill.core.errors import Code, RingmillError
from ringmill.core.maglev import is_prime

OnTotalLoss = Literal["", "refuse", "restart-empty"]

COPIES_MAX = 8
"""Copies of one partition, the primary included."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the view manager goes by. Times are in milliseconds."""

    expected_workers: int = 1
    """A new cluster forms when this many have registered: no key moves while it starts. Further ones join later."""
    partitions: int = 1021
    """A prime. More partitions balance better and make views longer."""
    cluster: str = ""
    """Identity of a new cluster. A worker that remembers another one is refused."""
    replicas: int = 1
    """Copies of each partition, the primary included."""
    min_in_sync: int = 1
    """Copies, the primary included, without which a partition takes no events."""
    on_total_loss: OnTotalLoss = ""
    """What becomes of a partition whose every copy is lost: it is refused for good, or begins anew without state.
    Empty: it begins anew if one copy is all that was asked for, and is refused otherwise."""
    heartbeat_ms: int = 100
    """How often a worker shows that it is alive when it has nothing else to say."""
    silence_ms: int = 600
    """A worker silent for so long is taken for dead. A process that ends breaks its link at once and is noticed then;
    this is for those that hang, and a machine under load must not be taken for one."""
    grace_ms: int = 150
    """How long a worker whose link broke and whose port still answers may take to dial again."""
    rejoin_ms: int = 5000
    """The same for workers of a stored view when a balancer starts."""
    late_ms: int = 200
    """A tick that comes later than this tells of our own sleep, and all deadlines begin anew."""
    tick_ms: int = 20
    """How often `tick` is meant to be called."""
    pace_ms: int = 10
    """Planned changes of the view are at least so far apart. The removal of the dead waits for nothing."""
    store_retry_ms: int = 200
    """Pause after the store failed."""
    stall_ms: int = 5000
    """A primary none of whose learners catches up in this time is taken to be stuck: they are withdrawn, and tried
    again after a pause. Doubles with every failure."""
    handover_ms: int = 1000
    """The same for a partition that waits for its heir, and takes no events meanwhile."""
    count_ms: int = 40
    """Learners that have caught up are counted together: none waits longer than this for the others."""
    learners_a_primary: int = 1024
    """Partitions that one primary is asked to copy at a time. It copies a few of them at a time, and nobody waits for
    those that are not begun."""
    learners_max: int = 8192
    """The same for all primaries together."""
    handover_group: int = 256
    """Partitions that change hands at a time. All of them pause for about one round trip; and as most batches have an
    event of one of them, everybody waits once for each group."""

    @property
    def restarts_empty(self) -> bool:
        """Whether a partition whose copies are all lost begins anew."""
        return self.on_total_loss == "restart-empty" or (not self.on_total_loss and self.replicas == 1)

    def validate(self) -> None:
        """Raises INVALID_ARGUMENT when the rules contradict each other."""
        if not is_prime(self.partitions):
            raise _wrong(f"{self.partitions} partitions: the number must be a prime")
        if not 1 <= self.expected_workers < self.partitions:
            raise _wrong(f"workers: give from 1 to {self.partitions - 1}")
        if not 1 <= self.replicas <= COPIES_MAX:
            raise _wrong(f"replicas: give from 1 to {COPIES_MAX}, the primary included")
        if not 1 <= self.min_in_sync <= self.replicas:
            raise _wrong(f"min_in_sync: give from 1 to the number of replicas, {self.replicas}")
        if self.on_total_loss not in ("", "refuse", "restart-empty"):
            raise _wrong(f"on_total_loss is refuse or restart-empty, not {self.on_total_loss!r}")
        if self.heartbeat_ms < 1 or self.tick_ms < 1 or self.silence_ms < 3 * self.heartbeat_ms:
            raise _wrong("silence_ms must be at least three times heartbeat_ms")
        if self.silence_ms < self.late_ms + 2 * self.heartbeat_ms:
            raise _wrong("silence_ms must be at least late_ms and two heartbeats, or our own sleep deposes workers")


def _wrong(why: str) -> RingmillError:
    return RingmillError(Code.INVALID_ARGUMENT, why)
