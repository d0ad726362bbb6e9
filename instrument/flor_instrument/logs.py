"""Which calls are calls of `flor.log`, and what they log."""

from __future__ import annotations

import ast

from .analysis.syntax import dotted
from .imported import FLOR_MODULES, imports
from .source import Source


def log_calls(source: Source, node: ast.AST) -> list[ast.Call]:
    """The calls of flor.log in `node`, under whatever name the file has imported it."""
    table = imports(source)

    def is_log(chain: str | None) -> bool:
        if chain is None:
            return False
        root, _, rest = chain.partition(".")
        for found in table.get(root, ()):
            module = found.target.partition(".")[0]
            if module in FLOR_MODULES:
                full = found.target + ("." + rest if rest else "")
                if full.partition(".")[2] == "log":
                    return True
        # A star import or a file that was given without its import: the name speaks for itself.
        return chain == "flor.log" and not table.get("flor")

    return [part for part in ast.walk(node) if isinstance(part, ast.Call) and is_log(dotted(part.func))]


def logged_name(call: ast.Call) -> str | None:
    """The name that a log call gives, if it stands there literally."""
    given: ast.expr | None = call.args[0] if call.args else None
    if given is None:
        given = next((keyword.value for keyword in call.keywords if keyword.arg == "name"), None)
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        return given.value
    return None
