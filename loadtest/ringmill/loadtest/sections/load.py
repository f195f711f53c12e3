"""A load that does not wait for answers: what latency it sees."""

import contextlib
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from ringmill.loadtest.measure import Effort, Figure, at_most
from ringmill.loadtest.processes import cluster, peer

CLIENTS = 4
RATE = 200_000.0
KEYS = 100_000
IN_FLIGHT = 1
"""Unanswered requests of a client before it lets events gather: more of them make smaller requests, and more work."""
_SECONDS = 4.0


def open_loop(effort: Effort) -> Iterator[Figure]:
    """Four clients offer single events at a fixed rate through the balancer."""
    seconds = max(0.5, _SECONDS * effort.scale)
    rounds: list[list[dict[str, float]]] = []
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(cluster(2))
        clients = [stack.enter_context(peer("ours.open_loop", service.address)) for _ in range(CLIENTS)]
        pool = stack.enter_context(ThreadPoolExecutor(CLIENTS))
        for number in range(effort.rounds + 1):
            effort.tell(f"open loop: {RATE:,.0f} events/s" + (f", round {number} of {effort.rounds}" if number else ""))
            order = {"rate": RATE / CLIENTS, "seconds": seconds, "in_flight": IN_FLIGHT, "key_count": KEYS}
            answers = [pool.submit(client.do, "offer", seed=i, **order) for i, client in enumerate(clients)]
            got = [answer.result() for answer in answers]
            if number:
                rounds.append(got)
    # The worst of the clients: a percentile over all would hide one that starves.
    p99_ms = [max(client["p99_us"] for client in got) / 1e3 for got in rounds]
    p50_ms = statistics.median(client["p50_us"] for got in rounds for client in got) / 1e3
    size = statistics.median(client["events"] / client["requests"] for got in rounds for client in got)
    detail = f"p50 {p50_ms:.2f} ms; {size:.0f} events a request; the worst of {CLIENTS} clients, median of rounds"
    what = f"p99 at {RATE:,.0f} single events/s offered by {CLIENTS} clients through the balancer to two workers"
    yield Figure("open-loop", what, at_most(5, " ms"), statistics.median(p99_ms), detail, {"p99_ms": p99_ms}, " ms")
