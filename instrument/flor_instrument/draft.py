"""What is to be written into one version for one unit: its edits, and what these need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .imported import Import
from .patches import Part, Patch
from .resolve import Names, Resolver
from .source import Stmt
from .splice import Edit, dedented, renamed
from .uses import use_of
from .view import View

PlacedBy = Literal["tool", "accepted", "edited"]  # by a person: an unsure place accepted, or the file given by hand


@dataclass(frozen=True)
class Planned:
    """One edit to be made to a version."""

    unit: int
    kind: Literal["log", "support"]
    edit: Edit
    text: str
    name: str | None
    replaces: bool
    after: str | None
    before: str | None
    renames: tuple[tuple[str, str], ...]
    rank: tuple[int, int]  # the order among edits at the same byte
    after_line: int | None = None  # where `after` and `before` begin in the version
    before_line: int | None = None
    placed_by: PlacedBy = "tool"


class Draft:
    """The edits of one unit so far. `unsure`: of the best place there is, for a person to look at."""

    def __init__(self, patch: Patch, view: View, number: int, part: Part, unsure: bool) -> None:
        self.unsure = unsure
        self.patch = patch
        self.view = view
        self.number = number
        self.part = part
        self.resolver = Resolver(view, part.imports, carry_safe_imports=not patch.any_statement)
        self.planned: list[Planned] = []
        self.needed: dict[str, Import] = {}
        self.first_top: Stmt | None = None  # the version's top-level statement that holds the place
        self.definition_renames: dict[str, str] = {}
        self.definitions: list[Stmt] = []  # new functions and classes that the version does not have

    def provided(self) -> frozenset[str]:
        """The names that the patch brings along."""
        out: set[str] = set()
        for one in self.part.support:
            out |= use_of(one).binds
        for definition in self.definitions:
            owner = definition.block.scope
            if owner.kind == "class":
                name = getattr(definition.node, "name", "")
                out |= {f"self.{name}", f"cls.{name}"}
        return frozenset(out)

    def text(self, statement: Stmt, names: Names) -> str:
        """The statement as it reads in the version, at the left margin."""
        renames = {**names.renames, **self.definition_renames}
        return renamed(dedented(self.view.today, statement), renames)

    def need(self, names: Names) -> None:
        """The imports that go with the names."""
        for found in names.imports:
            self.needed.setdefault(found.text, found)

    def add(
        self,
        statement: Stmt,
        kind: Literal["log", "support"],
        edit: Edit,
        text: str,
        names: Names,
        left: Stmt | None,
        right: Stmt | None,
        replaces: bool = False,
    ) -> None:
        """Plan an edit between two statements of the version."""
        self.planned.append(
            Planned(
                self.number,
                kind,
                edit,
                text,
                self.patch.units[self.number].name if kind == "log" else None,
                replaces,
                self.first_line(left),
                self.first_line(right),
                tuple(sorted({**names.renames, **self.definition_renames}.items())),
                (1, statement.line),
                left.line if left is not None else None,
                right.line if right is not None else None,
            )
        )

    def first_line(self, statement: Stmt | None) -> str | None:
        """The line on which a statement of the version begins."""
        return None if statement is None else self.view.target.lines[statement.line - 1].strip()
