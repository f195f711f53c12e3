"""Single events, as instances of the pipeline's own `Event` class, mappings or tuples, on their way to the wire."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from ringmill.client.columns import sent_columns
from ringmill.client.schema import DOUBLE, LABEL, Schema
from ringmill.client.times import time_of
from ringmill.v1 import processing_pb2 as pb

_NAN = float("nan")
_HEADER = ("key", "time_us")


@dataclass(frozen=True, slots=True)
class _Plan:
    """Names of the fields to send, by array, in the order of their declaration."""

    values: tuple[str, ...]
    labels: tuple[str, ...]
    integers: tuple[str, ...]


class RowEncoder:
    """Turns single events into bytes of `ProcessRequest.events`, through the official library."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._plans: dict[Any, _Plan] = {}
        self._names = tuple(column.name for column in schema.fields)

    def encode(self, row: Any) -> bytes:
        """Encodes an event object with attributes `key`, `time_us` and the fields; a mapping of the same names; or a
        tuple (key, time, fields in the order of their declaration).

        Raises TypeError for what the pipeline does not declare.
        """
        if isinstance(row, Mapping):
            if "key" not in row:
                raise TypeError("an event is an Event, a mapping or a tuple with a key; this mapping has none")
            return self.encode_fields(
                row["key"], row.get("time_us"), {name: row[name] for name in row if name not in _HEADER}
            )
        if isinstance(row, tuple) and not hasattr(row, "key"):
            return self._encode_tuple(row)
        return self._encode_object(row)

    def encode_fields(self, key: Any, time: Any, fields: Mapping[str, Any]) -> bytes:
        """Encodes one event from its key, its time and its fields by name."""
        names = tuple(fields)
        plan = self._plans.get(names) or self._plan(names, names)
        return _encode(plan, key, time, fields)

    def _encode_tuple(self, row: tuple[Any, ...]) -> bytes:
        key, time, *rest = (*row, None) if len(row) == 1 else row
        if len(rest) > len(self._names):
            raise TypeError(f"{self._schema.pipeline} has {len(self._names)} fields; the event has {len(rest)}")
        return self.encode_fields(key, time, dict(zip(self._names, rest, strict=False)))

    def _encode_object(self, row: Any) -> bytes:
        kind = type(row)
        plan = self._plans.get(kind)
        if plan is None:
            if not hasattr(row, "key"):
                raise TypeError(f"an event is an Event, a mapping or a tuple with a key, not {kind.__name__}")
            plan = self._plan(kind, tuple(name for name in self._names if hasattr(row, name)))
        fields = {name: getattr(row, name) for name in (*plan.values, *plan.labels, *plan.integers)}
        return _encode(plan, row.key, getattr(row, "time_us", 0), fields)

    def _plan(self, shape: Any, names: tuple[str, ...]) -> _Plan:
        self._schema.given(names)
        arrays: tuple[list[str], list[str], list[str]] = ([], [], [])
        for column in sent_columns(self._schema, names):
            arrays[0 if column.kind == DOUBLE else 1 if column.kind == LABEL else 2].append(column.name)
        plan = self._plans[shape] = _Plan(*map(tuple, arrays))
        return plan


def _encode(plan: _Plan, key: Any, time: Any, fields: Mapping[str, Any]) -> bytes:
    try:
        event = pb.Event(key=key, time_us=time if type(time) is int else time_of(time))
        if plan.values:
            event.values.extend([_number(fields.get(name)) for name in plan.values])
        if plan.labels:
            event.labels.extend([fields.get(name) or "" for name in plan.labels])
        if plan.integers:
            event.integers.extend([_whole(fields[name]) for name in plan.integers])
    except (TypeError, ValueError) as error:
        raise _explained(error, plan, key, fields) from None
    return pb.ProcessRequest(events=(event,)).SerializeToString()


def _number(value: Any) -> Any:
    return _NAN if value is None else value


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, np.bool_) else index(value)


def _explained(error: Exception, plan: _Plan, key: Any, fields: Mapping[str, Any]) -> Exception:
    """The same kind of error, saying which part of the event is wrong: the official library does not."""
    kind = TypeError if isinstance(error, TypeError) else ValueError
    if _is_refused(pb.Event, key=key):
        return kind(f"the key must be text, not {type(key).__name__}: {error}")
    for name in plan.values:
        if _is_refused(pb.Event, values=(_number(fields.get(name)),)):
            return kind(f"field {name!r} must be a number, not {fields.get(name)!r}")
    for name in plan.labels:
        if _is_refused(pb.Event, labels=(fields.get(name) or "",)):
            return kind(f"field {name!r} must be text, not {fields.get(name)!r}")
    for name in plan.integers:
        if _is_refused(_whole, fields[name]) or _is_refused(pb.Event, integers=(_whole(fields[name]),)):
            return kind(f"field {name!r} must be a whole number of 64 bits, not {fields[name]!r}")
    return kind(f"the time cannot be sent: {error}")


def _is_refused(build: Callable[..., Any], *arguments: Any, **named: Any) -> bool:
    try:
        build(*arguments, **named)
    except (TypeError, ValueError):
        return True
    return False
