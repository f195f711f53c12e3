"""How a balancer is set up."""

from dataclasses import dataclass, field

from ringmill.balancer.membership import Rules
from ringmill.balancer.router import RouterLimits
from ringmill.core.errors import Code, RingmillError
from ringmill.transport.choice import Kind


@dataclass(frozen=True, slots=True)
class BalancerConfig:
    """One balancer process."""

    listen: str = "127.0.0.1:7400"
    """Public address, host:port; port 0 is any free one."""
    link: str = "127.0.0.1:0"
    """Address where workers join, host:port. Whoever reaches it can join and take keys: keep it private."""
    expected_workers: int = 1
    """The cluster serves once so many workers have joined. Too few: keys would move while it starts."""
    partitions: int = 1021
    """A prime. More balance better; fewer are exported faster."""
    cluster: str = ""
    """Name of the cluster; workers that ask for another are refused. Empty: not checked."""
    heartbeat_ms: int = 250
    """How often an idle worker shows that it is alive."""
    silence_ms: int = 5000
    """A worker silent for so long is taken for dead. Shorter finds a hung worker sooner, and deposes a slow one."""
    limits: RouterLimits = field(default_factory=RouterLimits)
    transport: Kind = "auto"
    """How gRPC is driven: completion queue, grpc.aio, or whichever a self-test chooses."""
    grace_s: float = 5.0
    """How long SIGTERM waits for what is in flight."""
    reflection: bool = True
    """Serve gRPC reflection."""
    status_interval_s: float = 0.0
    """Print a line of JSON with counters this often; 0: never."""
    prometheus_port: int | None = None
    """Port of the metrics endpoint on loopback; None: off."""

    @property
    def rules(self) -> Rules:
        """What the membership goes by."""
        return Rules(
            expected_workers=self.expected_workers,
            partitions=self.partitions,
            cluster=self.cluster,
            heartbeat_ms=self.heartbeat_ms,
            silence_ms=self.silence_ms,
        )

    def validate(self) -> "BalancerConfig":
        """Returns itself, or raises INVALID_ARGUMENT naming what to mend."""
        self.rules.validate()
        for name, address in (("listen", self.listen), ("link", self.link)):
            port = address.rpartition(":")[2]
            if ":" not in address or not port.isdigit() or int(port) > 65535:
                raise RingmillError(Code.INVALID_ARGUMENT, f"{name} {address!r} is no host:port")
        if self.grace_s < 0 or self.status_interval_s < 0:
            raise RingmillError(Code.INVALID_ARGUMENT, "grace_s and status_interval_s must not be negative")
        return self
