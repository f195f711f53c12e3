"""What is done to a cluster, one trial after the other, and what its callers notice."""

import math
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ringmill.loadtest.chaos.cluster import BALANCER, START_S
from ringmill.loadtest.chaos.gaps import gap_ms, pause_ms, worst
from ringmill.loadtest.chaos.records import Records
from ringmill.loadtest.chaos.run import Run
from ringmill.loadtest.processes import Process, ProcessFailedError, peer

Trial = dict[str, Any]
"""What a trial found, as it is kept: kind, times in milliseconds, and whom it befell."""

CALM_S = (0.05, 0.15)
"""Service before each trial, so that it comes at no particular moment."""
FROZEN_S = (1.0, 2.0)
APART_S = (0.0, 0.1)
"""Between two deaths in a row: before, while and after the first is dealt with."""
QUIET_CLIENTS = 2
QUIET_BATCHES = 400
_BATCH_EVENTS = 4096


@dataclass(frozen=True, slots=True)
class Plan:
    """How many trials of each kind."""

    kills: int = 0
    stops: int = 0
    both: int = 0
    balancer_kills: int = 0
    balancer_stops: int = 0
    scales: int = 0
    restarts: int = 0
    quiet_minutes: float = 0.0

    def kinds(self, seed: int) -> list[str]:
        """All trials in their order: what dies is mixed by chance, planned moves and quiet follow."""
        sudden = ["kill"] * self.kills + ["stop"] * self.stops + ["both"] * self.both
        sudden += ["balancer-kill"] * self.balancer_kills + ["balancer-stop"] * self.balancer_stops
        random.Random(seed).shuffle(sudden)
        planned = ["scale"] * self.scales + ["restart"] * self.restarts
        return [*sudden, *planned, *["quiet"] * math.ceil(self.quiet_minutes)]

    @property
    def quiet_s(self) -> float:
        """Seconds of one quiet trial."""
        return 60 * self.quiet_minutes / max(1, math.ceil(self.quiet_minutes))


class Trials:
    """Makes trials on a run."""

    def __init__(self, run: Run, seed: int, quiet_s: float) -> None:
        """quiet_s: length of one quiet trial."""
        self._run = run
        self._cluster = run.cluster
        self._random = random.Random(seed)
        self._quiet_s = quiet_s
        self._kinds: dict[str, Callable[[], list[Trial]]] = {
            "kill": lambda: [self._sudden("kill", [self._any_worker()], signal.SIGKILL)],
            "stop": lambda: [self._sudden("stop", [self._any_worker()], signal.SIGSTOP)],
            "both": lambda: [self._sudden("both", self._random.sample(self._cluster.workers, 2), signal.SIGKILL)],
            "row": lambda: [self._in_a_row()],
            "balancer-kill": lambda: [self._sudden("balancer-kill", [BALANCER], signal.SIGKILL)],
            "balancer-stop": lambda: [self._sudden("balancer-stop", [BALANCER], signal.SIGSTOP)],
            "scale": self._scale,
            "restart": lambda: [self._planned("restart", restart_all=True)],
            "quiet": lambda: [self._quiet()],
        }

    def make(self, kind: str) -> list[Trial]:
        """One trial; a planned one may be several. Raises ProcessFailedError if the cluster does not become whole."""
        self._cluster.wait_whole()
        return self._kinds[kind]()

    def _any_worker(self) -> str:
        return self._random.choice(self._cluster.workers)

    def _calm(self) -> None:
        """Forgets earlier probes, and lets some be answered."""
        self._run.settle()
        time.sleep(self._random.uniform(*CALM_S))

    def _in_a_row(self) -> Trial:
        """The second one dies while the cluster is busy with the death of the first."""
        victims = self._random.sample(self._cluster.workers, 2)
        return self._sudden("row", victims, signal.SIGKILL, self._random.uniform(*APART_S))

    def _sudden(self, kind: str, victims: Sequence[str], number: int, apart_s: float = 0.0) -> Trial:
        primaries = self._run.primaries()
        self._calm()
        epoch = self._cluster.epoch() or 0
        at_ns = self._run.now_ns()
        pids = [self._cluster.pid(victim) for victim in victims]
        for place, victim in enumerate(victims):
            if place:
                time.sleep(apart_s)
            self._cluster.signal(victim, number)
        if number == signal.SIGSTOP:
            time.sleep(self._random.uniform(*FROZEN_S))
            for pid in pids:
                _thaw(pid)
        if BALANCER in victims:
            self._await_balancer(pids[0] if number == signal.SIGKILL else 0)
        whole_s = self._cluster.wait_whole(after=-1 if BALANCER in victims else epoch)
        rows = self._run.served_again(at_ns)
        theirs = [key for key in self._run.probe_keys if primaries[key] in victims or BALANCER in victims]
        others = [key for key in self._run.probe_keys if key not in theirs]
        return {
            "kind": kind,
            "victims": list(victims),
            "gap_ms": worst([gap_ms(rows, key, at_ns) for key in theirs]),
            "others_ms": worst([gap_ms(rows, key, at_ns) for key in others]),
            "views": (self._cluster.epoch() or 0) - epoch,
            "whole_s": round(whole_s, 3),
        }

    def _await_balancer(self, dead: int) -> None:
        """Waits until another process than the dead one answers."""
        self._cluster.until(
            lambda: self._cluster.pid(BALANCER) != dead and self._cluster.epoch() is not None,
            START_S,
            "the balancer does not answer",
        )

    def _scale(self) -> list[Trial]:
        """One worker more and one less; then one is drained, and its place filled again."""
        workers = len(self._cluster.workers)
        done = [self._planned("scale-up", scale_to=workers + 1), self._planned("scale-down", scale_to=workers)]
        done.append(self._planned("drain", drain=self._any_worker()))
        return [*done, self._planned("refill", scale_to=workers)]

    def _planned(self, kind: str, **what: Any) -> Trial:
        before = self._run.primaries()
        self._calm()
        began_s = time.monotonic()
        *_, told = self._cluster.move(**what)
        took_s = time.monotonic() - began_s
        self._cluster.wait_whole()
        rows = self._run.served_again(self._run.now_ns())
        after = self._run.primaries()
        moved = [key for key in self._run.probe_keys if before[key] != after[key] or kind == "restart"]
        return {
            "kind": kind,
            "pauses_ms": _pauses(rows, moved),
            "others_ms": worst(_pauses(rows, [key for key in self._run.probe_keys if key not in moved])),
            "told_pause_ms": told.pause_us / 1e3,
            "moved": told.moved,
            "took_s": round(took_s, 3),
        }

    def _quiet(self) -> Trial:
        """Full load, at which nobody must be taken for dead."""
        epoch = self._cluster.epoch()
        deadline_s = time.monotonic() + self._quiet_s
        with ExitStack() as stack:
            clients = [stack.enter_context(peer("ours.client", self._cluster.address)) for _ in range(QUIET_CLIENTS)]
            pool = stack.enter_context(ThreadPoolExecutor(QUIET_CLIENTS))
            events = sum(pool.map(lambda client: _stream_until(client, deadline_s), clients))
        rows = self._run.settle()
        return {
            "kind": "quiet",
            "seconds": self._quiet_s,
            "views": (self._cluster.epoch() or 0) - (epoch or 0),
            "events_s": events / self._quiet_s,
            "others_ms": worst(_pauses(rows, self._run.probe_keys)),
        }


def _pauses(rows: Records, keys: Sequence[int]) -> list[float]:
    found = (pause_ms(rows, key) for key in keys)
    return [round(each, 3) for each in found if each is not None]


def _stream_until(client: Process, deadline_s: float) -> int:
    """Keeps the cluster as busy as it can be, with batches of readings; gives the events."""
    sent = 0
    while time.monotonic() < deadline_s:
        client.do("stream", count=QUIET_BATCHES, size=_BATCH_EVENTS, key_count=100_000, in_flight=4)
        sent += QUIET_BATCHES * _BATCH_EVENTS
    return sent


def _thaw(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        raise ProcessFailedError(f"process {pid} ended while it was frozen") from None
