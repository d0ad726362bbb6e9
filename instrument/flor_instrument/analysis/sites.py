"""Where in the functions of a project a restore point of a loop may be: at the loop itself, or in a statement that calls,
by name, what runs the loop.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Literal

from flor_instrument.analysis.files import File, Points, Unit, chain, root_name
from flor_instrument.analysis.reach import Reach
from flor_instrument.analysis.scope_names import NOTHING, Names, inline
from flor_instrument.analysis.syntax import FORS, tail, walk

Point = Literal["start", "exit", "end"]
# Calls that pass a loop's items on one by one.
ITEM_WRAPPERS = frozenset(
    {"tqdm", "trange", "enumerate", "zip", "track", "progress", "progress_bar", "alive_it", "iter"}
)
_LOOKS_AT_FRAMES = frozenset({"f_locals", "f_globals", "__globals__", "_getframe", "currentframe", "getouterframes"})


class Project:
    """All files, with the loop whose restore point is asked about."""

    def __init__(self, files: Mapping[str, bytes], loop: str, point: Point, nested: str | None) -> None:
        self.point = point
        self.files: dict[str, File] = {}
        self.judged: dict[tuple[str, str | None], tuple[Names, Names] | None] = {}
        for path, source in files.items():
            try:
                self.files[path] = File(path, ast.parse(source))
            except (SyntaxError, ValueError, MemoryError):
                continue  # what cannot be parsed cannot be run either
        self.units = [unit for file in self.files.values() for unit in file.units]
        nodes = [n for file in self.files.values() for n in file.nodes]
        words = {n.attr for n in nodes if isinstance(n, ast.Attribute)}
        words |= {n.id for n in nodes if isinstance(n, ast.Name)} | {n for f in self.files.values() for n in f.imported}
        self.looks_at_frames = bool(words & _LOOKS_AT_FRAMES)
        self._words = words
        self.lost = False
        self.mains: dict[Unit, Points] = {}
        main = Reach(self, self._sites(loop))
        self.mains = main.sites
        asked = nested if point == "exit" else loop
        if asked is None:
            self.lost = True
            return
        self.reach = Reach(self, self._sites(asked)) if point == "exit" else main
        self._main = main

    # -- loops -----------------------------------------------------------------------------------------------

    def _sites(self, name: str) -> dict[Unit, Points]:
        """The `for` loops of a name by unit; `self.lost` where one of them cannot be told."""
        found: dict[Unit, Points] = {}
        for file in self.files.values():
            spelled = {"loop"} | {local for original, local in file.aliases if original == "loop"}
            calls = {n for n in file.nodes if isinstance(n, ast.Call) and self._is_loop(n, spelled, name)}
            for unit in file.units:
                for node in unit.inline():
                    if isinstance(node, ast.Call) and node in calls:
                        calls.discard(node)
                        self._site(unit, node, found.setdefault(unit, Points()))
            if calls:
                self.lost = True  # in a lambda
            named = {n for n in file.nodes if isinstance(n, ast.Attribute) and chain(n) == "flor.loop"}
            if any(not (isinstance(p := file.parent[n], ast.Call) and p.func is n) for n in named):
                self.lost = True  # handed on, or given another name
        return found

    @staticmethod
    def _is_loop(node: ast.Call, spelled: set[str], name: str) -> bool:
        if tail(node.func) not in spelled or not isinstance(node.func, ast.Name | ast.Attribute):
            return False
        given = node.args[0] if node.args else next((k.value for k in node.keywords if k.arg == "name"), None)
        if isinstance(given, ast.Constant):
            return given.value == name
        return given is not None

    def _site(self, unit: Unit, call: ast.Call, points: Points) -> None:
        parent = unit.file.parent
        node: ast.AST = call
        wrapped = True
        while True:
            above = parent[node]
            if isinstance(above, FORS) and node is above.iter:
                points.loops.add(above)
            elif isinstance(above, ast.comprehension) and node is above.iter and wrapped:
                if parent[above] in unit.file.lazy_generators:
                    self.lost = True
                points.calls.add(parent[above])
            elif isinstance(above, ast.Call | ast.keyword | ast.Starred):
                wrapped = wrapped and (not isinstance(above, ast.Call) or tail(above.func) in ITEM_WRAPPERS)
                node = above
                continue
            elif isinstance(above, ast.Assign) and wrapped and len(above.targets) == 1:
                self._named_loop(unit, above.targets[0], points)
            elif isinstance(above, ast.withitem) and wrapped:
                self._named_loop(unit, above.optional_vars, points)
            else:
                self.lost = True
            break
        while node is not unit.node:
            node = parent[node]
            if isinstance(node, ast.ClassDef) and node is not unit.owner:
                self.lost = True
                return

    def _named_loop(self, unit: Unit, target: ast.expr | None, points: Points) -> None:
        """The `for` over a name that holds the loop, where the name holds nothing else."""
        file = unit.file
        if not isinstance(target, ast.Name):
            self.lost = True
            return
        uses = [n for n in walk(unit.node) if isinstance(n, ast.Name) and n.id == target.id and n is not target]
        inline = set(unit.inline())
        loops = set()
        for use in uses:
            above: ast.AST = file.parent[use]
            node: ast.AST = use
            while isinstance(above, ast.Call) and node in above.args and tail(above.func) in ITEM_WRAPPERS:
                node, above = above, file.parent[above]
            if isinstance(above, FORS) and above.iter is node and use in inline:
                loops.add(above)
            elif not isinstance(above, ast.Attribute) or node is not use:
                self.lost = True
        if not loops or any(target.id in n.names for n in file.nodes if isinstance(n, ast.Global | ast.Nonlocal)):
            self.lost = True
        points.loops |= loops

    # -- calls -----------------------------------------------------------------------------------------------

    def points_in(self, unit: Unit) -> Points | None:
        """Where in a unit the restore point may be; None if nothing shows that the unit runs then."""
        reach = self.reach
        found = Points()
        if unit in reach.sites:
            found.loops |= reach.sites[unit].loops
            found.calls |= reach.sites[unit].calls
        calls = [n for n in unit.inline() if reach.is_call(unit.file, n)]
        found.calls |= set(calls)
        if not found.loops and not found.calls:
            return None
        if calls and reach.anywhere:
            found.everywhere = True
        if self.point == "exit" and not found.everywhere:
            self._inside_main(unit, found)
        return found if found.loops or found.calls else None

    def _inside_main(self, unit: Unit, found: Points) -> None:
        """Leave out what stands outside the main loop, where this unit alone has it and does not run inside itself."""
        if set(self.mains) != {unit} or not self.mains[unit].loops or self.mains[unit].calls:
            return
        if any(self._main.is_call(unit.file, n) for n in unit.inline()):
            return
        bodies = [s for loop in self.mains[unit].loops if isinstance(loop, FORS) for s in loop.body]
        inside = {n for s in bodies for n in (s, *inline(s))}
        found.loops &= inside
        found.calls &= inside

    # -- globals ---------------------------------------------------------------------------------------------

    def read_elsewhere(self, file: File) -> Names | None:
        """The names of a file's globals that other files may read; None if any."""
        if self._words & (_LOOKS_AT_FRAMES - {"f_locals"}):
            return None
        parts = file.path.removesuffix(".py").removesuffix("/__init__").split("/")
        own = {parts[-1], "__main__"}
        dynamic = bool(self._words & {"import_module", "__import__", "runpy", "reload"})
        seen = dynamic
        for other in self.files.values():
            for node in other.nodes:
                if isinstance(node, ast.Attribute) and node.attr == "modules" and root_name(node) == "sys":
                    return None
                if isinstance(node, ast.Import):
                    seen |= any(own & set(alias.name.split(".")) for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    inside = bool(own & set((node.module or "").split("."))) or not node.module
                    if inside and any(alias.name == "*" for alias in node.names):
                        return None
                    seen |= inside or any(alias.name in own for alias in node.names)
        if not seen:
            return NOTHING
        found: set[str] = set()
        for other in self.files.values():
            for node in other.nodes:
                if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Store):
                    found.add(node.attr)
                elif isinstance(node, ast.ImportFrom):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200:
                    found |= set(node.value.split("."))
                if self._looks_into_module(other, node):
                    return None
        return frozenset(found)

    @staticmethod
    def _looks_into_module(file: File, node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute) and node.attr == "__dict__":
            return root_name(node) in file.imported
        if not isinstance(node, ast.Call) or not node.args or root_name(node.args[0]) not in file.imported:
            return False
        name = tail(node.func)
        return name in {"vars", "getmembers"} or (
            name == "getattr" and not (len(node.args) > 1 and isinstance(node.args[1], ast.Constant))
        )
