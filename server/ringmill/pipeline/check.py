"""Reads a kernel's source before any compiler does, and says in the user's words what a kernel may not contain."""

import ast
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import FunctionType, ModuleType

import numpy as np

from ringmill.pipeline.allowed import numpy_refusal, refusal_of
from ringmill.pipeline.fields import EVENT_HEADER
from ringmill.pipeline.operators import Operator
from ringmill.pipeline.place import Place, wrong
from ringmill.pipeline.source import check_calls, check_parameters, check_reference, reached, references, syntax_tree


@dataclass(frozen=True, slots=True)
class _Record:
    """A parameter whose attributes are known."""

    owner: str
    fields: tuple[str, ...]
    writable: bool


def check_operator(operator: Operator) -> None:
    """Raises RingmillError at the first line of the operator, or of a function it calls, that a kernel may not have."""
    state = _Record(operator.state.__name__, tuple(field.name for field in operator.state.declared), True)
    event = _Record(operator.event.__name__, (*EVENT_HEADER, *(field.name for field in operator.event.declared)), False)
    _check_kernel(operator.function, (state, event))
    for column in operator.columns:
        _check_kernel(column.read, (state,))
    if operator.guard is not None:
        _check_kernel(operator.guard, (replace(state, writable=False), event))
    if operator.merge is not None:
        _check_kernel(operator.merge, (state, state))
    if operator.result is not None:
        _check_kernel(operator.result, (state,))


def _check_kernel(function: object, owners: tuple[_Record, ...]) -> None:
    """Checks a function whose first parameters are these records, and all that it calls."""
    plain = _plain(function)
    records = dict(zip(plain.__code__.co_varnames, owners, strict=False))
    for current in reached(plain):
        if current is not plain:
            check_parameters(current)
        _check_function(current, records if current is plain else {})
    check_calls(plain)


def reads_time(operator: Operator) -> bool:
    """Whether the operator, or a function it calls, reads time_us of anything."""
    nodes = (node for current in reached(_plain(operator.function)) for node in ast.walk(syntax_tree(current)))
    return any(isinstance(node, ast.Attribute) and node.attr == "time_us" for node in nodes)


def _plain(function: object) -> FunctionType:
    assert isinstance(function, FunctionType)
    return function


def _check_function(function: FunctionType, records: Mapping[str, _Record]) -> None:
    file = function.__code__.co_filename
    tree = syntax_tree(function)
    modules = {ref.name: ref.value for ref in references(function) if isinstance(ref.value, ModuleType)}
    events = {name for name, record in records.items() if not record.writable}
    in_place = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    arguments = {id(node) for call in ast.walk(tree) if isinstance(call, ast.Call) for node in call.args}
    for node in _body(tree):
        place = Place(file, getattr(node, "lineno", tree.lineno))
        if refusal := refusal_of(node):
            raise wrong(place, f"{function.__name__} {refusal}")
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            _check_attribute(node, node.value.id, records, modules, place)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in in_place:
            # Under another name, what is read of them would pass unseen: np.random, or an event's time.
            if modules.get(node.id) in (math, np):
                raise wrong(place, f"{node.id} is used as a value: write {node.id}.name where the function is called")
            if node.id in events and id(node) not in arguments:
                raise wrong(place, f"{node.id} is used as a whole: read its fields by name, as in {node.id}.key")
    for reference in references(function):
        check_reference(reference)


def _body(tree: ast.FunctionDef) -> Iterator[ast.AST]:
    """Every piece of syntax inside a function, its signature left out, in the order of lines."""
    nodes = [node for statement in tree.body for node in ast.walk(statement)]
    yield from sorted(nodes, key=lambda node: getattr(node, "lineno", 0))


def _check_attribute(
    node: ast.Attribute, base: str, records: Mapping[str, _Record], modules: Mapping[str, ModuleType], place: Place
) -> None:
    if modules.get(base) is np and (refusal := numpy_refusal(node.attr)):
        raise wrong(place, refusal)
    record = records.get(base)
    if record is None:
        return
    if node.attr not in record.fields:
        raise wrong(
            place,
            f"{record.owner} has no field {node.attr}: declare it, or use one of {', '.join(record.fields)}",
        )
    if not record.writable and not isinstance(node.ctx, ast.Load):
        raise wrong(
            place,
            f"{base}.{node.attr} is assigned, but an event is read-only, and so is a guard's state: use a variable, "
            "or the state",
        )
