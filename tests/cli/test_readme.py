"""The README's pipeline gives what the README prints."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from ringmill.pipeline import load_pipelines

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_the_figures_shown_are_the_pipelines_own(tmp_path: Path) -> None:
    code = re.search(r"```python\n(# app\.py\n.*?)```", README, re.DOTALL)
    call = re.search(r"client\.process\((\[.*?\]), (\[.*?\]), amount=(\[.*?\])\)", README)
    shown = re.search(r"\$ python client\.py\n\[(.*?)\] \[(.*?)\] (\d+)\n", README)
    assert code
    assert call
    assert shown
    (tmp_path / "app.py").write_text(code[1])
    keys, times, amounts = (_list(text) for text in call.groups())

    got = load_pipelines(tmp_path / "app.py")["payments"].run(keys=keys, times=times, amount=amounts)

    np.testing.assert_array_equal(got["surprise"], np.array(shown[1].split(), np.float64))
    np.testing.assert_array_equal(got["z"].round(9), np.array(shown[2].split(), np.float64))
    assert np.count_nonzero(got.reasons) == int(shown[3])


def _list(text: str) -> list[Any]:
    return [
        part if (part := item.strip().strip('"')).isalpha() else float(part) for item in text.strip("[]").split(",")
    ]
