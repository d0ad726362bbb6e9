"""Iterators, generators and open files from their nodes.

A restore that has generators to make is done twice: the first time they are made and advanced, which runs code of the
script; the second time, when nothing runs any more, everything is filled.
"""

from __future__ import annotations

import builtins
import io
import itertools
import types
from collections.abc import Iterator
from typing import Any

from flor_checkpoint.counting import set_count
from flor_checkpoint.rebuild import LOST, BeingMadeError, Builder, Makers
from flor_checkpoint.suspended import UnreadableError, advance, begin, look, parameters, place_of, write, yields


def _exhausted(builder: Builder, _node: Any, nid: int) -> Any:
    found = builder.target(nid, types.GeneratorType)
    if found is not None and found.gi_frame is None:
        return found
    generator: Iterator[None] = (None for _ in ())
    for _ in generator:
        pass
    return generator


def _iterator(builder: Builder, node: Any, nid: int) -> Any:
    _, name, module, args, state = node
    source = {"builtins": builtins, "itertools": itertools}.get(module)
    maker: Any = getattr(source, name, None)
    if maker is None:
        return builder.lose(builder.path(nid), f"no iterator {module}.{name}")
    adopted = builder.adopted(nid)
    if adopted is not None:
        return _iterator_in_place(builder, node, nid, adopted)
    parts = [builder.value(arg) for arg in args]
    if any(part is LOST for part in parts):
        return LOST
    thing = builder.made(nid, maker(*parts))
    if state is not None:
        builder.fill(lambda: thing.__setstate__(builder.value(state)), last=True)
    return thing


def _iterator_in_place(builder: Builder, node: Any, nid: int, thing: Any) -> Any:
    """An iterator that code has on its stack: it must be that very one."""
    _, name, _, args, state = node
    refused = f"the {name} of a for statement in a generator cannot be put back"
    parts = [builder.value(arg) for arg in args]
    if type(thing) is enumerate and name == "enumerate":
        set_count(thing, parts[1])
    if not _come_to(thing, name, parts):
        return builder.lose(builder.path(nid), refused)
    builder.made(nid, thing)

    def fill() -> None:
        made = thing.__reduce__()
        wanted = builder.value(state)
        if wanted is not None and (len(made) > 2 and made[2] != wanted):
            thing.__setstate__(wanted)
        again = thing.__reduce__()
        if (again[2] if len(again) > 2 else None) != wanted and not _is_empty(again):
            builder.lose(builder.path(nid), refused)

    builder.fill(fill, last=True)
    return thing


def _is_empty(made: Any) -> bool:
    """Whether an iterator, as it reduces, has nothing to give whatever its position."""
    return made[0] is iter and isinstance(made[1][0], (list, tuple, str, bytes, range)) and not made[1][0]


def _come_to(thing: Any, name: str, parts: list[Any]) -> bool:
    """Draw from an iterator until it reduces to `parts`; whether it does."""
    while True:
        made = thing.__reduce__()
        if made[0].__name__ != name or len(made[1]) != len(parts):
            return False
        if all(_same(has, part) for has, part in zip(made[1], parts, strict=True)):
            return True
        if not any(_is_before(has, part) for has, part in zip(made[1], parts, strict=True)):
            return False
        try:
            next(thing)
        except StopIteration:
            return False


def _same(has: Any, part: Any) -> bool:
    if type(has) is tuple and type(part) is tuple and len(has) == len(part):
        return all(map(_same, has, part))
    plain = isinstance(has, (int, float, str, bytes, range, type(None)))
    return has is part or (type(has) is type(part) and plain and has == part)


def _is_before(has: Any, part: Any) -> bool:
    """Whether a count or a range may become the other one by drawing."""
    if type(has) is not type(part):
        return False
    if isinstance(has, range):
        return has.step == part.step and has.stop == part.stop and len(has) > len(part)
    return isinstance(has, int) and has < part


def _generator(builder: Builder, node: Any, nid: int) -> Any:
    _, name, count, place, function, variables, stack = node
    refused = f"the generator {name} cannot be put back: "

    def lose(why: str) -> Any:
        return builder.lose(builder.path(nid), refused + why)

    try:
        thing = _live(builder, nid, name, count, place)
        if thing is None:
            if builder.adopted(nid) is not None:
                return lose("what stands in its place does not come to that yield")
            builder.making.add(nid)
            try:
                thing = _made_anew(builder, name, count, place, function, variables)
            finally:
                builder.making.discard(nid)
        builder.made(nid, thing)
        here = look(thing).stack
        if len(here) != len(stack):
            return lose("its code keeps other things than when recorded")
        for written, held in zip(stack, here, strict=True):
            adopt(builder, written, held)
        if any(builder.value(written) is not held for written, held in zip(stack, here, strict=True)):
            return lose("what its code keeps cannot be put back in place")
    except UnreadableError as error:
        return lose(str(error))
    except BeingMadeError:
        raise
    except Exception as error:  # whatever the script's code raises
        return lose(f"{type(error).__name__}: {error}")
    builder.generators[nid] = thing

    def fill() -> None:
        values = {key: builder.value(written) for key, written in variables.items()}
        try:
            if any(value is LOST for value in values.values()):
                raise UnreadableError("a variable of it is lost")
            if place_of(thing) != place or any(
                builder.value(written) is not held for written, held in zip(stack, look(thing).stack, strict=True)
            ):
                raise UnreadableError("it has been drawn from meanwhile")
            write(thing, values)
        except (UnreadableError, ValueError) as error:
            lose(str(error))

    builder.fill(fill, last=True)
    return thing


def _live(builder: Builder, nid: int, name: str, count: int, place: int) -> Any:
    """The generator that this process has in its place, brought to the yield; None if there is none that comes there."""
    found = builder.target(nid, types.GeneratorType)
    if found is None or found.gi_frame is None or found.gi_code.co_qualname != name:
        return None
    if len(yields(found.gi_code)) != count or not advance(found, place):
        return None
    return found


def _made_anew(builder: Builder, name: str, count: int, place: int, function: object, variables: dict[str, Any]) -> Any:
    maker = builder.value(function)
    if not isinstance(maker, types.FunctionType) or maker.__code__.co_qualname != name:
        raise UnreadableError("this process has not the function that makes it")
    if len(yields(maker.__code__)) != count:
        raise UnreadableError("its code has changed")
    wanted = parameters(maker.__code__)
    values = {key: builder.value(written) for key, written in variables.items() if key in wanted}
    if any(value is LOST for value in values.values()):
        raise UnreadableError("one of its arguments is lost")
    builder.finish()
    made = begin(maker, values)
    if not advance(made, place):
        raise UnreadableError("its code does not come to that yield")
    return made


def adopt(builder: Builder, written: Any, thing: Any) -> None:
    """Let `thing`, which is on a stack, be what a node is restored to, and so for what it cannot do without."""
    if type(written) is not tuple or type(written[0]) is not int or not builder.adopt(written[0], thing):
        return
    node = builder.snapshot.nodes[written[0]]
    if node[0] == "iterator":
        made = thing.__reduce__()
        if len(made[1]) == len(node[3]):
            for arg, has in zip(node[3], made[1], strict=True):
                adopt(builder, arg, has)
    elif node[0] == "tuple" and isinstance(thing, tuple) and len(thing) == len(node[2]):
        for item, has in zip(node[2], thing, strict=True):
            adopt(builder, item, has)
    elif node[0] == "method" and isinstance(thing, types.MethodType):
        adopt(builder, node[1], thing.__func__)
        adopt(builder, node[2], thing.__self__)
    elif node[0] == "builtin" and isinstance(thing, types.BuiltinFunctionType):
        adopt(builder, node[1], thing.__self__)


def _file(builder: Builder, node: Any, nid: int) -> Any:
    found = builder.any_target(nid)
    if not isinstance(found, io.IOBase) or found.closed:
        return builder.lose(builder.path(nid), "the file is not open in this process")
    found.seek(node[1])
    return found


MAKERS: Makers = {"exhausted": _exhausted, "iterator": _iterator, "generator": _generator, "file": _file}
