"""The benchmark of the operators: all are in it, what they are compared with does its work, a quick run is quick."""

import math
from pathlib import Path

import pytest

from ringmill.loadtest import main
from ringmill.loadtest.measure import Effort
from ringmill.loadtest.peers.operator_rivals import Row, array_rivals, library_rivals, river_rivals, save_model
from ringmill.loadtest.peers.operators import messages, rows, steps
from ringmill.loadtest.sections import operators as section
from ringmill.pipeline import ops
from ringmill.v1.processing_pb2 import ProcessRequest

ROWS = [Row(0.5 * n, -0.1 * n, 1.0 + n, n % 5, n % 3 == 0, f"t{n % 4}", 1 + n) for n in range(40)]


def test_every_operator_is_measured() -> None:
    assert set(steps()) == set(ops.__all__) - {"model"}  # which needs a file


def test_every_rival_takes_events_and_answers() -> None:
    for rivals in (river_rivals(), library_rivals()):
        assert rivals
        for name, make in rivals.items():
            assert name in ops.__all__
            feed = make()
            told = [feed(row) for row in ROWS]
            assert name == "histogram" or told[-1] is not None


def test_rivals_of_columns_take_all_events_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "model.json")
    assert save_model(path)
    columns = messages()[1]
    rivals = array_rivals(path)
    assert rivals["quantiles"](columns) == pytest.approx(2.33, abs=0.2)
    assert len(rivals["model"](columns)) == len(columns["x"])


def test_messages_and_rows_are_the_same_events() -> None:
    made, columns = messages()
    read = ProcessRequest.FromString(made[1].tobytes()).events[5]
    key, row = rows(columns)[len(columns["key"]) // len(made) + 5]
    assert (read.key, read.time_us, read.labels[0]) == (key, row.time_us, row.tag)
    assert list(read.values) == [row.x, row.y, row.volume]
    assert list(read.integers) == [row.n, row.flag]


def test_a_quick_run_leaves_long_sections_out_unless_they_are_named() -> None:
    assert main.choose(None, 0).keys() >= main.LONG
    assert not main.LONG & main.choose(None, 0, quick=True).keys()
    assert main.choose(["operators"], 0, quick=True).keys() == {"operators"}


class Told:
    """Answers as the process would."""

    def __enter__(self) -> "Told":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def do(self, what: str, **order: object) -> dict[str, object]:
        if what == "names":
            return {"names": {"mean": ["river"], "cusum": []}}
        return {"ns": 10.0, "state_bytes": 16} if what == "ours" else {"ns": 600.0}


def test_one_line_for_each_operator_and_rival(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section, "peer", lambda _: Told())
    figures = list(section.operators(Effort(rounds=2, scale=0.1, tell=lambda _: None)))
    assert [figure.name for figure in figures] == ["operator-mean-river", "operator-cusum"]
    assert figures[0].measured == pytest.approx(60.0)
    assert figures[0].verdict == "pass"
    assert figures[1].measured == 10.0
    assert not math.isnan(figures[1].measured)
