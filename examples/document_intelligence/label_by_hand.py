"""The labels that somebody gave before there was a model: which pages begin a document, as colours of segments."""

import json
import os
import sys

from labels import colours_of

import flor

person = flor.arg("labeller", os.environ.get("USER", "somebody"))
with open("pdfs/truth.json") as file:
    truth = json.load(file)
for name in flor.loop("document", [name for name, known in truth.items() if known["purpose"] != "waiting"]):
    flor.log("labeller", person)
    flor.log("purpose", truth[name]["purpose"])
    for colour in flor.loop("page", colours_of(truth[name]["first_page"])):
        flor.log("page_colour", colour)
print(f"{len(truth)} documents, labelled by {person}", file=sys.stderr)
