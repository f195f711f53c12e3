"""Compares the client's compiled codec with the official library: responses that it reads, requests that it writes."""

import random
from typing import Any

import numpy as np
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from ringmill.core.codec.layout import MALFORMED, TOO_MANY
from ringmill.core.codec.request_encoder import ENCODE_EVENTS, encode_events
from ringmill.core.codec.response_decoder import DECODE_OUTCOMES, UNKNOWN_REASON, decode_outcomes
from ringmill.core.jit import compile_kernel
from ringmill.v1.processing_pb2 import (
    Emission,
    Event,
    Outcome,
    ProcessRequest,
    ProcessResponse,
    Receipt,
    Rejection,
    StreamInfo,
)
from tests.fuzz.generate import DELIMITED, DOUBLES, INTEGERS, TEXT, TIMES, VARINT, Generator, varint

OUTCOMES_MAX = 6
"""Small, so that responses with too many outcomes come up too."""
VALUES, NUMBERS, LABELS = 2, 2, 2
"""Columns that the reader asks for; responses have up to four of each and more."""
REASONS = (0, 1, 5, 6, 8, 33, 34, 254, 255, 256, 300, 2**31 - 1, 2**32 + 6, 2**64 - 1)
UNSET = 77
"""Stands in every column before it is read into: an entry that an outcome lacks must keep it."""


class ResponseGenerator(Generator):
    """An endless source of responses, valid or not."""

    def _event(self) -> bytes:
        """One outcome, as an entry of the response."""
        if self._random.random() < 0.3:
            return self._official_outcome()
        makers = (
            lambda: self._run(1, "double"),
            lambda: self._run(3, "integer"),
            lambda: self._delimited(4, self._text()),
            self._rejection,
            lambda: self._delimited(5, Emission(key="k", values=[1.5]).SerializeToString()),
        )
        fields = [make() for make in makers if self._random.random() < 0.5]
        while self._random.random() < 0.3:
            fields.append(self._random.choice(makers)())
        while self._random.random() < 0.15:
            fields.append(self._unknown())
        if self._random.random() < 0.4:
            self._random.shuffle(fields)
        if self._random.random() < 0.08:
            fields.append(self._edge())
        return self._delimited(2, b"".join(fields))

    def _rejection(self) -> bytes:
        makers = (
            lambda: self._tag(1, VARINT) + varint(self._random.choice(REASONS)),
            lambda: self._delimited(2, self._text()),
            lambda: self._tag(3, VARINT) + varint(self._below(5000)),
            self._unknown,
            self._edge,
        )
        weights = (6, 3, 1, 1, 0.3)
        return self._delimited(2, b"".join(make() for make in self._random.choices(makers, weights, k=self._below(4))))

    def _official_outcome(self) -> bytes:
        if self._random.random() < 0.3:
            rejection = Rejection(reason=self._random.choice(REASONS[:8]), detail="l\u00e4te")  # type: ignore[arg-type]  # enums are ints
            return ProcessResponse(outcomes=[Outcome(rejection=rejection)]).SerializeToString()
        outcome = Outcome(
            values=[self._random.uniform(-10, 10) for _ in range(self._below(4))],
            integers=[self._below(3) for _ in range(self._below(4))],
            labels=["red", "gr\u00fcn", ""][: self._below(4)],
        )
        return ProcessResponse(outcomes=[outcome]).SerializeToString()

    def _head(self) -> bytes:
        kind = self._random.random()
        if kind < 0.4:
            return self._unknown()
        if kind < 0.5:
            return self._tag(self._random.choice((3, 5)), DELIMITED) + varint(3) + self._random.randbytes(3)
        response = ProcessResponse(
            sequence=self._random.getrandbits(self._below(65)),
            receipt=Receipt(),
            rejected=self._below(5),
            stream=StreamInfo(version=self._random.choice(("", "2", "gr\u00f6\u00dfe"))),
            committed_through=self._below(1 << 40),
        )
        for field in ("sequence", "receipt", "rejected", "stream", "committed_through"):
            if self._random.random() < 0.5:
                response.ClearField(field)
        return response.SerializeToString()


def reason_of(outcome: Outcome) -> int:
    """What `reasons` must hold of an outcome."""
    if not outcome.HasField("rejection"):
        return 0
    return outcome.rejection.reason if 0 < outcome.rejection.reason < UNKNOWN_REASON else UNKNOWN_REASON


def parses(kind: Any, message: bytes) -> bool:
    """Whether the official library takes the bytes for a message of this kind."""
    try:
        kind.FromString(message)
    except DecodeError:
        return False
    return True


def shallow_response() -> Any:
    """The official library's class of a response whose emissions are bytes: it skips them unseen, as the decoder does.

    So what the decoder must accept is exactly what this accepts, and nothing else of an outcome is left unseen.
    """
    file = FileDescriptorProto()
    ProcessResponse.DESCRIPTOR.file.CopyToProto(file)
    outcome = next(message for message in file.message_type if message.name == "Outcome")
    emissions = next(field for field in outcome.field if field.name == "emissions")
    emissions.type = FieldDescriptorProto.TYPE_BYTES
    emissions.ClearField("type_name")
    pool = DescriptorPool()
    for imported in ProcessResponse.DESCRIPTOR.file.dependencies:
        needed = FileDescriptorProto()
        imported.CopyToProto(needed)
        pool.Add(needed)
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(ProcessResponse.DESCRIPTOR.full_name))


class ClientChecker:
    """Runs both functions of the client's codec and asserts what the official library says."""

    def __init__(self, seed: int) -> None:
        compile_kernel(decode_outcomes, [DECODE_OUTCOMES])
        compile_kernel(encode_events, [ENCODE_EVENTS])
        self._shallow = shallow_response()
        self.accepted = 0
        self.events = 0
        self._random = random.Random(seed)
        self._values = np.zeros((OUTCOMES_MAX, VALUES))
        self._integers = np.zeros((OUTCOMES_MAX, NUMBERS), np.int64)
        self._labels = np.zeros((OUTCOMES_MAX, LABELS, 2), np.int64)
        self._reasons = np.zeros(OUTCOMES_MAX, np.uint8)
        self._ranges = np.zeros((OUTCOMES_MAX, 2), np.int64)

    def check(self, message: bytes) -> None:
        """Raises AssertionError where the codec and the official library differ."""
        for column in (self._values, self._integers, self._labels):
            column.fill(UNSET)
        head = np.empty(len(message), np.uint8)
        count, head_length = decode_outcomes(
            np.frombuffer(message, np.uint8),
            self._values,
            self._integers,
            self._labels,
            self._reasons,
            self._ranges,
            head,
        )
        self._check_response(message, count, head[:head_length].tobytes())
        if self._random.random() < 0.05:
            self._check_request()

    def _check_response(self, message: bytes, count: int, head: bytes) -> None:
        official = parses(self._shallow, message)
        if count == TOO_MANY:
            assert not official or len(self._shallow.FromString(message).outcomes) > OUTCOMES_MAX
            return
        assert count >= 0 or count == MALFORMED
        ours = count >= 0 and parses(ProcessResponse, head)
        assert ours == official, f"ours: {ours}, official: {official}"
        payloads = [message[start:stop] for start, stop in self._ranges[: max(count, 0)].tolist()]
        whole = parses(ProcessResponse, message)
        assert whole == (ours and all(parses(Outcome, payload) for payload in payloads)), "an outcome's range"
        if not whole:
            return
        response = ProcessResponse.FromString(message)
        assert count == len(response.outcomes)
        self.accepted += 1
        self.events += count
        for row, (outcome, payload) in enumerate(zip(response.outcomes, payloads, strict=True)):
            assert Outcome.FromString(payload).SerializeToString() == outcome.SerializeToString(), f"range of {row}"
            self._check_row(message, row, outcome)
        response.ClearField("outcomes")
        assert ProcessResponse.FromString(head) == response, "the head is not the response less its outcomes"

    def _check_row(self, message: bytes, row: int, outcome: Outcome) -> None:
        assert self._reasons[row] == reason_of(outcome), f"reason of {row}"
        values = (list(outcome.values) + [UNSET] * VALUES)[:VALUES]
        assert self._values[row].tobytes() == np.array(values, np.float64).tobytes(), f"values of {row}"
        assert self._integers[row].tolist() == (list(outcome.integers) + [UNSET] * NUMBERS)[:NUMBERS]
        spans = self._labels[row].tolist()
        seen = min(len(outcome.labels), LABELS)
        labels = [message[start:stop].decode() for start, stop in spans[:seen]]
        assert labels == list(outcome.labels)[:LABELS], f"labels of {row}"
        assert spans[seen:] == [[UNSET, UNSET]] * (LABELS - seen), f"a label that outcome {row} does not have"

    # Requests

    def _check_request(self) -> None:
        """Encodes random columns into room for some of them; a range outside its heap must be named."""
        count, first = self._below(6), self._below(3)
        events = self._columns_of_events(count)
        keys, key_starts, key_stops = self._heap([[event.key] for event in events], 1)
        width = len(events[0].labels) if events else 0
        labels, label_starts, label_stops = self._heap([list(event.labels) for event in events], width)
        bad = self._damage(keys.size, labels.size, key_starts, key_stops, label_starts, label_stops)
        room = self._below(sum(ProcessRequest(events=[event]).ByteSize() for event in events) + 8)
        if self._random.random() < 0.5:
            room = max(0, sum(ProcessRequest(events=[event]).ByteSize() for event in events[first:]) - self._below(2))
        out = np.empty(room, np.uint8)
        length, written = encode_events(
            keys,
            key_starts.reshape(count),
            key_stops.reshape(count),
            np.array([event.time_us for event in events], np.int64),
            np.array([event.values for event in events], np.float64).reshape(count, -1 if count else 0),
            labels,
            label_starts,
            label_stops,
            np.array([event.integers for event in events], np.int64).reshape(count, -1 if count else 0),
            min(first, count),
            count,
            out,
        )
        found = (written, out[: max(length, 0)].tobytes()) if length != MALFORMED else written
        assert found == self._expected(events, min(first, count), room, bad), "encoded events"

    @staticmethod
    def _expected(events: list[Event], first: int, room: int, bad: int) -> tuple[int, bytes] | int:
        """(events written, bytes), or the index of the bad event where the encoder comes to it."""
        encoded = b""
        for index in range(first, len(events)):
            if index == bad:
                return index
            event = ProcessRequest(events=[events[index]]).SerializeToString()
            if len(encoded) + len(event) > room:
                return index - first, encoded
            encoded += event
        return len(events) - first, encoded

    def _columns_of_events(self, count: int) -> list[Event]:
        """Events whose arrays all have the same lengths."""
        pick = self._random.choices
        values, labels, integers = self._below(20), self._below(4), self._below(4)
        return [
            Event(
                key=self._text(),
                time_us=self._random.choice(TIMES),
                values=pick(DOUBLES, k=values),
                labels=[self._text() for _ in range(labels)],
                integers=pick(INTEGERS, k=integers),
            )
            for _ in range(count)
        ]

    def _heap(self, rows: list[list[str]], width: int) -> tuple[Any, Any, Any]:
        """The texts with other bytes between them: (heap, starts[n, width], stops[n, width])."""
        heap = bytearray()
        spans = []
        for text in (text for row in rows for text in row):
            heap += b"#" * self._below(3)
            spans.append((len(heap), len(heap) + len(text.encode())))
            heap += text.encode()
        starts, stops = np.array(spans, np.int64).reshape(-1, 2).T
        shape = (len(rows), width)
        return np.frombuffer(bytes(heap), np.uint8), starts.reshape(shape).copy(), stops.reshape(shape).copy()

    def _damage(
        self, key_bytes: int, label_bytes: int, key_starts: Any, key_stops: Any, label_starts: Any, label_stops: Any
    ) -> int:
        """Now and then puts one range outside its heap, and returns the index of its event; otherwise -1."""
        texts = ((key_bytes, key_starts, key_stops), (label_bytes, label_starts, label_stops))
        size, starts, stops = self._random.choice(texts)
        if not starts.size or self._random.random() < 0.9:
            return -1
        row, column = self._below(starts.shape[0]), self._below(starts.shape[1])
        spans = ((-1, 0), (1, 0), (size, size + 1), (size + 1, size + 1))
        starts[row, column], stops[row, column] = self._random.choice(spans)
        return row

    def _text(self) -> str:
        if self._random.random() < 0.05:
            return "k" * (120 + self._below(20))
        return "".join(self._random.choices(TEXT, k=self._below(12)))

    def _below(self, stop: int) -> int:
        return int(self._random.random() * stop)
