"""Single events at a fixed rate, on a stream for each key: what a caller of that key notices of a failure, and when.

Answers of one stream come in the order of its requests, so a stream for each key keeps one key's pause from the others.
The streams have no producer's name and use no client of ours: one that breaks leaves its events in doubt.
"""

import json
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np

from ringmill.loadtest.chaos.load import PIPELINE, fates, key_names, now_ns, refusals
from ringmill.loadtest.chaos.records import RECORD, Fate
from ringmill.loadtest.peers import protocol
from ringmill.transport import make_loop
from ringmill.transport.api import Channel, Loop, Status
from ringmill.v1.processing_pb2 import Event, ProcessRequest, ProcessResponse

METHOD = "/ringmill.v1.ProcessingService/Process"
UNANSWERED_MAX = 48
"""A stream that has so many unanswered sends no more until one is answered."""
_TICK_S = 0.002
_REDIAL_S = 0.02


class ProbeStream:
    """One key's stream."""

    def __init__(self, probe: "Probe", key: int, producer: int, name: str) -> None:
        self.breaks = 0
        """Times that the stream broke."""
        self.unanswered: deque[tuple[int, int]] = deque()
        """Sequence and moment of what was sent, oldest first."""
        self._probe = probe
        self._key = key
        self._producer = producer
        self._name = name
        self._sequence = 0
        self._opened = False
        self._open()

    def _open(self) -> None:
        self._opened = False
        self._stream = self._probe.channel.open(METHOD, self)
        self._stream.send(ProcessRequest(pipeline=PIPELINE).SerializeToString())

    def send(self) -> None:
        """Sends an event that is due; not before the stream is open."""
        if not self._opened or len(self.unanswered) >= UNANSWERED_MAX:
            return
        self._sequence += 1
        event = Event(key=self._name, integers=[self._producer, self._sequence])
        message = ProcessRequest(events=[event]).SerializeToString()
        self.unanswered.append((self._sequence, self._probe.now_ns()))
        self._stream.send(message)

    def on_message(self, message: bytes) -> None:
        """Hears the answer to the opening, or to the oldest event."""
        if not self._opened:
            self._opened = True
            return
        outcome = ProcessResponse.FromString(message).outcomes[0]
        fate = int(fates(np.array([outcome.rejection.reason]))[0])
        length, digest = outcome.integers if fate == Fate.PLACED else (0, 0)
        sequence, sent_ns = self.unanswered.popleft()
        self._probe.failures.update(refusals(np.array([outcome.rejection.reason])))
        self._note(sequence, length, digest, sent_ns, fate)

    def on_drain(self) -> None:
        """Nothing waits to be sent."""

    def on_half_close(self) -> None:
        """Comes on servers only."""

    def on_close(self, status: Status) -> None:
        """The stream broke: whatever it has not answered is in doubt. Dials again."""
        self.breaks += 1
        self._opened = False
        while self.unanswered:
            sequence, sent_ns = self.unanswered.popleft()
            self._note(sequence, 0, 0, sent_ns, Fate.DOUBT)
        self._probe.note_break(status)
        if not self._probe.finished:
            self._probe.loop.call_later(_REDIAL_S, self._open)

    def finish(self) -> None:
        """Ends the stream once everything is answered."""
        self._stream.finish()

    def _note(self, sequence: int, length: int, digest: int, sent_ns: int, fate: int) -> None:
        answered_ns = self._probe.now_ns()
        self._probe.rows.append((self._key, self._producer, sequence, length, digest, sent_ns, answered_ns, fate))


class Probe:
    """Streams for keys, and the clock that sends their events."""

    def __init__(
        self, address: str, origin_ns: int, first_key: int, keys: int, first_producer: int, interval_ms: float
    ) -> None:
        """Probes keys first_key to keys - 1, each as a producer of its own, from first_producer on."""
        self.loop: Loop = make_loop()
        self.channel: Channel = self.loop.channel(address)
        self.rows: list[tuple[int, ...]] = []
        self.finished = False
        self.failures: Counter[str] = Counter()
        """How streams ended, and why events were rejected."""
        self._origin_ns = origin_ns
        self._interval_ns = int(interval_ms * 1e6)
        names = key_names(keys)
        self._streams = [
            ProbeStream(self, key, first_producer + place, str(names[key]))
            for place, key in enumerate(range(first_key, keys))
        ]
        # They send in turn, not all at once.
        began_ns = self.now_ns()
        self._due_ns = [
            began_ns + place * self._interval_ns // len(self._streams) for place in range(len(self._streams))
        ]
        self._tick()

    def now_ns(self) -> int:
        """Nanoseconds since the run began."""
        return now_ns(self._origin_ns)

    def note_break(self, status: Status) -> None:
        """Counts how streams ended."""
        if not self.finished:
            told = f"{status.code.name}: {status.details}"
            self.failures[told] += 1

    def _tick(self) -> None:
        if self.finished:
            return
        at_ns = self.now_ns()
        for place, stream in enumerate(self._streams):
            if at_ns >= self._due_ns[place]:
                stream.send()
                late = (at_ns - self._due_ns[place]) // self._interval_ns
                self._due_ns[place] += (1 + late) * self._interval_ns
        self.loop.call_later(_TICK_S, self._tick)

    def flush(self, path: str) -> protocol.Answer:
        """Saves the records since the last time: together, of all events that were sent before `settled_ns`."""
        settled_ns = self.now_ns()
        for stream in self._streams:
            if stream.unanswered:
                settled_ns = min(settled_ns, stream.unanswered[0][1])
        np.save(path, np.array(self.rows, RECORD))
        self.rows.clear()
        return {"settled_ns": settled_ns, "failures": self.failures}

    def rest(self) -> protocol.Answer:
        """Sends no more."""
        self.finished = True
        return {"unanswered": sum(len(stream.unanswered) for stream in self._streams)}

    def finish(self, path: str) -> protocol.Answer:
        """Ends the streams; what is still unanswered is in doubt."""
        self.finished = True
        for stream in self._streams:
            while stream.unanswered:
                sequence, sent_ns = stream.unanswered.popleft()
                stream._note(sequence, 0, 0, sent_ns, Fate.DOUBT)
        answer = self.flush(path)
        for stream in self._streams:
            stream.finish()
        return answer


def main(**settings: Any) -> None:
    """Probes a cluster until stdin closes. Commands: those of Probe."""
    probe = Probe(**settings)
    commands: dict[str, Callable[..., protocol.Answer]] = {
        "flush": probe.flush,
        "rest": probe.rest,
        "finish": probe.finish,
    }

    def obey(line: str) -> None:
        order = json.loads(line)
        protocol.say(commands[order.pop("do")](**order))

    def listen() -> None:
        for line in sys.stdin:
            probe.loop.call_soon(lambda line=line: obey(line))  # type: ignore[misc]
        probe.loop.stop()

    protocol.say({"ready": True})
    threading.Thread(target=listen, daemon=True).start()
    probe.loop.run()
