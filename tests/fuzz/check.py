"""Compares the compiled codec with the official library on one request at a time."""

import random
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from ringmill.core.codec.decoder import DECODE, build_decoder
from ringmill.core.codec.encoder import ENCODE, build_encoder
from ringmill.core.codec.layout import MALFORMED, RESERVED, TOO_MANY, FieldRules, event_layout
from ringmill.core.codec.scanner import SCAN, build_scanner
from ringmill.core.columns import RANGE, Columns, Shape
from ringmill.core.errors import RingmillError
from ringmill.core.jit import compile_kernel
from ringmill.core.split import Splitter
from ringmill.v1.processing_pb2 import Outcome, ProcessRequest, ProcessResponse, Rejection
from tests.fuzz import oracle
from tests.fuzz.bounds import BoundsChecker

PARTITIONS = oracle.PARTITIONS
EVENTS_MAX = 6
"""Small, so that requests with too many events come up too."""
WORKERS = 3
PARTS = ("decode0", "decode1", "decode2", "split", "encode", "bounds")
"""What runs beside the scanner; the digit says which of RULES. Fewer compile faster."""
NAN = float("nan")
RULES = (
    FieldRules(0, 0, (), (), 0, 0, 0, 0, (), (), uses_time=False),
    FieldRules(2, 1, (1.0, NAN), (False, True), 1, 1, 2, 1, (7, 1), (False, True), uses_time=True),
    FieldRules(4, 0, (2.5, NAN, -0.0, 4.0), (True,) * 4, 3, 0, 3, 0, (3, 0, -1), (False,) * 3, uses_time=False),
)


class Decoder(NamedTuple):
    """A compiled decoder and the columns it fills."""

    rules: FieldRules
    decode: Any
    columns: Columns


def shape_of(rules: FieldRules) -> Shape:
    """Columns for these rules; the outputs have the shape of the inputs."""
    return Shape(*(rules.values, rules.labels, rules.integers) * 2)


class Checker:
    """Runs every function of the codec on a request and asserts what the official library says."""

    def __init__(self, seed: int, parts: Collection[str] = PARTS) -> None:
        layout = event_layout(ProcessRequest.DESCRIPTOR)
        self.accepted = 0
        self.events = 0
        self._parts = parts
        self._random = random.Random(seed)
        self._scan = build_scanner(layout)
        compile_kernel(self._scan, [SCAN])
        self._decoders = []
        for index, rules in enumerate(RULES):
            if f"decode{index}" in parts:
                decode = build_decoder(layout, rules)
                compile_kernel(decode, [DECODE])
                self._decoders.append(Decoder(rules, decode, Columns.allocate(EVENTS_MAX, shape_of(rules))))
        self._outcomes = Columns.allocate(EVENTS_MAX, shape_of(RULES[2]))
        self._encode = build_encoder(shape_of(RULES[2]))
        if "encode" in parts:
            compile_kernel(self._encode, [ENCODE])
        self._ranges = np.zeros(EVENTS_MAX, RANGE)
        self._splitter = Splitter(PARTITIONS, EVENTS_MAX, 1 << 20) if "split" in parts else None
        self._bounds = BoundsChecker() if "bounds" in parts else None
        self._padding = self._random.randbytes(64)

    def check(self, message: bytes) -> None:
        """Raises AssertionError where the codec and the official library differ."""
        request = oracle.parse(message)
        buffer, start = self._place(message)
        stop = start + len(message)
        head = np.empty(len(message), np.uint8)
        count, head_length = self._scan(buffer, start, stop, PARTITIONS, head, self._ranges)
        head_bytes = head[:head_length].tobytes()
        for rules, decode, columns in self._decoders:  # rules decide on events, never on whether a message is valid
            head.fill(0)
            again = decode(
                buffer, start, stop, PARTITIONS, head, columns.events, columns.values, columns.labels, columns.integers
            )
            assert again == (count, head_length), f"scan says {count, head_length}, decode {again} by {rules}"
            assert head[:head_length].tobytes() == head_bytes, "scan and decode found different heads"
        if not self._accepts(request, count, head_bytes):
            return
        assert request is not None
        self.accepted += 1
        self.events += count
        self._check_head(request, head_bytes)
        self._check_ranges(request, buffer, start)
        if count and self._decoders:
            self._check_columns(request, self._random.choice(self._decoders), buffer)
        if count and self._random.random() < 0.1:
            if self._splitter:
                self._check_split(self._splitter, request, message, head_bytes)
            if "encode" in self._parts:
                self._check_outcomes(count)
            if self._bounds:
                self._bounds.check(self._random)

    def _place(self, message: bytes) -> tuple[Any, int]:
        """The request by itself, or amid other bytes, which must make no difference."""
        if self._random.random() < 0.5:
            return np.frombuffer(message, np.uint8), 0
        before, after = int(self._random.random() * 20), int(self._random.random() * 20)
        return np.frombuffer(self._padding[:before] + message + self._padding[64 - after :], np.uint8), before

    def _accepts(self, request: ProcessRequest | None, count: int, head: bytes) -> bool:
        if count == TOO_MANY:
            assert request is None or len(request.events) > EVENTS_MAX, "said to have too many events"
            return False
        if count == RESERVED:
            assert request is None or oracle.has_reserved(request), "said to have a reserved field"
            return False
        assert count >= 0 or count == MALFORMED
        accepted = count >= 0 and oracle.parse(head) is not None
        assert accepted == (request is not None), f"ours: {accepted}, official: {request is not None}"
        return accepted

    def _check_head(self, request: ProcessRequest, head: bytes) -> None:
        assert not oracle.has_reserved(request), "a reserved field was let through"
        rest = ProcessRequest()
        rest.CopyFrom(request)
        rest.ClearField("events")
        assert ProcessRequest.FromString(head) == rest, "the head is not the request less its events"

    def _check_ranges(self, request: ProcessRequest, buffer: Any, start: int) -> None:
        whole = buffer.tobytes()
        ranges = self._ranges[: len(request.events)].tolist()
        for index, (event, extent) in enumerate(zip(request.events, ranges, strict=True)):
            range_start, range_stop, partition, _ = extent
            assert range_start >= start
            assert partition == oracle.fixed_part(event, RULES[0])[3], f"partition of event {index}"
            alone = ProcessRequest.FromString(whole[range_start:range_stop])
            assert len(alone.events) == 1, f"range of event {index}"
            assert alone.events[0].SerializeToString() == event.SerializeToString(), f"range of event {index}"

    def _check_columns(self, request: ProcessRequest, decoder: Decoder, buffer: Any) -> None:
        rules, columns, whole = decoder.rules, decoder.columns, buffer.tobytes()
        rows = columns.events[: len(request.events)].tolist()
        for index, (event, row) in enumerate(zip(request.events, rows, strict=True)):
            digest, time_us, key_start, key_length, partition, reason = row
            key = whole[key_start : key_start + key_length]
            assert (digest, time_us, key, partition, reason) == oracle.fixed_part(event, rules), f"event {index}"
            if not reason:
                assert columns.values[index].tobytes() == oracle.values(event, rules), f"values of event {index}"
                assert columns.integers[index].tolist() == oracle.integers(event, rules), f"integers of event {index}"
                labels = [(h, whole[s : s + length]) for h, s, length in columns.labels[index].tolist()]
                assert labels == oracle.labels(event, rules), f"labels of event {index}"

    def _check_split(self, splitter: Splitter, request: ProcessRequest, message: bytes, head: bytes) -> None:
        """Splits by a random table, answers each part with its keys, merges, and looks for each key in its place."""
        table = np.array(self._random.choices(range(-1, WORKERS), k=PARTITIONS), np.int32)
        scanned = splitter.scan(message)
        assert (scanned.head, scanned.count) == (head, len(request.events))
        split = splitter.split(message, scanned, table, WORKERS)
        owners = [int(table[oracle.fixed_part(event, RULES[0])[3]]) for event in request.events]
        assert split.owners.tolist() == owners
        assert split.refused == owners.count(-1)
        assert sorted(worker for worker, *_ in split.parts) == sorted(set(owners) - {-1})
        answers = {}
        for worker, part, _ in split.parts:
            assert splitter.scan(part).head == head
            owned = [event for event, owner in zip(request.events, owners, strict=True) if owner == worker]
            events = ProcessRequest.FromString(part).events
            assert [e.SerializeToString() for e in events] == [e.SerializeToString() for e in owned]
            outcomes = [Outcome(labels=[event.key]) for event in owned]
            answers[worker] = ProcessResponse(sequence=worker + 1, outcomes=outcomes).SerializeToString()
        refused = Outcome(rejection=Rejection(detail="nobody")).SerializeToString()
        merged, heads = splitter.merge(split.owners, answers, refused)
        outcomes = ProcessResponse.FromString(merged).outcomes
        for event, owner, outcome in zip(request.events, owners, outcomes, strict=True):
            assert outcome == (Outcome(labels=[event.key]) if owner >= 0 else Outcome.FromString(refused))
        assert [ProcessResponse.FromString(rest).sequence for rest in heads] == [worker + 1 for worker in answers]
        self._check_refused_merge(splitter, split.owners, answers, refused)

    def _check_refused_merge(self, splitter: Splitter, owners: Any, answers: dict[int, bytes], refused: bytes) -> None:
        """An answer with an outcome too many, or cut off, must not merge."""
        if not answers:
            return
        worker = self._random.choice(list(answers))
        good = answers[worker]
        more = good + ProcessResponse(outcomes=[Outcome()]).SerializeToString()
        for bad in (more, good[:-1]):
            try:
                splitter.merge(owners, {**answers, worker: bad}, refused)
            except RingmillError:
                continue
            raise AssertionError("a wrong answer was merged")

    def _check_outcomes(self, count: int) -> None:
        """Encodes random columns and parses them with the official library."""
        pick = self._random.random
        columns = self._outcomes
        words = self._random.randbytes(8 * columns.out_values[:count].size)
        columns.out_values[:count] = np.frombuffer(words, np.float64).reshape(count, -1)
        columns.out_integers[:count] = np.frombuffer(words, np.int64)[: 3 * count].reshape(count, 3)
        heap = bytearray(b"grey" * 100)
        lengths = [[int(pick() * 200) for _ in range(3)] for _ in range(count)]
        for row in range(count):
            for column in range(3):
                columns.out_labels[row, column] = (0, int(pick() * 200), lengths[row][column])
        columns.events["reason"][:count] = [self._random.choice((0, 0, 0, 1, 8, 33, 35, 36, 300)) for _ in range(count)]
        details = bytearray(b"detail" * 30)
        detail_ranges = np.array([(n, n * (1 + n % 5)) for n in range(36)], np.int64)
        expected = [
            self._outcome(columns, row, bytes(heap), bytes(details), detail_ranges.tolist()) for row in range(count)
        ]
        encoded = ProcessResponse(outcomes=expected).SerializeToString()
        position = int(pick() * 10)
        for room in (position + len(encoded), position + len(encoded) - 1):
            out = np.zeros(room, np.uint8)
            stop = self._encode(
                count,
                columns.events,
                columns.out_values,
                columns.out_integers,
                columns.out_labels,
                np.frombuffer(heap, np.uint8),
                np.frombuffer(details, np.uint8),
                detail_ranges,
                out,
                position,
            )
            if room == position + len(encoded):
                assert stop == room, "outcomes that fit were not encoded"
                assert out.tobytes() == bytes(position) + encoded, "encoded outcomes"
            else:
                assert stop == -1, "outcomes were encoded that do not fit"

    def _outcome(self, columns: Columns, row: int, heap: bytes, details: bytes, ranges: list[list[int]]) -> Outcome:
        reason = int(columns.events["reason"][row])
        if reason:
            start, stop = ranges[reason] if reason < len(ranges) else (0, 0)
            return Outcome(rejection=Rejection(reason=reason, detail=details[start:stop]))  # type: ignore[arg-type]  # enums are ints
        return Outcome(
            values=columns.out_values[row].tolist(),
            integers=columns.out_integers[row].tolist(),
            labels=[heap[start : start + length].decode() for _, start, length in columns.out_labels[row].tolist()],
        )
