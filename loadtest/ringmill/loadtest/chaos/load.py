"""Producers that write histories without end, through the public client, and keep a record of each event.

Whatever breaks, the client is to resume by itself; a call that fails nevertheless leaves its events in doubt.
"""

import threading
import time
from collections import Counter
from typing import Any

import numpy as np

from ringmill.client import Client, ClientError, Reason, Result
from ringmill.client.outcome import reason_name
from ringmill.loadtest.chaos.records import RECORD, Fate, Records
from ringmill.loadtest.peers import protocol

PIPELINE = "history"
PATIENCE_S = 60.0
"""How long a client waits for outcomes, and for a balancer to come back."""
_PAUSE_S = 0.05
"""After a call that failed."""
_LATE_S = 0.5
"""A producer that is later than this does not catch up."""


def key_names(count: int) -> Any:
    """The names of keys, by number."""
    return np.array([f"key-{number:06d}" for number in range(count)])


def now_ns(origin_ns: int) -> int:
    """Nanoseconds since the run began, on the clock that all processes of a machine share."""
    return time.monotonic_ns() - origin_ns


def fates(reasons: Any) -> Any:
    """uint8[n]: the fate that each rejection's reason tells; 0 is none."""
    found = np.full(len(reasons), Fate.REFUSED, np.uint8)
    found[reasons == Reason.NONE] = Fate.PLACED
    found[reasons == Reason.ALREADY_APPLIED] = Fate.UNPLACED
    return found


def refusals(reasons: Any) -> Counter[str]:
    """How often each reason was given."""
    return Counter(f"rejected {reason_name(reason)}" for reason in reasons[reasons != Reason.NONE].tolist())


class Producer:
    """One named producer. Its events are numbered in the order in which it sends them."""

    def __init__(self, address: str, number: int, name: str, origin_ns: int, batch_events: int) -> None:
        self.number = number
        self.failures: Counter[str] = Counter()
        self._client = Client(
            address, PIPELINE, name, batch_events_max=batch_events, timeout_s=PATIENCE_S, retry_s=PATIENCE_S
        )
        self._origin_ns = origin_ns
        self._sequence = 0
        self._lock = threading.Lock()
        self._rows: list[Records] = []
        self._since_ns: int | None = None

    def send(self, names: Any, keys: Any) -> bool:
        """Sends one event for each key number, and waits until all are answered; False if the call failed."""
        rows = np.zeros(len(keys), RECORD)
        rows["key"], rows["producer"] = keys, self.number
        rows["sequence"] = self._sequence + np.arange(1, len(keys) + 1)
        self._sequence += len(keys)
        self._since_ns = now_ns(self._origin_ns)
        rows["sent_ns"] = self._since_ns
        rows["fate"] = Fate.DOUBT
        try:
            result = self._client.process(names[keys], None, producer=self.number, sequence=rows["sequence"])
        except ClientError as error:
            self.failures[f"{error.code.name}: {error.message}"] += 1
            answered = False
        else:
            answered = True
            _fill(rows, result)
            self.failures.update(refusals(result.reasons))
        rows["answered_ns"] = now_ns(self._origin_ns)
        with self._lock:
            self._rows.append(rows)
            self._since_ns = None
        return answered

    def take(self) -> tuple[list[Records], int | None]:
        """Records since the last time, and since when a call is unanswered."""
        with self._lock:
            rows, self._rows = self._rows, []
            return rows, self._since_ns

    def close(self) -> None:
        """Ends the stream."""
        self._client.close()


def _fill(rows: Records, result: Result) -> None:
    rows["count"], rows["digest"] = result["place.length"], result["place.digest"]
    rows["fate"] = fates(result.reasons)


class Load:
    """Producers in threads that write at a common pace to common keys."""

    def __init__(
        self,
        address: str,
        run: str,
        origin_ns: int,
        keys: int,
        producers: int,
        batch_events: int,
        batches: int,
        events_s: float,
        seed: int,
    ) -> None:
        """keys: written by all; the probe's keys follow. run: makes the producers' names new.

        batch_events, batches: of one call; several batches are on their way at once.
        """
        self._origin_ns = origin_ns
        self._names = key_names(keys)
        self._call_events = batch_events * batches
        self._events_s = events_s
        self._seed = seed
        self._stopping = threading.Event()
        self._producers = [
            Producer(address, number, f"{run}-{number}", origin_ns, batch_events) for number in range(producers)
        ]
        self._threads = [threading.Thread(target=self._write, args=(each,), daemon=True) for each in self._producers]
        # The first call loads the client's codec, which the others then share.
        self._producers[0].send(self._names, np.arange(1))
        for thread in self._threads:
            thread.start()

    def pace(self, events_s: float) -> protocol.Answer:
        """Changes the rate of all producers together; 0: they wait."""
        self._events_s = events_s
        return {}

    def flush(self, path: str) -> protocol.Answer:
        """Saves the records since the last time: together, of all events that were sent before `settled_ns`."""
        settled_ns = now_ns(self._origin_ns)
        taken: list[Records] = []
        for producer in self._producers:
            rows, since_ns = producer.take()
            taken += rows
            settled_ns = settled_ns if since_ns is None else min(settled_ns, since_ns)
        np.save(path, np.concatenate(taken) if taken else np.empty(0, RECORD))
        failures = sum((producer.failures for producer in self._producers), Counter[str]())
        return {"settled_ns": settled_ns, "failures": dict(failures)}

    def finish(self, path: str, keys: int) -> protocol.Answer:
        """Waits until all is answered, writes once more to every key, the probe's too, and saves the records."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)
        names = key_names(keys)
        for piece in np.array_split(np.arange(keys), -(-keys // self._call_events)):
            if not self._producers[0].send(names, piece):
                break  # nobody serves any more
        answer = self.flush(path)
        for producer in self._producers:
            producer.close()
        return answer

    def _write(self, producer: Producer) -> None:
        rng = np.random.default_rng((self._seed, producer.number))
        due_s = time.monotonic() + rng.random() * 0.1
        while not self._stopping.is_set():
            pause_s = due_s - time.monotonic()
            if pause_s > 0 or not self._events_s:
                self._stopping.wait(min(pause_s, 0.1) if pause_s > 0 else 0.1)
                continue
            if not producer.send(self._names, rng.integers(0, len(self._names), self._call_events)):
                self._stopping.wait(_PAUSE_S)
            due_s += self._call_events * len(self._producers) / (self._events_s or 1.0)
            due_s = max(due_s, time.monotonic() - _LATE_S)


def main(**settings: Any) -> None:
    """Loads a cluster until stdin closes. Commands: those of Load."""
    load = Load(**settings)
    protocol.obey({"pace": load.pace, "flush": load.flush, "finish": load.finish})
