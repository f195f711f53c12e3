"""Where the manager's state outlives its process: what any store must do, and one that only remembers."""

from typing import Protocol

from ringmill.core.errors import Code, RingmillError


class StateStore(Protocol):
    """Holds one state, replaced as a whole."""

    def load(self) -> bytes | None:
        """What is there; None if nothing ever was. Raises RingmillError if it is damaged."""
        ...

    def put(self, state: bytes, revision: int) -> None:
        """Replaces what is there, if that is older; returns when it is durable.

        Raises RingmillError when it could not be done, or when that is not known.
        """
        ...

    @property
    def revision(self) -> int:
        """Revision of what is durable for certain; 0 if nothing is."""
        ...


class MemoryStore:
    """Forgets all when the process ends: then the cluster ends, too."""

    def __init__(self) -> None:
        self._state: bytes | None = None
        self._revision = 0

    def load(self) -> bytes | None:
        """What is there; None if nothing ever was."""
        return self._state

    @property
    def revision(self) -> int:
        """Revision of what is there; 0 if nothing is."""
        return self._revision

    def put(self, state: bytes, revision: int) -> None:
        """Replaces what is there. Raises ABORTED unless that is older."""
        check_newer(revision, self._revision)
        self._state, self._revision = state, revision


def check_newer(revision: int, held: int) -> None:
    """Raises ABORTED for a revision that does not replace an older one."""
    if revision <= held:
        raise RingmillError(Code.ABORTED, f"the store holds revision {held} already, not older than {revision}")
