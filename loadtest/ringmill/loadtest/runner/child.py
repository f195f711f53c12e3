"""A process that sends: it prepares a step, runs it when told the moment, and gives back what it measured."""

import gc
import os
import resource
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from ringmill.client.codec import load_codec
from ringmill.client.connection import LIMITS, call
from ringmill.client.schema import Schema
from ringmill.core.errors import Code, RingmillError
from ringmill.loadtest.peers import protocol
from ringmill.loadtest.runner import recording, rows
from ringmill.loadtest.runner.events import supplies
from ringmill.loadtest.runner.pacer import pacer
from ringmill.loadtest.runner.page import Page
from ringmill.loadtest.runner.scenario import Scenario, from_tables
from ringmill.loadtest.runner.sender import Sender
from ringmill.transport import make_loop
from ringmill.v1 import processing_pb2 as pb

INTERVALS_MAX = 200
PATIENCE_S = 10.0


def window_of(scenario: Scenario) -> rows.Window:
    """What is measured of a step, in intervals of at least 0.1 s."""
    load = scenario.load
    begin_ns, took_ns = int(load.warmup_seconds * 1e9), int(load.seconds * 1e9)
    interval_ns = max(100_000_000, -(-took_ns // INTERVALS_MAX // 100_000_000) * 100_000_000)
    return rows.Window(begin_ns, begin_ns + took_ns, interval_ns)


class Child:
    """The steps of one process."""

    def __init__(self) -> None:
        self._loop = make_loop()
        self._sender: Sender
        self._scenario: Scenario
        self._page: Page
        self._described: Schema | None = None
        self._parent = os.getppid()

    def prepare(self, scenario: dict[str, Any], rate: float, process: int, page: str) -> protocol.Answer:
        """Draws the events and their moments, and opens the streams."""
        self._scenario = made = from_tables(scenario)
        self._page = Page(page)
        load, address = made.load, made.target.address
        load_codec()
        channel = self._loop.channel(address, None, LIMITS)
        request = pb.DescribePipelineRequest(pipeline=made.target.pipeline).SerializeToString()
        answer = call(self._loop, channel, "DescribePipeline", request, address, (), PATIENCE_S)
        schema = Schema.of(made.target.pipeline, pb.DescribePipelineResponse.FromString(answer))
        mine = range(process, load.streams, load.processes)
        if made.recording.file:
            given, keys = recording.supplies(made, schema, recording.read(made.recording), process, mine)
        else:
            given, keys = supplies(made, schema, rate, process, mine)
        self._sender = Sender(self._loop, channel, made, time.monotonic_ns, PATIENCE_S)
        self._sender.open(schema, given)
        gc.collect()
        gc.freeze()  # what was drawn is never looked through again
        return {"version": schema.version, "digest": schema.digest, "keys": keys}

    def run(self, begin_ns: int) -> protocol.Answer:
        """Sends, from a moment of the clock that all processes of a machine share."""
        sender, page = self._sender, self._page
        cpu_s = time.process_time()
        gc.disable()
        try:
            with pacer(self._loop) as pace:
                sender.run(begin_ns, pace.call_at, self._watch)
        finally:
            gc.enable()
        took_s = time.monotonic() - begin_ns / 1e9
        cpu_s = time.process_time() - cpu_s
        sender.close()
        tally = rows.Tally(window_of(self._scenario))
        for stream in sender.streams:
            tally.add(stream.rows(), sender.closed_ns)
        feeds = [stream.feed for stream in sender.streams]
        failures = Counter(f"{each.error.code.name}: {each.error.message}" for each in feeds if each.error is not None)
        return tally.report() | {
            "stopped": page.stopped,
            "messages": sum(len(each.answers) // 3 for each in feeds),
            "answered_events": sum(each.answered for each in feeds),
            "rejections": dict(sum((each.rejections for each in feeds), Counter[str]())),
            "failures": dict(failures),
            "cpu_share": cpu_s / max(took_s, 1e-9),
            "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }

    def _watch(self, sender: Sender) -> bool:
        """Tells how far it has come; it ends when it is to stop, or when nobody is left to hear of it."""
        feeds = [stream.feed for stream in sender.streams]
        now_ns = sender.now()
        self._page.tell(
            handed=sum(each.handed for each in feeds),
            answered=sum(each.answered for each in feeds),
            rejected=sum(each.rejections.total() for each in feeds),
            waiting_ns=max(stream.waiting_ns(now_ns) for stream in sender.streams),
        )
        return not self._page.stopped and os.getppid() == self._parent


def _told(command: Callable[..., protocol.Answer]) -> Callable[..., protocol.Answer]:
    """Has an error be an answer."""

    def run(**arguments: Any) -> protocol.Answer:
        try:
            return command(**arguments)
        except RingmillError as error:
            return {"error": error.message, "code": int(error.code)}
        except (TypeError, ValueError) as error:  # columns that the pipeline does not take
            return {"error": str(error), "code": int(Code.INVALID_ARGUMENT)}

    return run


def main() -> None:
    """Obeys until stdin closes. Commands: those of Child."""
    child = Child()
    protocol.obey({"prepare": _told(child.prepare), "run": _told(child.run)})
