"""Writes the PDF files that the example is about: bundles of reports, letters and memos, one after the other in each file.

Some documents look scanned: their pages are pictures, turned a little and noisy, without a text layer. ``pdfs/truth.json``
says which pages are the first of a document, and what a bundle is for: "labelled" by hand before the first training,
"validation", or "waiting" for somebody to look at it.
"""

import io
import json
import random

import numpy as np
import pypdfium2
from PIL import Image
from reportlab.lib.pagesizes import A5
from reportlab.lib.utils import ImageReader, simpleSplit
from reportlab.pdfgen import canvas
from texts import BOOKS

WIDTH, HEIGHT = A5
BUNDLES = [
    ("harbour-office", "labelled", ["report", "report", "report"]),
    ("county-archive", "labelled", ["report", "report", "report"]),
    ("town-clerk", "waiting", ["letter", "report", "memo", "letter"]),
    ("botanical-society", "waiting", ["memo", "letter", "letter", "memo"]),
    ("railway-board", "waiting", ["letter", "memo", "report", "memo"]),
    ("lighthouse-trust", "validation", ["letter", "report", "memo", "letter"]),
    ("museum-fund", "validation", ["memo", "report", "letter", "memo"]),
]


def body(page: canvas.Canvas, words: list[str], top: float, chance: random.Random, heading: bool) -> None:
    """Paragraphs down to the foot of the page, some with a heading between them."""
    y = top
    while y > 70:
        if heading and y < HEIGHT - 150 and chance.random() < 0.35:
            page.setFont("Times-Bold", 11)
            page.drawString(42, y - 6, " ".join(chance.sample(words, 3)).title().strip(".,"))
            y -= 24
        start = chance.randrange(max(1, len(words) - 60))
        text = " ".join(words[start : start + chance.randint(35, 60)])
        page.setFont("Times-Roman", 9.5)
        for line in simpleSplit(text, "Times-Roman", 9.5, WIDTH - 84):
            page.drawString(42, y, line)
            y -= 12.5
        y -= 9


def first_page(page: canvas.Canvas, kind: str, book: tuple[str, str, str], chance: random.Random) -> None:
    title, author, text = book
    words = text.split()
    day = f"{chance.randint(1, 28)} {chance.choice(['March', 'June', 'October'])} 18{chance.randint(40, 99)}"
    if kind == "report":
        page.setFont("Times-Bold", 20)
        page.drawCentredString(WIDTH / 2, HEIGHT - 96, title)
        page.setFont("Times-Italic", 11)
        page.drawCentredString(WIDTH / 2, HEIGHT - 120, f"{author}, {day}")
        page.line(WIDTH / 2 - 60, HEIGHT - 134, WIDTH / 2 + 60, HEIGHT - 134)
        body(page, words, HEIGHT - 165, chance, False)
    elif kind == "letter":
        page.setFont("Times-Roman", 9.5)
        for place, line in enumerate((author, f"{chance.randint(2, 90)} Harley Street", day)):
            page.drawRightString(WIDTH - 42, HEIGHT - 52 - 13 * place, line)
        page.drawString(42, HEIGHT - 118, f"Dear {chance.choice(['Sir', 'Madam', 'Mrs. Saville', 'Mr. Bennet'])},")
        body(page, words, HEIGHT - 142, chance, False)
    else:
        page.setFont("Helvetica-Bold", 13)
        page.drawString(48, HEIGHT - 60, "MEMORANDUM")
        page.rect(42, HEIGHT - 128, WIDTH - 84, 84)
        page.setFont("Helvetica", 9)
        for place, line in enumerate((f"From: {author}", f"Date: {day}", f"Re: {title}")):
            page.drawString(48, HEIGHT - 80 - 15 * place, line)
        body(page, words, HEIGHT - 152, chance, False)


def later_page(page: canvas.Canvas, number: int, book: tuple[str, str, str], chance: random.Random) -> None:
    title, _, text = book
    page.setFont("Times-Italic", 8)
    page.drawString(42, HEIGHT - 34, title)
    page.drawRightString(WIDTH - 42, HEIGHT - 34, str(number))
    body(page, text.split(), HEIGHT - 60, chance, True)


def scanned(data: bytes, chance: random.Random) -> list[Image.Image]:
    """The pages as a scanner sees them."""
    noise = np.random.default_rng(chance.randrange(1 << 30))
    found = []
    for page in pypdfium2.PdfDocument(data):
        picture = page.render(scale=150 / 72, grayscale=True).to_pil()
        picture = picture.rotate(chance.uniform(-0.8, 0.8), fillcolor=255, resample=Image.Resampling.BICUBIC)
        grey = np.asarray(picture, dtype=np.float32) * 0.93 + noise.normal(6, 9, picture.size[::-1])
        found.append(Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)))
    return found


def document(kind: str, chance: random.Random) -> tuple[bytes, int]:
    """One document as a PDF, and how many pages it has."""
    book = chance.choice(BOOKS)
    pages = chance.randint(2, 3) if kind == "report" else chance.randint(1, 3)
    out = io.BytesIO()
    paper = canvas.Canvas(out, pagesize=A5, invariant=1)
    first_page(paper, kind, book, chance)
    for number in range(2, pages + 1):
        paper.showPage()
        later_page(paper, number, book, chance)
    paper.save()
    if chance.random() < 0.4:
        pictures = scanned(out.getvalue(), chance)
        out = io.BytesIO()
        paper = canvas.Canvas(out, pagesize=A5, invariant=1)
        for picture in pictures:
            paper.drawImage(ImageReader(picture), 0, 0, WIDTH, HEIGHT)
            paper.showPage()
        paper.save()
    return out.getvalue(), pages


def main() -> None:
    import os

    os.makedirs("pdfs", exist_ok=True)
    truth = {}
    for number, (name, purpose, kinds) in enumerate(BUNDLES):
        chance = random.Random(number)
        bundle = pypdfium2.PdfDocument.new()
        firsts: list[bool] = []
        for kind in kinds:
            data, pages = document(kind, chance)
            bundle.import_pages(pypdfium2.PdfDocument(data))
            firsts += [True, *[False] * (pages - 1)]
        bundle.save(f"pdfs/{name}.pdf")
        truth[name] = {"purpose": purpose, "first_page": firsts}
    with open("pdfs/truth.json", "w") as file:
        json.dump(truth, file, indent=1)


if __name__ == "__main__":
    main()
