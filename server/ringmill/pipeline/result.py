"""Runs a pipeline over arrays in this process: the same bytes, kernels and tables as on a worker."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ringmill.core.errors import Code, RingmillError
from ringmill.engine.engine import Engine
from ringmill.engine.fuse import array_of, columns_of
from ringmill.engine.plan import Field, Kind, StepPlan, WindowPlan
from ringmill.v1.processing_pb2 import ProcessRequest

if TYPE_CHECKING:
    from ringmill.pipeline.pipeline import Pipeline

BATCH_EVENTS = 4096
MISSING_TIME_US = 0
_EMPTY = {Kind.DOUBLE: np.float64, Kind.INTEGER: np.int64, Kind.BOOL: np.bool_, Kind.LABEL: np.object_}


@dataclass(frozen=True, slots=True)
class Emitted:
    """What one step's windows emitted, in order. `emitted["value"]`, or by the operator's own names, is an output."""

    keys: npt.NDArray[Any]
    """Text, as objects."""
    starts_us: npt.NDArray[np.int64]
    times_us: npt.NDArray[np.int64]
    """The windows' ends."""
    revisions: npt.NDArray[np.uint32]
    """How often the window had been emitted before."""
    events: npt.NDArray[np.int64]
    """The number of the event that caused it."""
    outputs: dict[str, npt.NDArray[Any]]

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        if name not in self.outputs:
            raise KeyError(f"{name}: the outputs are {', '.join(self.outputs)}")
        return self.outputs[name]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What events led to, in their order. `result["z"]` is the array of an output."""

    outputs: dict[str, npt.NDArray[Any]]
    """By full name: float64, int64, bool, or text as objects. Of a rejected event: NaN, 0, False, ""."""
    reasons: npt.NDArray[np.uint32]
    """RejectionReason of each event; 0: applied."""
    emissions: dict[str, Emitted] = field(default_factory=dict)
    """What windows emitted, by step. Windows that no event has closed yet are not in it."""

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        if name not in self.outputs:
            raise KeyError(f"{name}: the outputs are {', '.join(self.outputs)}")
        return self.outputs[name]

    def __len__(self) -> int:
        return len(self.reasons)

    @property
    def rejected(self) -> int:
        """How many events were not applied."""
        return int(np.count_nonzero(self.reasons))


def run(pipeline: "Pipeline", keys: Any, times: Any, fields: Mapping[str, Any]) -> RunResult:
    """Runs events through a pipeline with empty state."""
    texts = ["" if key is None else str(key) for key in keys]
    moments = [MISSING_TIME_US] * len(texts) if times is None else [int(moment) for moment in times]
    columns = _columns(pipeline.plan.fields, fields, len(texts))
    if len(moments) != len(texts):
        raise _invalid(f"{len(moments)} times for {len(texts)} keys")
    engine = Engine(pipeline.compile(), BATCH_EVENTS, keys_max=max(1, len(set(texts))))
    parts, emitted = [], []
    for first in range(0, len(texts), BATCH_EVENTS):
        last = min(first + BATCH_EVENTS, len(texts))
        parts.append(_run_batch(engine, _request(texts, moments, columns, first, last), last - first))
        emitted.append([_emitted(engine, *emitter, texts, first) for emitter in enumerate(pipeline.plan.windows)])
    emitted = emitted or [[_nothing(window) for _, _, window in pipeline.plan.windows]]
    emissions = {
        step.name: _joined_emitted(tables)
        for (_, step, _), tables in zip(pipeline.plan.windows, zip(*emitted, strict=True), strict=True)
    }
    return replace(_joined(pipeline.plan.outputs, parts), emissions=emissions)


def _columns(declared: tuple[Field, ...], given: Mapping[str, Any], count: int) -> dict[str, list[list[Any]]]:
    """The columns of each array, as plain Python values, defaults filled in."""
    unknown = given.keys() - {field.name for field in declared}
    if unknown:
        raise _invalid(f"no field {', '.join(sorted(unknown))}: the fields are {', '.join(f.name for f in declared)}")
    columns: dict[str, list[list[Any]]] = {"values": [], "labels": [], "integers": []}
    for field_ in declared:
        if field_.name not in given and field_.default is None:
            raise _invalid(f"{field_.name} is missing: it has no default")
        values = given.get(field_.name)
        column = [_plain(field_, value) for value in ([field_.default] * count if values is None else values)]
        if len(column) != count:
            raise _invalid(f"{field_.name} has {len(column)} values for {count} keys")
        columns[array_of(field_)].append(column)
    return columns


def _plain(declared: Field, value: Any) -> Any:
    match declared.kind:
        case Kind.DOUBLE:
            return float("nan") if value is None else float(value)
        case Kind.LABEL:
            return "" if value is None or value != value else str(value)
        case _:
            return int(value)


def _invalid(message: str) -> RingmillError:
    return RingmillError(Code.INVALID_ARGUMENT, f"run: {message}")


def _request(
    keys: list[str], times_us: list[int], columns: dict[str, list[list[Any]]], first: int, last: int
) -> ProcessRequest:
    """Events first to last - 1 as the official library builds them."""
    request = ProcessRequest()
    for i in range(first, last):
        request.events.add(
            key=keys[i],
            time_us=times_us[i],
            values=[column[i] for column in columns["values"]],
            labels=[column[i] for column in columns["labels"]],
            integers=[column[i] for column in columns["integers"]],
        )
    return request


def _run_batch(engine: Engine, request: ProcessRequest, count: int) -> dict[str, npt.NDArray[Any]]:
    """The outputs of one batch by name, and under "" the reasons."""
    message = request.SerializeToString()
    buffer = np.frombuffer(message, np.uint8)
    decoded, _ = engine.decode(buffer, 0, len(message))
    assert decoded == count, "the official library's own bytes were refused"
    engine.apply(buffer, count)
    reasons = engine.columns.events["reason"][:count].copy()
    applied = reasons == 0
    outputs = dict(_outputs(engine, count, applied))
    return {"": reasons, **outputs}


def _outputs(engine: Engine, count: int, applied: npt.NDArray[np.bool_]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    columns = engine.columns
    for output, column in columns_of(engine.compiled.plan.outputs):
        match output.kind:
            case Kind.DOUBLE:
                yield output.name, np.where(applied, columns.out_values[:count, column], np.nan)
            case Kind.INTEGER:
                yield output.name, np.where(applied, columns.out_integers[:count, column], 0)
            case Kind.BOOL:
                yield output.name, applied & (columns.out_integers[:count, column] != 0)
            case Kind.LABEL:
                labels = columns.out_labels[:count, column]
                yield output.name, np.array(list(_texts(labels, applied, engine.labels.heap)), object)


def _emitted(
    engine: Engine, emitter: int, planned: tuple[int, StepPlan, WindowPlan], keys: list[str], first: int
) -> Emitted:
    """What one emitter's windows emitted in the batch that begins with event `first`."""
    found, (_, _, window) = engine.emissions, planned
    chosen = np.flatnonzero(found.heads["emitter"][: found.counts[0]] == emitter)
    heads = found.heads[chosen]
    events = heads["event"].astype(np.int64) + first
    outputs: dict[str, npt.NDArray[Any]] = {}
    for output, column in columns_of(window.outputs):
        match output.kind:
            case Kind.DOUBLE:
                outputs[output.name] = found.values[chosen, column]
            case Kind.LABEL:
                labels = found.labels[chosen, column]
                texts = _texts(labels, np.ones(len(labels), np.bool_), engine.labels.heap)
                outputs[output.name] = np.array([*texts, None], object)[:-1]
            case _:
                dtype = np.bool_ if output.kind is Kind.BOOL else np.int64
                outputs[output.name] = found.integers[chosen, column].astype(dtype)
    named = np.array([*(keys[event] for event in events.tolist()), None], object)[:-1]
    return Emitted(named, heads["start_us"], heads["time_us"], heads["revision"], events, outputs)


def _nothing(window: WindowPlan) -> Emitted:
    none = np.zeros(0, np.int64)
    outputs: dict[str, npt.NDArray[Any]] = {output.name: np.zeros(0, _EMPTY[output.kind]) for output in window.outputs}
    return Emitted(np.zeros(0, object), none, none, none.astype(np.uint32), none, outputs)


def _joined_emitted(tables: tuple[Emitted, ...]) -> Emitted:
    names = ("keys", "starts_us", "times_us", "revisions", "events")
    joined = {name: np.concatenate([getattr(table, name) for table in tables]) for name in names}
    outputs = {name: np.concatenate([table.outputs[name] for table in tables]) for name in tables[0].outputs}
    return Emitted(**joined, outputs=outputs)


def _texts(labels: npt.NDArray[Any], applied: npt.NDArray[np.bool_], heap: npt.NDArray[np.uint8]) -> Iterator[str]:
    for start, length, ok in zip(labels["start"].tolist(), labels["length"].tolist(), applied.tolist(), strict=True):
        yield heap[start : start + length].tobytes().decode() if ok else ""


def _joined(outputs: tuple[Field, ...], parts: list[dict[str, npt.NDArray[Any]]]) -> RunResult:
    joined = {
        output.name: np.concatenate([part[output.name] for part in parts])
        if parts
        else np.empty(0, _EMPTY[output.kind])
        for output in outputs
    }
    reasons = np.concatenate([part[""] for part in parts]) if parts else np.empty(0, np.uint32)
    return RunResult(joined, reasons)
