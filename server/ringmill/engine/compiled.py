"""Compiles a plan: decoder, fused kernel and encoder, each with one explicit signature, cached by digest."""

import hashlib
import os
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types
from numba.core import event as compiler_event

from ringmill.core.codec.decoder import DECODE, EVENTS, INTEGERS, LABELS, VALUES, build_decoder
from ringmill.core.codec.emissions import ATTACH, EMISSIONS, Widths, build_attach
from ringmill.core.codec.encoder import ENCODE, build_encoder
from ringmill.core.codec.layout import LABEL_BYTES_MAX, FieldRules, event_layout
from ringmill.core.columns import Shape
from ringmill.core.errors import Reason
from ringmill.core.hashing import PARTITIONS
from ringmill.core.jit import cache_folder, compile_kernel, entry_point, kernel, kernel_part
from ringmill.core.memory import MESSAGE, SCRATCH
from ringmill.engine.copying import copy_row
from ringmill.engine.diagnose import check_operators
from ringmill.engine.fuse import Source, array_of, column_shape, write_source
from ringmill.engine.fuse_windows import DOUBTED
from ringmill.engine.labels import FULL, LabelStore, intern, lookup
from ringmill.engine.link import CONVERTERS
from ringmill.engine.lookup import (
    PREFETCH_BLOCK,
    find_or_insert,
    is_row_of,
    prefetch_index,
    prefetch_row,
    remove_newest,
)
from ringmill.engine.panes import TRIED, held_dtype, new_held, window_kernels, working_memory
from ringmill.engine.plan import Field, Kind, Plan, TimePlan
from ringmill.engine.table import Table, row_dtype
from ringmill.v1.processing_pb2 import ProcessRequest

FETCH_BYTES_MAX = 1024
"""Of a row, fetched ahead: of a larger one most is not touched, or read in order, which the processor foresees."""
_TAG_BYTES_MAX = 6
"""Of a field's tag and length in a response."""
_EMISSION_HEAD_BYTES_MAX = 30
"""Of an emission's two times, emitter and revision."""


@dataclass(frozen=True, slots=True)
class CompiledPipeline:
    """A pipeline as machine code, and the shapes of what it works on."""

    plan: Plan
    partitions: int
    shape: Shape
    rules: FieldRules
    row_dtype: np.dtype[Any]
    template: npt.NDArray[Any]
    """row_dtype[1]: a new key's row."""
    # The next three take arguments of exactly their signatures' types and do not look: see `Engine`, which makes them.
    decode: Callable[..., tuple[int, int]]
    apply: Callable[..., int]
    encode: Callable[..., int]
    attach: Callable[..., int] | None
    """Puts emissions into encoded outcomes; None: the pipeline has no windows."""
    compile_s: float
    """Seconds spent compiling; 0.0 when all came from the cache."""

    @property
    def digest(self) -> str:
        """The plan's digest."""
        return self.plan.digest

    @property
    def outcome_bytes_max(self) -> int:
        """Bytes of the largest outcome that is no rejection, its tag and length and all its emissions included."""
        numbers = 8 * (self.shape.out_values + self.shape.out_integers) + 2 * _TAG_BYTES_MAX
        labels = self.shape.out_labels * (_TAG_BYTES_MAX + LABEL_BYTES_MAX)
        return _TAG_BYTES_MAX + numbers + labels + self.shape.emissions_max * self._emission_bytes_max

    @property
    def _emission_bytes_max(self) -> int:
        numbers = 8 * (self.shape.emitted_values + self.shape.emitted_integers) + 2 * _TAG_BYTES_MAX
        labels = self.shape.emitted_labels * (_TAG_BYTES_MAX + LABEL_BYTES_MAX)
        return _TAG_BYTES_MAX + _EMISSION_HEAD_BYTES_MAX + numbers + labels

    @property
    def cold(self) -> bool:
        """Whether anything had to be compiled."""
        return self.compile_s > 0.0


def compile_pipeline(plan: Plan, partitions: int = PARTITIONS, folder: Path | None = None) -> CompiledPipeline:
    """Compiles a plan, or loads it from the cache. Raises RingmillError with the user's line where types do not fit.

    folder: where the machine code is cached; by default a folder of the user's own, named by the digest.
    """
    source = write_source(plan)
    folder = folder or cache_folder(hashlib.sha256((plan.digest + source.text).encode()).hexdigest())
    row = row_dtype(row_fields(plan))
    rules, shape = field_rules(plan), column_shape(plan)
    spent: list[float] = []
    with compiler_event.install_timer("numba:compile", spent.append):
        apply = _compile_apply(plan, source, row, folder)
        decode = build_decoder(event_layout(ProcessRequest.DESCRIPTOR), rules, folder)
        compile_kernel(decode, [DECODE])
        encode = build_encoder(shape, folder)
        compile_kernel(encode, [ENCODE])
        attach = _compile_attach(plan, folder)
    return CompiledPipeline(
        plan=plan,
        partitions=partitions,
        shape=shape,
        rules=rules,
        row_dtype=row,
        template=_template(plan, row),
        decode=entry_point(decode, DECODE),
        apply=apply,
        encode=entry_point(encode, ENCODE),
        attach=attach,
        compile_s=sum(spent),
    )


def row_fields(plan: Plan) -> list[tuple[str, np.dtype[Any]]]:
    """What a row holds beside the key and its time, in order."""
    doubted = [(DOUBTED, np.dtype(np.int64))] if plan.times is not None and plan.times.ahead_us else []
    return [
        *doubted,
        *((step.name, step.state if step.window is None else held_dtype(step, step.window)) for step in plan.row_order),
    ]


def field_rules(plan: Plan) -> FieldRules:
    """What the decoder checks of an event's arrays."""
    values = [field for field in plan.fields if array_of(field) == "values"]
    labels = [field for field in plan.fields if array_of(field) == "labels"]
    integers = [field for field in plan.fields if array_of(field) == "integers"]
    return FieldRules(
        values=len(values),
        values_required=_required(values),
        value_defaults=tuple(float(field.default or 0.0) for field in values),
        nullable=tuple(field.nullable for field in values),
        labels=len(labels),
        labels_required=_required(labels),
        integers=len(integers),
        integers_required=_required(integers),
        integer_defaults=tuple(int(field.default or 0) for field in integers),
        bools=tuple(field.kind is Kind.BOOL for field in integers),
        uses_time=plan.uses_time,
    )


def _required(fields: list[Field]) -> int:
    return sum(field.default is None for field in fields)


def _template(plan: Plan, row: np.dtype[Any]) -> npt.NDArray[Any]:
    template = np.zeros(1, row)
    for step in plan.steps:
        if step.window is None:
            template[step.name] = np.frombuffer(step.initial, step.state)
        else:
            template[step.name] = new_held(step, step.window)
    return template


def _compile_apply(plan: Plan, source: Source, row: np.dtype[Any], folder: Path) -> Callable[..., int]:
    path = folder / "fused.py"
    event = event_class(plan)
    if not path.exists():
        check_operators(plan, event)
        _write_once(path, source.text)
    space = _names(plan, source, row, event)
    exec(compile(source.text, str(path), "exec"), space)  # our own generator's text; every name in it was checked
    space |= _link_windows(plan, space)
    # Without bounds checks: rows come from the table, columns from the plan, and `Engine` compares the count of events.
    # The operators that `steps` calls were linked with theirs.
    space["steps"] = kernel_part(space["steps"], boundscheck=False)
    apply: Callable[..., int] = kernel(boundscheck=False, allocates=False, folder=folder)(space["apply"])
    signature = _signature(row, plan)
    compile_kernel(apply, [signature])
    return entry_point(apply, signature)


def _link_windows(plan: Plan, space: Mapping[str, Any]) -> dict[str, Any]:
    """What `steps` calls of each step with a window."""
    linked: dict[str, Any] = {}
    for number, step, window in plan.windows:
        emit = kernel_part(space[f"emit_{number}"])
        kernels = window_kernels(step, window, plan.times or TimePlan(), emit)
        linked |= {f"pick_{number}": kernels.pick, f"join_{number}": kernels.join, f"commit_{number}": kernels.commit}
    return linked


def _compile_attach(plan: Plan, folder: Path) -> Callable[..., int] | None:
    if not plan.windows:
        return None
    attach = build_attach([widths_of(window.outputs) for _, _, window in plan.windows], folder)
    compile_kernel(attach, [ATTACH])
    return entry_point(attach, ATTACH)


def widths_of(outputs: tuple[Field, ...]) -> Widths:
    """How many outputs of each kind there are."""
    arrays = [array_of(output) for output in outputs]
    return Widths(*(arrays.count(array) for array in ("values", "labels", "integers")))


def _signature(row: np.dtype[Any], plan: Plan) -> Any:
    rows = types.Array(numba.from_dtype(row), 1, "C")
    table = numba.typeof(Table.allocate(row, np.zeros(1, row), partitions=1, keys_max=1, heap_bytes=1).arrays)
    store = numba.typeof(LabelStore(partitions=1, labels_max=1, heap_bytes=1).arrays)
    columns = (EVENTS, VALUES, LABELS, INTEGERS, VALUES, LABELS, INTEGERS)
    work = numba.typeof(working_memory(plan.windows))
    likely = types.Array(types.int64, 1, "C")
    return types.int64(types.int64, MESSAGE, *columns, SCRATCH, likely, rows, table, store, work, EMISSIONS)


def backup_bytes(plan: Plan, row: np.dtype[Any]) -> int:
    """How much of a row is copied before an event: all but windows, and the states of steps that cannot fail."""
    return min(_starts(plan, row, [*(number for number, _, _ in plan.windows), *plan.late]), default=row.itemsize)


def fetch_bytes(plan: Plan, row: np.dtype[Any]) -> int:
    """How much of a row is fetched ahead: what is copied, and windows."""
    return min(FETCH_BYTES_MAX, min(_starts(plan, row, plan.late), default=row.itemsize))


def _starts(plan: Plan, row: np.dtype[Any], numbers: Iterable[int]) -> list[int]:
    """Where the states of these steps begin in a row."""
    fields: Any = row.fields
    return [int(fields[plan.steps[number].name][1]) for number in numbers]


def event_class(plan: Plan) -> Any:
    """What kernels see of an event: a tuple of its time, its key's hash and its fields."""
    return namedtuple("Event", ["time_us", "key", *(field.name for field in plan.fields)])


def _names(plan: Plan, source: Source, row: np.dtype[Any], event: Any) -> dict[str, Any]:
    """What the generated source refers to."""
    times = plan.times or TimePlan()
    return {
        "__name__": __name__,  # Numba's cache imports the module of that name
        "np": np,
        "isinf": np.isinf,
        "isfinite": np.isfinite,
        "Event": event,
        "copy_row": copy_row,
        "find_or_insert": find_or_insert,
        "is_row_of": is_row_of,
        "prefetch_index": prefetch_index,
        "prefetch_row": prefetch_row,
        "remove_newest": remove_newest,
        "intern": intern,
        "lookup": lookup,
        "BLOCK": np.uint64(PREFETCH_BLOCK),
        "BACKUP_BYTES": backup_bytes(plan, row),
        "FETCH_BYTES": fetch_bytes(plan, row),
        "LATE_US": times.out_of_order_us + times.lateness_us,
        "AHEAD_US": times.ahead_us,
        "TRIED": TRIED,
        "LATE": int(Reason.LATE),
        "TIME_INVALID": int(Reason.TIME_INVALID),
        "UNAVAILABLE": int(Reason.UNAVAILABLE),
        "OVERLOADED": int(Reason.OVERLOADED),
        "LABELS_FULL": FULL,
        "LABELS_INVALID": int(Reason.LABELS_INVALID),
        "OPERATOR_FAILED": int(Reason.OPERATOR_FAILED),
        **CONVERTERS,
        **{f"step_{number}": step.function for number, step in enumerate(plan.steps)},
        **{f"read_{number}": window.result for number, _, window in plan.windows},
        **{f"guard_{number}": step.guard for number, step in enumerate(plan.steps) if step.guard is not None},
        **source.constants,
    }


def _write_once(path: Path, text: str) -> None:
    """Writes a generated file if it is not there: Numba takes one with a new time stamp for changed."""
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_text(text)
    with suppress(FileExistsError):
        os.link(scratch, path)
    scratch.unlink()
