"""Outcomes that are kept, so that a retry is answered as the first try was.

A part leaves one record, at the primary and at each copy: its fresh partitions with their prints, each event's
partition, and the outcomes. A retry may be split otherwise than the first try, and mix what is known with what is not:
so outcomes are found by (producer, sequence, partition), and the k-th event of a partition in the retry is the k-th of
it in the record. Records are dropped up to what the producer acknowledges, and the newest SEQUENCES_MAX stay within
bounds in bytes. A copy may keep fewer than its primary: of what is not kept a retry hears only that it was applied.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.codec.decoder import EVENTS
from ringmill.core.codec.encoder import OUTCOMES
from ringmill.core.codec.fields import RANGES, SPLIT_FIELDS, split_fields
from ringmill.core.columns import EVENT, LABEL, RANGE, Columns
from ringmill.core.errors import Code, RingmillError
from ringmill.core.frame import PartEntry
from ringmill.core.jit import compile_kernel
from ringmill.core.memory import MESSAGE, SCRATCH
from ringmill.engine import recall as kernels
from ringmill.engine.ledger import Ledger
from ringmill.engine.ledger_arrays import KNOWN, NEVER
from ringmill.engine.records import HEAD, Found, Producer, Record, Share
from ringmill.v1.processing_pb2 import ProcessResponse

SEQUENCES_MAX = 64
"""Sequences of a producer whose outcomes are kept: as many as a stream may have unanswered."""

PRODUCER_BYTES_MAX = 16 << 20
"""Bytes of one producer's records; the newest stays whatever its size."""

BYTES_MAX = 1 << 30
"""Bytes of all records; beyond that whoever has been idle for longest loses its own."""

FRESH_MAX = 4096
"""Records that came since the partitions of all were listed: with more, the list is made anew when it is asked for."""

Encode = Callable[[int, Columns, int], bytes]
"""encode(pipeline, columns, count): what `Engine.encode_columns` of that pipeline gives."""

_OUTCOMES = ProcessResponse.DESCRIPTOR.fields_by_name["outcomes"].number
_PRODUCER = struct.Struct("<QQQ")  # producer, floor, records
_RECORD = struct.Struct("<QQIIQ")  # sequence, content, pipeline, events, bytes


class _Exported(NamedTuple):
    """One record of an export; sequence 0: only what is said of the producer."""

    producer: int
    floor: int
    sequence: int
    content: int
    pipeline: int
    events: int
    outcomes: bytes


class Outcomes:
    """The recorded outcomes of one worker, for all of its pipelines. Used by one thread."""

    def __init__(
        self,
        partitions: int,
        encode: Encode,
        producer_bytes_max: int = PRODUCER_BYTES_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        """Compiles its kernels, or loads them. partitions: of the ledger that goes with it."""
        self._encode = encode
        self._producer_bytes_max = producer_bytes_max
        self._bytes_max = bytes_max
        self.size = 0
        """Bytes of all records."""
        self._unswept = False
        """Whether a partition was dropped since the records were last looked through."""
        self._producers: dict[int, Producer] = {}
        self._number = 0
        self._dropped = np.zeros(partitions, np.int64)
        self._recalled: list[Record] = []
        self._listed: dict[int, list[Found]] | None = None
        """Records by partition, while partitions are exported; the forgotten among them."""
        self._fresh: list[Found] = []
        """Those that are not listed yet."""
        self.prepare()

    def prepare(self) -> None:
        """Compiles all that it runs, or loads it; once a process."""
        _compile()

    def keep(self, part: PartEntry, record: bytes, response: bytes) -> None:
        """Keeps what a part led to, encoded.

        record: from `Settled`. response: encoded ProcessResponse with one outcome for each event.
        """
        self._number += 1
        self._put(part, Record(self._number, part.pipeline, record, response))

    def keep_columns(self, part: PartEntry, record: bytes, columns: Columns, count: int) -> None:
        """Keeps what a part led to as columns: they are copied, and encoded only when somebody asks."""
        kept = (
            columns.events[:count].copy() if HEAD.unpack_from(record)[1] else None,
            _copy(columns.out_values, count),
            _copy(columns.out_labels, count),
            _copy(columns.out_integers, count),
        )
        self._number += 1
        self._put(part, Record(self._number, part.pipeline, record, None, kept))

    def _put(self, part: PartEntry, record: Record) -> None:
        producer = self._producers.get(part.producer)
        if producer is None:
            producer = self._producers[part.producer] = Producer()
        if part.acknowledged > producer.floor:
            self.size -= producer.forget_up_to(part.acknowledged)
        self._add(part.producer, producer, part.sequence, record)

    def _add(self, number: int, producer: Producer, sequence: int, record: Record) -> None:
        records = producer.records
        if sequence <= producer.floor:
            return
        if self._listed is not None:
            self._fresh.append(Found(number, sequence, record))
            if len(self._fresh) > FRESH_MAX:
                self.rest()
        if sequence > producer.newest:
            producer.newest = sequence
            records[sequence] = [record]
        elif sequence in records:
            records[sequence].append(record)
        else:
            records[sequence] = [record]
            producer.records = records = dict(sorted(records.items()))
        producer.last = record.number
        producer.size += record.size
        self.size += record.size
        if len(records) > SEQUENCES_MAX:
            self.size -= producer.forget_up_to(next(iter(records)))
        if producer.size > self._producer_bytes_max:
            self._fit(producer)
        if self.size > self._bytes_max:
            self._shrink()

    def _fit(self, producer: Producer) -> None:
        """Forgets a producer's oldest records until the others may stay."""
        if self._unswept:
            self.size -= producer.sweep(self._dropped)
        while producer.size > self._producer_bytes_max and len(producer.records) > 1:
            self.size -= producer.forget_up_to(next(iter(producer.records)))

    def _shrink(self) -> None:
        """Forgets the records of those who have been idle for longest, some more than needed: it is not done often."""
        if self._unswept:
            self._unswept = False
            for producer in self._producers.values():
                self.size -= producer.sweep(self._dropped)
        for producer in sorted(self._producers.values(), key=attrgetter("last")):
            if self.size <= self._bytes_max // 8 * 7:
                break
            self.size -= producer.forget_up_to(producer.newest)

    def recall(self, ledger: Ledger, part: PartEntry) -> None:
        """Finds the outcomes of the known partitions of the part that the ledger has just examined.

        What has none is forgotten, or was never applied: the latter the ledger then rejects OUT_OF_ORDER. Raises
        RingmillError INVALID_ARGUMENT if a partition was sent other content under this sequence.
        """
        self._recalled = []
        producer = self._producers.get(part.producer)
        if producer is None:
            return
        self._recalled = producer.records.get(part.sequence, [])
        for ordinal, record in enumerate(self._recalled, 1):
            other = kernels.match(
                ledger.arrays,
                ledger.touched,
                record.contents(),
                record.partitions(),
                self._dropped,
                record.number,
                ordinal,
            )
            if other < 0:
                other = _miscounted(ledger, record, ordinal)
            if other >= 0:
                raise RingmillError(
                    Code.INVALID_ARGUMENT,
                    f"batch {part.sequence} was sent before with other events of partition {other}: a retry must be "
                    "the same",
                )
        if part.sequence > producer.floor:
            self._mark_never(ledger, part.sequence, producer)

    def _mark_never(self, ledger: Ledger, sequence: int, producer: Producer) -> None:
        """Marks the known partitions that kept nothing of a sequence, although they would have."""
        touched = ledger.arrays.touched[: ledger.touched]
        for slot in np.flatnonzero((touched["verdict"] == KNOWN) & (touched["record"] == 0)).tolist():
            if sequence > producer.floors.get(int(touched["partition"][slot]), 0):
                touched["verdict"][slot] = NEVER

    def splice(self, ledger: Ledger, columns: Columns, count: int, response: bytes) -> bytes:
        """The response to the part at hand, with recorded outcomes in place of the rejections of known events.

        After `recall` and all steps. response: what the engine encoded. Raises RingmillError INTERNAL where a record
        does not fit.
        """
        touched = ledger.arrays.touched[: ledger.touched]
        used = np.unique(touched["record"][touched["record"] != 0]).tolist()
        if not used:
            return response
        records = [self._recalled[ordinal - 1] for ordinal in used]
        chunks = [response, *map(self._response_of, records)]
        buffer = np.frombuffer(b"".join(chunks), np.uint8)
        sizes = [count, *(record.event_partitions().size for record in records)]
        ranges, rest = _ranges_of(buffer, [len(chunk) for chunk in chunks], sizes)
        known = np.where(touched["record"] != 0, touched["events"], 0).astype(np.int64)
        stops = np.cumsum(known)
        cursors, places = stops - known, np.zeros(max(int(known.sum()), 1), np.int64)
        base = count
        for ordinal, record, size in zip(used, records, sizes[1:], strict=True):
            partitions = record.event_partitions()
            if not kernels.place(ledger.arrays, ledger.touched, partitions, ordinal, base, cursors, stops, places):
                raise _unfit()
            base += size
        if (cursors != stops).any():
            raise _unfit()
        out = np.empty(buffer.size, np.uint8)
        length, rejected = kernels.weave(
            ledger.arrays, columns.events, count, buffer, ranges, stops - known, places, OUTCOMES.rejection, out
        )
        if length < 0:
            raise _unfit()
        head = ProcessResponse.FromString(rest)
        head.rejected = rejected
        head.receipt.replayed = True
        return head.SerializeToString() + out[:length].tobytes()

    def _response_of(self, record: Record) -> bytes:
        """A record's response, encoded now if it was not before."""
        if record.response is None:
            assert record.kept is not None
            events, values, labels, integers = record.kept
            count = record.event_partitions().size
            events = np.zeros(count, EVENT) if events is None else events
            columns = Columns(events, *_NO_INPUTS, values, labels, integers)
            record.response = self._encode(record.pipeline, columns, count)
            record.kept = None
        return record.response

    def export(self, partition: int, producers: Sequence[int] = ()) -> bytes:
        """All that is kept of a partition, as bytes: for `Ledger.export`, which puts a digest around them.

        producers: those that the ledger knows there. Of them the floor goes along even if no record does: whoever
        restores this would take for never applied what is only forgotten. After the last of many, call `rest`.
        """
        out = bytearray()
        told = self._told(partition)
        for number in sorted({*told, *producers}):
            producer = self._producers.get(number)
            if producer is None:
                continue
            floor = max(producer.floor, producer.floors.get(partition, 0))
            records = told.get(number, [])
            if records or floor:
                out += _PRODUCER.pack(number, floor, len(records)) + b"".join(records)
        return bytes(out)

    def rest(self) -> None:
        """No more partitions are exported for a while: forgets what only made that quick."""
        for found in self._listed.values() if self._listed is not None else ():
            for each in found:
                each.record.shares = None
        self._listed = None
        self._fresh.clear()

    def _told(self, partition: int) -> dict[int, list[bytes]]:
        """The exported records of a partition by producer, in their order."""
        if self._listed is None:
            self._listed = {}
            self._fresh = [Found(*each) for each in self._all()]
        for each in self._fresh:
            for listed in each.record.partitions().tolist():
                self._listed.setdefault(listed, []).append(each)
        self._fresh.clear()
        dropped = int(self._dropped[partition])
        told: dict[int, list[bytes]] = {}
        for number, sequence, record in sorted(self._listed.get(partition, ()), key=itemgetter(0, 1)):
            if record.number > dropped and sequence > self._producers[number].floor:
                share = self._shares_of(record)[partition]
                head = _RECORD.pack(sequence, share.content, record.pipeline, share.events, len(share.outcomes))
                told.setdefault(number, []).append(head + share.outcomes)
        return told

    def _all(self) -> Iterator[tuple[int, int, Record]]:
        for number, producer in self._producers.items():
            for sequence, records in producer.records.items():
                for record in records:
                    yield number, sequence, record

    def _shares_of(self, record: Record) -> dict[int, Share]:
        """A record's outcomes by partition: cut up once, since a record has many partitions and all are exported."""
        if record.shares is not None:
            return record.shares
        response = np.frombuffer(self._response_of(record), np.uint8)
        partitions = record.event_partitions()
        ranges, _ = _ranges_of(response, [response.size], [partitions.size])
        bounds = np.stack([ranges["start"] - ranges["flags"], ranges["stop"]], axis=1)
        order = np.argsort(partitions, kind="stable")
        out, stops = np.empty(response.size, np.uint8), np.zeros(order.size + 1, np.int64)
        if not kernels.gather(order, bounds, response, out, stops):
            raise _unfit()
        ranked, outcomes = partitions[order], out.tobytes()
        wanted = record.partitions()
        first, last = np.searchsorted(ranked, wanted), np.searchsorted(ranked, wanted, "right")
        rows = zip(wanted.tolist(), record.contents().tolist(), first.tolist(), last.tolist(), strict=True)
        record.shares = {
            partition: Share(content, stop - start, outcomes[stops[start] : stops[stop]])
            for partition, content, start, stop in rows
        }
        return record.shares

    def restore(self, partition: int, data: bytes) -> None:
        """Adds what `export` gave for a partition that is kept nothing of.

        Raises RingmillError DATA_LOSS where the bytes are not valid, and then keeps nothing of them.
        """
        exported = list(_read_export(partition, data))
        for each in exported:
            producer = self._producers.get(each.producer)
            if producer is None:
                producer = self._producers[each.producer] = Producer()
            producer.floors[partition] = each.floor
            if not each.sequence:
                continue
            self._number += 1
            index = np.array([each.content], "<u8").tobytes() + np.full(1 + each.events, partition, "<u2").tobytes()
            head = HEAD.pack(1, 0, each.events)
            record = Record(self._number, each.pipeline, head + index, each.outcomes)
            record.shares = {partition: Share(each.content, each.events, each.outcomes)}
            self._add(each.producer, producer, each.sequence, record)

    def drop(self, partition: int) -> None:
        """Forgets what is kept of a partition."""
        self._dropped[partition] = self._number
        self._unswept = True

    def forget(self, producer: int) -> None:
        """Forgets a producer."""
        forgotten = self._producers.pop(producer, None)
        if forgotten is not None:
            self.size -= forgotten.size
            self.rest()  # one of the same number may come, and has nothing of this one

    def reset(self) -> None:
        """Forgets everything."""
        self._producers.clear()
        self.size = 0
        self._recalled = []
        self.rest()


_NO_INPUTS = (np.zeros((0, 0)), np.zeros((0, 0), LABEL), np.zeros((0, 0), np.int64))


def _copy(column: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """Its first rows; without copying where there are no columns."""
    rows = column[:count]
    return rows.copy() if column.shape[1] else rows


def _miscounted(ledger: Ledger, record: Record, ordinal: int) -> int:
    """The first partition for which the record stands and has another number of events; -1: none.

    Equal prints do not tell: a client can find other events with the same one.
    """
    touched = ledger.arrays.touched[: ledger.touched]
    mine = touched[touched["record"] == ordinal]
    counts = np.bincount(record.event_partitions(), minlength=ledger.partitions)
    wrong = mine["partition"][counts[mine["partition"]] != mine["events"]]
    return int(wrong[0]) if wrong.size else -1


def _unfit() -> RingmillError:
    return RingmillError(Code.INTERNAL, "a recorded outcome does not fit its event")


def _ranges_of(buffer: npt.NDArray[np.uint8], lengths: list[int], counts: list[int]) -> tuple[npt.NDArray[Any], bytes]:
    """The outcomes of responses that stand one after the other, as RANGE[sum of counts], and the rest of the first.

    Raises RingmillError INTERNAL where one has not as many outcomes as `counts` says.
    """
    ranges = np.zeros(sum(counts), RANGE)
    rest = np.empty(buffer.size, np.uint8)
    rests = []
    start = base = 0
    for length, count in zip(lengths, counts, strict=True):
        found, rest_length = split_fields(buffer, start, start + length, _OUTCOMES, ranges[base : base + count], rest)
        if found != count:
            raise _unfit()
        rests.append(rest[:rest_length].tobytes())
        start, base = start + length, base + count
    return ranges, rests[0]


def _read_export(partition: int, data: bytes) -> Iterator[_Exported]:
    """The records of an export. Raises RingmillError DATA_LOSS where it is not one."""
    damaged = RingmillError(Code.DATA_LOSS, f"export of partition {partition}: its recorded outcomes are not valid")
    position = 0
    try:
        while position < len(data):
            producer, floor, count = _PRODUCER.unpack_from(data, position)
            position += _PRODUCER.size
            yield _Exported(producer, floor, 0, 0, 0, 0, b"")
            for _ in range(count):
                sequence, content, pipeline, events, length = _RECORD.unpack_from(data, position)
                position += _RECORD.size
                outcomes = data[position : position + length]
                position += length
                if len(outcomes) != length or events > length or not sequence:
                    raise damaged
                _ranges_of(np.frombuffer(outcomes, np.uint8), [length], [events])
                yield _Exported(producer, floor, sequence, content, pipeline, events, outcomes)
    except struct.error:
        raise damaged from None
    except RingmillError:
        raise damaged from None


@cache
def _compile() -> None:
    arrays = numba.typeof(Ledger(1, 1).arrays)
    integer = types.int64
    halves = types.Array(types.uint16, 1, "C", readonly=True)
    words = types.Array(types.uint64, 1, "C", readonly=True)
    places = types.Array(types.int64, 1, "C")
    pair = types.UniTuple(integer, 2)
    compile_kernel(split_fields, [SPLIT_FIELDS])
    compile_kernel(kernels.match, [integer(arrays, integer, words, halves, places, integer, integer)])
    compile_kernel(kernels.place, [types.boolean(arrays, integer, halves, integer, integer, places, places, places)])
    compile_kernel(kernels.weave, [pair(arrays, EVENTS, integer, MESSAGE, RANGES, places, places, integer, SCRATCH)])
    bounds = types.Array(types.uint32, 2, "C")
    compile_kernel(kernels.gather, [types.boolean(places, bounds, MESSAGE, SCRATCH, places)])
