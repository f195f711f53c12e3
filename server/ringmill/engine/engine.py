"""A compiled pipeline with its state and the arrays of one batch: bytes of events in, bytes of outcomes out."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.core.columns import Columns, Emissions
from ringmill.core.errors import Reason
from ringmill.core.memory import Bytes
from ringmill.engine.compiled import CompiledPipeline
from ringmill.engine.fuse import array_of, returns_labels
from ringmill.engine.labels import LabelStore
from ringmill.engine.lookup import PREFETCH_BLOCK
from ringmill.engine.panes import working_memory
from ringmill.engine.plan import Plan
from ringmill.engine.table import Table

PREFIX_BYTES_MAX = 4096
"""Bytes that `encode` puts before the outcomes at most."""
REJECTION_BYTES_MAX = 224
"""Bound of an encoded rejection: a detail of 200 bytes and its tags."""
DETAIL_BYTES_MAX = 200


class Engine:
    """Runs batches of one pipeline, one after the other: decode, apply, encode. Used by one thread.

    events_max: events of the largest batch. keys_max: keys that one partition may hold.
    """

    def __init__(self, compiled: CompiledPipeline, events_max: int = 4096, keys_max: int = 65_536) -> None:
        self.compiled = compiled
        self.columns = Columns.allocate(events_max, compiled.shape)
        self.emissions = Emissions.allocate(events_max, compiled.shape)
        """What the last batch made windows emit."""
        self.table = Table.allocate(compiled.row_dtype, compiled.template, compiled.partitions, keys_max)
        kept = compiled.partitions if returns_labels(compiled.plan) else 1
        self.labels = LabelStore(compiled.plan.labels, kept)
        self.head: Bytes = np.empty(0, np.uint8)
        """What `decode` copied of the message beside events; grows to the longest message."""
        self.owned: npt.NDArray[np.uint8] = np.ones(compiled.partitions, np.uint8)
        """Which partitions this engine serves; events of others are rejected UNAVAILABLE."""
        outcome_bytes = max(compiled.outcome_bytes_max, REJECTION_BYTES_MAX)
        self._out: Bytes = np.empty(PREFIX_BYTES_MAX + events_max * outcome_bytes, np.uint8)
        self._attached: Bytes = np.empty(0, np.uint8)
        self._details, self._detail_ranges = detail_table(compiled.plan)
        columns = self.columns
        self._inputs = (columns.events, columns.values, columns.labels, columns.integers)
        outputs = (columns.out_values, columns.out_labels, columns.out_integers)
        likely, backup = np.zeros(PREFETCH_BLOCK, np.int64), np.zeros(1, compiled.row_dtype)
        stores = self.table.arrays, self.labels.arrays
        work = working_memory(compiled.plan.windows)
        self._applied = (*self._inputs, *outputs, self.owned, likely, backup, *stores, work, self.emissions)
        self._encoded = (columns.events, columns.out_values, columns.out_integers, columns.out_labels)

    def own(self, owned: npt.NDArray[Any]) -> None:
        """Sets which partitions are served: one truth value for each."""
        self.owned[:] = owned

    def decode(self, buffer: Bytes, start: int, stop: int) -> tuple[int, int]:
        """Fills the columns from the request in buffer[start:stop].

        Returns the number of events and the length of `head`, or a negative count (core.codec.layout) for a message
        that must be refused as a whole. buffer: uint8[n] in C order, as `np.frombuffer(message, np.uint8)` gives it.
        """
        assert (buffer.itemsize, buffer.ndim) == (1, 1), "compiled code takes the buffer for bytes"
        if self.head.size < stop - start:
            self.head = np.empty(max(stop - start, 2 * self.head.size), np.uint8)
        return self.compiled.decode(buffer, start, stop, self.compiled.partitions, self.head, *self._inputs)

    def apply(self, buffer: Bytes, count: int) -> int:
        """Runs the steps on the first `count` events, whose bytes are in `buffer`. Returns how many were rejected."""
        if not 0 <= count <= self.columns.events.size:
            raise ValueError(f"{count} events: the columns hold {self.columns.events.size}")
        return self.compiled.apply(count, buffer, *self._applied)

    def encode(self, count: int, prefix: bytes, emissions: bool = False) -> bytes:
        """The outcomes of the first `count` events as the end of a response that begins with `prefix`.

        emissions: put what the batch made windows emit into them, too.
        """
        position = len(prefix)
        if position > PREFIX_BYTES_MAX:
            raise ValueError(f"a response's head of {position} bytes; {PREFIX_BYTES_MAX} at most")
        self._out[:position] = np.frombuffer(prefix, np.uint8)
        if emissions and self.emissions.counts[0]:
            return self._attach(count, position, self._put(count, self._encoded, position))
        return self._write(count, self._encoded, position)

    def encode_columns(self, columns: Columns, count: int) -> bytes:
        """The outcomes of `count` events whose outputs, and reasons, were copied from this engine's columns before."""
        copied = (columns.events, columns.out_values, columns.out_integers, columns.out_labels)
        if not count <= min(map(len, copied)) <= self.columns.events.size:
            raise ValueError(f"{count} events: the copies hold another number")
        return self._write(count, copied, 0)

    def _write(self, count: int, columns: tuple[Any, ...], position: int) -> bytes:
        return self._out[: self._put(count, columns, position)].tobytes()

    def _attach(self, count: int, start: int, stop: int) -> bytes:
        """The response whose outcomes are in _out[start:stop], with their emissions."""
        assert self.compiled.attach is not None
        if self._attached.size == 0:
            self._attached = np.empty_like(self._out)
        heap = self.labels.heap
        length = self.compiled.attach(count, self.emissions, heap, self._out, start, stop, self._attached)
        assert length >= 0, "the bounds of an outcome are wrong"
        return self._attached[:length].tobytes()

    def _put(self, count: int, columns: tuple[Any, ...], position: int) -> int:
        """Encodes outcomes into _out[position:]; returns where they end."""
        stop = self.compiled.encode(
            count, *columns, self.labels.heap, self._details, self._detail_ranges, self._out, position
        )
        assert stop >= position, "the bounds of an outcome are wrong"
        return int(stop)


def detail_table(plan: Plan) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """What people read in a rejection, by reason: the texts one after the other, and int64[reasons, 2] their ranges."""
    texts = _details(plan)
    joined = bytearray()
    ranges = np.zeros((max(texts) + 1, 2), np.int64)
    for reason, text in texts.items():
        encoded = text.encode()[:DETAIL_BYTES_MAX].decode(errors="ignore").encode()
        ranges[reason] = len(joined), len(joined) + len(encoded)
        joined += encoded
    return np.frombuffer(bytes(joined), np.uint8).copy(), ranges


def _details(plan: Plan) -> dict[Reason, str]:
    steps = ", ".join(step.name for step in plan.steps)
    return {
        Reason.KEY_INVALID: "the key must have 1 to 1024 bytes",
        Reason.VALUES_INVALID: f"values must be {_wanted(plan, 'values')}; finite, NaN only where nullable",
        Reason.LABELS_INVALID: f"labels must be {_wanted(plan, 'labels')}; at most 1024 bytes each",
        Reason.INTEGERS_INVALID: f"integers must be {_wanted(plan, 'integers')}; bools 0 or 1",
        Reason.TIME_INVALID: _time_detail(plan),
        Reason.LATE: "older than the key's newest time less out_of_order and the lateness of its windows",
        Reason.OPERATOR_FAILED: f"an operator raised, or gave infinity or an undeclared NaN; state unchanged: {steps}",
        Reason.ALREADY_APPLIED: "a retry of what was applied before; its outcome is no longer kept",
        Reason.OUT_OF_ORDER: "never applied, and a later batch of this producer was: send it under a new sequence",
        Reason.OVERLOADED: "the key's partition holds as many keys or labels as it may",
        Reason.UNAVAILABLE: "this worker does not serve the key's partition",
        Reason.DEADLINE: "timeout_ms had passed before the batch began",
    }


def _time_detail(plan: Plan) -> str:
    ahead = plan.times is not None and plan.times.ahead_us
    further = "; or ahead of the key's newest time by more than `ahead`, and alone with it" if ahead else ""
    return f"time_us must be set, in microseconds since 1970, before the year 10000{further}"


def _wanted(plan: Plan, array: str) -> str:
    names = [
        f"[{field.name}]" if field.default is not None else field.name
        for field in plan.fields
        if array_of(field) == array
    ]
    return ", ".join(names) or "empty"
