"""Objects, classes, functions and iterators from their nodes."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import pickle
import sys
import threading
import types
import weakref
from typing import Any

from flor_checkpoint.contents import NoContents
from flor_checkpoint.encode import new_walker
from flor_checkpoint.encode_objects import pickled
from flor_checkpoint.kinds import TypeBook, slots_of
from flor_checkpoint.project import Project, find
from flor_checkpoint.rebuild import LOST, Builder, Makers


def _object(builder: Builder, node: Any, nid: int) -> Any:
    _, written_cls, attrs, partial = node
    cls = builder.cls(written_cls)
    if cls is None:
        return builder.lose(builder.path(nid), f"no class {written_cls}")
    thing = builder.target(nid, cls)
    if thing is None:
        try:
            thing = object.__new__(cls)
        except TypeError:
            thing = cls.__new__(cls)
    builder.made(nid, thing)
    builder.fill(lambda: _fill_object(builder, thing, attrs, partial))
    return thing


def _fill_object(builder: Builder, thing: Any, attrs: dict[str, object], partial: bool) -> None:
    cls = type(thing)
    slots = slots_of(cls) if hasattr(cls, "__slots__") else {}
    own: dict[str, Any] = object.__getattribute__(thing, "__dict__") if cls.__dictoffset__ else {}
    if not partial:
        for name in [name for name in own if name not in attrs]:
            del own[name]
        for name, member in slots.items():
            if name not in attrs and hasattr(thing, member.__name__):
                member.__delete__(thing)
    for name, written in attrs.items():
        if type(written) is tuple and written[0] == "empty":
            held = own.get(name)
            value = builder.value(written)
            if held is not None and type(held) is type(value):
                held.clear()
                continue
        else:
            value = builder.value(written)
        if value is LOST:
            continue
        if name in slots:
            slots[name].__set__(thing, value)
        else:
            own[name] = value


def _class(builder: Builder, node: Any, nid: int) -> Any:
    _, spec, attrs = node
    thing = builder.any_target(nid)
    if not isinstance(thing, type):
        thing = find(spec, load=builder.snapshot.trusted) if spec else None
    if not isinstance(thing, type):
        return builder.lose(builder.path(nid), f"no class {spec}")
    cls = builder.made(nid, thing)

    def fill() -> None:
        for name, written in attrs.items():
            value = builder.value(written)
            if value is not LOST and vars(cls).get(name, LOST) is not value:
                try:
                    setattr(cls, name, value)
                except (AttributeError, TypeError):
                    builder.notes.append(f"{cls.__qualname__}.{name}: cannot be set")

    builder.fill(fill)
    return cls


def _function(builder: Builder, node: Any, nid: int) -> Any:
    _, spec, cells, defaults, keywords, attrs = node
    thing = builder.any_target(nid)
    if not isinstance(thing, types.FunctionType):
        thing = find(spec, load=builder.snapshot.trusted) if spec else None
    if not isinstance(thing, types.FunctionType):
        return builder.lose(builder.path(nid), f"no function {spec}")
    function: types.FunctionType = builder.made(nid, thing)

    def fill() -> None:
        builder.items(cells)
        for name, written in (("__defaults__", defaults), ("__kwdefaults__", keywords)):
            value = builder.value(written)
            if value is not LOST and value is not getattr(function, name):
                setattr(function, name, value)
        for name, written in attrs.items():
            value = builder.value(written)
            if value is not LOST:
                vars(function)[name] = value

    builder.fill(fill)
    return function


def _cell(builder: Builder, node: Any, nid: int) -> Any:
    _, full, written = node
    found = builder.target(nid, types.CellType)
    cell = builder.made(nid, types.CellType() if found is None else found)

    def fill() -> None:
        if full:
            value = builder.value(written)
            if value is not LOST:
                cell.cell_contents = value
        else:
            with contextlib.suppress(ValueError):  # it is empty
                del cell.cell_contents

    builder.fill(fill)
    return cell


_AS_NEW = {
    "_thread.lock": threading.Lock,
    "_thread.RLock": threading.RLock,
    "threading.Condition": threading.Condition,
}
"""What is the same as another one whenever nobody holds it: at an iteration's border the thread that trains holds none."""


def _keep(builder: Builder, node: Any, nid: int) -> Any:
    _, label, spec, benign = node
    thing = builder.any_target(nid)
    if thing is None and spec:
        thing = sys.modules.get(spec) if label == "module" else find(spec, load=builder.snapshot.trusted)
    if thing is None and label == "module" and builder.snapshot.trusted:
        try:
            thing = importlib.import_module(spec)
        except Exception:  # whatever a module does when it is imported
            thing = None
    if thing is not None:
        return thing
    if label in _AS_NEW:
        return _AS_NEW[label]()
    if benign:
        builder.notes.append(f"a {label} made in the loop is left out")
        return LOST
    return builder.lose(builder.path(nid), f"no {label} {spec or ''} in this process")


def _method(builder: Builder, node: Any, nid: int) -> Any:
    function, owner = builder.value(node[1]), builder.value(node[2])
    if function is LOST or owner is LOST:
        return LOST
    found = builder.target(nid, types.MethodType)
    if found is not None and found.__func__ is function and found.__self__ is owner:
        return found
    return types.MethodType(function, owner)


def _builtin(builder: Builder, node: Any, nid: int) -> Any:
    owner = builder.value(node[1])
    if owner is LOST:
        return LOST
    found = builder.target(nid, types.BuiltinFunctionType)
    return found if found is not None and found.__self__ is owner else getattr(owner, node[2])


def _partial(builder: Builder, node: Any, nid: int) -> Any:
    _, function, args, keywords, attrs = node
    found = builder.target(nid, functools.partial)
    thing: Any = builder.made(nid, functools.partial(int) if found is None else found)

    def fill() -> None:
        parts = [builder.value(part) for part in (function, args, keywords)]
        if not any(part is LOST for part in parts):
            thing.__setstate__((*parts, {name: builder.value(value) for name, value in attrs.items()}))

    builder.fill(fill)
    return thing


class _Gone:
    pass


def _weakref(builder: Builder, node: Any, nid: int) -> Any:
    found = builder.target(nid, weakref.ref)
    if node[1] is None:
        return found if found is not None else weakref.ref(_Gone())
    thing = builder.value(node[1])
    if thing is LOST:
        return LOST
    return found if found is not None and found() is thing else weakref.ref(thing)


def _proxy(builder: Builder, node: Any, nid: int) -> Any:
    found = builder.target(nid, types.MappingProxyType)
    content = builder.value(node[1])
    return types.MappingProxyType(content) if found is None else found


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes | memoryview, builder: Builder, refs: list[object]) -> None:
        super().__init__(io.BytesIO(data))
        self._builder = builder
        self._refs = refs

    def persistent_load(self, pid: Any) -> Any:
        value = self._builder.value(self._refs[pid])
        if value is LOST:
            raise pickle.UnpicklingError("a part of it is not here")
        return value


def _opaque(builder: Builder, node: Any, nid: int) -> Any:
    _, spec, content, refs, unchanged, path = node
    data = builder.snapshot.content(content)
    found = builder.any_target(nid)
    if unchanged and found is not None and spec == f"{type(found).__module__}:{type(found).__qualname__}":
        walker = new_walker(TypeBook(Project(None)), NoContents(), None)
        try:
            same = pickled(walker, found, 0)[0] == data
        except Exception:  # whatever a __reduce__ raises
            same = False
        if same:
            builder.items(refs)
            return found
    if not builder.snapshot.trusted:
        return builder.lose(path, f"a pickled {spec} from a store that is not trusted")
    try:
        return _Unpickler(data, builder, refs).load()
    except Exception as error:  # whatever unpickling raises
        return builder.lose(path, f"{spec}: {type(error).__name__}: {error}")


def _lost(builder: Builder, node: Any, _nid: int) -> Any:
    return builder.lose(node[2], node[1])


MAKERS: Makers = {
    "object": _object,
    "class": _class,
    "function": _function,
    "cell": _cell,
    "keep": _keep,
    "method": _method,
    "builtin": _builtin,
    "partial": _partial,
    "weakref": _weakref,
    "proxy": _proxy,
    "opaque": _opaque,
    "lost": _lost,
}
