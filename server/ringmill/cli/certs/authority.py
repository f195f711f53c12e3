"""A small certificate authority in a folder. For development, and for clusters that have no better one.

Identities are SPIFFE names in a URI SAN (https://spiffe.io): `spiffe://TRUST-DOMAIN/ROLE/NAME`. Key and chain of a
process share one file, so that to replace it is one rename: whoever looks sees both of the old, or both of the new.
"""

import contextlib
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ringmill.core.errors import Code, RingmillError

CA_FILE = "ca.pem"
"""What everybody trusts."""

CA_KEY_FILE = "ca.key"
"""Whoever has it can be anybody: it stays where certificates are made."""

_CLOCK_SKEW = timedelta(minutes=5)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def make_authority(folder: Path, trust_domain: str, days: int) -> None:
    """Makes a key and a certificate that signs others. Raises FAILED_PRECONDITION where there is one already."""
    _check_word("trust domain", trust_domain)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (folder / CA_KEY_FILE).exists():
        raise RingmillError(Code.FAILED_PRECONDITION, f"{folder} has an authority already: its certificates would end")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{trust_domain} development CA")])
    builder = (
        _dated(x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_uris([f"spiffe://{trust_domain}"]), critical=False)
    )
    _write(folder / CA_KEY_FILE, _private(key), secret=True)
    _write(folder / CA_FILE, _pem(builder.sign(key, hashes.SHA256())), secret=False)


def issue(folder: Path, role: str, name: str, hosts: Sequence[str], days: int) -> Path:
    """Makes a key and a certificate for a process; replaces the ones it had. Returns the file with both.

    hosts: DNS names and IP addresses under which it is dialled. Raises FAILED_PRECONDITION without an authority.
    """
    _check_word("role", role)
    _check_word("name", name)
    path = folder / f"{name}.pem"
    if path.name == CA_FILE:
        raise RingmillError(Code.INVALID_ARGUMENT, f"{path} is the authority's own certificate: take another name")
    authority, signer = _authority(folder)
    trust_domain = _trust_domain(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"spiffe://{trust_domain}/{role}/{name}")]
    builder = (
        _dated(x509.CertificateBuilder().issuer_name(authority.subject).public_key(key.public_key()), days)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names + [_host(host) for host in hosts]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    _write(path, _private(key) + _pem(builder.sign(signer, hashes.SHA256())), secret=True)
    return path


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate((folder / CA_FILE).read_bytes())
        key = serialization.load_pem_private_key((folder / CA_KEY_FILE).read_bytes(), password=None)
    except FileNotFoundError:
        raise RingmillError(
            Code.FAILED_PRECONDITION, f"{folder} has no authority: say ringmill certs init {folder}"
        ) from None
    except ValueError as error:
        raise RingmillError(Code.FAILED_PRECONDITION, f"the authority in {folder} cannot be read: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise RingmillError(Code.FAILED_PRECONDITION, f"the key in {folder / CA_KEY_FILE} is none that was made here")
    return certificate, key


def _trust_domain(authority: x509.Certificate) -> str:
    names = authority.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uri.removeprefix("spiffe://")


def _dated(builder: x509.CertificateBuilder, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    serial = x509.random_serial_number()
    return builder.serial_number(serial).not_valid_before(now - _CLOCK_SKEW).not_valid_after(now + timedelta(days))


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _uris(uris: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _check_word(what: str, word: str) -> None:
    if not _WORD.fullmatch(word):
        raise RingmillError(Code.INVALID_ARGUMENT, f"{what} {word!r}: use letters, digits, '.', '_' and '-'")


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, content: bytes, secret: bool) -> None:
    """Puts a file in place as a whole."""
    new = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    new.rename(path)
