"""What one schedule is about: drawn from its seed, so that schedules differ in kind and not only in luck."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random

PARTITIONS = 7
PHASE_MS = (120, 600)
"""How long faults go on."""

FAULTS: Mapping[str, float] = {
    "reset": 6.0,
    "cut_one_way": 2.0,
    "cut_both_ways": 2.0,
    "pause_worker": 2.0,
    "pause_balancer": 1.0,
    "pause_client": 0.5,
    "crash_worker": 3.0,
    "crash_balancer": 1.0,
    "crash_client": 0.7,
    "skew": 0.7,
    "store": 2.0,
    "gale": 1.0,
    "scale": 0.7,
    "drain": 0.7,
    "restart_all": 0.4,
}
"""Faults and how often each comes, compared with the others."""


@dataclass(frozen=True, slots=True)
class Sender:
    """One client."""

    producer: str
    """Its name; empty: it has none."""
    ack: str
    batches: int
    events_max: int
    in_flight: int
    think_ms: float
    """Mean pause between batches."""
    timeout_ms: int
    """0: it waits for ever."""
    replays: bool
    """Whether, when its process has died, the next one sends all batches again from the first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One schedule."""

    seed: int
    workers: int
    replicas: int
    min_in_sync: int
    senders: tuple[Sender, ...]
    keys: int
    phase_ms: int
    delay_us: int
    slow: float
    uneven: bool
    """Whether some paths are much slower than others, so that news comes round about before it comes straight."""
    stall_ms: int
    """How long a learner may take before it is given up."""
    silent_ms: int
    """How long a copy may owe an acknowledgement before its primary says so."""
    seeding: int
    """Snapshots on their way to one learner."""
    reckless: bool
    """Whether faults may take the last copy of a partition; then only safety is asked for."""
    total_loss: str
    every_ms: float
    """Mean time between faults."""
    faults: Mapping[str, float] = field(default_factory=dict)
    """The faults that may come, and their weights."""


BUSY_FAULTS = ("crash_worker", "cut_one_way", "drain", "gale", "pause_worker", "reset", "restart_all", "scale")
"""What moves partitions."""


KINDS = 10
"""A seed's remainder by this says what kind of schedule it has."""


def draw(seed: int) -> Plan:
    """The plan of a seed: of every fifth a busy one, in which partitions move under batches that touch many of them; of
    every tenth a divided one, in which workers that are taken for dead go on."""
    if seed % KINDS == 1:
        return _divided(seed)
    return _busy(seed) if seed % 5 == 0 else _mixed(seed)


def _divided(seed: int) -> Plan:
    random = Random(seed ^ 0x0077)
    plan = _mixed(seed)
    phase_ms = random.randint(300, 600)
    faults = {"isolate": 4.0, "pause_worker": 2.0}
    for name in random.sample(["crash_client", "drain", "gale", "reset", "scale", "skew"], random.randint(0, 2)):
        faults[name] = 2.0
    return replace(
        plan,
        replicas=max(2, plan.replicas),
        senders=_hurried(random, plan.senders, phase_ms),
        keys=40,
        phase_ms=phase_ms,
        delay_us=random.choice([300, 1000, 3000]),
        slow=random.choice([0.0, 0.02, 0.1]),
        uneven=True,
        reckless=random.random() < 0.5,
        total_loss="refuse",
        every_ms=random.choice([30.0, 80.0]),
        faults=faults,
    )


def _hurried(random: Random, senders: tuple[Sender, ...], phase_ms: int) -> tuple[Sender, ...]:
    """Two of the senders at most, with many batches of many events."""
    return tuple(
        replace(
            sender,
            batches=(batches := random.randint(15, 30)),
            events_max=6,
            in_flight=8,
            think_ms=phase_ms / batches * 0.8,
            timeout_ms=0,
        )
        for sender in senders[:2]
    )


def _busy(seed: int) -> Plan:
    random = Random(seed ^ 0x3D17)
    plan = _mixed(seed)
    phase_ms = random.randint(150, 400)
    chosen = random.sample(BUSY_FAULTS, random.randint(1, 4))
    if plan.replicas == 1 and "crash_worker" in chosen:
        chosen = ["restart_all"]
    senders = _hurried(random, plan.senders, phase_ms)
    return replace(
        plan,
        senders=senders,
        keys=40,
        phase_ms=phase_ms,
        delay_us=random.choice([300, 1000, 3000]),
        uneven=random.random() < 0.8,
        every_ms=random.choice([15.0, 40.0]),
        faults={name: FAULTS[name] for name in sorted(chosen)},
    )


def _mixed(seed: int) -> Plan:
    random = Random(seed ^ 0x51AB)
    workers = random.choice([2, 2, 3, 3, 3, 4, 5])
    replicas = min(random.choice([1, 2, 2, 2, 2, 3, 3]), workers)
    phase_ms = random.randint(*PHASE_MS)
    names = ["alpha", "beta", "gamma", "delta"]
    senders = tuple(_draw_sender(random, names[place], phase_ms) for place in range(random.choice([1, 1, 2, 2, 3])))
    # A few kinds of fault at a time: what is often masked by another fault comes alone in some schedules.
    chosen = random.sample(sorted(FAULTS), random.randint(2, len(FAULTS)))
    if replicas == 1 and "crash_worker" in chosen:
        chosen.remove("crash_worker")
    reckless = random.random() < 0.25
    return Plan(
        seed=seed,
        workers=workers,
        replicas=replicas,
        min_in_sync=2 if replicas > 1 and random.random() < 0.15 else 1,
        senders=senders,
        keys=random.choice([3, 8, 20, 40] if all(sender.batches < 30 for sender in senders) else [20, 40]),
        phase_ms=phase_ms,
        delay_us=random.choice([50, 300, 1000, 4000]),
        slow=random.choice([0.0, 0.0, 0.02, 0.1]),
        uneven=random.random() < 0.4,
        stall_ms=random.choice([60, 600, 600]),
        silent_ms=random.choice([60, 280, 280]),
        seeding=random.choice([1, 4, 16]),
        reckless=reckless,
        total_loss="restart-empty" if reckless and random.random() < 0.5 else "refuse",
        every_ms=random.choice([20.0, 40.0, 100.0]),
        faults={name: FAULTS[name] for name in sorted(chosen)},
    )


def _draw_sender(random: Random, name: str, phase_ms: int) -> Sender:
    batches = random.choice([random.randint(2, 8), random.randint(2, 8), random.randint(2, 8), random.randint(20, 40)])
    return Sender(
        producer=name if random.random() < 0.75 else "",
        ack=random.choice(["", "all", "primary"]),
        batches=batches,
        events_max=random.choice([1, 2, 4, 8] if batches < 20 else [1, 3]),
        in_flight=random.choice([1, 2, 8]),
        think_ms=phase_ms / batches * random.choice([0.1, 0.6, 1.2]),
        timeout_ms=random.choice([0, 0, 0, 0, 30, 200]),
        replays=random.random() < 0.5,
    )
