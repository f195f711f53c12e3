"""Tables on disk, CSV or Parquet, read and written in pieces: a file may be larger than memory."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

from ringmill.cli.extras import need
from ringmill.core.errors import Code, RingmillError

if TYPE_CHECKING:
    import pyarrow as pa

PIECE_ROWS = 65_536
BLOCK_BYTES = 1 << 20
"""Of a CSV file, decompressed, that become one piece."""


class Source(Protocol):
    """A table to read."""

    columns: list[str]
    """Names, in order."""
    total: int
    """Size in the unit of `position`."""

    def pieces(self, columns: list[str], types: Mapping[str, "pa.DataType"]) -> Iterator["pa.Table"]:
        """Reads these columns from the start. `types` says what to read a column of a CSV file as."""
        ...

    @property
    def position(self) -> int:
        """Where the last piece that was given out ends: rows of Parquet, bytes of CSV."""
        ...


def open_source(path: Path) -> Source:
    """Opens a table; what its name ends in tells the format. Raises RingmillError, or OSError for the file."""
    need("pyarrow")
    import pyarrow as pa

    with path.open("rb"):
        pass  # an unreadable file is told in the system's words, not Arrow's
    try:
        return CsvSource(path) if _is_csv(path) else ParquetSource(path)
    except (pa.ArrowInvalid, OSError) as problem:
        raise unreadable(path, problem) from None


def unreadable(path: Path, problem: Exception, columns: Sequence[str] = ()) -> RingmillError:
    """The error for a file that is not what its name says. columns: their names, for Arrow counts them from 0."""
    first = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
    found = re.match(r"In CSV column #(\d+): (Row #(\d+): )?", first)
    if found is not None and int(found[1]) < len(columns):
        row = f"row {int(found[3]):,} (the header is 1), " if found[3] else ""
        first = f"{row}column {columns[int(found[1])]!r}: {first[found.end() :]}"
    return RingmillError(Code.INVALID_ARGUMENT, f"{path}: cannot be read as {_format(path)}: {first}")


def open_sink(path: Path) -> "FileSink":
    """Makes a file for results, CSV or Parquet by its name; one that exists is replaced once this one is complete."""
    need("pyarrow")
    if _is_csv(path) and path.name.lower().endswith(".gz"):
        raise RingmillError(Code.INVALID_ARGUMENT, f"{path}: results are written as .csv or .parquet")
    return FileSink(path)


class ParquetSource:
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        self._file = pq.ParquetFile(path)
        self.columns = list(self._file.schema_arrow.names)
        self.total = int(self._file.metadata.num_rows)
        self.position = 0

    def pieces(
        self,
        columns: list[str],
        types: Mapping[str, "pa.DataType"],  # a Parquet file knows its types; CSV needs to be told
    ) -> Iterator["pa.Table"]:
        """Reads these columns."""
        import pyarrow as pa

        try:
            for batch in self._file.iter_batches(PIECE_ROWS, columns=columns):
                self.position += batch.num_rows
                yield pa.Table.from_batches([batch])
        except (pa.ArrowInvalid, OSError) as problem:
            raise unreadable(self._path, problem) from None


class CsvSource:
    """A CSV file with a header line, plain or gzip."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.total = path.stat().st_size
        """Bytes, compressed ones if the file is."""
        self.position = 0
        self.columns = self._read_names()

    def pieces(self, columns: list[str], types: Mapping[str, "pa.DataType"]) -> Iterator["pa.Table"]:
        """Reads these columns. A column without a type in `types` takes that of its first rows."""
        import pyarrow as pa
        from pyarrow import csv

        convert = csv.ConvertOptions(include_columns=columns, column_types=dict(types), strings_can_be_null=True)
        # In one thread, Arrow names the row that it cannot read.
        read = csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)
        blocks = self._open()
        try:
            with pa.PythonFile(blocks, mode="r") as stream:
                for number, batch in enumerate(csv.open_csv(stream, read, convert_options=convert)):
                    self.position = blocks.ends[min(number, len(blocks.ends) - 1)]
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowInvalid, OSError) as problem:
            raise unreadable(self._path, problem, self.columns) from None
        self.position = self.total

    def _read_names(self) -> list[str]:
        import pyarrow as pa
        from pyarrow import csv

        with pa.PythonFile(self._open(), mode="r") as stream, csv.open_csv(stream) as reader:
            return list(reader.schema.names)

    def _open(self) -> "_Blocks":
        return _Blocks(self._path)


class _Blocks:
    """A file that notes where each block that was read of it ends: Arrow reads many ahead of what it gives out."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.ends: list[int] = []
        """Places in the file, one for each block."""
        self._raw: IO[bytes] = path.open("rb")
        whole = pa.PythonFile(self._raw, mode="r")
        self._stream: Any = pa.CompressedInputStream(whole, "gzip") if path.suffix == ".gz" else whole

    def read(self, size: int) -> bytes:
        """The next block."""
        data: bytes = self._stream.read(size)
        self.ends.append(self._raw.tell())
        return data

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._raw.closed

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()
        self._raw.close()


class FileSink:
    """A file that appears under its name only when it is complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._partial.open("wb").close()  # a folder that cannot be written is told before anything is sent
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            if self._writer is not None:
                self._writer.close()
            self._partial.unlink(missing_ok=True)

    def write(self, piece: "pa.Table") -> None:
        """Appends rows; the first piece decides the columns."""
        if self._writer is None:
            self._writer = self._make_writer(piece.schema)
        self._writer.write_table(piece)

    def close(self) -> None:
        """Completes the file and gives it its name."""
        if self._writer is not None:
            self._writer.close()
        self._partial.replace(self._path)

    def _make_writer(self, schema: "pa.Schema") -> Any:
        import pyarrow.parquet as pq
        from pyarrow import csv

        if _is_csv(self._path):
            return csv.CSVWriter(self._partial, schema)
        return pq.ParquetWriter(self._partial, schema, compression="zstd")


def _is_csv(path: Path) -> bool:
    return _format(path) == "CSV"


def _format(path: Path) -> str:
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return "CSV"
    if name.endswith((".parquet", ".pq")):
        return "Parquet"
    raise RingmillError(Code.INVALID_ARGUMENT, f"{path}: its name must end in .csv, .csv.gz or .parquet")
