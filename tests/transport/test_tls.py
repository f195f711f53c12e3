"""TLS and mutual TLS, with certificates of a throw-away authority."""

from typing import Any

import pytest
import trustme

from ringmill.core.errors import Code
from ringmill.transport.api import ClientTls, ServerTls

OURS = trustme.CA()
OTHER = trustme.CA()
SERVER = OURS.issue_cert("localhost", "127.0.0.1")
CLIENT = OURS.issue_cert("a-client")
STRANGER = OTHER.issue_cert("a-client")


def _server_tls(mutual: bool) -> ServerTls:
    ca = OURS.cert_pem.bytes() if mutual else None
    return ServerTls(SERVER.private_key_pem.bytes(), SERVER.cert_chain_pems[0].bytes(), ca)


def _client_tls(ca: trustme.CA = OURS, cert: trustme.LeafCert | None = None, name: str | None = None) -> ClientTls:
    if cert is None:
        return ClientTls(ca.cert_pem.bytes(), override_name=name)
    return ClientTls(ca.cert_pem.bytes(), cert.private_key_pem.bytes(), cert.cert_chain_pems[0].bytes(), name)


@pytest.mark.parametrize(
    ("mutual", "client", "served"),
    [
        (False, _client_tls(), True),
        (False, _client_tls(name="localhost"), True),
        (False, _client_tls(name="elsewhere"), False),
        (False, _client_tls(OTHER), False),
        (False, None, False),
        (True, _client_tls(cert=CLIENT), True),
        (True, _client_tls(), False),
        (True, _client_tls(cert=STRANGER), False),
    ],
    ids=["tls", "by-name", "wrong-name", "wrong-ca", "plain", "mutual", "no-certificate", "wrong-certificate"],
)
def test_who_is_let_in(wire: Any, mutual: bool, client: ClientTls | None, served: bool) -> None:
    wire.serve(tls=_server_tls(mutual))
    call = wire.open(channel=wire.channel(client))
    sent = [b"x" * size for size in (1, 100_000, 10, 1_000_000)]
    for message in sent:
        call.stream.send(message)
    call.stream.finish()
    wire.until(lambda: call.status)
    assert call.status.code is (Code.OK if served else Code.UNAVAILABLE)
    assert call.messages == (sent if served else [])
