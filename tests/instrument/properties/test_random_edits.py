"""Random edits with a known true place: the statement is put there, or where it logs the same, or it is refused.

That bytes outside of the insertion stay, that a second propagation changes nothing, and that removal gives the version
back is asserted of every case by `judging.answer`. How much is refused: `python -m tests.instrument.properties.survey`.
"""

from __future__ import annotations

from difflib import unified_diff
from random import Random

import pytest
from flor_instrument import hindsight, propagate
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from . import edits
from .cases import Case, negative_case, real_case, running_case
from .judging import by_reading, by_running
from .programs import program, run, with_mark
from .survey import survey
from .text import parsed, without_mark

KINDS = st.sampled_from(sorted(edits.EVERY))
SEEDS = st.integers(0, 10**9)
FEW = settings(max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=2000)


def told(case: Case) -> str:
    """What to look at where a property does not hold."""
    result = propagate(hindsight(case.base.encode(), case.today.encode()), case.target.encode())

    def diff(old: str, new: str) -> str:
        return "\n".join(list(unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=8))[2:])

    return "\n".join(
        [
            f"edits: {', '.join(case.kinds)}",
            "--- what today adds",
            diff(case.base, case.today),
            "--- the truth, and what came out",
            diff(case.truth, result.source.decode()),
        ]
    )


def runs_right(seed: int, before: list[str], after: list[str], near: bool) -> None:
    case = running_case(Random(seed), before, after, near=near)
    assume(case is not None)
    assert case is not None
    assert by_running(case) in {"right", "refused"}, told(case)


def reads_right(seed: int, before: list[str], after: list[str]) -> None:
    case = real_case(Random(seed), before, after, near=False)
    assume(case is not None)
    assert case is not None
    assert by_reading(case) in {"right", "equivalent", "refused"}, told(case)


BEFORE, AFTER = st.lists(KINDS, max_size=3), st.lists(KINDS, min_size=1, max_size=10)


@FEW
@given(SEEDS, BEFORE, AFTER, st.booleans())
def test_patched_scripts_log_what_the_truth_logs(seed: int, before: list[str], after: list[str], near: bool) -> None:
    runs_right(seed, before, after, near)


@FEW
@given(SEEDS, BEFORE, AFTER)
def test_real_files_take_it_at_the_true_place(seed: int, before: list[str], after: list[str]) -> None:
    reads_right(seed, before, after)


@FEW
@given(SEEDS)
def test_where_a_name_is_gone_it_is_refused(seed: int) -> None:
    case = negative_case(Random(seed))
    assume(case is not None)
    assert case is not None
    assert by_reading(case) == "refused", told(case)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@MANY
@given(SEEDS, BEFORE, AFTER, st.booleans())
def test_many_patched_scripts_log_what_the_truth_logs(
    seed: int, before: list[str], after: list[str], near: bool
) -> None:
    runs_right(seed, before, after, near)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@MANY
@given(SEEDS, BEFORE, AFTER)
def test_many_real_files_take_it_at_the_true_place(seed: int, before: list[str], after: list[str]) -> None:
    reads_right(seed, before, after)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@MANY
@given(SEEDS)
def test_where_a_name_is_gone_it_is_refused_many_times(seed: int) -> None:
    case = negative_case(Random(seed))
    assume(case is not None)
    assert case is not None
    assert by_reading(case) == "refused", told(case)


@FEW
@given(SEEDS)
def test_of_two_equal_blocks_none_is_taken(seed: int) -> None:
    """Refused, unless the copy is a function of another name than today's."""
    case = running_case(Random(seed), [], [edits.TWINS], near=True)
    assume(case is not None)
    assert case is not None
    assert by_running(case) in {"right", "refused"}, told(case)


@pytest.mark.slow
def test_not_everything_is_refused() -> None:
    """Today eight of nine are placed; how it is for each kind of edit, `survey` shows."""
    counts, _ = survey("run", 60, 500)
    assert counts["all"]["refused"] <= 0.25 * sum(counts["all"].values())


# ---- the tests' own machinery -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(edits.EVERY))
def test_every_edit_is_made_and_can_be_told(name: str) -> None:
    """Of each kind some are made, they keep the statement, and those that are to keep the meaning mostly do."""
    made = kept = 0
    for seed in range(200):
        chance = Random(seed)
        text = program(chance)
        text = with_mark(text, chance) if text is not None else None
        edited = edits.apply(name, text, chance, near=seed % 2 == 0) if text is not None else None
        if text is None or edited is None:
            continue
        made += 1
        assert edited != text
        assert parsed(edited) is not None
        found, before = run(edited), run(text)
        kept += found.failure is None and found.shown == before.shown
        if made >= 6:
            break
    assert made >= 2
    if name in edits.KEEPING:
        assert kept >= made / 2


def test_a_script_without_the_statement_does_the_same() -> None:
    tried = 0
    for seed in range(20):
        chance = Random(seed)
        text = program(chance)
        marked = with_mark(text, chance) if text is not None else None
        if text is None or marked is None:
            continue
        tried += 1
        without = without_mark(marked)
        assert without is not None
        assert without.split() == text.split()
        assert run(without).others == run(marked).others
        assert run(marked).values
        assert not run(without).values
    assert tried >= 10


SCRIPT = """\
import flor


def fit(x):
    for i in flor.loop("step", range(3)):
        out = x + i
        total = out * 2
    return total


print(fit(3))
"""


def case_of(truth: str) -> Case:
    """A case whose truth is as given, with the statement before `total = …` in today's file."""
    today = SCRIPT.replace("        total", '        flor.log("hindsight", out)\n        total')
    target = without_mark(truth)
    assert target is not None
    return Case(SCRIPT, today, target, truth, ())


def test_the_judges_know_right_from_wrong() -> None:
    today = SCRIPT.replace("        total", '        flor.log("hindsight", out)\n        total')
    assert by_running(case_of(today)) == by_reading(case_of(today)) == "right"
    early = SCRIPT.replace("        out", '        flor.log("hindsight", x)\n        out')
    assert by_running(case_of(early)) == "wrong values"
    assert by_reading(case_of(early)) == "wrong"
    once = SCRIPT.replace("    return", '    flor.log("hindsight", out)\n    return')
    assert by_running(case_of(once)) == "wrong values"
    assert by_reading(case_of(once)) == "wrong"
    late = SCRIPT.replace("* 2\n", '* 2\n        flor.log("hindsight", out)\n')
    assert by_running(case_of(late)) == "right"
    assert by_reading(case_of(late)) == "equivalent"
    nowhere = SCRIPT.replace("out", "res")
    assert by_reading(Case(SCRIPT, today, nowhere.replace("res = x + i", "pass").replace("res", "x"), nowhere, ())) == (
        "refused"
    )
