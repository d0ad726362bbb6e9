"""The graph of runs, files and values. Pure: facts in, nodes and edges out.

A file is told by its path and its content, so two rounds of a loop that write the same path are two nodes. A run made the
file that another read where the digests agree; where a digest is missing (the content is gone, or was too large) the last run
that wrote the path before counts, and the edge is not proven.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RunFacts:
    """What is known of one run."""

    run: str
    label: str  # script and arguments
    began: float
    ended: float
    version: str | None
    task: str | None
    read: Mapping[str, Sequence[Any]]  # path -> [bytes, time, digest]
    written: Mapping[str, Sequence[Any]]  # path -> [bytes, time, digest, how]
    values: Sequence[tuple[Sequence[str], Sequence[str]]]  # names, and the runs that had logged them


@dataclass(frozen=True)
class Node:
    """`kind`: "run" or "file"."""

    id: str
    kind: str
    label: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Edge:
    """From what was there to what came of it. `kind`: "read", "made", "values"."""

    source: str
    target: str
    kind: str
    label: str = ""
    proven: bool = True


@dataclass
class Graph:
    """Nodes by id, in the order in which they came to be."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def into(self, node: str) -> list[Edge]:
        return [edge for edge in self.edges if edge.target == node]

    def out_of(self, node: str) -> list[Edge]:
        return [edge for edge in self.edges if edge.source == node]

    def around(self, starts: Sequence[str]) -> Graph:
        """All that these nodes came from, and all that came of them."""
        kept: set[str] = set()
        for step in (self.into, self.out_of):
            reached: set[str] = set()
            waiting = list(starts)
            while waiting:
                node = waiting.pop()
                if node not in reached:
                    reached.add(node)
                    waiting += [edge.source if step == self.into else edge.target for edge in step(node)]
            kept |= reached
        nodes = {name: node for name, node in self.nodes.items() if name in kept}
        return Graph(nodes, [edge for edge in self.edges if edge.source in nodes and edge.target in nodes])


def file_id(path: str, digest: str | None, maker: str | None) -> str:
    return f"{path}@{digest or maker or 'unknown'}"


def build(facts: Sequence[RunFacts]) -> Graph:
    """The whole graph of these runs."""
    graph = Graph()
    ordered = sorted(facts, key=lambda fact: (fact.began, fact.run))
    runs = {fact.run for fact in ordered}
    made: dict[str, list[tuple[RunFacts, str | None, str]]] = {}  # path -> its makers: run, digest, node
    for fact in ordered:
        for path, (_, _, digest, _) in fact.written.items():
            node = file_id(path, digest, fact.run)
            made.setdefault(path, []).append((fact, digest, node))
    for fact in ordered:
        own = {path: node for path, makers in made.items() for maker, _, node in makers if maker is fact}
        for path, (size, _, digest) in fact.read.items():
            maker = _maker(made.get(path, ()), fact, digest)
            node = maker[0] if maker else file_id(path, digest, None)
            _file(graph, node, path, size, digest)
            graph.edges.append(Edge(node, fact.run, "read", proven=maker[1] if maker else True))
        detail = {"version": fact.version, "began": fact.began, "ended": fact.ended, "task": fact.task}
        graph.nodes[fact.run] = Node(fact.run, "run", fact.label, detail)
        for names, sources in fact.values:
            for source in sources:
                if source in runs and source != fact.run:
                    graph.edges.append(Edge(source, fact.run, "values", ", ".join(names)))
        for path, node in own.items():
            size, _, digest, how = fact.written[path]
            _file(graph, node, path, size, digest)
            alone = how == "opened" or not any(
                other is not fact and other.began < fact.ended and fact.began < other.ended for other in ordered
            )
            graph.edges.append(Edge(fact.run, node, "made", proven=alone))
    graph.edges = list(dict.fromkeys(edge for edge in graph.edges if edge.source in graph.nodes))
    return graph


def _maker(
    makers: Sequence[tuple[RunFacts, str | None, str]], reader: RunFacts, digest: str | None
) -> tuple[str, bool] | None:
    """The node that was read, and whether digests prove it; None where no run is known to have made it."""
    before = [one for one in makers if one[0] is not reader and one[0].began <= reader.ended]
    if digest is not None:
        same = [node for _, known, node in before if known == digest]
        if same:
            return same[-1], True
    unknown = [
        node for maker, known, node in before if (known is None or digest is None) and maker.ended <= reader.ended
    ]
    return (unknown[-1], False) if unknown else None


def _file(graph: Graph, node: str, path: str, size: int | None, digest: str | None) -> None:
    if node not in graph.nodes:
        graph.nodes[node] = Node(node, "file", path, {"bytes": size, "digest": digest})
