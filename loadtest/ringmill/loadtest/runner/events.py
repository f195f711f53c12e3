"""The events of one process, as columns that its streams go through again and again. Pure."""

from dataclasses import dataclass

import numpy as np

from ringmill.client.columns import EventColumns, event_columns
from ringmill.client.schema import Schema
from ringmill.loadtest.runner import fields
from ringmill.loadtest.runner.arrivals import Moments, due_moments
from ringmill.loadtest.runner.keys import key_names, key_numbers
from ringmill.loadtest.runner.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Supply:
    """What one stream sends."""

    ring: EventColumns
    """Its events, which it goes through again and again."""
    first: int
    """Where it begins."""
    due_ns: Moments
    """When its arrivals are due; of a closed loop nothing."""


RING_MAX = 1 << 20
"""Events that are drawn beforehand: some 60 bytes each."""


def make_ring(scenario: Scenario, schema: Schema, process: int, wanted: int) -> tuple[EventColumns, int]:
    """Up to RING_MAX events of a process, and how many keys they have. Their times are unset: the server's clock.

    wanted: how many are to be sent; of a closed loop nobody knows, 0. Raises ScenarioError for fields that the
    pipeline does not have.
    """
    count = min(wanted, RING_MAX) or RING_MAX // 4
    rng = np.random.default_rng((20, scenario.load.seed, process))
    numbers = key_numbers(scenario.keys, rng, count)
    values = fields.columns(schema, scenario.fields, rng, count)
    return event_columns(schema, key_names(scenario.keys, numbers), None, values), int(np.unique(numbers).size)


def supplies(scenario: Scenario, schema: Schema, rate: float, process: int, streams: range) -> tuple[list[Supply], int]:
    """What each of these streams sends, and how many keys they have: they share a ring, and begin at places of it."""
    load = scenario.load
    due: list[Moments] = [np.empty(0, np.int64) for _ in streams]
    if load.loop == "open":
        due = [due_moments(load, rate, stream) for stream in streams]
    ring, keys = make_ring(scenario, schema, process, sum(each.size for each in due) * max(1, load.batch))
    return [Supply(ring, place * len(ring) // len(due), due_ns) for place, due_ns in enumerate(due)], keys
