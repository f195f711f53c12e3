"""`ringmill send` under a producer's name: what a sending that was cut short gives when it is resumed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ringmill.cli.main import main
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
    assert "ALREADY_APPLIED" in capsys.readouterr().out


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
