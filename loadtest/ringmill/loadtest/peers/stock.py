"""What a Python user has today: grpc.aio on uvloop with gRPC's default poller, at both ends.

The echo does no work at all. The hand-written server does the bench's work the way its users would write it: official
Protobuf classes and a dict of Python floats.
"""

import asyncio
import itertools
import math
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter_ns
from typing import Any

import grpc
import grpc.aio
import numpy as np
import uvloop

from ringmill.loadtest import workload
from ringmill.loadtest.peers import protocol
from ringmill.v1.processing_pb2 import ProcessRequest, ProcessResponse

_AIO: Any = grpc.aio
"""Untyped: the published stubs lack EOF and the reading and writing half of a call."""

METHOD = "/ringmill.v1.ProcessingService/Process"
_OPTIONS = [
    ("grpc.optimization_target", "latency"),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
]
_ALPHA = 0.1

Handler = Callable[[Any, Any], Awaitable[None]]


async def _echo(_: Any, context: Any) -> None:
    while (message := await context.read()) is not _AIO.EOF:
        await context.write(message)


class Sensor:
    """Running figures of one key."""

    __slots__ = ("count", "ewma", "m2", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.m2 = 0.0
        self.ewma = 0.0

    def add(self, temperature: float, humidity: float) -> tuple[float, float]:
        """Returns the EWMA of the humidity and the z-score of the temperature."""
        self.ewma = humidity if self.count == 0 else self.ewma + _ALPHA * (humidity - self.ewma)
        self.count += 1
        delta = temperature - self.mean
        self.mean += delta / self.count
        self.m2 += delta * (temperature - self.mean)
        deviation = math.sqrt(self.m2 / self.count)
        return self.ewma, (temperature - self.mean) / deviation if deviation > 0.0 else math.nan


class HandWritten:
    """A user's own servicer."""

    def __init__(self) -> None:
        self._sensors: dict[str, Sensor] = {}

    async def process(self, _: Any, context: Any) -> None:
        """Answers each request with one outcome for each event."""
        while (request := await context.read()) is not _AIO.EOF:
            response = ProcessResponse(sequence=request.sequence)
            for event in request.events:
                sensor = self._sensors.get(event.key)
                if sensor is None:
                    sensor = self._sensors[event.key] = Sensor()
                response.outcomes.add(values=sensor.add(*event.values))
            await context.write(response)


def echo_server() -> None:
    """Echoes raw bytes."""
    uvloop.run(_serve(grpc.stream_stream_rpc_method_handler(_echo)))


def hand_written_server() -> None:
    """Serves what a user would write."""
    handler = grpc.stream_stream_rpc_method_handler(
        HandWritten().process,
        request_deserializer=ProcessRequest.FromString,
        response_serializer=ProcessResponse.SerializeToString,
    )
    uvloop.run(_serve(handler))


async def _serve(handler: Any) -> None:
    server = _AIO.server(options=_OPTIONS)
    service, _, method = METHOD[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    protocol.say({"ready": True, "address": f"127.0.0.1:{port}"})
    await ended.wait()
    await server.stop(None)


class Client:
    """One stream, driven by grpc.aio's read and write."""

    def __init__(self, address: str) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._runner.run(self._open(address))

    async def _open(self, address: str) -> None:
        self._channel = _AIO.insecure_channel(address, options=_OPTIONS)
        await self._channel.channel_ready()
        self._call = self._channel.stream_stream(METHOD)()

    def round_trip(self, count: int) -> protocol.Answer:
        """Times one-event messages, one at a time."""
        return self._runner.run(self._round_trip(workload.messages(64, 1, 1000), count))

    async def _round_trip(self, messages: list[bytes], count: int) -> protocol.Answer:
        took = np.empty(count, np.int64)
        for i in range(count):
            began = perf_counter_ns()
            await self._call.write(messages[i % 64])
            await self._call.read()
            took[i] = perf_counter_ns() - began
        return {"p50_us": float(np.median(took)) / 1e3, "p99_us": float(np.percentile(took, 99)) / 1e3}

    def stream(self, count: int, size: int, key_count: int, in_flight: int) -> protocol.Answer:
        """Sends `count` messages of `size` events with up to `in_flight` unanswered."""
        return self._runner.run(self._stream(workload.messages(64, size, key_count), count, in_flight))

    async def _stream(self, messages: list[bytes], count: int, in_flight: int) -> protocol.Answer:
        supply = itertools.cycle(messages)
        room = asyncio.Semaphore(in_flight)
        began = perf_counter_ns()

        async def write() -> None:
            for _ in range(count):
                await room.acquire()
                await self._call.write(next(supply))

        writer = asyncio.create_task(write())
        for _ in range(count):
            await self._call.read()
            room.release()
        await writer
        return {"messages_s": count / (perf_counter_ns() - began) * 1e9}


def client(address: str) -> None:
    """Measures a stock server."""
    made = Client(address)
    protocol.obey({"round_trip": made.round_trip, "stream": made.stream})
