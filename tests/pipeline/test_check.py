"""What a kernel may not contain is refused before compiling, with the user's line and what to write instead."""

from pathlib import Path

import pytest

from ringmill.core.errors import RingmillError
from ringmill.pipeline import load_pipelines

HEAD = """
import math, random, time
import numpy as np
from datetime import datetime
from random import random as chance
from typing import NamedTuple
from ringmill.pipeline import *
class E(Event):
    x: float
    tag: Label = label("")
class S(State):
    n: int = 0
    buf: Array = array(4)
LIMITS = [1.0, 2.0]
TEXT = "UA"
class Loose:
    limit = 1.0
loose = Loose()
"""
TAIL = """
p = Pipeline("p", version="1.0.0", event=E, steps={"f": f()})
"""


def refused(tmp_path: Path, body: str, tail: str = TAIL) -> str:
    """Loads an app whose wrong line is marked, and returns what is said about that line."""
    text = HEAD + body + tail
    line = next(number for number, code in enumerate(text.splitlines(), 1) if "# here" in code)
    app = tmp_path / "app.py"
    app.write_text(text)
    with pytest.raises(RingmillError) as problem:
        load_pipelines(app)
    place, _, message = problem.value.message.partition(": ")
    assert place == f"{app}:{line}", problem.value.message
    return message


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("return event.speed", "E has no field speed: declare it, or use one of key, time_us, x, tag"),
        ("state.sum += 1.0", "S has no field sum"),
        ("event.x = 1.0", "an event is read-only"),
        ("return time.time()", "use event.time_us"),
        ("return datetime.now().timestamp()", "use event.time_us"),
        ("return random.random()", "send it as a field"),
        ("return chance()", "send it as a field"),
        ("return np.random.random()", "send it as a field"),
        ("other = np; return other.random.random()", "np is used as a value"),
        ("return float(event[0])", "read its fields by name"),
        ("stamp, *_ = event; return 0.0", "read its fields by name"),
        ("return np.empty(3)[0]", "whatever is in memory"),
        ("return np.zeros(3)[0]", "allocates nothing"),
        ("return float(hash(event.x))", "64-bit hashes already"),
        ("print(event.x)", "input or output"),
        ("return float(open('x').read())", "input or output"),
        ("return LIMITS[0]", "could change after compiling: write a tuple"),
        ("return loose.limit", "kernels refer to numbers"),
        ("return TEXT", 'write TEXT = label("UA")'),
        ('return 1.0 if event.tag == "UA" else 0.0', "labels are hashes"),
        ('return 1.0 if event.tag == label("UA") else 0.0', "at module level"),
        ("return [event.x][0]", "makes a list"),
        ("return sum(v for v in (1.0, 2.0))", "makes a generator"),
        ("return (lambda v: v)(event.x)", "is a lambda"),
        ("global LIMITS", "keep what changes in the state"),
        ("import os", "import at the top"),
        ('raise ValueError(f"{event.x}")', "a constant text"),
        ("return missing(event.x)", "missing is not defined"),
    ],
)
def test_statements(tmp_path: Path, statement: str, said: str) -> None:
    body = f"@operator\ndef f(state: S, event: E) -> float:\n    {statement}  # here\n    return 1.0\n"
    assert said in refused(tmp_path, body)


def test_functions_that_an_operator_calls_are_checked_too(tmp_path: Path) -> None:
    body = """
def now(x: float) -> float:
    return time.time()  # here
def later(x: float) -> float:
    return now(x) + 1.0
@operator
def f(state: S, event: E) -> float:
    return later(event.x)
"""
    assert "reads the clock" in refused(tmp_path, body)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("y: list  # here", "is a float, float | None, int, bool or Label"),
        ("y: int | None  # here", "is a float, float | None, int, bool or Label"),
        ("y: float = 'a'  # here", "'a' is not a float"),
        ("y: int = 1.5  # here", "1.5 is not an int"),
        ("y: float = 1.0\n    z: float  # here", "move z up or give it a default"),
        ("y: int = 1\n    z: bool  # here", "move z up or give it a default"),
    ],
)
def test_fields_of_events(tmp_path: Path, fields: str, said: str) -> None:
    tail = "@operator\ndef f(state: S, event: F) -> float:\n    return event.x\n" + TAIL
    assert said in refused(tmp_path, f"class F(Event):\n    x: float\n    {fields}\n", tail)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("y: float  # here", "needs a default"),
        ("y: float | None = None  # here", "may hold math.nan"),
        ("y: Array = 5  # here", "array(8, fill=0.0)"),
        ("y: Array = array(0)  # here", "from 1 to 65536"),
    ],
)
def test_fields_of_states(tmp_path: Path, field: str, said: str) -> None:
    assert said in refused(tmp_path, f"class T(State):\n    {field}\n", "")


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ("(event: E) -> float", "every parameter needs its type"),
        ("(state, event: E) -> float", "every parameter needs its type"),
        ("(event: E, state: S) -> float", "the first parameter is the state"),
        ("(state: S, event: E)", "say what it returns"),
        ("(state: S, event: E) -> str", "it returns a float"),
        ("(state: S, event: E, k: str = '') -> float", "k is a float, int, bool, Label or Input"),
        ("(state: S, event: E, *rest: float) -> float", "no *, / or **"),
    ],
)
def test_signatures(tmp_path: Path, signature: str, said: str) -> None:
    assert said in refused(tmp_path, f"@operator  # here\ndef f{signature}:\n    return 1.0\n", "")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("f()", "f() needs k"),
        ("f(k=1.0, limit=2.0)", "has no parameter limit; it takes k, of"),
        ("f(k='a', of='x')", "declare it k: Input"),
        ("f(k=1.0, of='y')", 'reads "y", which is no field and no earlier output: write one of x, tag'),
        ("f(k=1.0, of='tag')", "is a label: an Input is a number"),
        ("f(k=1.0, of=3.0)", "of is an Input: write the name"),
    ],
)
def test_steps(tmp_path: Path, step: str, said: str) -> None:
    body = "@operator\ndef f(state: S, event: E, k: float, of: Input) -> float:\n    return of * k\n"
    tail = f'p = Pipeline("p", version="1.0.0", event=E, steps={{\n  "f": {step},  # here\n}})\n'
    assert said in refused(tmp_path, body, tail)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('"p q", version="1.0.0", event=E, steps={"f": ops.count()}', "cannot name a pipeline"),
        ('"p", version="1.0", event=E, steps={"f": ops.count()}', '"1.0.0"'),
        ('"p", version="1.0.0", event=S, steps={"f": ops.count()}', "derived from Event"),
        ('"p", version="1.0.0", event=E, steps={}', "needs a step"),
        ('"p", version="1.0.0", event=E, steps={"f": ops.count}', "is not a step"),
        ('"p", version="1.0.0", event=E, steps={"x": ops.count()}', "rename one of them"),
        ('"p", version="1.0.0", event=E, steps={"a.b": ops.count()}', "cannot name a step"),
    ],
)
def test_pipelines(tmp_path: Path, arguments: str, said: str) -> None:
    assert said in refused(tmp_path, "", f"p = Pipeline({arguments})  # here\n")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return event.x", False),
        ("return float(event.time_us)", True),
        ("return age(event)", True),
    ],
)
def test_whether_time_is_used_is_seen_in_helpers_too(tmp_path: Path, body: str, expected: bool) -> None:
    helper = "def age(event: E) -> float:\n    return float(event.time_us)\n"
    app = tmp_path / "app.py"
    app.write_text(f"{HEAD}{helper}@operator\ndef f(state: S, event: E) -> float:\n    {body}\n{TAIL}")
    assert load_pipelines(app)["p"].plan.uses_time is expected


@pytest.mark.parametrize(
    ("helper", "said"),
    [
        ("def helper(x):\n    return helper(x)  # here", "calls itself"),
        ("def other(x):\n    return helper(x)\ndef helper(x):\n    return other(x)", "calls itself"),
        ("def helper(x, *, k=2.0):  # here\n    return x * k", "take the * away"),
        ("def helper(x, kept=[]):  # here\n    return x", "the default of kept is a list"),
        ("def helper(x, call=abs_of):  # here\n    return call(x)", "call it by its name"),
    ],
)
def test_helpers(tmp_path: Path, helper: str, said: str) -> None:
    if "# here" not in helper:
        helper = helper.replace("    return helper(x)", "    return helper(x)  # here", 1)
    body = f"def abs_of(x):\n    return abs(x)\n{helper}\n" + OPERATOR
    assert said in refused(tmp_path, body)


OPERATOR = """@operator
def f(state: S, event: E) -> float:
    return helper(event.x)
"""


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        ('steps={"return": plain()}', "the word is taken"),
        ('steps={"key0": plain()}', "the word is taken"),
        ("steps=[plain()]", "write a dict"),
    ],
)
def test_names_and_forms_of_steps(tmp_path: Path, tail: str, said: str) -> None:
    body = "@operator\ndef plain(state: S, event: E, k: float = 1.0) -> float:\n    return event.x * k\n"
    pipeline = f'\np = Pipeline("p", version="1.0.0", event=E, {tail})  # here\n'
    assert said in refused(tmp_path, body, pipeline)
