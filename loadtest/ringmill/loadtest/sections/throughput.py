"""Many events: how many a second, against what does the same work and against what does none."""

import contextlib
import shutil
from collections.abc import Callable, Iterator

from ringmill.loadtest.measure import Effort, Figure, Goal, Unavailable, alternate, at_least, compare, each_second
from ringmill.loadtest.processes import Process, Service, cluster, lone_worker, peer, peer_service

BATCH = 4096
KEYS = 100_000
IN_FLIGHT = 4
_BATCHES = 1500
_HAND_BATCHES = 60
_REDIS_EVENTS = 300_000
_REDIS_SHAPES = tuple((size, in_flight) for size in (16, 32, 64, 256) for in_flight in (4, 16))
"""Events a call and calls in flight that are tried; the fastest is compared."""
_MESSAGES = 40_000

Side = Callable[[], float]


def messages(effort: Effort) -> Iterator[Figure]:
    """One-event messages on one stream."""
    count = effort.amount(_MESSAGES)
    with (
        peer_service("stock.echo_server") as stock_echo,
        peer_service("ours.echo_server") as our_echo,
        lone_worker() as worker,
        peer("stock.client", stock_echo.address) as stock,
        peer("ours.client", our_echo.address) as transport,
        peer("ours.client", worker.address) as ours,
    ):
        sides = {
            "stock echo": lambda: _messages_s(stock, count // 4, 1),
            "our echo": lambda: _messages_s(transport, count, 1),
            "worker": lambda: _messages_s(ours, count, 1),
        }
        samples = alternate(effort, "one-event messages", sides)
    what = "one-event messages/s on one stream, 64 in flight, over the stock echo"
    yield compare("messages-stock", what, at_least(4), samples, "worker", "stock echo", each_second)
    what = "of which the transport alone: an echo on ours over the stock echo"
    yield compare("messages-transport", what, None, samples, "our echo", "stock echo", each_second)


def _messages_s(process: Process, count: int, size: int) -> float:
    in_flight = 64 if size == 1 else IN_FLIGHT
    return float(process.do("stream", count=count, size=size, key_count=KEYS, in_flight=in_flight)["messages_s"])


def batches(effort: Effort) -> Iterator[Figure]:
    """Batches of 4,096 events through every contender."""
    with contextlib.ExitStack() as stack:

        def side(kind: str, service: Service, full: int) -> Side:
            process = stack.enter_context(peer(kind, service.address))
            count = effort.amount(full)
            return lambda: BATCH * _messages_s(process, count, BATCH)

        enter = stack.enter_context
        sides: dict[str, Side] = {
            "worker": side("ours.client", enter(lone_worker()), _BATCHES),
            "stock echo": side("stock.client", enter(peer_service("stock.echo_server")), _BATCHES),
            "hand-written": side("stock.client", enter(peer_service("stock.hand_written_server")), _HAND_BATCHES),
            "balancer": side("ours.client", enter(cluster(2)), _BATCHES),
        }
        samples = alternate(effort, "batches", sides)

    def over(name: str, what: str, goal: Goal, ours: str, theirs: str) -> Figure:
        return compare(name, what, goal, samples, ours, theirs, each_second)

    what = f"events/s client to one worker, {BATCH:,}-event batches, {KEYS:,} keys, EWMA + z-score, over the stock echo"
    yield over("events-stock", what, at_least(1.0), "worker", "stock echo")
    what = "the same over a hand-written grpc.aio server"
    yield over("events-hand-written", what, at_least(40), "worker", "hand-written")
    what = "events/s through the balancer to two workers, mixed keys, over direct to one"
    yield over("events-balancer", what, at_least(0.5), "balancer", "worker")


def redis(effort: Effort) -> Iterator[Figure]:
    """The same work in Lua: as one would write it first, and tuned."""
    program = shutil.which("redis-server")
    if program is None:
        raise Unavailable("redis-server is not installed (Debian: apt install redis-server)")
    with contextlib.ExitStack() as stack:
        sides: dict[str, Side] = {}
        shapes: dict[str, tuple[int, int]] = {}
        for script in ("hash", "packed"):
            server = stack.enter_context(peer("redis.server", program))
            process = stack.enter_context(peer("redis.client", server.ready["address"], script))
            effort.tell(f"redis: looking for the fastest batches ({script})")
            shapes[script] = max(_REDIS_SHAPES, key=lambda shape: _redis_events_s(process, effort, *shape))
            sides[script] = _redis_side(process, effort, *shapes[script])
        worker = stack.enter_context(lone_worker())
        ours = stack.enter_context(peer("ours.client", worker.address))
        count = effort.amount(_BATCHES)
        sides["worker"] = lambda: BATCH * _messages_s(ours, count, BATCH)
        samples = alternate(effort, "redis", sides)
    for name, script, told in (
        ("events-redis", "packed", "tuned (packed strings, MGET and MSET)"),
        ("events-redis-hash", "hash", "a hash for each key (HMGET and HSET)"),
    ):
        size, in_flight = shapes[script]
        what = f"events/s over Redis with Lua, {told}; its best batches: {size} events, {in_flight} in flight"
        yield compare(name, what, at_least(70), samples, "worker", script, each_second)


def _redis_side(process: Process, effort: Effort, size: int, in_flight: int) -> Side:
    return lambda: _redis_events_s(process, effort, size, in_flight)


def _redis_events_s(process: Process, effort: Effort, size: int, in_flight: int) -> float:
    count = max(1, effort.amount(_REDIS_EVENTS) // size)
    return float(process.do("stream", count=count, size=size, key_count=KEYS, in_flight=in_flight)["events_s"])
