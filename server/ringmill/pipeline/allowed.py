"""What kernels may use, and what to write instead of what they may not."""

import ast
import types
from typing import Any

_CALLS = ("abs", "bool", "divmod", "enumerate", "float", "int", "len", "max", "min", "pow", "range", "round", "zip")
_RAISED = ("Exception", "ValueError", "ArithmeticError", "ZeroDivisionError", "IndexError", "RuntimeError")
BUILTINS = frozenset((*_CALLS, *_RAISED))
"""Python's own names that kernels may use."""

NUMPY_FUNCTIONS = frozenset(("all", "any", "argmax", "argmin", "mean", "prod", "std", "sum", "var"))
"""Functions of NumPy over a state's array that allocate nothing; ufuncs on numbers are allowed too."""

NUMPY_VALUES = frozenset(("pi", "e", "nan", "inf", "float32", "float64", "int64", "uint64", "bool_", "int32", "uint32"))
"""Constants and types of NumPy that kernels may use."""

_NODES: dict[type[ast.AST], str] = {
    ast.List: "makes a list: keep values in variables, in a tuple, or in an Array of the state",
    ast.ListComp: "makes a list: write a for loop over range()",
    ast.SetComp: "makes a set: write a for loop over range()",
    ast.DictComp: "makes a dict: write a for loop over range()",
    ast.GeneratorExp: "makes a generator: write a for loop over range()",
    ast.Dict: "makes a dict: keep values in fields or Arrays of the state",
    ast.Set: "makes a set: compare with each value, or with a tuple of them in a loop",
    ast.Lambda: "is a lambda: write a function with def at module level",
    ast.FunctionDef: "defines a function inside a kernel: write it at module level",
    ast.AsyncFunctionDef: "is asynchronous: kernels compute and do nothing else",
    ast.ClassDef: "defines a class inside a kernel: write it at module level",
    ast.Import: "imports inside a kernel: import at the top of the file",
    ast.ImportFrom: "imports inside a kernel: import at the top of the file",
    ast.Global: "changes a global: keep what changes in the state",
    ast.Nonlocal: "changes an outer variable: keep what changes in the state",
    ast.With: "opens a context: kernels do no input or output",
    ast.Await: "awaits: kernels compute and do nothing else",
    ast.Yield: "yields: return the outputs of one event",
    ast.YieldFrom: "yields: return the outputs of one event",
    ast.JoinedStr: "builds a text: kernels return numbers, bools and labels",
    ast.Delete: "deletes: assign a default to the field instead",
}


def refusal_of(node: ast.AST) -> str | None:
    """What is wrong with a piece of syntax in a kernel, and what to write instead; None: nothing."""
    if isinstance(node, ast.Compare) and any(_is_text(part) for part in (node.left, *node.comparators)):
        return 'compares with a text: labels are hashes in kernels; write NAME = label("...") at module level'
    if isinstance(node, ast.Raise) and not _is_constant_raise(node):
        return 'raises with a computed message: write raise ValueError("a constant text")'
    return _NODES.get(type(node))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_constant_raise(node: ast.Raise) -> bool:
    call = node.exc
    return not isinstance(call, ast.Call) or all(isinstance(argument, ast.Constant) for argument in call.args)


def numpy_refusal(name: str) -> str | None:
    """What is wrong with np.name in a kernel; None: nothing."""
    import numpy as np

    if name in NUMPY_FUNCTIONS or name in NUMPY_VALUES or isinstance(getattr(np, name, None), np.ufunc):
        return None
    if name == "random":
        return f"np.{name}: {_RANDOM}"
    if name in ("empty", "empty_like"):
        return f"np.{name} gives whatever is in memory, so results would differ: {_ALLOCATES}"
    return f"np.{name} cannot be used in a kernel, which allocates nothing: {_ALLOCATES}"


_TIME = "reads the clock, so a replica would compute something else: use event.time_us"
_RANDOM = "is random, so a replica would compute something else: draw it in the sender and send it as a field"
_ALLOCATES = "declare an Array in the state, or use plain numbers"
_IO = "does input or output, which kernels may not: return a value and act on it in the receiver"
_BY_MODULE = {
    "time": _TIME,
    "datetime": _TIME,
    "_datetime": _TIME,
    "random": _RANDOM,
    "secrets": _RANDOM,
    "uuid": _RANDOM,
}
_BY_BUILTIN = {
    "hash": "differs from process to process: event.key and labels are 64-bit hashes already",
    "id": "differs from process to process: use a field of the event",
    "print": _IO,
    "open": _IO,
    "input": _IO,
    "label": 'declares a label inside a kernel: write NAME = label("...") at module level and use NAME',
}


def advice(name: str, value: Any) -> str:
    """Why a kernel may not refer to this value, and what to write instead."""
    module = value.__name__ if isinstance(value, types.ModuleType) else _module_of(value)
    if module.partition(".")[0] in _BY_MODULE:
        return _BY_MODULE[module.partition(".")[0]]
    if module.startswith("numpy"):
        return (numpy_refusal(getattr(value, "__name__", name)) or "cannot be used in a kernel").partition(" ")[2]
    if getattr(value, "__name__", None) in _BY_BUILTIN:
        return _BY_BUILTIN[value.__name__]
    if isinstance(value, types.ModuleType):
        return f"is a module: kernels know math and numpy; import the function itself: from {value.__name__} import ..."
    if isinstance(value, str):
        return f'is a text: write {name} = label("{value}"), which is a hash inside kernels'
    if type(value).__name__ == "ndarray":
        return f"is an array that could change: write {name}.flags.writeable = False after filling it, at most 4 MiB"
    if isinstance(value, (list, dict, set, bytearray)) or module.startswith("array"):
        return f"is a {type(value).__name__}, which could change after compiling: write a tuple"
    if callable(value):
        return "cannot be compiled: call plain functions, functions of math, and ufuncs of NumPy"
    return f"is a {type(value).__name__}: kernels refer to numbers, bools, labels, tuples of them, and plain functions"


def _module_of(value: Any) -> str:
    owner = getattr(value, "__self__", None)
    named = getattr(value, "__module__", None) or getattr(type(owner), "__module__", None) or type(value).__module__
    return str(named)
