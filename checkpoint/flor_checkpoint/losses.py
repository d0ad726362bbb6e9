"""What a checkpoint lacks: which objects, why, and every name from which the rest of the run could reach them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from flor_checkpoint.contents import NoContents
from flor_checkpoint.encode import new_walker
from flor_checkpoint.kinds import TypeBook
from flor_checkpoint.manifest import NotCaptured
from flor_checkpoint.walk import Namespaces, Walker


def mark_unreachable(walker: Walker) -> None:
    """Count what another process will not find as lost: what stays as it is was there at loop entry, or has a name."""
    for nid, node in enumerate(walker.nodes):
        if node is None or walker.origin(nid) >= 0:
            continue
        if node[0] == "keep" and not node[3] and node[2] is None:
            walker.nodes[nid] = walker.lost(nid, f"a {node[1]} made in the loop cannot be captured")
        elif node[0] in ("function", "class") and node[1] is None:
            walker.nodes[nid] = walker.lost(nid, f"a {node[0]} made in the loop cannot be captured")


def not_captured(
    walker: Walker, book: TypeBook, known: Mapping[object, int] | None, namespaces: Namespaces
) -> tuple[NotCaptured, ...]:
    """The losses of a walk over `namespaces` that `mark_unreachable` has seen.

    Who holds them is asked of a second walk that keeps every link: few checkpoints lack anything, and the others need
    not pay for the links.
    """
    if not walker.not_captured:
        return ()
    again = new_walker(book, NoContents(), known)
    again.links = []
    again.walk(namespaces)
    mark_unreachable(again)
    if again.not_captured != walker.not_captured:  # another thread has changed the state meanwhile
        return tuple(NotCaptured(path, reason) for path, reason in walker.not_captured)
    holders: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for nid, node in enumerate(again.nodes):
        if node is not None and node[0] == "lost":
            holders[str(node[2])].update(_holders(again, nid))
    return tuple(NotCaptured(path, reason, tuple(sorted(holders[path]))) for path, reason in again.not_captured)


def _holders(walker: Walker, nid: int) -> set[tuple[str, str]]:
    """The names from which a node can be reached, along every way that leads to it."""
    above: dict[int, set[int]] = defaultdict(set)
    for parent, child in walker.links or ():
        above[child].add(parent)
    seen = {nid}
    waiting = [nid]
    while waiting:
        one = waiting.pop()
        for parent in {*above[one], walker.parents[one]}:
            if parent >= 0 and parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return {
        (space, name)
        for space, names in walker.roots.items()
        for name, written in names.items()
        if type(written) is tuple and type(written[0]) is int and written[0] in seen
    }
