"""The label registry: who said what about which page. Colours are segments: a page of another colour begins a document."""

from itertools import pairwise

import pandas as pd

import flor

COLOURS = 6
PEOPLE = ("label_by_hand.py", "app.py", "review.py")


def colours_of(first_page: list[bool]) -> list[int]:
    """The colour of each page of a bundle."""
    colours: list[int] = []
    for first in first_page:
        colours.append(0 if not colours else (colours[-1] + first) % COLOURS)
    return colours


def firsts_of(colours: list[int]) -> list[bool]:
    """Which pages begin a document."""
    return [True, *(a != b for a, b in pairwise(colours))] if colours else []


def newest(*scripts: str) -> dict[str, dict[str, object]]:
    """For each document the newest labels that one of the scripts logged: colours, who gave them, and what for."""
    frame = flor.dataframe("page_colour", "labeller", "purpose")
    frame = frame[frame["filename"].map(lambda path: path.rpartition("/")[2] in scripts)]
    found: dict[str, dict[str, object]] = {}
    if frame.empty or "document_value" not in frame:
        return found
    for name, rows in frame.dropna(subset=["page_colour"]).groupby("document_value"):
        last = rows[rows["tstamp"] == rows["tstamp"].max()].sort_values("page")
        purpose = last["purpose"].iloc[0]
        found[str(name)] = {
            "colours": [int(colour) for colour in last["page_colour"]],
            "labeller": last["labeller"].iloc[0],
            "purpose": purpose if isinstance(purpose, str) else "labelled",
            "when": pd.Timestamp(last["tstamp"].iloc[0]),
        }
    return found
