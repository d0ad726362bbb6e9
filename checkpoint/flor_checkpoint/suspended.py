"""Generators that wait at a ``yield``: what their frames hold, and how a frame is brought to hold it again.

The state of such a generator is the ``yield`` it waits at, its local variables, and what its code has on the stack: the
iterators of the ``for`` loops around that ``yield``, the exits of the ``with`` statements. A generator cannot be made at
a place in its code, but it can be advanced to the same ``yield`` and its variables be written over; what is on the
stack keeps its identity and is changed in place. Where that cannot be done the generator is lost.
"""

from __future__ import annotations

import ctypes
import dis
import functools
import gc
import inspect
import sys
import types
from collections.abc import Mapping
from typing import Any, NamedTuple

NOT_BEGUN = -1
MAX_STEPS = 1000
"""How often a generator is advanced, at most, to come to a ``yield``."""


class UnreadableError(Exception):
    """A generator's frame cannot be read or written; the text says why."""


class Suspended(NamedTuple):
    """What a suspended generator holds."""

    function: types.FunctionType | None
    """What made it, as far as that can be told."""
    place: int
    """Which of its code's yields it waits at, counted from 0 in the order of the code; `NOT_BEGUN`."""
    variables: dict[str, object]
    stack: list[object]


@functools.lru_cache(maxsize=256)
def yields(code: types.CodeType) -> tuple[int, ...]:
    """Offsets of the instructions at which a generator of that code can wait."""
    return tuple(each.offset for each in dis.get_instructions(code) if each.opname == "YIELD_VALUE")


def place_of(generator: types.GeneratorType[Any, Any, Any]) -> int:
    """Where it waits; UnreadableError where that cannot be told."""
    frame = _frame(generator)
    offsets = yields(generator.gi_code)
    if frame.f_lasti in offsets:
        return offsets.index(frame.f_lasti)
    if not offsets or frame.f_lasti < offsets[0]:
        return NOT_BEGUN
    raise UnreadableError("it waits at no yield")


def _frame(generator: types.GeneratorType[Any, Any, Any]) -> types.FrameType:
    if generator.gi_frame is None or generator.gi_running:
        raise UnreadableError("it does not wait")
    return generator.gi_frame


def look(generator: types.GeneratorType[Any, Any, Any]) -> Suspended:
    """What a generator holds; UnreadableError where that cannot be told."""
    place = place_of(generator)
    variables = _variables(_frame(generator))
    items = gc.get_referents(generator)
    for start in (index for index, item in enumerate(items) if item is generator.gi_code):
        end = _after_variables(generator.gi_code, items, start + 1, variables)
        if end is not None:
            made_by = next((each for each in items[:start] if _is_maker(each, generator)), None)
            stack = items[end:]
            if stack and stack[-1] is None:  # not of the stack: no exception is being handled (there was one)
                stack.pop()
            return Suspended(made_by, place, variables, stack)
    if place == NOT_BEGUN:
        made_by = next((each for each in items if _is_maker(each, generator)), None)
        return Suspended(made_by, place, variables, [])
    raise UnreadableError("its frame is laid out in a way that is not known")


def _is_maker(thing: object, generator: types.GeneratorType[Any, Any, Any]) -> bool:
    return type(thing) is types.FunctionType and thing.__code__ is generator.gi_code


def _variables(frame: types.FrameType) -> dict[str, object]:
    found = dict(frame.f_locals)
    if sys.version_info < (3, 13):
        frame.f_locals.clear()  # a copy that the frame would keep, and with it what the variables held
    return found


def _after_variables(code: types.CodeType, items: list[object], at: int, variables: Mapping[str, object]) -> int | None:
    """The index in `items` past a frame's variables, which begin at `at`; None if they are not there."""
    for name in code.co_varnames:
        cell = name in code.co_cellvars
        if not cell and name not in variables:
            continue
        if at >= len(items) or (type(items[at]) is not types.CellType if cell else items[at] is not variables[name]):
            return None
        at += 1
    for name in (*code.co_cellvars, *code.co_freevars):
        if name not in code.co_varnames:
            if at >= len(items) or type(items[at]) is not types.CellType:
                return None
            at += 1
    return at


def advance(generator: types.GeneratorType[Any, Any, Any], place: int) -> bool:
    """Run a generator until it waits at a place; whether it came there. Whatever its code raises is raised."""
    if place == NOT_BEGUN:
        return place_of(generator) == place
    for _ in range(MAX_STEPS):
        here = place_of(generator)
        if here == place:
            return True
        try:
            next(generator)
        except StopIteration:
            return False
    return False


def write(generator: types.GeneratorType[Any, Any, Any], variables: Mapping[str, object]) -> None:
    """Give its variables these values, and no others; UnreadableError where it has not all of them."""
    code, frame = generator.gi_code, _frame(generator)
    unknown = variables.keys() - {*code.co_varnames, *code.co_cellvars, *code.co_freevars}
    if unknown:
        raise UnreadableError(f"its code has no variable {min(unknown)}")
    live = frame.f_locals
    if sys.version_info >= (3, 13):
        if live.keys() - variables.keys():
            raise UnreadableError("a variable that it must not have has a value")
        for name, value in variables.items():
            live[name] = value
        return
    live.clear()
    live.update(variables)
    ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(1))
    live.clear()


def parameters(code: types.CodeType) -> tuple[str, ...]:
    """The names of a function's parameters, ``*`` and ``**`` last."""
    count = code.co_argcount + code.co_kwonlyargcount
    return code.co_varnames[
        : count + bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    ]


def begin(function: types.FunctionType, variables: Mapping[str, object]) -> types.GeneratorType[Any, Any, Any]:
    """A generator of that function whose parameters have the values of `variables`; UnreadableError if one lacks."""
    code = function.__code__
    names = parameters(code)
    count = code.co_argcount + code.co_kwonlyargcount
    if any(name not in variables for name in names):
        raise UnreadableError("it no longer has one of its arguments")
    positional = [variables[name] for name in names[: code.co_argcount]]
    keywords: dict[str, Any] = {name: variables[name] for name in names[code.co_argcount : count]}
    rest = list(names[count:])
    if code.co_flags & inspect.CO_VARARGS:
        more = variables[rest.pop(0)]
        positional += more if isinstance(more, tuple) else ()
    if rest:
        more = variables[rest[0]]
        keywords |= more if isinstance(more, dict) else {}
    made = function(*positional, **keywords)
    if type(made) is not types.GeneratorType or made.gi_code is not code:
        raise UnreadableError("its function makes something else")
    return made
