"""The digest covers all that decides what a pipeline computes, and so does the cache of compiled code."""

from pathlib import Path
from types import ModuleType

import pytest

from ringmill.pipeline import Pipeline, load_pipelines

HELPER = """
import functools
from typing import NamedTuple
FACTOR = 2.0
def inner(x: float) -> float:
    return x * FACTOR
def halved(function):
    @functools.wraps(function)
    def wrapper(x):
        return function(x) / 2.0
    return wrapper
@halved
def half(x: float) -> float:
    return x
class Pair(NamedTuple):
    value: float
    more: float = 1.0
def scaled(x: float, by: float = 1.0) -> float:
    pair = Pair(half(x))
    return inner(x)
"""
APP = """
import sys
sys.modules.pop("digest_helper", None)
from digest_helper import scaled
from ringmill.pipeline import *
KNOWN = (label("a"), label("b"))
class E(Event):
    x: float
    tag: Label = label("")
class S(State):
    n: int = 0
@operator
def f(state: S, event: E, k: float = 1.0) -> float:
    state.n += 1
    return scaled(event.x) * k if event.tag != KNOWN[0] else 0.0
p = Pipeline("p", version="1.0.0", event=E, steps={"f": f(k=1.0)})
"""


def loaded(folder: Path, app: str = APP, helper: str = HELPER) -> Pipeline:
    folder.mkdir(exist_ok=True)
    (folder / "digest_helper.py").write_text(helper)
    (folder / "app.py").write_text(app)
    return load_pipelines(folder / "app.py")["p"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("FACTOR = 2.0", "FACTOR = 3.0"),
        ("return x * FACTOR", "return x + FACTOR"),
        ("return inner(x)", "return inner(x) + 1.0"),
        ("f(k=1.0)", "f(k=2.0)"),
        ("n: int = 0", "n: int = 1"),
        ("n: int = 0", "n: int = 0\n    m: int = 0"),
        ("x: float\n", "x: float | None\n"),
        ('label("b")', 'label("c")'),
        ('{"f": f', '{"g": f'),
        ("state.n += 1", "state.n += 2"),
        ("more: float = 1.0", "more: float = 2.0"),
        ("more: float = 1.0", "more: int = 1"),
        ("return function(x) / 2.0", "return function(x) / 4.0"),
        ("by: float = 1.0", "by: float = 2.0"),
    ],
)
def test_what_changes_the_digest(tmp_path: Path, old: str, new: str) -> None:
    assert old in APP + HELPER
    before = loaded(tmp_path / "before")
    after = loaded(tmp_path / "after", APP.replace(old, new), HELPER.replace(old, new))
    assert before.digest != after.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    state.n += 1", "    # a comment\n    state.n  +=  1"),
        ('Pipeline("p", version="1.0.0"', 'Pipeline("p", version="1.0.1"'),
        ("def scaled", "UNUSED = 1\n\ndef scaled"),
    ],
)
def test_what_does_not(tmp_path: Path, old: str, new: str) -> None:
    assert old in APP + HELPER
    before = loaded(tmp_path / "before")
    after = loaded(tmp_path / "after", APP.replace(old, new), HELPER.replace(old, new))
    assert before.digest == after.digest


def test_an_edited_helper_changes_what_is_computed(tmp_path: Path) -> None:
    events = {"keys": ["a", "a"], "times": [1, 2], "x": [1.0, 2.0]}
    assert loaded(tmp_path).run(**events)["f"].tolist() == [2.0, 4.0]
    edited = loaded(tmp_path, helper=HELPER.replace("FACTOR = 2.0", "FACTOR = 5.0"))
    assert edited.run(**events)["f"].tolist() == [5.0, 10.0]


def test_an_edited_default_changes_what_is_computed(tmp_path: Path) -> None:
    helper = HELPER.replace("return inner(x)", "return pair.more")
    assert loaded(tmp_path, helper=helper).run(keys=["a"], x=[1.0])["f"].tolist() == [1.0]
    helper = helper.replace("more: float = 1.0", "more: float = 7.0")
    assert loaded(tmp_path, helper=helper).run(keys=["a"], x=[1.0])["f"].tolist() == [7.0]


def test_a_constant_that_changes_after_loading_changes_nothing(tmp_path: Path) -> None:
    pipeline = loaded(tmp_path)
    import sys

    helper: ModuleType = sys.modules["digest_helper"]
    helper.FACTOR = 100.0  # type: ignore[attr-defined]  # a module made by this test
    assert pipeline.run(keys=["a"], times=[1], x=[1.0])["f"].tolist() == [2.0]
