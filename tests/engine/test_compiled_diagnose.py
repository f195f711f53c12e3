"""What the compiler cannot type is told in the user's words: the line, what is wrong, what to write instead."""

from pathlib import Path

import pytest

from ringmill.core.errors import RingmillError
from ringmill.engine.compiled import event_class
from ringmill.engine.diagnose import check_operators
from ringmill.pipeline import load_pipelines

HEAD = """
import math
from typing import NamedTuple
from ringmill.pipeline import *
class E(Event):
    x: float
    n: int = 0
    tag: Label = label("")
class S(State):
    total: float = 0.0
    n: int = 0
    on: bool = False
    tag: Label = label("")
    buf: Array = array(4)
    counts: Array = array(4, fill=0)
class T(NamedTuple):
    a: float
    b: bool
def half(x: float) -> float:
    return x / 2.0
"""
TAIL = '\np = Pipeline("p", version="1.0.0", event=E, steps={"f": f()})\n'


@pytest.mark.parametrize(
    ("returns", "body", "said"),
    [
        ("float  # here", "return event.x + state.buf", "allocate nothing"),
        ("float", "return state.buf.max()  # here", "allocate nothing: loop over the elements"),
        ("float", "return math.sqrt(state.buf)  # here", "sqrt() cannot take an Array"),
        ("float", "y = state.buf if event.x > 1 else 1.0  # here\n    return y", "give it one type"),
        ("bool  # here", "return event.x", "declared bool but is a float: write a comparison"),
        ("int  # here", "return event.x", "declared int but is a float: write int(...)"),
        ("float  # here", "return event.tag", "declared float but is a label"),
        ("Label  # here", "return event.n", "declared Label but is an int"),
        ("float  # here", "state.n += 1", "is None"),
        ("float  # here", "if event.x > 1:\n        return None\n    return 1.0", "math.nan for no value"),
        ("T", "return T(1.0, 2.0)  # here", "b is declared bool but is a float"),
        ("T", "return T(1.0)  # here", "missing a required argument: 'b'"),
        ("T  # here", "return event.x", "return the NamedTuple that it declares"),
        ("float", "state.buf = 5.0  # here\n    return 1.0", "state.buf is an Array but gets a float"),
        ("float", "state.n = event.x  # here\n    return 1.0", "n holds an int but gets a float"),
        ("float", "state.n = event.tag  # here\n    return 1.0", "n holds an int but gets a label"),
        ("float", "state.tag = event.n  # here\n    return 1.0", "tag holds a label but gets an int"),
        ("float", "state.on = event.x  # here\n    return 1.0", "on holds a bool but gets a float"),
        ("float", "state.counts[0] = event.x  # here\n    return 1.0", "the Array holds an int but gets a float"),
        ("float", "state.buf.append(event.x)  # here\n    return 1.0", "an Array has no append"),
        ("float", "return half(event.x, 1.0)  # here", "too many positional arguments"),
        ("float  # here", "if event.x > 1:\n        y = 2.0\n    return y", "y is read where it may not have been"),
    ],
)
def test_complaints(tmp_path: Path, returns: str, body: str, said: str) -> None:
    declared, _, mark = returns.partition("  # ")
    decorator = "@operator  # here" if mark else "@operator"
    text = f"{HEAD}{decorator}\ndef f(state: S, event: E) -> {declared}:\n    {body}\n{TAIL}"
    app = tmp_path / "app.py"
    app.write_text(text)
    line = next(number for number, code in enumerate(text.splitlines(), 1) if "# here" in code)
    plan = load_pipelines(app)["p"].plan
    with pytest.raises(RingmillError) as problem:
        check_operators(plan, event_class(plan))
    place, _, message = problem.value.message.partition(": ")
    assert place == f"{app}:{line}", problem.value.message
    assert said in message


@pytest.mark.parametrize(
    ("returns", "body"),
    [
        ("float", "state.total = event.n\n    return event.n"),
        ("float | None", "return math.nan if event.x > 1.0 else event.x"),
        ("Label", "state.tag = event.tag\n    return state.tag"),
        ("T", "return T(1, event.x > 0.0) if event.n > 0 else T(b=False, a=0.5)"),
        ("float", "total = 0.0\n    for i in range(4):\n        total += state.buf[i]\n    return total"),
        ("float", "state.n += event.x > 1.0\n    return half(state.buf.sum())"),
    ],
)
def test_what_is_in_order(tmp_path: Path, returns: str, body: str) -> None:
    app = tmp_path / "app.py"
    app.write_text(f"{HEAD}@operator\ndef f(state: S, event: E) -> {returns}:\n    {body}\n{TAIL}")
    plan = load_pipelines(app)["p"].plan
    check_operators(plan, event_class(plan))
