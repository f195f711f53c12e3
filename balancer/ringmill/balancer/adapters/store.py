"""The manager's state in a folder: one file, replaced as a whole, and a lock that is held for life.

A state is durable when its file and the folder's entry are synced: it is written beside the old one, synced, renamed
over it, and then the folder is synced. Whatever goes wrong on the way, one of the two is there whole. After a sync that
failed the kernel may have dropped what was to be written, and says so only once (Rebello et al., "Can Applications
Recover from fsync Failures?", ATC 2020): so nothing is synced again, but all of it written anew.
"""

import contextlib
import fcntl
import hashlib
import os
import queue
import struct
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ringmill.balancer.orders import Store
from ringmill.balancer.store import StateStore, check_newer
from ringmill.core.errors import Code, RingmillError

FILE = "state"
_NEW = "state.new"
_LOCK = "lock"

_MAGIC = b"RINGMILL"
_HEADER = struct.Struct("<8sQQ16s")
"""Magic, revision, bytes of the state, and their BLAKE2b."""


class FileStore:
    """One folder, for one balancer at a time."""

    def __init__(self, folder: Path) -> None:
        """Locks the folder, and makes it if there is none. Raises FAILED_PRECONDITION if another balancer has it, or it
        cannot be made."""
        try:
            missing = [each for each in (folder, *folder.parents) if not each.exists()]
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for made in reversed(missing):  # else a power cut may take the folder, with all that was synced in it
                _sync(made.parent)
            self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise RingmillError(
                Code.FAILED_PRECONDITION, f"no state can be kept in {folder}: {error.strerror}"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise RingmillError(
                Code.FAILED_PRECONDITION, f"another balancer keeps its state in {folder}: give this one its own folder"
            ) from None
        self._folder = folder
        self._revision = 0

    @property
    def revision(self) -> int:
        """Revision of what is durable for certain; 0 if nothing is."""
        return self._revision

    def load(self) -> bytes | None:
        """What is there; None if nothing ever was. Raises DATA_LOSS for a file that is not as it was written."""
        path = self._folder / FILE
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RingmillError(Code.FAILED_PRECONDITION, f"{path} cannot be read: {error.strerror}") from None
        state = data[_HEADER.size :]
        if len(data) < _HEADER.size:
            raise _damaged(path)
        magic, revision, size, digest = _HEADER.unpack_from(data)
        if magic != _MAGIC or size != len(state) or digest != _digest(revision, state):
            raise _damaged(path)
        self._sync_folder()  # it may have been renamed by a process that did not get so far
        self._revision = revision
        return state

    def put(self, state: bytes, revision: int) -> None:
        """Replaces what is there, if that is older; returns when it is durable. Raises ABORTED if that is newer,
        UNAVAILABLE if it cannot be written."""
        check_newer(revision, self._revision)
        new = self._folder / _NEW
        try:
            with contextlib.suppress(FileNotFoundError):
                new.unlink()
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write_all(handle, _HEADER.pack(_MAGIC, revision, len(state), _digest(revision, state)) + state)
                os.fsync(handle)
            finally:
                os.close(handle)
            new.rename(self._folder / FILE)
            self._sync_folder()
        except OSError as error:
            raise RingmillError(Code.UNAVAILABLE, f"{self._folder} cannot be written: {error.strerror}") from None
        self._revision = revision

    def close(self) -> None:
        """Lets the folder go."""
        os.close(self._lock)

    def _sync_folder(self) -> None:
        _sync(self._folder)


class StoreThread:
    """Writes on a thread of its own: a disk takes its time, and events do not wait for it."""

    def __init__(
        self, store: StateStore, call_soon: Callable[[Callable[[], None]], None], done: Callable[[int, str], None]
    ) -> None:
        """done: hears the durable revision and what went wrong, through call_soon."""
        self._store = store
        self._call_soon = call_soon
        self._done = done
        self._orders: queue.SimpleQueue[Store | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ringmill-store", daemon=True)
        self._thread.start()

    def put(self, order: Store) -> None:
        """Has a state written."""
        self._orders.put(order)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ends when all is written."""
        self._orders.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            error = ""
            try:
                self._store.put(order.state, order.revision)
            except RingmillError as raised:
                error = raised.message
            except Exception as raised:  # whatever it is, the manager must hear that nothing was stored
                error = f"{type(raised).__name__}: {raised}"
            self._call_soon(partial(self._done, self._store.revision, error))


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(revision: int, state: bytes) -> bytes:
    return hashlib.blake2b(struct.pack("<Q", revision) + state, digest_size=16).digest()


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _damaged(path: Path) -> RingmillError:
    return RingmillError(
        Code.DATA_LOSS,
        f"{path} is not as it was written. Put a copy in its place that is certain to be the newest; or remove it, "
        "which makes a new cluster, and start all workers anew",
    )
