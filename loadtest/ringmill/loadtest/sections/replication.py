"""What a second copy costs: the same cluster of a balancer and two workers, with two copies of every key and with one.

Both clusters run all the time and take turns, so that each figure compares the same number of processes on the same
cores. With two copies both workers decode and apply every event: where all cores are busy, that work is doubled.
"""

import contextlib
from collections.abc import Callable, Iterator

from ringmill.loadtest.measure import Effort, Figure, alternate, at_least, at_most, compare, each_second, microseconds
from ringmill.loadtest.processes import Process, cluster, peer, spread

WORKERS = 2
BATCH = 4096
KEYS = 100_000
_BATCHES = 1000
_MESSAGES = 20_000
_COUNT = 4000
_ONE, _TWO = "one copy", "two copies"


def rates(effort: Effort) -> Iterator[Figure]:
    """Events a second in large batches, and one-event messages a second."""
    with _clients() as clients:
        batches = effort.amount(_BATCHES)
        samples = alternate(
            effort,
            f"{BATCH:,}-event batches",
            {name: _rate(client, batches, BATCH, in_flight=4) for name, client in clients.items()},
        )
        what = f"events/s replicated over unreplicated, {BATCH:,}-event batches, {WORKERS} workers behind a balancer"
        yield compare("replicated-events", what, at_least(0.65), samples, _TWO, _ONE, each_second)
        messages = effort.amount(_MESSAGES)
        samples = alternate(
            effort,
            "one-event messages",
            {name: _rate(client, messages, 1, in_flight=64) for name, client in clients.items()},
        )
        what = "one-event messages/s replicated over unreplicated, one stream, 64 in flight"
        yield compare("replicated-messages", what, at_least(0.6), samples, _TWO, _ONE, each_second)


def round_trip(effort: Effort) -> Iterator[Figure]:
    """One event alone, to and fro."""
    count = effort.amount(_COUNT)
    with _clients(pinned=True) as clients:
        sides = {name: _p50_us(client, count) for name, client in clients.items()}
        samples = alternate(effort, "round trip", sides)
    what = "single-event round trip through the balancer, replicated over unreplicated"
    yield compare("replicated-round-trip", what, at_most(2.2), samples, _TWO, _ONE, microseconds)


@contextlib.contextmanager
def _clients(pinned: bool = False) -> Iterator[dict[str, Process]]:
    """A client of each cluster. pinned: every hop of a message crosses cores."""
    with contextlib.ExitStack() as stack:
        clients: dict[str, Process] = {}
        for name, replicas in ((_ONE, 1), (_TWO, 2)):
            service = stack.enter_context(cluster(WORKERS, replicas))
            clients[name] = stack.enter_context(peer("ours.client", service.address))
            if pinned:
                balancer, workers = service.hops
                # The worker that copies shares its core with the client and not with the other worker.
                spread((clients[name],), balancer, workers[:1], workers[1:])
        yield clients


def _rate(client: Process, count: int, size: int, in_flight: int) -> Callable[[], float]:
    order = {"count": count, "size": size, "key_count": KEYS, "in_flight": in_flight}
    return lambda: size * float(client.do("stream", **order)["messages_s"])


def _p50_us(client: Process, count: int) -> Callable[[], float]:
    return lambda: float(client.do("round_trip", count=count)["p50_us"])
