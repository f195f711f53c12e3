"""The loop in C, compiled when the benchmark runs and called over the engine's own columns."""

import ctypes
import mmap
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ringmill.core.columns import Columns
from ringmill.core.hashing import PARTITIONS

FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")
_SOURCE = Path(__file__).with_name("loop.c")
_ROW_BYTES = 64


class _Table(ctypes.Structure):
    _fields_ = (
        ("owned", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
        ("rows", ctypes.c_void_p),
        ("counts", ctypes.c_void_p),
        ("bits", ctypes.c_int64),
        ("keys_max", ctypes.c_int64),
    )


class CLoop:
    """A table of its own, and the compiled loop."""

    def __init__(self, compiler: str, keys_max: int = 1024) -> None:
        """keys_max: keys a partition may hold; the index has twice as many slots, at least."""
        self._apply = _compile(compiler)
        bits = (2 * keys_max - 1).bit_length()
        self._owned = np.ones(PARTITIONS, np.uint8)
        self._slots = np.zeros(PARTITIONS << bits, np.uint64)
        # A mapping begins on a page, as the engine's does: so no row straddles two cache lines.
        self._rows = np.frombuffer(mmap.mmap(-1, PARTITIONS * keys_max * _ROW_BYTES), np.uint8)
        self._counts = np.zeros(PARTITIONS, np.uint32)
        arrays = (self._owned, self._slots, self._rows, self._counts)
        self._table = _Table(*(array.ctypes.data for array in arrays), bits, keys_max)

    def apply(self, count: int, buffer: npt.NDArray[np.uint8], columns: Columns, out: npt.NDArray[np.float64]) -> int:
        """Runs the loop over decoded columns; out: [n, 2]. Returns how many events were rejected."""
        columns_at = (array.ctypes.data for array in (columns.events, columns.values, out))
        return int(self._apply(ctypes.byref(self._table), count, buffer.ctypes.data, buffer.size, *columns_at))


def _compile(compiler: str) -> "ctypes._NamedFuncPointer":
    with tempfile.TemporaryDirectory(prefix="ringmill-bench-") as folder:
        library = Path(folder) / "loop.so"
        subprocess.run([compiler, *FLAGS, "-o", library, _SOURCE, "-lm"], check=True)
        function = ctypes.CDLL(str(library)).apply  # stays loaded after the file is gone
    function.restype = ctypes.c_int64
    function.argtypes = [
        ctypes.POINTER(_Table),
        ctypes.c_int64,
        ctypes.c_void_p,
        ctypes.c_int64,
        *[ctypes.c_void_p] * 3,
    ]
    return function
