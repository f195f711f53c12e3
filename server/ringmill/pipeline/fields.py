"""The typed classes that users write: events, states and their fields, read from annotations.

    class Flight(Event):            class Recent(State):
        delay: float                    seen: int = 0
        carrier: Label = label("")      delays: Array = array(8, fill=0.0)

The order of an event's fields within their kind is their place on the wire. Outside kernels an event is an ordinary
object and labels are text. Inside kernels an event is read-only, and its key and labels are 64-bit hashes: compare them
with each other and with labels that `label()` declares.
"""

import keyword
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from dataclasses import fields as dataclass_fields
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeAlias, Union, cast, dataclass_transform, get_args, get_origin
from typing import get_type_hints as type_hints

from ringmill.engine.plan import DeclaredLabel, Field, Kind, Scalar
from ringmill.pipeline.place import Place, caller, wrong

EVENT_HEADER = ("key", "time_us")
"""What every event has beside its declared fields."""

FieldParser = Callable[[str, Any, Any, Place], Field]
"""Reads one annotated field: name, annotation, default, place."""

LABEL_BYTES_MAX = 1024
ARRAY_LENGTH_MAX = 65_536


class _Mark:
    """Tells an annotation from the plain type below it."""


LABEL_MARK = _Mark()
INPUT_MARK = _Mark()
INPUTS_MARK = _Mark()
TOKEN_MARK = _Mark()
LABEL_INPUT_MARK = _Mark()

Label: TypeAlias = Annotated[str, LABEL_MARK]
"""A short text with few values: a carrier, a currency. At most 1,024 bytes of UTF-8; empty: missing."""

Input: TypeAlias = Annotated[float, INPUT_MARK]
"""A parameter of an operator that is bound, by name, to a field or to an earlier step's output. Whole numbers and bools
arrive as floats, a missing value as NaN."""

Inputs: TypeAlias = Annotated[tuple[float, ...], INPUTS_MARK]
"""As `Input`, bound to one or more names: inside the kernel a tuple of floats, in the order of the names."""

Token: TypeAlias = Annotated[int, TOKEN_MARK]
"""As `Input`, bound to a field of any kind: inside the kernel 64 bits, as of a label, that are equal for equal values
and differ for others. 0 for a missing value; a label's own hash. For operators that count or compare, and compute
nothing."""

LabelInput: TypeAlias = Annotated[str, LABEL_INPUT_MARK]
"""As `Input`, bound to a label: inside the kernel its hash, which the operator may return as a Label."""


def label(text: str) -> Label:
    """Declares a label, so that kernels may compare with it and return it. Write it at module level or as a default."""
    if not isinstance(text, str) or len(text.encode()) > LABEL_BYTES_MAX:
        raise wrong(caller(), f"label({text!r:.40}): a label is a text of at most {LABEL_BYTES_MAX} bytes")
    return DeclaredLabel(text)


class Array:
    """An array of fixed length in a state. An index past either end fails the event and changes nothing."""

    def __getitem__(self, index: int) -> Any:
        raise TypeError("a state exists inside kernels only")

    def __setitem__(self, index: int, value: float | Label) -> None:
        raise TypeError("a state exists inside kernels only")

    def __len__(self) -> int:
        raise TypeError("a state exists inside kernels only")


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """What `array()` declares."""

    length: int
    fill: Scalar | str


def array(length: int, fill: float | Label = 0.0) -> Array:
    """Declares an array of `length` elements of the kind of `fill`: 0.0 floats, 0 integers, False bools, label("")."""
    if not isinstance(length, int) or not 1 <= length <= ARRAY_LENGTH_MAX:
        raise wrong(caller(), f"array({length!r}): the length is a whole number from 1 to {ARRAY_LENGTH_MAX}")
    if not isinstance(fill, (bool, int, float, DeclaredLabel)):
        raise wrong(
            caller(), f'array(fill={fill!r}): write 0.0 for floats, 0 for integers, False for bools or label("")'
        )
    return cast(Array, ArraySpec(length, fill))


def _read_fields(owner: "type[_Declared]", place: Place, names: Mapping[str, Any]) -> tuple[Field, ...]:
    """Reads the annotated fields of a class, and refuses what a kernel or the wire could not carry."""
    try:
        hints = type_hints(owner, localns=dict(names), include_extras=True)
    except NameError as problem:
        raise wrong(place, f"{owner.__name__}: an annotation names what is not defined: {problem}") from None
    read = []
    for declared in dataclass_fields(cast(Any, owner)):
        if owner.parse is _event_field and declared.name in EVENT_HEADER:
            continue
        where = place.of_field(declared.name)
        check_name(declared.name, where)
        read.append(owner.parse(declared.name, hints[declared.name], declared.default, where))
    if owner.parse is _event_field:
        _check_defaults_trail(read, place)
    return tuple(read)


def check_name(name: str, place: Place) -> None:
    """Refuses names that Python, the wire or kernels reserve."""
    if not name.isascii() or not name.isidentifier() or name.startswith("_") or keyword.iskeyword(name):
        raise wrong(place, f'"{name}" cannot name a field: write an ASCII identifier that begins with a letter')
    if len(name) > 100:
        raise wrong(place, f'"{name:.20}..." is longer than 100 characters')


def parse_type(hint: Any) -> tuple[Kind, bool] | None:
    """The kind of an annotation and whether it is nullable; None where no field can have it."""
    if get_origin(hint) in (Union, UnionType):
        return (Kind.DOUBLE, True) if set(get_args(hint)) == {float, type(None)} else None
    if get_origin(hint) is Annotated:
        return (Kind.LABEL, False) if LABEL_MARK in hint.__metadata__ else None
    plain = {float: Kind.DOUBLE, int: Kind.INTEGER, bool: Kind.BOOL}
    return (plain[hint], False) if hint in plain else None


def _event_field(name: str, hint: Any, default: Any, place: Place) -> Field:
    parsed = parse_type(hint)
    if parsed is None:
        raise wrong(place, f"{name}: a field of an event is a float, float | None, int, bool or Label")
    kind, nullable = parsed
    if default is MISSING:
        return Field(name, kind, nullable)
    return Field(
        name, kind, nullable, math.nan if nullable and default is None else check_value(name, kind, default, place)
    )


def _state_field(name: str, hint: Any, default: Any, place: Place) -> Field:
    if hint is Array:
        if not isinstance(default, ArraySpec):
            raise wrong(place, f"{name}: give the array its length: {name}: Array = array(8, fill=0.0)")
        return Field(name, kind_of(default.fill), default=default.fill, length=default.length)
    parsed = parse_type(hint)
    if parsed is None or parsed[1]:
        raise wrong(place, f"{name}: a field of a state is a float, int, bool, Label or Array; float may hold math.nan")
    if default is MISSING:
        raise wrong(place, f"{name}: a field of a state needs a default, which a new key begins with: {name} = 0")
    return Field(name, parsed[0], default=check_value(name, parsed[0], default, place))


def kind_of(value: Scalar | str) -> Kind:
    """The kind that holds a Python value."""
    if isinstance(value, str):
        return Kind.LABEL
    if isinstance(value, bool):
        return Kind.BOOL
    return Kind.INTEGER if isinstance(value, int) else Kind.DOUBLE


def check_value(name: str, kind: Kind, value: Any, place: Place) -> Scalar | str:
    """A default or parameter as its kind holds it."""
    match kind, value:
        case Kind.DOUBLE, bool():
            pass
        case Kind.DOUBLE, float() | int():
            return float(value)
        case Kind.BOOL, bool():
            return value
        case Kind.INTEGER, bool():
            pass
        case Kind.INTEGER, int() if -(2**63) <= value < 2**63:
            return value
        case Kind.LABEL, str():
            return DeclaredLabel(value)
        case _:
            pass
    wanted = {
        Kind.DOUBLE: "a float",
        Kind.INTEGER: "an int of 64 bits",
        Kind.BOOL: "True or False",
        Kind.LABEL: "a label",
    }
    raise wrong(place, f"{name}: {value!r} is not {wanted[kind]}")


def _check_defaults_trail(fields: list[Field], place: Place) -> None:
    """Defaults fill a missing tail, so among the fields of one array none may follow without a default."""
    arrays = ((Kind.DOUBLE,), (Kind.INTEGER, Kind.BOOL), (Kind.LABEL,))
    for kinds in arrays:
        optional: Field | None = None
        for field in fields:
            if field.kind not in kinds:
                continue
            if field.default is None and optional is not None:
                raise wrong(
                    place.of_field(field.name),
                    f"{field.name} has no default but stands after {optional.name}, which has one, and both travel "
                    f"in the same array: move {field.name} up or give it a default",
                )
            optional = field if field.default is not None else optional


@dataclass_transform(kw_only_default=True)
class _Declared:
    """Makes each subclass a dataclass with keyword arguments, and reads its fields."""

    parse: ClassVar[FieldParser] = staticmethod(_event_field)
    declared: ClassVar[tuple[Field, ...]] = ()
    """The fields in the order of their declaration, those of the base classes first."""

    def __init_subclass__(cls) -> None:
        try:
            dataclass(kw_only=True)(cls)
        except ValueError as problem:  # a mutable default
            wanted = "numbers, bools, labels and Arrays" if issubclass(cls, State) else "numbers, bools and labels"
            raise wrong(caller(), f"{cls.__name__}: {str(problem).partition(':')[0]}: fields are {wanted}") from None
        cls.declared = _read_fields(cls, caller(), sys._getframe(1).f_locals)


class Event(_Declared):
    """Base class of events."""

    key: str
    """Names whose state the event meets: 1 to 1,024 bytes of UTF-8."""
    time_us: int = 0
    """When it happened, in microseconds since 1970 UTC; 0: not given."""


class State(_Declared):
    """Base class of what an operator keeps for each key: one record of fixed size; every field has a default."""

    parse: ClassVar[FieldParser] = staticmethod(_state_field)
