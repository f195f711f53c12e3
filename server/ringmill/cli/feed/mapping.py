"""Which columns of a table become the key, the time and the fields of a pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ringmill.core.errors import Code, RingmillError

if TYPE_CHECKING:
    import pyarrow as pa

    from ringmill.client.schema import Schema

KEY_JOINT = "-"
"""Stands between the columns of a key of several: JFK-LAX."""

TIME_UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
"""Microseconds of each unit."""

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
    joined = (
        parts[0] if len(parts) == 1 else pc.call_function("binary_join_element_wise", [*parts, pa.scalar(KEY_JOINT)])
    )
    return joined.fill_null("")


def times_of(mapping: Mapping, piece: "pa.Table") -> npt.NDArray[np.int64] | None:
    """The times as int64 microseconds; 0 where missing; None without a column of times."""
    import pyarrow as pa

    if mapping.time is None:
        return None
    column = piece.column(mapping.time).combine_chunks()
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        micros = column.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        return np.asarray(micros.fill_null(0), np.int64)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _scaled(column.fill_null(0).to_numpy(zero_copy_only=False), mapping)
    if pa.types.is_null(kind):
        return np.zeros(len(column), np.int64)
    raise _wrong(f"column {mapping.time!r} holds {kind}, which is no time: give ISO 8601 timestamps or numbers")


def _scaled(numbers: npt.NDArray[Any], mapping: Mapping) -> npt.NDArray[np.int64]:
    """Numbers of some unit as microseconds."""
    scale = TIME_UNITS[mapping.time_unit]
    numbers = np.nan_to_num(numbers) if numbers.dtype.kind == "f" else numbers
    if numbers.size and np.abs(numbers.astype(np.float64)).max() * scale >= 2.0**63:
        raise _wrong(f"column {mapping.time!r} holds times too far away for --time-unit {mapping.time_unit}")
    if numbers.dtype.kind == "f":
        return np.rint(numbers * scale).astype(np.int64)
    return numbers.astype(np.int64) // 1_000 if mapping.time_unit == "ns" else numbers.astype(np.int64) * int(scale)


def fields_of(mapping: Mapping, piece: "pa.Table") -> dict[str, Any]:
    """The columns of the fields."""
    return {name: piece.column(column).combine_chunks() for name, column in mapping.fields.items()}


def _available(columns: Sequence[str]) -> str:
    return f"Its columns are {', '.join(columns)}"


def _wrong(message: str) -> RingmillError:
    return RingmillError(Code.INVALID_ARGUMENT, message)
