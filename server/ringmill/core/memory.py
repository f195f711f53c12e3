"""Raw loads, stores and copies of bytes in uint8 arrays, as inline primitives that check nothing by themselves.

All positions are int64 offsets. Whoever calls `load*`, `store*` or `copy_bytes` has compared the offset with the end
before. With RINGMILL_CHECKED=1 each access is checked against the array too and raises IndexError; the fuzzer runs that
build. Numbers on the wire are little-endian, as are the processors that this runs on.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from ringmill.core.jit import CHECKED, kernel

Bytes = npt.NDArray[np.uint8]

MESSAGE = types.Array(types.uint8, 1, "C", readonly=True)
"""Numba type of a received message: `np.frombuffer(message, np.uint8)`."""
SCRATCH = types.Array(types.uint8, 1, "C")
"""Numba type of bytes to write to: `np.empty(n, np.uint8)`."""


def _load(bits: int) -> Any:
    @intrinsic
    def load(_context: Any, buffer: Any, _position: Any) -> Any:
        result = types.Integer.from_bitwidth(bits, signed=False)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = make_array(signature.args[0])(context, builder, arguments[0])
            address = builder.gep(array.data, [arguments[1]])
            word = builder.load(builder.bitcast(address, ir.IntType(bits).as_pointer()))
            word.align = 1
            return word

        return result(buffer, types.int64), codegen

    return load


_load64 = _load(64)
_load8 = _load(8)
_load32 = _load(32)


@intrinsic
def _store64(_context: Any, buffer: Any, _position: Any, _word: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(array.data, [arguments[1]])
        store = builder.store(arguments[2], builder.bitcast(address, ir.IntType(64).as_pointer()))
        store.align = 1
        return context.get_dummy_value()

    return types.void(buffer, types.int64, types.uint64), codegen


@intrinsic
def _copy(_context: Any, out: Any, _position: Any, buffer: Any, _start: Any, _length: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target = make_array(signature.args[0])(context, builder, arguments[0])
        source = make_array(signature.args[2])(context, builder, arguments[2])
        cgutils.raw_memcpy(
            builder,
            builder.gep(target.data, [arguments[1]]),
            builder.gep(source.data, [arguments[3]]),
            arguments[4],
            1,
        )
        return context.get_dummy_value()

    return types.void(out, types.int64, buffer, types.int64, types.int64), codegen


@intrinsic
def float_of_bits(_context: Any, _word: Any) -> Any:
    """The double whose 64 bits these are."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.uint64), codegen


@intrinsic
def bits_of_float(_context: Any, _value: Any) -> Any:
    """The 64 bits of a double."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.uint64(types.float64), codegen


@intrinsic
def multiply_high(_context: Any, _left: Any, _right: Any) -> Any:
    """The upper 64 bits of the 128-bit product of two uint64."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), codegen


@kernel(inline=True)
def check_access(buffer: Bytes, position: int, length: int) -> None:
    """Raises IndexError, in a checked build only, unless [position, position + length) is inside the array."""
    if CHECKED and (position < 0 or length < 0 or position + length > buffer.size):
        raise IndexError("access outside the buffer")


@kernel(inline=True)
def load8(buffer: Bytes, position: int) -> int:
    """The byte at `position`, as int64. Unchecked."""
    check_access(buffer, position, 1)
    return int(_load8(buffer, position))


@kernel(inline=True)
def load32(buffer: Bytes, position: int) -> np.uint64:
    """Four bytes as a little-endian number, widened to uint64. Unchecked; any alignment."""
    check_access(buffer, position, 4)
    return np.uint64(_load32(buffer, position))


@kernel(inline=True)
def load64(buffer: Bytes, position: int) -> np.uint64:
    """Eight bytes as a little-endian uint64. Unchecked; any alignment."""
    check_access(buffer, position, 8)
    return np.uint64(_load64(buffer, position))


@kernel(inline=True)
def store64(out: Bytes, position: int, word: np.uint64) -> None:
    """Writes a uint64 as eight little-endian bytes. Unchecked; any alignment."""
    check_access(out, position, 8)
    _store64(out, position, word)


@kernel(inline=True)
def copy_bytes(out: Bytes, position: int, buffer: Bytes, start: int, stop: int) -> int:
    """Copies buffer[start:stop] to out[position:] and returns the next position. Unchecked; must not overlap."""
    check_access(buffer, start, stop - start)
    check_access(out, position, stop - start)
    _copy(out, position, buffer, start, stop - start)
    return position + (stop - start)
