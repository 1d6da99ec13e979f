"""Drawings become pictures like MNIST's, and the widgets' Python side works without a browser."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mnistlib
from mnistlib.base.files import DataError
from mnistlib.live import bundle, export, pad

ONE = [[(0.55, 0.15), (0.5, 0.5), (0.45, 0.85)]]
SEVEN = [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)]]
points = st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9))


@given(st.lists(st.lists(points, min_size=1, max_size=5), min_size=1, max_size=4), st.floats(0.03, 0.16))
def test_any_drawing_fits_the_box_and_is_centered(drawn, width):
    image = pad.as_mnist(pad.ink(drawn, width))
    assert (image.shape, image.dtype) == ((1, 28, 28), torch.uint8)
    assert max(pad.crop(image).shape) <= 20
    edges = [image[0, [0, -1]].any(), image[0, :, [0, -1]].any()]  # moved no further: ink would leave the page
    for axis, at_the_edge in zip((1, 0), edges, strict=True):
        ink = image[0].double().sum(axis)
        assert abs((ink * torch.arange(28)).sum() / ink.sum() - 14) <= 0.5 + 1e-9 or at_the_edge


def test_ink_is_what_is_near_a_stroke():
    rows, columns = pad.ink([[(0.5, 0.25)]], 0.1).nonzero()
    assert np.hypot(rows + 0.5 - 70, columns + 0.5 - 140).max() <= 14
    assert len(rows) == pytest.approx(np.pi * 14**2, rel=0.02)
    for nothing in ([], [[]], [[(3, 3), (3, 4)]]):
        assert not pad.ink(nothing).any()


def test_place_size_and_kind_of_number_do_not_matter():
    picture = pad.ink(SEVEN)
    image = pad.as_mnist(picture)
    for same in (SEVEN, np.pad(picture, ((7, 50), (60, 0))), picture / 255, picture > 0, torch.tensor(picture)[None]):
        assert torch.equal(pad.as_mnist(same), image)
    large = pad.as_mnist(picture.repeat(3, 0).repeat(3, 1))
    assert (large.double() - image.double()).abs().mean() < 2  # of 255


def test_a_wide_drawing_keeps_its_shape_and_ink_stays_on_the_page():
    heavy = np.zeros((20, 20))
    heavy[0, 0] = heavy[19, 19] = 1e-2  # two grey corners
    heavy[0:2, 0:2] = 1
    for picture, box in ((np.ones((10, 100)), (2, 20)), (np.ones((300, 2)), (20, 1)), (heavy, (20, 20))):
        assert pad.crop(pad.as_mnist(picture)).shape == box


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
        ([3], "list of points"),
        ([[(np.nan, 0)]], "finite"),
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
    before, drawn = weights_of(net), pad.DrawingPad(net)
    assert drawn.probabilities is None
    drawn.strokes = SEVEN
    assert torch.equal(drawn.image, pad.as_mnist(SEVEN))
    assert drawn.probabilities.sum().item() == pytest.approx(1)
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert [pad.DrawingPad(strokes=strokes).probabilities.argmax() for strokes in (ONE, SEVEN)] == [1, 7]


def test_the_explorers_hold_an_image_and_a_unit(mnist):
    units = pad.UnitExplorer(image=mnist.test.images[3], layer="conv2", map=5)
    assert (units._image, units.layer, units.map) == (mnist.test.images[3].numpy().tobytes(), "conv2", 5)
    assert pad.ConvolutionWindow()._image == mnist.test.images[0].numpy().tobytes()
    with pytest.raises(ValueError, match=r"uint8 of shape \[1, 28, 28\]"):
        pad.UnitExplorer(image=torch.zeros(1, 32, 32))
    with pytest.raises(ValueError, match="this Linear is another network"):
        pad.DrawingPad(torch.nn.Linear(784, 10))


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


def test_the_modules_of_one_script_give_each_name_once(tmp_path, monkeypatch):
    names = r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)"
    for script in ("page.js", "worker.js", "widget.js"):
        found = re.findall(names, "\n".join(bundle.modules(script).values()), re.M)
        assert len(found) == len(set(found)) > 20
    monkeypatch.setattr(bundle, "HERE", tmp_path)
    (tmp_path / "a.js").write_text('import { two } from "./b.js";\nexport const one = two;\n')
    (tmp_path / "b.js").write_text("export const two = 2;\n")
    assert bundle.bundle("a.js") == "const two = 2;\n\nconst one = two;\n"
