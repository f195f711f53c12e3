"""The placement table: golden, equal to Envoy's, balanced, and stable."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from ringmill.core.errors import RingmillError
from ringmill.core.maglev import NOBODY, is_prime, maglev

Owners = npt.NDArray[np.str_]
GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "maglev_1021.json").read_text())


def reference(weights: dict[str, int], partitions: int) -> list[int]:
    """The paper's pseudocode with Envoy's weights, written with the xxhash package: slow and obvious."""
    hosts = sorted(weights)
    total = sum(weights.values())
    share = {host: weights[host] / total for host in hosts}
    offset = {host: xxhash.xxh64_intdigest(host.encode()) % partitions for host in hosts}
    skip = {host: xxhash.xxh64_intdigest(host.encode(), seed=1) % (partitions - 1) + 1 for host in hosts}
    permutation = {host: [(offset[host] + j * skip[host]) % partitions for j in range(partitions)] for host in hosts}
    target = dict.fromkeys(hosts, 0.0)
    entry: dict[int, int] = {}
    turn = 0
    while len(entry) < partitions:
        turn += 1
        for index, host in enumerate(hosts):
            if len(entry) == partitions or turn * share[host] < target[host]:
                continue
            target[host] += max(share.values())
            entry[next(slot for slot in permutation[host] if slot not in entry)] = index
    return [entry[slot] for slot in range(partitions)]


def test_golden_table() -> None:
    for case in GOLDEN["cases"]:
        table = maglev(case["weights"])
        assert table.dtype == np.int32
        assert table.tolist() == case["table"]


names = st.text("abcdefghij0123456789.:-", min_size=1, max_size=24)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(names, st.integers(1, 128), min_size=1, max_size=8), st.sampled_from([11, 13, 101, 257]))
def test_equals_the_reference(weights: dict[str, int], partitions: int) -> None:
    assert maglev(weights, partitions).tolist() == reference(weights, partitions)


@settings(max_examples=30, deadline=None)
@given(st.sets(names, min_size=1, max_size=32))
def test_equal_weights_are_within_one_partition_of_their_share(hosts: set[str]) -> None:
    counts = np.bincount(maglev(dict.fromkeys(hosts, 1)), minlength=len(hosts))
    assert counts.max() - counts.min() <= 1


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(names, st.integers(1, 4), min_size=2, max_size=16))
def test_weighted_shares(weights: dict[str, int]) -> None:
    """Lighter workers take their next slot early, and the heaviest make up for all of them."""
    counts = np.bincount(maglev(weights), minlength=len(weights))
    exact = np.array([weights[name] for name in sorted(weights)]) / sum(weights.values()) * 1021
    heaviest = exact == exact.max()
    assert np.abs(counts - exact)[~heaviest].max(initial=0) < 1.5
    assert np.abs(counts - exact).max() < 2.5


def grown(trial: int, workers: int) -> tuple[Owners, Owners, str]:
    """Owners by name before and after one more worker joins."""
    before = {f"10.0.{trial}.{i}:7000": 1 for i in range(workers)}
    newcomer = f"10.0.{trial}.{workers}:7000"
    after = {**before, newcomer: 1}
    return np.array(sorted(before))[maglev(before)], np.array(sorted(after))[maglev(after)], newcomer


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8, 12, 16])
def test_a_newcomer_takes_its_share_and_shuffles_little(workers: int) -> None:
    extra = []
    for trial in range(15):
        before, after, newcomer = grown(trial, workers)
        taken = np.count_nonzero(after == newcomer)
        assert abs(taken - 1021 / (workers + 1)) <= 1
        extra.append(np.count_nonzero((before != after) & (after != newcomer)) / 1021)
    assert np.median(extra) <= 0.04


@pytest.mark.parametrize("workers", range(1, 17))
def test_the_names_that_up_gives_shuffle_at_most_four_percent(workers: int) -> None:
    names = [f"worker-{number}" for number in range(workers + 1)]
    before = np.array(sorted(names[:-1]))[maglev(dict.fromkeys(names[:-1], 1))]
    after = np.array(sorted(names))[maglev(dict.fromkeys(names, 1))]
    assert np.count_nonzero((before != after) & (after != names[-1])) <= 0.04 * 1021


def test_order_of_the_names_does_not_matter() -> None:
    assert maglev({"b": 2, "a": 1}).tolist() == maglev({"a": 1, "b": 2}).tolist()


def test_nobody_owns_anything_without_workers() -> None:
    assert maglev({}, 13).tolist() == [NOBODY] * 13


@pytest.mark.parametrize(
    ("weights", "partitions", "why"),
    [
        ({"a": 1}, 1024, "must be a prime"),
        ({"a": 1}, 1, "must be a prime"),
        ({"a": 0}, 1021, "weight 0"),
        ({"a": 129}, 1021, "weight 129"),
        ({"a": 1, "b": 1, "c": 1}, 3, "more than 3 partitions"),
    ],
)
def test_refusals_say_why(weights: dict[str, int], partitions: int, why: str) -> None:
    with pytest.raises(RingmillError, match=why):
        maglev(weights, partitions)


def test_primes() -> None:
    assert [number for number in range(30) if is_prime(number)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
