"""The widgets in JupyterLab, in a real browser: what is drawn reaches Python, and what Python sets reaches the page."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import live_page
import pytest

pytestmark = pytest.mark.slow
CELLS = {
    "pad": "from mnistlib.live.pad import DrawingPad, UnitExplorer\npad = DrawingPad()\npad",
    "read": "print('Python reads', pad.probabilities.argmax().item(), len(pad.strokes))",
    "set": "pad.strokes = [[(0.55, 0.15), (0.5, 0.5), (0.45, 0.85)]]",
    "units": "units = UnitExplorer(pad.net, pad.image, layer='conv2', map=4, row=2, column=3)\nunits",
    "unit": "print('chosen', units.layer, units.map)",
}


@contextmanager
def lab(folder):
    """A JupyterLab of our own on a free port, with folders of its own and no token; yields its address, and ends it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = "JUPYTER_CONFIG_DIR JUPYTER_DATA_DIR JUPYTER_RUNTIME_DIR JUPYTERLAB_SETTINGS_DIR JUPYTERLAB_WORKSPACES_DIR"
    places = {name: str(folder / name.lower()) for name in [*names.split(), "IPYTHONDIR"]}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    address = f"http://127.0.0.1:{port}"
    with (folder / "lab.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env={**os.environ, **places}, stdout=log, stderr=log)
    try:
        for _ in range(live_page.PATIENCE // 250):
            try:
                urllib.request.urlopen(f"{address}/api/status", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "lab.log").read_text("utf-8", "replace")
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()  # it ends its kernels, too
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()


def run(page, name):
    """Shift + Enter in a cell, until it has an effect: JupyterLab drops it while it is connecting to the kernel."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(list(CELLS).index(name))
    count = page.locator(".jp-InputPrompt").filter(has_text=re.compile(r"\d")).count()  # cells that have run
    for _ in range(60):
        cell.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        for _ in range(12):
            page.wait_for_timeout(250)
            if page.locator(".jp-InputPrompt").filter(has_text=re.compile(r"\d")).count() > count:
                return cell
    pytest.fail(f"JupyterLab did not run the cell {name}")


@pytest.fixture
def page(tmp_path):
    """The page of a notebook with `CELLS` in JupyterLab."""
    empty = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    cells = [{**empty, "id": name, "source": source} for name, source in CELLS.items()]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "pad.ipynb").write_text(json.dumps(notebook), "utf-8")
    with live_page.chromium() as browser, lab(tmp_path) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(live_page.PATIENCE)
        page.goto(f"{address}/lab/tree/pad.ipynb")
        yield page


def test_the_widgets_and_python_share_what_is_drawn_and_chosen(page):
    from playwright.sync_api import expect

    run(page, "pad")
    answer = page.locator(".beside .answer")
    expect(answer).to_have_text(re.compile("^Draw a digit"), timeout=live_page.PATIENCE)
    box = page.locator(".paper").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    for x, y in ((0.7, 0.2), (0.45, 0.8)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=6)
    page.mouse.up()
    expect(answer).to_have_text(re.compile("^It reads this as 7"), timeout=live_page.PATIENCE)
    page.wait_for_timeout(1000)  # Python hears of it at most ten times a second
    expect(run(page, "read")).to_contain_text("Python reads 7 1")
    run(page, "set")
    expect(answer).to_have_text(re.compile("^It reads this as 1"), timeout=live_page.PATIENCE)

    run(page, "units")
    title = page.locator(".explorer h2")
    expect(title).to_have_text(re.compile("^conv2, map 4, row 2, column 3 = "), timeout=live_page.PATIENCE)
    page.get_by_role("combobox", name="Layer").select_option("pool2")
    expect(title).to_have_text(re.compile("^pool2, map 0"))
    page.wait_for_timeout(1000)
    expect(run(page, "unit")).to_contain_text("chosen pool2 0")
