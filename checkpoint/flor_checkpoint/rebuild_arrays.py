"""Tensors, arrays and random generators from their nodes."""

from __future__ import annotations

import sys
from typing import Any

from flor_checkpoint.digest import digest
from flor_checkpoint.encode_arrays import GRAPH
from flor_checkpoint.leaves import dtype_of_repr
from flor_checkpoint.memory import array_address as address_of
from flor_checkpoint.memory import (
    array_bytes,
    fill_array,
    fill_storage,
    in_huge_pages,
    is_dense,
    memory_order,
    new_dense_array,
    owner_of,
    storage_bytes,
)
from flor_checkpoint.rebuild import LOST, Builder, Makers
from flor_checkpoint.rng import torch_state_tensor, unplain


def _storage(builder: Builder, node: Any, nid: int) -> Any:
    _, device, nbytes, content = node
    torch: Any = sys.modules["torch"]
    found = builder.target(nid, torch.UntypedStorage)
    if found is not None and (found.nbytes() != nbytes or str(found.device) != device):
        found = None
    if isinstance(content, tuple):
        if found is None:
            builder.mismatch(nid, "the tensor that the recording had at loop entry is not here")
            return LOST
        if digest(storage_bytes(found)) != content[1]:
            stashed = builder.stash.get(builder.row(nid))
            if stashed is None or digest(stashed) != content[1]:
                builder.mismatch(nid, "the tensor's content is not what it was when recorded")
            else:
                fill_storage(found, stashed)
        return found
    storage = torch.UntypedStorage(nbytes, device=device) if found is None else found
    if storage.device.type == "cpu":
        if found is None:
            in_huge_pages(storage_bytes(storage))
        builder.fill_memory(storage_bytes(storage), builder.snapshot.to_copy(content), storage)
    else:
        fill_storage(storage, builder.snapshot.content(content))
    return storage


def _tensor(builder: Builder, node: Any, nid: int) -> Any:
    _, written_cls, memory, dtype_name, offset, shape, stride, requires_grad, grad, attrs = node
    torch: Any = sys.modules["torch"]
    cls = builder.cls(written_cls, torch.Tensor)
    storage = builder.value(memory)
    if storage is LOST or cls is None:
        return LOST
    dtype = getattr(torch, dtype_name)
    with torch.no_grad():
        look = torch.empty(0, dtype=dtype, device=storage.device).set_(storage, offset, shape, stride)
        thing = builder.target(nid, cls)
        if thing is not None and not _is_in_place(thing):
            thing = None  # what was there at loop entry has gone since, and a part of something else got its identity
        if thing is not None and thing.is_leaf and thing.dtype == dtype and thing.device == look.device:
            if thing.untyped_storage()._cdata != storage._cdata or (
                thing.storage_offset(),
                tuple(thing.shape),
                thing.stride(),
            ) != (offset, shape, stride):
                thing.data = look
        elif cls is torch.Tensor:
            thing = look
        elif cls is torch.nn.Parameter:
            thing = torch.nn.Parameter(look, requires_grad=requires_grad is True)
        else:
            thing = torch.Tensor._make_subclass(cls, look, requires_grad is True)
    if requires_grad == GRAPH:
        thing = _computed(torch, thing)
    elif thing.requires_grad != requires_grad:
        thing.requires_grad_(requires_grad)
    builder.made(nid, thing)

    def fill() -> None:
        held = builder.value(grad)
        if thing.is_leaf:
            thing.grad = None if held is LOST else held
        builder.attributes(thing, attrs)

    builder.fill(fill)
    return thing


def _is_in_place(tensor: Any) -> bool:
    """Whether a tensor looks at a storage that another one can take the place of."""
    torch: Any = sys.modules["torch"]
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        return False
    return not tensor.is_conj() and not tensor.is_neg()


def _computed(torch: Any, value: Any) -> Any:
    """A tensor with that value which was computed from others: gradients cannot flow back through it, and that is said.

    Without that, ``(held + loss).backward()`` would silently leave out what `held` was computed from.
    """
    with torch.enable_grad():
        found = value.detach().requires_grad_().clone()
    found.register_hook(_no_gradient)
    return found


def _no_gradient(_gradient: object) -> None:
    raise RuntimeError(
        "a gradient is asked for of what an earlier iteration has computed: a checkpoint does not keep that"
    )


def _array(builder: Builder, node: Any, nid: int) -> Any:
    _, written_cls, attrs, written_dtype, shape, memory, order = node
    numpy: Any = sys.modules["numpy"]
    cls = builder.cls(written_cls, numpy.ndarray)
    dtype = dtype_of_repr(written_dtype)
    content = builder.snapshot.nodes[memory[0]][3]
    found = builder.target(nid, cls)
    if found is not None and (found.dtype != dtype or found.shape != shape):
        found = None
    if isinstance(content, tuple):
        if found is None:
            builder.mismatch(nid, "the array that the recording had at loop entry is not here")
            return LOST
        if digest(array_bytes(found if is_dense(found) else found.copy())) == content[1]:
            return found
        content = builder.stash.get(builder.row(memory[0]))
        if content is None or digest(content) != builder.snapshot.nodes[memory[0]][3][1]:
            builder.mismatch(nid, "the array's content is not what it was when recorded")
            return found
    if found is not None and tuple(memory_order(found)) == order and _is_own(found):
        builder.fill_memory(array_bytes(found), builder.snapshot.to_copy(content), found)
        thing = found
    else:
        thing = new_dense_array(shape, dtype, list(order))
        fill_array(thing, builder.snapshot.content(content))
        if found is not None and found.flags.writeable:
            found[...] = thing
            thing = found
        elif cls is not numpy.ndarray:
            thing = thing.view(cls)
    builder.made(nid, thing)
    builder.fill(lambda: builder.attributes(thing, attrs))
    return thing


def _is_own(array: Any) -> bool:
    return is_dense(array) and owner_of(array) is array and (array.flags.writeable or array.flags.owndata)


def _view(builder: Builder, node: Any, nid: int) -> Any:
    _, written_cls, attrs, written_dtype, shape, base, offset, strides = node
    numpy: Any = sys.modules["numpy"]
    cls = builder.cls(written_cls, numpy.ndarray)
    dtype = dtype_of_repr(written_dtype)
    owner = builder.value(base)
    if owner is LOST:
        return LOST
    found = builder.target(nid, cls)
    if (
        found is not None
        and owner_of(found) is owner
        and (found.dtype, found.shape, found.strides) == (dtype, shape, strides)
        and address_of(found) - address_of(owner) == offset
    ):
        return found
    flat = owner.transpose(memory_order(owner)).reshape(-1).view(numpy.uint8)
    thing = numpy.ndarray(shape, dtype, flat, offset, strides)
    thing = thing if cls is numpy.ndarray else thing.view(cls)
    builder.attributes(thing, attrs)
    return thing


def _objects(builder: Builder, node: Any, nid: int) -> Any:
    _, shape, items = node
    numpy: Any = sys.modules["numpy"]
    thing = builder.target(nid, numpy.ndarray)
    if thing is None or thing.shape != shape or thing.dtype.kind != "O" or not thing.flags.writeable:
        thing = numpy.empty(shape, dtype=object)
    builder.made(nid, thing)

    def fill() -> None:
        for index, value in enumerate(builder.items(items)):
            thing.flat[index] = value

    builder.fill(fill)
    return thing


def _random(builder: Builder, node: Any, nid: int) -> Any:
    cls = builder.cls(node[1])
    thing = builder.target(nid, cls)
    thing = cls() if thing is None else thing
    thing.setstate(node[2])
    return thing


def _torch_generator(builder: Builder, node: Any, nid: int) -> Any:
    torch: Any = sys.modules["torch"]
    thing = builder.target(nid, torch.Generator)
    if thing is None or str(thing.device) != node[1]:
        thing = torch.Generator(node[1])
    thing.set_state(torch_state_tensor(node[2]))
    return thing


def _numpy_state(builder: Builder, node: Any, nid: int) -> Any:
    _, written_cls, legacy, state, bits = node
    cls = builder.cls(written_cls)
    thing = builder.target(nid, cls)
    if legacy:
        generator = builder.value(bits)
        if thing is None or thing._bit_generator is not generator:
            thing = cls(generator)
        thing.set_state(unplain(state))
    else:
        thing = cls() if thing is None else thing
        thing.state = unplain(state)
    return thing


def _numpy_generator(builder: Builder, node: Any, nid: int) -> Any:
    cls = builder.cls(node[1])
    bits = builder.value(node[2])
    thing = builder.target(nid, cls)
    return thing if thing is not None and thing.bit_generator is bits else cls(bits)


MAKERS: Makers = {
    "memory": _storage,
    "tensor": _tensor,
    "array": _array,
    "view": _view,
    "objects": _objects,
    "random": _random,
    "torch_generator": _torch_generator,
    "numpy_state": _numpy_state,
    "numpy_generator": _numpy_generator,
}
