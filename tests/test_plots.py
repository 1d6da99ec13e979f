"""Every figure: something is drawn, it can be read on any page, and it leaves the caller's style alone."""

import functools
import itertools
import warnings
from dataclasses import dataclass
from io import BytesIO

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from mnistlib import datasets, plots
from mnistlib.evaluation import Evaluation
from mnistlib.training import History


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def measure(labels, predictions, classes=datasets.DIGITS):
    """An evaluation in which the network is rather sure of these predictions."""
    logits = torch.nn.functional.one_hot(torch.as_tensor(predictions), len(classes)).float() * 3
    return Evaluation(logits, torch.as_tensor(labels), classes)


def some_wrong(labels):
    """Every seventh prediction is one too high."""
    return torch.where(torch.arange(len(labels)) % 7 == 0, (labels + 1) % 10, labels)


THREE_EPOCHS = History([0.5, 0.2, 0.1], [0.8, 0.93, 0.97], [0.3, 0.2, 0.15], [0.9, 0.94, 0.95], [1.0] * 3, [0.3] * 30)
ONE_EPOCH = History([0.5], [0.8], [0.3], [0.9], [1.0], [0.5] * 10)

FIGURES = {
    "digit_wall": lambda small: plots.digit_wall(small.train),
    "image_grid": lambda small: plots.image_grid(small.train.images[:12], [f"number {i}" for i in range(12)], columns=5),
    "class_means": lambda small: plots.image_grid(plots.class_means(small.train), list(small.classes)),
    "class_balance": lambda small: plots.class_balance(training=small.train, validation=small.train.take(500), test=small.test),
    "class_balance, one split": lambda small: plots.class_balance(test=small.test),
    "history": lambda small: plots.history(THREE_EPOCHS),
    "history, one epoch": lambda small: plots.history(ONE_EPOCH),
    "history, no validation": lambda small: plots.history(History([0.5, 0.2], [0.8, 0.9], [], [], [1.0] * 2, [0.3] * 20)),
    "confusion": lambda small: plots.confusion(measure(small.test.labels, some_wrong(small.test.labels))),
    "confusion, nothing wrong": lambda small: plots.confusion(measure(small.test.labels, small.test.labels)),
    "predictions": lambda small: plots.predictions(small.test, measure(small.test.labels, some_wrong(small.test.labels)), rows=2),
    "predictions, nothing wrong": lambda small: plots.predictions(
        small.test, measure(small.test.labels, small.test.labels), rows=1
    ),
    "predictions, all wrong": lambda small: plots.predictions(
        small.test, measure(small.test.labels, (small.test.labels + 1) % 10), rows=2
    ),
    "probabilities": lambda small: plots.probabilities(
        small.test.images[0], torch.tensor([0.02, 0.9, 0.001, 0.03, 0.04, 0, 0, 0, 0, 0.009]), small.classes
    ),
}
OTHER_STYLE = {"font.size": 7, "xtick.labelsize": 6, "legend.fontsize": 6, "axes.labelsize": 6, "image.cmap": "viridis"}


@dataclass
class Drawing:
    """A figure, and what is to be seen once it is drawn."""

    figure: Figure
    pixels: np.ndarray  # uint8 [height, width, 4]
    boxes: dict[Text, Bbox]  # the texts that are really drawn, and where
    style_kept: bool  # whether the caller's style is what it was

    @property
    def words(self):
        return [text.get_text() for text in self.boxes]

    @property
    def overlapping(self):
        """The pairs of texts that lie on each other."""
        return [
            (one.get_text(), other.get_text())
            for (one, a), (other, b) in itertools.combinations(self.boxes.items(), 2)
            if a.overlaps(b)
        ]


def draw(make):
    """Make a figure and draw it, noting the texts that are drawn: axes keep hidden ones too."""
    boxes, real = {}, Text.draw

    def noted(text, renderer):
        if text.get_visible() and text.get_text().strip():
            boxes[text] = text.get_window_extent(renderer)
        return real(text, renderer)

    before = dict(mpl.rcParams)
    figure = make()
    style_kept = dict(mpl.rcParams) == before
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", noted)
        figure.canvas.draw()
    drawing = Drawing(figure, np.asarray(figure.canvas.buffer_rgba()).copy(), boxes, style_kept)
    plt.close(figure)
    return drawing


@pytest.fixture(scope="module")
def drawn(small):
    """A function that gives each figure's drawing; each is made once."""
    return functools.cache(lambda name: draw(lambda: FIGURES[name](small)))


@pytest.fixture(scope="module")
def drawn_elsewhere(small):
    """The same for a caller who has chosen a dark style with small letters."""

    def make(name):
        with plt.style.context("dark_background"), plt.rc_context(OTHER_STYLE):
            return draw(lambda: FIGURES[name](small))

    return functools.cache(make)


every_figure = pytest.mark.parametrize("name", FIGURES)


@every_figure
def test_something_is_drawn_on_opaque_white(name, drawn):
    pixels = drawn(name).pixels
    assert isinstance(drawn(name).figure, Figure)
    assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 10
    assert (pixels[..., 3] == 255).all()
    assert pixels[0, 0].tolist() == pixels[-1, -1].tolist() == [255] * 4


@every_figure
def test_no_text_is_smaller_than_9_points(name, drawn):
    assert {text.get_text(): text.get_fontsize() for text in drawn(name).boxes if text.get_fontsize() < 9} == {}


@every_figure
def test_no_text_is_cut_off_at_the_edge(name, drawn):
    page = drawn(name).figure.bbox.padded(1)
    boxes = drawn(name).boxes.items()
    outside = [text for text, box in boxes if not (page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1))]
    assert [text.get_text() for text in outside] == []


@every_figure
def test_no_text_lies_on_another(name, drawn):
    assert drawn(name).overlapping == []


@every_figure
def test_the_callers_style_is_left_as_it_was(name, drawn, drawn_elsewhere):
    assert drawn(name).style_kept
    assert drawn_elsewhere(name).style_kept


@every_figure
def test_the_figure_is_the_same_whatever_the_callers_style(name, drawn, drawn_elsewhere):
    """A student may have chosen a dark style, or called seaborn's set_theme."""
    assert (drawn(name).pixels == drawn_elsewhere(name).pixels).all()


def test_the_inputs_are_left_alone(small):
    before = small.test.images.clone(), small.test.labels.clone(), small.train.images.clone()
    for name in FIGURES:
        FIGURES[name](small)
    assert torch.equal(small.test.images, before[0])
    assert torch.equal(small.test.labels, before[1])
    assert torch.equal(small.train.images, before[2])


# Each figure shows what it says


def test_digit_wall_has_each_image_in_its_place(small):
    wall = plots.digit_wall(small.train, rows=2, columns=3).axes[0].images[0].get_array()
    assert wall.shape == (56, 84)
    for i in range(6):
        row, column = divmod(i, 3)
        tile = wall[row * 28 : row * 28 + 28, column * 28 : column * 28 + 28]
        np.testing.assert_array_equal(tile, small.train.images[i, 0])


def test_digit_wall_needs_enough_images(small):
    with pytest.raises(ValueError, match="a wall of 6×20 needs 120 images; the split has 7"):
        plots.digit_wall(small.train.take(7))


def test_ink_is_dark(small):
    figure = plots.image_grid(small.train.images[:1], ["a five"], columns=1)
    image = figure.axes[0].images[0]
    assert image.get_cmap()(0.0)[:3] == (1, 1, 1)
    assert image.get_cmap()(1.0)[:3] == (0, 0, 0)


def test_image_grid_has_a_title_for_each_image(small):
    titles = [f"number {i}" for i in range(7)]
    assert draw(lambda: plots.image_grid(small.train.images[:7], titles, columns=3)).words == titles
    with pytest.raises(ValueError, match="a title for each; got 7 images and 6 titles"):
        plots.image_grid(small.train.images[:7], titles[:6])


def test_image_grid_takes_images_with_and_without_a_channel(small):
    for images in (small.train.images[:2], small.train.images[:2, 0]):
        figure = plots.image_grid(images, ["a", "b"], columns=2)
        np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), small.train.images[1, 0])


def test_class_means_are_the_means(small):
    means = plots.class_means(small.train)
    assert means.shape == (10, 28, 28)
    expected = small.train.images[small.train.labels == 4].float().mean((0, 1))
    torch.testing.assert_close(means[4], expected)


def test_class_balance_shows_shares_for_each_split(small):
    drawing = draw(lambda: plots.class_balance(training=small.train, test=small.test))
    heights = [bar.get_height() for bar in drawing.figure.axes[0].patches]
    expected = [count / 2000 for count in small.train.counts()] + [count / 1000 for count in small.test.counts()]
    assert heights == pytest.approx(expected)
    assert {"training (2,000)", "test (1,000)", "label", "share of the images"} <= set(drawing.words)


@pytest.mark.parametrize("fitted", [ONE_EPOCH, THREE_EPOCHS])
def test_history_marks_every_epoch(fitted):
    """A line through one point is invisible without a marker."""
    lines = [line for axis in plots.history(fitted).axes for line in axis.lines]
    assert len(lines) == 4
    assert all(line.get_marker() not in ("", "None", None, " ") and line.get_markersize() >= 3 for line in lines)
    assert all(list(line.get_xdata()) == list(range(1, len(fitted.seconds) + 1)) for line in lines)


def test_history_of_one_epoch_shows_its_points():
    def without_markers():
        figure = plots.history(ONE_EPOCH)
        for line in (line for axis in figure.axes for line in axis.lines):
            line.set_marker("")
        return figure

    shown, hidden = draw(lambda: plots.history(ONE_EPOCH)).pixels, draw(without_markers).pixels
    half = shown.shape[1] // 2  # the left half has the legend, which has markers too
    assert (shown[:, half:] != hidden[:, half:]).any()


def number(label):
    """What a tick's label says, as a number."""
    label = label.replace("−", "-")
    return float(label.removesuffix("%")) / 100 if label.endswith("%") else float(label)


def tick_labels(drawing, axis):
    """{place: label} of the ticks of an axis that are really drawn."""
    ticks = [(tick.get_loc(), tick.label1) for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())]
    return {place: label.get_text() for place, label in ticks if label in drawing.boxes}


SLOW = History([0.35, 0.34, 0.33], [0.89, 0.891, 0.892], [0.36, 0.355, 0.352], [0.88, 0.884, 0.886], [1.0] * 3, [0.3] * 30)
LONG = History([1 / i for i in range(1, 41)], [1 - 1 / (i + 1) for i in range(1, 41)], [], [], [1.0] * 40, [0.3] * 400)


@pytest.mark.parametrize("fitted", [ONE_EPOCH, THREE_EPOCHS, SLOW, LONG], ids=["one epoch", "three", "slow", "long"])
def test_history_has_ticks_that_say_what_is_there(fitted):
    drawing = draw(lambda: plots.history(fitted))
    for axes in drawing.figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = tick_labels(drawing, axis)
            assert {place: number(label) for place, label in labels.items()} == pytest.approx({place: place for place in labels})
        assert all(float(place).is_integer() for place in tick_labels(drawing, axes.xaxis))
        assert len(tick_labels(drawing, axes.yaxis)) >= 2  # one would leave the scale unknown
    assert drawing.overlapping == []


def test_history_tells_the_lines_apart_by_more_than_colour(drawn):
    lines = drawn("history").figure.axes[0].lines
    assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == 2
    assert {"training (while learning)", "validation (after the epoch)"} <= set(drawn("history").words)


def test_confusion_writes_every_count(small, drawn):
    counts = measure(small.test.labels, some_wrong(small.test.labels)).confusion.to_numpy()
    places = {}
    for text in drawn("confusion").figure.axes[0].texts:
        column, row = (int(place) for place in text.get_position())
        places[row, column] = int(text.get_text().replace(",", ""))
    assert places == {(row, column): counts[row, column] for row in range(10) for column in range(10)}
    assert {"true", "predicted"} <= set(drawn("confusion").words)


def test_predictions_are_half_wrong_ones_with_a_sign_beside_the_colour(drawn):
    titles = drawn("predictions").words
    assert len(titles) == 20
    assert sum(title.startswith("✗") for title in titles) == 10
    assert sum(title.startswith("✓") for title in titles) == 10
    assert all("→" in title for title in titles if title.startswith("✗"))


def test_predictions_name_the_true_class_and_the_predicted_one(small):
    measured = measure(small.test.labels, some_wrong(small.test.labels))
    first_wrong = measured.mistakes()[0]
    true = int(small.test.labels[first_wrong])
    drawing = draw(lambda: plots.predictions(small.test, measured, rows=1, columns=4))
    assert drawing.words[2] == f"✗ {true} → {(true + 1) % 10}"
    np.testing.assert_array_equal(drawing.figure.axes[2].images[0].get_array(), small.test.images[first_wrong, 0])


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_predictions_of_few_images_that_are_all_right_or_all_wrong(small, count, wrong):
    few = small.test.take(count)
    titles = draw(lambda: plots.predictions(few, measure(few.labels, (few.labels + wrong) % 10), rows=1, columns=4)).words
    assert titles
    assert {title[0] for title in titles} == {"✗" if wrong else "✓"}


@pytest.mark.parametrize("plot", ["confusion", "predictions"])
@pytest.mark.parametrize("name", ["FashionMNIST", "KMNIST"])
def test_long_class_names_do_not_lie_on_each_other(name, plot, small):
    classes = datasets.CLASSES[name]
    few = datasets.Split(small.test.images[:100], torch.arange(100) % 10, classes)
    measured = measure(few.labels, some_wrong(few.labels), classes)
    figures = {"confusion": lambda: plots.confusion(measured), "predictions": lambda: plots.predictions(few, measured, rows=2)}
    assert draw(figures[plot]).overlapping == []


def test_probabilities_label_the_shares_that_can_be_seen(drawn):
    assert {"2%", "90%", "3%", "4%", "class", "probability"} <= set(drawn("probabilities").words)
    heights = [bar.get_height() for bar in drawn("probabilities").figure.axes[1].patches]
    assert heights == pytest.approx([0.02, 0.9, 0.001, 0.03, 0.04, 0, 0, 0, 0, 0.009])


def test_every_sign_is_in_the_font():
    """Matplotlib warns of a sign that the font lacks, and draws a box."""
    figure = Figure()
    figure.text(0.1, 0.5, "✓ ✗ → × ≈ – −", fontfamily=plots.STYLE["font.family"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(BytesIO())


def test_use_style_sets_the_style_and_no_more():
    with plt.rc_context():
        before = dict(mpl.rcParams)
        plots.use_style()
        changed = {key for key in before if mpl.rcParams[key] != before[key]}
        assert changed <= set(plots.STYLE)
        assert mpl.rcParams["figure.facecolor"] == "white"


# Onto the page


@pytest.fixture
def notebook():
    """The part of IPython that shows things, as a notebook has it."""
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_show_puts_an_opaque_picture_with_its_text_alternative_on_the_page(notebook, style):
    figure = plots.history(THREE_EPOCHS)
    with plt.style.context(style), plt.rc_context({"savefig.transparent": style != "default"}), capture_output() as captured:
        plots.show(figure, "Loss falls from 0.5 to 0.1 in three epochs.")
    (output,) = captured.outputs
    assert output.data["text/plain"] == "Loss falls from 0.5 to 0.1 in three epochs."
    assert output.metadata["image/png"] == {"alt": "Loss falls from 0.5 to 0.1 in three epochs.", "width": 900}
    picture = plt.imread(BytesIO(output.data["image/png"]), format="png")
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 10
    assert picture.shape[2] == 3 or (picture[..., 3] == 1).all()
    assert (picture[0, 0, :3] == 1).all()


def test_show_closes_the_figure_so_that_it_appears_once(notebook):
    figure = plots.history(ONE_EPOCH)
    with capture_output():
        plots.show(figure, "One epoch.")
    assert not plt.fignum_exists(figure.number)


@pytest.mark.parametrize("alt", ["", " ", "\n\t"])
def test_show_refuses_a_figure_without_a_text_alternative(notebook, alt):
    with capture_output() as captured, pytest.raises(ValueError, match="alt is empty; say in a sentence what the figure shows"):
        plots.show(plots.history(ONE_EPOCH), alt)
    assert captured.outputs == []
