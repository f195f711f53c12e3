"""The folder of machine code is its owner's alone."""

from pathlib import Path

import pytest
from numba import types

from ringmill.core.errors import RingmillError
from ringmill.core.jit import compile_kernel, kernel, private_cache_root


def test_made_for_the_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGMILL_CACHE_DIR", str(tmp_path / "new"))
    root = private_cache_root()
    assert [folder.stat().st_mode & 0o777 for folder in (root, root.parent)] == [0o700, 0o700]


@pytest.mark.parametrize("open_folder", ["ringmill", "ringmill/kernels"])
@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_refused_where_others_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_folder: str, mode: int
) -> None:
    monkeypatch.setenv("RINGMILL_CACHE_DIR", str(tmp_path))
    private_cache_root()
    (tmp_path / open_folder).chmod(mode)
    with pytest.raises(RingmillError, match="could be written by another user"):
        private_cache_root()


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RINGMILL_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(RingmillError, match="set RINGMILL_CACHE_DIR to a folder of yours"):
        private_cache_root()


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    def declared(value: int) -> int:
        return value + 1

    signature = types.int64(types.int64)
    compile_kernel(kernel(folder=tmp_path)(declared), [signature])
    (index,) = tmp_path.rglob("*.nbi")
    index.write_bytes(index.read_bytes()[:-9])
    with pytest.raises(RingmillError, match="remove that folder"):
        compile_kernel(kernel(folder=tmp_path)(declared), [signature])
    index.write_bytes(b"")
    with pytest.raises(RingmillError, match="is damaged"):
        compile_kernel(kernel(folder=tmp_path)(declared), [signature])
