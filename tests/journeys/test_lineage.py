"""Which run made a file, from what, and what came of it: pipelines run as users run them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from flor_replay.lineage.graph import RunFacts, build
from tests.support import Project, json_of

PREP = """
import flor, json
flor.log("batch_size", 64)
config = open("config.txt").read()
json.dump([len(config)] * 3, open("data/numbers.json", "w"))
open("notes.txt", "a").write("prepared")
"""
TRAIN = """
import flor, json, torch
for epoch in flor.loop("epoch", range(2)):
    numbers = json.load(open("data/numbers.json"))
    flor.log("recall", flor.arg("recall", 0.5))
torch.save({"w": torch.tensor(numbers)}, "model.pt")  # C code opens the file
"""
INFER = """
import flor, os, torch
best = flor.dataframe("recall").sort_values("recall").iloc[-1]
flor.log("used", best["recall"])
model = torch.load("model.pt")
os.makedirs("out", exist_ok=True)
os.chdir("out")
with open("report.txt", "w") as file:
    file.write(str(model))
print(open("report.txt").read(), open("/etc/hostname").read())
"""
FILES = {
    "prep.py": PREP,
    "train.py": TRAIN,
    "infer.py": INFER,
    "config.txt": "abc",
    ".gitignore": "/data\n/out\n*.pt\n",
}


@pytest.fixture
def pipeline(project: Project) -> Project:
    project.commit(files=FILES)
    (project.root / "data").mkdir()
    return project


def graph_of(project: Project, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json_of(project.command("lineage", *words, "--json"))
    return found


def edges(graph: dict[str, Any]) -> set[tuple[str, str, str, bool]]:
    labels = {node["id"]: node["label"].split()[0] for node in graph["nodes"]}
    return {(labels[e["from"]], e["kind"], labels[e["to"]], e["proven"]) for e in graph["edges"]}


def test_a_pipeline(pipeline: Project) -> None:
    for script in ("prep.py", "train.py", "infer.py"):
        pipeline.python(script)
    expected = {
        ("config.txt", "read", "prep.py", True),
        ("prep.py", "made", "data/numbers.json", True),
        ("data/numbers.json", "read", "train.py", True),
        ("train.py", "made", "model.pt", True),
        ("model.pt", "read", "infer.py", True),
        ("train.py", "values", "infer.py", True),
        ("infer.py", "made", "out/report.txt", True),
    }
    assert edges(graph_of(pipeline, "out/report.txt")) == expected
    everything = graph_of(pipeline)
    assert edges(everything) == {*expected, ("prep.py", "made", "notes.txt", True)}
    run = pipeline.runs()[1].run
    assert edges(graph_of(pipeline, run[-8:])) == expected  # all of it came from or led to the training
    assert ("prep.py", "made", "notes.txt", True) not in edges(graph_of(pipeline, "model.pt"))
    shown = pipeline.command("lineage", "model.pt").stdout
    assert "made by train.py" in shown and "read by infer.py" in shown and "config.txt" in shown
    assert str(pipeline.runs()[1].commit)[:8] in shown
    assert pipeline.command("lineage", "model.pt", "--mermaid").stdout.startswith("flowchart LR\n")
    pipeline.command("lineage", "--svg", "picture.svg")
    picture = ET.fromstring((pipeline.root / "picture.svg").read_text())
    texts = [element.text for element in picture.iter() if element.tag.endswith("text")]
    assert {"model.pt", "out/report.txt", "config.txt"} <= set(texts)


def test_one_name_in_two_folders(project: Project) -> None:
    source = """
        import flor, os
        for fold in flor.loop("fold", ["a", "b", "a"]):
            os.chdir(fold)
            for epoch in range(3):
                text = open("x.txt").read()
            os.chdir("..")
            flor.log("text", text)
        """
    project.commit(files={"train.py": source, "a/x.txt": "1", "b/x.txt": "2"})
    project.python("train.py")
    read = {("a/x.txt", "read", "train.py", True), ("b/x.txt", "read", "train.py", True)}
    assert edges(graph_of(project)) == read


@pytest.mark.slow
def test_rounds_are_told_apart_by_content(pipeline: Project) -> None:
    for content in ("abc", "abcd"):
        pipeline.write({"config.txt": content})
        for script in ("prep.py", "train.py"):
            pipeline.python(script)
    runs = pipeline.runs()
    assert [node["id"] for node in graph_of(pipeline, "model.pt")["nodes"] if node["kind"] == "run"] == [
        runs[2].run,
        runs[3].run,
    ]
    first = graph_of(pipeline, runs[0].run)
    assert [node["id"] for node in first["nodes"] if node["kind"] == "run"] == [runs[0].run, runs[1].run]
    (pipeline.root / "model.pt").write_bytes(b"edited by hand")
    assert "has changed since" in pipeline.command("lineage", "model.pt").stderr


def test_loader_workers_read_for_their_run(project: Project) -> None:
    code = """
    import flor, torch
    class Data(torch.utils.data.Dataset):
        def __len__(self): return 12
        def __getitem__(self, i):
            with open(f"data/{i}.txt") as file: return len(file.read())
    for epoch in flor.loop("epoch", range(2)):
        for batch in torch.utils.data.DataLoader(Data(), batch_size=3, num_workers=2):
            flor.log("sum", batch.sum())
    """
    project.commit(files={"train.py": code, **{f"data/{i}.txt": "x" * i for i in range(12)}})
    project.python("train.py", env={"FLOR_CHECKPOINTS": "off"})
    assert {(f"data/{i}.txt", "read", "train.py", True) for i in range(12)} <= edges(graph_of(project))


def test_a_killed_run_and_data_outside(project: Project, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text("1")
    (tmp_path / "other.csv").write_text("2")
    code = f"""
    import flor, os, time
    flor.log("x", 1)
    open({str(data / "a.csv")!r}).read(), open({str(tmp_path / "other.csv")!r}).read()
    open("out.txt", "w").write("half")
    time.sleep(1.2)
    os.kill(os.getpid(), 9)
    """
    project.commit(files={"train.py": code, "pyproject.toml": f'[tool.flor]\ndata = ["{data}"]\n'})
    project.python("train.py", check=False)
    found = edges(graph_of(project))
    assert (str(data / "a.csv"), "read", "train.py", True) in found
    assert ("train.py", "made", "out.txt", True) in found
    assert not any("other.csv" in edge[0] for edge in found)


def test_unknown_names(project: Project) -> None:
    project.commit(files={"train.py": 'import flor\nflor.log("x", 1)\n'})
    project.python("train.py")
    assert "no run is called" in project.command("lineage", "nothing.txt", check=2).stderr
    assert "--svg" in project.command("lineage", check=2).stderr


def facts(run: str, began: float, ended: float, **more: Any) -> RunFacts:
    return RunFacts(
        run, run, began, ended, None, None, more.get("read", {}), more.get("written", {}), more.get("values", [])
    )


def test_what_is_not_proven() -> None:
    made = {"f": [1, 0.0, None, "opened"]}  # the content is gone
    graph = build(
        [facts("a", 0, 1, written=made), facts("b", 2, 3, written=made), facts("c", 4, 5, read={"f": [1, 0.0, "d"]})]
    )
    (read,) = (edge for edge in graph.edges if edge.kind == "read")
    assert (read.source, read.proven) == ("f@b", False)  # the last that wrote it
    other = {"f": [1, 0.0, "e", "opened"]}
    graph = build([facts("a", 0, 1, written=other), facts("c", 4, 5, read={"f": [1, 0.0, "d"]})])
    (read,) = (edge for edge in graph.edges if edge.kind == "read")
    assert read.source == "f@d"  # somebody else wrote what was read
    seen = {"f": [1, 0.0, "d", "seen"]}
    graph = build([facts("a", 0, 2, written=seen), facts("b", 1, 3, written=seen)])
    assert [edge.proven for edge in graph.edges] == [False, False]  # either may have made it


def test_circles_are_drawn(project: Project) -> None:
    """A file that is read and written again by the run that reads it."""
    code = """
    import flor, json, os
    count = json.load(open("state.json")) if os.path.exists("state.json") else 0
    flor.log("count", count)
    json.dump(count + 1, open("state.json", "w"))
    """
    project.commit(files={"step.py": code})
    for _ in range(3):
        project.python("step.py")
    graph = graph_of(project)
    assert json.loads((project.root / "state.json").read_text()) == 3
    assert sum(edge["kind"] == "made" for edge in graph["edges"]) == 3
    assert "<svg" in project.command("lineage", "state.json", "--svg", "-").stdout
