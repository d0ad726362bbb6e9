"""The recipes of docs/recipes.md: newest features of each document, who labelled what."""

from __future__ import annotations

from flor_replay.store.utils import latest
from tests.support import Project

FEATURIZE = """
import flor, sys
for name in flor.loop("document", sys.argv[2:]):
    for page in flor.loop("page", range(2)):
        flor.log("words", int(sys.argv[1]) + page)
"""
LABEL = """
import flor, sys
with flor.iteration("document", None, "a.pdf"):
    flor.log("labeller", sys.argv[1])
    for number in flor.loop("page", range(2)):
        flor.log("colour", int(sys.argv[2]) + number)
flor.commit()
"""


def test_feature_store(project: Project) -> None:
    project.commit(files={"featurize.py": FEATURIZE})
    project.python("featurize.py", "10", "a.pdf", "b.pdf")
    project.python("featurize.py", "20", "b.pdf", "c.pdf")
    newest = latest(project.dataframe("words"))
    found = {(row.document_value, row.page): row.words for row in newest.itertuples()}
    assert found == {
        ("a.pdf", 0): 10, ("a.pdf", 1): 11, ("b.pdf", 0): 20, ("b.pdf", 1): 21, ("c.pdf", 0): 20, ("c.pdf", 1): 21,
    }  # fmt: skip


def test_label_registry(project: Project) -> None:
    project.commit(files={"label.py": LABEL})
    for labeller, colour in (("ada", 1), ("model", 3), ("bob", 5), ("model", 7)):
        project.python("label.py", labeller, str(colour))
    labels = project.dataframe("colour", "labeller")
    by_people = latest(labels[labels["labeller"] != "model"])
    assert by_people["colour"].tolist() == [5, 6] and set(by_people["labeller"]) == {"bob"}
    assert latest(labels)["labeller"].unique().tolist() == ["model"]
