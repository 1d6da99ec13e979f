"""The figures: drawn in the course's style and without warnings, readable, and shown with a text alternative."""

import itertools
import warnings
from io import BytesIO

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib.text import Text

from mnistlib import plots
from mnistlib.data import CLASSES, DIGITS, Split
from mnistlib.evaluation import Evaluation
from mnistlib.show import figures
from mnistlib.train import History


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def measure(split, every=7):
    """An evaluation in which one prediction of each ``every`` is one class too high."""
    wrong = torch.arange(len(split)) % every == 0
    predictions = torch.where(wrong, (split.labels + 1) % len(split.classes), split.labels)
    return Evaluation(
        torch.nn.functional.one_hot(predictions, len(split.classes)).float() * 3, split.labels, split.classes
    )


THREE = History([0.5, 0.2, 0.1], [0.8, 0.93, 0.97], [0.3, 0.2, 0.15], [0.9, 0.94, 0.95], [1.0] * 3, [0.3] * 30)
FIGURES = {  # of a split of 1,000 real digits, and the same with long class names
    "image_grid": lambda test, _: plots.image_grid(test.images[:3], ["number 0", "number 1", "number 2"], columns=2),
    "digit_wall": lambda test, _: figures.digit_wall(test, rows=2, columns=3),
    "class_balance": lambda test, _: figures.class_balance(
        training=test, validation=test.take(500), test=test.take(99)
    ),
    "numbers": lambda test, _: figures.class_balance(numbers=True, training=test, test=test.take(500)),
    "image_table": lambda test, _: figures.image_table(test.images[:4, 0].view(2, 2, 28, 28), ["a", "b"], ["x", "y"]),
    "history": lambda *_: figures.history(THREE),
    "history, one epoch": lambda *_: figures.history(History([0.5], [0.8], [0.3], [0.9], [1.0], [0.5])),
    "confusion": lambda _, named: figures.confusion(measure(named)),
    "confusion, nothing wrong": lambda test, _: figures.confusion(measure(test, every=2000)),
    "predictions": lambda _, named: figures.predictions(named, measure(named), rows=2),
    "predictions, all wrong": lambda test, _: figures.predictions(test.take(3), measure(test.take(3), every=1), rows=1),
    "probabilities": lambda test, _: figures.probabilities(test.images[0], measure(test).probabilities[0], DIGITS),
    "roc": lambda test, _: figures.roc(measure(test)),
}


def draw(make, monkeypatch):
    """Draw a figure: (figure, pixels [height, width, 4], the texts that are really drawn and their boxes)."""
    boxes, real = {}, Text.draw

    def noted(text, renderer):
        if text.get_visible() and text.get_text().strip():
            boxes[text] = text.get_window_extent(renderer)
        return real(text, renderer)

    figure = make()
    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", noted)
        figure.canvas.draw()
    return figure, np.asarray(figure.canvas.buffer_rgba()).copy(), boxes


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_white_legible_and_the_same_whatever_the_callers_style(name, small, monkeypatch):
    test, images = small.test, small.test.images.clone()
    named = Split(test.images, test.labels, CLASSES["FashionMNIST"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a sign that the font lacks, a layout that does not fit
        figure, pixels, boxes = draw(lambda: FIGURES[name](test, named), monkeypatch)
        with plt.style.context("dark_background"), plt.rc_context({"font.size": 7, "image.cmap": "viridis"}):
            before = dict(mpl.rcParams)
            _, elsewhere, _ = draw(lambda: FIGURES[name](test, named), monkeypatch)
            assert dict(mpl.rcParams) == before
    assert (pixels == elsewhere).all()
    assert (pixels[..., 3] == 255).all()
    assert pixels[0, 0].tolist() == pixels[-1, -1].tolist() == [255] * 4
    assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 10
    assert min(text.get_fontsize() for text in boxes) >= 9 if boxes else name == "digit_wall"
    page = figure.bbox.padded(1)
    assert [text for text, box in boxes.items() if not (page.contains(*box.min) and page.contains(*box.max))] == []
    pairs = itertools.combinations(boxes.items(), 2)
    assert [(a.get_text(), b.get_text()) for (a, one), (b, other) in pairs if one.overlaps(other)] == []
    assert torch.equal(test.images, images)


def test_figures_show_the_numbers(small):
    test, measured = small.test, measure(small.test)
    wall = figures.digit_wall(test, rows=2, columns=3).axes[0].images[0].get_array()
    np.testing.assert_array_equal(wall[28:56, 28:56], test.images[4, 0])
    torch.testing.assert_close(figures.class_means(test)[4], test.images[test.labels == 4].float().mean((0, 1)))
    bars = figures.class_balance(all=test, half=test.take(500)).axes[0].patches
    heights = [count / 1000 for count in test.counts()] + [count / 500 for count in test.take(500).counts()]
    assert [bar.get_height() for bar in bars] == pytest.approx(heights)
    cells = {
        tuple(int(p) for p in text.get_position()): int(text.get_text())
        for text in figures.confusion(measured).axes[0].texts
    }
    assert cells == {(j, i): count for (i, j), count in np.ndenumerate(measured.confusion.to_numpy())}
    lines = figures.history(THREE).axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [THREE.train_loss, THREE.valid_loss]
    assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == 2  # told apart without colours
    titles = [axis.get_title() for axis in figures.predictions(test, measured, rows=1, columns=4).axes]
    true = test.labels[measured.errors()[:2]].tolist()
    assert titles[2:] == [f"✗ {t} → {(t + 1) % 10}" for t in true]
    assert all(title.startswith("✓ ") for title in titles[:2])
    image = plots.image_grid(test.images[:1], ["a seven"]).axes[0].images[0]
    assert (image.get_cmap()(0.0)[:3], image.get_cmap()(1.0)[:3]) == ((1, 1, 1), (0, 0, 0))  # ink is dark


def test_images_that_do_not_fit_are_refused(small):
    with pytest.raises(ValueError, match="one title per image; got 3 and 2"):
        plots.image_grid(small.test.images[:3], ["a", "b"])
    with pytest.raises(ValueError, match="a wall of 6×20 needs 120 images; the split has 7"):
        figures.digit_wall(small.test.take(7))


def test_show_puts_an_opaque_picture_with_its_text_alternative_on_the_page_once(tmp_path):
    InteractiveShell.instance()
    figure, alt = figures.history(THREE), "Loss falls from 0.5 to 0.1 in three epochs."
    with plt.style.context("dark_background"), plt.rc_context({"savefig.transparent": True}), capture_output() as page:
        for empty in ("", " \n"):
            with pytest.raises(ValueError, match="alt is empty; say in a sentence what the figure shows"):
                plots.show(figure, empty)
        plots.show(figure, alt)
    InteractiveShell.clear_instance()
    (output,) = page.outputs
    assert output.data["text/plain"] == alt
    assert output.metadata["image/png"] == {"alt": alt, "width": round(figure.get_figwidth() * 100)}
    picture = plt.imread(BytesIO(output.data["image/png"]), format="png")
    assert picture.shape[1] == 2 * output.metadata["image/png"]["width"]
    assert picture[0, 0].min() == 1
    assert not plt.fignum_exists(figure.number)
    for name in ("a.png", "b.png"):
        plots.save(figures.history(THREE), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
