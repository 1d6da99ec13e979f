"""Drawings become pictures like MNIST's, and the pad's Python side works without a browser."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mnistlib
from mnistlib import drawing

ONE = [[(0.55, 0.15), (0.5, 0.5), (0.45, 0.85)]]
SEVEN = [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)]]


def box(image):
    """Height and width of the part of ``[1, 28, 28]`` that holds ink."""
    rows, columns = image[0].any(1).nonzero(), image[0].any(0).nonzero()
    return (rows.max() - rows.min() + 1).item(), (columns.max() - columns.min() + 1).item()


def center_of_mass(image):
    ink = image[0].double()
    places = torch.arange(28, dtype=torch.float64)
    return ((ink.sum(1) * places).sum() / ink.sum()).item(), ((ink.sum(0) * places).sum() / ink.sum()).item()


points = st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9))
strokes = st.lists(st.lists(points, min_size=1, max_size=5), min_size=1, max_size=4)


@given(strokes, st.floats(0.03, 0.16))
def test_any_drawing_fits_the_box_and_is_centered(drawn, width):
    image = drawing.as_mnist(drawing.ink(drawn, width))
    assert (image.shape, image.dtype) == ((1, 28, 28), torch.uint8)
    height, breadth = box(image)
    assert max(height, breadth) <= 20
    edges = [image[0, [0, -1]].any(), image[0, :, [0, -1]].any()]  # moved no further: ink would leave the page
    for place, at_the_edge in zip(center_of_mass(image), edges, strict=True):
        assert abs(place - 14) <= 0.5 + 1e-9 or at_the_edge


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_place_of_a_drawing_does_not_matter(down, right):
    picture = drawing.ink(SEVEN)
    page = np.pad(picture, ((down, 60 - down), (right, 60 - right)))
    assert torch.equal(drawing.as_mnist(page), drawing.as_mnist(picture))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_its_size_hardly_matters(factor):
    picture = drawing.ink(SEVEN)
    large = picture.repeat(factor, 0).repeat(factor, 1)
    difference = drawing.as_mnist(large).double() - drawing.as_mnist(picture).double()
    assert difference.abs().mean() < 2  # of 255


@pytest.mark.parametrize(
    "change", [lambda p: p / 255, lambda p: p > 0, lambda p: torch.tensor(p)[None], lambda p: p.astype("int64")]
)
def test_any_kind_of_number_will_do(change):
    picture = drawing.ink(ONE)
    assert torch.equal(drawing.as_mnist(change(picture)), drawing.as_mnist(picture))


def test_strokes_and_their_picture_are_the_same():
    assert torch.equal(drawing.as_mnist(SEVEN), drawing.as_mnist(drawing.ink(SEVEN)))


def test_a_wide_drawing_keeps_its_shape():
    assert box(drawing.as_mnist(np.ones((10, 100)))) == (2, 20)
    assert box(drawing.as_mnist(np.ones((300, 2)))) == (20, 1)


def test_ink_pulls_the_center_but_never_leaves_the_page():
    heavy = np.zeros((20, 20))
    heavy[0, 0] = heavy[19, 19] = 1e-2  # two grey corners
    heavy[0:2, 0:2] = 1
    image = drawing.as_mnist(heavy)
    assert image[0, 8:].any()
    assert box(image) == (20, 20)  # nothing was cut off, although the mass would want it further down


def test_mnist_itself_comes_back(mnist):
    """Digits enlarged four times in the corner of a large page: the recipe is MNIST's own."""
    some = mnist.test.take(300)
    pages = [np.pad(image[0].numpy().repeat(4, 0).repeat(4, 1), ((9, 70), (120, 3))) for image in some.images]
    back = torch.stack([drawing.as_mnist(page) for page in pages])
    assert (back.double() - some.images.double()).abs().max() <= 1
    read = mnistlib.evaluate(mnistlib.pretrained("lenet5"), mnistlib.Split(back, some.labels).resized(32))
    assert read.accuracy >= 0.97


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((28, 28)), "no ink"),
        (np.zeros((0, 0)), "no ink"),
        ([], "no ink"),
        (np.ones(28), r"\[height, width\]"),
        (torch.ones(2, 28, 28), r"got \[2, 28, 28\]"),
        (np.full((28, 28), "a"), "holds numbers"),
        (np.ones((28, 28), complex), "holds numbers"),
        (-np.ones((28, 28)), "not negative"),
        (np.full((28, 28), np.nan), "finite"),
        ([[(0.5,)]], "list of points"),
        ([[0.5, 0.5]], "list of points"),
        ([3], "list of points"),
        ([[(np.nan, 0)]], "finite"),
        ([[(0, np.inf)]], "finite"),
        ([[("a", "b")]], "list of points"),
    ],
)
def test_what_is_no_drawing_is_refused(picture, message):
    with pytest.raises(ValueError, match=message):
        drawing.as_mnist(picture)


@pytest.mark.parametrize("width", [0, 0.6, -1, float("nan")])
def test_a_pen_has_a_width(width):
    with pytest.raises(ValueError, match="width"):
        drawing.ink(ONE, width)


def test_an_empty_stroke_is_nothing():
    assert not drawing.ink([]).any()
    assert not drawing.ink([[]]).any()


def test_the_pad_reads_what_is_drawn():
    pad = drawing.DrawingPad()
    assert not pad.image.any()
    assert pad.probabilities is None
    assert pad._text == "Draw a digit."
    for drawn, digit in [(ONE, 1), (SEVEN, 7)]:
        pad.strokes = drawn
        assert torch.equal(pad.image, drawing.as_mnist(drawn))
        assert pad.probabilities.shape == (10,)
        assert pad.probabilities.sum().item() == pytest.approx(1)
        assert pad.probabilities.argmax() == digit
        assert pad._text.startswith(f"It reads: {digit} (")
        assert pad._shares == pytest.approx(pad.probabilities.tolist())
        assert pad._pictures[:784] == pad.image.numpy().tobytes()
        assert len(pad._pictures) == 7 * 784
    before = pad.image
    pad.width = 0.14
    assert pad.image.sum() > before.sum()
    pad.strokes = []
    assert pad.probabilities is None
    assert not any(pad._pictures)


def test_the_pad_leaves_a_network_as_it_was(weights_of):
    net = mnistlib.build("lenet5", seed=0).train()
    before = weights_of(net)
    pad = drawing.DrawingPad(net, strokes=SEVEN)
    assert pad.probabilities is not None
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_without_anywidget_the_package_works_and_the_pad_says_what_to_do():
    code = "import sys; sys.modules['anywidget'] = None; import mnistlib; mnistlib.build('lenet5'); mnistlib.drawing"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert "ImportError: mnistlib.drawing needs anywidget" in result.stderr
    assert "requirements.txt" in result.stderr


def test_the_pad_needs_no_network():
    assert "http" not in drawing.DrawingPad._esm + drawing.DrawingPad._css
    assert "import" not in drawing.DrawingPad._esm
