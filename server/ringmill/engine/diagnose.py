"""Turns a compiler's complaint about an operator into one line for its author: where, what is wrong, what to write.

Some of the checks are ours alone: Numba would compile these operators and compute something else than Python does.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numba
from numba import types
from numba.core import ir
from numba.core.errors import NumbaError

from ringmill.core.errors import Code, RingmillError
from ringmill.engine.fuse import compiled_constant
from ringmill.engine.link import DECLARED, MISMATCH, mismatch, spoken
from ringmill.engine.plan import Plan, Read, StepPlan, WindowPlan

_PLACE = re.compile(r"at (\S[^\n(]*\.py) \((\d+)\)")
_OWN = str(Path(__file__).parent)
_OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "neg": "-",
    "iadd": "+=", "isub": "-=", "imul": "*=", "itruediv": "/=", "eq": "==", "ne": "!=", "lt": "<", "le": "<=",
    "gt": ">", "ge": ">=", "getitem": "[...]", "setitem": "[...] =",
}  # fmt: skip


def check_operators(plan: Plan, event_class: Any) -> None:
    """Compiles each step by itself, and checks what it returns and how it treats its state.

    Nothing is done twice: the fused kernel calls the same machine code. Raises RingmillError with the user's line.
    """
    fields = [types.int64, types.uint64, *(DECLARED[field.kind].result for field in plan.fields)]
    event = types.NamedTuple(fields, event_class)
    for step in plan.steps:
        try:
            if step.guard is not None:
                _compile_alone(step, step.guard, event)
            result = _compile_alone(step, step.function, event)
            if step.window is not None:
                _compile_helpers(step, step.window)
        except NumbaError as problem:
            raise _error(*translate(step, problem)) from problem
        _check_result(step, result)
        for part in _parts(step.function):
            for compiled in part.overloads.values():
                _check_statements(compiled.type_annotation)


def _compile_alone(step: StepPlan, dispatcher: Any, event: Any) -> Any:
    arguments = [
        types.float64 if isinstance(argument, Read) else numba.typeof(compiled_constant(argument))
        for argument in step.arguments
    ]
    signature = (numba.from_dtype(step.state), event, *arguments)
    dispatcher.compile(signature)
    return dispatcher.overloads[signature].signature.return_type


def _compile_helpers(step: StepPlan, window: WindowPlan) -> None:
    """What windows are made of beside the operator's function."""
    state = numba.from_dtype(step.state)
    for helper, states in ((window.merge, (state, state)), (window.result, (state,))):
        cast(Any, helper).compile(states)


def _check_result(step: StepPlan, result: Any) -> None:
    if step.is_tuple:
        if not isinstance(result, types.BaseTuple):
            raise _error(step.place, f"{step.name} returns {spoken(result)}: return the NamedTuple that it declares")
        return  # each element has been given its type by the NamedTuple's maker
    for output in step.outputs:
        if problem := mismatch(output.kind, output.name, result):
            raise _error(step.place, problem)


def _error(place: str, message: str) -> RingmillError:
    return RingmillError(Code.INVALID_ARGUMENT, f"{place}: {message}")


def translate(step: StepPlan, problem: NumbaError) -> tuple[str, str]:
    """The place and one readable line, from one of Numba's errors."""
    text = str(problem)
    places = [found for found in _PLACE.findall(text) if not found[0].startswith(_OWN) and "/numba/" not in found[0]]
    place = _shown(*places[0]) if places else step.place
    for pattern, tell in _TELLERS:
        if found := re.search(pattern, text):
            return place, tell(found)
    return place, _last_resort(text)


def _shown(file: str, line: str) -> str:
    path = Path(file)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path}:{line}"


def _last_resort(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Failed in", "During:", "File"))]
    return f"cannot be compiled: {(told or lines or ['unknown'])[0]}; use numbers, bools, labels and the state's Arrays"


def _type_words(text: str) -> str:
    """A type as Numba prints it, in the words of a user."""
    known = {
        "float": "a float", "int": "an int", "uint64": "a label", "bool": "a bool", "nestedarray": "an Array",
        "array": "an array", "unicode": "a text", "none": "None", "Optional": "a number or None", "Tuple": "a tuple",
        "UniTuple": "a tuple", "Record": "a state", "Literal[str]": "a text", "Literal[int]": "an int",
        "Literal[bool]": "a bool",
    }  # fmt: skip
    return next((words for begin, words in known.items() if text.strip().startswith(begin)), text.strip())


def _split_types(text: str) -> list[str]:
    """The types of a printed signature, which may have commas and brackets inside."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]


def _tell_call(found: re.Match[str]) -> str:
    name = found[1]
    values = " and ".join(_type_words(part) for part in _split_types(found[2])) or "nothing"
    if name == "getitem":
        return f"[...] cannot be used on {values}: only Arrays and tuples have elements, by whole numbers"
    hint = "; index an Array with [i]" if "an Array" in values else ""
    return f"{_OPERATORS.get(name, name + '()')} cannot take {values}: use numbers of the right kind{hint}"


def _tell_unify(found: re.Match[str]) -> str:
    name = found[3].partition(".")[0]
    which = "the result" if name.startswith("$") else name
    return f"{which} is {_type_words(found[1])} on one path and {_type_words(found[2])} on another: give it one type"


def _tell_attribute(found: re.Match[str]) -> str:
    owner = _type_words(found[2])
    hint = ": its length is fixed; assign to its elements, state.field[i] = value" if owner == "an Array" else ""
    return f"{owner} has no {found[1]}{hint or ': use its declared fields'}"


_NEW_ARRAY = "makes a whole array or needs memory for one, but kernels allocate nothing: loop over the elements"
_TELLERS: tuple[tuple[str, Any], ...] = (
    (rf"{MISMATCH}(.*)", lambda found: found[1]),
    (r"NRT required|_ol_array_allocate|Only accept returning of array", lambda _found: _NEW_ARRAY),
    (r"Cannot unify (.+) and (.+) for '([^']+)'", _tell_unify),
    (r"Unknown attribute '(\w+)' of type (\w+)", _tell_attribute),
    (
        r'Cannot cast (\w+).* to (\w+)[\s\S]*lowering "\((\w+)\)\.(\w+) =',
        lambda found: (
            f"{found[3]}.{found[4]} is {_type_words(found[2])} but gets {_type_words(found[1])}: "
            "assign to an element of an Array, and a value of the field's kind to any other field"
        ),
    ),
    (r'due to "TypeError: (.*?)"', lambda found: f"{found[1]}: call it with the arguments that it declares"),
    (r">>> (?:[\w.]*\.)?(\w+)\((.*)\)\n", _tell_call),
    (r"NameError: name '(\w+)' is not defined", lambda found: f"{found[1]} is not defined"),
)


def _parts(function: Any) -> Iterator[Any]:
    """A linked function and those that it calls."""
    found = [function]
    for part in found:
        values = part.py_func.__globals__.values()
        found.extend(value for value in values if hasattr(value, "py_func") and value not in found)
    yield from found


def _check_statements(typed: Any) -> None:
    for block in typed.blocks.values():
        for statement in block.body:
            _check_assigned(statement)
            owner = typed.typemap.get(getattr(getattr(statement, "target", None), "name", None))
            if isinstance(statement, ir.SetAttr) and isinstance(owner, types.Record):
                _check_store(typed, statement, statement.attr, owner.typeof(statement.attr))
            elif isinstance(statement, (ir.SetItem, ir.StaticSetItem)) and isinstance(owner, types.Array):
                _check_store(typed, statement, "the Array", owner.dtype)


def _check_assigned(statement: Any) -> None:
    """Where Python raises UnboundLocalError, Numba reads whatever is there: it marks such a variable as null."""
    value = getattr(statement, "value", None)
    if not (isinstance(statement, ir.Assign) and isinstance(value, ir.Expr) and value.op == "null"):
        return
    name = statement.target.name.partition(".")[0]
    place = _shown(statement.loc.filename, str(statement.loc.line))
    raise _error(
        place, f"{name} is read where it may not have been assigned: give it a value before the if or the loop"
    )


def _check_store(typed: Any, statement: Any, name: str, wanted: Any) -> None:
    value = typed.typemap[statement.value.name]
    if not _fits(value, wanted):
        place = _shown(statement.loc.filename, str(statement.loc.line))
        how = "int(...) drops the fraction" if isinstance(value, types.Float) else "convert it, or declare the field so"
        raise _error(place, f"{name} holds {spoken(wanted)} but gets {spoken(value)}: {how}")


def _fits(value: Any, wanted: Any) -> bool:
    if wanted == types.uint64 or value == types.uint64:
        return bool(value == wanted)
    if isinstance(wanted, types.Float):
        return isinstance(value, (types.Float, types.Integer))
    if isinstance(wanted, types.Integer):
        return isinstance(value, (types.Integer, types.Boolean))
    return not isinstance(wanted, types.Boolean) or isinstance(value, types.Boolean)
