"""One cluster under load, its probes, and the checker that hears of every event: what trials are made on."""

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ringmill.loadtest.chaos.checker import Checker, Findings
from ringmill.loadtest.chaos.cluster import ChaosCluster, Shape
from ringmill.loadtest.chaos.gaps import gap_ms
from ringmill.loadtest.chaos.load import key_names, now_ns
from ringmill.loadtest.chaos.records import Records
from ringmill.loadtest.processes import Process, ProcessFailedError

PROBES_A_WORKER = 2
"""Keys that are probed for each worker. A probe costs about 0.3 ms of processor time in all: so that on two cores most
is left to the cluster, there are few."""
SERVED_S = 30.0
"""How long a key may stay without service before a trial has failed."""
_REST_S = 0.3
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is sent all the time."""

    producers: int = 16
    keys: int = 2_000
    """Keys that the producers share."""
    events_s: float = 5_000.0
    """Of all producers together."""
    batch_events: int = 64
    batches: int = 4
    """Batches of one call, on their way at once."""
    interval_ms: float = 10.0
    """Between two probes of a key: figures are no finer."""


class Run:
    """A cluster, producers and probes. Use it as a context manager: afterwards nothing of it is left but its logs."""

    def __init__(self, name: str, shape: Shape, traffic: Traffic, folder: Path, seed: int, entrance: str = "") -> None:
        """name: makes the producers' names new. folder: for logs and records on their way.

        entrance: where producers and probes dial, if not at the balancer itself.
        """
        self.name = name
        self.cluster = ChaosCluster(shape, folder)
        self.failures: Counter[str] = Counter()
        """How calls and streams failed, in the servers' words."""
        self._traffic = traffic
        self._folder = folder
        self._seed = seed
        self._entrance = entrance
        self._origin_ns = time.monotonic_ns()
        self._probes = PROBES_A_WORKER * shape.workers
        self._keys = traffic.keys + self._probes
        self._checker = Checker(self._keys, traffic.producers + self._probes)
        self._stack = ExitStack()
        self._failed: dict[str, dict[str, int]] = {}

    def __enter__(self) -> Self:
        try:
            self._stack.enter_context(self.cluster)
            traffic, address = self._traffic, self._entrance or self.cluster.address
            self._load = self._child(
                "load",
                address=address,
                run=self.name,
                keys=traffic.keys,
                producers=traffic.producers,
                batch_events=traffic.batch_events,
                batches=traffic.batches,
                events_s=traffic.events_s,
                seed=self._seed,
            )
            self._probe = self._child(
                "probe",
                address=address,
                first_key=traffic.keys,
                keys=self._keys,
                first_producer=traffic.producers,
                interval_ms=traffic.interval_ms,
            )
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def findings(self) -> Findings:
        """What has been checked so far."""
        return self._checker.findings

    @property
    def probe_keys(self) -> Sequence[int]:
        """Numbers of the keys that are probed."""
        return range(self._traffic.keys, self._keys)

    def now_ns(self) -> int:
        """Nanoseconds since the run began, as in the records."""
        return now_ns(self._origin_ns)

    def primaries(self) -> dict[int, str]:
        """The worker that serves each probed key."""
        names = key_names(self._keys)[self._traffic.keys :].tolist()
        return dict(zip(self.probe_keys, self.cluster.locate(names), strict=True))

    def settle(self) -> Records:
        """Collects all records, checks what can be checked, and gives those of the probes."""
        load, loaded = self._flush(self._load, "flush", "load")
        probe, probed = self._flush(self._probe, "flush", "probe")
        self._checker.add(loaded)
        self._checker.add(probed)
        self._checker.check(min(load["settled_ns"], probe["settled_ns"]))
        return probed

    def served_again(self, at_ns: int) -> Records:
        """Records of the probes, once one of each key that was sent after a moment has been answered."""
        rows = self.settle()
        deadline_s = time.monotonic() + SERVED_S
        while missing := [key for key in self.probe_keys if gap_ms(rows, key, at_ns) is None]:
            if time.monotonic() > deadline_s:
                raise ProcessFailedError(f"no answers for {len(missing)} of {len(self.probe_keys)} probed keys")
            time.sleep(_POLL_S)
            rows = np.concatenate([rows, self.settle()])
        return rows

    def pace(self, events_s: float) -> None:
        """Changes the rate of the producers."""
        self._load.do("pace", events_s=events_s)

    def close(self) -> Findings:
        """Ends the traffic, writes once more to every key, and checks all that is left."""
        self._probe.do("rest")
        time.sleep(_REST_S)
        self._checker.add(self._flush(self._probe, "finish", "probe")[1])
        self._checker.add(self._flush(self._load, "finish", "load", keys=self._keys)[1])
        return self._checker.close()

    def report(self) -> dict[str, Any]:
        """What is to be kept of this run."""
        findings = asdict(self.findings)
        return {
            "name": self.name,
            "seconds": round(self.now_ns() / 1e9, 1),
            "findings": findings | {"wrong": dict(self.findings.wrong)},
            "failures": dict(self.failures),
            "crashes": self.cluster.crashes,
            "shape": {"workers": self.cluster.shape.workers, "replicas": self.cluster.shape.replicas},
            "traffic": asdict(self._traffic),
        }

    def _child(self, module: str, **settings: Any) -> Process:
        command = [sys.executable, "-m", "ringmill.loadtest.chaos", module]
        command.append(json.dumps(settings | {"origin_ns": self._origin_ns}))
        return self._stack.enter_context(Process(command, ends_with_stdin=True)).wait_ready()

    def _flush(self, process: Process, command: str, name: str, **arguments: Any) -> tuple[dict[str, Any], Records]:
        path = self._folder / f"{name}.npy"
        answer = process.do(command, path=str(path), **arguments)
        self._failed[name] = answer["failures"]
        self.failures = sum((Counter(each) for each in self._failed.values()), Counter())
        return answer, np.load(path)
