"""The PDF Parser: pages with a layer of colour that people correct. What they confirm is logged, and trained on next time."""

import json
import os

from flask import Flask, abort, jsonify, render_template, request, send_file
from labels import COLOURS, PEOPLE, newest

import flor

app = Flask(__name__)
HERE = os.path.dirname(os.path.abspath(__file__))


def documents() -> dict[str, list[dict[str, object]]]:
    with open(os.path.join(HERE, "features.json")) as file:
        return json.load(file)


def get_colours(name: str) -> dict[str, object]:
    """What a person said last about a document, else what the model says."""
    by_people = newest(*PEOPLE).get(name)
    return by_people or newest("infer.py").get(name) or {"colours": [], "labeller": "nobody", "when": None}


@app.get("/")
def home() -> str:
    people, machine = newest(*PEOPLE), newest("infer.py")
    shown = [
        {"name": name, "pages": len(pages), "label": people.get(name) or machine.get(name), "confirmed": name in people}
        for name, pages in documents().items()
    ]
    return render_template("home.html", documents=shown)


@app.get("/view-pdf")
def view_pdf() -> str:
    name = request.args.get("name", "")
    pages = documents().get(name) or abort(404)
    label = get_colours(name)
    texts = []
    for number in range(len(pages)):
        with open(os.path.join(HERE, "pages", name, f"{number:02}.txt")) as file:
            texts.append(file.read())
    corrected = flor.utils.latest(flor.dataframe("page_text"))
    if "document_value" in corrected:
        for _, row in corrected[corrected["document_value"] == name].iterrows():
            texts[int(row["page"])] = row["page_text"]
    return render_template(
        "view.html",
        name=name,
        pages=pages,
        texts=texts,
        label=label,
        colours=COLOURS,
        mode=request.args.get("mode", "text"),
    )


@app.get("/page/<name>/<int:number>.png")
def page(name: str, number: int):
    if name not in documents():
        abort(404)
    return send_file(os.path.join(HERE, "pages", name, f"{number:02}.png"))


@app.post("/save_colors")
def save_colors():
    told = request.get_json()
    name, colours = told["name"], [int(colour) % COLOURS for colour in told["colours"]]
    if len(colours) != len(documents().get(name, ())):
        abort(400, f"{name!r} has another number of pages")
    with flor.iteration("document", None, name):
        flor.log("labeller", told.get("labeller") or os.environ.get("USER", "somebody"))
        flor.log("purpose", "labelled")
        for number in flor.loop("page", range(len(colours))):
            flor.log("page_colour", colours[number])
            if str(number) in told.get("texts", {}):
                flor.log("page_text", told["texts"][str(number)])
    flor.commit()
    return jsonify({"saved": name})
