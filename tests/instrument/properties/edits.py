"""Random edits of a source text that carry the statement in question along, so that its true place stays known.

An edit takes a text and a source of chance and gives the edited text, or None where it cannot be made there. With `near`
it is made in the function of the statement in question, and its borders may be beside that: then only what the program
does can tell on which side of them the statement belongs. Edits of `KEEPING` are meant to leave what the program does as
it was (whoever runs programs checks it); those of `CHANGING` are not.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from . import beside, layout, naming, reshaping, structure
from .text import in_one_piece, parsed

Edit = Callable[[str, Random, bool], str | None]
NAMES: dict[str, Edit] = {
    "rename a local": naming.rename_local,
    "swap two names": naming.swap_locals,
    "rename a global": naming.rename_global,
    "rename an attribute": naming.rename_attribute,
    "rename a loop": naming.rename_loop,
    "alias an import": naming.import_alias,
}
NESTING: dict[str, Edit] = {
    "wrap in if": structure.wrap("if"),
    "wrap in with": structure.wrap("with"),
    "wrap in try": structure.wrap("try"),
    "wrap in for": structure.wrap("for"),
    "unwrap": structure.unwrap,
}
ORDER: dict[str, Edit] = {"move a function": structure.move_function, "swap statements": structure.swap_statements}
LAYOUT: dict[str, Edit] = {
    "lines and comments": layout.lines_and_comments,
    "quotes": layout.quotes,
    "line breaks": layout.line_breaks,
    "indentation": layout.indentation,
    "line ends": layout.line_ends,
}
LARGE: dict[str, Edit] = {
    "script into main": reshaping.script_into_main,
    "function into method": reshaping.function_into_method,
    "extract a helper": reshaping.extract_helper,
}
# These change what the program does; where the statement stands in the result is known all the same.
CHANGING: dict[str, Edit] = {
    "move a statement": structure.move_statement,
    "delete": structure.delete_statement,
    "duplicate": structure.duplicate_statement,
    "insert": structure.insert_statement,
    "insert what touches it": beside.insert_touching,
    "change a number": beside.change_constant,
    "edit an expression": beside.edit_expression,
}
KEEPING: dict[str, Edit] = {**NAMES, **NESTING, **ORDER, **LAYOUT, **LARGE, "insert": structure.insert_statement}
EVERY: dict[str, Edit] = {**KEEPING, **CHANGING}
TOUCHING = "insert what touches it"
TWINS = "copy the block"  # for itself: of two equal places only refusing is right


def apply(name: str, text: str, chance: Random, near: bool = False) -> str | None:
    """The edited text, if the edit can be made and the statement in question still stands there once."""
    edit = beside.copy_without if name == TWINS else EVERY[name]
    if "\r" in text and name != "line ends":
        edited = edit(text.replace("\r\n", "\n"), chance, near)
        edited = edited.replace("\n", "\r\n") if edited is not None else None
    else:
        edited = edit(text, chance, near)
    if edited is None or edited == text:
        return None
    tree = parsed(edited)
    return edited if tree is not None and in_one_piece(tree) else None
