"""Source to source: what today's file adds, where it goes in an older version, and what planning asks of a source.

Pure functions on bytes: no files, no git, no torch.
"""

from __future__ import annotations

from flor_instrument.analysis.carrying import Carried, carried
from flor_instrument.analysis.clocks import ClockFed, clock_fed, volatile_names
from flor_instrument.analysis.entropy import unseeded
from flor_instrument.analysis.harmless import possible_effect
from flor_instrument.analysis.liveness import Holder, live_names, lost_but_dead
from flor_instrument.analysis.paths_taken import Place
from flor_instrument.analysis.places import Where, where
from flor_instrument.by_hand import NotOnlyAdded, added
from flor_instrument.finding.main_loop import Found, FoundLoop, NoSuchLoopError, find_loops
from flor_instrument.patches import Patch, Unit, function_of, functions_in, hindsight
from flor_instrument.propagation import Given, Placement, Propagation, Refusal, propagate, remove
from flor_instrument.source import SourceError

__all__ = [
    "ClockFed",
    "Carried",
    "Found",
    "FoundLoop",
    "Given",
    "Holder",
    "NoSuchLoopError",
    "NotOnlyAdded",
    "Patch",
    "Place",
    "Placement",
    "Propagation",
    "Refusal",
    "SourceError",
    "Unit",
    "Where",
    "added",
    "carried",
    "possible_effect",
    "find_loops",
    "function_of",
    "functions_in",
    "hindsight",
    "live_names",
    "lost_but_dead",
    "propagate",
    "remove",
    "clock_fed",
    "unseeded",
    "volatile_names",
    "where",
]
