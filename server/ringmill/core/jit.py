"""All use of Numba's machinery: how a kernel is declared, cached, compiled ahead and sealed.

Numba's own cache does not notice an edit in a called function of another file, so every kernel is cached in a folder
named by a digest of *all* kernel sources, the versions of Numba and LLVM, and the processor. The folder is private to
the user, because it holds machine code.
"""

import hashlib
import os
import pickle
import stat
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core import config as numba_config
from numba.core import event
from numba.core.compiler_lock import global_compiler_lock

from ringmill.core.errors import Code, RingmillError

P = ParamSpec("P")
R = TypeVar("R")

_njit: Any = numba.njit  # its overloads do not name the options that we need
_compiler_lock: Any = global_compiler_lock
_config: Any = numba_config  # its settings are made at run time, so no type checker knows them


def private_cache_root() -> Path:
    """The folder of compiled code, created for its owner alone; refused when somebody else could write there."""
    base = os.environ.get("RINGMILL_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    parent = Path(base) / "ringmill"
    root = parent / "kernels"
    for folder in (parent, root):  # who may write the parent may put another folder in the place of ours
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"cannot make {folder}, for machine code ({error.strerror}): set RINGMILL_CACHE_DIR to a folder of "
                "yours",
            ) from None
        found = folder.stat()
        if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"{folder} could be written by another user, and is for machine code: chmod 700 it, or set "
                "RINGMILL_CACHE_DIR",
            )
    return root


@cache
def toolchain_digest() -> str:
    """Names what turns a kernel's source into machine code: versions, processor and our own kernel sources."""
    digest = hashlib.sha256()
    for part in (sys.version, numba.__version__, llvmlite.__version__, llvm.get_host_cpu_name()):
        digest.update(part.encode() + b"\0")
    package = Path(__file__).resolve().parent.parent
    for folder in ("core", "engine"):
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def cache_folder(digest: str = "") -> Path:
    """The folder for kernels whose sources have this digest beside our own."""
    name = hashlib.sha256((toolchain_digest() + digest).encode()).hexdigest()[:32]
    folder = private_cache_root() / name
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder


def kernel(
    *, inline: bool = False, boundscheck: bool = True, allocates: bool = True, folder: Path | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declares a compiled function. It compiles at its first call, or ahead through `compile_kernel`.

    inline: paste it into its callers (for primitives of a few instructions); such a kernel is not cached by itself.
    boundscheck: check every array index; switched off only where the code itself proves the index, and says so.
    allocates: False leaves out Numba's reference counts, an atomic operation for each array handed to an inline kernel:
        with them the scanner was three times slower, and so was the state table's look-up. Such a kernel may only use
        the arrays that it was given, and so may everything inlined into it: it does not compile if it allocates.
    folder: where the machine code is cached; by default the folder of our own kernels.
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": boundscheck, "_nrt": allocates}
        if inline:
            return cast(Callable[P, R], _njit(inline="always", **options)(function))
        previous = _config.CACHE_DIR
        _config.CACHE_DIR = str(folder or cache_folder())
        try:
            return cast(Callable[P, R], _njit(cache=True, **options)(function))
        finally:
            _config.CACHE_DIR = previous

    return declare


def kernel_part(function: Callable[P, R], boundscheck: bool = True) -> Callable[P, R]:
    """Declares a user's function, which becomes part of the kernels that call it and is not cached by itself.

    It behaves as the Python that its author knows: indexes are checked, dividing by zero raises. It cannot allocate:
    memory that it held when it raised would never be freed. boundscheck: as for `kernel`.
    """
    return cast(Callable[P, R], _njit(nogil=True, error_model="python", boundscheck=boundscheck, _nrt=False)(function))


def compile_kernel(function: Callable[..., Any], signatures: Iterable[Any]) -> None:
    """Compiles a kernel, or loads it from the cache, for exactly these signatures, and refuses any other.

    Raises RingmillError DATA_LOSS for a damaged cache.
    """
    dispatcher = cast(Any, function)
    with _compiler_lock:  # two threads may come to need a kernel at once
        dispatcher.disable_compile(False)
        for signature in signatures:
            if signature.args not in dispatcher.overloads:
                _compile(dispatcher, signature)
        dispatcher.disable_compile()


def _compile(dispatcher: Any, signature: Any) -> None:
    try:
        dispatcher.compile(signature)
    except (EOFError, pickle.UnpicklingError) as error:  # a file that a crash of the machine cut off
        raise RingmillError(
            Code.DATA_LOSS, f"compiled code in {private_cache_root()} is damaged ({error}): remove that folder"
        ) from error


def entry_point(function: Callable[P, R], signature: Any) -> Callable[P, R]:
    """The machine code that `compile_kernel` made for this signature, to be called without looking at argument types.

    A call costs 0.3 us where the dispatcher takes 4 us to tell the types of named tuples. So arrays of another type
    would be misread: only for callers that made the arrays themselves.
    """
    return cast(Callable[P, R], cast(Any, function).overloads[signature.args].entry_point)


class _Sealed(event.Listener):  # type: ignore[misc]  # Numba ships no types
    def on_start(self, event: Any) -> None:
        raise RingmillError(Code.INTERNAL, f"compiled after READY: {event.data.get('dispatcher')}")

    def on_end(self, event: Any) -> None:
        pass


def seal() -> None:
    """Makes any later compilation an error: a worker that is READY must not stop for seconds to compile."""
    event.register("numba:compile", _Sealed())
