"""The graph as a picture: SVG, drawn in layers from left to right.

Layers by longest path, order within them by barycentres, as Sugiyama, Tagawa and Toda have it (Methods for Visual
Understanding of Hierarchical System Structures, 1981); edges that skip layers go through empty places of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

from flor_replay.lineage.graph import Edge, Graph
from flor_replay.lineage.showing import caption

_HEIGHT = 46
_GAP = 18  # between boxes of a layer
_BETWEEN = 74  # between layers
_MARGIN = 24
_LETTER = 7.0  # width of a letter of the label
_SMALL = 5.9
_PASS = 14  # height of the place of an edge that goes past a layer
_LONGEST = 34  # letters of a label
_SWEEPS = 12

_STYLE = """
text { font-family: "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif; fill: #1d2733 }
.label { font-size: 13px; font-weight: 600 } .detail { font-size: 11px; fill: #5b6b7c } .values { font-size: 11px; fill: #7a4b00; paint-order: stroke; stroke: #fbfcfd; stroke-width: 4px }
.run { fill: #e6f0fb; stroke: #3b76b8 } .file { fill: #ffffff; stroke: #8a97a5 } .start { stroke-width: 2.5 }
.edge { fill: none; stroke: #6f7d8c; stroke-width: 1.3 } .value { stroke: #c98a1b } .unsure { stroke-dasharray: 5 4 }
"""


@dataclass
class _Place:
    """A node, or (without one) where an edge goes past a layer."""

    node: str | None
    layer: int
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0


def draw(graph: Graph, start: str | None = None) -> str:
    """The picture; `start` has a stronger frame."""
    layers, chains = _arranged(graph)
    _placed(layers, chains)
    width = max((place.x + place.width for layer in layers for place in layer), default=0.0) + _MARGIN
    height = max((place.y + place.height for layer in layers for place in layer), default=0.0) + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0.8 L7,4 L0,7.2 z" fill="#6f7d8c"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fbfcfd"/>',
    ]
    labels = []
    for edge, chain in chains:
        parts.append(_line(edge, chain))
        if edge.label:
            a, b = chain[0], chain[1]
            x, y = (a.x + a.width + b.x) / 2, (a.y + a.height / 2 + b.y + b.height / 2) / 2 - 6
            text = _label(edge)
            labels.append(f'<text class="values" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>')
    parts += [_box(place, graph, start) for layer in layers for place in layer if place.node is not None]
    return "\n".join([*parts, *labels, "</svg>"])


def _arranged(graph: Graph) -> tuple[list[list[_Place]], list[tuple[Edge, list[_Place]]]]:
    """The layers with their places in order, and each edge with the places that it goes through."""
    depth = _depths(graph)
    layers: list[list[_Place]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    places = {}
    for name, node in graph.nodes.items():
        first, second = (_shortened(line) for line in caption(node))
        wide = max(len(first) * _LETTER, len(second) * _SMALL) + 26
        places[name] = _Place(name, depth[name], wide, _HEIGHT)
        layers[depth[name]].append(places[name])
    chains = []
    for edge in _drawn(graph):
        chain = [places[edge.source]]
        for layer in range(depth[edge.source] + 1, depth[edge.target]):
            chain.append(_Place(None, layer, 0.0, _PASS))
            layers[layer].append(chain[-1])
        chains.append((edge, [*chain, places[edge.target]]))
    before: dict[int, list[_Place]] = {}
    after: dict[int, list[_Place]] = {}
    for _, chain in chains:
        for a, b in pairwise(chain):
            before.setdefault(id(b), []).append(a)
            after.setdefault(id(a), []).append(b)
    for sweep in range(_SWEEPS):
        order = layers[1:] if sweep % 2 == 0 else layers[-2::-1]
        neighbours = before if sweep % 2 == 0 else after
        position = {id(place): float(number) for layer in layers for number, place in enumerate(layer)}
        for one in order:
            centre = {
                id(place): sum(position[id(other)] for other in near) / len(near)
                if (near := neighbours.get(id(place)))
                else position[id(place)]
                for place in one
            }
            one.sort(key=lambda place: centre[id(place)])
            position.update((id(place), float(number)) for number, place in enumerate(one))
    return layers, chains


def _drawn(graph: Graph) -> list[Edge]:
    """Edges between the same two nodes once; one that would close a circle (a file read and written) not at all."""
    depth = _depths(graph)
    found: dict[tuple[str, str], Edge] = {}
    for edge in graph.edges:
        if depth[edge.source] < depth[edge.target]:
            key = (edge.source, edge.target)
            known = found.get(key)
            label = ", ".join(dict.fromkeys(filter(None, (known.label if known else "", edge.label))))
            found[key] = Edge(*key, edge.kind, label, edge.proven)
    return list(found.values())


def _depths(graph: Graph) -> dict[str, int]:
    """The longest path to each node; edges that close a circle do not count."""
    depth: dict[str, int] = {}
    inside: set[str] = set()
    into: dict[str, list[str]] = {}
    for edge in graph.edges:
        into.setdefault(edge.target, []).append(edge.source)
    for first in graph.nodes:
        stack = [first]
        while stack:
            node = stack[-1]
            if node in depth:
                stack.pop()
                continue
            inside.add(node)
            waiting = [source for source in into.get(node, ()) if source not in depth and source not in inside]
            if waiting:
                stack += waiting
                continue
            depth[node] = 1 + max((depth[source] for source in into.get(node, ()) if source in depth), default=-1)
            inside.discard(node)
            stack.pop()
    return depth


def _placed(layers: list[list[_Place]], chains: list[tuple[Edge, list[_Place]]]) -> None:
    """Give every place its coordinates: layers side by side, each in the middle of the height."""
    heights = [sum(place.height for place in layer) + _GAP * (len(layer) - 1) for layer in layers]
    tallest = max(heights, default=0.0)
    x = float(_MARGIN)
    gaps = [float(_BETWEEN)] * len(layers)
    for edge, chain in chains:
        if edge.label:
            gaps[chain[0].layer] = max(gaps[chain[0].layer], len(_label(edge)) * _SMALL + 50)
    for layer, height, gap in zip(layers, heights, gaps, strict=True):
        wide = max(place.width for place in layer)
        y = _MARGIN + (tallest - height) / 2
        for place in layer:
            place.width = wide if place.node is None else place.width
            place.x, place.y = x + (wide - place.width) / 2, y
            y += place.height + _GAP
        x += wide + gap


def _line(edge: Edge, chain: list[_Place]) -> str:
    path: list[str] = []
    for a, b in pairwise(chain):
        x0, y0, x1, y1 = a.x + a.width, a.y + a.height / 2, b.x, b.y + b.height / 2
        path.append(
            f"{'M' if not path else 'L'}{x0:.1f},{y0:.1f} C{(x0 + x1) / 2:.1f},{y0:.1f} {(x0 + x1) / 2:.1f},{y1:.1f} {x1:.1f},{y1:.1f}"
        )
    kind = "edge" + (" value" if edge.kind == "values" else "") + ("" if edge.proven else " unsure")
    return f'<path class="{kind}" d="{" ".join(path)}" marker-end="url(#tip)"/>'


def _box(place: _Place, graph: Graph, start: str | None) -> str:
    node = graph.nodes[str(place.node)]
    first, second = caption(node)
    kind = f"{node.kind} start" if node.id == start else node.kind
    x, y, middle = place.x, place.y, place.x + place.width / 2
    return (
        f"<g><title>{escape(' · '.join((first, second, node.id)))}</title>"
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{place.width:.1f}" height="{place.height}" rx="{22 if node.kind == "run" else 5}"/>'
        f'<text class="label" x="{middle:.1f}" y="{y + 20:.1f}" text-anchor="middle">{escape(_shortened(first))}</text>'
        f'<text class="detail" x="{middle:.1f}" y="{y + 36:.1f}" text-anchor="middle">{escape(_shortened(second))}</text></g>'
    )


def _shortened(text: str) -> str:
    """Names keep their end: that is where files differ."""
    return text if len(text) <= _LONGEST else "…" + text[-_LONGEST + 1 :]


def _label(edge: Edge) -> str:
    return edge.label if len(edge.label) <= 22 else edge.label[:21] + "…"
