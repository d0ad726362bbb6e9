"""Random edits of a training script with a known true place: right or refused, and always provable."""

from __future__ import annotations

import ast
import random
import re

import pytest
from flor_instrument import hindsight, propagate, remove
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SCRIPT = """\
import flor
import torch


def evaluate(model, loader):
    correct = 0
    for x, y in loader:
        out = model(x)
        correct += (out.argmax(1) == y).sum().item()
    return correct / len(loader)


def train(model, optimizer, loader, epochs):
    best = 0.0
    for epoch in flor.loop("epoch", range(epochs)):
        model.train()
        running = 0.0
        for x, y in flor.loop("step", loader):
            optimizer.zero_grad()
            out = model(x)
            loss = torch.nn.functional.cross_entropy(out, y)
            loss.backward()
            optimizer.step()
            running += loss.item()
        accuracy = evaluate(model, loader)
        flor.log("accuracy", accuracy)
        best = max(best, accuracy)
    return best


model = torch.nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
best = train(model, optimizer, load(), 3)
print(best)
"""
LINES = SCRIPT.splitlines()
# Where a statement may be added: after this line, reading this name.
PLACES = [
    (8, "out"),
    (9, "x"),
    (19, "x"),
    (20, "out"),
    (21, "loss"),
    (22, "loss"),
    (25, "accuracy"),
    (27, "best"),
    (33, "best"),
]
NEW_NAMES = {"model": "net", "optimizer": "opt", "loss": "objective", "out": "logits", "running": "total", "x": "xb"}
TRUE = 'flor.log("value", {name})'


def with_line(lines: list[str], after: int, text: str) -> str:
    indent = re.match(r" *", lines[after - 1])
    assert indent is not None
    return "\n".join([*lines[:after], indent.group() + text, *lines[after:]]) + "\n"


def rename(text: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        text = re.sub(rf"(?<![\w.\"]){old}\b", new, text)
    return text


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, bytes, bytes, bytes]:
    """Base, today, an older version, and the older version with the statement in its true place."""
    after, name = draw(st.sampled_from(PLACES))
    statement = TRUE.format(name=name)
    today = with_line(LINES, after, statement)
    truth = today
    renamed = draw(st.sets(st.sampled_from(sorted(NEW_NAMES)), max_size=3))
    truth = rename(truth, {old: NEW_NAMES[old] for old in renamed})
    lines = truth.splitlines()
    mark = next(number for number, line in enumerate(lines) if '"value"' in line)
    for _ in range(draw(st.integers(0, 3))):
        where = draw(st.integers(3, len(lines) - 1))
        kind = draw(st.sampled_from(["insert", "comment", "blank", "delete"]))
        if abs(where - mark) <= 1 or not lines[where].strip() or "value" in lines[where]:
            continue
        indent = re.match(r" *", lines[where])
        assert indent is not None
        if kind == "insert":
            lines.insert(where, f"{indent.group()}unrelated_{where} = {where}")
        elif kind == "comment":
            lines.insert(where, f"{indent.group()}# remark {where}")
        elif kind == "blank":
            lines.insert(where, "")
        elif re.match(r" *(flor\.log\(\"acc|model\.train|net\.train|print)", lines[where]):
            lines[where] = f"{indent.group()}pass"
        mark = next(number for number, line in enumerate(lines) if '"value"' in line)
    truth = "\n".join(lines) + "\n"
    target = "\n".join(line for number, line in enumerate(lines) if number != mark) + "\n"
    if draw(st.booleans()):
        target, truth = target.replace("\n", "\r\n"), truth.replace("\n", "\r\n")
    return SCRIPT.encode(), today.encode(), target.encode(), truth.encode()


@settings(database=None, max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edited())
def test_right_or_refused(case: tuple[bytes, bytes, bytes, bytes]) -> None:
    base, today, target, truth = case
    patch = hindsight(base, today)
    result = propagate(patch, target)
    if result.placed:
        assert ast.dump(ast.parse(result.source)) == ast.dump(ast.parse(truth))
    assert remove(result.source, result.placed) == target
    again = propagate(patch, result.source)
    assert again.source == result.source


@settings(database=None, max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edited(), st.randoms(use_true_random=False))
def test_shuffled_lines_never_raise(case: tuple[bytes, bytes, bytes, bytes], chance: random.Random) -> None:
    base, today, target, _ = case
    lines = target.splitlines(keepends=True)
    for _ in range(3):
        one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
        lines[one], lines[two] = lines[two], lines[one]
    shuffled = b"".join(lines)
    result = propagate(hindsight(base, today), shuffled)
    assert remove(result.source, result.placed) == shuffled
    assert len(result.placed) > 0 or len(result.refused) > 0 or result.already


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"\xef\xbb\xbf",
        b"\0",
        b"\xff\xfe",
        b"%matplotlib inline\nx = 1\n",
        b"print 'two'\n",
        b"x = " + b"+".join([b"1"] * 5000) + b"\n",
        b"x = " + b"(" * 300 + b")" * 300 + b"\n",
        b"".join(b" " * i + b"if x:\n" for i in range(90)) + b" " * 90 + b"pass\n",
        b"# coding: utf-7\nx = 1\n",
        b"x = 1\\",
        b"if x: pass\nelif y: pass\nelse: pass\n",
    ],
    ids=range(12),
)
def test_hostile_targets_are_refused_with_a_reason(target: bytes) -> None:
    patch = hindsight(SCRIPT.encode(), with_line(LINES, 22, "flor.log('loss', loss)").encode())
    result = propagate(patch, target)
    assert result.source == target
    assert result.refused[0].reason.endswith(".")


def test_long_files_end() -> None:
    patch = hindsight(SCRIPT.encode(), with_line(LINES, 22, "flor.log('loss', loss)").encode())
    filler = "".join(f"value_{number} = compute({number})\n" for number in range(20_000))
    result = propagate(patch, (SCRIPT + filler).encode())
    assert len(result.placed) == 1
