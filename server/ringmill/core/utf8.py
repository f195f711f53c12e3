"""UTF-8 validation inside kernels, as strict as the official Protobuf library: no surrogates, no over-long forms."""

import numpy as np

from ringmill.core.jit import kernel
from ringmill.core.memory import Bytes, load8, load64

_HIGH_BITS = np.uint64(0x8080808080808080)


@kernel(inline=True)
def is_utf8(buffer: Bytes, start: int, stop: int) -> bool:
    """Whether buffer[start:stop] is valid UTF-8. The range must lie inside the array."""
    position = start
    while stop - position >= 8 and load64(buffer, position) & _HIGH_BITS == np.uint64(0):
        position += 8
    while position < stop and load8(buffer, position) < 0x80:
        position += 1
    return position == stop or _is_utf8_slow(buffer, position, stop)


@kernel()
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
