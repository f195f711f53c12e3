"""From steps as users write them to a checked plan."""

import hashlib
import keyword
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from types import FunctionType
from typing import Any, cast

import numpy as np

from ringmill.engine.plan import Constant, DeclaredLabel, Field, Kind, Plan, StepPlan, TimePlan
from ringmill.engine.table import row_dtype
from ringmill.pipeline.binding import Bound, Reads, bind
from ringmill.pipeline.check import check_operator, reads_time
from ringmill.pipeline.fields import Event, State
from ringmill.pipeline.operators import Operator, Step
from ringmill.pipeline.place import Place, wrong
from ringmill.pipeline.source import compilable, fingerprint, labels_in
from ringmill.pipeline.windowed import check_window, describe_window, plan_times, plan_window

FORMAT = "ringmill pipeline 1"
"""Begins what is hashed into a digest; to be changed with the meaning of a plan."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_STEP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")
NONE = timedelta(0)
_OURS = "ringmill.pipeline.ops."
"""Where Ringmill's own operators are."""
_TAKEN = row_dtype([]).names or ()
"""What a key's row holds beside the states of the steps."""
_DTYPES = {Kind.DOUBLE: np.float64, Kind.INTEGER: np.int64, Kind.BOOL: np.bool_, Kind.LABEL: np.uint64}


def build_plan(
    name: str,
    version: str,
    event: type[Event],
    steps: Mapping[str, Step],
    place: Place,
    out_of_order: timedelta = NONE,
    ahead: timedelta | None = None,
) -> Plan:
    """Checks every part of a pipeline and what they say of each other. Raises RingmillError with the user's line."""
    _check_names(name, version, event, steps, place)
    known = {field.name: field for field in event.declared}
    for step_name, step in steps.items():
        _check_type(step_name, step, place)
    times = plan_times(steps, out_of_order, ahead, place)
    planned = []
    for step_name, step in steps.items():
        _check_step(step_name, step, event, known)
        planned.append(_plan_step(step_name, step, event, known, times))
        known |= {output.name: output for output in planned[-1].outputs}
    operators = [step.operator for step in steps.values()]
    return Plan(
        name=name,
        version=version,
        fields=event.declared,
        steps=tuple(planned),
        labels=_declared_labels(event, operators, planned),
        uses_time=times is not None or any(reads_time(operator) for operator in operators),
        digest=_digest(event.declared, list(steps.values()), planned, times),
        times=times,
    )


def _check_names(name: str, version: str, event: type[Event], steps: Mapping[str, Step], place: Place) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise wrong(place, f"{name!r} cannot name a pipeline: write a letter, then up to 99 letters, digits, - or _")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise wrong(place, f'version={version!r}: write three numbers, as in "1.0.0"')
    if not (isinstance(event, type) and issubclass(event, Event)):
        raise wrong(place, f"event={event!r}: write a class derived from Event")
    if not isinstance(steps, Mapping):
        raise wrong(place, f'steps={steps!r:.40}: write a dict that names each step: {{"mean": ops.mean("field")}}')
    if not steps:
        raise wrong(place, 'a pipeline needs a step, such as steps={"count": ops.count()}')


def _check_type(name: str, step: Step, place: Place) -> None:
    if isinstance(step, Operator):
        raise wrong(place, f'"{name}": call the operator to make a step of it: {step.name}()')
    if not isinstance(step, Step):
        raise wrong(place, f'"{name}": {step!r:.60} is not a step: call an operator, such as ops.mean("field")')


def _check_step(name: str, step: Step, event: type[Event], known: Mapping[str, Field]) -> None:
    if not isinstance(name, str) or not _STEP_NAME.fullmatch(name):
        raise wrong(step.place, f"{name!r} cannot name a step: write a letter, then letters, digits or _")
    if keyword.iskeyword(name) or name in _TAKEN:
        raise wrong(step.place, f'"{name}" cannot name a step: the word is taken; write another')
    if any(taken.partition(".")[0] == name for taken in known):
        raise wrong(step.place, f'"{name}" names a step, but is a field of {event.__name__} too: rename one of them')
    if step.window is not None:
        check_window(name, step)
    if not issubclass(event, step.operator.event):
        raise wrong(
            step.place,
            f'"{name}": {step.operator.name} takes {step.operator.event.__name__}, but the pipeline\'s event is '
            f"{event.__name__}: derive {event.__name__} from it, or change the operator",
        )
    for reads in (argument for argument in step.arguments if isinstance(argument, Reads)):
        for read in reads.names:
            _check_read(name, read, reads.bound, step, event, known)
    check_operator(step.operator)


def _check_read(
    name: str, wanted: str, bound: Bound, step: Step, event: type[Event], known: Mapping[str, Field]
) -> None:
    found = known.get(wanted)
    if found is None:
        parts = [other for other in known if other.startswith(f"{wanted}.")]
        hint = " or ".join(f'"{part}"' for part in parts) or f"one of {', '.join(known)}"
        raise wrong(step.place, f'"{name}" reads "{wanted}", which is no field and no earlier output: write {hint}')
    if bound in (Bound.NUMBER, Bound.NUMBERS):
        if found.kind is Kind.LABEL:
            raise wrong(step.place, f'"{name}" reads "{wanted}", which is a label: an Input is a number')
        return
    if found.kind is Kind.LABEL and found not in event.declared:
        raise wrong(step.place, f'"{name}" reads "{wanted}", a label of an earlier step: read one of the event')
    if bound is Bound.LABEL and found.kind is not Kind.LABEL:
        raise wrong(step.place, f'"{name}" reads "{wanted}", which is a number: it wants a label')


def _plan_step(
    name: str, step: Step, event: type[Event], known: Mapping[str, Field], times: TimePlan | None
) -> StepPlan:
    planned = _plan_operator(name, step, event, known)
    return planned if step.window is None else replace(planned, window=plan_window(name, step, planned, times))


def _plan_operator(name: str, step: Step, event: type[Event], known: Mapping[str, Field]) -> StepPlan:
    operator = step.operator
    state = state_dtype(operator.state)
    emits = step.window is not None
    outputs = tuple(
        Field(f"{name}.{output.name}" if operator.is_tuple else name, output.kind, output.nullable)
        for output in (() if emits else operator.outputs)
    )
    columns = () if emits else _columns(step)
    function, arguments = bind(
        compilable(cast(FunctionType, operator.function)), step.arguments, known, event.declared, columns
    )
    guard = None
    if operator.guard is not None:
        guard, _ = bind(compilable(cast(FunctionType, operator.guard)), step.arguments, known, event.declared)
    return StepPlan(
        name=name,
        function=function,
        guard=guard,
        is_trusted=_is_ours(operator.function) and operator.guard is not None and _is_ours(operator.guard),
        state=state,
        initial=initial_state(operator.state, state),
        state_fields=operator.state.declared,
        arguments=arguments,
        outputs=outputs,
        is_tuple=operator.is_tuple and not (emits and operator.columns),
        place=str(operator.place),
    )


def _is_ours(function: Callable[..., Any]) -> bool:
    """Whether a function is one of Ringmill's own operators, or of their guards, which are relied on."""
    return function.__module__.startswith(_OURS)


def _columns(step: Step) -> list[tuple[Any, tuple[Field, ...], list[Any]]]:
    """Each column's reader, linked, its outputs, and the constants that it takes."""
    operator, found, first = step.operator, [], 0
    for column in operator.columns:
        outputs = operator.outputs[first : first + len(column.names)]
        first += len(column.names)
        reader = compilable(cast(FunctionType, column.read))
        found.append((reader, outputs, operator.constants(column.read, 2, step.arguments)))
    return found


def state_dtype(state: type[State]) -> np.dtype[Any]:
    """The record that holds a state. A state without fields takes a word all the same: no record is empty."""
    parts: list[Any] = [
        (field.name, _DTYPES[field.kind], (field.length,)) if field.length else (field.name, _DTYPES[field.kind])
        for field in state.declared
    ]
    return np.dtype(parts or [("unused", np.uint64)], align=True)


def initial_state(state: type[State], dtype: np.dtype[Any]) -> bytes:
    """The record that a new key begins with."""
    record = np.zeros(1, dtype)
    for field in state.declared:
        value = field.default
        record[field.name] = DeclaredLabel(value).hash if isinstance(value, str) else value
    return record.tobytes()


def _declared_labels(event: type[Event], operators: list[Operator], steps: list[StepPlan]) -> tuple[str, ...]:
    functions = [
        function
        for op in operators
        for function in (op.function, op.result, *(column.read for column in op.columns))
        if function is not None
    ]
    found = [label for function in functions for label in labels_in(cast(FunctionType, function))]
    fields = [*event.declared, *(field for step in steps for field in step.state_fields)]
    found += [field.default for field in fields if isinstance(field.default, str)]
    constants = [argument for step in steps for argument in step.arguments if isinstance(argument, Constant)]
    found += [constant.value for constant in constants if isinstance(constant.value, str)]
    return tuple(sorted({str(label) for label in found if label}))


def _digest(fields: tuple[Field, ...], steps: list[Step], plans: list[StepPlan], times: TimePlan | None) -> str:
    """SHA-256 over all that decides what a pipeline computes. Its name and version, which decide nothing, stay out."""
    parts = [FORMAT, *(_describe(field) for field in fields)]
    if times is not None:
        parts.append(f"times {times.out_of_order_us} {times.lateness_us} {times.ahead_us}")
    for step, plan in zip(steps, plans, strict=True):
        parts += [plan.name, str(plan.state.descr), plan.initial.hex(), *map(_describe, plan.outputs)]
        parts += [_argument(argument) for argument in step.arguments]
        guards = () if step.operator.guard is None else (step.operator.guard,)
        for function in (step.operator.function, *guards, *(column.read for column in step.operator.columns)):
            parts += fingerprint(cast(FunctionType, function))
        if plan.window is not None:
            parts += describe_window(step, plan.window)
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def _argument(argument: Reads | Constant) -> str:
    return str(argument) if isinstance(argument, Reads) else f"Constant {argument.kind.name} {argument.value!r}"


def _describe(field: Field) -> str:
    default = "nan" if isinstance(field.default, float) and math.isnan(field.default) else repr(field.default)
    return f"{field.name} {field.kind.name} {field.nullable} {default} {field.length}"
