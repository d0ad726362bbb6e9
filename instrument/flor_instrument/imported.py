"""What a file imports, and under which names."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from .source import Source, Stmt, kept

FLOR_MODULES = frozenset({"flor", "flor_replay", "flordb"})


@dataclass(frozen=True)
class Import:
    """One imported name: what it is bound to here (`name`) and what it stands for (`target`)."""

    name: str
    target: str
    text: str
    statement: Stmt


@kept
def imports(source: Source) -> dict[str, list[Import]]:
    """Every import of the file under the name that it binds."""
    out: dict[str, list[Import]] = {}
    for statement in source.statements():
        for found in imports_of(statement):
            out.setdefault(found.name, []).append(found)
    return out


def imports_of(statement: Stmt) -> list[Import]:
    node = statement.node
    found: list[Import] = []
    if isinstance(node, ast.Import):
        for alias in node.names:
            suffix = f" as {alias.asname}" if alias.asname else ""
            bound = alias.asname or alias.name.partition(".")[0]
            found.append(Import(bound, alias.name, f"import {alias.name}{suffix}", statement))
    elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
        origin = "." * node.level + (node.module or "")
        for alias in node.names:
            suffix = f" as {alias.asname}" if alias.asname else ""
            text = f"from {origin} import {alias.name}{suffix}"
            found.append(Import(alias.asname or alias.name, f"{origin}.{alias.name}", text, statement))
    return found


@kept
def flor_names(source: Source) -> frozenset[str]:
    """The names under which the file has flor, or something of it."""
    found = imports(source).values()
    return frozenset(one.name for others in found for one in others if one.target.partition(".")[0] in FLOR_MODULES)


@kept
def has_star_import(source: Source) -> bool:
    return any(
        isinstance(statement.node, ast.ImportFrom) and statement.node.names[0].name == "*"
        for statement in source.statements()
    )
