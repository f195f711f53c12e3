"""Reads tables of settings into dataclasses, and says what is wrong with them in a user's words. Pure."""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar

from ringmill.core.errors import Code, RingmillError

Table = Mapping[str, Any]
T = TypeVar("T")


class ScenarioError(RingmillError):
    """A scenario that cannot be run; the message names the setting."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, message)


def setting(
    default: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    among: Iterable[str] = (),
) -> Any:
    """A setting with its default, whose type is the setting's own, and its bounds. A tuple holds numbers."""
    return field(default=default, metadata={"above": above, "least": least, "most": most, "among": tuple(among)})


def read(kind: type[T], name: str, table: Any) -> T:
    """Makes a dataclass of `setting`s from a table. name: of the table, for messages. Raises ScenarioError."""
    if not isinstance(table, Mapping):
        raise ScenarioError(f"{name} must be a table, not {table!r}")
    known = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]  # all kinds here are dataclasses
    check_names(name, table, known)
    return kind(**{key: _value(known[key], f"{name}.{key}", value) for key, value in table.items()})


def check_names(name: str, table: Table, known: Iterable[str]) -> None:
    """Raises ScenarioError for the first name that is not known, and tells the nearest one."""
    known = list(known)
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(known)}"
            raise ScenarioError(f"{name} has no setting {key!r}; {hint}")


def _value(spec: "Field[Any]", name: str, value: Any) -> Any:
    default = spec.default
    assert default is not MISSING  # every setting has one
    if isinstance(default, tuple):
        several = value if isinstance(value, list | tuple) else [value]
        if not several:
            raise ScenarioError(f"{name} must hold at least one number")
        return tuple(_number(spec, name, each, 0.0) for each in several)
    if isinstance(default, str):
        return _text(spec, name, value)
    return _number(spec, name, value, default)


def _text(spec: "Field[Any]", name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ScenarioError(f"{name} must be text, not {value!r}")
    among = spec.metadata["among"]
    if among and value not in among:
        raise ScenarioError(f"{name} must be one of {', '.join(among)}, not {value!r}")
    return value


def _number(spec: "Field[Any]", name: str, value: Any, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ScenarioError(f"{name} must be a number, not {value!r}")
    if isinstance(default, int) and value != int(value):
        raise ScenarioError(f"{name} must be a whole number, not {value!r}")
    number = int(value) if isinstance(default, int) else float(value)
    bounds = spec.metadata
    if bounds["above"] is not None and number <= bounds["above"]:
        raise ScenarioError(f"{name} must be above {bounds['above']:g}, not {number:g}")
    if bounds["least"] is not None and number < bounds["least"]:
        raise ScenarioError(f"{name} must be at least {bounds['least']:g}, not {number:g}")
    if bounds["most"] is not None and number > bounds["most"]:
        raise ScenarioError(f"{name} must be at most {bounds['most']:g}, not {number:g}")
    return number
