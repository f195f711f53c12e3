"""A pipeline as plain data: what the frontend hands to the code generator, and nothing of how users write it."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ringmill.core.hashing import xxh64

Scalar = float | int | bool


class Kind(enum.IntEnum):
    """What a field holds, and so which array carries it: the numbers of ringmill.v1.FieldKind."""

    DOUBLE = 1
    INTEGER = 2
    BOOL = 3
    LABEL = 4


class DeclaredLabel(str):
    """A label that the code names. Inside kernels it is its hash; outside it is the text."""

    __slots__ = ()

    @property
    def hash(self) -> int:
        """Hash of its UTF-8 bytes as kernels see it; 0 for the empty label, which stands for a missing one."""
        return label_hash(self)


def label_hash(text: str) -> int:
    """xxh64 of a label's UTF-8 bytes, 0 for the empty label."""
    return xxh64(text.encode()) if text else 0


@dataclass(frozen=True, slots=True)
class Field:
    """A declared field of an event, an output or a part of the state."""

    name: str
    kind: Kind
    nullable: bool = False
    default: Scalar | str | None = None
    """What a missing field takes; None: senders must give it."""
    length: int = 0
    """Of an array in the state; 0: a single value."""


@dataclass(frozen=True, slots=True)
class Read:
    """An argument that is read for every event: an event's field, or an output of an earlier step, by full name."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """An argument that is fixed when the pipeline is compiled."""

    kind: Kind
    value: Scalar | str


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One operator in its place."""

    name: str
    function: Callable[..., Any]
    """Compiled when first called from compiled code: (state, event, *arguments) -> outputs."""
    guard: Callable[..., Any] | None
    """(state, event, *arguments): raises where the event must fail and changes nothing; then `function` cannot fail."""
    is_trusted: bool
    """Whether what the guard promises is believed. Else `function` runs as if it could fail all the same."""
    state: np.dtype[Any]
    initial: bytes
    """A new key's state, as the bytes of one `state` record."""
    state_fields: tuple[Field, ...]
    arguments: tuple[Read | Constant, ...]
    outputs: tuple[Field, ...]
    """Full names: "z", "jump.size"."""
    is_tuple: bool
    """Whether the operator returns a tuple of its outputs, and not one output by itself."""
    place: str
    """Where the operator is defined, "app.py:12", for messages."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole pipeline, checked."""

    name: str
    version: str
    fields: tuple[Field, ...]
    """In the order of declaration; the order within a kind is the place on the wire."""
    steps: tuple[StepPlan, ...]
    labels: tuple[str, ...]
    """Every label that the code declares, so that kernels may return them."""
    uses_time: bool
    digest: str
    """SHA-256, in hexadecimal, of the operators' sources, all that they refer to, parameters and shapes."""

    @property
    def late(self) -> tuple[int, ...]:
        """The numbers of the steps that run once nothing can fail any more, so that no copy of their state is needed.

        Those with a trusted guard whose outputs no other step reads. If one of them failed after all, what those before
        it have changed would stay so.
        """
        read = {argument.name for step in self.steps for argument in step.arguments if isinstance(argument, Read)}
        return tuple(
            number
            for number, step in enumerate(self.steps)
            if step.guard is not None and step.is_trusted and not any(output.name in read for output in step.outputs)
        )

    @property
    def row_order(self) -> tuple[StepPlan, ...]:
        """The steps as their states lie in a row: those that run late are at its end."""
        late = self.late
        early = [step for number, step in enumerate(self.steps) if number not in late]
        return (*early, *(self.steps[number] for number in late))

    @property
    def outputs(self) -> tuple[Field, ...]:
        """The outputs of all steps, in order."""
        return tuple(output for step in self.steps for output in step.outputs)
