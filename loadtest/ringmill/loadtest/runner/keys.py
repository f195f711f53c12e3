"""Which key each event has. Pure: with one seed always the same keys."""

import numpy as np
import numpy.typing as npt

from ringmill.client.strings import Strings
from ringmill.loadtest.runner.scenario import Keys

Numbers = npt.NDArray[np.int64]


def key_numbers(keys: Keys, rng: np.random.Generator, count: int) -> Numbers:
    """Numbers of `count` keys, from 0; the most frequent ones have the lowest."""
    if keys.distribution == "zipf":
        return _zipf(keys, rng, count)
    numbers = rng.integers(0, keys.count, count)
    if keys.distribution == "hot":
        cold = keys.count - keys.hot_keys
        if cold:
            numbers = keys.hot_keys + rng.integers(0, cold, count)
        hot = rng.random(count) < (keys.hot_share if cold else 1.0)
        numbers[hot] = rng.integers(0, keys.hot_keys, np.count_nonzero(hot))
    return numbers


def _zipf(keys: Keys, rng: np.random.Generator, count: int) -> Numbers:
    """By the inverse of the distribution, which works for every alpha; NumPy's own wants one above 1 and no bound."""
    weights = np.cumsum(np.arange(1, keys.count + 1, dtype=np.float64) ** -keys.alpha)
    places = np.searchsorted(weights, rng.random(count) * weights[-1], side="right")
    return np.asarray(np.minimum(places, keys.count - 1), np.int64)


def key_names(keys: Keys, numbers: Numbers) -> Strings:
    """The keys' names as the client's encoder reads them: all of one width, in one heap."""
    digits = len(str(keys.count - 1))
    prefix = keys.prefix.encode()
    width = len(prefix) + digits
    heap = np.empty((keys.count, width), np.uint8)
    heap[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    left = np.arange(keys.count)
    for place in range(width - 1, len(prefix) - 1, -1):
        left, digit = np.divmod(left, 10)
        heap[:, place] = ord("0") + digit
    return Strings(heap.reshape(-1), numbers * width, (numbers + 1) * width)
