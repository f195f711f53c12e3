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


class WindowKind(enum.IntEnum):
    """How a key's events are put together."""

    TIME = 1
    """Windows of one size, a new one each `hop_us`."""
    SESSION = 2
    """Events with less than `size_us` between neighbours."""
    SLIDING = 3
    """For each event, all of the last `size_us`."""
    COUNT = 4
    """So many events, one after the other."""


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """What puts a step's events together, and reads what they amount to."""

    kind: WindowKind
    size_us: int
    """Of COUNT, the number of events."""
    hop_us: int
    """0, but of TIME."""
    panes: int
    """Parts of windows that a key keeps."""
    emissions_max: int
    """Of one event."""
    merge: Callable[..., Any]
    """(state, other): makes of `state` what it would be after the events of `other`, which came later."""
    result: Callable[..., Any]
    """(state) -> a tuple of the outputs."""
    outputs: tuple[Field, ...]
    """Names without the step's: "value", or those of the operator's tuple."""
    returns: bool
    """Whether the step's function returns them too, for each event."""


@dataclass(frozen=True, slots=True)
class TimePlan:
    """What the pipeline takes for late, and for too far ahead."""

    out_of_order_us: int = 0
    """A key's clock is its newest time less this."""
    lateness_us: int = 0
    """What is older than the clock less this is late."""
    ahead_us: int = 0
    """What is ahead of the key's newest time by more than this is not believed at once; 0: all is."""


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
    window: WindowPlan | None = None
    """A step with a window emits, and has no outputs; its state is that of one pane."""


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
    times: TimePlan | None = None
    """None: no window hangs on time, and no event is late."""

    @property
    def windows(self) -> tuple[tuple[int, StepPlan, WindowPlan], ...]:
        """The steps that emit, in order: number, step and window. A place among them is what the wire calls emitter."""
        return tuple((number, step, step.window) for number, step in enumerate(self.steps) if step.window is not None)

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
            if step.window is None
            and step.guard is not None
            and step.is_trusted
            and not any(output.name in read for output in step.outputs)
        )

    @property
    def row_order(self) -> tuple[StepPlan, ...]:
        """The steps as their states lie in a row: windows come after the others, and those that run late at the end."""
        late = self.late
        early = [step for number, step in enumerate(self.steps) if number not in late and step.window is None]
        return (*early, *(step for _, step, _ in self.windows), *(self.steps[number] for number in late))

    @property
    def outputs(self) -> tuple[Field, ...]:
        """The outputs of all steps, in order."""
        return tuple(output for step in self.steps for output in step.outputs)
