"""The graph for people and programs: as a tree of text, as data, as Mermaid."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flor_replay.lineage.graph import Edge, Graph, Node


def as_data(graph: Graph) -> dict[str, Any]:
    """{"nodes": […], "edges": […]}."""
    return {
        "nodes": [{"id": n.id, "kind": n.kind, "label": n.label, **n.detail} for n in graph.nodes.values()],
        "edges": [
            {"from": e.source, "to": e.target, "kind": e.kind, "values": e.label or None, "proven": e.proven}
            for e in graph.edges
        ],
    }


def as_mermaid(graph: Graph) -> str:
    """A flowchart as Mermaid writes it."""
    names = {node: f"n{place}" for place, node in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for node in graph.nodes.values():
        text = "<br/>".join(_escaped(line) for line in caption(node))
        opening, closing = ("([", "])") if node.kind == "run" else ("[", "]")
        lines.append(f'    {names[node.id]}{opening}"{text}"{closing}')
    for edge in graph.edges:
        arrow = "-->" if edge.proven else "-.->"
        label = f'|"{_escaped(edge.label)}"|' if edge.label else ""
        lines.append(f"    {names[edge.source]} {arrow}{label} {names[edge.target]}")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def caption(node: Node) -> list[str]:
    """What a node is called, and a second line that tells it from others of its name."""
    if node.kind == "file":
        digest = node.detail.get("digest")
        return [node.label, "  ".join(filter(None, (size_of(node.detail.get("bytes")), digest and digest[:8])))]
    began = datetime.fromtimestamp(node.detail["began"])
    version = node.detail.get("version")
    return [node.label, f"{began:%Y-%m-%d %H:%M:%S}  {version[:8] if version else 'no version'}"]


def size_of(size: int | None) -> str:
    if size is None:
        return "gone"
    for unit, step in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} B"


def as_text(graph: Graph, start: str) -> str:
    """Where a node came from and what came of it, as two trees; a ``~`` where an edge is not proven."""
    lines = [_line(graph.nodes[start])]
    for title, into in (("came from", True), ("led to", False)):
        edges = graph.into(start) if into else graph.out_of(start)
        if edges:
            lines += ["", title, *_tree(graph, start, into, "", {start})]
    return "\n".join(lines)


def _line(node: Node) -> str:
    name, detail = caption(node)
    marked = f"{name}  [{node.id[-8:]}]" if node.kind == "run" else name
    return f"{marked}  {detail}".rstrip()


def _tree(graph: Graph, node: str, into: bool, indent: str, above: set[str]) -> list[str]:
    edges = _merged(graph.into(node) if into else graph.out_of(node))
    lines = []
    for place, (edge, labels) in enumerate(edges):
        last = place == len(edges) - 1
        other = graph.nodes[edge.source if into else edge.target]
        word = _word(edge, into)
        note = f" ({', '.join(labels)})" if labels else ""
        lines.append(f"{indent}{'└─ ' if last else '├─ '}{word}{'' if edge.proven else ' ~'}{note} {_line(other)}")
        if other.id in above:
            continue
        lines += _tree(graph, other.id, into, indent + ("   " if last else "│  "), above | {other.id})
    return lines


def _merged(edges: list[Edge]) -> list[tuple[Edge, list[str]]]:
    """Several lists of values between two runs are one line."""
    found: dict[tuple[str, str, str], tuple[Edge, list[str]]] = {}
    for edge in edges:
        _, labels = found.setdefault((edge.source, edge.target, edge.kind), (edge, []))
        labels += [label for label in edge.label.split(", ") if label and label not in labels]
    return list(found.values())


def _word(edge: Edge, into: bool) -> str:
    if edge.kind == "made":
        return "made by" if into else "made"
    if edge.kind == "values":
        return "values of" if into else "values read by"
    return "read" if into else "read by"
