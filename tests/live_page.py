"""The live page for tests: written to a folder, served on this machine, and opened in the system's Chromium."""

import functools
import http.server
import os
import shutil
import threading
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PATIENCE = 120_000  # milliseconds: long, for the machine may be busy; a condition that holds ends the wait


def missing(what):
    """End the test for want of something: as a failure where the browser tests are asked for, else as skipped."""
    (pytest.fail if os.environ.get("COURSE_BROWSER") == "1" else pytest.skip)(f"the browser test needs {what}")


@contextmanager
def chromium():
    """The system's Chromium, under Playwright's control."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing('the package playwright: python -m pip install -e ".[dev]"')
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if not program:
        missing(f"a browser of the system's, one of {', '.join(NAMES)}; on Debian: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


@contextmanager
def served(folder):
    """A folder as a website on this machine alone; yields its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def opened(browser, address, width=1280, **options):
    """A page of the browser, ready to use; afterwards nothing has failed in it, and nothing came from elsewhere."""
    context = browser.new_context(viewport={"width": width, "height": 800}, **options)
    page, requests, failures = context.new_page(), [], []
    page.set_default_timeout(PATIENCE)
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    yield page
    origin = "/".join(address.split("/")[:3])
    elsewhere = [url for url in requests if not url.startswith((f"{origin}/", f"blob:{origin}", "data:", "blob:null"))]
    assert (failures, elsewhere) == ([], [])
    context.close()
