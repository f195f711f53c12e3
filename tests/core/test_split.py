"""Splitting and merging against the official library."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringmill.core.errors import Code, RingmillError
from ringmill.core.hashing import PARTITIONS, partition_of
from ringmill.core.maglev import NOBODY
from ringmill.core.split import Splitter
from ringmill.core.view import HELD
from ringmill.v1.processing_pb2 import Event, Outcome, ProcessRequest, ProcessResponse, Rejection

WORKERS = 3
SPLITTER = Splitter(PARTITIONS, events_max=64, bytes_max=10_000)
TABLE = np.array([partition % (WORKERS + 1) - 1 for partition in range(PARTITIONS)], np.int32)
EVERYTHING_TO_1 = np.full(PARTITIONS, 1, np.int32)
REFUSED = Outcome(rejection=Rejection(detail="nobody " * 30))

keys = st.lists(st.text(max_size=12), max_size=40)


def request_of(keys: list[str]) -> ProcessRequest:
    return ProcessRequest(pipeline="p", sequence=5, events=[Event(key=key, values=[1.5]) for key in keys])


def answered(part: bytes, worker: int) -> bytes:
    outcomes = [Outcome(labels=[event.key]) for event in ProcessRequest.FromString(part).events]
    return ProcessResponse(sequence=5, outcomes=outcomes, rejected=worker).SerializeToString()


@given(keys)
def test_each_worker_gets_its_events_and_each_event_its_outcome(keys: list[str]) -> None:
    request = request_of(keys)
    message = request.SerializeToString()
    scanned = SPLITTER.scan(message)
    split = SPLITTER.split(message, scanned, TABLE, WORKERS)
    owners = [int(TABLE[partition_of(key.encode())]) for key in keys]
    assert split.owners.tolist() == owners
    assert split.refused == owners.count(NOBODY)
    for worker, part, touched in split.parts:
        owned = [key for key, owner in zip(keys, owners, strict=True) if owner == worker]
        assert ProcessRequest.FromString(part) == request_of(owned)
        assert touched.tolist() == list(dict.fromkeys(partition_of(key.encode()) for key in owned))
    answers = {worker: answered(part, worker) for worker, part, _ in split.parts}
    merged, heads = SPLITTER.merge(split.owners, answers, REFUSED.SerializeToString())
    expected = [Outcome(labels=[key]) if owner != NOBODY else REFUSED for key, owner in zip(keys, owners, strict=True)]
    assert list(ProcessResponse.FromString(merged).outcomes) == expected
    assert [ProcessResponse.FromString(head).rejected for head in heads] == list(answers)


@pytest.mark.parametrize("count", [1, 2, 30])
def test_a_request_with_one_owner_is_passed_on_untouched(count: int) -> None:
    message = request_of(["key"] * count).SerializeToString()
    split = SPLITTER.split(message, SPLITTER.scan(message), EVERYTHING_TO_1, WORKERS)
    assert split.parts[0][0] == 1
    assert split.parts[0][1] is message


@given(keys)
def test_what_is_held_is_a_part_of_its_own_and_can_be_split_again(keys: list[str]) -> None:
    message = request_of(keys).SerializeToString()
    held = np.where(TABLE == 1, HELD, TABLE).astype(np.int32)
    split = SPLITTER.split(message, SPLITTER.scan(message), held, WORKERS)
    mine = [key for key in keys if TABLE[partition_of(key.encode())] == 1]
    parts = {owner: part for owner, part, _ in split.parts}
    assert ProcessRequest.FromString(parts.get(WORKERS, request_of([]).SerializeToString())) == request_of(mine)
    if mine:
        again = SPLITTER.split(parts[WORKERS], SPLITTER.scan(parts[WORKERS]), TABLE, WORKERS)
        assert [(owner, part) for owner, part, _ in again.parts] == [(1, parts[WORKERS])]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_nobody_owns_anything(count: int) -> None:
    message = request_of(["key"] * count).SerializeToString()
    split = SPLITTER.split(message, SPLITTER.scan(message), np.full(PARTITIONS, NOBODY, np.int32), 0)
    assert (split.parts, split.refused) == ([], count)
    merged, heads = SPLITTER.merge(split.owners, {}, REFUSED.SerializeToString())
    assert list(ProcessResponse.FromString(merged).outcomes) == [REFUSED] * count
    assert heads == []


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        (request_of(["k"] * 65).SerializeToString(), Code.RESOURCE_EXHAUSTED, "max_events, which is 64"),
        (request_of(["k" * 10_000]).SerializeToString(), Code.RESOURCE_EXHAUSTED, "max_request_bytes is 10000"),
        (b"\x22\x05", Code.INVALID_ARGUMENT, "does not parse"),
        (b"\xa2\x06\x00", Code.INVALID_ARGUMENT, "from 100 to 127"),
    ],
)
def test_refusals_name_the_limit(message: bytes, code: Code, words: str) -> None:
    with pytest.raises(RingmillError, match=words) as caught:
        SPLITTER.scan(message)
    assert caught.value.code == code


def test_only_the_last_scanned_can_be_split() -> None:
    message = request_of(["k"]).SerializeToString()
    first = SPLITTER.scan(message)
    SPLITTER.scan(message)
    with pytest.raises(ValueError, match="scanned last"):
        SPLITTER.split(message, first, TABLE, WORKERS)


ANSWER = ProcessResponse(sequence=1, outcomes=[Outcome(), Outcome(values=[1])]).SerializeToString()


@pytest.mark.parametrize(
    ("owners", "answers"),
    [
        ([0], {0: ANSWER}),
        ([0, 0, 0], {0: ANSWER}),
        ([0, 0], {0: ANSWER[:-1]}),
        ([0, 0, 1], {0: ANSWER}),
        ([0, 0, 2], {0: ANSWER, 1: ANSWER}),
        ([0, 0], {0: ANSWER * 40}),
    ],
    ids=["one too many", "one too few", "cut off", "no answer", "answer of another", "far too many"],
)
def test_an_answer_that_does_not_fit_is_our_own_fault(owners: list[int], answers: dict[int, bytes]) -> None:
    with pytest.raises(RingmillError) as caught:
        SPLITTER.merge(np.array(owners, np.int16), answers)
    assert caught.value.code == Code.INTERNAL


def test_a_second_process_compiles_nothing() -> None:
    """A worker must start in moments: what this process compiled is loaded from the cache by the next."""
    Splitter(PARTITIONS, 1, 1)
    program = (
        "from ringmill.core import split\n"
        "scan = split._scanner()\n"
        "for kernel in (scan, split._assign, split._scatter, split._gather):\n"
        "    assert kernel.stats.cache_hits and not kernel.stats.cache_misses, kernel\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
