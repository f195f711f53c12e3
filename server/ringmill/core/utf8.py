"""UTF-8 validation inside kernels, as strict as the official Protobuf library: no surrogates, no over-long forms."""

import numpy as np

from ringmill.core.jit import kernel
from ringmill.core.memory import Bytes, load8, load64

_HIGH_BITS = np.uint64(0x8080808080808080)


@kernel(inline=True)
def is_utf8(buffer: Bytes, start: int, stop: int) -> bool:
    """Whether buffer[start:stop] is valid UTF-8. The range must lie inside the array.

    ASCII, the common case, is seen from whole words: the last word overlaps the one before it, or, for short strings,
    reaches past `stop` where the array goes on, and what does not belong is shifted out.
    """
    high = np.uint64(0)
    length = stop - start
    if length > 16:
        return _is_utf8_slow(buffer, start, stop)
    if length >= 8:
        high = load64(buffer, start) | load64(buffer, stop - 8)
    elif length > 0 and buffer.size - start >= 8:
        high = load64(buffer, start) << np.uint64(64 - 8 * length)
    elif length > 0:
        return _is_utf8_slow(buffer, start, stop)
    return high & _HIGH_BITS == np.uint64(0) or _is_utf8_slow(buffer, start, stop)


@kernel(allocates=False)
def _is_utf8_slow(buffer: Bytes, position: int, stop: int) -> bool:
    while position < stop:
        lead = load8(buffer, position)
        position += 1
        if lead < 0x80:
            continue
        # The first continuation byte has narrower bounds where the lead byte allows over-long forms (E0, F0),
        # surrogates (ED) or code points past 10FFFF (F4). Unicode Standard, table 3-7.
        low = 0x80
        high = 0xBF
        if 0xC2 <= lead <= 0xDF:
            length = 1
        elif 0xE0 <= lead <= 0xEF:
            length = 2
            low = 0xA0 if lead == 0xE0 else 0x80
            high = 0x9F if lead == 0xED else 0xBF
        elif 0xF0 <= lead <= 0xF4:
            length = 3
            low = 0x90 if lead == 0xF0 else 0x80
            high = 0x8F if lead == 0xF4 else 0xBF
        else:
            return False
        if stop - position < length:
            return False
        for offset in range(length):
            byte = load8(buffer, position + offset)
            if byte < low or byte > high:
                return False
            low = 0x80
            high = 0xBF
        position += length
    return True
