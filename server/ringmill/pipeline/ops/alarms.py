"""Alarms that do not flicker."""

import math

from ringmill.pipeline.fields import Event, Input, State
from ringmill.pipeline.operators import Step, operator
from ringmill.pipeline.place import Place, caller, wrong


class Raised(State):
    """8 bytes with its padding."""

    on: bool = False


@operator
def _alarm_above(state: Raised, event: Event, source: Input, above: float, clear: float) -> bool:
    if source > above:
        state.on = True
    elif source <= clear:
        state.on = False
    return state.on


@operator
def _alarm_below(state: Raised, event: Event, source: Input, below: float, clear: float) -> bool:
    if source < below:
        state.on = True
    elif source >= clear:
        state.on = False
    return state.on


def alarm(source: str, *, above: float | None = None, below: float | None = None, clear: float | None = None) -> Step:
    """True from the first value above `above` until one is at or under `clear`, which lies at or under `above`.

    With `below` mirrored: from the first value below it until one is at or over `clear`. Between the two the alarm
    stays as it is, and so it does for a missing value. clear: `above` or `below` itself unless given. State: 8 bytes.
    Does not merge.
    Source: Schmitt, "A thermionic trigger", Journal of Scientific Instruments 15 (1938).
    """
    place = caller()
    if above is not None and below is None:
        limit, clear = _checked(place, "above", above, clear)
        if clear > limit:
            raise wrong(place, f"alarm(above={above}, clear={clear}): clear may be at most {above}")
        return _alarm_above(source, above=limit, clear=clear)
    if below is not None and above is None:
        limit, clear = _checked(place, "below", below, clear)
        if clear < limit:
            raise wrong(place, f"alarm(below={below}, clear={clear}): clear must be at least {below}")
        return _alarm_below(source, below=limit, clear=clear)
    raise wrong(place, "alarm() takes above or below: write one, as in above=3.0, clear=2.0")


def _checked(place: Place, name: str, limit: float, clear: float | None) -> tuple[float, float]:
    for part, value in ((name, limit), ("clear", limit if clear is None else clear)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise wrong(place, f"alarm({part}={value!r}): write a finite number")
    return float(limit), float(limit if clear is None else clear)
