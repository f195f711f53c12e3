"""How a worker is set up."""

from dataclasses import dataclass, field
from pathlib import Path

from ringmill.core.agreement import StreamLimits
from ringmill.core.errors import Code, RingmillError
from ringmill.core.hashing import PARTITIONS
from ringmill.core.maglev import WEIGHT_MAX, check_partitions
from ringmill.transport.choice import Kind


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """One worker process."""

    app: Path
    """File whose pipelines are served."""
    join: str | None = None
    """Balancer's link address, host:port. None: the worker stands alone and owns every key."""
    listen: str | None = None
    """Own public address, host:port, port 0 for any; None: only through the balancer. Bind it to a private address."""
    name: str = "worker-0"
    """Stable across restarts: it decides which keys are this worker's."""
    peer_listen: str = "127.0.0.1:0"
    """Address where other workers reach it, host:port, port 0 for any. Bind it to a private address."""
    peer_advertise: str = ""
    """Address that others are told, where it is not the one that is bound; empty: that one."""
    host_label: str = ""
    """Host that it runs on: copies are kept on different hosts where there are several. Empty: the system's name."""
    zone: str = ""
    """Zone of the host, in the same way; empty: unknown."""
    weight: int = 1
    """Relative share of the keys, 1 to 128."""
    cpu: int | None = None
    """Core to run on, where the system allows it; None: any."""
    transport: Kind = "auto"
    """auto, cq or aio."""
    limits: StreamLimits = field(default_factory=StreamLimits)
    events_max: int = 65_536
    """Events a request may hold; lowered where responses would pass 4 MiB."""
    partitions: int = PARTITIONS
    """Into how many the keys are divided, a prime; the balancer and all workers must agree."""
    keys_max: int = 65_536
    """Keys a partition may hold; the next one is refused OVERLOADED."""
    producers_max: int = 16_384
    """Producers and streams that there is room to know: what one balancer lets in, four times, since a new one does not
    know whom those before it let in within the last hour."""
    reconnect_s: float = 0.2
    """Pause before dialling the balancer again."""
    drain_s: float | None = None
    """How long SIGTERM waits at most. None: with a balancer until another worker has all that this one holds, and else
    until what is in flight is answered, 30 s at most."""
    reflection: bool = True
    """Serve gRPC reflection on the own port."""
    prometheus_port: int | None = None
    """Port of the metrics endpoint on loopback; None: off."""

    def validate(self) -> "WorkerConfig":
        """Returns itself, or raises INVALID_ARGUMENT naming the field to mend."""
        if self.join is None and self.listen is None:
            raise RingmillError(Code.INVALID_ARGUMENT, "a worker needs --join (a balancer) or --listen (its own port)")
        if not 1 <= self.weight <= WEIGHT_MAX:
            raise RingmillError(Code.INVALID_ARGUMENT, f"weight {self.weight} is not within 1 to {WEIGHT_MAX}")
        if not self.name:
            raise RingmillError(Code.INVALID_ARGUMENT, "a worker needs a name")
        host = self.peer_listen.rpartition(":")[0].strip("[]")
        if host in ("", "0.0.0.0", "::") and not self.peer_advertise:
            raise RingmillError(
                Code.INVALID_ARGUMENT, f"--peer-listen {self.peer_listen} needs --peer-advertise: no one can dial that"
            )
        check_partitions(self.partitions)
        if self.events_max < 1 or self.keys_max < 1:
            raise RingmillError(Code.INVALID_ARGUMENT, "events_max and keys_max must be positive")
        return self
