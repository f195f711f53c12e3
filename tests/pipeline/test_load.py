"""App files: what is found in them, and what is said of those that are broken."""

from pathlib import Path

import pytest

from ringmill.core.errors import Code, RingmillError
from ringmill.pipeline import load_pipelines

APP = """
from ringmill.pipeline import Event, Pipeline, ops
class E(Event):
    x: float
first = Pipeline("first", version="1.0.0", event=E, steps={"n": ops.count()})
again = first
second = Pipeline("second", version="1.2.3", event=E, steps={"mean": ops.mean("x")})
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "app.py"
    path.write_text(text)
    return path


def test_every_pipeline_of_the_file_by_name(tmp_path: Path) -> None:
    found = load_pipelines(written(tmp_path, APP))
    assert [(name, pipeline.version) for name, pipeline in found.items()] == [("first", "1.0.0"), ("second", "1.2.3")]


def test_the_digest_does_not_depend_on_where_the_file_lies(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    here, there = load_pipelines(written(tmp_path, APP)), load_pipelines(written(tmp_path / "other", APP))
    assert here["second"].digest == there["second"].digest
    assert here["first"].digest != here["second"].digest


def test_neighbours_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_an_app.py").write_text("NAME = 'first'\n")
    app = "from neighbour_of_an_app import NAME\n" + APP.replace('"first"', "NAME")
    assert "first" in load_pipelines(written(tmp_path, app))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = (\n", "app.py:1: syntax error"),
        ("\n\nprint(1 / 0)\n", "app.py:3: ZeroDivisionError: division by zero"),
        ("import a_module_that_nobody_has\n", "app.py:1: ModuleNotFoundError"),
        ("x = 1\n", "no pipeline: write"),
        ("import sys\nsys.exit(0)\n", "app.py:2: the program ends while its pipelines are loaded: put this under if"),
        (
            APP + 'third = Pipeline("second", version="2.0.0", event=E, steps={"n": ops.count()})',
            'app.py:8: a second pipeline "second"; the first is at',
        ),
    ],
)
def test_broken_files(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RingmillError) as problem:
        load_pipelines(written(tmp_path, text))
    assert said in problem.value.message


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RingmillError, match="no such file") as problem:
        load_pipelines(tmp_path / "none.py")
    assert problem.value.code is Code.NOT_FOUND
