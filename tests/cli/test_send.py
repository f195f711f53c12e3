"""`ringmill send` under a producer's name: what a sending that was cut short gives when it is resumed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringmill.cli.feed import tables
from ringmill.cli.main import main
from ringmill.client import Client
from tests.client.conftest import DurableServer


@pytest.fixture
def durable() -> Iterator[DurableServer]:
    server = DurableServer()
    yield server
    server.stop()


def send(durable: DurableServer, table: Path, *flags: str) -> int:
    return main(["send", str(table), "--to", durable.address, "--pipeline", "p", "--batch", "7", *flags])


def test_a_sending_that_was_cut_short_applies_each_row_once(
    durable: DurableServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [f"k{number}" for number in range(100)]
    whole, part = tmp_path / "whole.csv", tmp_path / "part.csv"
    whole.write_text("key\n" + "".join(f"{key}\n" for key in keys))
    part.write_text("key\n" + "".join(f"{key}\n" for key in keys[:42]))  # as far as the first run came
    assert send(durable, part, "--producer", "load-1") == 0
    assert send(durable, whole, "--producer", "load-1") == 1
    assert "producer 'load-1' has sent 6 batches before" in capsys.readouterr().err
    assert send(durable, whole, "--producer", "load-1", "--resume") == 0
    assert durable.ledger.applied == keys
    assert send(durable, whole, "--producer", "load-1", "--resume") == 0  # once more does no harm
    assert durable.ledger.applied == keys
    shown = capsys.readouterr().out
    assert re.search(r"100 events in .*; \d+ were answered before, 0 rejected\n", shown)
    assert "ALREADY_APPLIED" not in shown  # no fault of any row


def test_what_is_resumed_needs_a_name_and_a_server_that_deduplicates(
    durable: DurableServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("key\na\n")
    assert send(durable, table, "--resume") == 2
    assert "--producer" in capsys.readouterr().err
    durable.ledger.info.deduplicates = False
    assert send(durable, table, "--producer", "load-1", "--resume") == 1
    assert "does not deduplicate" in capsys.readouterr().err
    assert durable.ledger.applied == []


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of some pieces; the time in the last row is none."""
    monkeypatch.setattr(tables, "BLOCK_BYTES", 160)
    table = tmp_path / "broken.csv"
    table.write_text("time,key\n" + "".join(f"{row},k{row:02}\n" for row in range(70)) + "soon,k70\n")
    return table


@pytest.mark.parametrize(
    ("flags", "mend"),
    [((), "a sending with --producer NAME can be resumed"), (("--producer", "load-1"), "with --resume goes on")],
)
def test_a_file_that_breaks_off_tells_what_was_sent_of_it(
    flags: tuple[str, ...], mend: str, durable: DurableServer, broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert send(durable, broken, *flags) == 1
    error = capsys.readouterr().err
    assert "row 72 (the header is 1), column 'time': " in error
    assert "'soon'" in error
    assert 0 < len(durable.ledger.applied) < 70
    assert f"; {len(durable.ledger.applied)} rows before had been sent and answered: " in error
    assert mend in error


def test_what_breaks_at_once_has_nothing_to_tell(
    durable: DurableServer, broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken.write_text("time,key\nsoon,k0\n")
    assert send(durable, broken) == 1
    assert "had been sent" not in capsys.readouterr().err


def test_an_interrupted_sending_tells_how_far_it_came(
    durable: DurableServer, broken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, calls = Client.process, 0

    def interrupted(*arguments: Any, **fields: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return process(*arguments, **fields)

    monkeypatch.setattr(Client, "process", interrupted)
    assert send(durable, broken, "--producer", "load-1") == 130
    told = f"error: interrupted; {len(durable.ledger.applied)} rows had been sent and answered, and some after them"
    assert told in capsys.readouterr().err
