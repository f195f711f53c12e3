"""The ledger against a plain model in Python, and what it promises of copies, exports and damage."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringmill.core.columns import Columns, Shape
from ringmill.core.errors import Code, Reason, RingmillError
from ringmill.core.frame import EXPIRED, PartEntry, varint
from ringmill.engine.ledger import NOBODY, OWN, Ledger
from ringmill.engine.ledger_arrays import (
    ADMIT,
    ADMITTED,
    AGAIN,
    CORRUPT,
    DIVERGED,
    FENCED,
    FRESH,
    FULL,
    KNOWN,
    REFUSED,
    SKIPPED,
    Judged,
)

SHAPE = Shape(2, 1, 1, 2, 1, 1)
PARTITIONS = 5


def ledger(source: int = OWN, partitions: int = PARTITIONS, producers_max: int = 8) -> Ledger:
    made = Ledger(partitions, producers_max)
    made.sources[:] = source
    return made


@dataclass
class Event:
    """One event, and what the pipeline will answer."""

    partition: int
    key: int = 1
    value: float = 0.5
    reason: int = 0
    result: float = 1.5
    fails: bool = False


@dataclass
class Batch:
    """A part as a test writes it."""

    events: Sequence[Event]
    sequence: int
    before: dict[int, int] = field(default_factory=dict)
    producer: int = 7
    fence: int = 1
    version: int = 0
    check: int = 0
    flags: int = 0

    def touched(self) -> list[int]:
        return list(dict.fromkeys(event.partition for event in self.events))

    def previous(self) -> bytes:
        gaps = (self.sequence - self.before[p] if self.before.get(p) else 0 for p in self.touched())
        return b"".join(map(varint, gaps))

    def entry(self, previous: bytes, check: int | None = None) -> PartEntry:
        return PartEntry(
            1,
            0,
            0,
            0,
            self.producer,
            self.fence,
            self.sequence,
            0,
            2,
            2 + len(previous),
            self.flags,
            self.version,
            self.check if check is None else check,
        )


def fill(columns: Columns, events: Sequence[Event]) -> None:
    for i, event in enumerate(events):
        columns.events[i] = (event.key, 10 + event.key, 0, 0, event.partition, event.reason)
        columns.values[i] = (event.value, 2.0)
        columns.labels["hash"][i] = event.key
        columns.integers[i] = event.key


def apply(columns: Columns, events: Sequence[Event]) -> None:
    """What an engine would do."""
    for i, event in enumerate(events):
        if columns.events["reason"][i] == 0:
            if event.fails:
                columns.events["reason"][i] = Reason.OPERATOR_FAILED
            columns.out_values[i] = event.result
            columns.out_integers[i] = event.key
            columns.out_labels["hash"][i] = event.key


class Worker:
    """A ledger with the columns of one lane."""

    def __init__(self, book: Ledger) -> None:
        self.ledger = book
        self.columns = Columns.allocate(64, SHAPE)
        self.outcomes = 0
        self.record = b""

    def examine(self, batch: Batch, source: int = OWN, previous: bytes | None = None) -> Judged:
        data = batch.previous() if previous is None else previous
        fill(self.columns, batch.events)
        buffer = np.frombuffer(b"xx" + data + b"yy", np.uint8)
        return self.ledger.examine(self.columns, len(batch.events), buffer, batch.entry(data), source)

    def take(self, batch: Batch, source: int = OWN, previous: bytes | None = None) -> Judged:
        """All steps of a part. Every status but ADMIT and ADMITTED must leave the ledger as it is."""
        before = image(self.ledger)
        judged = self.examine(batch, source, previous)
        if judged.status not in (ADMIT, ADMITTED):
            assert image(self.ledger) == before
            return judged
        if judged.status == ADMIT:
            assert image(self.ledger) == before
            self.ledger.admit(self.columns, len(batch.events), batch.entry(b""))
        apply(self.columns, batch.events)
        self.outcomes, self.record = self.ledger.settle(self.columns, len(batch.events))
        return judged

    def reasons(self, count: int) -> list[int]:
        return self.columns.events["reason"][:count].tolist()


def image(book: Ledger) -> tuple[object, ...]:
    """All that a ledger holds, but for scratch."""
    names = ("index", "digest", "epoch", "received", "applied", "rejected", "source", "held")
    pages = [book.arrays.pages[name].tolist() for name in names] + [book.arrays.duplicates.tolist()]
    held = [[book.export(p) for p in range(book.partitions)]]
    return (*pages, *held, book.arrays.used.tolist(), len(book._rows), len(book._free))


def touched(book: Ledger, count: int) -> list[tuple[int, int]]:
    return [(int(row["partition"]), int(row["verdict"])) for row in book.arrays.touched[:count]]


class Model:
    """What a primary's ledger must do, plainly."""

    def __init__(self) -> None:
        self.last: dict[tuple[int, int], int] = {}
        self.fence: dict[tuple[int, int], int] = {}
        self.index = [0] * PARTITIONS
        self.history: list[list[object]] = [[] for _ in range(PARTITIONS)]
        self.counts = [[0, 0, 0] for _ in range(PARTITIONS)]

    def take(self, batch: Batch) -> tuple[int, list[int]]:
        """The status, and the reason of every event after all steps."""
        verdicts = {}
        for p in batch.touched():
            last = self.last.get((batch.producer, p), 0)
            if self.fence.get((batch.producer, p), 0) > batch.fence:
                return FENCED, []
            if batch.sequence <= last:
                verdicts[p] = KNOWN
            elif batch.before.get(p, 0) > last:
                return AGAIN, []
            else:
                verdicts[p] = FRESH
        reasons = []
        for p, verdict in verdicts.items():
            if verdict == FRESH:
                self.last[batch.producer, p] = batch.sequence
                self.fence[batch.producer, p] = batch.fence
                self.index[p] += 1
                events = tuple(
                    (e.key, e.reason) if e.reason else (e.key, e.value) for e in batch.events if e.partition == p
                )
                self.history[p].append((batch.producer, batch.sequence, events))
        for event in batch.events:
            reason = event.reason
            if verdicts[event.partition] == KNOWN:
                reason = Reason.ALREADY_APPLIED
            elif not reason and batch.flags:
                reason = Reason.DEADLINE
            elif not reason and event.fails:
                reason = Reason.OPERATOR_FAILED
            reasons.append(int(reason))
            place = 0 if not reason else 1 if verdicts[event.partition] == KNOWN else 2
            self.counts[event.partition][place] += 1
            if verdicts[event.partition] == FRESH:
                self.history[event.partition].append(reason or event.result)
        return (ADMITTED if KNOWN not in verdicts.values() else ADMIT), reasons


events = st.builds(
    Event,
    partition=st.integers(0, PARTITIONS - 1),
    key=st.integers(0, 3),
    value=st.sampled_from([0.5, 1.5]),
    reason=st.sampled_from([0, 0, 0, 2]),
    result=st.sampled_from([1.0, 2.0]),
    fails=st.sampled_from([False, False, True]),
)
batches = st.builds(
    Batch,
    events=st.lists(events, min_size=1, max_size=8),
    sequence=st.integers(1, 9),
    before=st.dictionaries(st.integers(0, PARTITIONS - 1), st.integers(1, 8)),
    producer=st.sampled_from([7, 2**64 - 1]),
    fence=st.integers(1, 3),
    flags=st.sampled_from([0, 0, 0, EXPIRED]),
).filter(lambda batch: all(before < batch.sequence for before in batch.before.values()))


def test_what_was_received_is_counted_apart_from_what_became_of_it() -> None:
    """Else the account would balance whatever is lost on the way."""
    worker = Worker(ledger())
    batch = Batch(events=[Event(0), Event(0), Event(3)], sequence=1)
    assert worker.examine(batch).status == ADMITTED
    rows = worker.ledger.rows([0, 3])
    assert [(row.received, row.applied, row.duplicate, row.rejected) for row in rows] == [(2, 0, 0, 0), (1, 0, 0, 0)]


@settings(max_examples=300, deadline=None)
@given(st.lists(batches, max_size=12))
def test_it_agrees_with_a_model(sent: list[Batch]) -> None:
    worker, model = Worker(ledger()), Model()
    for batch in sent:
        judged = worker.take(batch)
        status, reasons = model.take(batch)
        assert judged.status == status
        if status in (ADMIT, ADMITTED):
            assert worker.reasons(len(batch.events)) == reasons
            assert judged.fresh + judged.known == judged.touched == len(batch.touched())
    assert worker.ledger.index.tolist() == model.index
    for row, (applied, duplicate, rejected) in zip(worker.ledger.rows(range(PARTITIONS)), model.counts, strict=True):
        assert (row.applied, row.duplicate, row.rejected) == (applied, duplicate, rejected)
        assert row.received == applied + duplicate + rejected


@settings(max_examples=300, deadline=None)
@given(st.lists(batches, max_size=6), st.lists(batches, max_size=6))
def test_digests_are_equal_where_histories_are(left: list[Batch], right: list[Batch]) -> None:
    digests, histories = [], []
    for sent in (left, right):
        worker, model = Worker(ledger()), Model()
        for batch in sent:
            worker.take(batch)
            model.take(batch)
        digests += worker.ledger.digest.tolist()
        histories += [repr(history) for history in model.history]
    for i, (digest, history) in enumerate(zip(digests, histories, strict=True)):
        for other, told in zip(digests[:i], histories[:i], strict=True):
            assert (digest == other) == (history == told)


@settings(max_examples=300, deadline=None)
@given(st.lists(batches, min_size=1, max_size=10), st.lists(st.booleans(), min_size=PARTITIONS, max_size=PARTITIONS))
def test_copies_of_cut_records_have_the_same_history(sent: list[Batch], chosen: list[bool]) -> None:
    """Two copies, which share out the partitions: each hears only its own events, and judges and digests the same."""
    primary = Worker(ledger())
    masks = [np.array(chosen, np.uint8), 1 - np.array(chosen, np.uint8)]
    copies = [Worker(ledger(source=3)) for _ in masks]
    for batch in sent:
        judged = primary.take(batch)
        if judged.status not in (ADMIT, ADMITTED):
            continue
        total = 0
        for mask, copy in zip(masks, copies, strict=True):
            previous, check, outcomes = primary.ledger.cut(mask)
            part = [event for event in batch.events if mask[event.partition]]
            total += outcomes
            if not part:
                assert (previous, check, outcomes) == (b"", 0, 0)
                continue
            record = Batch(part, batch.sequence, batch.before, batch.producer, batch.fence, 9, check, batch.flags)
            assert record.previous() == previous
            heard = copy.take(record, 3, previous)
            assert heard.status in (ADMIT, ADMITTED)
            assert copy.outcomes == outcomes
        assert total % 2**64 == primary.outcomes
    for mask, copy in zip(masks, copies, strict=True):
        for p in np.flatnonzero(mask).tolist():
            assert copy.ledger.export(p) == primary.ledger.export(p)


@given(st.lists(batches, max_size=10))
def test_an_export_is_restored_as_it_was(sent: list[Batch]) -> None:
    worker, other = Worker(ledger()), Worker(ledger())
    other.take(Batch([Event(0)], 4, producer=99))  # so that producers have other rows there
    other.ledger.drop(0)
    for batch in sent:
        worker.take(batch)
    for p in range(PARTITIONS):
        data = worker.ledger.export(p, b"recorded")
        assert other.ledger.restore(p, data) == b"recorded"
        assert other.ledger.export(p, b"recorded") == data
    more = Batch([Event(p) for p in range(PARTITIONS)], 10, producer=7, fence=3)
    assert worker.take(more).status == other.take(more).status
    assert worker.ledger.digest.tolist() == other.ledger.digest.tolist()


def test_one_number_less_is_enough_for_another_check() -> None:
    """A copy that has another history than its primary takes nothing."""
    primary, copy = Worker(ledger()), Worker(ledger(source=2))
    first = Batch([Event(0), Event(1)], 1)
    check = primary.take(first).check
    assert copy.take(Batch(first.events, 1, check=check), 2).status == ADMITTED
    primary.take(Batch([Event(1)], 2))  # which the copy never hears
    third = Batch([Event(0), Event(1)], 3)
    check = primary.take(third).check
    assert copy.take(Batch(third.events, 3, check=check), 2).status == DIVERGED


def test_a_copy_refuses_and_skips_each_partition_for_itself() -> None:
    copy = Worker(ledger(source=2))
    copy.ledger.sources[1] = 4  # another primary's
    copy.ledger.epochs[2] = 10  # admitted before it had this primary
    copy.ledger.held[3] = 1  # awaits its snapshot
    batch = Batch([Event(p) for p in (1, 4, 2, 3, 4)], 5, version=9, check=12345)
    judged = copy.take(batch, 2)
    assert (judged.status, judged.fresh, judged.known, judged.refused, judged.skipped) == (ADMIT, 1, 0, 2, 1)
    assert touched(copy.ledger, 4) == [(1, REFUSED), (4, FRESH), (2, REFUSED), (3, SKIPPED)]
    refused = int(Reason.UNAVAILABLE)
    assert copy.reasons(5) == [refused, 0, refused, refused, 0]
    assert copy.ledger.index.tolist() == [0, 0, 0, 0, 1]
    assert [row.received for row in copy.ledger.rows(range(PARTITIONS))] == [0, 0, 0, 0, 2]
    assert copy.take(Batch([Event(2)], 6, version=10), 2).status == DIVERGED  # not refused: so its check must fit


@pytest.mark.parametrize("why", ["held", "refused"])
def test_a_copy_that_leaves_out_a_partition_cannot_compare(why: str) -> None:
    """The primary's check is of all partitions of the record."""
    copy = Worker(ledger(source=2))
    if why == "held":
        copy.ledger.held[0] = 1
    else:
        copy.ledger.sources[0] = NOBODY
    judged = copy.take(Batch([Event(0), Event(1)], 1, check=12345), 2)
    assert (judged.status, judged.fresh) == (ADMIT, 1)


def test_a_check_tells_partitions_apart() -> None:
    checks = {Worker(ledger()).take(Batch([Event(p)], 1)).check for p in range(PARTITIONS)}
    assert len(checks) == PARTITIONS


@pytest.mark.parametrize("why", ["nobody", "copied", "held"])
def test_a_primary_takes_nothing_of_a_part_that_is_not_all_its_own(why: str) -> None:
    worker = Worker(ledger())
    if why == "held":
        worker.ledger.held[3] = 1
    else:
        worker.ledger.sources[3] = NOBODY if why == "nobody" else 2
    judged = worker.take(Batch([Event(0), Event(3)], 1))
    assert (judged.status, judged.partition) == (AGAIN, 3)


def test_a_missing_batch_before_is_not_passed_by() -> None:
    worker = Worker(ledger())
    worker.take(Batch([Event(0)], 1))
    assert worker.take(Batch([Event(0)], 9, {0: 4})).status == AGAIN
    assert worker.take(Batch([Event(0)], 4, {0: 1})).status == ADMITTED
    assert worker.take(Batch([Event(0)], 9, {0: 4})).status == ADMITTED


def test_channels_of_a_part() -> None:
    worker = Worker(ledger())
    worker.ledger.channels[:] = [0b011, 0b110, 1 << 63, 0, 0]
    judged = worker.take(Batch([Event(0), Event(1)], 1))
    assert (judged.channels, judged.common) == (0b111, 0b010)
    judged = worker.take(Batch([Event(2)], 1))
    assert (judged.channels, judged.common) == (1 << 63, 1 << 63)


@pytest.mark.parametrize(
    ("previous", "sequence", "fence"),
    [
        (b"", 5, 1),
        (b"\x00", 5, 1),
        (b"\x00\x00\x00", 5, 1),
        (b"\x00\x80", 5, 1),
        (b"\x80\x80", 5, 1),
        (b"\x00\x06", 5, 1),
        (b"\x00" + b"\xff" * 9 + b"\x01", 5, 1),
        (b"\xff" * 11, 5, 1),
        (b"\x00\x00", 0, 1),
        (b"\x00\x00", 5, 0),
    ],
)
def test_a_part_that_contradicts_itself_is_refused(previous: bytes, sequence: int, fence: int) -> None:
    worker = Worker(ledger())
    batch = Batch([Event(0), Event(1), Event(0)], sequence, fence=fence)
    assert worker.take(batch, previous=previous).status == CORRUPT


@given(st.binary(max_size=40), st.integers(0, 50), st.integers(0, 50))
def test_any_bytes_before_are_read_inside_their_range(data: bytes, start: int, stop: int) -> None:
    worker = Worker(ledger())
    fill(worker.columns, [Event(0), Event(1)])
    part = PartEntry(1, 0, 0, 0, 7, 1, 2**64 - 1, 0, start, stop)
    judged = worker.ledger.examine(worker.columns, 2, np.frombuffer(data, np.uint8), part)
    whole = start <= stop <= len(data)
    ends = [i for i, byte in enumerate(data[start:stop]) if byte < 0x80]
    fits = whole and len(ends) == 2 and ends[1] == stop - start - 1 and ends[0] < 10 and ends[1] - ends[0] <= 10
    assert (judged.status == CORRUPT) == (not fits)


def test_prints_tell_contents_apart() -> None:
    """Any one field that differs, or the order, makes another content; two NaNs do not, and neither do two zeros."""

    def content(rows: list[tuple[int, int, float, float, int, int, int]]) -> int:
        worker = Worker(ledger())
        for i, (key, time, first, second, label, integer, reason) in enumerate(rows):
            worker.columns.events[i] = (key, time, 0, 0, 1, reason)
            worker.columns.values[i] = (first, second)
            worker.columns.labels["hash"][i] = label
            worker.columns.integers[i] = integer
        buffer = np.zeros(1, np.uint8)
        worker.ledger.examine(worker.columns, len(rows), buffer, PartEntry(1, 0, 0, 0, 7, 1, 1, 0, 0, 1))
        return int(worker.ledger.arrays.touched[0]["content"])

    base = (1, 2, 3.0, 4.0, 5, 6, 0)
    seen = {content([base]), content([base, base])}
    for column in range(7):
        changed = list(base)
        changed[column] = base[column] + 1
        seen.add(content([tuple(changed)]))
        seen.add(content([base, tuple(changed)]))
        seen.add(content([tuple(changed), base]))
    assert len(seen) == 2 + 3 * 7
    assert content([(1, 2, 4.0, 3.0, 5, 6, 0)]) not in seen
    other_nan = float(np.array(0xFFF8000000000001, np.uint64).view(np.float64))
    assert content([(1, 2, float("nan"), 0.0, 5, 6, 0)]) == content([(1, 2, other_nan, -0.0, 5, 6, 0)])
    assert content([(1, 2, float("nan"), 0.0, 5, 6, 9)]) == content([(1, 0, 7.0, 0.0, 9, 9, 9)])  # rejected: key, why


def test_no_two_of_many_prints_are_equal() -> None:
    worker = Worker(ledger())
    seen = set()
    for number in range(20_000):
        worker.columns.events[0] = (number % 7, number % 5, 0, 0, 0, 0)
        worker.columns.values[0] = (float(number % 16), -float(number // 16))
        worker.ledger.examine(
            worker.columns, 1, np.zeros(1, np.uint8), PartEntry(1, 0, 0, 0, 7, 1, number + 1, 0, 0, 1)
        )
        seen.add(int(worker.ledger.arrays.touched[0]["content"]))
    assert len(seen) == 20_000


def test_a_new_session_fences_the_old_one_and_goes_on_after_it() -> None:
    worker = Worker(ledger())
    book = worker.ledger
    assert book.open(7, 0, 1) == (Code.OK, 1, 0)
    assert worker.take(Batch([Event(0)], 5, fence=1)).status == ADMITTED
    assert book.open(7, 0, 1) == (Code.OK, 1, 5)  # the same again
    assert book.open(7, 1, 3) == (Code.OK, 1, 5)  # resumed, by another stream
    assert worker.take(Batch([Event(0)], 6, {0: 5}, fence=1)).status == FENCED
    assert worker.take(Batch([Event(0)], 6, {0: 5}, fence=3)).status == ADMITTED
    assert book.open(7, 0, 4) == (Code.OK, 4, 6)
    assert worker.take(Batch([Event(0)], 6, fence=4)).known == 1  # a client that sends all again applies nothing twice
    assert worker.take(Batch([Event(0)], 7, fence=4)).status == ADMITTED
    assert book.open(7, 1, 5).code == Code.ABORTED  # the older session
    assert book.open(7, 4, 2).code == Code.ABORTED  # an older stream
    assert book.open(7, 4, 5) == (Code.OK, 4, 7)


def test_a_session_is_opened_everywhere_or_nowhere() -> None:
    worker = Worker(ledger())
    book = worker.ledger
    book.open(7, 0, 1)
    book.drop(3)
    before = image(book)
    assert book.open(7, 1, 2) == (Code.FAILED_PRECONDITION, 0, 0)
    assert book.open(8, 1, 2) == (Code.FAILED_PRECONDITION, 0, 0)
    assert image(book) == before
    book.sources[3] = NOBODY
    assert book.open(7, 1, 2) == (Code.OK, 1, 0)


def test_a_session_that_nobody_can_have_forgotten_is_taken_up() -> None:
    worker = Worker(ledger())
    book = worker.ledger
    book.open(7, 0, 1)
    assert worker.take(Batch([Event(0)], 5, fence=1)).status == ADMITTED
    assert book.open(7, 2, 3).code == Code.FAILED_PRECONDITION
    assert book.open(7, 2, 3, unforgotten=True) == (Code.OK, 2, 5)
    assert book.open(8, 2, 3, unforgotten=True) == (Code.OK, 2, 0)
    for producer in (7, 8):
        assert book.open(producer, 2, 4).code == Code.OK
        assert book.open(producer, 1, 5, unforgotten=True).code == Code.ABORTED


def test_an_open_is_part_of_the_history() -> None:
    one, other = ledger(), ledger()
    for book in (one, other):
        book.open(7, 0, 1)
    assert one.digest.tolist() == other.digest.tolist()
    assert one.index.tolist() == [1] * PARTITIONS
    before = one.digest.tolist()
    one.open(7, 1, 2)
    assert all(a != b for a, b in zip(before, one.digest.tolist(), strict=True))
    other.open(7, 0, 2)
    assert all(a != b for a, b in zip(other.digest.tolist(), one.digest.tolist(), strict=True))
    before, index = one.digest.tolist(), one.index.tolist()
    one.open(7, 1, 2)  # heard before
    one.open(0, 0, 0, floor=2, forget=[99])  # nobody is below it
    assert (one.digest.tolist(), one.index.tolist()) == (before, index)
    one.open(0, 0, 0, forget=[7])
    assert one.index.tolist() == [number + 1 for number in index]
    assert all(a != b for a, b in zip(before, one.digest.tolist(), strict=True))


def test_a_copy_opens_only_what_its_primary_may_write() -> None:
    copy = ledger(source=2)
    copy.sources[0] = OWN
    copy.epochs[1] = 9
    copy.held[2] = 1
    assert copy.open(7, 0, 5, source=2, version=8) == (Code.OK, 5, 0)
    assert copy.index.tolist() == [0, 0, 0, 1, 1]
    copy.held[0] = 1
    assert copy.open(7, 0, 6) == (Code.OK, 6, 0)  # an own partition that takes no parts still hears of streams
    assert copy.index.tolist() == [1, 0, 0, 1, 1]


def test_the_last_sequence_is_the_highest_of_the_own_partitions() -> None:
    worker = Worker(ledger())
    worker.ledger.open(7, 0, 1)
    worker.take(Batch([Event(0)], 5))
    worker.take(Batch([Event(1)], 9))
    worker.take(Batch([Event(2)], 3))
    worker.ledger.sources[1] = 3
    assert worker.ledger.open(7, 1, 2).last_sequence == 5


def test_what_is_forgotten_makes_room() -> None:
    worker = Worker(ledger(producers_max=2))
    book = worker.ledger
    book.open(7, 0, 5)
    worker.take(Batch([Event(0)], 1, producer=8, fence=6))
    assert worker.take(Batch([Event(0)], 1, producer=9, fence=7)).status == FULL
    assert book.open(9, 0, 7).code == Code.RESOURCE_EXHAUSTED
    with pytest.raises(RingmillError, match="limit of 2"):
        donor = Worker(ledger())
        donor.take(Batch([Event(4)], 1, producer=11))
        book.drop(4)
        book.restore(4, donor.ledger.export(4))
    assert book.open(9, 0, 7, forget=[7]) == (Code.OK, 7, 0)
    assert book.forgotten == [7]
    assert worker.take(Batch([Event(0)], 1, producer=10, fence=8)).status == FULL
    assert book.open(10, 0, 8, floor=7) == (Code.OK, 8, 0)
    assert book.forgotten == [7, 8]
    assert worker.take(Batch([Event(0)], 1, producer=9, fence=7)).status == ADMITTED
    assert book.open(0, 0, 0, floor=2**63) == (Code.OK, 0, 0)
    assert book.forgotten == [7, 8, 9, 10]
    assert not book.arrays.entries["fence"].any()


def test_a_producer_is_forgotten_only_in_the_partitions_of_the_source() -> None:
    worker = Worker(ledger())
    worker.ledger.open(7, 0, 5)
    worker.ledger.sources[0] = 2
    worker.ledger.open(0, 0, 0, forget=[7])
    assert worker.ledger.forgotten == []
    assert worker.ledger.index.tolist() == [1, 2, 2, 2, 2]
    worker.ledger.open(0, 0, 0, floor=6, source=2)
    assert worker.ledger.forgotten == [7]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=12), st.integers(1, 10))
def test_a_floor_forgets_whatever_order_streams_came_in(opened: list[tuple[int, int]], floor: int) -> None:
    book = ledger(producers_max=16)
    taken = [(producer, fence) for producer, fence in opened if book.open(producer, 0, fence).code == Code.OK]
    newest = dict(taken)
    book.open(0, 0, 0, floor=floor)
    assert sorted(book.forgotten) == sorted(p for p, fence in newest.items() if fence < floor)


def test_forgetting_gives_one_history_whatever_order_producers_came_in() -> None:
    one, other = Worker(ledger()), Worker(ledger(source=2))
    for number in (1, 2, 3):
        check = one.take(Batch([Event(0)], 1, producer=number)).check
        other.take(Batch([Event(0)], 1, producer=number, check=check), 2)
    other.ledger.restore(1, ledger().export(1))
    data = other.ledger.export(0)
    fresh = ledger(source=2)
    Worker(fresh).take(Batch([Event(4)], 1, producer=3), 2)  # so that producer 3 has the first row
    fresh.restore(0, data)
    for book, source in ((one.ledger, OWN), (other.ledger, 2), (fresh, 2)):
        book.open(0, 0, 0, forget=[3, 1], source=source)
    assert one.ledger.digest[0] == other.ledger.digest[0] == fresh.digest[0]


def test_dropping_leaves_nothing_of_a_partition_and_all_of_the_others() -> None:
    worker = Worker(ledger())
    worker.take(Batch([Event(0), Event(1)], 5))
    kept = worker.ledger.export(1)
    worker.ledger.drop(0)
    assert worker.ledger.export(0) == ledger().export(0)
    assert worker.ledger.export(1) == kept
    assert worker.ledger.forgotten == []
    worker.ledger.drop(1)
    assert worker.ledger.forgotten == [7]
    assert worker.take(Batch([Event(0)], 1)).status == ADMITTED


def test_a_reset_ledger_is_a_new_one() -> None:
    worker = Worker(ledger())
    worker.take(Batch([Event(0), Event(1)], 5))
    worker.ledger.epochs[:] = 3
    worker.ledger.reset()
    assert image(worker.ledger) == image(Ledger(PARTITIONS, 8))


def test_more_events_than_were_foreseen() -> None:
    worker = Worker(ledger())
    worker.columns = Columns.allocate(9000, SHAPE)
    judged = worker.take(Batch([Event(i % 5, key=i) for i in range(9000)], 1))
    assert judged.touched == 5
    assert len(worker.record) == 8 + 8 * 5 + 2 * 5 + 2 * 9000


def exported() -> tuple[Ledger, bytes]:
    worker = Worker(ledger())
    worker.take(Batch([Event(1)], 5))
    worker.take(Batch([Event(1)], 5, producer=9))
    return worker.ledger, worker.ledger.export(1)


def test_damage_is_found() -> None:
    _, data = exported()
    book = ledger()
    before = image(book)
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(RingmillError) as caught:
            book.restore(1, bytes(damaged))
        assert caught.value.code == Code.DATA_LOSS
    for length in range(len(data)):
        with pytest.raises(RingmillError) as caught:
            book.restore(1, data[:length])
        assert caught.value.code == Code.DATA_LOSS
    assert image(book) == before


def test_an_export_fits_one_empty_partition_of_one_cluster() -> None:
    full, data = exported()
    for book, partition in ((full, 1), (ledger(), 2), (ledger(partitions=7), 1)):
        with pytest.raises(RingmillError) as caught:
            book.restore(partition, data)
        assert caught.value.code == Code.FAILED_PRECONDITION


@pytest.mark.parametrize("what", ["twice", "nobody", "fence", "cut", "no history"])
def test_a_valid_frame_around_nonsense_is_refused(what: str) -> None:
    """Its digest fits, so somebody wrote it like this."""
    full, data = exported()
    content = full._snapshot.unpack(1, data)
    rows = np.frombuffer(content.items, "<u8").copy()
    heap = content.heap
    if what == "twice":
        rows[4] = rows[0]
    elif what == "nobody":
        rows[0] = 0
    elif what == "fence":
        rows[1] = 0
    items = rows.tobytes()[: -8 if what == "cut" else None]
    forged = type(content)(2, items, heap[:-1] if what == "no history" else heap)
    book = ledger()
    with pytest.raises(RingmillError) as caught:
        book.restore(1, book._snapshot.pack(1, forged))
    assert caught.value.code == Code.DATA_LOSS
    assert image(book) == image(ledger())


def test_a_number_of_partitions_beyond_16_bits_is_refused() -> None:
    with pytest.raises(RingmillError, match="65535 partitions"):
        Ledger(65535)
