"""The points of a function's graph: the flor loops that it enters and leaves, and the calls it makes.

A point does at most one thing: enters a flor loop, begins its next iteration, leaves it, or calls functions
of the project.
"""

from __future__ import annotations

import ast
import enum
from dataclasses import dataclass, field

from flor_instrument.analysis.definitions import Function, Module

Unit = Function | Module


class Op(enum.Enum):
    """What a point does."""

    NOTHING = enum.auto()
    ENTER = enum.auto()
    NEXT = enum.auto()
    LEAVE = enum.auto()
    CALL = enum.auto()


@dataclass(frozen=True)
class LoopSite:
    """One `for … in flor.loop(…)` of the source."""

    path: str
    line: int
    name: str


@dataclass(eq=False)
class Point:
    """One step of a unit."""

    op: Op = Op.NOTHING
    loop: LoopSite | None = None
    callees: tuple[Unit, ...] = ()
    certain: bool = True
    statement: ast.stmt | None = None  # set on a statement's first step, and on the one after its expressions
    unwinds: bool = False
    after: list[Point] = field(default_factory=list)
    thrown: Point | None = None


@dataclass(eq=False)
class Graph:
    """The points of one unit."""

    unit: Unit
    start: Point
    end: Point
    thrown: Point
    calls: set[Unit] = field(default_factory=set)
    escapes: set[Unit] = field(default_factory=set)
    loops: list[LoopSite] = field(default_factory=list)
    odd: str | None = None
