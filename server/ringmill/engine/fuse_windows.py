"""What a pipeline with windows adds to the source of its fused kernel.

before a step     pick the pane that the event belongs to; the operator runs on a copy of its state
after all steps   commit: close what the key's clock has passed, put the copy back, correct what was closed
emit              a function for each such step: reads what a state amounts to, and appends it to the emissions
"""

from collections.abc import Iterator

from ringmill.core.columns import Shape
from ringmill.engine.plan import Field, Kind, Plan, StepPlan, WindowKind, WindowPlan

EMIT_PARAMETERS = "state, i, start_us, end_us, revision, partition, store, out"

REFUSE_LATE = """\
            if event.time_us < row.time_us - LATE_US:
                event.reason = LATE
                rejected += 1
                continue
"""
"""A new key has the time 0, so that nothing is late for it."""

REFUSE_AHEAD = """\
            if row.time_us > 0 and event.time_us > row.time_us + AHEAD_US:
                doubted = row._doubted_us
                row._doubted_us = event.time_us
                if abs(event.time_us - doubted) > AHEAD_US:
                    event.reason = TIME_INVALID
                    rejected += 1
                    continue
"""
"""An event far ahead is believed when the last one that was refused so agrees with it."""

DOUBTED = "_doubted_us"
"""The row's field for the time of that last one: no step can be named so."""


def emitted_shape(plan: Plan) -> Shape:
    """The columns of what windows emit; of events there are none."""
    emitters = [window.outputs for _, _, window in plan.windows]
    return Shape(
        *(0,) * 6,
        emitted_values=_most(emitters, Kind.DOUBLE),
        emitted_labels=_most(emitters, Kind.LABEL),
        emitted_integers=_most(emitters, Kind.INTEGER, Kind.BOOL),
        emissions_max=sum(window.emissions_max for _, _, window in plan.windows),
    )


def _most(emitters: list[tuple[Field, ...]], *kinds: Kind) -> int:
    return max((sum(output.kind in kinds for output in outputs) for outputs in emitters), default=0)


def refusals(plan: Plan) -> str:
    """What comes before the steps of an event: is it late, or too far ahead."""
    if plan.times is None:
        return ""
    return REFUSE_LATE + (REFUSE_AHEAD if plan.times.ahead_us else "")


def pick(number: int, step: StepPlan) -> Iterator[str]:
    """Makes `held_N` what the step keeps, and `work_N` what it works on."""
    yield f"held_{number}, work_{number} = row.{step.name}, work[0].{step.name}"
    yield f"reason = pick_{number}(events[i].time_us, row.time_us, held_{number}, work_{number})"
    yield "if reason != 0:"
    yield "    return reason"


def run(number: int, step: StepPlan, window: WindowPlan, given: str) -> Iterator[str]:
    """Runs the operator on the picked pane. What a double cannot hold rejects the event, as of any step."""
    yield f"result_{number} = step_{number}({given})"
    for position, output in enumerate(window.outputs if window.returns else ()):
        if output.kind is Kind.DOUBLE:
            result = f"result_{number}[{position}]" if step.is_tuple else f"result_{number}"
            yield f"if {'isinf' if output.nullable else 'not isfinite'}({result}):"
            yield "    return OPERATOR_FAILED"
    if window.kind is WindowKind.SESSION:
        yield f"join_{number}(held_{number}, work_{number})"


def commits(plan: Plan) -> Iterator[str]:
    """The end of all steps."""
    for number, _, _ in plan.windows:
        given = f"held_{number}, work_{number}, partition, store, emissions"
        yield f"commit_{number}(i, events[i].time_us, row.time_us, {given})"


def write_emits(plan: Plan) -> str:
    """The source of `emit_N` for each step with a window."""
    return "".join(
        f"def emit_{number}({EMIT_PARAMETERS}):\n"
        + "".join(f"    {line}\n" for line in _emit(number, emitter, window))
        + "\n\n"
        for emitter, (number, _, window) in enumerate(plan.windows)
    )


def _emit(number: int, emitter: int, window: WindowPlan) -> Iterator[str]:
    used = {"values": 0, "labels": 0, "integers": 0}
    yield "n = out.counts[0]"
    yield "if n >= out.heads.size:"
    yield "    return False"
    yield f"result = read_{number}(state)"
    for position, output in enumerate(window.outputs):
        array = {Kind.DOUBLE: "values", Kind.LABEL: "labels"}.get(output.kind, "integers")
        yield from _store(position, output, used[array])
        used[array] += 1
    yield "head = out.heads[n]"
    yield "head.start_us, head.time_us, head.event = start_us, end_us, i"
    yield f"head.emitter, head.revision, head.partition = {emitter}, revision, partition"
    yield "out.counts[0] = n + 1"
    yield "return True"


def _store(position: int, output: Field, column: int) -> Iterator[str]:
    value = f"result[{position}]"
    match output.kind:
        case Kind.DOUBLE:
            yield f"if {'isinf' if output.nullable else 'not isfinite'}({value}):"
            yield "    return False"
            yield f"out.values[n, {column}] = {value}"
        case Kind.LABEL:
            yield f"start, length = lookup(store, partition, {value})"
            yield "if start < 0:"
            yield "    return False"
            yield f"label = out.labels[n, {column}]"
            yield f"label.hash, label.start, label.length = {value}, start, length"
        case _:
            yield f"out.integers[n, {column}] = {value}"
