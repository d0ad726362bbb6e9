"""What a checkpoint lacks is named with every name that leads to it, and nothing passes for what it is not."""

from __future__ import annotations

import csv
import io
import json
import weakref
from pathlib import Path

import flor_checkpoint as fc

HERE = Path(__file__).parent


def live_generator():
    """In the middle of a `with`, whose exit no checkpoint can keep."""
    with open(__file__) as file:
        yield file


def started():
    made = live_generator()
    next(made)
    return made


class Box:
    pass


def holders(store, names):
    """Of each loss its path and the names that hold it, in a namespace changed from an empty one."""
    capturer = store.capturer(HERE)
    capturer.baseline({"frame:0": {}})
    store.take(capturer, names)
    capturer.close()
    assert store.warnings == []
    return {entry.path: {name for _, name in entry.holders} for entry in store.snapshot().manifest.not_captured}


def test_a_name_alone(store):
    assert holders(store, {"gen": started(), "other": [1]}) == {"frame:0.gen": {"gen"}}


def test_every_way_to_it_counts(store):
    gen = started()
    box, table = Box(), {"a": [gen]}
    box.deep = table
    names = {"gen": gen, "box": box, "table": table, "other": [1, {}], "back": weakref.ref(gen), "bound": gen.send}
    assert holders(store, names) == {"frame:0.gen": {"gen", "box", "table", "back", "bound"}}


def test_what_only_something_lost_holds(store):
    def outer(gen):
        def closure():
            return next(gen)

        return closure

    found = holders(store, {"closure": outer(started())})
    assert found["frame:0.closure"] == {"closure"}
    assert all(names == {"closure"} for names in found.values())


def test_a_circle_ends(store):
    box = Box()
    box.own, box.gen = box, started()
    assert holders(store, {"box": box}) == {"frame:0.box.gen": {"box"}}


def test_an_older_manifest_names_no_holders(store):
    holders(store, {"gen": started()})
    [path] = store.checkpoints.glob("*.json")
    manifest = json.loads(path.read_text())
    for entry in manifest["not_captured"]:
        del entry["holders"]
    path.write_text(json.dumps(manifest))
    [entry] = fc.read_manifest(path).not_captured
    assert entry.holders == ()


def test_what_stood_at_loop_entry_keeps_its_identity(store):
    """Freed, its place in memory would go to another function, which would then pass for it."""
    names = {"hook": (lambda: "entry")}
    seen = weakref.ref(names["hook"])
    capturer = store.capturer(HERE)
    capturer.baseline({"frame:0": names})
    names["hook"] = lambda: "new"
    assert seen() is not None
    assert [entry.path for entry in store.take(capturer, names).not_captured] == ["frame:0.hook"]
    capturer.close()


def test_a_csv_writer_stays_like_its_file_and_one_into_memory_is_lost(store, tmp_path):
    with open(tmp_path / "log.csv", "w", newline="") as file:
        names = {
            "into_file": csv.writer(file),
            "by_name": csv.DictWriter(file, ["a"]),
            "into_memory": csv.writer(io.StringIO()),
            "reader": csv.reader(io.StringIO("a,b")),
        }
        found = holders(store, names)
    assert sorted(found) == ["frame:0.into_memory", "frame:0.reader"]
