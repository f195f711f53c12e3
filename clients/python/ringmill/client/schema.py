"""What a pipeline takes and gives: names of fields and outputs, and each one's place in the arrays of the wire."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from ringmill.v1 import processing_pb2 as pb

DOUBLE = pb.FIELD_KIND_DOUBLE
INTEGER = pb.FIELD_KIND_INTEGER
BOOL = pb.FIELD_KIND_BOOL
LABEL = pb.FIELD_KIND_LABEL


@dataclass(frozen=True, slots=True)
class Column:
    """One field or output. Bools travel among the integers, so `place` counts both together."""

    name: str
    kind: pb.FieldKind
    place: int
    nullable: bool
    has_default: bool


def _columns(fields: Iterable[pb.Field]) -> tuple[Column, ...]:
    counts = {DOUBLE: 0, INTEGER: 0, LABEL: 0}
    columns = []
    for field in fields:
        array = INTEGER if field.kind == BOOL else field.kind
        if array not in counts:
            continue  # a kind of a later version: its values travel in an array that is not read here
        columns.append(Column(field.name, field.kind, counts[array], field.nullable, field.has_default))
        counts[array] += 1
    return tuple(columns)


@dataclass(frozen=True)
class Schema:
    """A pipeline as its server describes it."""

    pipeline: str
    version: str
    digest: str
    fields: tuple[Column, ...]
    outputs: tuple[Column, ...]

    @classmethod
    def of(cls, pipeline: str, described: pb.DescribePipelineResponse) -> "Schema":
        """Reads a server's description of `pipeline`."""
        return cls(
            pipeline, described.version, described.digest, _columns(described.fields), _columns(described.outputs)
        )

    @cached_property
    def output(self) -> dict[str, Column]:
        """Outputs by name."""
        return {column.name: column for column in self.outputs}

    @cached_property
    def out_values(self) -> int:
        """How many doubles an outcome holds."""
        return sum(column.kind == DOUBLE for column in self.outputs)

    @cached_property
    def out_integers(self) -> int:
        """How many integers an outcome holds, bools among them."""
        return sum(column.kind in (INTEGER, BOOL) for column in self.outputs)

    @cached_property
    def out_labels(self) -> int:
        """How many labels an outcome holds."""
        return sum(column.kind == LABEL for column in self.outputs)

    def given(self, fields: Collection[str]) -> None:
        """Checks the names in `fields` against those declared. Raises TypeError, which names the declared ones.

        A field may be left out when it has a default and nothing declared after it in the same array is given, for
        only a missing tail takes defaults; a nullable one may always be left out.
        """
        names = [column.name for column in self.fields]
        unknown = [name for name in fields if name not in names]
        if unknown:
            raise TypeError(f"{self.pipeline} has no field {_quoted(unknown)}; its fields are {_quoted(names)}")
        missing = [column.name for column in self.fields if column.name not in fields and not self._optional(column)]
        if missing:
            raise TypeError(f"{self.pipeline} needs field {_quoted(missing)}; its fields are {_quoted(names)}")
        for array in ((DOUBLE,), (LABEL,), (INTEGER, BOOL)):
            self._check_tail([column for column in self.fields if column.kind in array], fields)

    @staticmethod
    def _optional(column: Column) -> bool:
        return column.has_default or column.nullable

    @staticmethod
    def _check_tail(columns: list[Column], fields: Collection[str]) -> None:
        omitted: str | None = None
        for column in columns:
            if column.name not in fields:
                omitted = omitted or (None if column.nullable else column.name)
            elif omitted:
                raise TypeError(f"field {omitted!r} must be given too, because {column.name!r} is declared after it")


def _quoted(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names) or "(none)"
