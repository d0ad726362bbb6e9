"""A refusal comes with the best place there is, for a person to accept; what a person decides is taken as it is."""

from __future__ import annotations

from flor_instrument import Given, hindsight, propagate, remove

BASE = b"""\
import flor
from tools import norm
for x in loader:
    loss = f(model(x))
    loss.backward()
    report(loss)
"""
TODAY = BASE.replace(b"    report(loss)\n", b'    flor.log("norm", norm(model))\n    report(loss)\n')
# Both neighbours are there, with something between them that changes what the statement reads.
TARGET = BASE.replace(b"    report(loss)\n", b"    opt.step()\n    report(loss)\n")


def test_the_best_place_comes_with_the_refusal() -> None:
    patch = hindsight(BASE, TODAY)
    plain = propagate(patch, TARGET)
    result = propagate(patch, TARGET, unsure=True)
    assert result.source == TARGET
    assert not result.placed
    (refusal,) = result.refused
    assert plain.refused[0].reason == refusal.reason
    assert plain.refused[0].unsure == ()
    (place,) = refusal.unsure
    assert place.text == 'flor.log("norm", norm(model))'
    lines = TARGET.decode().splitlines()
    assert place.after is not None and place.after_line is not None
    assert lines[place.after_line - 1].strip() == place.after
    assert place.before is not None and place.before_line is not None
    assert lines[place.before_line - 1].strip() == place.before
    assert place.before_line == place.after_line + 1


def test_an_accepted_place_is_placed() -> None:
    patch = hindsight(BASE, TODAY)
    (refusal,) = propagate(patch, TARGET, unsure=True).refused
    decision = Given(frozenset({0}), refusal.unsure)
    result = propagate(patch, TARGET, given=[decision])
    assert not result.refused
    assert result.source.count(b"flor.log") == 1
    assert remove(result.source, result.placed) == TARGET


def test_a_name_that_is_missing_is_no_place() -> None:
    patch = hindsight(BASE, TODAY)
    (refusal,) = propagate(patch, TARGET.replace(b"from tools import norm\n", b""), unsure=True).refused
    assert refusal.unsure == ()


def test_a_file_that_cannot_be_parsed_has_no_place() -> None:
    (refusal,) = propagate(hindsight(BASE, TODAY), b"print 'x'\n", unsure=True).refused
    assert refusal.unsure == ()


def test_what_is_not_in_its_place_is_refused() -> None:
    """A decision that does not fit the file is not applied half."""
    patch = hindsight(BASE, TODAY)
    (refusal,) = propagate(patch, TARGET, unsure=True).refused
    other = b"# a line more\n" + TARGET
    result = propagate(patch, other, given=[Given(frozenset({0}), refusal.unsure)])
    assert result.source == other
    assert [one.unit for one in result.refused] == [0]
