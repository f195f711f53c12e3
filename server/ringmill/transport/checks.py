"""Refusals that both implementations word alike."""

import re

from ringmill.core.errors import Code, RingmillError
from ringmill.transport.api import Metadata

_KEY = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")


def cannot_listen(address: str) -> RingmillError:
    """The error for an address that could not be bound. gRPC does not tell why."""
    return RingmillError(Code.UNAVAILABLE, f"cannot listen on {address}: taken, or not an address of this machine")


def check_metadata(metadata: Metadata) -> None:
    """Raises RingmillError for a header that HTTP/2 cannot carry (gRPC over HTTP2, Custom-Metadata)."""
    for key, value in metadata:
        if _KEY.fullmatch(key) is None or key.startswith(":"):
            raise RingmillError(Code.INVALID_ARGUMENT, f"metadata key {key!r}: use lower-case letters, digits, '_-.'")
        if key.endswith("-bin"):
            continue
        if not isinstance(value, str) or _VALUE.fullmatch(value) is None:
            raise RingmillError(
                Code.INVALID_ARGUMENT, f"metadata {key!r} is not printable ASCII: name it {key}-bin to carry bytes"
            )
