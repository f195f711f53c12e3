"""Writes the source of a pipeline's fused kernel: one loop over a batch that finds each key's row and runs all steps.

    apply     for each block of events: fetch index lines, find and fetch rows, then event by event:
                  refuse what is not owned; see that the row is the key's, or append one; refuse what is late; keep a
                  copy; run `steps`; on failure put the copy back, or take the new row away, and mark the event
    steps     one event: fields and earlier outputs in variables, one call for each step, outputs checked and stored;
              last the steps that cannot fail any more, of whose states, which may be large, there is no copy, and what
              closes windows (`engine/fuse_windows.py`). Returns 0, or the reason to reject the event

The operators themselves are compiled with bounds checks and inlined by LLVM. The source is written to the cache folder,
where errors and profilers can show it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ringmill.core.columns import Shape
from ringmill.engine import fuse_windows
from ringmill.engine.link import converter_name
from ringmill.engine.plan import Constant, Field, Kind, Plan, Read, StepPlan, label_hash

WHOLE = (Kind.INTEGER, Kind.BOOL)
"""The kinds that travel as integers."""


@dataclass(frozen=True, slots=True)
class Source:
    """Generated code, and the values that it names in capitals."""

    text: str
    constants: dict[str, Any]


def column_shape(plan: Plan) -> Shape:
    """How many columns of each kind the pipeline reads and writes."""
    fields, outputs = plan.fields, plan.outputs
    return replace(
        fuse_windows.emitted_shape(plan),
        values=_count(fields, Kind.DOUBLE),
        labels=_count(fields, Kind.LABEL),
        integers=_count(fields, *WHOLE),
        out_values=_count(outputs, Kind.DOUBLE),
        out_labels=_count(outputs, Kind.LABEL),
        out_integers=_count(outputs, *WHOLE),
    )


def _count(fields: tuple[Field, ...], *kinds: Kind) -> int:
    return sum(field.kind in kinds for field in fields)


def columns_of(fields: tuple[Field, ...]) -> Iterator[tuple[Field, int]]:
    """Each field with its column in the array of its kind."""
    used = {"values": 0, "labels": 0, "integers": 0}
    for field in fields:
        array = array_of(field)
        yield field, used[array]
        used[array] += 1


def array_of(field: Field) -> str:
    """The array that carries a field: values, labels or integers."""
    return {Kind.DOUBLE: "values", Kind.LABEL: "labels"}.get(field.kind, "integers")


def write_source(plan: Plan) -> Source:
    """The source of `steps` and `apply`."""
    constants: dict[str, Any] = {}
    body = [*_load_fields(plan, constants), *_run_steps(plan, constants), *fuse_windows.commits(plan), "return 0"]
    lines = ["# Generated from a pipeline's steps.", "", "", *fuse_windows.write_emits(plan).splitlines()]
    lines += [f"def steps({_STEPS_PARAMETERS}):", *(f"    {line}" for line in body), "", ""]
    return Source("\n".join(lines) + _write_apply(plan), constants)


def returns_labels(plan: Plan) -> bool:
    """Whether some output is a label: only then must the labels that come in be kept."""
    emitted = (output for _, _, window in plan.windows for output in window.outputs)
    return any(output.kind is Kind.LABEL for output in (*plan.outputs, *emitted))


def _write_apply(plan: Plan) -> str:
    shape = column_shape(plan)
    keep = _KEEP_LABELS if returns_labels(plan) and shape.labels else ""
    return _APPLY.replace("            # keep labels\n", keep).replace(
        "            # refuse late\n", fuse_windows.refusals(plan)
    )


_STEPS_PARAMETERS = (
    "i, row, partition, store, events, values, labels, integers, out_values, out_labels, out_integers, work, emissions"
)

_KEEP_LABELS = """\
            for column in range(labels.shape[1]):
                label = labels[i, column]
                kept = intern(
                    store, partition, label.hash, buffer, np.int64(label.start), np.int64(label.length)
                )
                if kept < 0:
                    event.reason = OVERLOADED if kept == LABELS_FULL else LABELS_INVALID
            if event.reason != 0:
                rejected += 1
                continue
"""

_APPLY = f"""\
def apply(
    count, buffer, events, values, labels, integers, out_values, out_labels, out_integers, owned, likely, backup,
    table, store, work, emissions
):
    segments, rows = table.segments, table.rows
    rejected = 0
    emissions.counts[0] = 0
    for first in range(np.uint64(0), np.uint64(count), BLOCK):
        last = min(first + BLOCK, np.uint64(count))
        for i in range(first, last):
            if events[i].reason == 0:
                likely[i - first] = prefetch_index(table, np.int64(events[i].partition), events[i].hash)
        for i in range(first, last):
            if events[i].reason == 0:
                likely[i - first] = prefetch_row(
                    table, np.int64(events[i].partition), events[i].hash, likely[i - first], FETCH_BYTES
                )
        for i in range(first, last):
            event = events[i]
            if event.reason != 0:
                rejected += 1
                continue
            partition = np.int64(event.partition)
            if owned[np.uint64(partition)] == 0:
                event.reason = UNAVAILABLE
                rejected += 1
                continue
            # keep labels
            before = segments[np.uint64(partition)].count
            index = likely[i - first]
            start, length = np.int64(event.key_start), np.int64(event.key_length)
            if not is_row_of(table, partition, index, buffer, start, length):
                index = find_or_insert(table, partition, event.hash, buffer, start, length)
                if index < 0:
                    event.reason = OVERLOADED
                    rejected += 1
                    continue
            row = rows[np.uint64(index)]
            # refuse late
            copy_row(backup, 0, rows, np.int64(index), BACKUP_BYTES)
            reason = OPERATOR_FAILED
            try:
                reason = steps({_STEPS_PARAMETERS})
            except Exception:
                reason = OPERATOR_FAILED
            if reason == 0:
                if event.time_us > row.time_us:
                    row.time_us = event.time_us
                continue
            copy_row(rows, np.int64(index), backup, 0, BACKUP_BYTES)
            if segments[np.uint64(partition)].count != before:
                remove_newest(table, partition, event.hash)
            event.reason = reason
            rejected += 1
    return rejected
"""


def _load_fields(plan: Plan, constants: dict[str, Any]) -> Iterator[str]:
    names = []
    for field, column in columns_of(plan.fields):
        names.append(_variable(field.name))
        match field.kind:
            case Kind.DOUBLE:
                yield f"{names[-1]} = values[i, {column}]"
            case Kind.INTEGER:
                yield f"{names[-1]} = integers[i, {column}]"
            case Kind.BOOL:
                yield f"{names[-1]} = integers[i, {column}] != 0"
            case Kind.LABEL:
                yield f"{names[-1]} = labels[i, {column}].hash"
                if field.default:
                    constants[f"DEFAULT_{field.name}"] = np.uint64(label_hash(str(field.default)))
                    yield f"if {names[-1]} == 0:"
                    yield f"    {names[-1]} = DEFAULT_{field.name}"
    yield f"event = Event({', '.join(('events[i].time_us', 'events[i].hash', *names))})"


def _variable(name: str) -> str:
    """A name of the plan as a variable. A name has one dot at most, so different names stay different."""
    return f"x_{name.partition('.')[0].count('_')}_{name.replace('.', '__')}"


def _run_steps(plan: Plan, constants: dict[str, Any]) -> Iterator[str]:
    """All that can fail first: the steps whose states have a copy, and all guards, each in its place."""
    late = plan.late
    for number, step in enumerate(plan.steps):
        given = _given(plan, number, constants)
        if step.window is not None:
            yield from fuse_windows.pick(number, step)
        if step.guard is not None:
            yield f"guard_{number}({given})"
        if number not in late:
            yield from _run_step(plan, number, given)
    for number in late:
        yield from _run_step(plan, number, _given(plan, number, constants))


def _given(plan: Plan, number: int, constants: dict[str, Any]) -> str:
    step = plan.steps[number]
    kinds = {field.name: field.kind for field in (*plan.fields, *plan.outputs)}
    arguments = (
        _argument(step, position, argument, kinds, constants) for position, argument in enumerate(step.arguments)
    )
    state = f"row.{step.name}" if step.window is None else f"work_{number}.states[TRIED]"
    return ", ".join((state, "event", *arguments))


def _run_step(plan: Plan, number: int, given: str) -> Iterator[str]:
    step = plan.steps[number]
    columns = {field.name: column for field, column in columns_of(plan.outputs)}
    if step.window is not None:
        yield from fuse_windows.run(number, step, step.window, given)
        return
    if not step.outputs:
        yield f"step_{number}({given})"
        return
    yield f"result_{number} = step_{number}({given})"
    for position, output in enumerate(step.outputs):
        result = f"result_{number}[{position}]" if step.is_tuple else f"result_{number}"
        yield from _store(output, columns[output.name], result)


def _argument(
    step: StepPlan, position: int, argument: Read | Constant, kinds: dict[str, Kind], constants: dict[str, Any]
) -> str:
    if isinstance(argument, Read):
        name = _variable(argument.name)
        match kinds[argument.name]:
            case Kind.DOUBLE:
                return name
            case Kind.BOOL:
                return f"(1.0 if {name} else 0.0)"
            case _:
                return f"float({name})"
    name = f"PARAMETER_{step.name}_{position}"
    constants[name] = compiled_constant(argument)
    return name


def compiled_constant(constant: Constant) -> Any:
    """A parameter as the compiler gets it."""
    match constant.kind:
        case Kind.DOUBLE:
            return float(constant.value)
        case Kind.INTEGER:
            return np.int64(constant.value)
        case Kind.BOOL:
            return bool(constant.value)
        case Kind.LABEL:
            return np.uint64(label_hash(str(constant.value)))


def _store(output: Field, column: int, result: str) -> Iterator[str]:
    name = _variable(output.name)
    yield f'{name} = {converter_name((output.kind, output.nullable))}({result}, "{output.name}")'
    match output.kind:
        case Kind.DOUBLE:
            yield f"if {'isinf' if output.nullable else 'not isfinite'}({name}):"
            yield "    return OPERATOR_FAILED"
            yield f"out_values[i, {column}] = {name}"
        case Kind.INTEGER | Kind.BOOL:
            yield f"out_integers[i, {column}] = {name}"
        case Kind.LABEL:
            yield f"start, length = lookup(store, partition, {name})"
            yield "if start < 0:"
            yield "    return OPERATOR_FAILED"
            yield f"label = out_labels[i, {column}]"
            yield f"label.hash, label.start, label.length = {name}, start, length"
