"""Single events, as instances of the pipeline's own `Event` class, mappings or tuples, on their way to the wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import Any

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
    event = pb.Event(key=key, time_us=time if type(time) is int else time_of(time))
    if plan.values:
        event.values.extend([_number(fields.get(name)) for name in plan.values])
    if plan.labels:
        event.labels.extend([fields.get(name) or "" for name in plan.labels])
    if plan.integers:
        event.integers.extend([index(fields[name]) for name in plan.integers])  # a bool is refused as it stands
    return pb.ProcessRequest(events=(event,)).SerializeToString()


def _number(value: Any) -> Any:
    return _NAN if value is None else value
