"""Drawings become pictures like MNIST's, and the widgets' Python side works without a browser."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mnistlib
from mnistlib.files import DataError
from mnistlib.live import build, export, pad

ONE = [[(0.55, 0.15), (0.5, 0.5), (0.45, 0.85)]]
SEVEN = [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)]]
points = st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9))


def box(image):
    """Height and width of the part of ``[1, 28, 28]`` that holds ink."""
    rows, columns = image[0].any(1).nonzero(), image[0].any(0).nonzero()
    return (rows.max() - rows.min() + 1).item(), (columns.max() - columns.min() + 1).item()


def center_of_mass(image):
    ink = image[0].double()
    places = torch.arange(28, dtype=torch.float64)
    return ((ink.sum(1) * places).sum() / ink.sum()).item(), ((ink.sum(0) * places).sum() / ink.sum()).item()


@given(st.lists(st.lists(points, min_size=1, max_size=5), min_size=1, max_size=4), st.floats(0.03, 0.16))
def test_any_drawing_fits_the_box_and_is_centered(drawn, width):
    image = pad.as_mnist(pad.ink(drawn, width))
    assert (image.shape, image.dtype) == ((1, 28, 28), torch.uint8)
    assert max(box(image)) <= 20
    edges = [image[0, [0, -1]].any(), image[0, :, [0, -1]].any()]  # moved no further: ink would leave the page
    for place, at_the_edge in zip(center_of_mass(image), edges, strict=True):
        assert abs(place - 14) <= 0.5 + 1e-9 or at_the_edge


def test_ink_is_what_is_near_a_stroke():
    dot = pad.ink([[(0.5, 0.25)]], 0.1)
    rows, columns = dot.nonzero()
    assert {dot.min(), dot.max()} == {0, 255}
    assert np.hypot(rows + 0.5 - 70, columns + 0.5 - 140).max() <= 14
    assert len(rows) == pytest.approx(np.pi * 14**2, rel=0.02)
    assert not pad.ink([]).any()
    assert not pad.ink([[]]).any()
    assert not pad.ink([[(3, 3), (3, 4)]]).any()  # beside the page


def test_place_size_and_kind_of_number_do_not_matter():
    picture = pad.ink(SEVEN)
    image = pad.as_mnist(picture)
    assert torch.equal(pad.as_mnist(SEVEN), image)
    assert torch.equal(pad.as_mnist(np.pad(picture, ((7, 50), (60, 0)))), image)
    for change in (
        lambda p: p / 255,
        lambda p: p > 0,
        lambda p: torch.tensor(p)[None],
        lambda p: p.astype("int64"),
        list,
    ):
        assert torch.equal(pad.as_mnist(torch.tensor(np.array(change(picture)))), image)
    large = pad.as_mnist(picture.repeat(3, 0).repeat(3, 1))
    assert (large.double() - image.double()).abs().mean() < 2  # of 255


def test_a_wide_drawing_keeps_its_shape_and_ink_stays_on_the_page():
    assert box(pad.as_mnist(np.ones((10, 100)))) == (2, 20)
    assert box(pad.as_mnist(np.ones((300, 2)))) == (20, 1)
    heavy = np.zeros((20, 20))
    heavy[0, 0] = heavy[19, 19] = 1e-2  # two grey corners
    heavy[0:2, 0:2] = 1
    assert box(pad.as_mnist(heavy)) == (20, 20)  # nothing was cut off, although the mass is at the top left


def test_mnist_itself_comes_back(mnist):
    """Digits enlarged four times in the corner of a large page: the recipe is MNIST's own."""
    some = mnist.test.take(300)
    pages = [np.pad(image[0].numpy().repeat(4, 0).repeat(4, 1), ((9, 70), (120, 3))) for image in some.images]
    back = torch.stack([pad.as_mnist(page) for page in pages])
    assert (back.double() - some.images.double()).abs().max() <= 1


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((28, 28)), "no ink"),
        (np.ones(28), r"\[height, width\]"),
        (torch.ones(2, 28, 28), r"got \[2, 28, 28\]"),
        (np.full((28, 28), "a"), "rectangle of numbers"),
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
        pad.as_mnist(picture)
    with pytest.raises(ValueError, match="width"):
        pad.ink(ONE, float("nan"))


@pytest.mark.parametrize("key", export.KEYS)
def test_the_pad_reads_what_is_drawn_and_leaves_the_network_as_it_was(key, weights_of):
    net = mnistlib.build(key, seed=0).train()
    before = weights_of(net)
    drawn = pad.DrawingPad(net)
    assert not drawn.image.any()
    assert drawn.probabilities is None
    drawn.strokes = SEVEN
    assert torch.equal(drawn.image, pad.as_mnist(SEVEN))
    assert drawn.probabilities.sum().item() == pytest.approx(1)
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    for strokes, digit in ((ONE, 1), (SEVEN, 7)):
        assert pad.DrawingPad(strokes=strokes).probabilities.argmax() == digit


def test_the_explorers_hold_an_image_and_a_unit(mnist):
    units = pad.UnitExplorer(image=mnist.test.images[3], layer="conv2", map=5, row=1, column=2)
    assert (units._kind, units._image, units.layer, units.map) == (
        "units",
        mnist.test.images[3].numpy().tobytes(),
        "conv2",
        5,
    )
    window = pad.ConvolutionWindow()
    assert (window._kind, window._image, window.layer) == ("window", mnist.test.images[0].numpy().tobytes(), "conv1")
    with pytest.raises(ValueError, match=r"uint8 of shape \[1, 28, 28\]"):
        pad.UnitExplorer(image=torch.zeros(1, 32, 32))
    with pytest.raises(ValueError, match="is another network"):
        pad.DrawingPad(mnistlib.build("small-cnn", seed=0))


def test_without_anywidget_the_package_works_and_the_pad_says_what_to_do():
    code = "import sys; sys.modules['anywidget'] = None; import mnistlib; mnistlib.build; import mnistlib.live.pad"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert "ImportError: mnistlib.live.pad needs anywidget" in result.stderr


@pytest.mark.parametrize("key", export.KEYS)
def test_weights_go_to_the_page_and_back(key, tmp_path):
    net = mnistlib.build(key, seed=4)
    mnistlib.save_weights(net, tmp_path / "my.pt", key)
    back = export.load_web(export.export_web(tmp_path / "my.pt"))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), back.parameters(), strict=True))
    with pytest.raises(DataError, match="cannot read"):
        export.load_web(tmp_path / "none.safetensors")


def test_modules_that_share_a_name_are_not_put_into_one(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "HERE", tmp_path)
    (tmp_path / "a.js").write_text('import { two } from "./b.js";\nexport const one = two;\n')
    (tmp_path / "b.js").write_text("export const two = 2;\n")
    assert build.bundle("a.js") == "const two = 2;\n\nconst one = two;\n"
    (tmp_path / "b.js").write_text("export const two = 2;\nconst one = 1;\n")
    with pytest.raises(ValueError, match="use these names twice: one"):
        build.bundle("a.js")
