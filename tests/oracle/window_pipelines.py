"""Three pipelines with every kind of window, and an engine that is fed by batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np

from ringmill.engine.engine import Engine
from ringmill.engine.plan import WindowKind
from ringmill.pipeline import Event, Pipeline, count, hopping, ops, seconds, session, sliding, tumbling
from ringmill.v1.processing_pb2 import ProcessRequest
from tests.oracle.window_oracle import Oracle, Spec

UNIT_US = 1_000_000
EVENTS = 512


class Reading(Event):
    x: float


WINDOWS = {
    "tumbling": (tumbling(seconds=7), Spec(WindowKind.TIME, 7, 7)),
    "hopping": (hopping(seconds=9, every=seconds(3)), Spec(WindowKind.TIME, 9, 3)),
    "uneven": (hopping(seconds=10, every=seconds(4)), Spec(WindowKind.TIME, 10, 4)),
    "session": (session(seconds=3), Spec(WindowKind.SESSION, 3)),
    "sliding": (sliding(seconds=5, events=6), Spec(WindowKind.SLIDING, 5, events=6)),
    "count": (count(3), Spec(WindowKind.COUNT, 0, events=3)),
}


@dataclass(frozen=True)
class Case:
    """A pipeline and how late its events may be, in units."""

    name: str
    out_of_order: int
    lateness: int

    def make(self) -> Pipeline:
        late = {name: timedelta(0) if name == "count" else seconds(self.lateness) for name in WINDOWS}
        steps = {name: ops.sum("x").over(window, lateness=late[name]) for name, (window, _) in WINDOWS.items()}
        return Pipeline(
            self.name,
            version="1.0.0",
            event=Reading,
            steps={"seen": ops.count(), **steps},
            out_of_order=seconds(self.out_of_order),
        )

    def oracle(self) -> Oracle:
        return Oracle({name: spec for name, (_, spec) in WINDOWS.items()}, self.out_of_order, self.lateness)


CASES = [Case("patient", 3, 0), Case("correcting", 0, 5), Case("both", 2, 4)]


class Row(NamedTuple):
    """One emission as the engine gave it, in units of time; by: the number of the event among all that were fed."""

    by: int
    key: str
    start: float
    end: float
    revision: int
    value: float


def request_of(events: Sequence[tuple[str, int]], values: Sequence[float], prefix: str = "") -> bytes:
    request = ProcessRequest()
    for (key, time), value in zip(events, values, strict=True):
        request.events.add(key=prefix + key, time_us=time * UNIT_US, values=[value])
    return request.SerializeToString()


class Feed:
    """Feeds an engine, whose keys may have a prefix, so that one engine does for many streams."""

    def __init__(self, engine: Engine, prefix: str = "") -> None:
        self.engine = engine
        self.prefix = prefix
        self.fed = 0
        self.reasons: list[int] = []
        self.rows: dict[str, list[Row]] = {step.name: [] for _, step, _ in engine.compiled.plan.windows}

    def feed(self, events: Sequence[tuple[str, int]], values: Sequence[float]) -> "Feed":
        message = request_of(events, values, self.prefix)
        buffer = np.frombuffer(message, np.uint8)
        count, _ = self.engine.decode(buffer, 0, len(message))
        assert count == len(events)
        self.engine.apply(buffer, count)
        self.reasons += self.engine.columns.events["reason"][:count].tolist()
        emitted = self.engine.emissions
        names = list(self.rows)
        for place in range(emitted.counts[0]):
            head = emitted.heads[place]
            event = int(head["event"])
            start, end = (int(head[name]) / UNIT_US for name in ("start_us", "time_us"))
            row = Row(
                self.fed + event, events[event][0], start, end, int(head["revision"]), float(emitted.values[place, 0])
            )
            self.rows[names[int(head["emitter"])]].append(row)
        self.fed += count
        return self


def wanted_rows(oracle: Oracle, events: Sequence[tuple[str, int]], values: Sequence[float]) -> tuple[list[int], dict]:
    """What the oracle says, in the same form."""
    reasons, emitted = oracle.run(events)
    rows = {
        name: [
            Row(one.by, one.key, one.start, one.end, one.revision, float(sum(values[n] for n in one.content)))
            for one in some
        ]
        for name, some in emitted.items()
    }
    return [int(reason) for reason in reasons], rows
