"""Users' functions made ready for compilation: what they refer to is fixed, and what they return has its declared type.

None of these is compiled or cached by itself; they become part of the fused kernel of `engine/fuse.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import Any

from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from ringmill.core.jit import kernel_part
from ringmill.engine.plan import Kind

MISMATCH = "ringmill: "
"""Begins the messages of ours that come back inside a compiler's error."""


def link(function: FunctionType, values: Mapping[str, Any], defaults: tuple[Any, ...]) -> Callable[..., Any]:
    """The function with these values for its globals, closed-over names and defaults, whatever becomes of those."""
    code = function.__code__
    space = {
        "__builtins__": __builtins__,
        "__name__": __name__,
        **values,
    }  # Numba's cache imports the module of that name
    closure = tuple(CellType(values[name]) for name in code.co_freevars)
    linked = FunctionType(code, space, function.__name__, defaults, closure)
    return kernel_part(linked)


def tuple_maker(cls: Any, fields: Mapping[str, tuple[Kind, bool] | None]) -> Callable[..., Any]:
    """A function that builds a NamedTuple with each value in its declared type, so that every path returns one type."""
    arguments = [f"{name}=default_{name}" if name in cls._field_defaults else name for name in cls._fields]
    built = ", ".join(f'{converter_name(fields.get(name))}({name}, "{name}")' for name in cls._fields)
    source = f"def make({', '.join(arguments)}):\n    return cls({built})\n"
    space: dict[str, Any] = {"__name__": __name__, "cls": cls, **CONVERTERS}
    space |= {f"default_{name}": value for name, value in cls._field_defaults.items()}
    exec(source, space)  # names come from a NamedTuple class, which admits identifiers only
    return kernel_part(space["make"])


def converter_name(parsed: tuple[Kind, bool] | None) -> str:
    """Which of CONVERTERS gives a value its declared type."""
    return "as_is" if parsed is None else f"as_{parsed[0].name.lower()}"


def spoken(value: Any) -> str:
    """A compiler's type in the words of a user."""
    if isinstance(value, types.Optional):
        return f"{spoken(value.type)} or None"
    if value == types.uint64:
        return "a label"
    known = {types.Boolean: "a bool", types.Integer: "an int", types.Float: "a float", types.NoneType: "None"}
    known |= {types.UnicodeType: "a text", types.StringLiteral: "a text", types.BaseTuple: "a tuple"}
    known |= {types.Array: "an array", types.Record: "a record"}
    return next((words for kind, words in known.items() if isinstance(value, kind)), f"a {value}")


@dataclass(frozen=True, slots=True)
class Declared:
    """What an output of one kind may be computed as."""

    result: Any
    accepted: tuple[type, ...]
    words: str
    instead: str


DECLARED = {
    Kind.DOUBLE: Declared(
        types.float64, (types.Float, types.Integer), "float", "write float(...), or math.nan for no value"
    ),
    Kind.INTEGER: Declared(
        types.int64, (types.Integer,), "int", "write int(...), which drops the fraction, or declare it float"
    ),
    Kind.BOOL: Declared(types.boolean, (types.Boolean,), "bool", "write a comparison, such as value != 0"),
    Kind.LABEL: Declared(
        types.uint64,
        (types.Integer,),
        "Label",
        'return a label of the event, or one that label("...") declares at module level',
    ),
}


def mismatch(kind: Kind, name: str, value: Any) -> str | None:
    """What is wrong with an output of this kind that is computed as this type; None: nothing."""
    declared = DECLARED[kind]
    is_label = value == types.uint64
    if isinstance(value, declared.accepted) and is_label == (kind is Kind.LABEL):
        return None
    return f"{name} is declared {declared.words} but is {spoken(value)}: {declared.instead}"


def _converter(kind: Kind) -> Any:
    """A primitive `convert(value, name)` that types the value as declared, and does not compile where it may not."""
    result = DECLARED[kind].result

    @intrinsic(prefer_literal=True)
    def convert(_context: Any, value: Any, name: Any) -> Any:
        if problem := mismatch(kind, getattr(name, "literal_value", "the result"), value):
            raise TypingError(MISMATCH + problem)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return context.cast(builder, arguments[0], signature.args[0], result)

        return result(value, name), codegen

    return convert


@intrinsic
def as_is(_context: Any, value: Any, name: Any) -> Any:
    """The value, of whatever type."""
    return value(value, name), lambda _context, _builder, _signature, arguments: arguments[0]


CONVERTERS: dict[str, Any] = {f"as_{kind.name.lower()}": _converter(kind) for kind in Kind} | {"as_is": as_is}
"""What gives an output its declared type: by name, as generated code calls them."""
