"""Makes requests to fuzz with: well-formed pieces in every variation that the wire format allows, then damage.

Pieces are kept in pools that are renewed now and then, and a case is a few pieces joined: so a case costs microseconds.
"""

import random
import struct

import xxhash

from ringmill.v1.processing_pb2 import AckLevel, Event, ProcessOptions, ProcessRequest

VARINT, FIXED64, DELIMITED, GROUP, GROUP_END, FIXED32 = range(6)

NUMBERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 99, 100, 113, 127, 128, 2047, 2048, 2**29 - 1)
BAD_UTF8 = (
    b"\xff",
    b"\x80",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xc3",
    b"\xe0\x9f\xbf",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
)
TEXT = (
    "abcdefghijklmnopqrstuvwxyz0123456789-_/\0\x7fäßñ\u07ff\u0800\u20ac\ud7ff\ue000\uffff\U00010000\U0001f600\U0010ffff"
)
DOUBLES = (0.0, -0.0, 1.0, -1.5, 1e308, 5e-324, float("inf"), float("-inf"), float("nan"))
NANS = (0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF)
TIMES = (0, 1, -1, 253_402_300_799_999_999, 253_402_300_800_000_000, 2**63 - 1, -(2**63), 1_700_000_000_000_000)
INTEGERS = (0, 1, 2, -1, 2**63 - 1, -(2**63), 1 << 32)
BYTES = bytes((0, 1, 2, 8, 9, 0x0A, 0x0B, 0x0C, 0x11, 0x12, 0x19, 0x1A, 0x22, 0x29, 0x2A, 0x7F, 0x80, 0x81, 0xFE, 0xFF))
POOL = 600
KEY_OF_PARTITION_0 = next(
    f"device-{n}" for n in range(10**5) if xxhash.xxh64_intdigest(f"device-{n}".encode()) % 1021 == 0
)
"""A hash that the number of partitions divides is an edge of the remainder."""


def varint(value: int, padding: int = 0) -> bytes:
    """A varint; padding: bytes longer than it needs."""
    encoded = bytearray()
    while value >= 0x80 or padding:
        if value < 0x80:
            padding -= 1
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


class Generator:
    """An endless source of requests. The same seed gives the same requests."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._events: list[bytes] = []
        self._heads: list[bytes] = []
        self._left = 0

    def case(self) -> bytes:
        """The next request, which may or may not be valid."""
        if not self._left:
            self._renew()
        self._left -= 1
        chance = self._random.random
        pieces = []
        count, events = int(chance() * chance() * 8), 0.7
        if chance() < 0.02:  # about as many events as a checker has room for
            count, events = 6 + self._below(2), 1.0
        for _ in range(count):
            pool = self._events if chance() < events else self._heads
            pieces.append(pool[int(chance() * POOL)])
        message = b"".join(pieces)
        while chance() < 0.45:
            message = self._damage(message)
        return message

    def _renew(self) -> None:
        self._events = [self._event() for _ in range(POOL)]
        self._heads = [self._head() for _ in range(POOL)]
        self._left = 5_000

    # Pieces

    def _below(self, stop: int) -> int:
        return int(self._random.random() * stop)

    def _tag(self, number: int, wire_type: int) -> bytes:
        padding = 1 + self._below(4) if self._random.random() < 0.02 else 0
        return varint(number << 3 | wire_type, padding)

    def _delimited(self, number: int, payload: bytes) -> bytes:
        padding = 1 + self._below(4) if self._random.random() < 0.02 else 0
        return self._tag(number, DELIMITED) + varint(len(payload), padding) + payload

    def _text(self) -> bytes:
        kind = self._random.random()
        if kind < 0.02:
            return b"k" * (1023 + self._below(3))
        length = self._below(4) if kind < 0.2 else self._below(48)
        text = "".join(self._random.choice(TEXT[: 36 if kind < 0.7 else None]) for _ in range(length)).encode()
        if kind > 0.97:
            at = self._below(len(text) + 1)
            text = text[:at] + self._random.choice(BAD_UTF8) + text[at:]
        return text

    def _double(self) -> bytes:
        kind = self._random.random()
        if kind < 0.8:
            return struct.pack("<d", self._random.uniform(-1e6, 1e6))
        return struct.pack("<d", self._random.choice(DOUBLES)) if kind < 0.95 else self._fixed64(NANS)

    def _fixed64(self, numbers: tuple[int, ...]) -> bytes:
        return struct.pack("<Q", self._random.choice(numbers) & 0xFFFFFFFFFFFFFFFF)

    def _run(self, number: int, make_one: str) -> bytes:
        count = self._below(5) if self._random.random() < 0.98 else 40
        items = [self._double() if make_one == "double" else self._fixed64(INTEGERS) for _ in range(count)]
        if self._random.random() < 0.3:
            return b"".join(self._tag(number, FIXED64) + item for item in items)
        payload = b"".join(items)
        if self._random.random() < 0.01:
            payload = payload[: self._below(len(payload) + 1)]
        return self._delimited(number, payload)

    def _unknown(self, depth: int = 0) -> bytes:
        number = self._random.choice(NUMBERS)
        wire_type = self._below(6)
        if wire_type == VARINT:
            value = self._random.getrandbits(self._below(65))
            padding = self._below(12) if self._random.random() < 0.1 else 0
            return self._tag(number, VARINT) + varint(value, padding)
        if wire_type == FIXED64:
            return self._tag(number, FIXED64) + self._random.randbytes(8)
        if wire_type == FIXED32:
            return self._tag(number, FIXED32) + self._random.randbytes(4)
        if wire_type == DELIMITED:
            return self._delimited(number, self._random.randbytes(self._below(20)))
        return self._group(number, depth)

    def _group(self, number: int, depth: int) -> bytes:
        if depth == 0 and self._random.random() < 0.1:
            levels = 96 + self._below(8)
            return self._tag(number, GROUP) * levels + self._tag(number, GROUP_END) * levels
        fields = [self._unknown(depth + 1) for _ in range(self._below(3))] if depth < 4 else []
        end = number if self._random.random() < 0.97 else self._random.choice(NUMBERS)
        return self._tag(number, GROUP) + b"".join(fields) + self._tag(end, GROUP_END)

    def _edge(self) -> bytes:
        """An unknown field at the edge of a rule, on either side of it: what chance alone would seldom meet."""
        number = self._random.choice((9, 15, 16, 2**29 - 1))
        kind = self._below(10)
        if kind == 0:  # varints of 9 to 11 bytes, the tenth with more bits than a number has
            return self._tag(number, VARINT) + b"\xff" * (8 + self._below(3)) + BYTES[self._below(4) :][:1]
        if kind == 1:  # tags of 33 and 35 bits, of 5 and 6 bytes
            tag = number << 3 | VARINT | self._random.choice((0, 1 << 31, 1 << 32, 1 << 34))
            return varint(tag, self._below(3)) + b"\x01"
        if kind == 2:  # lengths of up to 6 bytes, and one past the end
            return varint(number << 3 | DELIMITED) + varint(1 + self._below(2), self._below(6)) + b"x"
        if kind == 3:
            levels = 98 + self._below(4)
            return self._tag(number, GROUP) * levels + self._tag(number, GROUP_END) * levels
        if kind == 4:
            return self._tag(number, FIXED32) + bytes(3 + self._below(2))
        if kind == 5:
            return self._tag(number, FIXED64) + bytes(7 + self._below(2))
        if kind == 6:  # no other field has number 0, but in a group it passes
            zero = varint(self._below(3) << 3 if self._random.random() < 0.5 else self._below(8)) + b"\x01"
            return zero if self._random.random() < 0.5 else self._tag(9, GROUP) + zero + self._tag(9, GROUP_END)
        if kind == 7:
            return self._tag(number, 6 + self._below(2)) + bytes(self._below(3))
        if kind == 8:  # a label that may end within a character, before a byte that could go on with it
            return (
                self._delimited(4, b"a" * self._below(9) + self._random.choice(BAD_UTF8))
                + self._tag(16, VARINT)
                + b"\0"
            )
        return self._tag(number, GROUP) + self._tag(self._random.choice((number, 9)), GROUP_END)

    def _event(self) -> bytes:
        if self._random.random() < 0.3:
            return self._official_event()
        makers = (
            lambda: self._delimited(1, self._text()),
            lambda: self._tag(2, FIXED64) + self._fixed64(TIMES),
            lambda: self._run(3, "double"),
            lambda: self._delimited(4, self._text()),
            lambda: self._run(5, "integer"),
        )
        fields = [make() for make in makers if self._random.random() < 0.8]
        while self._random.random() < 0.3:
            fields.append(self._random.choice(makers)())
        while self._random.random() < 0.15:
            fields.append(self._unknown())
        if self._random.random() < 0.4:
            self._random.shuffle(fields)
        if self._random.random() < 0.08:
            fields.append(self._edge())
        return self._delimited(4, b"".join(fields))

    def _official_event(self) -> bytes:
        long = "l" * (1024 + self._below(2)) if self._random.random() < 0.2 else "red"
        event = Event(
            key=f"device-{self._below(1000)}" if self._random.random() < 0.95 else KEY_OF_PARTITION_0,
            time_us=1_700_000_000_000_000 + self._below(1000),
            values=[self._random.uniform(-10, 10) for _ in range(self._below(4))],
            labels=[long, "gr\u00fcn", ""][: self._below(4)],
            integers=[self._below(3) for _ in range(self._below(4))],
        )
        return ProcessRequest(events=[event]).SerializeToString()

    def _head(self) -> bytes:
        kind = self._random.random()
        if kind < 0.4:
            return self._unknown()
        if kind < 0.5:
            return self._delimited(self._random.choice((1, 2, 5, 8)), self._text())
        request = ProcessRequest(
            pipeline=self._random.choice(("", "flights", "gr\u00f6\u00dfe")),
            producer=self._random.choice(("", "p1")),
            sequence=self._random.getrandbits(self._below(65)),
            options=ProcessOptions(routing_key="r", session=self._below(3), version="2"),
            ack=self._random.choice((AckLevel.ACK_LEVEL_UNSPECIFIED, AckLevel.ACK_LEVEL_ALL)),
            timeout_ms=self._random.getrandbits(self._below(33)),
            watermark_us=self._below(1 << 50),
            acknowledged=self._below(1 << 20),
        )
        for field in ("pipeline", "producer", "options", "sequence", "watermark_us"):
            if self._random.random() < 0.5:
                request.ClearField(field)
        return request.SerializeToString()

    # Damage

    def _damage(self, message: bytes) -> bytes:
        kind = self._below(9)
        size = len(message)
        at = self._below(size + 1)
        if kind == 0:
            return message[:at]
        if kind == 1 and at < size:
            return message[:at] + bytes((message[at] ^ (1 << self._below(8)),)) + message[at + 1 :]
        if kind == 2:
            return message[:at] + BYTES[self._below(len(BYTES)) :][:1] + message[at + 1 :]
        if kind == 3:
            return message[:at] + message[at + 1 + self._below(4) :]
        if kind == 4:
            other = self._events[self._below(POOL)]
            return message[:at] + other[self._below(len(other)) :]
        if kind == 5 and at < size:
            return message[:at] + bytes(((message[at] + self._below(3) - 1) & 0xFF,)) + message[at + 1 :]
        if kind == 6:
            return message[:at] + message[at - self._below(at + 1) : at] + message[at:]
        if kind == 7:
            return message[:at] + BYTES[self._below(len(BYTES)) :][:2] + message[at:]
        return message[:at] + self._unknown() + message[at:]
