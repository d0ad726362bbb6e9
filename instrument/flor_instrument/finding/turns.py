"""Which loops can be made to run over ``flor.loop``: `for`, and `while` whose test may be asked by a function."""

from __future__ import annotations

import ast

from flor_instrument.analysis.syntax import words

Loop = ast.For | ast.While

# What a function around the test would see differently than the loop's own frame does.
_OF_THE_FRAME = words("super __class__ locals vars dir eval exec globals _getframe currentframe stack")


def may_be_wrapped(loop: Loop) -> bool:
    """Whether the loop can be a named one without the script seeing a difference."""
    return isinstance(loop, ast.For) or not (why_not(loop) or _only_tries_again(loop))


def why_not(loop: ast.While) -> str | None:
    """Why the test of a `while` cannot be asked by a function, in words; None where it can."""
    for node in ast.walk(loop.test):
        if isinstance(node, ast.NamedExpr):
            return "its condition assigns a variable"
        if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom):
            return "its condition waits for something"
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
        if name in _OF_THE_FRAME:
            return f"its condition uses {name}"
    return None


def _only_tries_again(loop: ast.While) -> bool:
    """`while True: try: train(); break`: what trains is in the one try, and its iterations are attempts."""
    if len(loop.body) != 1 or not isinstance(loop.body[0], ast.Try):
        return False
    one = loop.body[0]
    return isinstance((one.orelse or one.body)[-1], ast.Break | ast.Return)


__all__ = ["Loop", "may_be_wrapped", "why_not"]
