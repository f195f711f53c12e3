"""Reading and writing tables, checked with pandas."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ringmill.cli.feed import tables
from ringmill.cli.feed.tables import PIECE_ROWS, open_sink, open_source
from ringmill.core.errors import RingmillError

FRAME = pd.DataFrame({"key": ["ada", "bob", "007"], "amount": [1.5, None, 3.0], "note": ["a", "b,c", None]})


def save(folder: Path, name: str) -> Path:
    path = folder / name
    if name.endswith(".parquet"):
        FRAME.to_parquet(path)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(FRAME.to_csv(index=False).encode()))
    else:
        FRAME.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_every_format_gives_the_same_columns(name: str, tmp_path: Path) -> None:
    source = open_source(save(tmp_path, name))
    assert source.columns == ["key", "amount", "note"]
    types = {"key": pa.string(), "amount": pa.float64()}
    read = pa.concat_tables(source.pieces(["amount", "key"], types))
    assert read.column("key").to_pylist() == ["ada", "bob", "007"]  # not the number 7
    assert read.column("amount").to_pylist() == [1.5, None, 3.0]
    assert source.position == source.total


def test_a_large_file_comes_in_pieces(tmp_path: Path) -> None:
    rows = 3 * PIECE_ROWS + 1
    pd.DataFrame({"x": range(rows)}).to_parquet(tmp_path / "t.parquet")
    source = open_source(tmp_path / "t.parquet")
    pieces = list(source.pieces(["x"], {}))
    assert [len(piece) for piece in pieces] == [PIECE_ROWS] * 3 + [1]
    assert source.position == rows == source.total


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.parquet", b"this is no Parquet", "cannot be read as Parquet"),
        ("t.csv", b"", "cannot be read as CSV"),
        ("t.csv.gz", b"not gzip", "cannot be read as CSV"),
        ("t.txt", b"a,b", "must end in .csv, .csv.gz or .parquet"),
    ],
)
def test_what_is_not_a_table_is_named(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RingmillError, match=says) as problem:
        open_source(path)
    assert str(path) in problem.value.message


def test_a_row_that_does_not_fit_is_named_when_it_is_reached(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("key,amount\nada,1.5\nbob,much\n")
    with pytest.raises(RingmillError, match=r"row 3 \(the header is 1\), column 'amount': .*much"):
        list(open_source(path).pieces(["amount"], {"amount": pa.float64()}))


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_the_position_is_that_of_the_piece_at_hand(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BLOCK_BYTES", 1 << 16)
    path, rows = tmp_path / name, 60_000
    generator = np.random.default_rng(1)  # what compresses badly, so that the places in the file are many
    text = pd.DataFrame({"x": generator.random(rows)}).to_csv(index=False).encode()
    path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    source, seen = open_source(path), 0
    for piece in source.pieces(["x"], {}):  # Arrow has read most of the file when it gives out the first of it
        seen += len(piece)
        assert source.position / source.total == pytest.approx(seen / rows, abs=0.15)
    assert (seen, source.position) == (rows, source.total)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_results_are_read_back_by_pandas(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with open_sink(path) as sink:
        sink.write(pa.table({"key": ["a", "b"], "z": [1.0, 2.5]}))
        sink.write(pa.table({"key": ["c"], "z": [0.25]}))
        assert not path.exists()  # a reader never finds half of the results
    read = pd.read_csv(path) if name.endswith("csv") else pd.read_parquet(path)
    assert read["key"].tolist() == ["a", "b", "c"]
    assert read["z"].tolist() == [1.0, 2.5, 0.25]


def test_results_of_a_failed_run_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    path.write_bytes(b"the results of yesterday")

    def run() -> None:
        with open_sink(path) as sink:
            sink.write(pa.table({"key": ["a"]}))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.parquet"]
    assert path.read_bytes() == b"the results of yesterday"
