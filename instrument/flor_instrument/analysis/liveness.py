"""Which names of a scope may still be read after a restore point, before they are bound again.

A checkpoint may lack a variable (a closure, an iterator, a progress bar). Replay can start from it all the same if the
variable is dead there. Everything here errs on one side: a name too many only costs a checkpoint that could have been
used, a missing one would give a wrong value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from flor_instrument.analysis.backwards import Backwards
from flor_instrument.analysis.files import Points
from flor_instrument.analysis.index import reachable
from flor_instrument.analysis.scope_names import NOTHING, Names, deferred_names, free_names, scan
from flor_instrument.analysis.sharing import is_shared
from flor_instrument.analysis.sites import Point, Project

Holder: TypeAlias = tuple[str, str | None, str]
"""A name: its file, the `co_qualname` of its function (None: it is global), the name itself."""


def live_names(
    files: Mapping[str, bytes], path: str, function: str | None, loop: str, point: Point, nested: str | None = None
) -> frozenset[str] | None:
    """The names of a scope that may be read before they are bound again, from a restore point to the program's end.

    `function` is the `co_qualname` of the frame's function, None for the globals of the file. None means unknown:
    treat every name as live.
    """
    try:
        found = _judge(Project(files, loop, point, nested), path, function)
    except RecursionError:
        return None
    return None if found is None else found[0]


def lost_but_dead(
    files: Mapping[str, bytes],
    script: str,
    holders: Iterable[Holder],
    loop: str,
    point: Point,
    nested: str | None = None,
) -> frozenset[Holder]:
    """Those of the names that hold a lost object which a replay from the restore point does not need.

    Each is dead in its scope, known to be bound there, and what it is bound to is not visibly handed to anything that
    could keep it out of a checkpoint's sight. A lost object is needed unless every name that holds it is among them.
    """
    wanted = list(holders)
    if not wanted:
        return frozenset()
    try:
        reached = reachable(files, script)
        project = Project({path: files[path] for path in reached}, loop, point, nested)
        return frozenset(holder for holder in wanted if _judge_name(project, *holder))
    except RecursionError:
        return frozenset()


def _judge_name(project: Project, path: str, function: str | None, name: str) -> bool:
    key = (path, function)
    if key not in project.judged:
        project.judged[key] = _judge(project, path, function)
    found = project.judged[key]
    if found is None or name in found[0] or name not in found[1]:
        return False
    file = project.files[path]
    return not any(is_shared(project, unit, name) for unit in file.units if unit.qualname == function)


def _judge(project: Project, path: str, function: str | None) -> tuple[Names, Names] | None:
    """The live names of a scope, and the names that it is seen to bind."""
    file = project.files.get(path)
    if file is None or project.lost:
        return None
    units = [unit for unit in file.units if unit.qualname == function]
    live, bound = NOTHING, NOTHING
    for unit in units:
        if function is None:
            elsewhere = project.read_elsewhere(file)
            if elsewhere is None or file.looks_up_globals():
                return None
            scope = scan(unit.node, file)
            where = project.points_in(unit) or Points(everywhere=True)
            live |= elsewhere | deferred_names(scope, file) | scope.declared_global
        else:
            if project.looks_at_frames or file.looks_up_locals(unit):
                return None
            scope = scan(unit.node, file)
            found = project.points_in(unit)
            if found is None:
                return None
            where = found
            own = scope.locals()
            live |= deferred_names(scope, file) | free_names(unit.node, file)[0] | (scope.reads - own) | scope.declared
        live |= Backwards(project, unit, where).run()
        bound |= scope.locals()
    if not units:
        return None
    mangled = {name for name in live if name.startswith("__") and not name.endswith("__")}
    live |= {f"_{cls.lstrip('_')}{name}" for cls in file.classes for name in mangled}
    return live, bound
