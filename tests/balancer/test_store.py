"""The state on disk: whole or not at all, and for one balancer at a time."""

import errno
import os
import queue
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ringmill.balancer.adapters import store as files
from ringmill.balancer.adapters.store import FileStore, StoreThread
from ringmill.balancer.orders import Store
from ringmill.balancer.store import MemoryStore, StateStore
from ringmill.core.errors import Code, RingmillError


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StateStore:
    return MemoryStore() if request.param == "memory" else FileStore(tmp_path / "state")


def test_a_newer_state_replaces_an_older_one(store: StateStore) -> None:
    assert store.load() is None
    assert store.revision == 0
    store.put(b"one", 1)
    store.put(b"four", 4)
    assert (store.load(), store.revision) == (b"four", 4)
    for revision in (4, 3):
        with pytest.raises(RingmillError) as refused:
            store.put(b"old", revision)
        assert refused.value.code == Code.ABORTED
    assert (store.load(), store.revision) == (b"four", 4)


def test_a_state_outlives_its_process(tmp_path: Path) -> None:
    first = FileStore(tmp_path)
    first.put(b"state" * 10_000, 7)
    first.close()
    second = FileStore(tmp_path)
    assert second.load() == b"state" * 10_000
    assert second.revision == 7


def test_a_folder_has_one_balancer(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from ringmill.balancer.adapters.store import FileStore
from ringmill.core.errors import RingmillError
try:
    FileStore(Path({str(tmp_path)!r}))
    print("open")
except RingmillError as error:
    print(error.code.name, error.message)
"""

    def another() -> str:
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    held = FileStore(tmp_path)
    assert another().startswith("FAILED_PRECONDITION another balancer keeps its state in")
    held.close()
    assert another() == "open\n"


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = f"""
import os
from pathlib import Path
from ringmill.balancer.adapters.store import FileStore
store = FileStore(Path({str(tmp_path)!r}))
store.put(b"mine", 3)
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert FileStore(tmp_path).load() == b"mine"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:20],
        lambda data: b"",
        lambda data: data + b"x",
        lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:],
        lambda data: data[:9] + bytes([data[9] ^ 1]) + data[10:],
        lambda data: b"X" + data[1:],
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    store = FileStore(tmp_path)
    store.put(b"state" * 10, 1)
    path = tmp_path / files.FILE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RingmillError, match="not as it was written") as refused:
        store.load()
    assert refused.value.code == Code.DATA_LOSS


class Disk:
    """The calls that a store makes, in order; one of them fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: str, number: int) -> None:
        self.calls: list[str] = []
        for name in ("write", "fsync"):
            monkeypatch.setattr(files.os, name, self._watched(name, getattr(os, name), failing, number))
        rename = self._watched("rename", Path.rename, failing, number)
        monkeypatch.setattr(files.Path, "rename", lambda path, target: rename(path, target))

    def _watched(self, name: str, real: Callable[..., Any], failing: str, number: int) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            if name == failing and self.calls.count(name) == number:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments)

        return call


def test_it_is_synced_before_and_after_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileStore(tmp_path)
    disk = Disk(monkeypatch, "nothing", 0)
    store.put(b"one", 1)
    assert disk.calls == ["write", "fsync", "rename", "fsync"]


@pytest.mark.parametrize(
    ("failing", "number", "landed"),
    [("write", 1, b"old"), ("fsync", 1, b"old"), ("rename", 1, b"old"), ("fsync", 2, b"new")],
)
def test_whatever_fails_a_whole_state_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, number: int, landed: bytes
) -> None:
    store = FileStore(tmp_path)
    store.put(b"old", 1)
    with monkeypatch.context() as patch:
        Disk(patch, failing, number)
        with pytest.raises(RingmillError, match="No space left") as refused:
            store.put(b"new", 2)
    assert refused.value.code == Code.UNAVAILABLE
    assert store.revision == 1, "it is not known to be durable"
    store.close()
    again = FileStore(tmp_path)
    assert again.load() == landed
    again.put(b"newer", 3)
    assert again.load() == b"newer"


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """On a real file system of 64 KiB, where one may be mounted."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    store = None
    try:
        store = FileStore(tmp_path / "state")
        store.put(b"small", 1)
        with pytest.raises(RingmillError, match="No space left"):
            store.put(b"large" * 100_000, 2)
        assert (store.load(), store.revision) == (b"small", 1)
        store.put(b"small again", 3)
        assert store.load() == b"small again"
    finally:
        if store is not None:
            store.close()
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_disk_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileStore(tmp_path)
    store.put(b"old", 1)

    def refuse(*_arguments: Any) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "open", refuse)
        with pytest.raises(RingmillError, match="Read-only"):
            store.put(b"new", 2)
    assert (store.load(), store.revision) == (b"old", 1)


def test_where_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RingmillError, match="no state can be kept in"):
        FileStore(tmp_path / "file" / "state")


class Breaking(MemoryStore):
    def put(self, state: bytes, revision: int) -> None:
        if state == b"bad":
            raise RingmillError(Code.UNAVAILABLE, "disk full")
        if state == b"worse":
            raise ValueError("what is this")
        super().put(state, revision)


def test_the_thread_answers_each_order_in_turn() -> None:
    calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    answers: list[tuple[int, str]] = []
    thread = StoreThread(Breaking(), calls.put, lambda revision, error: answers.append((revision, error)))
    for number, state in enumerate((b"good", b"bad", b"worse", b"good"), 1):
        thread.put(Store(state, number))
    for _ in range(4):
        calls.get(timeout=10)()
    thread.stop()
    assert answers == [(1, ""), (1, "disk full"), (1, "ValueError: what is this"), (4, "")]


def test_folders_that_are_made_are_synced_in_those_that_hold_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        files.os, "fsync", lambda handle: synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
    )
    FileStore(tmp_path / "one" / "two").close()
    assert synced == [str(tmp_path), str(tmp_path / "one")]
    FileStore(tmp_path / "one" / "two").close()
    assert len(synced) == 2, "they are there"
