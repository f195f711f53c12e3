"""Checks of operators' parameters: each refuses at the user's line, and says what to write."""

import math
from typing import Any

from ringmill.pipeline.place import caller, wrong

STATE_BYTES_MAX = 256 * 1024
"""The most that one key's state of a sketch may take."""


def checked_number(
    operator: str,
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
) -> float:
    """The parameter as a float. Finite, unless a bound is infinite on purpose and says at_most=math.inf."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not (above < value and at_least <= value and value < below and value <= at_most):
        bounds = [
            f"above {above:g}" * (above > -math.inf),
            f"at least {at_least:g}" * (at_least > -math.inf),
            f"below {below:g}" * (below < math.inf),
            f"at most {at_most:g}" * (at_most < math.inf),
        ]
        wanted = "a number " + " and ".join(bound for bound in bounds if bound) if any(bounds) else "a finite number"
        raise wrong(caller(), f"{operator}({name}={value!r}): write {wanted}")
    return float(value)


def checked_whole(operator: str, name: str, value: Any, low: int, high: int) -> int:
    """The parameter as a whole number from low to high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(caller(), f"{operator}({name}={value!r}): write a whole number from {low:,} to {high:,}")
    return value


def checked_bool(operator: str, name: str, value: Any) -> bool:
    """The parameter as a bool."""
    if not isinstance(value, bool):
        raise wrong(caller(), f"{operator}({name}={value!r}): write True or False")
    return value


def checked_names(operator: str, name: str, value: Any, most: int) -> tuple[str, ...]:
    """Names of fields or earlier outputs, at least one."""
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else ()
    if not 1 <= len(names) <= most or not all(isinstance(each, str) for each in names):
        raise wrong(caller(), f'{operator}({name}={value!r:.60}): write 1 to {most} names, as in ["x", "y"]')
    return names


def check_state_bytes(operator: str, state_bytes: float, wish: str) -> None:
    """Refuses a sketch that would take more memory for each key than it may."""
    if not state_bytes <= STATE_BYTES_MAX:
        raise wrong(
            caller(),
            f"{operator}({wish}) would take {_shown(state_bytes)} for each key, and {_shown(STATE_BYTES_MAX)} is the "
            "most: ask for less",
        )


def _shown(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} PiB"
