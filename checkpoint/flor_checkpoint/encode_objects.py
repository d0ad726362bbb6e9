"""Nodes of objects, classes, functions, iterators, and of what stays as it is."""

from __future__ import annotations

import functools
import io
import pickle
import sys
import threading
import warnings
import weakref
from collections import OrderedDict
from typing import Any

from flor_checkpoint.leaves import ATOMS
from flor_checkpoint.project import spec_of
from flor_checkpoint.walk import Handlers, Node, Walker, is_plain


def encode_object(walker: Walker, thing: object, nid: int, without: str | None = None) -> Node:
    """The node of an object that is its attributes."""
    return ("object", walker.cls(thing, nid), walker.attributes(thing, nid, without) or {}, False)


def _class(walker: Walker, thing: Any, nid: int) -> Node:
    spec = spec_of(thing)
    if not walker.book.project.owns(getattr(thing, "__module__", None)):
        return ("keep", "class", spec, False)
    attrs: dict[str, object] = {}
    for name, value in list(vars(thing).items()):
        hidden = name.startswith(("__", "_abc_", "_member_", "_value2member"))
        if (
            not hidden
            and not hasattr(type(value), "__get__")
            and not isinstance(value, type)
            and type(value) is not thing
        ):
            attrs[name] = walker.ref(value, nid, name)
    return ("class", spec, attrs)


def _function(walker: Walker, thing: Any, nid: int) -> Node:
    spec = spec_of(thing)
    if not walker.book.project.owns(thing.__module__):
        return ("keep", "function", spec, False)
    cells = [walker.ref(cell, nid, ("cell", index)) for index, cell in enumerate(thing.__closure__ or ())]
    defaults = walker.ref(thing.__defaults__, nid, "__defaults__")
    keywords = walker.ref(thing.__kwdefaults__, nid, "__kwdefaults__")
    attrs = {name: walker.ref(value, nid, name) for name, value in list(vars(thing).items())}
    return ("function", spec, cells, defaults, keywords, attrs)


def _cell(walker: Walker, thing: Any, nid: int) -> Node:
    try:
        content = thing.cell_contents
    except ValueError:
        return ("cell", False, None)
    return ("cell", True, walker.ref(content, nid, "cell_contents"))


def _method(walker: Walker, thing: Any, nid: int) -> Node:
    return (
        "method",
        walker.ref(thing.__func__, nid, "__func__"),
        walker.ref(thing.__self__, nid, "__self__"),
    )


def _builtin(walker: Walker, thing: Any, nid: int) -> Node:
    owner = thing.__self__
    if owner is None or isinstance(owner, type(warnings)):
        module = getattr(owner, "__name__", None)
        spec = spec_of(thing)
        if spec is None and isinstance(module, str):
            spec = f"{module}:{thing.__name__}"
        return ("keep", "function", spec, False)
    return ("builtin", walker.ref(owner, nid, "__self__"), thing.__name__)


def _partial(walker: Walker, thing: Any, nid: int) -> Node:
    parts = [walker.ref(part, nid, ("part", i)) for i, part in enumerate((thing.func, thing.args, thing.keywords))]
    attrs = {name: walker.ref(value, nid, name) for name, value in list(vars(thing).items())}
    return ("partial", *parts, attrs)


def _named(_walker: Walker, thing: object, _nid: int) -> Node:
    return ("keep", "function", spec_of(thing), False)


_LOCK = type(threading.Lock())


def _keep(walker: Walker, thing: Any, nid: int) -> Node:
    if isinstance(thing, weakref.ref) and not walker.was_at_entry(nid):
        return walker.lost(nid, f"a {type(thing).__qualname__} made in the loop cannot be captured")
    if isinstance(thing, _LOCK) and thing.locked() and not walker.was_at_entry(nid):
        return walker.lost(nid, "a lock made in the loop that somebody holds cannot be captured")
    if isinstance(thing, type(warnings)):
        return ("keep", "module", thing.__name__, True)
    return ("keep", f"{type(thing).__module__}.{type(thing).__qualname__}", None, True)


def _weakref(walker: Walker, _thing: object, nid: int) -> Node:
    walker.weakrefs.append(nid)
    return ("weakref", None)


def _proxy(walker: Walker, thing: Any, nid: int) -> Node:
    return ("proxy", walker.ref(dict(thing), nid, "copy"))


def _dataset(walker: Walker, thing: Any, nid: int) -> Node:
    if walker.origin(nid) < 0 and walker.known is not None:
        return encode_object(walker, thing, nid)
    walker.forced[nid] = False
    attrs = {
        name: walker.ref(value, nid, name)
        for name, value in list(vars(thing).items())
        if walker.book.leaf(type(value)) is not None or _is_light(walker, value)
    }
    return ("object", walker.cls(thing, nid), attrs, True)


_LIGHT_KINDS = frozenset(
    [
        "tensor",
        "array",
        "dataset",
        "random",
        "torch_generator",
        "numpy_state",
        "numpy_generator",
        "tuple",
        "function",
    ]
)


def _is_light(walker: Walker, value: Any) -> bool:
    kind = walker.book.kind(type(value))
    if type(value) in ATOMS or kind in _LIGHT_KINDS:
        return True
    if kind in ("list", "dict", "set", "deque"):
        return len(value) < 1000 or is_plain(value)
    return False


def _loader(walker: Walker, thing: Any, nid: int) -> Node:
    walker.forced[nid] = False
    attrs = {
        name: walker.ref(value, nid, name)
        for name, value in list(vars(thing).items())
        if not name.endswith("_iterator")
    }
    attrs.setdefault("_iterator", None)
    return ("object", walker.cls(thing, nid), attrs, True)


@functools.cache
def _module_names() -> frozenset[str]:
    """The attributes that every nn.Module has, most of them empty dicts of hooks that nobody else holds."""
    torch: Any = sys.modules["torch"]
    return frozenset(vars(torch.nn.Module()))


def _module(walker: Walker, thing: Any, nid: int) -> Node:
    walker.forced[nid] = True
    cls = walker.cls(thing, nid)
    attrs: dict[str, object] = {}
    ref, own_names = walker.ref, _module_names()
    for name, value in list(vars(thing).items()):
        empty = _EMPTY.get(type(value)) if name in own_names else None
        if empty is not None and value:
            empty = None
        attrs[name] = ref(value, nid, name) if empty is None else empty
    for buffer in thing._buffers.values():
        walker.buffers.add(id(buffer))
    return ("object", cls, attrs, False)


_EMPTY: dict[type, object] = {dict: ("empty", "dict"), OrderedDict: ("empty", "odict")}


def _optimizer(walker: Walker, thing: Any, nid: int) -> Node:
    walker.forced[nid] = True
    step = vars(thing).get("step")
    hidden = hasattr(step, "_wrapped_by_lr_sched") and walker.origin_of(getattr(step, "__func__", None)) < 0
    # a scheduler made in the loop has put a call counter around it: the class's own will do
    return encode_object(walker, thing, nid, without="step" if hidden else None)


class _Pickler(pickle.Pickler):
    """Pickles one thing; what the graph describes better is left in it, by number."""

    def __init__(self, file: io.BytesIO, walker: Walker, root: object, nid: int) -> None:
        super().__init__(file, 5)
        self._walker = walker
        self._root = root
        self._nid = nid
        self.refs: list[object] = []

    def persistent_id(self, obj: object) -> int | None:
        cls = type(obj)
        if obj is self._root or cls in _PICKLED_WHOLE:
            return None
        kind = self._walker.book.kind(cls)
        if kind not in _GRAPHED and not (kind == "function" and spec_of(obj) is None):
            return None
        self.refs.append(self._walker.ref(obj, self._nid, ("pickled", len(self.refs))))
        return len(self.refs) - 1


_PICKLED_WHOLE = ATOMS | {list, dict, tuple, set, frozenset}
_GRAPHED = frozenset(
    [
        "tensor",
        "array",
        "keep",
        "nnmodule",
        "optimizer",
        "dataset",
        "loader",
        "random",
        "torch_generator",
        "numpy_state",
        "numpy_generator",
    ]
)


def pickled(walker: Walker, thing: object, nid: int) -> tuple[bytes, list[object]]:
    """A thing's pickle and the encoded values that it refers to."""
    file = io.BytesIO()
    pickler = _Pickler(file, walker, thing, nid)
    pickler.dump(thing)
    return file.getvalue(), pickler.refs


def opaque(walker: Walker, thing: object, nid: int) -> Node:
    """The node of a thing that only its own pickling understands."""
    name = f"{type(thing).__module__}:{type(thing).__qualname__}"
    try:
        data, refs = pickled(walker, thing, nid)
    except Exception as error:  # whatever a __reduce__ raises
        return walker.lost(nid, f"{name}: {error}")
    content, unchanged = walker.contents.opaque(thing, data)
    return ("opaque", name, content, refs, unchanged, walker.path(nid))


HANDLERS: Handlers = {
    "object": encode_object,
    "class": _class,
    "function": _function,
    "named": _named,
    "cell": _cell,
    "method": _method,
    "builtin": _builtin,
    "partial": _partial,
    "keep": _keep,
    "weakref": _weakref,
    "proxy": _proxy,
    "dataset": _dataset,
    "loader": _loader,
    "nnmodule": _module,
    "optimizer": _optimizer,
    "opaque": opaque,
}
