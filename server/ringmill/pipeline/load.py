"""Loads the pipelines of an app file."""

import importlib.util
import sys
import traceback
from pathlib import Path

from ringmill.core.errors import Code, RingmillError
from ringmill.pipeline.pipeline import Pipeline
from ringmill.pipeline.place import Place, wrong

MODULE = "ringmill_app"
"""The name that an app file is loaded under, wherever it lies."""


def load_pipelines(path: str | Path) -> dict[str, Pipeline]:
    """Runs an app file and returns its pipelines by name: the module's globals that are one.

    Raises RingmillError: no such file, an error in it (with its line), no pipeline, two of one name.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise RingmillError(Code.NOT_FOUND, f"{path}: no such file")
    found: dict[str, Pipeline] = {}
    for value in _run(file).values():
        if not isinstance(value, Pipeline) or found.get(value.name) is value:
            continue
        if value.name in found:
            raise wrong(value.place, f'a second pipeline "{value.name}"; the first is at {found[value.name].place}')
        found[value.name] = value
    if not found:
        raise RingmillError(Code.INVALID_ARGUMENT, f'{path}: no pipeline: write flights = Pipeline("flights", ...)')
    return found


def _run(file: Path) -> dict[str, object]:
    """The globals of a file that has been run as a module. It may import its neighbours, as a script may."""
    spec = importlib.util.spec_from_file_location(MODULE, file)
    if spec is None or spec.loader is None:
        raise RingmillError(Code.INVALID_ARGUMENT, f"{file}: not a Python file: its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    except RingmillError:
        raise
    except SyntaxError as problem:
        raise wrong(Place(problem.filename or str(file), problem.lineno or 1), f"syntax error: {problem.msg}") from None
    except SystemExit as problem:
        raise wrong(
            _last_line(problem, file),
            'the program ends while its pipelines are loaded: put this under if __name__ == "__main__":',
        ) from None
    except Exception as problem:
        raise wrong(_last_line(problem, file), f"{type(problem).__name__}: {problem}") from problem
    finally:
        sys.path.remove(str(file.parent))
    return vars(module)


def _last_line(problem: BaseException, file: Path) -> Place:
    """The innermost line of the app file on the way to an exception."""
    lines = [frame.lineno for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == str(file)]
    return Place(str(file), lines[-1] if lines and lines[-1] else 1)
