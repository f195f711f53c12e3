"""Binds an operator's inputs to fields and earlier outputs, in more ways than the fused kernel knows by itself.

The kernel passes the event, earlier outputs as floats, and constants. What an operator wants beside that (tokens,
labels, several numbers as one tuple, outputs by columns) a small function in between makes of them:

    def bound(state, event, a0, a1, a2):
        function(state, event, event.carrier, (a0, a1), a2)
        return (as_label(column_0(state, 0, a2), "first"), as_label(column_0(state, 1, a2), "second"))
"""

import enum
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ringmill.core.jit import kernel_part
from ringmill.engine.link import CONVERTERS, converter_name
from ringmill.engine.plan import Constant, Field, Kind, Read
from ringmill.pipeline.fields import INPUT_MARK, INPUTS_MARK, LABEL_INPUT_MARK, TOKEN_MARK


class Bound(enum.Enum):
    """What an input becomes inside the kernel."""

    NUMBER = "Input"
    NUMBERS = "Inputs"
    TOKEN = "Token"
    LABEL = "LabelInput"


_MARKS = {
    INPUT_MARK: Bound.NUMBER,
    INPUTS_MARK: Bound.NUMBERS,
    TOKEN_MARK: Bound.TOKEN,
    LABEL_INPUT_MARK: Bound.LABEL,
}


def bound_by(marks: Sequence[Any]) -> Bound | None:
    """The kind of input that an annotation's arguments declare."""
    return next((bound for mark, bound in _MARKS.items() if any(mark is given for given in marks)), None)


@dataclass(frozen=True, slots=True)
class Reads:
    """An argument that is read for every event: one name, or several for NUMBERS."""

    bound: Bound
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"Read {self.names[0]}" if self.bound is Bound.NUMBER else f"{self.bound.value} {' '.join(self.names)}"


# David Stafford's mixing function 13, as in splitmix64: one to one, so different numbers have different tokens.
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MISSING, _ONE = np.uint64(0), np.uint64(1)


def _token_of_bits(word: np.uint64) -> np.uint64:
    word += _STEP
    word = (word ^ (word >> _SHIFTS[0])) * _FACTORS[0]
    word = (word ^ (word >> _SHIFTS[1])) * _FACTORS[1]
    word ^= word >> _SHIFTS[2]
    return word if word != _MISSING else _ONE


_of_bits = kernel_part(_token_of_bits)


@kernel_part
def _of_whole(value: int) -> np.uint64:
    return _of_bits(np.uint64(value))


@kernel_part
def _of_double(value: float) -> np.uint64:
    if math.isnan(value):
        return _MISSING
    return _of_bits(np.float64(value + 0.0).view(np.uint64))  # -0.0 + 0.0 is 0.0


def token_of(value: float) -> int:
    """The token that kernels see of a number: of a float as a double's, of an int or bool as a whole number's."""
    if isinstance(value, float) and math.isnan(value):
        return 0
    word = np.float64(value + 0.0).view(np.uint64) if isinstance(value, float) else np.uint64(int(value) % 2**64)
    with np.errstate(over="ignore"):
        return int(_token_of_bits(word))


@dataclass(slots=True)
class Wrapper:
    """The source of a function in between, as it grows."""

    parameters: list[str] = field(default_factory=lambda: ["state", "event"])
    passed: list[Read | Constant] = field(default_factory=list)
    """The arguments after state and event that the fused kernel passes."""

    def take(self, argument: Read | Constant) -> str:
        """The variable that holds what the kernel passes for this argument."""
        self.passed.append(argument)
        self.parameters.append(f"a{len(self.passed) - 1}")
        return self.parameters[-1]


def bind(
    function: Callable[..., Any],
    arguments: Sequence[Reads | Constant],
    known: Mapping[str, Field],
    event_fields: Sequence[Field],
    columns: Sequence[tuple[Callable[..., Any], Sequence[Field], Sequence[Any]]] = (),
) -> tuple[Callable[..., Any], tuple[Read | Constant, ...]]:
    """The function as the fused kernel calls it, and the arguments that the kernel gives it.

    function, and each column's reader: linked. known: fields and earlier outputs by name. columns: reader, outputs, and
    the constants that it takes after state and index.
    """
    own = {declared.name for declared in event_fields}
    if not columns and not any(_needs_more(argument, known, own) for argument in arguments):
        return function, tuple(
            argument if isinstance(argument, Constant) else Read(argument.names[0]) for argument in arguments
        )
    wrapper = Wrapper()
    given = [_expression(wrapper, argument, known, own) for argument in arguments]
    variables = {id(argument): text for argument, text in zip(arguments, given, strict=True)}
    call = f"function({', '.join(('state', 'event', *given))})"
    body = f"return {call}" if not columns else f"{call}\n    return ({''.join(_read_columns(columns, variables))})"
    source = f"def bound({', '.join(wrapper.parameters)}):\n    {body}\n"
    space: dict[str, Any] = {"__name__": __name__, "function": function, **CONVERTERS}
    space |= {"of_whole": _of_whole, "of_double": _of_double}
    space |= {f"column_{number}": reader for number, (reader, _, _) in enumerate(columns)}
    exec(source, space)  # made of our own words and of names that are identifiers
    return kernel_part(space["bound"]), tuple(wrapper.passed)


def _needs_more(argument: Reads | Constant, known: Mapping[str, Field], own: set[str]) -> bool:
    """Whether the kernel alone does not pass it."""
    if isinstance(argument, Constant):
        return False
    name = argument.names[0]
    return argument.bound is not Bound.NUMBER or (name in own and known[name].kind is Kind.BOOL)


def _expression(wrapper: Wrapper, argument: Reads | Constant, known: Mapping[str, Field], own: set[str]) -> str:
    if isinstance(argument, Constant):
        return wrapper.take(argument)
    match argument.bound:
        case Bound.NUMBER:
            return _number(wrapper, argument.names[0], known, own)
        case Bound.NUMBERS:
            return f"({''.join(f'{_number(wrapper, name, known, own)}, ' for name in argument.names)})"
        case Bound.LABEL:
            return f"event.{argument.names[0]}"
        case Bound.TOKEN:
            return _token(wrapper, known[argument.names[0]], argument.names[0] in own)


def _number(wrapper: Wrapper, name: str, known: Mapping[str, Field], own: set[str]) -> str:
    if name in own and known[name].kind is Kind.BOOL:
        return f"(1.0 if event.{name} else 0.0)"
    return wrapper.take(Read(name))


def _token(wrapper: Wrapper, read: Field, is_field: bool) -> str:
    if not is_field:
        return f"of_double({wrapper.take(Read(read.name))})"
    if read.kind is Kind.LABEL:
        return f"event.{read.name}"
    return f"of_double(event.{read.name})" if read.kind is Kind.DOUBLE else f"of_whole(event.{read.name})"


def _read_columns(
    columns: Sequence[tuple[Callable[..., Any], Sequence[Field], Sequence[Any]]], variables: Mapping[int, str]
) -> Iterator[str]:
    for number, (_, outputs, constants) in enumerate(columns):
        for index, output in enumerate(outputs):
            arguments = ", ".join(("state", str(index), *(variables[id(constant)] for constant in constants)))
            convert = converter_name((output.kind, output.nullable))
            yield f'{convert}(column_{number}({arguments}), "{output.name}"), '
