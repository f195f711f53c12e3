"""Text columns of any library as one heap of UTF-8 bytes and a range for each string.

Nothing is done per string in Python where the source is columnar: an Arrow array is used as it stands, a dictionary or
categorical array keeps its few distinct strings once, and a NumPy array of fixed width is its own heap.
"""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Strings:
    """String i is heap[starts[i]:stops[i]], valid UTF-8. Ranges may share bytes and stand in any order."""

    heap: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return self.starts.size


def strings_of(source: Any, name: str) -> Strings:
    """Converts a column of text: a list, a NumPy array (U, S, T or object), pandas, polars or pyarrow.

    A missing string (None, NaN, NaT) becomes the empty one. Raises TypeError for anything that is not text.
    """
    if isinstance(source, Strings):
        return source
    if isinstance(source, str | bytes):
        raise TypeError(f"{name} is one string; give a column of them")
    if hasattr(source, "__len__") and not (isinstance(source, np.ndarray) and source.ndim == 0) and not len(source):
        return _ranges(b"", np.zeros(0, np.int64))  # an empty column often has the type of numbers
    if isinstance(source, np.ndarray) and source.dtype.kind in "US":
        return _fixed_width(np.ascontiguousarray(source).reshape(-1), name)
    if isinstance(source, np.ndarray) and source.dtype.kind not in "OT":
        raise TypeError(f"{name} must be text, not {source.dtype}; convert it with .astype(str)")
    if _prefers_arrow(source):
        found = _from_arrow(source, name)
        if found is not None:
            return found
    return _from_sequence(source.tolist() if hasattr(source, "tolist") else list(source), name)


@cache
def _arrow_installed() -> bool:
    return importlib.util.find_spec("pyarrow") is not None


def _prefers_arrow(source: Any) -> bool:
    columnar = type(source).__module__.partition(".")[0] in ("pandas", "polars", "pyarrow")
    # For a list or an object array Arrow's conversion is faster too, but not worth importing Arrow for.
    return "pyarrow" in sys.modules or (columnar and _arrow_installed())


def _from_arrow(source: Any, name: str) -> Strings | None:
    """The strings of what Arrow can convert; None for lists that mix kinds, which the slow way explains better."""
    import pyarrow as pa  # optional, and slow to import: only once a caller has columns for it

    if hasattr(source, "to_arrow"):
        source = source.to_arrow()
    try:
        array = source if isinstance(source, pa.Array | pa.ChunkedArray) else pa.array(source, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeEncodeError):
        return None
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # an old pyarrow keeps zero chunks chunked
        array = pa.concat_arrays(array.chunks)
    if pa.types.is_dictionary(array.type):
        return _from_dictionary(array, name)
    if pa.types.is_null(array.type):
        zeros = np.zeros(len(array), np.int64)
        return Strings(np.zeros(0, np.uint8), zeros, zeros)
    if pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
            return None
        raise TypeError(f"{name} must be text, not {array.type}; convert it with .astype(str)")
    return _from_string_array(array)


def _from_string_array(array: Any) -> Strings:
    _, offsets_buffer, data = array.buffers()
    width = np.int64 if str(array.type).startswith("large") else np.int32
    if offsets_buffer is None:
        return Strings(np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64))
    offsets = np.frombuffer(offsets_buffer, width)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    heap = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    starts, stops = offsets[:-1], offsets[1:]
    if array.null_count:
        stops = np.where(array.is_null().to_numpy(zero_copy_only=False), starts, stops)
    return Strings(heap, starts, stops)


def _from_dictionary(array: Any, name: str) -> Strings:
    distinct = strings_of(array.dictionary, name)
    codes = array.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)
    starts, stops = np.append(distinct.starts, 0), np.append(distinct.stops, 0)  # the last, empty, is the missing one
    return Strings(distinct.heap, starts[codes], stops[codes])


def _fixed_width(array: npt.NDArray[Any], name: str) -> Strings:
    """NumPy's U and S arrays: every string stands in a cell of the same width, filled up with zeros."""
    if array.dtype.kind == "U":
        wide = array.view(np.uint32).reshape(array.size, -1) if array.size else np.zeros((0, 1), np.uint32)
        if wide.size and wide.max() > 127:
            return _from_sequence(array.tolist(), name)
        cells = wide.astype(np.uint8)
    else:
        cells = array.view(np.uint8).reshape(array.size, -1) if array.size else np.zeros((0, 1), np.uint8)
        if cells.size and cells.max() > 127:
            return _from_sequence(array.tolist(), name)
    starts = np.arange(array.size, dtype=np.int64) * cells.shape[1]
    return Strings(np.ascontiguousarray(cells).reshape(-1), starts, starts + np.strings.str_len(array))


def _from_sequence(items: Sequence[Any], name: str) -> Strings:
    try:
        text = "".join(items)
    except TypeError:
        return _from_pieces([_utf8(item, name) for item in items])
    if not text.isascii():
        return _from_pieces([item.encode() for item in items])
    return _ranges(text.encode(), np.fromiter(map(len, items), np.int64, len(items)))


def _from_pieces(pieces: list[bytes]) -> Strings:
    return _ranges(b"".join(pieces), np.fromiter(map(len, pieces), np.int64, len(pieces)))


def _ranges(heap: bytes, lengths: npt.NDArray[np.int64]) -> Strings:
    stops = np.cumsum(lengths)
    return Strings(np.frombuffer(heap, np.uint8), stops - lengths, stops)


def _utf8(item: Any, name: str) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes):
        item.decode()  # raises UnicodeDecodeError, which names the byte
        return item
    if item is None or item != item:  # NaN and NaT differ from themselves
        return b""
    if type(item).__name__ == "NAType":  # pandas.NA answers neither yes nor no
        return b""
    raise TypeError(f"{name} must hold text, not {type(item).__name__}: {item!r}")
