"""The drawings of networks: they say what the layer table says, and every word can be read."""

import itertools
import re
from io import BytesIO

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import nn
from torch.nn import functional as F

from mnistlib import networks
from mnistlib.counting import layer_table
from mnistlib.diagrams import draw
from mnistlib.networks import NETWORKS, Towers

EACH_NETWORK = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def drawing(network, title=""):
    return draw(network.build(seed=0), network.input_size, title)


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def shapes(figure):
    """The shape in each label, written as in the layer table, from left to right and top to bottom; the input first."""
    labels = [re.fullmatch(r"(?:input\n)?(\d[\d,]*(?:@[\d×]+)?)(?: logits| outputs)?", text) for text in words(figure)]
    return [label[1].replace(",", "").replace("@", "×") for label in labels if label]


def counts(figure):
    """The parameter counts that stand below the arrows."""
    return [int(n.replace(",", "")) for text in words(figure) for n in re.findall(r"([\d,]+)\nparameter", text)]


def png(figure):
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def boxes(artists, figure):
    """The place of each on the page in inches: (left, bottom, right, top)."""
    renderer = figure.canvas.get_renderer()
    return [artist.get_window_extent(renderer).extents / figure.dpi for artist in artists]


def overlap(a, b):
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def lines_of(figure):
    """The arrows, and each straight piece of the other lines, as boxes."""
    axes = figure.axes[0]
    arrows = boxes([patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)], figure)
    paths = [axes.transData.transform(line.get_xydata()) / figure.dpi for line in axes.lines]
    pieces = [(*a, *b) for path in paths for a, b in itertools.pairwise(path)]
    thin = 0.005
    return arrows + [(min(x, u) - thin, min(y, v) - thin, max(x, u) + thin, max(y, v) + thin) for x, y, u, v in pieces]


def assert_readable(figure):
    figure.canvas.draw()
    texts = figure.axes[0].texts
    text_boxes = boxes(texts, figure)
    glyphs = boxes([p for p in figure.axes[0].patches if isinstance(p, Rectangle)], figure)
    width, height = figure.get_size_inches()
    assert all(text.get_fontsize() >= 9 for text in texts)
    for left, bottom, right, top in [*text_boxes, *glyphs]:
        assert left >= 0.05
        assert bottom >= 0.05
        assert right <= width - 0.05
        assert top <= height - 0.05
    for (i, a), (j, b) in itertools.combinations(enumerate(text_boxes), 2):
        assert not overlap(a, b), f"{texts[i].get_text()!r} meets {texts[j].get_text()!r}"
    for text, box in zip(texts, text_boxes, strict=True):
        assert not any(overlap(box, glyph) for glyph in glyphs), f"{text.get_text()!r} meets a glyph"
        assert not any(overlap(box, line) for line in lines_of(figure)), f"{text.get_text()!r} meets a line"


class Own(nn.Module):
    """As students write it: pooling and activation without a layer, one weight outside all layers."""

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


def deep():
    """More than fits into one row."""
    layers = [nn.Conv2d(3, 64, 3, padding="same"), nn.BatchNorm2d(64), nn.ReLU()]
    for _ in range(8):
        layers += [nn.Conv2d(64, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.Tanh()]
    return nn.Sequential(nn.Sequential(*layers), nn.Flatten(), nn.Linear(64, 1000))


def unlike_towers():
    """Branches of different length, and of maps; then other branches."""
    first = Towers(nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU()), nn.Conv2d(1, 3, 5))
    second = Towers(nn.Flatten(), nn.Flatten(), nn.Sequential(nn.Conv2d(7, 2, 1), nn.MaxPool2d(2), nn.Flatten()))
    return nn.Sequential(first, second, nn.Linear(2 * 7 * 24 * 24 + 2 * 12 * 12, 10))


OTHERS = {
    "own": (Own, (1, 28, 28)),
    "deep": (deep, (3, 224, 224)),
    "unlike towers": (unlike_towers, (1, 28, 28)),
    "towers alone": (lambda: Towers(nn.Flatten(), nn.Sequential(nn.ZeroPad2d(1), nn.Flatten())), (1, 28, 28)),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), (1, 28, 28)),
    "one layer": (lambda: nn.Linear(784, 10), (784,)),
    "nothing": (nn.Identity, (784,)),
}


@EACH_NETWORK
def test_the_shapes_and_the_counts_are_those_of_the_layer_table(network):
    figure = drawing(network)
    table = layer_table(network.build(seed=0), network.input_size)
    total = table.loc["total"]
    without_a_layer = {"1×28×28", "1×32×32", *(["2352"] if network.key == "multi-tower" else [])}  # the input, and joined
    assert set(shapes(figure)) <= {*table["output shape"]} | without_a_layer
    assert shapes(figure)[-1] == "10"
    in_c3 = table.index.str.startswith("C3.")  # three rows of the table, but one step
    rows = [*table["parameters"][~in_c3].iloc[:-1], table["parameters"][in_c3].sum()]
    assert sorted(counts(figure)) == sorted(n for n in rows if n)
    assert sum(counts(figure)) == total["parameters"]
    assert f"{total['parameters']:,} parameters, {total['mult-adds']:,} mult-adds for one image" in words(figure)


@EACH_NETWORK
def test_every_word_of_each_network_can_be_read(network):
    figure = drawing(network, network.title)
    assert figure.get_figwidth() == 9
    assert words(figure)[0] == network.title
    assert_readable(figure)


@pytest.mark.parametrize(("net", "size"), OTHERS.values(), ids=OTHERS)
def test_every_word_of_any_network_can_be_read(net, size):
    net = net()
    figure = draw(net, size)
    assert_readable(figure)
    outside = 1 if isinstance(net, Own) else 0
    assert sum(counts(figure)) + outside == layer_table(net, size).loc["total", "parameters"]


def test_lenet5_is_drawn_as_published():
    figure = drawing(NETWORKS["lenet5"])
    labels = ["input\n1@32×32", "6@28×28", "6@14×14", "16@10×10", "16@5×5", "120@1×1", "84", "10 logits"]
    assert [text for text in words(figure) if text in labels] == labels
    assert counts(figure) == [156, 2_416, 48_120, 10_164, 850]
    assert "conv 5×5\n2,416\nparameters\nReLU" in words(figure)


def test_the_network_of_1998_keeps_its_own_layers():
    figure = drawing(NETWORKS["lenet5-1998"])
    assert counts(figure) == [156, 12, 1_516, 32, 48_120, 10_164]
    assert "sum 2×2\nscale + bias\n12\nparameters\nscaled tanh" in words(figure)
    assert "16@5×5" in words(figure)


def test_padding_and_dropout_are_named_in_the_steps():
    said = words(drawing(NETWORKS["stacked-2d"]))
    assert "conv 10×10\npadded\n2,004\nparameters\nReLU\ndropout 0.4" in said
    assert "conv 5×5\npadded\n404\nparameters\nReLU\ndropout 0.3" in said


def test_towers_are_three_branches_below_each_other():
    axes = drawing(NETWORKS["multi-tower"]).axes[0]
    places = {text: [t.get_position() for t in axes.texts if t.get_text() == text] for text in ("4@14×14", "784", "joined")}
    for branch in ("4@14×14", "784"):
        assert len({x for x, _ in places[branch]}) == 1
        assert len({y for _, y in places[branch]}) == 3
    assert len(places["joined"]) == 1


def test_two_networks_look_different_and_one_always_the_same():
    first, again, other = (png(drawing(NETWORKS[key])) for key in ("lenet5", "lenet5", "lenet5-padded"))
    assert first == again
    assert first != other


def test_the_drawing_does_not_depend_on_the_style_of_the_caller():
    usual = png(drawing(NETWORKS["lenet5"]))
    with plt.style.context("dark_background"):
        figure = drawing(NETWORKS["lenet5"])
    assert png(figure) == usual  # saved outside: before matplotlib 3.10 saving follows the caller's style, too


def test_a_wrong_input_size_is_named():
    with pytest.raises(ValueError, match="cannot take an image of 1×8×8"):
        draw(networks.build("lenet5"), (1, 8, 8))
    assert not plt.get_fignums()


def test_the_network_and_the_random_numbers_stay_as_they_were(weights_of):
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))
    net[2].eval()
    modes, weights = [m.training for m in net.modules()], weights_of(net)
    before = torch.get_rng_state()
    draw(net, (1, 28, 28))
    assert torch.equal(torch.get_rng_state(), before)
    assert [m.training for m in net.modules()] == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in net.state_dict().items())


def test_a_module_of_your_own_is_drawn_as_it_runs():
    figure = draw(Own(), (1, 28, 28))
    assert shapes(figure) == ["1×28×28", "6×24×24", "6×12×12", "864", "10"]
    assert words(figure)[2:7:2] == ["6@24×24", "6@12×12", "864"]
    assert "conv 5×5\n156\nparameters\nbatch norm\n12\nparameters" in words(figure)
    assert "computed\nin forward()\ndropout 0.25" in words(figure)
    assert "reshape" in words(figure)
    assert words(figure)[-1].endswith("(1 of the parameters in none of these layers)")


def test_a_layer_that_is_used_twice_is_counted_once():
    layer = nn.Linear(9, 9)
    assert counts(draw(nn.Sequential(layer, nn.ReLU(), layer), (9,))) == [90]


def test_probabilities_are_not_called_logits():
    assert "10 outputs" in words(draw(nn.Sequential(nn.Linear(9, 10), nn.LogSoftmax(1)), (9,)))


def test_at_most_eight_sheets_are_drawn():
    rectangles = [p for p in draw(nn.Conv2d(1, 100, 3), (1, 9, 9)).axes[0].patches if isinstance(p, Rectangle)]
    assert len(rectangles) == 1 + 8
