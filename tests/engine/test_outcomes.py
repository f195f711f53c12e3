"""Retries are answered as the first try was, however they are split, wherever the partition has gone."""

from collections.abc import Sequence
from itertools import count as counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringmill.core.columns import Columns, Shape
from ringmill.core.errors import Code, Reason, RingmillError
from ringmill.core.frame import PartEntry
from ringmill.engine.ledger import NOBODY, OWN, Ledger
from ringmill.engine.ledger_arrays import ADMIT, ADMITTED, Judged
from ringmill.engine.outcomes import SEQUENCES_MAX, Outcomes
from ringmill.engine.records import RECORD_BYTES, Record
from ringmill.v1.processing_pb2 import ProcessResponse

PARTITIONS = 5
ALREADY_APPLIED, OUT_OF_ORDER = int(Reason.ALREADY_APPLIED), int(Reason.OUT_OF_ORDER)
SHAPE = Shape(0, 0, 1, 0, 0, 1)
FAILS = 3
"""A key whose events the pipeline rejects."""


def encode(pipeline: int, columns: Columns, count: int) -> bytes:
    """What an engine does, by the official library."""
    response = ProcessResponse()
    for event, outputs in zip(columns.events[:count], columns.out_integers[:count], strict=True):
        outcome = response.outcomes.add()
        if event["reason"]:
            outcome.rejection.reason = int(event["reason"])
        else:
            outcome.integers.extend([pipeline, *outputs.tolist()])
    return response.SerializeToString()


Sent = Sequence[tuple[int, int]]
"""(partition, key) of each event."""


class Worker:
    """A ledger, outcomes, and a pipeline which numbers all that it applies."""

    def __init__(self, source: int = OWN, numbers: counter | None = None, **bounds: int) -> None:
        self.ledger = Ledger(PARTITIONS, 8)
        self.ledger.sources[:] = source
        self.outcomes = Outcomes(PARTITIONS, encode, **bounds)
        self.columns = Columns.allocate(16, SHAPE)
        self.numbers = numbers or counter(1)
        self.admitted = True

    def send(
        self, sequence: int, sent: Sent, *, acknowledged: int = 0, producer: int = 7, fence: int = 1
    ) -> ProcessResponse:
        """The response to a part, at the primary."""
        part, judged = self._examine(sequence, sent, acknowledged, producer, fence, OWN)
        if judged.status == ADMIT:
            self.outcomes.recall(self.ledger, part)
            self.ledger.admit(self.columns, len(sent), part)
        rejected = self._apply(len(sent))
        settled = self.ledger.settle(self.columns, len(sent))
        head = ProcessResponse(sequence=sequence, rejected=rejected).SerializeToString()
        response = head + encode(part.pipeline, self.columns, len(sent))
        if judged.fresh:
            self.outcomes.keep(part, settled.record, response)
        if judged.known:
            response = self.outcomes.splice(self.ledger, self.columns, len(sent), response)
        return ProcessResponse.FromString(response)

    def copy(self, sequence: int, sent: Sent, source: int, numbers: Sequence[int], fence: int = 1) -> None:
        """Takes a part as a record. numbers: what the primary's pipeline gave to each event."""
        part, judged = self._examine(sequence, sent, 0, 7, fence, source)
        if judged.status == ADMIT:
            self.ledger.admit(self.columns, len(sent), part)
        self.numbers = iter([number for number in numbers if number])
        self._apply(len(sent))
        settled = self.ledger.settle(self.columns, len(sent))
        if judged.fresh:
            self.outcomes.keep_columns(part, settled.record, self.columns, len(sent))
        self.columns.out_integers[:] = -1  # the next part overwrites what this one gave

    def _examine(
        self, sequence: int, sent: Sent, acknowledged: int, producer: int, fence: int, source: int
    ) -> tuple[PartEntry, Judged]:
        for i, (partition, key) in enumerate(sent):
            self.columns.events[i] = (key, 0, 0, 0, partition, 0)
            self.columns.integers[i] = key
        touched = dict.fromkeys(partition for partition, _ in sent)
        check = sum(int(np.uint64(0)) if source == OWN else self._check(partition) for partition in touched)
        part = PartEntry(1, 4, 0, 0, producer, fence, sequence, acknowledged, 0, len(touched), 0, 0, check % 2**64)
        judged = self.ledger.examine(self.columns, len(sent), np.zeros(len(touched), np.uint8), part, source)
        assert judged.status in (ADMIT, ADMITTED)
        return part, judged

    def _check(self, partition: int) -> int:
        """This copy's own state: whatever the primary would say."""
        other = Ledger(PARTITIONS, 8)
        other.sources[:] = OWN
        for name in ("index", "digest"):
            other.arrays.pages[name] = self.ledger.arrays.pages[name]
        columns = Columns.allocate(1, SHAPE)
        columns.events["partition"][0] = partition
        part = PartEntry(1, 0, 0, 0, 99, 1, 1, 0, 0, 1)
        return int(other.examine(columns, 1, np.zeros(1, np.uint8), part).check)

    def _apply(self, count: int) -> int:
        rejected = 0
        for i in range(count):
            if self.columns.events["reason"][i] == 0:
                if self.columns.integers[i, 0] == FAILS:
                    self.columns.events["reason"][i] = Reason.OPERATOR_FAILED
                else:
                    self.columns.out_integers[i] = next(self.numbers)
            rejected += self.columns.events["reason"][i] != 0
        return rejected

    def give(self, partition: int, other: "Worker") -> None:
        """Hands a partition over."""
        data = self.ledger.export(partition, self.outcomes.export(partition, self.ledger.producers(partition)))
        other.outcomes.restore(partition, other.ledger.restore(partition, data))
        other.ledger.sources[partition] = OWN
        self.ledger.drop(partition)
        self.outcomes.drop(partition)
        self.ledger.sources[partition] = NOBODY


def numbers(response: ProcessResponse) -> list[int]:
    """What came out: the number of each event, or its reason, negative."""
    return [
        -outcome.rejection.reason if outcome.HasField("rejection") else outcome.integers[1]
        for outcome in response.outcomes
    ]


def held(outcomes: Outcomes) -> int:
    """The bytes of all records as they are now."""
    total = 0
    for producer in outcomes._producers.values():
        for record in (record for records in producer.records.values() for record in records):
            arrays = [record.starts, *(record.kept or ())]
            total += RECORD_BYTES + len(record.index) + len(record.response or b"")
            total += sum(array.nbytes for array in arrays if array is not None)
    return total


contents = st.lists(st.tuples(st.integers(0, PARTITIONS - 1), st.integers(0, FAILS)), min_size=1, max_size=10)
subsets = st.sets(st.integers(0, PARTITIONS - 1))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(contents, min_size=4, max_size=4),
    st.lists(st.tuples(st.sampled_from("sssm"), st.integers(0, 3), subsets), max_size=25),
)
def test_an_event_has_one_outcome_for_ever(batches: list[Sent], steps: list[tuple[str, int, set[int]]]) -> None:
    """Batches are sent again and again in any pieces, while partitions move between two workers."""
    shared = counter(1)
    one, two = Worker(numbers=shared), Worker(NOBODY, shared)
    given_out: dict[tuple[int, int], int] = {}
    applied: dict[int, int] = {}
    for action, number, chosen in steps:
        for source, target in ((one, two), (two, one)):
            owned = {p for p in chosen if source.ledger.sources[p] == OWN}
            places = [i for i, (partition, _) in enumerate(batches[number]) if partition in owned]
            if action == "m":
                for partition in owned:
                    source.give(partition, target)
                break
            if not places:
                continue
            sent = [batches[number][i] for i in places]
            response = source.send(number + 1, sent)
            assert response.sequence == number + 1
            found = numbers(response)
            assert response.rejected == sum(value < 0 for value in found)
            for place, (partition, _), value in zip(places, sent, found, strict=True):
                if (number, place) in given_out:
                    assert given_out[number, place] == value
                elif number + 1 < applied.get(partition, 0):
                    assert value == -OUT_OF_ORDER
                else:
                    assert value > 0 or value == -Reason.OPERATOR_FAILED
                    given_out[number, place] = value
            for partition in owned:
                if any(p == partition for p, _ in sent):
                    applied[partition] = max(applied.get(partition, 0), number + 1)


def test_the_response_to_a_mix_of_known_and_fresh() -> None:
    worker = Worker()
    assert numbers(worker.send(1, [(0, 1), (1, 1), (0, 2), (1, FAILS)])) == [1, 2, 3, -Reason.OPERATOR_FAILED]
    mixed = worker.send(1, [(2, 1), (1, 1), (1, FAILS), (2, 2), (0, 1), (0, 2), (3, FAILS)])
    assert numbers(mixed) == [4, 2, -Reason.OPERATOR_FAILED, 5, 1, 3, -Reason.OPERATOR_FAILED]
    assert mixed.rejected == 2
    assert mixed.receipt.replayed
    again = worker.send(1, [(3, FAILS), (2, 1), (2, 2), (1, 1), (1, FAILS)])
    assert numbers(again) == [-Reason.OPERATOR_FAILED, 4, 5, 2, -Reason.OPERATOR_FAILED]
    assert not worker.send(2, [(0, 1)]).receipt.replayed


@pytest.mark.parametrize("other", [[(0, 2)], [(0, 1), (0, 1)], [(2, 1), (0, FAILS), (1, 1)]])
def test_other_events_under_a_known_sequence_are_refused(other: Sent) -> None:
    worker = Worker()
    worker.send(1, [(0, 1), (1, 1)])
    before = worker.ledger.export(0), worker.ledger.export(1), worker.ledger.export(2)
    with pytest.raises(RingmillError, match=r"batch 1 .* partition 0") as caught:
        worker.send(1, other)
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert before == (worker.ledger.export(0), worker.ledger.export(1), worker.ledger.export(2))


def test_what_is_acknowledged_is_forgotten() -> None:
    worker = Worker()
    for sequence in (1, 2, 3):
        worker.send(sequence, [(0, 1), (sequence, 1)])
    worker.send(4, [(0, 1)], acknowledged=2)
    assert numbers(worker.send(2, [(0, 1), (2, 1)])) == [-ALREADY_APPLIED] * 2
    assert numbers(worker.send(3, [(0, 1), (3, 1)])) == [5, 6]
    assert worker.send(2, [(0, 1)]).rejected == 1


def test_the_newest_sequences_are_kept() -> None:
    worker = Worker()
    for sequence in range(1, SEQUENCES_MAX + 2):
        worker.send(sequence, [(0, 1)])
    assert numbers(worker.send(1, [(0, 1)])) == [-ALREADY_APPLIED]
    assert numbers(worker.send(2, [(0, 1)])) == [2]
    assert len(worker.outcomes._producers[7].records) == SEQUENCES_MAX


def test_the_newest_bytes_of_a_producer_are_kept() -> None:
    worker = Worker(producer_bytes_max=4 * RECORD_BYTES)
    for sequence in range(1, 9):
        worker.send(sequence, [(0, 1)])
        worker.send(sequence, [(0, 1)], producer=8)
    assert worker.outcomes.size <= 8 * RECORD_BYTES
    assert numbers(worker.send(5, [(0, 1)])) == [-ALREADY_APPLIED], "forgotten, and never taken for not applied"
    assert numbers(worker.send(5, [(1, 1)])) == [17], "elsewhere it is new"
    assert numbers(worker.send(8, [(0, 1)])) == [15]
    assert numbers(worker.send(8, [(0, 1)], producer=8)) == [16]


def test_one_record_stays_whatever_its_size() -> None:
    worker = Worker(producer_bytes_max=1)
    worker.send(1, [(0, 1)])
    assert numbers(worker.send(1, [(0, 1)])) == [1]


def test_whoever_is_idle_for_longest_loses_its_records_first() -> None:
    worker = Worker(bytes_max=16 * (RECORD_BYTES + 100))
    for producer in range(1, 9):
        for sequence in (1, 2):
            worker.send(sequence, [(0, 1)], producer=producer)
    for sequence in range(3, 8):
        worker.send(sequence, [(0, 1)], producer=1)
    assert worker.outcomes.size <= 16 * (RECORD_BYTES + 100)
    assert numbers(worker.send(2, [(0, 1)], producer=2)) == [-ALREADY_APPLIED]
    assert numbers(worker.send(2, [(0, 1)], producer=1)) == [2], "the first to come, and not idle"
    assert numbers(worker.send(2, [(0, 1)], producer=8)) == [16]


def test_what_was_dropped_goes_before_what_is_kept() -> None:
    worker = Worker(producer_bytes_max=4 * (RECORD_BYTES + 100), bytes_max=8 * (RECORD_BYTES + 100))
    for sequence in (1, 2, 3):
        worker.send(sequence, [(sequence % 2, 1)])
        worker.send(sequence, [(sequence % 2, 1)], producer=8)
    worker.ledger.drop(1)
    worker.outcomes.drop(1)
    for sequence in (4, 5):
        worker.send(sequence, [(0, 1)])
    assert numbers(worker.send(2, [(0, 1)])) == [3], "1 and 3 were of the partition that was dropped"
    worker.send(1, [(0, 1)], producer=9)
    worker.outcomes._bytes_max = worker.outcomes.size - 1
    worker.send(2, [(0, 1)], producer=9)
    assert numbers(worker.send(2, [(0, 1)], producer=8)) == [4]


def test_no_byte_is_counted_that_is_not_kept() -> None:
    worker = Worker(producer_bytes_max=5 * RECORD_BYTES, bytes_max=9 * RECORD_BYTES)
    for sequence in range(1, 40):
        worker.send(sequence, [(sequence % 3, 1)], producer=1 + sequence % 4, acknowledged=max(sequence - 30, 0))
        if sequence % 10 == 0:
            worker.ledger.drop(sequence % 3)
            worker.outcomes.drop(sequence % 3)
        producers = worker.outcomes._producers.values()
        kept = [record.size for each in producers for records in each.records.values() for record in records]
        assert worker.outcomes.size == sum(kept) == sum(each.size for each in producers) <= 9 * RECORD_BYTES
        assert worker.outcomes.size == held(worker.outcomes)
    for producer in range(1, 5):
        worker.outcomes.forget(producer)
    assert worker.outcomes.size == 0


def test_a_late_sequence_takes_its_place_in_order() -> None:
    worker = Worker()
    worker.send(9, [(0, 1)])
    worker.send(4, [(1, 1)])
    worker.send(7, [(1, 1)])
    assert list(worker.outcomes._producers[7].records) == [4, 7, 9]
    worker.send(10, [(0, 1)], acknowledged=7)
    assert list(worker.outcomes._producers[7].records) == [9, 10]
    worker.send(6, [(2, 1)])  # below what is acknowledged: nothing to keep
    assert list(worker.outcomes._producers[7].records) == [9, 10]


def test_a_copy_encodes_when_it_is_asked() -> None:
    primary, copy = Worker(), Worker(source=3)
    sent = [(0, 1), (1, FAILS), (0, 2), (2, 1)]
    found = numbers(primary.send(1, sent))
    copy.copy(1, sent, 3, [max(number, 0) for number in found])
    second = numbers(primary.send(2, [(0, 1)]))
    copy.copy(2, [(0, 1)], 3, second)
    (record,) = copy.outcomes._producers[7].records[1]
    assert record.response is None
    copy.ledger.sources[:] = OWN
    assert numbers(copy.send(1, sent)) == found
    assert numbers(copy.send(2, [(0, 1)])) == second
    assert record.kept is None
    assert numbers(copy.send(1, [(2, 1), (1, FAILS)])) == [found[3], found[1]]


def test_what_was_dropped_is_not_told_again() -> None:
    worker = Worker()
    worker.send(1, [(0, 1), (1, 1)])
    worker.outcomes.drop(0)
    assert numbers(worker.send(1, [(0, 1), (1, 1)])) == [-OUT_OF_ORDER, 2]  # its ledger was not dropped
    worker.ledger.drop(0)
    assert numbers(worker.send(1, [(0, 1), (1, 1)])) == [3, 2]
    assert numbers(worker.send(1, [(0, 1), (1, 1)])) == [3, 2]


def test_a_new_session_goes_on_with_what_is_kept() -> None:
    """A client that lost its memory sends all again, under its name."""
    worker = Worker()
    worker.ledger.open(7, 0, 1)
    worker.send(1, [(0, 1)])
    worker.send(2, [(1, 1)])
    worker.ledger.open(7, 0, 2)
    assert numbers(worker.send(1, [(0, 1)], fence=2)) == [1]
    assert numbers(worker.send(1, [(1, 1)], fence=2)) == [-OUT_OF_ORDER]
    assert numbers(worker.send(2, [(0, 2), (1, 1)], fence=2)) == [3, 2]


def test_a_producer_that_is_forgotten_leaves_nothing() -> None:
    worker = Worker()
    worker.send(1, [(0, 1)])
    worker.outcomes.forget(7)
    assert numbers(worker.send(1, [(0, 1)])) == [-ALREADY_APPLIED]  # its ledger was not told


def test_producers_are_told_apart() -> None:
    worker = Worker()
    worker.send(1, [(0, 1)], producer=7)
    worker.send(1, [(0, 2)], producer=8)
    assert numbers(worker.send(1, [(0, 2)], producer=8)) == [2]
    assert numbers(worker.send(1, [(0, 1)], producer=7)) == [1]


def test_an_export_goes_on_from_the_floor_that_it_had() -> None:
    one, two = Worker(), Worker(NOBODY)
    for sequence in (1, 2, 3):
        one.send(sequence, [(0, 1), (1, 1)])
    one.send(4, [(0, 1)], acknowledged=2)
    one.give(0, two)
    assert numbers(two.send(2, [(0, 1)])) == [-ALREADY_APPLIED]
    assert numbers(two.send(3, [(0, 1)])) == [5]
    assert numbers(one.send(3, [(1, 1)])) == [6]


def test_what_is_forgotten_is_not_taken_for_never_applied_elsewhere() -> None:
    one, two = Worker(), Worker(NOBODY)
    one.send(1, [(0, 1)])
    one.send(2, [(1, 1)], acknowledged=1)  # nothing is kept of partition 0 any more
    one.give(0, two)
    assert numbers(two.send(1, [(0, 1)])) == [-ALREADY_APPLIED]


@pytest.mark.parametrize("fresh_max", [1, 4096])
def test_what_came_between_two_exports_is_in_the_second(fresh_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringmill.engine.listing.FRESH_MAX", fresh_max)
    worker, copy = Worker(), Worker(NOBODY)
    worker.send(1, [(0, 1), (1, 1), (0, FAILS), (2, 1)])
    before = worker.outcomes.export(0)
    worker.send(2, [(0, 1), (2, 2)])
    worker.send(1, [(0, 1)], producer=9)
    worker.send(3, [(1, 1)], acknowledged=1)
    after = worker.outcomes.export(0)
    worker.outcomes.rest()
    assert worker.outcomes.export(0) == after != before
    said = numbers(worker.send(2, [(0, 1)]))
    worker.give(0, copy)
    assert numbers(copy.send(2, [(0, 1)])) == said
    copy.give(0, worker)
    assert worker.outcomes.export(0) == after  # what is restored is listed, too


def test_a_forgotten_producer_is_not_exported_with_what_another_of_its_number_has() -> None:
    worker = Worker()
    worker.send(1, [(0, 1)])
    assert worker.outcomes.export(0)
    worker.outcomes.forget(7)
    assert worker.outcomes.export(0, [7]) == b""
    worker.send(2, [(0, 1)])
    fresh = Outcomes(PARTITIONS, encode)
    fresh.restore(0, worker.outcomes.export(0))
    assert list(fresh._producers[7].records) == [2]


@pytest.mark.parametrize("ranked_max", [0, 1, 64])
def test_an_export_tells_the_same_whether_it_ranks_or_not(ranked_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringmill.engine.outcomes.RANKED_MAX", ranked_max)
    worker, copy = Worker(), Worker(NOBODY)
    sent = [(3, 1), (0, 1), (1, FAILS), (0, 2), (3, FAILS), (1, 1), (0, FAILS)]
    said = numbers(worker.send(1, sent[:3]))
    assert worker.send(2, [(4, 1), *sent]).rejected == 3
    mixed = numbers(worker.send(1, [(2, 1), *sent[:3], (4, 1)]))  # its record hides what the first has
    assert mixed[1:4] == said
    again = numbers(worker.send(2, sent))
    first = [worker.outcomes.export(partition) for partition in range(PARTITIONS)]
    assert [worker.outcomes.export(partition) for partition in range(PARTITIONS)] == first
    assert worker.outcomes.size == held(worker.outcomes)
    assert numbers(worker.send(1, [(2, 1), *sent[:3], (4, 1)])) == mixed
    assert numbers(worker.send(2, sent)) == again
    for partition in range(PARTITIONS):
        worker.give(partition, copy)
    assert [copy.outcomes.export(partition) for partition in range(PARTITIONS)] == first
    assert numbers(copy.send(2, sent)) == again


def test_an_export_costs_what_its_partition_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither lists all records anew nor looks at those of other partitions, whatever came and went between."""
    worker = Worker()
    for sequence in range(1, 41):
        worker.send(sequence, [(sequence % 2, 1), (2, 1)], producer=1 + sequence % 4)
    worker.outcomes.export(0)
    looked: list[int] = []
    share_of = Outcomes._share_of
    monkeypatch.setattr(Outcomes, "_share_of", lambda *each: looked.append(each[-1]) or share_of(*each))
    listed: list[object] = []
    monkeypatch.setattr("ringmill.engine.outcomes.Listing", listed.append)
    monkeypatch.setattr("ringmill.engine.listing.FRESH_MAX", 16)
    for sequence in range(41, 141):
        worker.send(sequence, [(2, 1)], producer=5, acknowledged=sequence - 2)
    worker.outcomes.forget(1)
    worker.send(1, [(1, 2)], producer=6)
    assert worker.outcomes.export(1)
    assert looked == [1] * 21  # half of 40, and one more
    assert not listed


def test_what_is_listed_is_bounded_by_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringmill.engine.listing.FRESH_MAX", 16)
    monkeypatch.setattr("ringmill.engine.listing.CHUNK_MAX", 32)
    worker = Worker()
    for sequence in range(1, 61):
        worker.send(sequence, [(0, 1)])
    worker.outcomes.export(0)
    listing = worker.outcomes._listing
    assert listing is not None
    for sequence in range(61, 1000):
        worker.send(sequence, [(0, 1)], acknowledged=sequence - 8)
        assert len(listing) <= 60 + 32
    assert worker.outcomes._listing is listing
    assert len(listing) <= 48


def test_a_copy_exports_without_encoding_what_others_have() -> None:
    primary, copy = Worker(), Worker(source=3)
    sent = [(0, 1), (1, FAILS), (0, 2), (2, 1), (1, 1)]
    copy.copy(1, sent, 3, [max(number, 0) for number in numbers(primary.send(1, sent))])
    (record,) = copy.outcomes._producers[7].records[1]
    counts: list[int] = []
    copy.outcomes._encode = lambda pipeline, columns, count: counts.append(count) or encode(pipeline, columns, count)
    for partition in range(PARTITIONS):
        assert copy.outcomes.export(partition) == primary.outcomes.export(partition)
    assert counts == [2, 2, 1]
    assert record.kept is not None


def test_bytes_are_counted_as_they_are_held() -> None:
    """Columns become a response when a retry comes, and a response is put in order when it is exported."""
    primary, copy = Worker(), Worker(source=3)
    sent = [(0, 1), (1, FAILS), (0, 2), (2, 1)]
    copy.copy(1, sent, 3, [max(number, 0) for number in numbers(primary.send(1, sent))])
    assert copy.outcomes.size == held(copy.outcomes)
    columns = copy.outcomes.size
    copy.ledger.sources[:] = OWN
    copy.send(1, sent)
    assert copy.outcomes.size == held(copy.outcomes) != columns
    encoded = copy.outcomes.size
    copy.outcomes.export(0)
    assert copy.outcomes.size == held(copy.outcomes) == copy.outcomes._producers[7].size > encoded
    copy.outcomes.forget(7)
    assert copy.outcomes.size == 0


def test_a_record_that_went_while_its_retry_was_answered_is_not_counted() -> None:
    """The retry brings fresh partitions, whose record pushes the old one out before it is encoded."""
    primary, copy = Worker(), Worker(source=3, producer_bytes_max=1)
    found = numbers(primary.send(1, [(0, 1)]))
    copy.copy(1, [(0, 1)], 3, found)
    copy.ledger.sources[:] = OWN
    _, judged = copy._examine(1, [(0, 1)], 0, 7, 1, OWN)
    part, _ = copy._examine(1, [(0, 1)], 0, 7, 1, OWN)
    copy.outcomes.recall(copy.ledger, part)
    copy.ledger.admit(copy.columns, 1, part)
    copy.outcomes.forget(7)
    copy.ledger.settle(copy.columns, 1)
    copy.outcomes.splice(copy.ledger, copy.columns, 1, encode(4, copy.columns, 1))
    assert judged.known
    assert copy.outcomes.size == 0 == held(copy.outcomes)


def counted_looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the records that are asked whether they were dropped."""
    looked: list[int] = []
    is_dropped = Record.is_dropped

    def noted(record: Record, dropped: np.ndarray) -> bool:
        looked.append(record.number)
        return is_dropped(record, dropped)

    monkeypatch.setattr(Record, "is_dropped", noted)
    return looked


def test_a_full_producer_is_looked_through_once_for_each_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(producer_bytes_max=20 * (RECORD_BYTES + 40))
    for sequence in range(1, 25):
        worker.send(sequence, [(sequence % 3, 1)])
    looked = counted_looks(monkeypatch)
    worker.outcomes.drop(4)
    for sequence in range(25, 40):
        worker.send(sequence, [(0, 1)])
    assert looked
    assert len(looked) == len(set(looked)) <= 21
    first = len(looked)
    worker.outcomes.drop(4)
    worker.outcomes.drop(3)
    for sequence in range(40, 50):
        worker.send(sequence, [(0, 1)])
    assert first < len(looked) <= first + 21


@pytest.mark.parametrize("bounds", [{"producer_bytes_max": 20 * RECORD_BYTES}, {"bytes_max": 40 * RECORD_BYTES}])
def test_one_part_looks_at_few_records(bounds: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a producer is full, or all together are."""
    monkeypatch.setattr("ringmill.engine.outcomes.SWEPT_MAX", 4)
    worker = Worker(**bounds)
    for sequence in range(1, 60):
        worker.send(sequence, [(0, 1)], producer=1 + sequence % 3)
    looked = counted_looks(monkeypatch)
    total = 0
    for sequence in range(60, 90):
        worker.outcomes.drop(4)
        worker.send(sequence, [(0, 1)], producer=1 + sequence % 3)
        assert len(looked) <= 4
        total += len(looked)
        looked.clear()
        assert worker.outcomes.size == held(worker.outcomes)
    assert total


def test_what_was_restored_goes_with_its_partition_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringmill.engine.outcomes.REAPED_MAX", 4)
    one, two = Worker(), Worker(NOBODY)
    for sequence in range(1, 11):
        one.send(sequence, [(0, 1), (1, 1)], producer=1 + sequence % 2)
    one.give(0, two)
    one.give(1, two)
    looked = counted_looks(monkeypatch)
    two.ledger.drop(0)
    two.outcomes.drop(0)
    before = two.outcomes.size
    two.ledger.sources[2] = OWN
    sizes = [before]
    for sequence in range(1, 5):
        two.send(sequence, [(2, 1)], producer=3)
        sizes.append(two.outcomes.size)
        assert two.outcomes.size == held(two.outcomes)
    left = [len(records) for each in (1, 2) for records in two.outcomes._producers[each].records.values()]
    assert left == [1] * 10
    assert sizes[1] < sizes[0]
    assert sizes[2] < sizes[1]
    assert not looked, "none of them need be looked for"
    assert numbers(two.send(9, [(1, 1)], producer=2)) == [18]


def test_lists_of_what_was_restored_lose_what_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringmill.engine.outcomes._PRUNED_EACH", 2)
    one, two = Worker(), Worker(NOBODY)
    for sequence in range(1, 5):
        one.send(sequence, [(0, 1), (1, 1)])
    one.give(0, two)
    one.give(1, two)
    two.send(5, [(0, 1)], acknowledged=3)
    for sequence in range(6, 12):
        two.send(sequence, [(0, 1)], acknowledged=3)
    assert [len(found) for found in two.outcomes._restored.values()] == [1, 1]


def exported() -> bytes:
    worker = Worker()
    worker.send(1, [(0, 1), (1, 1), (0, FAILS)])
    worker.send(2, [(0, 1)])
    worker.send(1, [(0, 1)], producer=9)
    return worker.outcomes.export(0)


def is_taken(data: bytes) -> bool:
    """Whether an export is taken; one that is not must leave nothing behind."""
    outcomes = Outcomes(PARTITIONS, encode)
    refusal = None
    try:
        outcomes.restore(0, data)
    except RingmillError as error:
        refusal = error
    if refusal is None:
        outcomes.export(0)
    else:
        assert refusal.code == Code.DATA_LOSS
        assert not outcomes._producers
    return refusal is None


def test_an_export_that_is_cut_is_refused() -> None:
    data = exported()
    whole = [length for length in range(len(data)) if is_taken(data[:length])]
    assert len(whole) == 2  # nothing, and the first producer's


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_damage_never_does_more_than_to_be_refused(data: st.DataObject) -> None:
    damaged = bytearray(exported())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.sampled_from([0, 1, 0x7F, 0xFF]))
    is_taken(bytes(damaged))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_export_are_refused(data: bytes) -> None:
    outcomes = Outcomes(PARTITIONS, encode)
    if data:
        with pytest.raises(RingmillError):
            outcomes.restore(0, data)


def test_an_export_is_the_same_after_it_was_restored() -> None:
    outcomes = Outcomes(PARTITIONS, encode)
    outcomes.restore(0, exported())
    assert outcomes.export(0) == exported()
    assert outcomes.export(1) == b""
    outcomes.reset()
    assert outcomes.export(0) == b""
