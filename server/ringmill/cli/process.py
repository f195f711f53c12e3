"""How every process of ours begins and ends: it chooses the poller, never outlives the `ringmill up` that started it,
and is gone as soon as it has drained."""

import ctypes
import os
import signal
import sys
from typing import NoReturn

PARENT_VARIABLE = "RINGMILL_PARENT_PID"
"""Set by the parent for its children; holds the parent's process id."""

_PR_SET_PDEATHSIG = 1


def begin() -> None:
    """Prepares a process of ours. Must run before grpc is imported, because the poller is chosen at its import."""
    die_with_parent()
    from ringmill.transport.poller import use_classic_poller

    use_classic_poller()


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent ends, however that ends. Does nothing when started by hand.

    SIGKILL, not SIGTERM: there is nobody left to drain for, and a process that compiles would not hear SIGTERM.
    """
    parent = os.environ.pop(PARENT_VARIABLE, "")
    if not parent or not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != int(parent):  # it died before the request was made: no signal will come
        os._exit(0)


def end(status: int) -> NoReturn:
    """Ends this process at once. A server that has drained holds nothing that needs an orderly end.

    Python would first take apart all machine code and modules, for more than a second of a busy core.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
