"""The walker with all its handlers."""

from __future__ import annotations

from collections.abc import Mapping

from flor_checkpoint import encode_arrays, encode_containers, encode_iterators, encode_objects
from flor_checkpoint.kinds import TypeBook
from flor_checkpoint.walk import Contents, Walker

_HANDLERS = {
    **encode_containers.HANDLERS,
    **encode_objects.HANDLERS,
    **encode_iterators.HANDLERS,
    **encode_arrays.HANDLERS,
}


def new_walker(book: TypeBook, contents: Contents, known: Mapping[object, int] | None) -> Walker:
    """A walker that knows every kind; `known` is None at loop entry."""
    return Walker(book, contents, known, _HANDLERS)
