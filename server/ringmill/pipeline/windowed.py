"""From a step with a window to what the engine needs of it: bounds, and the operator's merge and result."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import FunctionType
from typing import Any, cast

from ringmill.core.jit import kernel_part
from ringmill.engine import windowing
from ringmill.engine.fuse import compiled_constant
from ringmill.engine.link import CONVERTERS, converter_name
from ringmill.engine.panes import held_dtype
from ringmill.engine.plan import Constant, Field, StepPlan, TimePlan, WindowKind, WindowPlan
from ringmill.pipeline.operators import Step
from ringmill.pipeline.place import Place, wrong
from ringmill.pipeline.source import compilable, fingerprint
from ringmill.pipeline.windows import LONGEST, Window, microseconds_of

HELD_BYTES_MAX = 256 * 1024
"""The most that a key may keep for one step with a window."""
EMISSIONS_MAX = 256
"""Windows that one event may close or correct, over all steps: their memory is reserved for each event of a batch."""
PANES_MAX = 2**20
"""A bound for what is multiplied, long before its bytes are too many."""


def plan_times(
    steps: Mapping[str, Step], out_of_order: timedelta, ahead: timedelta | None, place: Place
) -> TimePlan | None:
    """What is late and what is too far ahead. Raises RingmillError at the pipeline's, or a step's, line."""
    timed = {name: step for name, step in steps.items() if step.window is not None and _hangs_on_time(step.window)}
    if not isinstance(out_of_order, timedelta) or not timedelta(0) <= out_of_order <= LONGEST:
        raise wrong(
            place, f"out_of_order={out_of_order!r}: write a duration from 0 to 100 years, as in out_of_order=seconds(5)"
        )
    if ahead is not None and (not isinstance(ahead, timedelta) or not timedelta(0) < ahead <= LONGEST):
        raise wrong(place, f"ahead={ahead!r}: write a duration above 0 and up to 100 years, as in ahead=days(1)")
    if not timed:
        if out_of_order or ahead is not None:
            raise wrong(
                place, "out_of_order and ahead are for windows of time, and the pipeline has none: take them out"
            )
        return None
    first, *others = timed
    lateness = timed[first].lateness
    for other in others:
        if timed[other].lateness != lateness:
            raise wrong(
                timed[other].place,
                f'"{other}" allows lateness of {timed[other].lateness}, "{first}" of {lateness}: an event is late for '
                "the whole pipeline or not at all, so write the same, or make two pipelines",
            )
    return TimePlan(
        microseconds_of(out_of_order), microseconds_of(lateness), 0 if ahead is None else microseconds_of(ahead)
    )


def _hangs_on_time(window: Window) -> bool:
    return window.kind is not WindowKind.COUNT


def check_window(name: str, step: Step) -> None:
    """Refuses what cannot be windowed, or not so. Raises RingmillError at the step's line."""
    operator, window = step.operator, step.window
    assert window is not None
    known = operator.name.strip("_")
    if not operator.outputs or (operator.result is None and not operator.columns):
        raise wrong(
            step.place,
            f'"{name}": {known} cannot have a window: what it says belongs to one event, and a window that closes has '
            "none. Operators with a result can: see docs/operators.md",
        )
    if operator.merge is None and _merges(window):
        raise wrong(
            step.place,
            f'"{name}": {known} cannot have this window, which is made of parts: two of its states cannot be made one. '
            "Use tumbling(...) or count(...)",
        )
    if not _hangs_on_time(window) and step.lateness:
        raise wrong(step.place, f'"{name}": a window of so many events is never late: take lateness away')


def _merges(window: Window) -> bool:
    """Whether windows are made of several states."""
    return window.kind in (WindowKind.SESSION, WindowKind.SLIDING) or window.every != window.size


def plan_window(name: str, step: Step, planned: StepPlan, times: TimePlan | None) -> WindowPlan:
    """The window of a step that `check_window` has passed. planned: the step without it."""
    window, operator = step.window, step.operator
    assert window is not None
    size, hop = microseconds_of(window.size), microseconds_of(window.every)
    times = times or TimePlan()
    panes, emitted = _bounds(window, size, hop, times)
    plan = WindowPlan(
        kind=window.kind,
        size_us=window.events if window.kind is WindowKind.COUNT else size,
        hop_us=hop if window.kind is WindowKind.TIME else 0,
        panes=min(panes, PANES_MAX),
        emissions_max=emitted,
        merge=_merge_of(step),
        result=_result_of(step),
        outputs=_outputs(step),
        returns=not operator.columns,
    )
    held = held_dtype(planned, plan).itemsize
    if panes > PANES_MAX or held > HELD_BYTES_MAX:
        raise wrong(
            step.place,
            f'"{name}" would keep {panes:,} parts of windows for each key, {held:,} bytes or more, and '
            f"{HELD_BYTES_MAX:,} is the most: ask for a longer hop, a smaller window, less lateness or less "
            "out-of-orderness",
        )
    if emitted > EMISSIONS_MAX:
        raise wrong(
            step.place,
            f'"{name}": one event would close or correct {emitted:,} windows, and {EMISSIONS_MAX} is the most: ask for '
            "a longer hop, a smaller window or less out-of-orderness",
        )
    return plan


def _bounds(window: Window, size: int, hop: int, times: TimePlan) -> tuple[int, int]:
    """Parts of windows that a key keeps, and windows that an event closes or corrects at most."""
    out_of_order, lateness = times.out_of_order_us, times.lateness_us
    match window.kind:
        case WindowKind.TIME:
            kept = windowing.slices_kept(size, hop, out_of_order, lateness)
            return kept, windowing.windows_emitted(size, hop, out_of_order)
        case WindowKind.SESSION:
            kept = windowing.sessions_kept(size, out_of_order, lateness)
            return kept, kept + 1
        case WindowKind.SLIDING:
            return window.events, window.events + 1
        case WindowKind.COUNT:
            return 1, 1


def _outputs(step: Step) -> tuple[Field, ...]:
    """By the operator's own names; a single one is "value"."""
    outputs = step.operator.outputs
    return outputs if step.operator.is_tuple else (Field("value", outputs[0].kind, outputs[0].nullable),)


def _merge_of(step: Step) -> Callable[..., Any]:
    operator = step.operator
    if operator.merge is None:
        return _never_merged
    writer = _Space()
    call = writer.call(operator.merge, "state, other", operator.constants(operator.merge, 2, step.arguments))
    return writer.made(f"def merge(state, other):\n    {call}\n", "merge")


@kernel_part
def _never_merged(state: Any, other: Any) -> None:
    """For windows that have one part."""


def _result_of(step: Step) -> Callable[..., Any]:
    """A function of the state that gives all outputs as a tuple, each in its declared type."""
    writer = _Space()
    values = list(_column_values(step, writer) if step.operator.columns else _result_values(step, writer))
    before = [line for line, _ in values if line]
    converted = [
        f'{converter_name((output.kind, output.nullable))}({value}, "{output.name}"), '
        for output, (_, value) in zip(_outputs(step), values, strict=True)
    ]
    body = "\n    ".join((*before, f"return ({''.join(converted)})"))
    return writer.made(f"def result(state):\n    {body}\n", "result")


def _result_values(step: Step, writer: "_Space") -> Iterator[tuple[str, str]]:
    """A line to be written before, or "", and the expression of an output, for each output."""
    operator = step.operator
    assert operator.result is not None
    call = writer.call(operator.result, "state", operator.constants(operator.result, 1, step.arguments))
    for place in range(len(operator.outputs)):
        line = f"found = {call}" if place == 0 else ""
        yield line, f"found[{place}]" if operator.is_tuple else "found"


def _column_values(step: Step, writer: "_Space") -> Iterator[tuple[str, str]]:
    for column in step.operator.columns:
        constants = step.operator.constants(column.read, 2, step.arguments)
        for place in range(len(column.names)):
            yield "", writer.call(column.read, f"state, {place}", constants)


class _Space:
    """The names that a function made of texts refers to."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {"__name__": __name__, **CONVERTERS}

    def call(self, helper: Callable[..., Any], own: str, constants: Sequence[Constant]) -> str:
        """A call of a user's function, with its own arguments and the step's constants."""
        name = self._put(compilable(cast(FunctionType, helper)))
        return f"{name}({', '.join((own, *(self._put(compiled_constant(constant)) for constant in constants)))})"

    def _put(self, value: Any) -> str:
        name = f"value_{len(self._values)}"
        self._values[name] = value
        return name

    def made(self, source: str, name: str) -> Callable[..., Any]:
        """The function, ready to become part of a kernel."""
        exec(source, self._values)  # made of our own words and of names that are identifiers
        return kernel_part(cast(Callable[..., Any], self._values[name]))


def describe_window(step: Step, plan: WindowPlan) -> list[str]:
    """All that decides what a window emits, for the digest."""
    helpers = [helper for helper in (step.operator.merge, step.operator.result) if helper is not None]
    parts = [f"over {plan.kind.name} {plan.size_us} {plan.hop_us} {plan.panes}"]
    return parts + [part for helper in helpers for part in fingerprint(cast(FunctionType, helper))]
