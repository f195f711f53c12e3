"""Who a worker is, and the bounds that it keeps."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """One process of a worker's name."""

    name: str
    """Stable across restarts: it decides the partitions."""
    incarnation: int
    """Random, not 0; of this process alone."""
    weight: int = 1
    address: str = ""
    """host:port of its own public port; empty: none."""
    peer_address: str = ""
    """host:port where primaries reach it; empty: it can hold no copies."""
    host: str = ""
    zone: str = ""
    platform: str = ""
    """What its machine code was made with and for: copies must agree to the last bit."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Times and bounds of a node."""

    heartbeat_ns: int = 100_000_000
    """Until the balancer says otherwise."""
    report_ns: int = 100_000_000
    """How often a report is repeated that no view has answered."""
    silent_ns: int = 700_000_000
    """How long a copy may owe an acknowledgement before it is reported."""
    audit_ns: int = 1_000_000_000
    """How often one partition's state is compared with a copy's. 0: never."""
    audit_bytes_max: int = 8 << 20
    """State larger than this is not compared: exporting it would stop everything else."""
    seeding_offers: int = 64
    """Partitions that one learner was offered and does not have yet."""
    seeding_partitions: int = 32
    """Snapshots on their way to one learner."""
    seeding_bytes: int = 4 << 20
    """Bytes of them, after which the next one waits."""
    seeding_burst: int = 16
    """Snapshots that are exported at once, between two parts."""
    seeding_burst_bytes: int = 512 << 10
    """Bytes of them."""
    mending_ns: int = 500_000_000
    """How long a new primary mends a copy that differs before it gives the copy up."""
    producer_outcomes_bytes: int = 16 << 20
    """Recorded outcomes of one producer, for its retries."""
    outcomes_bytes: int = 1 << 30
    """The same of all; beyond that the longest idle lose theirs."""
    request_bytes_max: int = 4 << 20
    """The largest request that a part may hold."""
