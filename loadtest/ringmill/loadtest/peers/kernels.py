"""The engine in a process of its own, without any network: its kernel against C, and few keys against many."""

import itertools
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter_ns, thread_time_ns

import numpy as np
import numpy.typing as npt

from ringmill.engine.engine import Engine
from ringmill.loadtest import workload
from ringmill.loadtest.peers import protocol
from ringmill.loadtest.peers.c_loop import CLoop
from ringmill.loadtest.processes import APP
from ringmill.pipeline import load_pipelines

BATCH = 4096
_KEYS = 100_000
_MESSAGES = 64
_VARIED_MESSAGES = 512
"""Messages that are cycled through where keys are many: 2 million rows, more than a cache holds."""

_FILLS = 3
"""Times that a table is filled with the same batches. What growth costs, each of them pays in the same batch."""

Buffer = npt.NDArray[np.uint8]
Apply = Callable[[Buffer, int], int]


def make_engine() -> Engine:
    """The engine of the benchmark's pipeline, owning every key."""
    pipeline = load_pipelines(APP)[workload.PIPELINE]
    return Engine(pipeline.compile(), events_max=BATCH)


def buffers(messages: list[bytes]) -> list[Buffer]:
    """Messages as the kernels read them."""
    return [np.frombuffer(message, np.uint8) for message in messages]


class AgainstC:
    """Both loops over the same decoded columns."""

    def __init__(self, compiler: str) -> None:
        self._engine = make_engine()
        self._c = CLoop(compiler)
        self._out = np.zeros_like(self._engine.columns.out_values)
        self._messages = buffers(workload.messages(_MESSAGES, BATCH, _KEYS))
        for message in itertools.chain(buffers(workload.every_key(_KEYS, BATCH)), self._messages):
            self._check_equal(message)

    def _check_equal(self, message: Buffer) -> None:
        """Refuses to compare times of loops that do not give the same results."""
        count, _ = self._engine.decode(message, 0, message.size)
        rejected = self._c.apply(count, message, self._engine.columns, self._out)
        rejected += self._engine.apply(message, count)
        if rejected:
            raise AssertionError(f"{rejected} events were rejected")
        np.testing.assert_allclose(self._out[:count], self._engine.columns.out_values[:count], rtol=1e-9, atol=1e-9)

    def ours(self, batches: int) -> protocol.Answer:
        """Nanoseconds an event in the compiled pipeline."""
        return self._time(batches, lambda message, count: self._engine.apply(message, count))

    def c(self, batches: int) -> protocol.Answer:
        """Nanoseconds an event in C."""
        columns, out = self._engine.columns, self._out
        return self._time(batches, lambda message, count: self._c.apply(count, message, columns, out))

    def _time(self, batches: int, apply: Apply) -> protocol.Answer:
        spent = events = 0
        for message in itertools.islice(itertools.cycle(self._messages), batches):
            count, _ = self._engine.decode(message, 0, message.size)
            began = perf_counter_ns()
            apply(message, count)
            spent += perf_counter_ns() - began
            events += count
        return {"ns": spent / events}


def against_c(compiler: str) -> None:
    """Measures the fused kernel and the C loop."""
    made = AgainstC(compiler)
    protocol.obey({"ours": made.ours, "c": made.c})


class ByKeys:
    """Two engines: one with few keys, one with many."""

    def __init__(self) -> None:
        self._few = make_engine()
        self._many = make_engine()
        self._messages: dict[str, list[Buffer]] = {}

    def fill(self, few: int, many: int) -> protocol.Answer:
        """Gives each engine its keys; returns what a key of the larger one takes, in bytes."""
        for message in buffers(workload.every_key(few, BATCH)):
            handle(self._few, message)
        messages = workload.every_key(many, BATCH)
        fills_ns = [spent_on_each(make_engine(), messages) for _ in range(_FILLS - 1)]
        resident_before = resident_bytes()
        fills_ns.append(spent_on_each(self._many, messages))
        taken = resident_bytes() - resident_before
        del messages
        for name, count in (("few", few), ("many", many)):
            self._messages[name] = buffers(workload.messages(_VARIED_MESSAGES, BATCH, count, seed=3))
        row = self._many.compiled.row_dtype
        steps = sum(row[step.name].itemsize for step in self._many.compiled.plan.steps)
        return {
            "resident_bytes": taken / many,
            "state_bytes": steps,
            "key_bytes": workload.KEY_BYTES,
            "pause_ms": longest_pause([statistics.median(batch) for batch in zip(*fills_ns, strict=True)]),
            "worst_pause_ms": max(map(longest_pause, fills_ns)),
        }

    def few(self, batches: int) -> protocol.Answer:
        """Events a second with few keys."""
        return self._time(self._few, "few", batches)

    def many(self, batches: int) -> protocol.Answer:
        """Events a second with many keys."""
        return self._time(self._many, "many", batches)

    def _time(self, engine: Engine, name: str, batches: int) -> protocol.Answer:
        supply = itertools.cycle(self._messages[name])
        began = perf_counter_ns()
        for message in itertools.islice(supply, batches):
            handle(engine, message)
        return {"events_s": batches * BATCH / (perf_counter_ns() - began) * 1e9}


def spent_on_each(engine: Engine, messages: list[bytes]) -> list[int]:
    """Processor time of each batch, in nanoseconds: faults of fresh pages included, other processes' turns not."""
    spent: list[int] = []
    for message in buffers(messages):
        began = thread_time_ns()
        handle(engine, message)
        spent.append(thread_time_ns() - began)
    return spent


def longest_pause(spent_ns: Sequence[float]) -> float:
    """What the slowest batch took beyond the median one, in milliseconds."""
    return (max(spent_ns) - statistics.median(spent_ns)) / 1e6


def handle(engine: Engine, message: Buffer) -> bytes:
    """From bytes to bytes; refuses to go on where an event was rejected."""
    count, _ = engine.decode(message, 0, message.size)
    if engine.apply(message, count):
        raise AssertionError("events were rejected")
    return engine.encode(count, b"")


def resident_bytes() -> int:
    """Memory of this process that is in use."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmRSS in /proc/self/status")


def by_keys() -> None:
    """Measures few keys and many."""
    made = ByKeys()
    protocol.obey({"fill": made.fill, "few": made.few, "many": made.many})
