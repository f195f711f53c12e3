"""Values of events' fields, drawn by a rule for each field. Pure.

A rule is a table of one entry: `{ normal = [20.0, 5.0] }`, `{ uniform = [0.0, 1.0] }`, `{ integers = [0, 9] }`,
`{ choice = ["a", "b"] }`, `{ value = 3 }`, or `{ column = "delay" }` of a recording.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ringmill.client.schema import BOOL, DOUBLE, LABEL, Column, Schema
from ringmill.loadtest.runner.settings import ScenarioError, check_names

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Rule:
    """How a field's values are drawn."""

    kind: str
    arguments: tuple[Any, ...]

    def table(self) -> dict[str, Any]:
        """The rule as it is written in a scenario."""
        return {self.kind: self.arguments[0] if self.kind in _SINGLE else list(self.arguments)}

    def draw(self, rng: Rng, count: int) -> npt.NDArray[Any]:
        """`count` values."""
        if self.kind == "choice":
            return np.array(self.arguments)[rng.integers(0, len(self.arguments), count)]
        return np.asarray(_DRAWS[self.kind](rng, count, *self.arguments))


_DRAWS: dict[str, Callable[..., Any]] = {
    "normal": lambda rng, count, mean, deviation: rng.normal(mean, deviation, count),
    "uniform": lambda rng, count, low, high: rng.uniform(low, high, count),
    "integers": lambda rng, count, low, high: rng.integers(low, high, count, endpoint=True),
    "value": lambda _rng, count, value: np.full(count, value),
}
KINDS = (*_DRAWS, "choice", "column")
_SINGLE = ("value", "column")
"""Rules of one argument, which is no list."""


def read_rule(name: str, table: Any) -> Rule:
    """Reads a rule. name: of the field, for messages. Raises ScenarioError."""
    if not isinstance(table, Mapping) or len(table) != 1:
        raise ScenarioError(f"{name} must be a table of one rule, such as {{ normal = [20.0, 5.0] }}, not {table!r}")
    check_names(name, table, KINDS)
    ((kind, given),) = table.items()
    if kind == "value":
        if not isinstance(given, str | int | float):
            raise ScenarioError(f"{name}.value must be one value, not {given!r}")
        return Rule(kind, (given,))
    if kind == "column":
        if not isinstance(given, str):
            raise ScenarioError(f"{name}.column must be a column's name, not {given!r}")
        return Rule(kind, (given,))
    if not isinstance(given, list) or not given:
        raise ScenarioError(f"{name}.{kind} must be a list, not {given!r}")
    if kind == "choice":
        if len({isinstance(each, str) for each in given}) > 1 or not all(
            isinstance(e, str | int | float) for e in given
        ):
            raise ScenarioError(f"{name}.choice must hold texts alone or numbers alone, not {given!r}")
        return Rule(kind, tuple(given))
    return Rule(kind, _two_numbers(name, kind, given))


def _two_numbers(name: str, kind: str, given: list[Any]) -> tuple[Any, ...]:
    if len(given) != 2 or not all(isinstance(e, int | float) and not isinstance(e, bool) for e in given):
        what = "mean and deviation" if kind == "normal" else "lowest and highest"
        raise ScenarioError(f"{name}.{kind} must be two numbers, {what}, not {given!r}")
    low, high = given
    if kind == "integers" and (low != int(low) or high != int(high)):
        raise ScenarioError(f"{name}.integers must be two whole numbers, not {given!r}")
    if (kind != "normal" and low > high) or (kind == "normal" and high < 0):
        what = "a deviation below 0" if kind == "normal" else "its lowest above its highest"
        raise ScenarioError(f"{name}.{kind} has {what}: {given!r}")
    return tuple(given)


def columns(
    schema: Schema,
    rules: Mapping[str, Rule],
    rng: Rng,
    count: int,
    recorded: Mapping[str, npt.NDArray[Any]] | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """A column of values for each field of the pipeline. Raises ScenarioError for a rule without a field.

    recorded: columns of a recording; a field takes the one of its name, unless a rule says otherwise.
    """
    check_names("fields", dict(rules), [field.name for field in schema.fields])
    table = recorded or {}
    found = {}
    for field in schema.fields:
        rule = rules.get(field.name) or (Rule("column", (field.name,)) if field.name in table else _usual(field))
        if rule.kind != "column":
            found[field.name] = rule.draw(rng, count)
            continue
        name = rule.arguments[0]
        if name not in table:
            there_is = f"; there is: {', '.join(table)}" if table else ": nothing is recorded"
            raise ScenarioError(f"fields.{field.name} has no column {name!r}{there_is}")
        found[field.name] = table[name]
    return found


def _usual(field: Column) -> Rule:
    """What a field of this kind gets when nothing is said of it."""
    if field.kind == DOUBLE:
        return Rule("normal", (20.0, 5.0))
    if field.kind == LABEL:
        return Rule("choice", ("a", "b", "c", "d"))
    return Rule("integers", (0, 1 if field.kind == BOOL else 100))
