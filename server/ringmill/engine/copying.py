"""Copies a record of an array, or its beginning, over one of another of the same type.

`array[i] = other[j]` compiles to a load of the whole record as a value: beyond 1,024 bytes LLVM takes it apart into
single bytes, and a row of 4.6 KB took 3.5 us to back up, where this takes 60 ns.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import make_array


@intrinsic
def _copy_row(_context: Any, target: Any, _to: Any, source: Any, _from: Any, _length: Any) -> Any:
    if target.dtype != source.dtype:
        raise TypingError("rows of different types")

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, origin = (make_array(signature.args[n])(context, builder, arguments[n]) for n in (0, 2))
        item = ir.Constant(ir.IntType(64), context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype)))
        pointers = []
        for view, index in ((to, arguments[1]), (origin, arguments[3])):
            address = builder.ptrtoint(view.data, ir.IntType(64))
            pointers.append(builder.inttoptr(builder.add(address, builder.mul(index, item)), cgutils.voidptr_t))
        cgutils.raw_memcpy(builder, pointers[0], pointers[1], arguments[4], 1)
        return context.get_dummy_value()

    return types.void(target, types.int64, source, types.int64, types.int64), codegen


copy_row = cast(Callable[[npt.NDArray[Any], int, npt.NDArray[Any], int, int], None], _copy_row)
"""copy_row(target, i, source, j, length): the first `length` bytes of source[j] to target[i]; arrays of one type and
one dimension. Nothing is checked."""
