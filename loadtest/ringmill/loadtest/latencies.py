"""From the moments of answers to latencies: for a load that does not wait. Pure."""

import numpy as np
import numpy.typing as npt

PERCENTILES = {"p50_us": 50.0, "p90_us": 90.0, "p99_us": 99.0, "p999_us": 99.9, "max_us": 100.0}


def since_due(answered: npt.NDArray[np.int64], began_ns: int, events_per_s: float) -> npt.NDArray[np.float64]:
    """Microseconds from the moment that each event was due to its answer.

    answered: int64 [requests, 2]: the number of events in this request and all before it, and when its answer came, in
    nanoseconds. Event i was due (i + 1) / events_per_s after began_ns, whether or not it could be sent then: so a
    server that stalls is charged for every event that it kept waiting (Tene, "How not to measure latency").
    """
    ends, at_ns = answered.T
    due_ns = began_ns + (np.arange(ends[-1]) + 1) / events_per_s * 1e9
    return np.asarray((np.repeat(at_ns, np.diff(ends, prepend=0)) - due_ns) / 1e3)


def percentiles(took_us: npt.NDArray[np.float64]) -> dict[str, float]:
    """All events' latencies, exactly, at the percentiles above."""
    return dict(zip(PERCENTILES, np.percentile(took_us, list(PERCENTILES.values())).tolist(), strict=True))
