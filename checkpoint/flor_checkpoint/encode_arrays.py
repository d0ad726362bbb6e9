"""Nodes of tensors, arrays and random generators.

A tensor is a look at a storage, an array that does not own its elements a look at one that does; the memory is
a node of its own, so that views share it after a restore as before. What becomes of its bytes is decided when
the walk is over (`contents.py`), because only then it is known who looks at it.
"""

from __future__ import annotations

import sys
from typing import Any

from flor_checkpoint.encode_objects import opaque
from flor_checkpoint.leaves import repr_of_dtype
from flor_checkpoint.memory import array_address, is_dense, memory_order, owner_of
from flor_checkpoint.rng import plain, torch_state_bytes
from flor_checkpoint.walk import Handlers, Node, Walker

GRAPH = "graph"
"""In place of whether a tensor wants gradients: it was computed from others that do, and how is not kept."""


def _tensor(walker: Walker, thing: Any, nid: int) -> Node:
    torch: Any = sys.modules["torch"]
    if thing.layout is not torch.strided or thing.is_quantized or thing.is_meta:
        return opaque(walker, thing, nid)
    if thing.is_conj() or thing.is_neg():
        return opaque(walker, thing, nid)
    try:
        storage = thing.untyped_storage()
        key = ("storage", storage._cdata)
    except (RuntimeError, NotImplementedError):
        return opaque(walker, thing, nid)
    if _is_new(walker, key) and key not in walker.memories and _span_bytes(thing) * 2 < storage.nbytes():
        walker.slices.append((nid, key))
        return ("slice",)
    return _look_at(walker, thing, nid, storage, key)


def _look_at(walker: Walker, thing: Any, nid: int, storage: Any, key: object) -> Node:
    """The node of a tensor; `storage` is its own, or one that holds only what it looks at."""
    torch: Any = sys.modules["torch"]
    own_storage = key == ("storage", storage._cdata)
    memory = walker.memory(storage, key, nid, "storage")
    parameter = isinstance(thing, torch.nn.Parameter)
    forced = walker.forced[nid] = walker.forced[nid] or parameter or id(thing) in walker.buffers
    memory.forced = memory.forced or forced
    leaf = thing.is_leaf
    if not leaf:
        walker.note(nid, "autograd graph not kept")
    grad = walker.ref(thing.grad, nid, "grad") if leaf and thing.requires_grad else None
    return (
        "tensor",
        walker.cls(thing, nid, torch.Tensor),
        (memory.nid,),
        str(thing.dtype).removeprefix("torch."),
        thing.storage_offset() if own_storage else 0,
        tuple(thing.shape),
        thing.stride(),
        thing.requires_grad if leaf else GRAPH if thing.requires_grad else False,
        grad,
        walker.attributes(thing, nid) if vars(thing) else None,
    )


def _array(walker: Walker, thing: Any, nid: int) -> Node:
    numpy: Any = sys.modules["numpy"]
    if thing.dtype.kind == "O" and type(thing) is numpy.ndarray:
        return ("objects", tuple(thing.shape), walker.sequence(list(thing.flat), nid))
    if thing.dtype.hasobject or thing.dtype.kind not in "biufcmMSUV":
        return opaque(walker, thing, nid)
    if isinstance(thing, numpy.memmap):
        return ("keep", "numpy.memmap", None, True)
    owner = owner_of(thing)
    if owner is thing or owner.dtype.hasobject or not is_dense(owner):
        return _own_array(walker, thing, nid)
    if _is_new(walker, id(owner)) and id(owner) not in walker.memo and thing.nbytes * 2 < owner.nbytes:
        walker.slices.append((nid, id(owner)))
        return ("slice",)
    return _view(walker, thing, nid, owner)


def _own_array(walker: Walker, thing: Any, nid: int) -> Node:
    dense = thing if is_dense(thing) else thing.copy("K")
    memory = walker.memory(dense, ("array", id(thing)), nid, "memory")
    memory.forced = memory.forced or walker.forced[nid]
    order = tuple(memory_order(dense))
    return ("array", *_shape(walker, thing, nid), (memory.nid,), order)


def _view(walker: Walker, thing: Any, nid: int, owner: Any) -> Node:
    base = walker.ref(owner, nid, "base")
    offset = array_address(thing) - array_address(owner)
    return ("view", *_shape(walker, thing, nid), base, offset, tuple(thing.strides))


def _shape(walker: Walker, thing: Any, nid: int) -> tuple[object, ...]:
    numpy: Any = sys.modules["numpy"]
    attrs = walker.attributes(thing, nid) if type(thing) is not numpy.ndarray else None
    dtype = repr_of_dtype(numpy.lib.format.dtype_to_descr(thing.dtype))
    return walker.cls(thing, nid, numpy.ndarray), attrs, dtype, tuple(thing.shape)


def _is_new(walker: Walker, key: object) -> bool:
    return walker.known is not None and key not in walker.known


def _slice(walker: Walker, thing: Any, nid: int) -> Node:
    """A look at a small part of a memory that was not there at loop entry; asked again when the walk is over.

    If nothing else in the graph looks at that memory, the part is all that the run can need of it.
    """
    key = next(key for slice_nid, key in walker.slices if slice_nid == nid)
    shared = key in walker.memo or sum(other == key for _, other in walker.slices) > 1
    if not isinstance(key, tuple):
        return _view(walker, thing, nid, owner_of(thing)) if shared else _own_array(walker, thing, nid)
    storage = thing.untyped_storage()
    if not shared:
        torch: Any = sys.modules["torch"]
        flat = torch.empty(0, dtype=torch.uint8, device=thing.device)
        flat.set_(storage, thing.storage_offset() * thing.element_size(), (_span_bytes(thing),), (1,))
        storage = flat.clone().untyped_storage()
    return _look_at(walker, thing, nid, storage, key)


def _span_bytes(tensor: Any) -> int:
    """From the first element of a tensor to its last, with what lies between."""
    if tensor.numel() == 0:
        return 0
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    elements = 1 + sum((size - 1) * stride for size, stride in steps)
    return int(tensor.element_size() * elements)


def _random(walker: Walker, thing: Any, nid: int) -> Node:
    return ("random", walker.cls(thing, nid), thing.getstate())


def _torch_generator(_walker: Walker, thing: Any, _nid: int) -> Node:
    return ("torch_generator", str(thing.device), torch_state_bytes(thing.get_state()))


def _numpy_state(walker: Walker, thing: Any, nid: int) -> Node:
    legacy = hasattr(thing, "get_state")
    state = thing.get_state(legacy=False) if legacy else thing.state
    bits = walker.ref(thing._bit_generator, nid, "_bit_generator") if legacy else None
    return ("numpy_state", walker.cls(thing, nid), legacy, plain(state), bits)


def _numpy_generator(walker: Walker, thing: Any, nid: int) -> Node:
    return ("numpy_generator", walker.cls(thing, nid), walker.ref(thing.bit_generator, nid, "bit_generator"))


HANDLERS: Handlers = {
    "slice": _slice,
    "tensor": _tensor,
    "array": _array,
    "random": _random,
    "torch_generator": _torch_generator,
    "numpy_state": _numpy_state,
    "numpy_generator": _numpy_generator,
}
