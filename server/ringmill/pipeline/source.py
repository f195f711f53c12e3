"""What an operator is made of: its source, and every function and constant that it refers to, in whatever file.

The digest of a pipeline covers all of it, and the compiled code is linked with the very same values: so a constant that
changes after loading changes nothing, and an edit anywhere changes the digest.
"""

import ast
import dis
import inspect
import math
import textwrap
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ringmill.engine.link import link, tuple_maker
from ringmill.engine.plan import DeclaredLabel
from ringmill.pipeline import fields
from ringmill.pipeline.allowed import BUILTINS, NUMPY_FUNCTIONS, advice
from ringmill.pipeline.fields import parse_type
from ringmill.pipeline.place import Place, wrong

Function = types.FunctionType


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
        text = textwrap.dedent(inspect.getsource(function))
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


def check_reference(reference: Reference) -> None:
    """Refuses a value that is not fixed, not deterministic, or has no meaning inside a kernel."""
    if not _is_fixed(reference.value):
        raise wrong(reference.place, f"{reference.name} {advice(reference.name, reference.value)}")


def _is_fixed(value: Any) -> bool:
    match value:
        case DeclaredLabel() | bool() | int() | float() | np.number() | np.bool_() | np.ufunc():
            return not isinstance(value, int) or -(2**63) <= value < 2**64
        case tuple():
            return all(_is_fixed(item) for item in value)
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
        parts += [ast.unparse(tree), repr(current.__defaults__)]
        for reference in sorted(references(current), key=lambda reference: reference.name):
            parts += [reference.name, _describe(reference.value)]
    return parts


def _describe(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ",".join(_describe(item) for item in value) + ")"
    if is_tuple_class(value):
        return f"{value.__name__}{[(name, str(parse_type(hint))) for name, hint in value.__annotations__.items()]}"
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type, np.ufunc)):
        return value.__name__
    return f"{type(value).__name__} {value!r}"


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
        return tuple_maker(value, {name: parse_type(hint) for name, hint in value.__annotations__.items()})
    if isinstance(value, tuple):
        return tuple(_linked(item, done) for item in value)
    if isinstance(value, types.FunctionType) and not _is_library(value):
        return compilable(value, done)
    return value
