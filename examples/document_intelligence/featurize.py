"""Features of each page's text and picture: the feature store is what this logs."""

import glob
import json
import os
import re
from collections import Counter

import numpy as np
from PIL import Image

import flor

STOP = {
    "the",
    "and",
    "was",
    "for",
    "with",
    "that",
    "had",
    "her",
    "his",
    "she",
    "you",
    "are",
    "not",
    "but",
    "this",
    "from",
}


def features_of(text: str, picture: np.ndarray) -> dict[str, object]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = re.findall(r"[a-z]{3,}", text.lower())
    stems = Counter(re.sub(r"(ing|ed|ly|s)$", "", word) for word in words if word not in STOP)
    ink = 1.0 - picture.astype(np.float32) / 255.0
    bands = np.array_split(ink, 8)
    number = re.search(r"^.{3,60}?\s(\d{1,2})$", lines[0]) if lines else None
    return {
        "heading": lines[0][:60] if lines else "",
        "page_number": int(number[1]) if number else 1,
        "words": len(words),
        "top_terms": [stem for stem, _ in stems.most_common(5)],
        "has_greeting": bool(re.search(r"^Dear\b", text, re.MULTILINE)),
        "ink": float(ink.mean()),
        "ink_top": float(bands[0].mean()),
        "ink_bands": [round(float(band.mean()), 4) for band in bands],
    }


found: dict[str, list[dict[str, object]]] = {}
for folder in flor.loop("document", sorted(glob.glob("pages/*"))):
    name = os.path.basename(folder)
    found[name] = []
    for path in flor.loop("page", sorted(glob.glob(f"{folder}/*.png"))):
        with open(path.replace(".png", ".txt")) as file:
            text = file.read()
        features = features_of(text, np.asarray(Image.open(path).convert("L")))
        found[name].append(features)
        for key, value in features.items():
            flor.log(key, value)
with open("features.json", "w") as file:
    json.dump(found, file, indent=1)
