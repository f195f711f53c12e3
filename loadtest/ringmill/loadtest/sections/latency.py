"""One event alone: how long until its answer is back."""

import contextlib
from collections.abc import Callable, Iterator

from ringmill.loadtest.measure import Effort, Figure, alternate, at_most, compare, microseconds
from ringmill.loadtest.processes import Process, Service, cluster, lone_worker, peer, peer_service, spread
from ringmill.loadtest.workload import EVENT

_COUNT = 4000


def round_trip(effort: Effort) -> Iterator[Figure]:
    """A message to and fro: plain TCP, stock gRPC, a worker, and a worker behind a balancer."""
    count = effort.amount(_COUNT)
    with contextlib.ExitStack() as stack:

        def client_of(kind: str, service: Service) -> Process:
            process = stack.enter_context(peer(kind, service.address))
            spread((process,), *service.hops)
            return process

        tcp = client_of("tcp.client", stack.enter_context(peer_service("tcp.server")))
        stock = client_of("stock.client", stack.enter_context(peer_service("stock.echo_server")))
        direct = client_of("ours.client", stack.enter_context(lone_worker()))
        behind = client_of("ours.client", stack.enter_context(cluster(2)))

        def p50(process: Process) -> Callable[[], float]:
            return lambda: float(process.do("round_trip", count=count)["p50_us"])

        sides = {
            "tcp": lambda: float(tcp.do("round_trip", size=EVENT.itemsize, count=count)["p50_us"]),
            "stock echo": p50(stock),
            "worker": p50(direct),
            "balancer": p50(behind),
        }
        samples = alternate(effort, "round trip", sides)

    def over(name: str, what: str, bound: float, ours: str, theirs: str) -> Figure:
        return compare(name, what, at_most(bound), samples, ours, theirs, microseconds)

    yield over("round-trip-tcp", "single-event round trip, client to worker, over TCP ping-pong", 1.5, "worker", "tcp")
    yield over("round-trip-stock", "the same over the stock echo", 0.6, "worker", "stock echo")
    yield over("round-trip-balancer", "the same through the balancer, over TCP ping-pong", 3.2, "balancer", "tcp")
