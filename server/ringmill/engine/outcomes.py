"""Outcomes that are kept, so that a retry is answered as the first try was.

A part leaves one record, at the primary and at each copy: its fresh partitions with their prints, each event's
partition, and the outcomes. A retry may be split otherwise than the first try, and mix what is known with what is not:
so outcomes are found by (producer, sequence, partition), and the k-th event of a partition in the retry is the k-th of
it in the record. Records are dropped up to what the producer acknowledges, and the newest SEQUENCES_MAX stay within
bounds in bytes. A copy may keep fewer than its primary: of what is not kept a retry hears only that it was applied.
"""

from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter, itemgetter
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from ringmill.core.codec.decoder import EVENTS
from ringmill.core.codec.encoder import OUTCOMES
from ringmill.core.codec.fields import RANGES, SPLIT_FIELDS, split_fields
from ringmill.core.columns import EVENT, LABEL, Columns
from ringmill.core.errors import Code, RingmillError
from ringmill.core.frame import PartEntry
from ringmill.core.jit import compile_kernel
from ringmill.core.memory import MESSAGE, SCRATCH
from ringmill.engine import recall as kernels
from ringmill.engine.ledger import Ledger
from ringmill.engine.ledger_arrays import KNOWN, NEVER
from ringmill.engine.listing import Listing
from ringmill.engine.recorded import PRODUCER_HEAD, RECORD_HEAD, ranges_of, rank, read_export, share_of, unfit
from ringmill.engine.records import HEAD, Found, Producer, Record, Share
from ringmill.v1.processing_pb2 import ProcessResponse

SEQUENCES_MAX = 64
"""Sequences of a producer whose outcomes are kept: as many as a stream may have unanswered."""

PRODUCER_BYTES_MAX = 16 << 20
"""Bytes of one producer's records; the newest stays whatever its size."""

BYTES_MAX = 1 << 30
"""Bytes of all records; beyond that whoever has been idle for longest loses its own."""

REAPED_MAX = 64
"""Restored records of dropped partitions that are let go with each record that comes."""

SWEPT_MAX = 1024
"""Records that are looked at, with one that comes, for such as were dropped."""

RANKED_MAX = 64
"""Records that one export puts in the order of partitions, for those that follow."""

_PRUNED_EACH = 1024
"""With every so many records a restored partition's list loses what is forgotten."""

Encode = Callable[[int, Columns, int], bytes]
"""encode(pipeline, columns, count): what `Engine.encode_columns` of that pipeline gives."""


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
        self._drops = 0
        """Partitions that were dropped so far."""
        self._producers: dict[int, Producer] = {}
        self._number = 0
        self._dropped = np.zeros(partitions, np.int64)
        self._recalled: list[Record] = []
        self._recalled_of: tuple[Producer, int] = Producer(0), 0
        """Whose they are, and of which sequence."""
        self._listing: Listing | None = None
        """Records by partition, while partitions are exported."""
        self._rank_left = 0
        """Records that the export at hand may still put in the order of partitions."""
        self._restored: dict[int, list[Found]] = {}
        """What came as an export, by partition; the forgotten among them."""
        self._doomed: list[Found] = []
        """What had been restored of partitions that were dropped since."""
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
            producer = self._producers[part.producer] = Producer(part.producer)
        if part.acknowledged > producer.floor:
            self.size -= producer.forget_up_to(part.acknowledged)
        if self._restored and not record.number % _PRUNED_EACH:
            self._prune()
        self._add(producer, part.sequence, record)
        if self._listing is not None:
            self._listing.add(producer, part.sequence, record)

    def _add(self, producer: Producer, sequence: int, record: Record) -> None:
        records = producer.records
        if sequence <= producer.floor:
            return
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
        if self._doomed:
            self._reap()
        if producer.size > self._producer_bytes_max:
            self._fit(producer)
        if self.size > self._bytes_max:
            self._shrink()

    def _fit(self, producer: Producer) -> None:
        """Forgets a producer's oldest records until the others may stay."""
        self.size -= producer.sweep(self._dropped, self._drops, SWEPT_MAX)[1]
        while producer.size > self._producer_bytes_max and len(producer.records) > 1:
            self.size -= producer.forget_up_to(next(iter(producer.records)))

    def _shrink(self) -> None:
        """Forgets the records of those who have been idle for longest, some more than needed: it is not done often.

        Of what was dropped it finds no more than a few looks tell: whatever goes for that can only be told less of.
        """
        idle = sorted(self._producers.values(), key=attrgetter("last"))
        left = SWEPT_MAX
        for producer in idle:
            looked, freed = producer.sweep(self._dropped, self._drops, left)
            self.size -= freed
            left -= looked
            if left <= 0:
                break
        for producer in idle:
            if self.size <= self._bytes_max // 32 * 31:
                break
            self.size -= producer.forget_up_to(producer.newest)

    def _reap(self) -> None:
        """Lets go of some of what was restored of partitions that were dropped."""
        for each in self._doomed[-REAPED_MAX:]:
            self.size -= each.owner.remove(each.sequence, each.number)
        del self._doomed[-REAPED_MAX:]

    def _prune(self) -> None:
        """Looks through what was restored of one partition, each in its turn."""
        partition = next(iter(self._restored))
        kept = [each for each in self._restored.pop(partition) if each.record() is not None]
        if kept:
            self._restored[partition] = kept

    def recall(self, ledger: Ledger, part: PartEntry) -> None:
        """Finds the outcomes of the known partitions of the part that the ledger has just examined.

        What has none is forgotten, or was never applied: the latter the ledger then rejects OUT_OF_ORDER. Raises
        RingmillError INVALID_ARGUMENT if a partition was sent other content under this sequence.
        """
        self._recalled = []
        producer = self._producers.get(part.producer)
        if producer is None:
            return
        self._recalled = list(producer.records.get(part.sequence, ()))
        self._recalled_of = producer, part.sequence
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
        ranges, rest = ranges_of(buffer, [len(chunk) for chunk in chunks], sizes)
        known = np.where(touched["record"] != 0, touched["events"], 0).astype(np.int64)
        stops = np.cumsum(known)
        cursors, places = stops - known, np.zeros(max(int(known.sum()), 1), np.int64)
        base = count
        for ordinal, record, size in zip(used, records, sizes[1:], strict=True):
            partitions = record.event_partitions()
            if not kernels.place(ledger.arrays, ledger.touched, partitions, ordinal, base, cursors, stops, places):
                raise unfit()
            base += size
        if (cursors != stops).any():
            raise unfit()
        out = np.empty(buffer.size, np.uint8)
        length, rejected = kernels.weave(
            ledger.arrays, columns.events, count, buffer, ranges, stops - known, places, OUTCOMES.rejection, out
        )
        if length < 0:
            raise unfit()
        head = ProcessResponse.FromString(rest)
        head.rejected = rejected
        head.receipt.replayed = True
        return head.SerializeToString() + out[:length].tobytes()

    def _response_of(self, record: Record) -> bytes:
        """The response of a record that was recalled, encoded now if it was not before."""
        if record.response is None:
            count = record.event_partitions().size
            record.response = self._encode_kept(record, np.arange(count))
            record.kept = None
            producer, sequence = self._recalled_of
            if producer.find(sequence, record.number) is record:  # `keep` may have forgotten it by now
                self._measure(producer, record)
        return record.response

    def _encode_kept(self, record: Record, rows: npt.NDArray[np.int64]) -> bytes:
        """The outcomes of some events of a record that is still columns."""
        assert record.kept is not None
        events, values, labels, integers = record.kept
        events = np.zeros(rows.size, EVENT) if events is None else events[rows]
        columns = Columns(events, *_NO_INPUTS, values[rows], labels[rows], integers[rows])
        return self._encode(record.pipeline, columns, rows.size)

    def _measure(self, owner: Producer, record: Record) -> None:
        """Counts the bytes of a record that is kept and has changed. The next one that comes makes room."""
        more = record.measure()
        owner.size += more
        self.size += more

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
                out += PRODUCER_HEAD.pack(number, floor, len(records)) + b"".join(records)
        return bytes(out)

    def rest(self) -> None:
        """No more partitions are exported for a while: forgets what only made that quick."""
        self._listing = None

    def _told(self, partition: int) -> dict[int, list[bytes]]:
        """The exported records of a partition by producer, in their order."""
        if self._listing is None:
            self._listing = Listing(self._dropped.size, self._producers.values())
        dropped, self._rank_left = int(self._dropped[partition]), RANKED_MAX
        told: dict[int, list[bytes]] = {}
        for each in sorted([*self._listing.find(partition), *self._restored.get(partition, ())], key=itemgetter(0, 1)):
            record = each.record()
            if record is not None and record.number > dropped:
                content, events, outcomes = self._share_of(each.owner, record, partition)
                head = RECORD_HEAD.pack(each.sequence, content, record.pipeline, events, len(outcomes))
                told.setdefault(each.producer, []).append(head + outcomes)
        return told

    def _share_of(self, owner: Producer, record: Record, partition: int) -> Share:
        """What a record that is kept has of a partition.

        Of columns just these events are encoded. A response is put in the order of partitions, in its place: all of
        them are exported, and no second copy is held. An export does that for some records, and the next for others.
        """
        if record.response is None:
            rows = record.events_of(partition)
            return Share(record.content_of(partition), rows.size, self._encode_kept(record, rows))
        if record.starts is None and not record.is_restored:
            if not self._rank_left:
                return share_of(record, record.response, partition)
            self._rank_left -= 1
            rank(record, record.response)
            self._measure(owner, record)
        return record.share(partition)

    def restore(self, partition: int, data: bytes) -> None:
        """Adds what `export` gave for a partition that is kept nothing of.

        Raises RingmillError DATA_LOSS where the bytes are not valid, and then keeps nothing of them.
        """
        exported = list(read_export(partition, data))
        for each in exported:
            producer = self._producers.get(each.producer)
            if producer is None:
                producer = self._producers[each.producer] = Producer(each.producer)
            producer.floors[partition] = each.floor
            if not each.sequence:
                continue
            self._number += 1
            index = np.array([each.content], "<u8").tobytes() + np.full(1 + each.events, partition, "<u2").tobytes()
            head = HEAD.pack(1, 0, each.events)
            record = Record(self._number, each.pipeline, head + index, each.outcomes, is_restored=True)
            found = Found(each.producer, each.sequence, record.number, producer)
            self._restored.setdefault(partition, []).append(found)
            self._add(producer, each.sequence, record)

    def drop(self, partition: int) -> None:
        """Forgets what is kept of a partition."""
        self._dropped[partition] = self._number
        self._drops += 1
        self._doomed += self._restored.pop(partition, ())

    def forget(self, producer: int) -> None:
        """Forgets a producer."""
        forgotten = self._producers.pop(producer, None)
        if forgotten is not None:
            self.size -= forgotten.size
            forgotten.records.clear()  # lists name it still; one of the same number may come, and has nothing of it

    def reset(self) -> None:
        """Forgets everything."""
        self._producers.clear()
        self.size = 0
        self._recalled = []
        self._restored.clear()
        self._doomed.clear()
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
