"""``flor-replay lineage FILE|RUN``: which run made it, from what, and what was made from it."""

from __future__ import annotations

import json
import os
import sys

import click

from flor_replay import project
from flor_replay.cli.common import find_project, find_run, plural
from flor_replay.cli.shell import DONE, say
from flor_replay.errors import UsageError
from flor_replay.lineage.graph import Graph, file_id


@click.command("lineage", short_help="Which run made a file, from what, and what came of it.")
@click.argument("what", metavar="[FILE|RUN]", required=False)
@click.option("--json", "form", flag_value="json", help="As JSON.")
@click.option("--mermaid", "form", flag_value="mermaid", help="As a Mermaid flowchart.")
@click.option("--svg", "svg", type=click.Path(dir_okay=False), metavar="PATH", help="Write a picture (- for stdout).")
def command(what: str | None, form: str | None, svg: str | None) -> int:
    """Which run, from which version and inputs, made FILE as it is now, and what was made from it. Of a RUN: what it read
    and made. Without either: the graph of all runs, for --json, --mermaid or --svg.

    An edge marked ~ is not proven: the content is gone, or another run went on at the same time.
    """
    from flor_replay.lineage import facts, graph, picture, showing

    root, store = find_project()
    whole = graph.build(facts.gather(root, store))
    start = None
    shown = whole
    if what is not None:
        start = _find(whole, root, store, what)
        shown = whole.around([start])
    elif form is None and svg is None:
        raise UsageError("name a file or a run, or ask for the whole graph with --svg PATH, --mermaid or --json")
    if svg is not None:
        text = picture.draw(shown, start)
        if svg == "-":
            print(text)
        else:
            with open(svg, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            say(f"{svg}: {plural(len(shown.nodes), 'node')}")
    if form == "json":
        print(json.dumps({"start": start, **showing.as_data(shown)}, indent=1))
    elif form == "mermaid":
        print(showing.as_mermaid(shown))
    elif svg is None and start is not None:
        print(showing.as_text(shown, start))
    sys.stdout.flush()
    return DONE


def _find(whole: Graph, root: str, store: str, what: str) -> str:
    """The node of a run's id or of a file as it is now. Raises UsageError."""
    from flor_replay.history import inputs

    run = find_run(store, what)
    if run is not None and not os.path.exists(what):
        return run.run
    path = project.relative(os.path.abspath(what), root)
    known = [node.id for node in whole.nodes.values() if node.kind == "file" and node.label == path]
    if not known:
        raise UsageError(f"no run is called {what!r}, and no recorded run opened a file {path!r}")
    full = os.path.join(root, path)
    if os.path.isfile(full):
        now = file_id(path, inputs.digest_of(full, os.path.getsize(full)), None)
        if now in known:
            return now
        if not any(
            node.rpartition("@")[2] in {fact for fact in whole.nodes} or node.endswith("@unknown") for node in known
        ):
            say(f"flor-replay: {path} has changed since a run made or read it: this is what it was last")
    return known[-1]
