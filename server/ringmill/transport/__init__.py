"""Byte streams over gRPC: one interface (`api`), two implementations, chosen at start."""

from ringmill.transport.api import Loop
from ringmill.transport.cq.loop import CqLoop


def make_loop(kind: str = "auto") -> Loop:
    """Makes a loop."""
    return CqLoop()
