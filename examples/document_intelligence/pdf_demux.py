"""Takes each page of each PDF apart: a picture, and its text: from the text layer, by OCR (Tesseract) where there is none."""

import glob
import os
import shutil
import subprocess

import pypdfium2

import flor

dpi = flor.arg("dpi", 150)
if shutil.which("tesseract") is None:
    raise SystemExit("there is no tesseract: apt-get install tesseract-ocr (see README.md)")


def read_by_eye(path: str) -> str:
    env = {**os.environ, "OMP_THREAD_LIMIT": "1"}  # its threads wait for each other more than they work
    done = subprocess.run(["tesseract", path, "-", "--psm", "6"], env=env, capture_output=True, text=True, check=True)
    return done.stdout


for path in flor.loop("document", sorted(glob.glob("pdfs/*.pdf"))):
    name = os.path.basename(path).removesuffix(".pdf")
    os.makedirs(f"pages/{name}", exist_ok=True)
    pdf = pypdfium2.PdfDocument(path)
    for number in flor.loop("page", range(len(pdf))):
        picture = f"pages/{name}/{number:02}.png"
        pdf[number].render(scale=dpi / 72, grayscale=True).to_pil().save(picture)
        text = pdf[number].get_textpage().get_text_bounded().strip()
        source = "layer" if text else "ocr"
        if not text:
            text = read_by_eye(picture).strip()
        with open(f"pages/{name}/{number:02}.txt", "w") as file:
            file.write(text)
        flor.log("text_source", source)
        flor.log("characters", len(text))
