"""When events are due. Pure: with one seed always the same moments.

Every pattern is a clock that runs at another pace: arrivals are drawn on a clock on which one comes each unit of time
on average, and that clock is then read as seconds. So a burst and a ramp are Poisson arrivals whose rate changes.
"""

import numpy as np
import numpy.typing as npt

from ringmill.loadtest.runner.scenario import Load

Moments = npt.NDArray[np.int64]
Units = npt.NDArray[np.float64]


def due_moments(load: Load, rate: float, stream: int) -> Moments:
    """Nanoseconds from the beginning of the warm-up at which the arrivals of one stream are due, in order.

    rate: events a second of all streams together; an arrival is `load.batch` events, or one.
    """
    arrivals_s = rate / max(1, load.batch) / load.streams
    total_s = load.warmup_seconds + load.seconds
    if load.arrivals == "constant":  # streams take turns
        units = np.arange(int(np.ceil(arrivals_s * total_s)), dtype=np.float64) + (stream + 0.5) / load.streams
        seconds = units / arrivals_s
        return _nanoseconds(seconds[seconds < total_s])
    rng = np.random.default_rng((10, load.seed, stream))
    if load.arrivals == "ramp":
        first_s = min(load.ramp_from, rate) / rate * arrivals_s
        units = _poisson(rng, first_s * load.warmup_seconds + (first_s + arrivals_s) / 2 * load.seconds)
        seconds = _ramp(units, first_s, arrivals_s, load.warmup_seconds, load.seconds)
    elif load.arrivals == "bursty":
        period_s = load.burst_period_ms / 1e3
        periods_s = np.ceil(total_s / period_s) * period_s  # the last one's burst comes, even if its end does not
        seconds = _bursts(_poisson(rng, arrivals_s * periods_s) / arrivals_s, period_s, load.burst_share)
    else:
        seconds = _poisson(rng, arrivals_s * total_s) / arrivals_s
    return _nanoseconds(seconds[seconds < total_s])


def _poisson(rng: np.random.Generator, until: float) -> Units:
    """Arrivals with exponential gaps of mean 1, up to a time."""
    drawn = np.empty(0)
    last = 0.0
    while last < until:
        room = until - last
        more = last + np.cumsum(rng.exponential(size=int(room + 4 * np.sqrt(room) + 16)))
        drawn = np.concatenate([drawn, more])
        last = float(drawn[-1])
    return drawn[drawn < until]


def _bursts(seconds: Units, period_s: float, share: float) -> Units:
    """Presses what comes within each period into its first part."""
    begins = np.floor(seconds / period_s) * period_s
    return np.asarray(begins + (seconds - begins) * share)


def _ramp(units: Units, first_s: float, last_s: float, warmup_s: float, ramp_s: float) -> Units:
    """The moments at which a rate that is first_s, and then grows evenly to last_s, has let so many arrivals come."""
    warm = first_s * warmup_s
    beyond = np.maximum(units - warm, 0.0)
    growth = (last_s - first_s) / ramp_s
    climbed = 2 * beyond / (first_s + np.sqrt(first_s**2 + 2 * growth * beyond))
    return np.where(units < warm, units / first_s, warmup_s + climbed)


def _nanoseconds(seconds: Units) -> Moments:
    return (seconds * 1e9).astype(np.int64)
