"""Names that have no value at the place on every path, and renames that nothing bears out, are refusals."""

from __future__ import annotations

import pytest
from flor_instrument import hindsight, propagate

_HEAD = "import flor\ndef f(x, y):\n"
_TODAY = _HEAD + '    loss = net(x)\n    go(x)\n    flor.log("loss", loss)\n    return 1\n'
_LINE = '    flor.log("loss", loss)\n'


def _into(version: str, today: str = _TODAY) -> tuple[bool, str]:
    result = propagate(hindsight(today.replace(_LINE, "").encode(), today.encode()), version.encode())
    return bool(result.placed), "; ".join(one.reason for one in result.refused)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("    if x:\n        loss = net(x)\n", "on some paths"),
        ("    if x:\n        loss = net(x)\n    elif y:\n        loss = 1\n", "on some paths"),
        ("    loss = net(x)\n    del loss\n", "is deleted"),
        ("    try:\n        loss = net(x)\n    except E:\n        pass\n", "on some paths"),
    ],
)
def test_a_name_without_a_value_on_some_path_is_refused(given: str, reason: str) -> None:
    placed, said = _into(_HEAD + given + "    go(x)\n    return 1\n")
    assert not placed
    assert reason in said


@pytest.mark.parametrize(
    "given",
    [
        "    if x:\n        loss = net(x)\n    else:\n        loss = 2\n",
        "    if x:\n        loss = net(x)\n    else:\n        raise E\n",
        "    try:\n        loss = net(x)\n    except E:\n        return 2\n",
        "    for i in x:\n        loss = net(i)\n",
        "    with y:\n        loss = net(x)\n",
        "    loss = 1\n    del loss\n    loss = net(x)\n",
    ],
)
def test_a_name_with_a_value_on_every_path_is_taken(given: str) -> None:
    assert _into(_HEAD + given + "    go(x)\n    return 1\n") == (True, "")


def test_what_is_bound_on_some_paths_today_may_be_so_in_a_version() -> None:
    today = _TODAY.replace("    loss = net(x)\n", "    if x:\n        loss = net(x)\n")
    version = today.replace(_LINE, "").replace("if x:", "if x and y:")
    assert _into(version, today)[0]


def test_a_variable_that_only_took_the_place_of_another_is_not_its_older_name() -> None:
    today = (
        "import flor\ndef info():\n    try:\n        commit = ask()\n    except E:\n"
        '        commit = "0"\n    flor.log("commit", commit)\n    return commit\n'
    )
    version = "import flor\ndef save(loss, best):\n    if loss < best:\n        best = loss\n    return best\n"
    base = today.replace('    flor.log("commit", commit)\n', "")
    assert not propagate(hindsight(base.encode(), today.encode()), version.encode()).placed
