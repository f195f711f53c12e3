"""Text columns of each library become the same heap and ranges."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from ringmill.client.strings import Strings, strings_of

PLAIN = ["N14228", "", "N24211", "N1"]
WIDE = ["Zürich", "", "東京", "é" * 30]

SOURCES: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "numpy U": lambda t: np.array(t),
    "numpy S": lambda t: np.array([x.encode() for x in t]),
    "numpy object": lambda t: np.array(t, object),
    "numpy StringDType": lambda t: np.array(t, np.dtypes.StringDType()),
    "numpy strided": lambda t: np.repeat(np.array(t), 2)[::2],
    "pandas Series": pd.Series,
    "pandas object": lambda t: pd.Series(t, dtype=object),
    "pandas Index": pd.Index,
    "pandas python strings": lambda t: pd.Series(t, dtype=pd.StringDtype("python")),
    "pandas Arrow": lambda t: pd.Series(t, dtype=pd.ArrowDtype(pa.string())),
    "pandas Categorical": lambda t: pd.Series(t, dtype="category"),
    "pandas slice": lambda t: pd.Series(["before", *t, "after"])[1:-1],
    "polars Series": pl.Series,
    "polars Categorical": lambda t: pl.Series(t, dtype=pl.Categorical),
    "arrow string": lambda t: pa.array(t, pa.string()),
    "arrow large": lambda t: pa.array(t, pa.large_string()),
    "arrow view": lambda t: pa.array(t, pa.string_view()),
    "arrow slice": lambda t: pa.array(["before", *t, "after"]).slice(1, len(t)),
    "arrow chunks": lambda t: pa.chunked_array([t[:1], t[1:]]),
    "arrow dictionary": lambda t: pa.array(t).dictionary_encode(),
}


def texts(strings: Strings) -> list[str]:
    heap = strings.heap.tobytes()
    return [heap[a:b].decode() for a, b in zip(strings.starts.tolist(), strings.stops.tolist(), strict=True)]


@pytest.mark.parametrize("given", [PLAIN, WIDE], ids=["ascii", "unicode"])
@pytest.mark.parametrize("source", SOURCES)
def test_every_library_gives_the_same_strings(source: str, given: list[str]) -> None:
    assert texts(strings_of(SOURCES[source](given), "keys")) == given


@pytest.mark.parametrize("given", [PLAIN, WIDE], ids=["ascii", "unicode"])
@pytest.mark.parametrize("source", [name for name in SOURCES if name.startswith(("list", "tuple", "numpy", "pandas"))])
def test_the_same_without_arrow(source: str, given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringmill.client.strings._prefers_arrow", lambda source: False)
    assert texts(strings_of(SOURCES[source](given), "keys")) == given


@pytest.mark.parametrize(
    "column",
    [
        ["a", None, "b"],
        np.array(["a", None, "b"], object),
        np.array(["a", float("nan"), "b"], object),
        pd.Series(["a", None, "b"]),
        pd.Series(["a", pd.NA, "b"], dtype=object),
        pd.Series(["a", None, "b"], dtype="category"),
        pl.Series(["a", None, "b"]),
        pl.Series(["a", None, "b"], dtype=pl.Categorical),
        pa.array(["a", None, "b"]),
    ],
    ids=lambda column: type(column).__module__ + "." + str(getattr(column, "dtype", "")),
)
def test_a_missing_string_is_empty(column: Any) -> None:
    assert texts(strings_of(column, "keys")) == ["a", "", "b"]


def test_nothing_but_missing_strings() -> None:
    assert texts(strings_of([None, None], "keys")) == ["", ""]
    assert texts(strings_of(pa.nulls(2), "keys")) == ["", ""]


@pytest.mark.parametrize("column", [[], np.array([], "U1"), np.array([], "S1"), pd.Series([], dtype=str), pa.array([])])
def test_no_strings(column: Any) -> None:
    assert len(strings_of(column, "keys")) == 0


@pytest.mark.parametrize(
    "column",
    ["N1", [1, 2], np.arange(3), pd.Series([1.5]), pl.Series([1]), ["a", 2], [["a"]], [b"\xff"], ["\ud800"]],
    ids=repr,
)
def test_what_is_not_text_is_refused_by_name(column: Any) -> None:
    with pytest.raises((TypeError, UnicodeError)) as caught:
        strings_of(column, "keys")
    assert isinstance(caught.value, UnicodeError) or "keys" in str(caught.value)


def test_an_arrow_array_is_not_copied() -> None:
    array = pa.array(["N14228", "N24211"], pa.large_string())
    strings = strings_of(array, "keys")
    assert strings.heap.ctypes.data == array.buffers()[2].address
