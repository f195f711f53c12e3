"""The events of one process, as columns that its streams go through again and again. Pure."""

import numpy as np

from ringmill.client.columns import EventColumns, event_columns
from ringmill.client.schema import Schema
from ringmill.loadtest.runner import fields
from ringmill.loadtest.runner.keys import key_names, key_numbers
from ringmill.loadtest.runner.scenario import Scenario

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
