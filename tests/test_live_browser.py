"""The live page in a real browser: drawn on, clicked, trained, given weights; mouse, touch and keyboard; offline."""

import itertools
import json
import re
from contextlib import contextmanager

import live_page
import numpy as np
import publish
import pytest
import torch

import mnistlib
from mnistlib.base import files
from mnistlib.live import bundle, export

SEVEN = [(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)]
WIDTHS, ANSWER, WORDS = (1280, 375), ".verdict .answer", ".trainer .words"
BLANK = "[...lenet5.predict(new Float32Array(784))]"  # what the network says of an empty page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    with live_page.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    publish.write(folder / "live")
    (folder / "index.html").write_text("<title>The course</title>")
    with live_page.served(folder) as address:
        yield f"{address}/live/index.html"


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return publish.write_single(tmp_path_factory.mktemp("single") / "lenet5.html")


class Hand:
    """One way to use the page: "mouse", "touch" or "keyboard"."""

    def __init__(self, page, kind):
        self.page, self.kind = page, kind
        self.touch = page.context.new_cdp_session(page) if kind == "touch" else None

    def press(self, place):
        if self.kind == "mouse":
            place.click()
        elif self.kind == "touch":  # on a busy machine a tap may last so long that it is none: then tap again
            button = place.element_handle()  # the element itself: its name may change with the tap
            button.evaluate(
                "element => { element.onclick = () => { element.tapped = true; }; element.tapped = false; }"
            )
            while not button.evaluate("element => element.tapped"):
                button.tap()
                self.page.wait_for_timeout(300)
        else:
            place.focus()
            self.page.keyboard.press("ArrowRight" if place.get_attribute("role") == "tab" else "Enter")

    def push_to_the_end(self, slider):
        if self.kind == "keyboard":
            slider.press("End")
        else:
            edge = {"x": slider.bounding_box()["width"] - 3, "y": 5}
            slider.click(position=edge) if self.kind == "mouse" else slider.tap(position=edge)

    def draw(self, points):
        paper = self.page.locator(".paper")
        paper.scroll_into_view_if_needed()
        box = paper.bounding_box()
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        if self.kind == "mouse":
            self.page.mouse.move(*places[0])
            self.page.mouse.down()
            for place in places[1:]:
                self.page.mouse.move(*place, steps=6)
            self.page.mouse.up()
        elif self.kind == "touch":
            for x, y in np.concatenate([np.linspace(a, b, 8) for a, b in itertools.pairwise(places)]):
                kind = "touchStart" if (x, y) == places[0] else "touchMove"
                self.touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
            self.touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        else:  # the pen starts at (0.5, 0.25), and a key moves it by a pixel of 28
            left, right, up, down = (f"Arrow{way}" for way in ("Left", "Right", "Up", "Down"))
            paper.focus()
            for key in [*[left] * 6, up, "Space", *[right] * 12, *[down, down, left] * 7, "Space"]:
                self.page.keyboard.press(key)

    def choose(self, name):
        """A unit of a layer: the one in its middle, or a neighbour of the last one."""
        canvas = self.page.locator(f"canvas[aria-label^='{name}:']")
        if self.kind == "keyboard":
            canvas.focus()
            for key in ("ArrowRight", "ArrowDown", "ArrowRight"):
                self.page.keyboard.press(key)
        else:
            self.press(canvas)


@contextmanager
def hand(browser, address, kind, width, **options):
    options |= {"has_touch": True, "is_mobile": True} if kind == "touch" else {}
    with live_page.opened(browser, address, width, **options) as page:
        yield page, Hand(page, kind)


def expect(page, selector, pattern):
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_have_text(re.compile(pattern), timeout=live_page.PATIENCE)


def test_drawn_clicked_and_read_as_by_pytorch(browser, site, mnist):
    """The main path, quickly: the page answers like PyTorch, and nothing comes from elsewhere."""
    with hand(browser, site, "mouse", 1280) as (page, mouse):
        expect(page, ANSWER, "^It reads this as 3 .* The correct answer is 3")
        mouse.draw(SEVEN)
        expect(page, ANSWER, "^It reads this as 7")
        mouse.choose("conv2")
        expect(page, ".explorer h2", "^conv2, map .* = ")
        pixels = (mnist.test.images[:1] / 255).flatten().tolist()
        found = page.evaluate("pixels => [...lenet5.predict(Float32Array.from(pixels))]", pixels)
        with torch.no_grad():
            ours = mnistlib.pretrained("lenet5")(mnist.test.take(1).resized(32).images / 255).softmax(1)
        assert found == pytest.approx(ours[0].tolist(), abs=2e-3)  # a grey level of stretching lies between CPUs
        refused = "numbers => { try { lenet5.predict(numbers); } catch (error) { return error.message; } }"
        for numbers in ([0.5] * 783, [2] * 784, None):
            assert "784 numbers in 0–1" in page.evaluate(refused, numbers)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["mouse", "touch", "keyboard"])
def test_the_whole_page_offline_in_one_file(browser, single, tmp_path, kind, width):
    """Draw, click, change, train and bring your own, from a disk and without any network."""
    with hand(browser, single.as_uri(), kind, width, offline=True) as (page, way):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing is cut off
        way.press(page.get_by_role("button", name="Clear"))
        expect(page, ANSWER, "^Draw a digit")
        way.draw(SEVEN)
        expect(page, ANSWER, "^It reads this as 7")

        for name, says in {"pool1": "The largest of four", "conv2": "150 products", "relu3": "The sum"}.items():
            way.choose(name)
            expect(page, ".explorer h2", f"^{name}, .* = ")
            expect(page, ".explorer .words", says)
        way.press(page.locator(".bar").nth(7))
        expect(page, ".explorer h2", "^softmax, digit 7: > 99")

        way.press(page.locator("#tab-unit" if kind == "keyboard" else "#tab-changes"))
        way.push_to_the_end(page.get_by_role("slider", name="Turn"))
        expect(page, "#changes .change >> nth=2", "Turn: .180°.*Read as")
        expect(page, ANSWER, "^It reads this as [^7]")
        way.press(page.get_by_role("button", name="Reset"))
        expect(page, ANSWER, "^It reads this as 7")

        way.press(page.locator("#tab-changes" if kind == "keyboard" else "#tab-train"))
        way.press(page.get_by_role("button", name="Train", exact=True))
        expect(page, WORDS, "^Step [3-9]|^Step [1-9][0-9]")
        assert page.locator("#network").input_value() == "trained"
        way.press(page.get_by_role("button", name="Pause"))
        page.get_by_role("button", name="Train", exact=True).wait_for()
        before = page.evaluate(BLANK)
        step = int(re.search(r"Step ([\d,]+)", page.locator(WORDS).inner_text())[1].replace(",", ""))
        way.press(page.get_by_role("button", name="One step"))
        expect(page, WORDS, f"^Step {step + 1:,}:")
        assert page.evaluate(BLANK) != before
        way.press(page.get_by_role("button", name="Reset"))
        expect(page, WORDS, "^Step 0:")

        way.press(page.locator("#tab-train" if kind == "keyboard" else "#tab-own"))
        with page.expect_download() as saved:
            way.press(page.get_by_role("button", name="Save the weights"))
        saved.value.save_as(tmp_path / saved.value.suggested_filename)
        net = export.load_web(tmp_path / "my-lenet5.safetensors")  # the page's weights in Python
        ours = net(torch.zeros(1, 1, 32, 32))[0].softmax(0).tolist()
        assert ours == pytest.approx(page.evaluate(BLANK), abs=1e-6)
        mnistlib.save_weights(mnistlib.build("lenet5-padded", seed=2), tmp_path / "mine.pt", "lenet5-padded")
        with page.expect_file_chooser() as chooser:
            way.press(page.get_by_role("button", name="Open a weights file"))
        chooser.value.set_files(export.export_web(tmp_path / "mine.pt"))
        expect(page, "#message", r"mine.safetensors \(LeNet-5, padded\) is loaded and in use")


def test_training_reaches_90_percent_and_shows_the_floor_of_the_softmax_mistake(browser, site):
    with hand(browser, site, "mouse", 1280) as (page, _mouse):
        page.locator("#tab-train").click()
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page, WORDS, r"of 60,000 digits seen.* 9\d\.\d % of the 500 test digits correct")
        page.get_by_label("softmax twice").check()
        page.get_by_role("button", name="Reset").click()
        expect(page, WORDS, "^Step 0:")
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page, WORDS, r"^Step \d\d\d+: .* loss (1\.4[6-9]|1\.[5-9]|2)")


SLIDE = """async () => {
    const seen = { same: 0, other: 0 };
    const end = performance.now() + 8000;
    while (performance.now() < end && seen.same < 5) {
        await new Promise(requestAnimationFrame);
        const [name, says] = [...document.querySelectorAll(".explorer h2, .explorer .words")].map((e) => e.textContent);
        const row = Number(name.match(/row (\\d+)/)[1]);
        seen[says.includes(`rows ${row} to ${row + 4} `) ? "same" : "other"] += 1;
    }
    return seen;
}"""


def test_the_pad_keeps_the_digit_and_undo_brings_it_back(browser, site):
    with hand(browser, site, "mouse", 1280) as (page, mouse):
        undo, clear = (page.get_by_role("button", name=name) for name in ("Undo", "Clear"))
        assert undo.get_attribute("aria-disabled") == "true"
        page.locator(".paper").press("ArrowRight")  # only the pen moves
        page.get_by_role("slider", name="Pen width").press("ArrowRight")
        page.wait_for_timeout(200)
        expect(page, ANSWER, "^It reads this as 3 .* The correct answer is 3")
        assert page.locator("#prepare").is_disabled()
        mouse.draw(SEVEN)
        expect(page, ANSWER, "^It reads this as 7")
        page.locator(".paper").press("Control+z")
        expect(page, ANSWER, "^It reads this as 3 .* The correct answer is 3")
        assert undo.get_attribute("aria-disabled") == "true"
        mouse.draw(SEVEN)
        page.locator("#tab-changes").click()
        expect(page, "#changes .strip >> nth=0", "^[0-9]{21}$")
        clear.click()
        expect(page, ANSWER, "^Draw a digit")
        expect(page, "#changes .strip >> nth=0", "^$")
        expect(page, "#changes .change >> nth=0", "No digit yet")
        undo.click()
        expect(page, ANSWER, "^It reads this as 7")


def test_the_sentence_follows_the_window_while_it_slides(browser, site):
    with hand(browser, site, "mouse", 1280) as (page, _mouse):
        page.get_by_role("slider", name="Window").fill("0")
        page.get_by_role("button", name="Slide").click()
        seen = page.evaluate(SLIDE)
        assert seen["same"] >= 5
        assert seen["other"] == 0


def test_a_reset_forgets_the_loss_and_takes_the_new_seed(browser, site):
    with hand(browser, site, "mouse", 1280) as (page, _mouse):
        page.locator("#tab-train").click()
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page, WORDS, "^Step [1-9].*loss")
        seed = page.get_by_label("seed")
        for given, kept in (("-5", "0"), ("", "0"), ("1.5", "1"), ("7", "7")):
            seed.fill(given)
            seed.press("Tab")
            assert seed.input_value() == kept
        expect(page, WORDS, "^Step [1-9].*loss")  # a new seed alone does not end the training
        reset, again = page.get_by_role("button", name="Reset"), page.get_by_role("button", name="Train", exact=True)
        reset.click()
        expect(page, WORDS, "^Step 0: 0 of 60,000 digits seen; .*measured at step 0")
        again.wait_for()
        seven = page.evaluate(BLANK)
        seed.fill("8")
        reset.click()
        page.wait_for_function(f"before => {BLANK}[0] !== before[0]", arg=seven)
        seed.fill("7")
        reset.click()
        page.wait_for_function(f"before => {BLANK}[0] === before[0]", arg=seven)
        assert page.evaluate(BLANK) == seven


@pytest.mark.parametrize("width", [320, 768, 1250])
def test_nothing_is_cut_off_at_other_widths(browser, site, width):
    with hand(browser, site, "mouse", width) as (page, _mouse):
        page.locator(".bar").nth(3).click()
        expect(page, ".explorer h2", "^softmax, digit 3")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator(".powers").evaluate("part => part.scrollWidth <= part.clientWidth")
        if width == 1250:  # all layers stand in one row
            assert page.evaluate("new Set([...document.querySelectorAll('.stage')].map((e) => e.offsetTop)).size") == 1


def files_that_are_wrong(tmp_path):
    """Name, bytes, and what the page says of them."""
    good = export.web_bytes(mnistlib.build("lenet5", seed=0))
    end = 8 + int.from_bytes(good[:8], "little")
    header, body = json.loads(good[8:end]), good[end:]

    def again(change):
        other = json.loads(json.dumps(header))
        change(other)
        text = json.dumps(other).encode()
        return len(text).to_bytes(8, "little") + text + body

    mnistlib.save_weights(mnistlib.build("lenet5", seed=0), tmp_path / "real.pt", "lenet5")
    yield "cut.safetensors", good[: len(good) // 2], "is cut off"
    yield "header.safetensors", good[:40], "is not a weights file"
    yield "empty.safetensors", b"", "is not a weights file"
    yield "picture.png", np.random.default_rng(0).bytes(9000), "is not a weights file"
    yield "list.safetensors", (2).to_bytes(8, "little") + b"[]", "holds another network"
    yield "null.safetensors", (4).to_bytes(8, "little") + b"null", "holds another network"
    yield "deep.safetensors", (9000).to_bytes(8, "little") + b"[" * 9000, "is not a weights file"
    yield "nan.safetensors", good[:-4] + np.float32("nan").tobytes(), "of linear2.bias are not finite"
    yield "large.safetensors", bytes(50_000_000), "has 50.0 MB"
    yield "my-lenet5.pt", (tmp_path / "real.pt").read_bytes(), "python -m mnistlib export --web my-lenet5.pt"
    yield "shape", again(lambda h: h["conv1.weight"].update(shape=[6, 5, 5, 1])), r"must be \[6, 1, 5, 5\]"
    yield "half", again(lambda h: h["conv1.bias"].update(dtype="F16")), "must be of type F32"
    yield "names", again(lambda h: h.pop("conv3.bias")), "holds another network"
    yield "offsets", again(lambda h: h["conv2.bias"].update(data_offsets=[-64, 0])), "does not say where"
    yield "null tensor", again(lambda h: h.update({"conv2.bias": None})), "must be of type F32"


def test_damaged_files_are_refused_in_words(browser, site, tmp_path):
    with hand(browser, site, "mouse", 1280) as (page, mouse):
        mouse.press(page.locator("#tab-own"))
        for name, content, says in files_that_are_wrong(tmp_path):
            (tmp_path / name).write_bytes(content)
            page.locator("#file").set_input_files(tmp_path / name)
            expect(page, "#message", f"^{name}: .*{says}")
            assert page.locator("#network").input_value() == "course"
            with pytest.raises(files.DataError, match="does not hold"):
                export.load_web(tmp_path / name)
        page.evaluate("""() => {
            const data = new DataTransfer();
            data.items.add(new File(["nothing"], "dropped.txt"));
            dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
        }""")
        expect(page, "#message", "^dropped.txt: This is not a weights file")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing(browser, site, width, theme):
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        live_page.missing("the package axe-playwright-python")
    with hand(browser, site, "mouse", width, color_scheme=theme) as (page, _mouse):
        for name in ("own", "train", "changes", "unit", "conv2", "pool1", "relu2", "linear1", "softmax"):
            if page.locator(f"#tab-{name}").count():
                page.locator(f"#tab-{name}").click()
            else:
                page.get_by_role("combobox", name="Layer").select_option(name)
            page.wait_for_timeout(300)
            result = Axe().run(page)
            assert result.violations_count == 0, f"{name}: {result.generate_report()}"


def test_the_lessons_widgets_live_without_python(browser, site, tmp_path):
    """mount.js puts a widget below each cell that makes one, as the website's lessons have them."""
    cells = "".join(
        f'<div class="cell"><div class="cell_input"><pre>{code}</pre></div></div>'
        for code in ("pad = DrawingPad()", "ConvolutionWindow()", "UnitExplorer()", "x = 1")
    )
    with hand(browser, site, "mouse", 1280) as (page, mouse):
        page.set_content(f"<body data-ready><h1>A lesson</h1>{cells}<p data-lenet5='pad'></p></body>")
        page.add_script_tag(type="module", url=site.replace("index.html", "mount.js"))
        page.locator(".explorer").nth(1).wait_for()
        assert [page.locator(name).count() for name in (".pad", ".explorer", ".lenet5.widget")] == [2, 2, 4]
        page.locator("[data-lenet5]").evaluate("element => element.remove()")
        mouse.draw(SEVEN)
        expect(page, ".beside .answer", "^It reads this as 7")
        page.get_by_role("slider", name="Window").first.fill("5")
        expect(page, ".explorer h2 >> nth=0", "^conv1, map 3, row 0, column 5 = ")


def test_sizes(site, single, tmp_path):
    """The page without MNIST has at most 1 MB, the single file 4 MB; neither names an address."""
    assert sum(path.stat().st_size for path in publish.write(tmp_path).parent.glob("*.*")) <= 1_000_000
    assert single.stat().st_size <= 4_000_000
    for text in (single.read_text("utf-8"), bundle.bundle("widget.js"), (bundle.HERE / "mount.js").read_text("utf-8")):
        assert not re.search(r"https?://|\bimport\(\"http|@import", text)
