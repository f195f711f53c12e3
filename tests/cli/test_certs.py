"""Certificates that the command line makes: whom they name, who may read them, and what they may be used for."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ringmill.cli.main import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "certs"
    assert main(["certs", "init", str(made), "--trust-domain", "example.org"]) == 0
    return made


def names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(each.value) for each in found]


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_an_authority_signs_the_edge_and_a_client(folder: Path) -> None:
    authority = load(folder / "ca.pem")
    edge, client = load(folder / "edge.pem"), load(folder / "client.pem")
    for each in (edge, client):
        each.verify_directly_issued_by(authority)
        assert not each.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert names(edge) == ["spiffe://example.org/edge/edge", "localhost", "127.0.0.1", "::1"]
    assert names(client) == ["spiffe://example.org/client/client"]


def test_keys_can_be_read_by_their_owner_alone(folder: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"ca.key": 0o600, "ca.pem": 0o644, "edge.pem": 0o600, "client.pem": 0o600}


def test_a_certificate_is_replaced_as_a_whole(folder: Path) -> None:
    before = load(folder / "edge.pem")
    words = ["certs", "issue", str(folder), "edge", "--role", "edge", "--host", "a.example.org", "--host", "10.0.0.1"]
    assert main([*words, "--days", "7"]) == 0
    after = load(folder / "edge.pem")
    assert after.serial_number != before.serial_number
    assert names(after) == ["spiffe://example.org/edge/edge", "a.example.org", "10.0.0.1"]
    assert after.not_valid_after_utc - datetime.now(UTC) < timedelta(days=7)
    assert sorted(path.name for path in folder.iterdir()) == ["ca.key", "ca.pem", "client.pem", "edge.pem"]


def test_an_authority_is_not_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "ca.key").read_bytes()
    capsys.readouterr()
    assert main(["certs", "init", str(folder)]) == 1
    assert "has an authority already" in capsys.readouterr().err
    assert (folder / "ca.key").read_bytes() == before


@pytest.mark.parametrize("name", ["../up", "a b", "", "-x/y"])
def test_a_name_is_a_word(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certs", "issue", str(folder), "--", name]) == 1
    assert "use letters" in capsys.readouterr().err


def test_a_certificate_takes_not_the_place_of_its_authority(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "ca.pem").read_bytes()
    assert main(["certs", "issue", str(folder), "ca"]) == 1
    assert "take another name" in capsys.readouterr().err
    assert (folder / "ca.pem").read_bytes() == before


def test_without_an_authority_nothing_is_issued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certs", "issue", str(tmp_path), "edge"]) == 1
    assert "has no authority" in capsys.readouterr().err
