"""TLS at the edge: who gets in, and certificates that are replaced while everybody is connected."""

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from ringmill.balancer.xds.settings import EdgeTls
from ringmill.cli.certs.authority import CA_FILE, issue, make_authority
from ringmill.cli.main import main
from tests.integration.envoy_lab import ROUTER, Caller, Lab, until

Start = Callable[[EdgeTls], str]


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    folder = tmp_path / "certs"
    assert main(["certs", "init", str(folder)]) == 0
    return folder


@pytest.fixture
def start(certs: Path) -> Iterator[Start]:
    made: list[Lab] = []

    def one(edge_tls: EdgeTls) -> str:
        made.append(Lab(edge_tls=edge_tls))
        flags = ["--tls", str(certs / "edge.pem")]
        return made[0].start_envoy("delta", *flags, *(["--client-ca", str(certs / CA_FILE)] * (edge_tls == "mutual")))

    try:
        yield one
        assert not made[0].desk.counts.refused
    finally:
        made[0].close()


def shown(address: str, certs: Path) -> x509.Certificate:
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=certs / CA_FILE)
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        context.wrap_socket(plain, server_hostname=host) as it,
    ):
        assert it.version() == "TLSv1.3"
        data = it.getpeercert(binary_form=True)
        assert data is not None
        return x509.load_der_x509_certificate(data)


def answers(address: str, credentials: grpc.ChannelCredentials | None) -> str:
    """Who answers, or the status that a caller gets."""
    caller = Caller(address, credentials)
    try:
        return caller.first()
    except grpc.RpcError as error:
        return str(error.code().name)
    finally:
        caller.close()


def trusting(certs: Path, client: Path | None = None) -> grpc.ChannelCredentials:
    own = client.read_bytes() if client is not None else None
    return grpc.ssl_channel_credentials((certs / CA_FILE).read_bytes(), own, own)


def test_clients_are_shown_a_certificate_and_nothing_older_than_tls_1_3(start: Start, certs: Path) -> None:
    address = start("server")
    assert answers(address, trusting(certs)) == ROUTER
    names = shown(address, certs).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://ringmill/edge/edge"]
    assert answers(address, None) == "UNAVAILABLE", "clear text"
    old = ssl.create_default_context(cafile=certs / CA_FILE)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 5) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname=host)


def test_only_those_get_in_whose_certificate_the_authority_has_signed(
    start: Start, certs: Path, tmp_path: Path
) -> None:
    address = start("mutual")
    assert answers(address, trusting(certs, certs / "client.pem")) == ROUTER
    assert answers(address, trusting(certs)) == "UNAVAILABLE", "none"
    expired = issue(certs, "client", "late", (), days=0)
    assert answers(address, trusting(certs, expired)) == "UNAVAILABLE", "expired"
    foreign = tmp_path / "foreign"
    make_authority(foreign, "ringmill", 1)
    assert answers(address, trusting(certs, issue(foreign, "client", "client", (), 1))) == "UNAVAILABLE", "foreign"


def test_a_certificate_is_replaced_while_calls_go_on(start: Start, certs: Path) -> None:
    address = start("server")
    staying = Caller(address, trusting(certs))
    try:
        for _ in range(100):
            issue(certs, "edge", "edge", ["127.0.0.1"], 1)
            newest = x509.load_pem_x509_certificate((certs / "edge.pem").read_bytes()).serial_number

            def served(newest: int = newest) -> bool:
                assert staying.first() == ROUTER
                assert answers(address, trusting(certs)) == ROUTER
                return shown(address, certs).serial_number == newest

            until(served)
    finally:
        staying.close()


def test_a_file_that_is_not_there_is_told_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["envoy", "run", "--xds", "127.0.0.1:1", "--tls", "nowhere.pem"]) == 1
    assert capfd.readouterr().err.strip() == "error: nowhere.pem cannot be read: No such file or directory"
