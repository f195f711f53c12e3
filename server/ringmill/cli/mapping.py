"""Which columns of a table become the key, the time and the fields of a pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringmill.core.errors import Code, RingmillError

if TYPE_CHECKING:
    import pyarrow as pa

    from ringmill.client.schema import Schema

KEY_JOINT = "-"
"""Stands between the columns of a key of several: JFK-LAX."""

TIME_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0}
"""Microseconds of each unit; 0: less than one."""

_TIME_NAMES = ("time_us", "time", "timestamp")


@dataclass(frozen=True, slots=True)
class Mapping:
    """The columns of one table."""

    key: tuple[str, ...]
    time: str | None
    """None: events are sent without a time."""
    fields: dict[str, str] = field(default_factory=dict)
    """Column of each field."""
    time_unit: str = "us"
    """Of a column of numbers; timestamps know their own."""

    @property
    def columns(self) -> list[str]:
        """All columns to read, each once."""
        named = [*self.key, *([self.time] if self.time else []), *self.fields.values()]
        return list(dict.fromkeys(named))


def parse_assignments(pairs: Sequence[str]) -> dict[str, str]:
    """Reads `field=column` words. Raises RingmillError for any other."""
    parsed = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not (name and equals and column):
            raise RingmillError(Code.INVALID_ARGUMENT, f"--field {pair}: write it as field=column")
        parsed[name] = column
    return parsed


def make_mapping(
    path: Path,
    columns: Sequence[str],
    schema: "Schema",
    key: Sequence[str],
    time: str | None,
    fields: dict[str, str],
    time_unit: str = "us",
) -> Mapping:
    """Completes what the user named with the columns that bear the names themselves.

    Raises RingmillError that names what is missing and what there is.
    """
    declared = [column.name for column in schema.fields]
    unknown = [name for name in fields if name not in declared]
    if unknown:
        raise _wrong(f"pipeline {schema.pipeline} has no field {unknown[0]!r}; its fields are {', '.join(declared)}")
    chosen_key = tuple(key) or (("key",) if "key" in columns else ())
    if not chosen_key:
        raise _wrong(f"{path}: has no column 'key'; say --key COLUMN. {_available(columns)}")
    chosen_time = time or next((name for name in _TIME_NAMES if name in columns), None)
    chosen = {name: fields.get(name, name) for name in declared if name in fields or name in columns}
    for column in schema.fields:
        if column.name not in chosen and not (column.has_default or column.nullable):
            raise _wrong(
                f"{path}: has no column for field {column.name!r}; say --field {column.name}=COLUMN. "
                f"{_available(columns)}"
            )
    mapping = Mapping(chosen_key, chosen_time, chosen, time_unit)
    absent = [column for column in mapping.columns if column not in columns]
    if absent:
        raise _wrong(f"{path}: has no column {absent[0]!r}. {_available(columns)}")
    return mapping


def arrow_types(mapping: Mapping, schema: "Schema") -> dict[str, "pa.DataType"]:
    """What to read the columns of a CSV file as, so that the first rows do not have to be guessed from."""
    import pyarrow as pa

    from ringmill.client.schema import DOUBLE, LABEL

    types: dict[str, pa.DataType] = {}
    for column in schema.fields:
        if column.name not in mapping.fields:
            continue
        if column.kind == DOUBLE:
            types[mapping.fields[column.name]] = pa.float64()
        elif column.kind == LABEL:
            types[mapping.fields[column.name]] = pa.string()
    return types | dict.fromkeys(mapping.key, pa.string())


def keys_of(mapping: Mapping, piece: "pa.Table") -> Any:
    """The keys as an Arrow array of text; a key with a missing part is empty, and so rejected by the server."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [piece.column(name).combine_chunks().cast(pa.string()) for name in mapping.key]
    joined = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, KEY_JOINT)
    return joined.fill_null("")


def times_of(mapping: Mapping, piece: "pa.Table") -> Any:
    """The times as int64 microseconds in an array; 0 where missing; None without a column of times."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if mapping.time is None:
        return None
    column = piece.column(mapping.time).combine_chunks()
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        micros = column.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False).cast(pa.int64())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        scale = TIME_UNITS[mapping.time_unit]
        scaled = pc.multiply(column, scale) if scale else pc.divide(column, 1_000)
        micros = (pc.round(scaled) if pa.types.is_floating(kind) else scaled).cast(pa.int64())
    elif pa.types.is_null(kind):
        micros = column.cast(pa.int64())
    else:
        raise _wrong(f"column {mapping.time!r} holds {kind}, which is no time: give ISO 8601 timestamps or numbers")
    return micros.fill_null(0).to_numpy(zero_copy_only=False)


def fields_of(mapping: Mapping, piece: "pa.Table") -> dict[str, Any]:
    """The columns of the fields."""
    return {name: piece.column(column).combine_chunks() for name, column in mapping.fields.items()}


def _available(columns: Sequence[str]) -> str:
    return f"Its columns are {', '.join(columns)}"


def _wrong(message: str) -> RingmillError:
    return RingmillError(Code.INVALID_ARGUMENT, message)
