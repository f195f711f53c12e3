"""What children log, as `ringmill up` relays it."""

import io

import pytest
from rich.console import Console

from ringmill.cli import console
from ringmill.cli.children import Line
from ringmill.cli.commands.up import show_logs

LINES = [Line("worker-0", "INFO ready"), Line("worker-1", "error: no"), Line("worker-1", "was killed by [SIGKILL]")]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Console:
    made = Console(file=io.StringIO(), force_terminal=True, width=200, highlight=False)
    monkeypatch.setattr(console, "out", lambda: made)
    return made


def shown(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue().replace("\x1b[2m", "").replace("\x1b[0m", "")


def test_a_line_is_whole_under_a_live_status(screen: Console) -> None:
    with screen.status("waiting for events"):
        show_logs(LINES)
    assert "worker-1: was killed by [SIGKILL]" in shown(screen)
    assert "ready" not in shown(screen)
    assert "error" not in shown(screen)


def test_verbose_shows_all(screen: Console) -> None:
    show_logs(LINES, verbose=True)
    assert shown(screen).splitlines() == [
        "worker-0: INFO ready",
        "worker-1: error: no",
        "worker-1: was killed by [SIGKILL]",
    ]
