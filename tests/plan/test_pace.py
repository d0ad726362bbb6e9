"""The next plan's seconds follow what replays took on this machine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_replay.plan.pace import Pace, learned

SECONDS = st.floats(0.01, 1e5)


def replayed(said: float, took: float, host: str = "here", verdict: str = "exact") -> dict[str, Any]:
    return {
        "segment": {"seconds": said, "recorded_seconds": said},
        "work_seconds": took,
        "machine": {"host": host},
        "fidelity": {"verdict": verdict},
    }


def test_without_replays_the_recording_is_believed() -> None:
    assert Pace()(7.0) == 7.0
    assert learned([replayed(7.0, 14.0)] * 2, "here")(7.0) == 7.0, "two say nothing yet"


def test_short_work_and_long_work_have_their_own_pace() -> None:
    pace = learned([*[replayed(0.4, 0.6)] * 5, *[replayed(60.0, 66.0)] * 5], "here")
    assert pace(0.5) == pytest.approx(0.75)
    assert pace(50.0) == pytest.approx(55.0)
    assert pace(6.0) == 6.0, "nothing of about that length is known"


def test_what_was_replayed_elsewhere_or_failed_or_did_much_more_than_the_recording_is_no_pace() -> None:
    others = [replayed(1.0, 2.0, host="there"), replayed(1.0, 2.0, verdict="failed"), replayed(1.0, 30.0)]
    older = {
        "segment": {"seconds": 1.0},
        "work_seconds": 2.0,
        "machine": {"host": "here"},
    }  # it has no seconds of its recording
    assert learned([*others * 5, *[older] * 5], "here")(1.0) == 1.0


def test_the_latest_count() -> None:
    assert learned([*[replayed(1.0, 2.0)] * 50, *[replayed(1.0, 1.2)] * 15], "here")(1.0) == pytest.approx(1.2)


@given(st.lists(st.tuples(SECONDS, st.floats(0.34, 2.9))), SECONDS)
def test_it_stays_between_the_paces_that_were_seen(seen: list[tuple[float, float]], seconds: float) -> None:
    pace = learned([replayed(said, said * factor) for said, factor in seen], "here")
    factors = [1.0, *(factor for _, factor in seen)]
    assert min(factors) * 0.999 <= pace(seconds) / seconds <= max(factors) * 1.001
