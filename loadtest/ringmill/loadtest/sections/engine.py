"""The engine alone, in one process, from bytes to bytes: its kernel against C, and many keys against few."""

import shutil
import statistics
from collections.abc import Iterator

from ringmill.loadtest.measure import (
    Effort,
    Figure,
    Unavailable,
    alternate,
    at_least,
    at_most,
    compare,
    each_second,
    ratio,
)
from ringmill.loadtest.processes import peer

FEW_KEYS = 10_000
MANY_KEYS = 10_000_000
_BATCHES = 500


def kernel(effort: Effort) -> Iterator[Figure]:
    """The fused loop over decoded columns, against the same loop in C."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise Unavailable("no C compiler (Debian: apt install gcc)")
    with peer("kernels.against_c", compiler) as process:
        batches = effort.amount(_BATCHES)
        sides = {
            "kernel": lambda: float(process.do("ours", batches=batches)["ns"]),
            "C": lambda: float(process.do("c", batches=batches)["ns"]),
        }
        samples = alternate(effort, "kernel", sides)
    what = "fused kernel time over the same loop in C, -O3"
    yield compare("kernel-c", what, at_most(1.3), samples, "kernel", "C", lambda ns: f"{ns:.1f} ns an event")


def keys(effort: Effort) -> Iterator[Figure]:
    """Decode, apply and encode with many keys and with few, and the memory that a key takes."""
    many = effort.amount(MANY_KEYS)
    with peer("kernels.by_keys") as process:
        effort.tell(f"keys: filling {many:,} keys")
        filled = process.do("fill", few=FEW_KEYS, many=many)
        batches = effort.amount(_BATCHES)
        sides = {
            "few": lambda: float(process.do("few", batches=batches)["events_s"]),
            "many": lambda: float(process.do("many", batches=batches)["events_s"]),
        }
        samples = alternate(effort, "keys", sides)
    shown = " / ".join(f"{each_second(statistics.median(samples[side]))} ({side})" for side in ("many", "few"))
    what = f"events/s at {many:,} keys over {FEW_KEYS:,}, bytes to bytes in one process"
    yield Figure("keys-rate", what, at_least(0.5), ratio(samples, "many", "few"), shown, samples)
    beyond = filled["resident_bytes"] - filled["state_bytes"] - filled["key_bytes"]
    detail = "resident {resident_bytes:.0f}, of which state {state_bytes:.0f} and key {key_bytes:.0f}".format(**filled)
    what = f"bytes a key beyond state and key, at {many:,} keys"
    yield Figure("keys-bytes", what, at_most(48, " B"), beyond, detail, unit=" B")
    pause = filled["pause_ms"]
    what = "longest pause while the table grew to that size: processor time of a batch beyond the median one"
    detail = (
        "4,096 new keys a batch, the same batches in three fresh tables, each batch by its median; "
        f"the slowest of all in any of them: {filled['worst_pause_ms']:.1f} ms"
    )
    yield Figure("keys-growth", what, at_most(5, " ms"), pause, detail, unit=" ms")
