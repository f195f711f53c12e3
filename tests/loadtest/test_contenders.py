"""What the benchmark compares with does the same work: each contender against river, event by event."""

import math
import shutil
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import xxhash
from river import stats

from ringmill.core.columns import EVENT, Columns, Shape
from ringmill.core.hashing import PARTITIONS
from ringmill.loadtest.peers import redis
from ringmill.loadtest.peers.c_loop import CLoop
from ringmill.loadtest.peers.stock import Sensor

KEYS = [b"a", b"b", b"a", b"a", b"long-key-of-22-bytes--", b"b", b"a", b"a"] * 20
VALUES = np.random.default_rng(1).normal((20.0, 50.0), (5.0, 10.0), (len(KEYS), 2))


def by_river(keys: Sequence[bytes], values: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    """EWMA of the humidity and z-score of the temperature."""
    kept: dict[bytes, tuple[stats.EWMean, stats.Mean, stats.Var]] = {}
    out = []
    for key, (temperature, humidity) in zip(keys, values.tolist(), strict=True):
        ewma, mean, variance = kept.setdefault(key, (stats.EWMean(fading_factor=0.1), stats.Mean(), stats.Var(ddof=0)))
        for figure, value in ((ewma, humidity), (mean, temperature), (variance, temperature)):
            figure.update(value)
        deviation = math.sqrt(variance.get())
        z = (temperature - mean.get()) / deviation if deviation else math.nan
        out.append((ewma.get(), z))
    return out


EXPECTED = by_river(KEYS, VALUES)


def test_the_hand_written_server_agrees_with_river() -> None:
    sensors = {key: Sensor() for key in KEYS}
    got = [sensors[key].add(*values) for key, values in zip(KEYS, VALUES.tolist(), strict=True)]
    np.testing.assert_allclose(got, EXPECTED, rtol=1e-12)


@pytest.mark.parametrize("script", redis.SCRIPTS)
def test_redis_agrees_with_river_over_several_batches(script: str) -> None:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    with redis.running(program) as port:
        client = redis.Client(port, redis.script(script))
        got = []
        for first in range(0, len(KEYS), 32):
            keys, values = KEYS[first : first + 32], VALUES[first : first + 32]
            command = redis.encode_batch(client.sha1, keys, values.tobytes())
            got += client.call(command, len(keys))
    np.testing.assert_allclose(np.array(got).reshape(-1, 2), EXPECTED, rtol=1e-12)


def columns_of(keys: Sequence[bytes], values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.uint8], Columns]:
    """A message of nothing but keys, and the columns as a decoder would fill them."""
    columns = Columns.allocate(len(keys), Shape(2, 0, 0, 2, 0, 0))
    place = 0
    for event, key in zip(columns.events, keys, strict=True):
        key_hash = xxhash.xxh64_intdigest(key)
        event["hash"], event["partition"], event["time_us"] = key_hash, key_hash % PARTITIONS, 1
        event["key_start"], event["key_length"] = place, len(key)
        place += len(key)
    columns.values[:] = values
    return np.frombuffer(b"".join(keys), np.uint8), columns


@pytest.fixture
def loop() -> CLoop:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    return CLoop(compiler, keys_max=16)


def test_the_c_loop_agrees_with_river(loop: CLoop) -> None:
    buffer, columns = columns_of(KEYS, VALUES)
    assert EVENT.itemsize == 32
    assert loop.apply(len(KEYS), buffer, columns, columns.out_values) == 0
    np.testing.assert_allclose(columns.out_values, EXPECTED, rtol=1e-12)


def test_the_c_loop_puts_the_row_back_where_a_result_is_not_finite(loop: CLoop) -> None:
    values = VALUES[:4].copy()
    values[2] = (1.0, math.inf)
    buffer, columns = columns_of([b"a"] * 4, values)
    assert loop.apply(4, buffer, columns, columns.out_values) == 1
    assert columns.events["reason"].tolist() == [0, 0, 8, 0]
    expected = by_river([b"a"] * 3, np.delete(values, 2, axis=0))
    np.testing.assert_allclose(columns.out_values[[0, 1, 3]], expected, rtol=1e-12)


def test_the_c_loop_takes_back_a_new_key_that_failed(loop: CLoop) -> None:
    buffer, columns = columns_of([b"a", b"a"], np.array([[1.0, math.nan], [2.0, 3.0]]))
    assert loop.apply(2, buffer, columns, columns.out_values) == 1
    assert columns.out_values[1].tolist() == pytest.approx([3.0, math.nan], nan_ok=True)


def test_the_c_loop_refuses_a_new_key_of_a_full_partition(loop: CLoop) -> None:
    buffer, columns = columns_of([b"%d" % i for i in range(20)], VALUES[:20])
    columns.events["partition"] = 5
    assert loop.apply(20, buffer, columns, columns.out_values) == 4
    assert columns.events["reason"].tolist() == [0] * 16 + [32] * 4
