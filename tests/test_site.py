"""The website in a browser: nothing of it comes from elsewhere, and axe-core objects to nothing."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "build" / "site"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = [name for name in ("sphinx", "myst_nb", "furo", "axe_playwright_python") if find_spec(name) is None]
WIDGET = re.compile(r'class="n">(DrawingPad|ConvolutionWindow|UnitExplorer)</span><span class="p">\(')
ALLOWED = {"empty-table-header"}  # pandas leaves a table's corner empty; axe-core calls that minor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("COURSE_BROWSER") != "1" and bool(MISSING or not BROWSER),
        reason=f"needs Chromium, and what `make site` installs: {', '.join(MISSING)}",
    ),
]


@pytest.fixture(scope="module")
def site():
    """The address of the website, built from this folder and served on the loopback."""
    subprocess.run([sys.executable, "tools/website.py"], cwd=ROOT, check=True)
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    handler = functools.partial(quiet, directory=PAGES)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(("theme", "width"), [("light", 1400), ("dark", 390)])
def test_the_pages_are_whole_and_accessible(site, theme, width):
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    names = [path.relative_to(PAGES).as_posix() for path in sorted(PAGES.rglob("*.html"))]
    assert len(names) > len(list((ROOT / "notebooks").rglob("[0-9]*.ipynb")))
    faults, elsewhere, widgets = [], [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        page.on(
            "request", lambda request: request.url.startswith((site, "data:", "blob:")) or elsewhere.append(request.url)
        )
        page.on("response", lambda response: response.status < 400 or faults.append((response.url, response.status)))
        for name in names:
            page.goto(site + name)
            page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
            page.wait_for_timeout(100)  # until the page has noticed
            if WIDGET.search((PAGES / name).read_text("utf-8")):
                page.locator(".lenet5.widget").first.wait_for()  # it is alive, and axe-core sees it
                widgets.append(name)
            for found in Axe().run(page).response["violations"]:
                if found["id"] not in ALLOWED:
                    faults.append((name, found["id"], found["help"], [node["target"] for node in found["nodes"]][:3]))
            links = page.eval_on_selector_all("a[href]", "all => all.map(link => link.href.split('#')[0])")
            local = {link.removeprefix(site) or "index.html" for link in links if link.startswith(site)}
            faults += [(name, link) for link in local if not (PAGES / link).exists()]
        browser.close()
    assert not faults, "\n".join(map(str, faults))
    assert elsewhere == []
    assert len(widgets) >= 4  # the pad in 00 and 09, the convolution window in 02, the unit explorer in 04
