"""The slides: which parts of a notebook are on them, and that they open without a server or the internet."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from live_page import chromium

ROOT = Path(__file__).resolve().parent.parent
MISSING = [name for name in ("sphinx_revealjs", "latex2mathml") if find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"needs what `make slides` installs: {', '.join(MISSING)}"),
]


def test_every_notebook_has_slides_that_fit_and_need_nothing_else():
    subprocess.run([sys.executable, "site/slides.py"], cwd=ROOT, check=True)
    paths = [
        ROOT / "build" / "slides" / f"{path.stem}.html" for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    ]
    assert len(paths) == 10
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1120, "height": 700})
        faults = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: message.type == "error" and faults.append(message.text))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or faults.append(request.url))
        for path in paths:
            page.goto(path.as_uri())
            page.wait_for_function("Reveal.isReady()")
            slides = page.evaluate("""[...document.querySelectorAll("section")].map((slide, i) => {
                Reveal.slide(i);
                const shown = slide.querySelector(".question, img, pre, p, ul, ol, table, math");
                return [slide.innerText, slide.scrollHeight, !!shown];
            })""")
            assert len(slides) > 20
            faults += [(path.name, text[:60]) for text, height, shows in slides if height > 700 or not shows]
            text = "\n".join(text for text, *_ in slides)
            faults += [(path.name, word) for word in ("NotImplementedError", "google.colab", "$$") if word in text]
            notebook = (ROOT / "notebooks" / f"{path.stem}.ipynb").read_text("utf-8")
            asked = page.locator(".question").count()
            assert 0 < asked <= notebook.count("**Predict, then run.**") <= asked + 1  # one explains the words
        page.close()
    assert faults == []
