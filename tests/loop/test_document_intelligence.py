"""The PDF Parser, twice around the loop, in a real browser: correct colours, confirm, train, infer, and look back.

Slow. It needs what the example needs (its README) and Debian's chromium with chromium-driver. DOCS_SCREENSHOTS names a folder
for pictures of what a person sees.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.journey import wait_until
from tests.support import Project

selenium = pytest.importorskip("selenium")
for module in ("flask", "reportlab", "pypdfium2", "PIL", "torch"):
    pytest.importorskip(module)

EXAMPLE = Path(__file__).parents[2] / "examples" / "document_intelligence"
SCREENSHOTS = os.environ.get("DOCS_SCREENSHOTS")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=1280,860",
)  # fmt: skip
PRECISION = """\
        for kind, index in (("first", 1), ("other", 0)):
            flor.log(f"precision_{kind}", (val_y[said == index] == index).float().mean().item())
"""


def environment(project: Project) -> dict[str, str]:
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "USER": "ada"}


def make(project: Project, *words: str) -> None:
    done = subprocess.run(
        ["make", *words],
        cwd=project.root,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@contextmanager
def running(project: Project, *command: str) -> Iterator[str]:
    """A command that serves the application, until it is interrupted; its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    log = project.root.parent / f"serve-{port}.log"
    with log.open("w") as file:
        server = subprocess.Popen(
            command, cwd=project.root, env={**environment(project), "FLASK_RUN_PORT": str(port)}, stdout=file, stderr=file,
            start_new_session=True,
        )  # fmt: skip
        try:
            wait_until(lambda: answers(port) or server.poll() is not None, 900)
            assert server.poll() is None, log.read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGINT)
            server.wait(timeout=60)


def answers(port: int) -> bool:
    time.sleep(0.2)
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def browser() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("there is no chromium (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in FLAGS:
        options.add_argument(flag)
    found = webdriver.Chrome(options=options, service=Service(driver))
    yield found
    found.quit()


def colours(browser: Any, address: str, name: str) -> list[int]:
    browser.get(f"{address}/view-pdf?name={name}")
    return [int(page.get_attribute("data-colour")) for page in browser.find_elements("css selector", ".page")]


def picture(browser: Any, name: str) -> None:
    if SCREENSHOTS:
        browser.save_screenshot(os.path.join(SCREENSHOTS, f"{name}.png"))


def wrong(shown: list[int], firsts: list[bool]) -> int:
    """How many pages are segmented otherwise than they should be."""
    return sum((number == 0 or shown[number] != shown[number - 1]) != first for number, first in enumerate(firsts))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twice_around_the_loop(project: Project, browser: Any) -> None:
    if shutil.which("tesseract") is None:
        pytest.skip("there is no tesseract (apt-get install tesseract-ocr)")
    shutil.copytree(
        EXAMPLE, project.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "pdfs", "pages")
    )
    project.commit()
    began = time.monotonic()
    with running(project, "make", "run") as address:
        truth = json.loads((project.root / "pdfs" / "truth.json").read_text())
        waiting = [name for name, known in truth.items() if known["purpose"] == "waiting"]
        browser.get(address)
        assert len(browser.find_elements("css selector", ".card")) == len(truth)
        picture(browser, "documents")
        before = {name: wrong(colours(browser, address, name), truth[name]["first_page"]) for name in waiting}
        corrected = max(before, key=lambda name: before[name])
        assert before[corrected] >= 2, before
        wanted = [0]
        for first in truth[corrected]["first_page"][1:]:
            wanted.append((wanted[-1] + first) % 6)
        shown = colours(browser, address, corrected)
        picture(browser, "before")
        clicked = 0
        for page, now, should in zip(browser.find_elements("css selector", ".page"), shown, wanted, strict=True):
            for _ in range((should - now) % 6):
                browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", page)
                page.click()
            clicked += now != should
        assert clicked >= 2
        browser.execute_script("window.scrollTo(0, 0)")
        area = browser.find_element("css selector", "textarea")
        area.send_keys(" (checked)")
        picture(browser, "corrected")
        button = browser.find_element("id", "confirm")
        button.click()
        wait_until(lambda: button.text == "Confirmed")
        assert colours(browser, address, corrected) == wanted
        assert "(checked)" in browser.find_element("css selector", "textarea").get_attribute("value")
        assert browser.find_element("id", "said").text.startswith("ada, ")
    project.python("review.py", env={"USER": "ada"}, timeout=300)  # the other documents, by somebody quicker
    make(project, "infer")  # trains on it
    if SCREENSHOTS:
        print(f"twice around the loop: {time.monotonic() - began:.0f} s", file=sys.stderr)
    best = (
        project.dataframe("recall", "pages_labelled")
        .groupby("tstamp")
        .agg({"recall": "max", "pages_labelled": "first"})
    )
    assert best["recall"].iloc[1] >= best["recall"].iloc[0]
    assert best["pages_labelled"].iloc[1] > best["pages_labelled"].iloc[0]
    machine = project.dataframe("page_colour", filename="infer.py")
    rounds = sorted(machine["tstamp"].unique())
    mistakes = []
    for moment in rounds:
        one = machine[machine["tstamp"] == moment]
        mistakes.append(
            sum(
                wrong(
                    one[one["document_value"] == name].sort_values("page")["page_colour"].tolist(), known["first_page"]
                )
                for name, known in truth.items()
                if known["purpose"] == "validation"  # nobody trained on them
            )
        )
    assert mistakes[-1] < mistakes[0], mistakes
    with running(project, "python", "-m", "flask", "run") as address:
        validation = next(name for name, known in truth.items() if known["purpose"] == "validation")
        colours(browser, address, validation)
        picture(browser, "after")
        browser.get(f"{address}/view-pdf?name={validation}&mode=features")
        picture(browser, "features")

    # hindsight: what was the precision of each class, in every round so far?
    train = project.root / "train.py"
    train.write_text(train.read_text() + PRECISION)
    state = project.state()
    done = project.command("add-log", "train.py", "--yes", timeout=900)
    assert project.state() == state
    frame = project.dataframe("precision_first", "precision_other", "recall", fidelity=True)
    assert len(frame) == 24 and frame["precision_first_fidelity"].isin(["exact"]).all(), done.stderr
