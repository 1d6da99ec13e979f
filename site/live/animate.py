"""Record the README's animation of the live page: ``python site/live/animate.py pictures/live.webp``."""

import io
import shutil
import sys
import tempfile
from pathlib import Path

import publish
from PIL import Image
from playwright.sync_api import sync_playwright

VIEW, SIZE, LARGEST = {"width": 1280, "height": 1056}, (896, 739), 1_000_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
THREE = [
    (0.3, 0.24),
    (0.45, 0.16),
    (0.64, 0.22),
    (0.64, 0.38),
    (0.46, 0.46),
    (0.66, 0.54),
    (0.7, 0.72),
    (0.5, 0.84),
    (0.3, 0.76),
]


def record(page):
    """Yield (picture, milliseconds): a 3 is drawn, and the window of one unit slides over it."""

    def frame(milliseconds):
        page.wait_for_timeout(120)  # until all layers are drawn
        return Image.open(io.BytesIO(page.screenshot())).convert("RGB").resize(
            SIZE, Image.Resampling.LANCZOS
        ), milliseconds

    page.get_by_role("button", name="Clear").click()
    page.get_by_role("combobox", name="Layer").select_option("conv2")
    page.get_by_role("slider", name="Map").fill("5")
    page.get_by_role("slider", name="Window").fill("31")
    yield frame(700)
    box = page.locator(".paper").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in THREE]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=3)
        yield frame(140)
    page.mouse.up()
    yield frame(1500)
    for place in (*range(32, 37), *range(46, 41, -1), *range(51, 56)):
        page.get_by_role("slider", name="Window").fill(str(place))
        yield frame(180)
    page.locator(".bar").nth(3).click()
    yield frame(2500)


def main(out: str) -> None:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        single = publish.write_single(Path(folder, "lenet5.html"), train=1, test=1)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=VIEW)
        page.goto(single.as_uri())
        page.wait_for_selector("body[data-ready]")
        pictures, durations = zip(*record(page), strict=True)
        browser.close()
    for quality in (80, 70, 60, 50, 40):
        pictures[0].save(
            out, save_all=True, append_images=pictures[1:], duration=durations, loop=0, quality=quality, method=6
        )
        if Path(out).stat().st_size <= LARGEST:
            break
    print(f"{out}: {len(pictures)} pictures, {Path(out).stat().st_size:,} bytes, quality {quality}")


if __name__ == "__main__":
    main(sys.argv[1])
