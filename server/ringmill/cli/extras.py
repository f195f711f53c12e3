"""Packages that only some commands need, and that an installation may leave out."""

from importlib.util import find_spec

from ringmill.core.errors import Code, RingmillError


def need(package: str, extra: str = "frames") -> None:
    """Raises RingmillError that names the extra, unless its package is installed."""
    if find_spec(package) is None:
        raise RingmillError(Code.FAILED_PRECONDITION, f"needs {package}: pip install 'ringmill[{extra}]'")
