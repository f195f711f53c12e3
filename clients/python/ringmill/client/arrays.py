"""Columns of any library as NumPy arrays."""

from typing import Any

import numpy as np
import numpy.typing as npt


def numpy_of(source: Any) -> npt.NDArray[Any]:
    """pandas, polars, pyarrow or a list to NumPy. What is missing becomes NaN, or NaT in times."""
    library = type(source).__module__.partition(".")[0]
    if library == "pyarrow":
        return np.asarray(source.to_numpy(zero_copy_only=False))
    if library == "pandas":
        try:
            return np.asarray(source.to_numpy(na_value=np.nan))  # its masked arrays give objects without it
        except (TypeError, ValueError):
            return np.asarray(source.to_numpy())
    if hasattr(source, "to_numpy"):
        return np.asarray(source.to_numpy())
    return np.asarray(source)


def timed_numpy_of(source: Any) -> npt.NDArray[Any]:
    """The same for times: whole numbers stay whole, with 0 where one is missing."""
    library = type(source).__module__.partition(".")[0]
    if library == "pyarrow":
        return numpy_of(source.fill_null(0) if "int" in str(source.type) else source)
    if library == "polars" and source.dtype.is_integer():
        source = source.fill_null(0)
    elif library == "pandas" and getattr(getattr(source, "dtype", None), "kind", "") in ("i", "u"):
        return np.asarray(source.to_numpy(dtype=f"{source.dtype.kind}8", na_value=0))
    return np.asarray(source.to_numpy())
