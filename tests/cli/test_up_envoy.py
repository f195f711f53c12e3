"""`ringmill up --envoy` with real processes: clients come in by TLS, whatever dies behind it, and nothing is left."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ringmill.cli.main import main
from ringmill.client import Client, ClientTls
from tests.cli.test_up import Up


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    folder = tmp_path / "certs"
    assert main(["certs", "init", str(folder)]) == 0
    return folder


@pytest.fixture
def up(tmp_path: Path, certs: Path) -> Iterator[Up]:
    started = Up(tmp_path, "--envoy", "--tls", str(certs / "edge.pem"), "--client-ca", str(certs / "ca.pem"))
    try:
        started.address = started.wait(r"listening on (\S+)")
        yield started
    finally:
        started.process.kill()
        started.process.wait()


@pytest.mark.timeout(300)
def test_clients_come_in_through_envoy_whatever_dies_behind_it(up: Up, certs: Path) -> None:
    own = (certs / "client.pem").read_bytes()
    tls = ClientTls(ca=(certs / "ca.pem").read_bytes(), key=own, chain=own)
    with Client(up.address, "payments", tls=tls, producer="till-1") as client:
        assert client.process(["ada"], amount=[2.0])["total"].tolist() == [2.0]
        for name, victim in (("envoy", envoy(up)), ("balancer", up.worker("balancer"))):
            victim.kill()
            up.wait(f"({name}): is back")
            assert client.process(["ada"], amount=[1.0]).rejected == 0
        assert client.process(["ada"], amount=[1.0])["total"].tolist() == [5.0]
    operators = up.wait(r"reach the balancer at\s+(\S+)")
    assert main(["workers", "--address", operators]) == 0
    assert main(["workers", "--address", up.address]) == 1, "operators are not served at the edge"
    everybody = psutil.Process(up.process.pid).children(recursive=True)
    assert any("bootstrap.json" in " ".join(each.cmdline()) for each in everybody)
    up.process.kill()
    psutil.wait_procs(everybody, 10)
    assert not [each for each in everybody if each.is_running()]


def envoy(up: Up) -> psutil.Process:
    """Envoy itself, which a process of ours looks after."""
    return next(child for child in up.worker("envoy").children())
