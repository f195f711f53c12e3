"""Users' functions made ready for compilation: what they refer to is fixed, and what they return has its declared type.

None of these is compiled or cached by itself; they become part of the fused kernel of `engine/fuse.py`.
"""

from collections.abc import Callable, Mapping
from types import CellType, FunctionType
from typing import Any

import numpy as np
from numba import types
from numba.core.errors import TypingError
from numba.extending import overload

from ringmill.core.jit import kernel_part
from ringmill.engine.plan import Kind

MISMATCH = "ringmill:"
"""Begins the messages of ours that come back inside a compiler's error."""


def link(function: FunctionType, values: Mapping[str, Any], defaults: tuple[Any, ...]) -> Callable[..., Any]:
    """The function with these values for its globals, closed-over names and defaults, whatever becomes of those."""
    code = function.__code__
    space = {"__builtins__": __builtins__, "__name__": function.__module__, **values}
    closure = tuple(CellType(values[name]) for name in code.co_freevars)
    linked = FunctionType(code, space, function.__name__, defaults, closure)
    return kernel_part(linked)


def tuple_maker(cls: Any, fields: Mapping[str, tuple[Kind, bool] | None]) -> Callable[..., Any]:
    """A function that builds a NamedTuple with each value in its declared type, so that every path returns one type."""
    arguments = [f"{name}=default_{name}" if name in cls._field_defaults else name for name in cls._fields]
    built = ", ".join(f'{converter_name(fields.get(name))}({name}, "{name}")' for name in cls._fields)
    source = f"def make({', '.join(arguments)}):\n    return cls({built})\n"
    space: dict[str, Any] = {"cls": cls, **CONVERTERS}
    space |= {f"default_{name}": value for name, value in cls._field_defaults.items()}
    exec(source, space)  # names come from a NamedTuple class, which admits identifiers only
    return kernel_part(space["make"])


def converter_name(parsed: tuple[Kind, bool] | None) -> str:
    """Which function below gives a value its declared type."""
    return "as_is" if parsed is None else f"as_{parsed[0].name.lower()}"


def as_double(value: Any, name: str) -> float:
    """A float; whole numbers widen."""
    raise NotImplementedError("compiled code only")


def as_integer(value: Any, name: str) -> int:
    """A signed 64-bit integer."""
    raise NotImplementedError("compiled code only")


def as_bool(value: Any, name: str) -> bool:
    """A bool."""
    raise NotImplementedError("compiled code only")


def as_label(value: Any, name: str) -> np.uint64:
    """A label's hash."""
    raise NotImplementedError("compiled code only")


def as_is(value: Any, name: str) -> Any:
    """Whatever it is."""
    raise NotImplementedError("compiled code only")


CONVERTERS: dict[str, Any] = {
    "as_double": as_double,
    "as_integer": as_integer,
    "as_bool": as_bool,
    "as_label": as_label,
    "as_is": as_is,
}


def _mismatch(name: Any, value: Any, declared: str, instead: str) -> TypingError:
    text = getattr(name, "literal_value", "") or "the result"
    return TypingError(f"{MISMATCH}{text} is declared {declared} but is {spoken(value)}: {instead}")


def spoken(value: Any) -> str:
    """A compiler's type in the words of a user."""
    if isinstance(value, types.Optional):
        return f"{spoken(value.type)} or None"
    if value == types.uint64:
        return "a label"
    known = {types.Boolean: "a bool", types.Integer: "an int", types.Float: "a float", types.NoneType: "None"}
    known |= {
        types.UnicodeType: "a text",
        types.BaseTuple: "a tuple",
        types.Array: "an array",
        types.Record: "a record",
    }
    for kind, words in known.items():
        if isinstance(value, kind):
            return words
    return f"a {value}"


# An overload's parameters must be those of the function it stands for, whether it uses them or not.


@overload(as_double)
def _as_double(value: Any, name: Any) -> Any:
    if isinstance(value, types.Float) or (isinstance(value, types.Integer) and value != types.uint64):
        return lambda value, name: np.float64(value)  # noqa: ARG005  # see above
    is_none = isinstance(value, (types.NoneType, types.Optional))
    raise _mismatch(name, value, "float", "write math.nan for no value" if is_none else "change one of them")


@overload(as_integer)
def _as_integer(value: Any, name: Any) -> Any:
    if isinstance(value, types.Integer) and value != types.uint64:
        return lambda value, name: np.int64(value)  # noqa: ARG005  # see above
    raise _mismatch(name, value, "int", "write int(...), which drops the fraction, or declare it float")


@overload(as_bool)
def _as_bool(value: Any, name: Any) -> Any:
    if isinstance(value, types.Boolean):
        return lambda value, name: value  # noqa: ARG005  # see above
    raise _mismatch(name, value, "bool", "write a comparison, such as value != 0")


@overload(as_label)
def _as_label(value: Any, name: Any) -> Any:
    if value == types.uint64:
        return lambda value, name: value  # noqa: ARG005  # see above
    raise _mismatch(
        name, value, "Label", 'return a label of the event, or one declared by label("...") at module level'
    )


@overload(as_is)
def _as_is(value: Any, name: Any) -> Any:  # noqa: ARG001  # see above
    return lambda value, name: value  # noqa: ARG005  # see above
