"""What an installation may leave out is asked for by name, in one line."""

from pathlib import Path

import pytest

from ringmill.cli import extras
from ringmill.cli.extras import need
from ringmill.cli.main import main


def test_what_is_installed_is_not_asked_for() -> None:
    need("json")


@pytest.mark.parametrize(("command", "package"), [("demo", "pandas"), ("send", "pyarrow")])
def test_a_command_names_the_extra_that_it_lacks(
    command: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    table = tmp_path / "table.csv"
    table.write_text("key\na\n")
    words = [command] if command == "demo" else [command, str(table), "--pipeline", "p", "--key", "key"]
    assert main(words) == 1
    assert capsys.readouterr().err.strip() == f"error: needs {package}: pip install 'ringmill[frames]'"
