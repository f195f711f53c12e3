"""Data frames in, data frames of the same kind out."""

from typing import Any

from ringmill.client.result import Result, polars_series
from ringmill.client.schema import Schema


def frame_fields(
    schema: Schema, frame: Any, key: str, time: str | None, mapping: dict[str, str]
) -> tuple[Any, Any, dict[str, Any]]:
    """Picks keys, times and fields out of a frame. A field that `mapping` does not name is taken from the column of
    the same name, where there is one.

    Raises, before anything is sent, KeyError for a column that the frame does not have, ValueError for one that is
    named like an output, and TypeError for what is neither a pandas nor a polars frame.
    """
    _library_of(frame)
    columns = list(frame.columns)
    for wanted in (key, *([time] if time else []), *mapping.values()):
        if wanted not in columns:
            raise KeyError(f"the frame has no column {wanted!r}; its columns are {columns}")
    taken = [name for name in (*schema.output, "rejection") if name in columns]
    if taken:
        raise ValueError(f"the frame has columns named like outputs: {taken}; rename or drop them first")
    own = {field.name: field.name for field in schema.fields if field.name in columns}
    fields = {field: frame[column] for field, column in {**own, **mapping}.items()}
    return frame[key], frame[time] if time else None, fields


def joined_frame(frame: Any, result: Result) -> Any:
    """The frame with a column more for each output, and `rejection`, which is empty for applied events."""
    columns = result.to_dict()
    if _library_of(frame) == "pandas":
        return frame.assign(**columns)
    return frame.with_columns([polars_series(name, column) for name, column in columns.items()])


def _library_of(frame: Any) -> str:
    library = type(frame).__module__.partition(".")[0]
    if library not in ("pandas", "polars") or type(frame).__name__ == "LazyFrame":
        raise TypeError(f"a pandas or polars DataFrame is wanted, not {type(frame).__name__}")
    return library
