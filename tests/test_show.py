"""The room `show`: drawings of networks that say what the layer table says, and figures that can be read."""

import itertools
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from torch import nn
from torch.nn import functional as F

from mnistlib.evaluation import confusion_table
from mnistlib.lab import results
from mnistlib.lab.store import sample
from mnistlib.layers import layer_table
from mnistlib.networks import NETWORKS, build
from mnistlib.show import compare
from mnistlib.show.diagrams import draw


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def drawing(key, title=""):
    return draw(build(key, seed=0), NETWORKS[key].input_shape, title)


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def counts(figure):
    return [int(n.replace(",", "")) for text in words(figure) for n in re.findall(r"([\d,]+)\nparameter", text)]


def shapes(figure):
    labels = [re.fullmatch(r"(?:input\n)?(\d[\d,]*(?:@[\d×]+)?)(?: logits| outputs)?", text) for text in words(figure)]
    return [label[1].replace(",", "").replace("@", "×") for label in labels if label]


def unreadable(figure):
    """The texts that lie on another or on a glyph, leave the page, or are smaller than 9 points."""
    boxes, real = {}, Text.draw

    def noted(text, renderer):
        if text.get_visible() and text.get_text().strip():
            boxes[text] = text.get_window_extent(renderer)
        return real(text, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", noted)
        figure.canvas.draw()
    page, renderer = figure.bbox.padded(1), figure.canvas.get_renderer()
    glyphs = [p.get_window_extent(renderer) for axes in figure.axes for p in axes.patches if isinstance(p, Rectangle)]
    found = [a for (a, one), (b, other) in itertools.combinations(boxes.items(), 2) if one.overlaps(other)]
    found += [text for text, box in boxes.items() if any(box.overlaps(glyph) for glyph in glyphs)]
    found += [t for t, box in boxes.items() if not page.contains(*box.min) or not page.contains(*box.max)]
    return [text.get_text() for text in found + [text for text in boxes if text.get_fontsize() < 9]]


class Own(nn.Module):
    """As students write it: pooling and activation without a layer, one parameter outside all layers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 5)
        self.norm = nn.BatchNorm2d(6)
        self.dropout = nn.Dropout(0.25)
        self.linear = nn.Linear(6 * 12 * 12, 10)
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return self.gain * self.linear(torch.flatten(self.dropout(x), 1))


BLOCK = [nn.Conv2d(3, 3, 3, stride=2, padding=1), nn.BatchNorm2d(3), nn.ReLU()]
OTHERS = {
    "own": (Own, (1, 28, 28)),
    "deep": (lambda: nn.Sequential(nn.Sequential(*BLOCK * 8), nn.Flatten(), nn.Linear(3, 1000)), (3, 224, 224)),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_drawing_says_what_the_layer_table_says_and_can_be_read(network):
    figure = drawing(network.key, network.title)
    table = layer_table(network.build(seed=0), network.input_shape)
    total = table.loc["total"]
    without_a_layer = {"1×28×28", "1×32×32", "2352"}  # the input, and the joined towers
    assert set(shapes(figure)) <= {*table["output shape"]} | without_a_layer
    assert shapes(figure)[-1] == "10"
    one_step = {"multi-tower": [1_010, 3 * 904, 50_100, 1_176_500]}  # its three towers
    assert sorted(counts(figure)) == one_step.get(network.key, sorted(n for n in table["parameters"].iloc[:-1] if n))
    assert words(figure)[-1] == f"{total['parameters']:,} parameters, {total['mult-adds']:,} mult-adds for one image"
    assert words(figure)[0] == network.title
    assert figure.get_figwidth() == 9
    assert unreadable(figure) == []


@pytest.mark.parametrize(("net", "shape"), OTHERS.values(), ids=OTHERS)
def test_any_network_can_be_drawn(net, shape):
    net = net()
    figure = draw(net, shape)
    assert unreadable(figure) == []
    assert sum(counts(figure)) + isinstance(net, Own) == layer_table(net, shape).loc["total", "parameters"]


def test_lenet5_is_drawn_as_published():
    figure = drawing("lenet5")
    labels = ["input\n1@32×32", "6@28×28", "6@14×14", "16@10×10", "16@5×5", "120@1×1", "84", "10 logits"]
    assert [text for text in words(figure) if text in labels] == labels
    assert counts(figure) == [156, 2_416, 48_120, 10_164, 850]
    assert "conv 5×5\n2,416\nparameters\nReLU" in words(figure)
    rectangles = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert len(rectangles) == 1 + 6 + 6 + 16 + 16 + 3  # every map


def test_steps_name_what_a_layer_does():
    assert "sum 2×2\nscale + bias\n12\nparameters\nscaled tanh" in words(drawing("lenet5-1998"))
    assert "conv 10×10\npadded\n2,004\nparameters\nReLU\ndropout 0.4" in words(drawing("stacked-2d"))
    own = draw(Own(), (1, 28, 28))
    assert shapes(own) == ["1×28×28", "6×24×24", "6×12×12", "864", "10"]
    assert {"computed\nin forward()\ndropout 0.25", "reshape"} <= set(words(own))
    assert words(own)[-1].endswith("(1 of the parameters in none of these layers)")
    assert "10 outputs" in words(draw(nn.Sequential(nn.Linear(9, 10), nn.LogSoftmax(1)), (9,)))
    strided = draw(nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2), (4, 9, 9))
    assert "conv 3×3\npadded\nstride 2×2\n2 groups\n152\nparameters" in words(strided)


def test_layers_that_are_used_twice_are_drawn_where_they_are_used_and_counted_once():
    layer, relu = nn.Linear(9, 9), nn.ReLU()
    figure = draw(nn.Sequential(nn.Sequential(layer, relu), layer, nn.Sequential(nn.Tanh(), relu)), (9,))
    assert [text for text in words(figure) if "linear" in text] == [
        "linear\n90\nparameters\nReLU",
        "linear\ntanh\nReLU",
    ]


def test_drawing_leaves_the_network_and_the_random_numbers_alone():
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))
    net[2].eval()
    before = (
        [m.training for m in net.modules()],
        {k: v.clone() for k, v in net.state_dict().items()},
        torch.get_rng_state(),
    )
    draw(net, (1, 28, 28))
    assert [m.training for m in net.modules()] == before[0]
    assert all(torch.equal(tensor, before[1][name]) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before[2])
    with pytest.raises(ValueError, match="cannot take an image of 1×8×8"):
        draw(net, (1, 8, 8))
    assert not nn.modules.module._global_forward_hooks


def test_accuracies_shows_every_seed_the_interval_and_what_was_published():
    runs = results.read("networks").query("network in ['mlp', 'lenet5', 'stacked-1d']")
    table = results.table(runs).sort_values("mean", ascending=False)
    figure = compare.accuracies(runs)
    assert unreadable(figure) == []
    seeds, *_, published = figure.axes[0].lines
    assert sorted(seeds.get_xdata()) == sorted(runs.test_accuracy)
    assert np.nansum(published.get_xdata()) == pytest.approx(table.published.sum() / 100)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == [f"{row.title} ({row.parameters:,})" for row in table.itertuples()]
    bars = figure.axes[0].containers[0][2][0].get_segments()
    half_widths = [(right - left) / 2 for (left, _), (right, _) in bars]
    np.testing.assert_allclose(half_widths, table.confidence_interval / 100)


def test_other_figures_that_compare_can_be_read(mnist):
    names, labels = ["MLP", "stacked 1D CNN, really stacked", "LeNet-5, padded"], mnist.test.labels
    tables = {name: confusion_table(labels, labels.roll(i), mnist.classes) for i, name in enumerate(names)}
    datasets = {name: sample(name).train for name in ("MNIST", "FashionMNIST")}
    long = {"FashionMNIST": confusion_table(labels, labels.flip(0), datasets["FashionMNIST"].classes)}
    figures = [compare.learning_curves({name: [0.9, 0.95, 0.97] for name in names}), compare.confusions(tables)]
    figures += [compare.confusions(long, columns=2), compare.spread({"two": [0.9, 0.91], "one": [0.8]})]
    figures.append(compare.one_of_each(datasets))
    assert [unreadable(figure) for figure in figures] == [[]] * 5
    assert [axes.get_title().replace("\n", " ") for axes in figures[0].axes[:3]] == names


def test_confusions_show_errors_only_with_the_largest_as_numbers():
    counts = np.diag([100] * 10) + np.eye(10, k=1, dtype=int) * np.arange(10)
    (axes,) = (a for a in compare.confusions({"net": pd.DataFrame(counts)}).axes if a.axison)
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["5", "6", "7", "8", "9"]
    assert axes.get_title() == "net\n45 errors"
