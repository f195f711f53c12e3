"""Tells the processor to fetch a cache line that will be needed soon. A hint: it never faults and changes nothing."""

from collections.abc import Callable
from typing import Any, cast

import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

_FOR_WRITING = 1
_KEEP = 3  # in all cache levels
_DATA = 1


@intrinsic
def _prefetch(_context: Any, array: Any, _item: Any, _offset: Any) -> Any:

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        view = make_array(kind)(context, builder, arguments[0])
        integer = ir.IntType(64)
        address = builder.add(
            builder.ptrtoint(view.data, integer), builder.add(builder.mul(arguments[1], view.itemsize), arguments[2])
        )
        pointer = builder.inttoptr(address, cgutils.voidptr_t)
        small = ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, small, small, small])
        function = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0")
        builder.call(function, [pointer, small(_FOR_WRITING), small(_KEEP), small(_DATA)])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), codegen


prefetch = cast(Callable[[npt.NDArray[Any], int, int], None], _prefetch)
"""prefetch(array, item, offset) fetches the line that holds byte `offset` of array[item], a one-dimensional array."""
