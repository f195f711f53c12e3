"""How events/s grow with workers behind one balancer: for machines with more cores than a laptop."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median

from ringmill.loadtest.measure import Effort, Figure, each_second
from ringmill.loadtest.processes import cluster, peer

BATCH = 4096
KEYS = 100_000
_BATCHES = 1500


def up_to(workers_max: int) -> Callable[[Effort], Iterator[Figure]]:
    """The section for 1, 2, 4 ... workers."""
    counts = [1 << power for power in range(workers_max.bit_length()) if 1 << power <= workers_max]

    def section(effort: Effort) -> Iterator[Figure]:
        for workers in counts:
            yield _measure(effort, workers)

    return section


def _measure(effort: Effort, workers: int) -> Figure:
    """Twice as many clients as workers, so that the clients are not what is measured."""
    with ExitStack() as stack:
        service = stack.enter_context(cluster(workers))
        clients = [stack.enter_context(peer("ours.client", service.address)) for _ in range(2 * workers)]
        pool = stack.enter_context(ThreadPoolExecutor(len(clients)))
        order = {"count": effort.amount(_BATCHES), "size": BATCH, "key_count": KEYS, "in_flight": 4}
        rates: list[float] = []
        for number in range(effort.rounds):
            effort.tell(f"scaling: {workers} workers, round {number + 1} of {effort.rounds}")
            answers = [pool.submit(client.do, "stream", **order) for client in clients]
            rates.append(sum(answer.result()["messages_s"] for answer in answers) * BATCH)
    what = f"events/s through a balancer to {workers} workers from {len(clients)} clients"
    rate = median(rates)
    detail = f"{each_second(rate)} on {len(os.sched_getaffinity(0))} cores"
    return Figure(f"scaling-{workers}", what, None, rate / 1e6, detail, {"events_s": rates}, " M/s")
