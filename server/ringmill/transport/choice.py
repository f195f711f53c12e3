"""Chooses an implementation: the fast one where it works, which is tried, not assumed."""

import functools
import logging
import os
from typing import Literal

from ringmill.core.errors import Code, RingmillError
from ringmill.transport.api import Loop

Kind = Literal["auto", "cq", "aio"]

_LOG = logging.getLogger(__name__)
_OVERRIDE = "RINGMILL_TRANSPORT"


def make_loop(kind: Kind = "auto") -> Loop:
    """Makes a loop: "cq" drives gRPC's completion queue, "aio" is grpc.aio, "auto" is cq if it passes a self-test.

    The environment variable RINGMILL_TRANSPORT decides for "auto". The self-test runs once a process and takes some
    10 ms. Raises RingmillError for an unknown kind.
    """
    chosen = os.environ.get(_OVERRIDE, kind) if kind == "auto" else kind
    if chosen == "aio" or (chosen == "auto" and not _cq_works()):
        from ringmill.transport.aio.loop import AioLoop

        return AioLoop()
    if chosen in ("auto", "cq"):
        from ringmill.transport.cq.loop import CqLoop

        return CqLoop()
    raise RingmillError(Code.INVALID_ARGUMENT, f"transport {chosen!r}: use auto, cq or aio")


@functools.cache
def _cq_works() -> bool:
    """Tries the completion-queue loop; what is missing or behaves otherwise is logged in one line."""
    try:
        from ringmill.transport.cq.loop import CqLoop
        from ringmill.transport.selftest import check_transport

        check_transport(CqLoop())
    except Exception as error:
        _LOG.warning("the completion-queue transport does not work here (%r): using grpc.aio, which is slower", error)
        return False
    return True
