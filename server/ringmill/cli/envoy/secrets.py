"""Where Envoy has its secrets: files of this machine, which it reads again whenever they are replaced."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ringmill.balancer.xds.settings import EDGE_CERTIFICATE, EDGE_CLIENTS, secret_file
from ringmill.core.errors import Code, RingmillError

_SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


@dataclass(frozen=True, slots=True)
class EdgeSecrets:
    """What one Envoy shows its clients, and whom it takes."""

    certificate: Path | None = None
    """Its certificate and those that lead to a trusted one, and its key, in PEM; in one file, unless `key` is given."""
    key: Path | None = None
    client_ca: Path | None = None
    """What clients' certificates must come from; None: they need none."""

    def files(self) -> dict[str, dict[str, Any]]:
        """What to write into Envoy's working directory: content by file name.

        Raises FAILED_PRECONDITION, naming the file, for one that cannot be read: Envoy would wait for it, wordless.
        """
        files = {}
        if self.certificate is not None:
            chain = _there(self.certificate)
            pair = {"certificate_chain": chain, "private_key": chain if self.key is None else _there(self.key)}
            watched = {"watched_directory": {"path": str(self.certificate.absolute().parent)}}
            files[secret_file(EDGE_CERTIFICATE)] = _resource(EDGE_CERTIFICATE, {"tls_certificate": pair | watched})
        if self.client_ca is not None:
            watched = {"watched_directory": {"path": str(self.client_ca.absolute().parent)}}
            trusted = {"trusted_ca": _there(self.client_ca), **watched}
            files[secret_file(EDGE_CLIENTS)] = _resource(EDGE_CLIENTS, {"validation_context": trusted})
        return files


NO_SECRETS = EdgeSecrets()


def _resource(name: str, secret: dict[str, Any]) -> dict[str, Any]:
    return {"resources": [{"@type": _SECRET, "name": name, **secret}]}


def _there(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise RingmillError(Code.FAILED_PRECONDITION, f"{path} cannot be read: {error.strerror}") from None
    return {"filename": str(path.absolute())}
