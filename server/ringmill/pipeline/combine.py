"""States without events: merging those of two keys, and reading what one amounts to. Compiled, for rows of a table.

What windows are made of: a window that two others make up is their merged state, and what it emits is its result.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, cast

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.jit import compile_kernel, entry_point, kernel_part
from ringmill.engine.fuse import compiled_constant
from ringmill.engine.link import CONVERTERS, converter_name
from ringmill.engine.plan import Constant, Field, Kind
from ringmill.pipeline.operators import Step
from ringmill.pipeline.source import compilable

_OUT = {Kind.DOUBLE: "doubles", Kind.INTEGER: "integers", Kind.BOOL: "integers", Kind.LABEL: "labels"}


@dataclass(frozen=True, slots=True)
class Combiner:
    """Compiled for one pipeline's rows. A step without a merge, or without a result, is passed over."""

    outputs: tuple[Field, ...]
    """Whose values `read` gives, by full name; those of labels are hashes."""
    _merge: Callable[..., int]
    _read: Callable[..., int]

    def merge(self, rows: npt.NDArray[Any], others: npt.NDArray[Any]) -> int:
        """Makes of each row what it would be after the events of the other row too, which came later.

        rows, others: one-dimensional, in C order, of the pipeline's row type and of one length. Returns how many were
        merged: fewer than all where the next one could not be; that one, and all after it, are as they were.
        """
        if rows.shape != others.shape:
            raise ValueError("as many others as rows")
        before = rows.copy()
        done = np.zeros(1, np.int64)
        try:
            self._merge(rows, others, done)
        except ArithmeticError:
            rows[done[0]] = before[done[0]]
        return int(done[0])

    def read(self, rows: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """What each row amounts to, by output."""
        shape = (len(rows), max(1, len(self.outputs)))
        doubles, integers, labels = np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, np.uint64)
        self._read(rows, doubles, integers, labels)
        by_kind = {"doubles": doubles, "integers": integers, "labels": labels}
        return {out.name: by_kind[_OUT[out.kind]][:, place] for place, out in enumerate(self.outputs)}


def combiner(steps: Mapping[str, Step], row: np.dtype[Any]) -> Combiner:
    """Compiles what the operators of these steps have of merges and results. row: of the compiled pipeline."""
    writer = _Writer()
    for name, step in steps.items():
        writer.add(name, step)
    space: dict[str, Any] = {"__name__": __name__, "np": np, **CONVERTERS, **writer.space}
    exec(writer.source(), space)  # made of our own words and of names that are identifiers
    rows = types.Array(numba.from_dtype(row), 1, "C")
    counts, flags = types.Array(types.int64, 1, "C"), types.Array(types.uint64, 2, "C")
    wide = (types.Array(types.float64, 2, "C"), types.Array(types.int64, 2, "C"), flags)
    merge = _compiled(space["merge"], types.int64(rows, rows, counts))
    read = _compiled(space["read"], types.int64(rows, *wide))
    return Combiner(tuple(writer.outputs), merge, read)


def _compiled(function: Callable[..., Any], signature: Any) -> Callable[..., Any]:
    part = kernel_part(function)
    compile_kernel(part, [signature])
    return entry_point(part, signature)


@dataclass(slots=True)
class _Writer:
    """The source of both loops, as it grows."""

    space: dict[str, Any] = field(default_factory=dict)
    merges: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    outputs: list[Field] = field(default_factory=list)

    def add(self, name: str, step: Step) -> None:
        """One step's merge and result, if its operator has them."""
        operator = step.operator
        if operator.merge is not None:
            self.merges.append(self._call(operator.merge, f"row.{name}, other.{name}", 2, step))
        outputs = [
            Field(f"{name}.{output.name}" if operator.is_tuple else name, output.kind, output.nullable)
            for output in operator.outputs
        ]
        if operator.result is not None:
            result = f"result_{len(self.reads)}"  # a variable has one type
            self.reads.append(f"{result} = {self._call(operator.result, f'row.{name}', 1, step)}")
            for place, output in enumerate(outputs):
                self._store(output, f"{result}[{place}]" if operator.is_tuple else result)
        first = 0
        for column in operator.columns:
            for place, output in enumerate(outputs[first : first + len(column.names)]):
                self._store(output, self._call(column.read, f"row.{name}, {place}", 2, step))
            first += len(column.names)

    def _call(self, helper: Callable[..., Any], own: str, owned: int, step: Step) -> str:
        number = len(self.space)
        self.space[f"helper_{number}"] = compilable(cast(FunctionType, helper))
        given = []
        for constant in cast(Sequence[Constant], step.operator.constants(helper, owned, step.arguments)):
            given.append(f"constant_{len(self.space)}")
            self.space[given[-1]] = compiled_constant(constant)
        return f"helper_{number}({', '.join((own, *given))})"

    def _store(self, output: Field, value: str) -> None:
        convert = converter_name((output.kind, output.nullable))
        self.reads.append(f'{_OUT[output.kind]}[i, {len(self.outputs)}] = {convert}({value}, "{output.name}")')
        self.outputs.append(output)

    def source(self) -> str:
        """Both loops."""
        merges = "\n        ".join(self.merges)
        reads = "\n        ".join(self.reads)
        return f"""\
def merge(rows, others, done):
    for i in range(rows.size):
        row, other = rows[i], others[i]
        {merges or "pass"}
        done[0] += 1
    return 0


def read(rows, doubles, integers, labels):
    for i in range(rows.size):
        row = rows[i]
        {reads or "pass"}
    return 0
"""
