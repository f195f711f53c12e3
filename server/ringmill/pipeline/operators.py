"""Operators: plain functions of a key's state and an event, and the steps that place them in a pipeline."""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Annotated, Any, get_args, get_origin, overload
from typing import get_type_hints as type_hints

from ringmill.engine.plan import Constant, DeclaredLabel, Field, Kind
from ringmill.pipeline.binding import Bound, Reads, bound_by
from ringmill.pipeline.fields import Event, State, check_name, check_value, parse_type
from ringmill.pipeline.place import Place, caller, wrong
from ringmill.pipeline.windows import LONGEST, Window


@dataclass(frozen=True, slots=True)
class Parameter:
    """What an operator takes beside state and event."""

    name: str
    kind: Kind | None
    """Of a constant."""
    bound: Bound | None
    """What an input is bound to, and read from for each event; None: a constant."""
    default: Any
    """inspect.Parameter.empty: it must be given."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Outputs of one kind, as many as there are names: the i-th is `read(state, i, constants...)` after the event."""

    names: tuple[str, ...]
    read: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Step:
    """An operator with its arguments. Its place and name come from the pipeline that it stands in."""

    operator: "Operator"
    arguments: tuple[Reads | Constant, ...]
    place: Place
    window: Window | None = None
    lateness: timedelta = field(default=timedelta(0))

    def over(self, window: Window, lateness: timedelta = timedelta(0)) -> "Step":
        """Applies the operator to windows: the step has no output, but emits what each window amounts to.

        lateness: by how much an event may be older than its key's clock; each such event makes the closed windows that
        it falls into emit again. Older ones are rejected LATE. The same in all windows of a pipeline.
        """
        place = caller()
        if not isinstance(window, Window):
            raise wrong(place, f"over({window!r:.60}): write a window, as in over(tumbling(minutes=1))")
        if not isinstance(lateness, timedelta) or not timedelta(0) <= lateness <= LONGEST:
            raise wrong(
                place, f"lateness={lateness!r}: write a duration from 0 to 100 years, as in lateness=minutes(5)"
            )
        return replace(self, window=window, lateness=lateness)


class Operator:
    """A function that `@operator` has read. Calling it with its parameters makes a step."""

    def __init__(
        self,
        function: Callable[..., Any],
        names: Mapping[str, Any],
        merge: Callable[..., None] | None = None,
        result: Callable[..., Any] | None = None,
        columns: tuple[Columns, ...] = (),
        guard: Callable[..., None] | None = None,
    ) -> None:
        self.function = function
        self.name = function.__name__
        self.place = Place(function.__code__.co_filename, function.__code__.co_firstlineno)
        self.__doc__ = function.__doc__
        hints = self._read_hints(names)
        state, event, *rest = self._read_signature(hints)
        self.state: type[State] = state
        self.event: type[Event] = event
        self.parameters: tuple[Parameter, ...] = tuple(rest)
        self.outputs, self.is_tuple = self._read_columns(columns, hints) if columns else self._read_outputs(hints)
        self.columns = columns
        self.merge, self.result, self.guard = merge, result, guard
        for helper, own in ((merge, 2), (result, 1), *((column.read, 2) for column in columns)):
            if helper is not None:
                self._check_helper(helper, own)
        if guard is not None and list(inspect.signature(guard).parameters)[2:] != [p.name for p in self.parameters]:
            raise wrong(self.place, f"{self.name}: {guard.__name__} takes what {self.name} takes, by the same names")

    def __call__(self, *inputs: str | tuple[str, ...], **arguments: Any) -> Step:
        """Makes a step. Inputs are names of fields or of earlier outputs; other parameters are constants."""
        place = caller()
        given: dict[str, Any] = dict(zip((parameter.name for parameter in self.parameters), inputs, strict=False))
        if len(inputs) > len(self.parameters) or given.keys() & arguments.keys():
            raise wrong(place, f"{self.name}() takes {self._wanted()}")
        given.update(arguments)
        for name in given.keys() - {parameter.name for parameter in self.parameters}:
            raise wrong(place, f"{self.name}() has no parameter {name}; it takes {self._wanted()}")
        return Step(self, tuple(self._bind(parameter, given, place) for parameter in self.parameters), place)

    def constants(self, helper: Callable[..., Any], own: int, arguments: tuple[Reads | Constant, ...]) -> list[Any]:
        """What a step with these arguments gives to its merge, result or column after the first `own` parameters."""
        wanted = list(inspect.signature(helper).parameters)[own:]
        by_name = {parameter.name: argument for parameter, argument in zip(self.parameters, arguments, strict=True)}
        return [by_name[name] for name in wanted]

    def _wanted(self) -> str:
        return ", ".join(parameter.name for parameter in self.parameters) or "no parameters"

    def _bind(self, parameter: Parameter, given: Mapping[str, Any], place: Place) -> Reads | Constant:
        value = given.get(parameter.name, parameter.default)
        if value is inspect.Parameter.empty:
            raise wrong(place, f"{self.name}() needs {parameter.name}")
        if parameter.kind not in (None, Kind.LABEL) and isinstance(value, str):
            raise wrong(
                place,
                f"{parameter.name} is a constant of {self.name}, and {value!r} is a text: to read a field or an "
                f"earlier step, declare it {parameter.name}: Input",
            )
        if parameter.kind is not None:
            return Constant(parameter.kind, check_value(parameter.name, parameter.kind, value, place))
        assert parameter.bound is not None
        names = value if parameter.bound is Bound.NUMBERS and isinstance(value, (tuple, list)) else (value,)
        if not names or not all(isinstance(name, str) and not isinstance(name, DeclaredLabel) for name in names):
            raise wrong(
                place, f'{parameter.name} is an Input: write the name of a field or of an earlier step, as in "z"'
            )
        return Reads(parameter.bound, tuple(names))

    def _read_hints(self, names: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return type_hints(self.function, localns=dict(names), include_extras=True)
        except NameError as problem:
            raise wrong(self.place, f"{self.name}: an annotation names what is not defined: {problem}") from None

    def _read_signature(self, hints: Mapping[str, Any]) -> tuple[Any, ...]:
        shape = f"write @operator def {self.name}(state: YourState, event: YourEvent, parameter: float = 1.0) -> float"
        parameters = list(inspect.signature(self.function).parameters.values())
        if any(parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD for parameter in parameters):
            raise wrong(self.place, f"{self.name}: no *, / or ** among the parameters; {shape}")
        if len(parameters) < 2 or any(parameter.name not in hints for parameter in parameters):
            raise wrong(self.place, f"{self.name}: every parameter needs its type; {shape}")
        state, event = (hints[parameter.name] for parameter in parameters[:2])
        if not (isinstance(state, type) and issubclass(state, State)):
            raise wrong(
                self.place, f"{self.name}: the first parameter is the state, a class derived from State; {shape}"
            )
        if not (isinstance(event, type) and issubclass(event, Event)):
            raise wrong(
                self.place, f"{self.name}: the second parameter is the event, a class derived from Event; {shape}"
            )
        return state, event, *(self._read_parameter(parameter, hints) for parameter in parameters[2:])

    def _read_parameter(self, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Parameter:
        hint = hints[parameter.name]
        if get_origin(hint) is Annotated and (bound := bound_by(get_args(hint))):
            return Parameter(parameter.name, None, bound, parameter.default)
        parsed = parse_type(hint)
        if parsed is None or parsed[1]:
            raise wrong(self.place, f"{self.name}: {parameter.name} is a float, int, bool, Label or Input")
        return Parameter(parameter.name, parsed[0], None, parameter.default)

    def _read_outputs(self, hints: Mapping[str, Any]) -> tuple[tuple[Field, ...], bool]:
        if "return" not in hints:
            raise wrong(self.place, f"{self.name}: say what it returns: -> float, or -> None if nothing")
        result = hints["return"]
        if result is type(None):
            return (), False
        if parsed := parse_type(result):
            return (Field("", *parsed),), False
        if not (isinstance(result, type) and issubclass(result, tuple) and hasattr(result, "_fields")):
            raise wrong(
                self.place, f"{self.name}: it returns a float, float | None, int, bool, Label, or a NamedTuple of them"
            )
        return tuple(
            self._read_output(name, hint) for name, hint in type_hints(result, include_extras=True).items()
        ), True

    def _read_columns(self, columns: tuple[Columns, ...], hints: Mapping[str, Any]) -> tuple[tuple[Field, ...], bool]:
        if hints.get("return", "nothing") is not type(None):
            raise wrong(self.place, f"{self.name} has columns, which are its outputs: write -> None")
        return tuple(
            self._read_output(name, type_hints(column.read, include_extras=True).get("return"))
            for column in columns
            for name in column.names
        ), True

    def _read_output(self, name: str, hint: Any) -> Field:
        check_name(name, self.place)
        parsed = parse_type(hint)
        if parsed is None:
            raise wrong(self.place, f"{self.name}: output {name} is a float, float | None, int, bool or Label")
        return Field(name, *parsed)

    def _check_helper(self, helper: Callable[..., Any], own: int) -> None:
        """After its own parameters a helper takes constants of the operator, by their names."""
        constants = {parameter.name for parameter in self.parameters if parameter.bound is None}
        parameters = list(inspect.signature(helper).parameters)
        unknown = [name for name in parameters[own:] if name not in constants]
        if len(parameters) < own or unknown:
            first = ("state", "other" if helper is self.merge else "index")[:own]
            may = ", ".join((*first, *sorted(constants)))
            raise wrong(self.place, f"{self.name}: {helper.__name__} takes ({may}), the first {own} of them always")


@overload
def operator(function: Callable[..., Any], /) -> Operator: ...


@overload
def operator(
    *,
    merge: Callable[..., None] | None = None,
    result: Callable[..., Any] | None = None,
    columns: tuple[Columns, ...] = (),
    guard: Callable[..., None] | None = None,
) -> Callable[[Callable[..., Any]], Operator]: ...


def operator(
    function: Callable[..., Any] | None = None,
    /,
    *,
    merge: Callable[..., None] | None = None,
    result: Callable[..., Any] | None = None,
    columns: tuple[Columns, ...] = (),
    guard: Callable[..., None] | None = None,
) -> Operator | Callable[[Callable[..., Any]], Operator]:
    """Makes an operator of a function `(state: S, event: E, parameters...) -> output`.

    It runs once for each event, with the state of the event's key, which it may change in place. What it returns is
    checked: no infinity anywhere, NaN only where the output is `float | None`. If it raises (dividing by zero does), or
    returns what may not be, the key's state stays as it was and the event is rejected OPERATOR_FAILED.

    merge: `(state, other, constants...)` makes of `state` what it would be after the events of `other` too, which came
        later. Where there is none, two states cannot be made one.
    result: `(state, constants...)` gives the outputs of a state without an event. Where there is none, an output
        belongs to its event alone.
    columns: outputs whose number a parameter decides; the function itself then returns None.
    guard: with the function's own parameters; raises where the event must be rejected, and changes nothing. A promise:
        after it the function cannot fail, nor return what it may not. Where `ringmill.pipeline.ops` makes it, no copy
        of the state is made for each event, which is most of what a large one costs. Nobody else's is relied on: the
        states of such operators are copied all the same.
    """
    names = sys._getframe(1).f_locals

    def make(function: Callable[..., Any]) -> Operator:
        return Operator(function, names, merge, result, columns, guard)

    return make if function is None else make(function)
