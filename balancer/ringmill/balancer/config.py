"""How a balancer is set up."""

from dataclasses import dataclass, field
from pathlib import Path

from ringmill.balancer.limits import RouterLimits
from ringmill.balancer.rules import OnTotalLoss, Rules
from ringmill.balancer.xds.settings import EdgeTls
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
    """A new cluster serves once so many workers have joined: no key moves while it starts. More may join later."""
    partitions: int = 1021
    """A prime. More balance better; fewer are exported faster."""
    cluster: str = ""
    """Identity of the cluster; workers that belong to another are refused. Empty: the stored one, or a random one."""
    replicas: int = 1
    """Copies of each partition, the primary included."""
    min_in_sync: int = 1
    """Copies, the primary included, without which a partition takes no events."""
    on_total_loss: OnTotalLoss = ""
    """What becomes of a partition whose every copy is lost. Empty: restart-empty with one copy, else refuse."""
    state_dir: Path | None = None
    """Folder where the view outlives this process. None: the cluster ends with it."""
    xds_listen: str | None = None
    """Address of the control plane for proxies, host:port; None: there is none. Whoever reaches it learns where
    everybody is: keep it private."""
    edge: str = "127.0.0.1:7400"
    """Where proxies listen for clients, ip:port."""
    advertise: str = ""
    """The public address as proxies reach it, ip:port, where it is not the one that is bound; empty: that one."""
    edge_tls: EdgeTls = "none"
    """What clients meet there: clear text, a certificate, or one that asks for theirs. Proxies have it from files."""
    direct: bool = False
    """Whether proxies send a stream that names its one key straight to that key's worker."""
    heartbeat_ms: int = 100
    """How often an idle worker shows that it is alive."""
    silence_ms: int = 600
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
        """What the view manager goes by."""
        return Rules(
            expected_workers=self.expected_workers,
            partitions=self.partitions,
            cluster=self.cluster,
            replicas=self.replicas,
            min_in_sync=self.min_in_sync,
            on_total_loss=self.on_total_loss,
            heartbeat_ms=self.heartbeat_ms,
            silence_ms=self.silence_ms,
        )

    def validate(self) -> "BalancerConfig":
        """Returns itself, or raises INVALID_ARGUMENT naming what to mend."""
        self.rules.validate()
        addresses = [("listen", self.listen), ("link", self.link)]
        for name, address in addresses + ([("xds_listen", self.xds_listen)] if self.xds_listen is not None else []):
            port = address.rpartition(":")[2]
            if ":" not in address or not port.isdigit() or int(port) > 65535:
                raise RingmillError(Code.INVALID_ARGUMENT, f"{name} {address!r} is no host:port")
        if self.grace_s < 0 or self.status_interval_s < 0:
            raise RingmillError(Code.INVALID_ARGUMENT, "grace_s and status_interval_s must not be negative")
        return self
