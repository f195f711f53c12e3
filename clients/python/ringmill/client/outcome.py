"""The outcome of one event, for those who look at events one by one."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ringmill.client.schema import BOOL, DOUBLE, INTEGER, Schema
from ringmill.core.errors import Reason
from ringmill.v1 import processing_pb2 as pb


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an event was not applied; its key's state is untouched."""

    reason: Reason | int
    """A number where the server knows a reason that this client does not."""
    detail: str
    retry_after_ms: int

    @property
    def retryable(self) -> bool:
        """Whether the fault was the server's, so that the same event may be sent again."""
        return 32 <= self.reason <= 63

    def __str__(self) -> str:
        return ": ".join(filter(None, (reason_name(self.reason), self.detail)))

    @classmethod
    def of(cls, message: pb.Rejection) -> "Rejection":
        """Reads it from its message."""
        return cls(_reason(message.reason), message.detail, message.retry_after_ms)


def reason_name(number: int) -> str:
    """The name of a rejection reason, "" for 0."""
    if number == 0:
        return ""
    reason = _reason(number)
    return reason.name if isinstance(reason, IntEnum) else f"REASON_{number}"


def _reason(number: int) -> Reason | int:
    return Reason(number) if number in _KNOWN else number


_KNOWN = frozenset(Reason)


class Outcome:
    """What an event led to: outputs by attribute or by name, `outcome.z`, `outcome["jump.size"]`, `outcome.jump.size`.

    A nullable output without a value is NaN. A rejected event's outputs are NaN, 0, False and "".
    """

    __slots__ = ("_integers", "_labels", "_schema", "_values", "rejection")

    def __init__(self, schema: Schema, message: pb.Outcome) -> None:
        self._schema = schema
        self._values = tuple(message.values)
        self._integers = tuple(message.integers)
        self._labels = tuple(message.labels)
        self.rejection = Rejection.of(message.rejection) if message.HasField("rejection") else None

    @property
    def applied(self) -> bool:
        """Whether the event changed its key's state."""
        return self.rejection is None

    def __getitem__(self, name: str) -> Any:
        column = self._schema.output.get(name)
        if column is None:
            raise KeyError(f"{self._schema.pipeline} has no output {name!r}; its outputs are {list(self)}")
        place = column.place
        if column.kind == DOUBLE:
            return self._values[place] if place < len(self._values) else float("nan")
        if column.kind == INTEGER:
            return self._integers[place] if place < len(self._integers) else 0
        if column.kind == BOOL:
            return self._integers[place] != 0 if place < len(self._integers) else False
        return self._labels[place] if place < len(self._labels) else ""

    def __iter__(self) -> Any:
        return iter(self._schema.output)

    def __len__(self) -> int:
        return len(self._schema.output)

    def __getattr__(self, name: str) -> Any:
        if name in self._schema.output:
            return self[name]
        if any(output.startswith(f"{name}.") for output in self._schema.output):
            return _Step(self, name)
        raise AttributeError(f"{self._schema.pipeline} has no output {name!r}; its outputs are {list(self)}")

    def __repr__(self) -> str:
        if self.rejection is not None:
            return f"Outcome(rejection={self.rejection!s})"
        return f"Outcome({', '.join(f'{name}={self[name]!r}' for name in self)})"


class _Step:
    """The outputs of one step that has several."""

    __slots__ = ("_name", "_outcome")

    def __init__(self, outcome: Outcome, name: str) -> None:
        self._outcome = outcome
        self._name = name

    def __getattr__(self, name: str) -> Any:
        try:
            return self._outcome[f"{self._name}.{name}"]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None
