"""Turns a compiler's complaint about an operator into one line for its author: where, what is wrong, what to write."""

import re
from collections.abc import Iterator
from typing import Any

import numba
from numba import types
from numba.core import ir
from numba.core.errors import NumbaError

from ringmill.core.errors import Code, RingmillError
from ringmill.engine.fuse import compiled_constant
from ringmill.engine.link import MISMATCH, spoken
from ringmill.engine.plan import Kind, Plan, Read, StepPlan

_FIELD_TYPES = {
    Kind.DOUBLE: types.float64,
    Kind.INTEGER: types.int64,
    Kind.BOOL: types.boolean,
    Kind.LABEL: types.uint64,
}


def explain(plan: Plan, event_class: Any, problem: NumbaError) -> RingmillError:
    """The error of the first step that does not compile by itself; otherwise of the whole."""
    fields = [types.int64, types.uint64, *(_FIELD_TYPES[field.kind] for field in plan.fields)]
    event = types.NamedTuple(fields, event_class)
    for step in plan.steps:
        arguments = [
            types.float64 if isinstance(argument, Read) else numba.typeof(compiled_constant(argument))
            for argument in step.arguments
        ]
        try:
            _dispatcher(step).compile((numba.from_dtype(step.state), event, *arguments))
        except NumbaError as found:
            return translate(step, found)
    return translate(plan.steps[0], problem) if len(plan.steps) == 1 else _error(plan.steps[0].place, str(problem))


def _dispatcher(step: StepPlan) -> Any:
    return step.function


def _error(place: str, message: str) -> RingmillError:
    return RingmillError(Code.INVALID_ARGUMENT, f"{place}: {message}")


def translate(step: StepPlan, problem: NumbaError) -> RingmillError:
    """One readable line from one of Numba's errors."""
    return _error(step.place, str(problem))


def check_states(plan: Plan) -> None:
    """Refuses steps that store a float in an integer of the state: the compiler would silently drop the fraction."""
