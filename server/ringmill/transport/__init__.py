"""Byte streams over gRPC: one interface (`api`), two implementations, chosen at start (`choice`)."""

from ringmill.transport.choice import make_loop

__all__ = ["make_loop"]
