"""What an operator is made of: its source, and every function and constant that it refers to, in whatever file.

The digest of a pipeline covers all of it, and the compiled code is linked with the very same values: so a constant that
changes after loading changes nothing, and an edit anywhere changes the digest.
"""

import ast
import dis
import hashlib
import inspect
import math
import textwrap
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from typing import get_type_hints as type_hints

import numpy as np

from ringmill.engine.link import link, tuple_maker
from ringmill.engine.plan import DeclaredLabel, Kind
from ringmill.pipeline import fields
from ringmill.pipeline.allowed import BUILTINS, NUMPY_FUNCTIONS, advice
from ringmill.pipeline.fields import parse_type
from ringmill.pipeline.place import Place, wrong

Function = types.FunctionType

TABLE_BYTES_MAX = 4 << 20
"""Of an array that a kernel refers to and that cannot be written: it becomes part of the machine code."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that a function uses and does not define itself."""

    name: str
    value: Any
    place: Place


def syntax_tree(function: Function) -> ast.FunctionDef:
    """The function's definition, with the line numbers of its file."""
    place = place_of(function)
    try:
        # Of the code, not of the function: functools.wraps would lead to the source of what the function wraps.
        text = textwrap.dedent(inspect.getsource(function.__code__))
    except (OSError, TypeError):
        raise wrong(place, f"the source of {function.__name__} is not in a file: write it in one") from None
    found = ast.parse(text).body[0] if text.startswith(("def", "@")) else None
    if not isinstance(found, ast.FunctionDef):
        raise wrong(place, f"{function.__name__} is not a plain function: write def {function.__name__}(...)")
    ast.increment_lineno(found, place.line - 1)
    return found


def place_of(function: Function) -> Place:
    """Where a function begins."""
    return Place(function.__code__.co_filename, function.__code__.co_firstlineno)


def references(function: Function) -> list[Reference]:
    """The globals and closed-over names that a function's code loads, each once."""
    file = function.__code__.co_filename
    closed = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    found: dict[str, Reference] = {}
    for instruction in _instructions(function.__code__):
        name = instruction.argval
        line = instruction.positions.lineno if instruction.positions else None
        place = Place(file, line or function.__code__.co_firstlineno)
        if name in found:
            continue
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            found[name] = Reference(name, _global(function, name, place), place)
        elif instruction.opname == "LOAD_DEREF" and name in closed:
            found[name] = Reference(name, closed[name].cell_contents, place)
    return list(found.values())


def _instructions(code: types.CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _instructions(constant)


def _global(function: Function, name: str, place: Place) -> Any:
    space = function.__globals__
    if name in space:
        return space[name]
    builtins = space["__builtins__"]
    values = builtins if isinstance(builtins, dict) else vars(builtins)
    if name not in values:
        raise wrong(place, f"{name} is not defined")
    return values[name]


def reached(function: Function) -> list[Function]:
    """The function and every plain function that it calls, directly or through others, in order of discovery."""
    found = [function]
    for current in found:
        found.extend(
            reference.value
            for reference in references(current)
            if isinstance(reference.value, Function)
            and not _is_library(reference.value)
            and reference.value not in found
        )
    return found


def check_calls(function: Function, above: tuple[Function, ...] = ()) -> None:
    """Refuses a function that calls itself, directly or through others: kernels have no room for a deep stack."""
    above = (*above, function)
    for reference in references(function):
        if any(reference.value is outer for outer in above):
            raise wrong(
                reference.place, f"{reference.name} calls itself, directly or through others: write a loop instead"
            )
        if isinstance(reference.value, Function) and not _is_library(reference.value):
            check_calls(reference.value, above)


def check_parameters(function: Function) -> None:
    """Refuses a helper's parameters after a *, and defaults that are not fixed or that are functions."""
    place = place_of(function)
    if function.__code__.co_kwonlyargcount:
        raise wrong(place, f"{function.__name__} has parameters after a *: kernels do not know them; take the * away")
    count = function.__code__.co_argcount
    defaults = function.__defaults__ or ()
    for name, value in zip(function.__code__.co_varnames[count - len(defaults) : count], defaults, strict=True):
        if isinstance(value, Function):
            raise wrong(place, f"the default of {name} is a function: call it by its name inside {function.__name__}")
        if not _is_fixed(value):
            raise wrong(place, f"the default of {name} {advice(name, value)}")


def check_reference(reference: Reference) -> None:
    """Refuses a value that is not fixed, not deterministic, or has no meaning inside a kernel."""
    if not _is_fixed(reference.value):
        raise wrong(reference.place, f"{reference.name} {advice(reference.name, reference.value)}")


def _is_fixed(value: Any) -> bool:
    match value:
        case DeclaredLabel() | bool() | int() | float() | np.number() | np.bool_() | np.ufunc():
            return not isinstance(value, int) or -(2**63) <= value < 2**64
        case np.ndarray():
            return not value.flags.writeable and value.dtype.kind in "iuf" and value.nbytes <= TABLE_BYTES_MAX
        case tuple():
            return all(_is_fixed(item) and not isinstance(item, types.ModuleType) for item in value)
        case types.ModuleType():
            return value in (math, np)
        case types.BuiltinFunctionType():
            return value.__module__ == "math" or (value.__module__ == "builtins" and value.__name__ in BUILTINS)
        case type():
            return _is_fixed_type(value)
        case types.FunctionType():
            return not _is_library(value) or _is_numpy_function(value)
        case _:
            return _is_numpy_function(value)


def _is_fixed_type(value: type) -> bool:
    if issubclass(value, (np.number, np.bool_, Exception)) or is_tuple_class(value):
        return True
    return value.__module__ == "builtins" and value.__name__ in BUILTINS


def is_tuple_class(value: Any) -> bool:
    """Whether this is a NamedTuple class, which a kernel may build."""
    return isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields")


def _is_library(function: Function) -> bool:
    """Whether a function is not the user's: its source is no part of a pipeline."""
    return function.__module__.partition(".")[0] in ("numpy", "numba") or function.__module__ == fields.__name__


def _is_numpy_function(value: Any) -> bool:
    name = getattr(value, "__name__", "")
    return name in NUMPY_FUNCTIONS and getattr(np, name, None) is value


def fingerprint(function: Function) -> list[str]:
    """Everything that decides what a function computes, as texts: comments and layout of the source left out."""
    parts: list[str] = []
    for current in reached(function):
        tree = syntax_tree(current)
        tree.decorator_list = []
        parts += [ast.unparse(tree), _describe(current.__defaults__ or ())]
        for reference in sorted(references(current), key=lambda reference: reference.name):
            parts += [reference.name, _describe(reference.value)]
    return parts


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array {value.dtype.str} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, tuple):
        return "(" + ",".join(_describe(item) for item in value) + ")"
    if is_tuple_class(value):
        kinds = [f"{name} {kind}" for name, kind in _tuple_kinds(value).items()]
        return f"{value.__name__} {kinds} {_describe(tuple(value._field_defaults.items()))}"
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type, np.ufunc)):
        return value.__name__
    return f"{type(value).__name__} {value!r}"


def _tuple_kinds(cls: Any) -> dict[str, tuple[Kind, bool] | None]:
    """The fields of a NamedTuple class, in order, with their kinds; None where an annotation is no kind of ours."""
    try:
        hints = type_hints(cls, include_extras=True)
    except NameError:  # an annotation written as a text, of a name that is not global: no kind of ours
        hints = {}
    return {name: parse_type(hints.get(name)) for name in cls._fields}


def labels_in(function: Function) -> list[str]:
    """The labels that a function and its helpers refer to."""
    values = [reference.value for current in reached(function) for reference in references(current)]
    values += [item for value in values if isinstance(value, tuple) for item in value]
    return [str(value) for value in values if isinstance(value, DeclaredLabel)]


def compilable(function: Function, done: dict[Function, Callable[..., Any]] | None = None) -> Callable[..., Any]:
    """The function as a kernel may call it: its helpers compiled too, labels as hashes, all that it refers to fixed."""
    done = {} if done is None else done
    if function not in done:
        values = {reference.name: _linked(reference.value, done) for reference in references(function)}
        defaults = tuple(_linked(value, done) for value in function.__defaults__ or ())
        done[function] = link(function, values, defaults)
    return done[function]


def _linked(value: Any, done: dict[Function, Callable[..., Any]]) -> Any:
    if isinstance(value, DeclaredLabel):
        return np.uint64(value.hash)
    if is_tuple_class(value):
        return tuple_maker(value, _tuple_kinds(value))
    if isinstance(value, tuple):
        return tuple(_linked(item, done) for item in value)
    if isinstance(value, types.FunctionType) and not _is_library(value):
        return compilable(value, done)
    return value
