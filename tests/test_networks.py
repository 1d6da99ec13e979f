"""Every network: its size to the parameter, its shapes, and LeNet-5 of 1998 as the paper describes it."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mnistlib import lenet1998, networks
from mnistlib.networks import NETWORKS, R1, Towers

PARAMETERS = {
    "lenet5": 61_706,
    "lenet5-padded": 61_706,
    "lenet5-1998": 60_000,
    "small-cnn": 93_962,
    "mlp": 445_385,
    "cnn-1d": 1_014_190,
    "cnn-2d": 175_240,
    "stacked-1d-published": 831_634,
    "stacked-2d-published": 339_714,
    "stacked-1d": 235_978,
    "stacked-2d": 73_148,
    "multi-tower": 1_230_322,
    "lenet-wide": 3_297_514,
}
PARTS = {  # of each layer that has any, in order
    "lenet5": [156, 2_416, 48_120, 10_164, 850],
    "lenet5-padded": [156, 2_416, 48_120, 10_164, 850],
    "lenet5-1998": [156, 12, 1_516, 32, 48_120, 10_164],
    "small-cnn": [320, 18_496, 73_856, 1_290],
    "mlp": [392_500, 50_100, 2_525, 260],
    "cnn-1d": [80, 963_000, 50_100, 1_010],
    "cnn-2d": [1_130, 123_000, 50_100, 1_010],
    "stacked-1d-published": [24, 780_500, 50_100, 1_010],
    "stacked-2d-published": [104, 288_500, 50_100, 1_010],
    "stacked-1d": [80, 204, 84, 184_500, 50_100, 1_010],
    "stacked-2d": [1_130, 2_004, 404, 18_500, 50_100, 1_010],
    "multi-tower": [904, 904, 904, 1_176_500, 50_100, 1_010],
    "lenet-wide": [1_184, 73_792, 3_212_288, 10_250],
}
HEAD = [0.5, 0.5]
DROPOUT = {
    "lenet5": [],
    "lenet5-padded": [],
    "lenet5-1998": [],
    "small-cnn": [0.5, 0.5],
    "mlp": [0.5, 0.4, 0.3],
    "cnn-1d": [0.5, *HEAD],
    "cnn-2d": [0.5, *HEAD],
    "stacked-1d-published": [0.3, *HEAD],
    "stacked-2d-published": [0.3, *HEAD],
    "stacked-1d": [0.5, 0.4, 0.3, *HEAD],
    "stacked-2d": [0.5, 0.4, 0.3, *HEAD],
    "multi-tower": [0.5, 0.5, 0.5, *HEAD],
    "lenet-wide": [0.5],
}
MAPS = {  # height of the maps, or their length, as they come out of the layers named
    "lenet5": ("conv1 pool1 conv2 pool2 conv3", [28, 14, 10, 5, 1]),
    "lenet5-padded": ("conv1 pool1 conv2 pool2", [28, 14, 10, 5]),
    "small-cnn": ("conv1 pool1 conv2 pool2 conv3 pool3", [26, 13, 11, 5, 3, 1]),
    "cnn-1d": ("row conv1 pool1", [784, 770, 385]),
    "cnn-2d": ("conv1 pool1", [14, 7]),
    "stacked-1d-published": ("row conv1 pool1", [784, 780, 390]),
    "stacked-2d-published": ("conv1 pool1", [24, 12]),
    "stacked-1d": ("row conv1 pool1 conv2 pool2 conv3 pool3", [784, 770, 385, 376, 188, 184, 92]),
    "stacked-2d": ("conv1 pool1 conv2 pool2 conv3 pool3", [28, 14, 14, 7, 7, 3]),
    "lenet-wide": ("conv1 pool1 conv2 pool2", [28, 14, 14, 7]),
}

# Table I of the 1998 paper: a row for each map of S2, a column for each map of C3.
TABLE_I = (
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
)


def batch_for(key, count=3):
    return torch.rand(count, *NETWORKS[key].input_size, generator=torch.Generator().manual_seed(0))


def test_the_networks_are_those_with_a_known_count():
    assert set(NETWORKS) == set(PARAMETERS)
    assert all(key == network.key for key, network in NETWORKS.items())


@pytest.mark.parametrize("key", NETWORKS)
def test_parameter_count_is_exact(key):
    assert sum(p.numel() for p in networks.build(key).parameters() if p.requires_grad) == PARAMETERS[key]


@pytest.mark.parametrize("key", NETWORKS)
def test_parameter_count_of_each_layer_is_exact(key):
    counts = [sum(p.numel() for p in layer.parameters(recurse=False)) for layer in networks.build(key).modules()]
    assert [count for count in counts if count] == PARTS[key]
    assert sum(counts) == PARAMETERS[key]


@pytest.mark.parametrize("key", NETWORKS)
def test_a_networks_description_says_its_parameters_and_its_input(key):
    words = NETWORKS[key].builder.__doc__
    assert f" {PARAMETERS[key]:,} parameters." in words
    assert "Input ``[B, {}, {}, {}]``".format(*NETWORKS[key].input_size) in words


def test_keys_and_titles_are_all_different():
    assert len({network.title for network in NETWORKS.values()}) == len(NETWORKS) == 13


@pytest.mark.parametrize("key", NETWORKS)
def test_a_batch_of_three_gives_ten_finite_logits_each(key):
    logits = networks.build(key, seed=0).eval()(batch_for(key))
    assert logits.shape == (3, 10)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize("key", NETWORKS)
def test_an_image_gets_the_same_logits_alone_and_in_a_batch(key):
    net, images = networks.build(key, seed=0).eval(), batch_for(key)
    torch.testing.assert_close(net(images[1:2]), net(images)[1:2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("key", NETWORKS)
def test_the_logits_are_no_probabilities(key):
    """A last softmax would be the mistake of applying it twice, since cross-entropy has one."""
    logits = networks.build(key, seed=0).eval()(batch_for(key))
    assert not torch.allclose(logits.sum(1), torch.ones(3), atol=1e-3)


@pytest.mark.parametrize("key", NETWORKS)
def test_a_gradient_reaches_every_layer(key):
    """In two batches, since dropout and ReLU leave some out of each."""
    net = networks.build(key, seed=0).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(2):
            F.cross_entropy(net(batch_for(key, 32)), torch.arange(32) % 10).backward()
    without = [name for name, p in net.named_parameters() if not p.requires_grad or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("key", NETWORKS)
def test_a_gradient_reaches_every_single_weight_where_relu_has_no_flat_side(key):
    net = networks.build(key, seed=0).eval()
    for layer in list(net.modules()):
        for name, child in layer.named_children():
            if isinstance(child, nn.ReLU):
                setattr(layer, name, nn.Softplus())
    F.cross_entropy(net(batch_for(key)), torch.arange(3)).backward()
    without = {name: int((p.grad == 0).sum()) for name, p in net.named_parameters() if not p.grad.all()}
    assert without == {}


@pytest.mark.parametrize("key", NETWORKS)
def test_the_seed_decides_the_weights(key):
    one, again, other = (nn.utils.parameters_to_vector(networks.build(key, seed).parameters()) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_without_a_seed_two_networks_differ():
    one, other = (nn.utils.parameters_to_vector(networks.build("lenet5").parameters()) for _ in range(2))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("key", NETWORKS)
def test_build_with_a_seed_leaves_the_callers_random_numbers_alone(key):
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    networks.build(key, seed=7)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_build_with_a_seed_leaves_the_callers_random_numbers_on_the_gpu_alone():
    before = torch.cuda.get_rng_state()
    networks.build("lenet5", seed=7)
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.parametrize("ask", [networks.build, networks.find])
def test_an_unknown_key_names_the_known_ones(ask):
    with pytest.raises(ValueError, match="unknown network 'lenet'; the networks are lenet5, lenet5-padded") as caught:
        ask("lenet")
    assert all(key in str(caught.value) for key in NETWORKS)


# LeNet-5 of 1998


def test_c3_sees_what_table_i_of_the_paper_says():
    assert [len(row) for row in TABLE_I] == [16] * 6
    by_map = tuple(tuple(i for i in range(6) if TABLE_I[i][j] == "X") for j in range(16))
    assert by_map == lenet1998.SparseC3.CONNECTIONS


def test_table_i_as_rows_of_columns():
    """The same table as numbers, so that a slip of the pen above would show."""
    columns = [
        (0, 4, 5, 6, 9, 10, 11, 12, 14, 15),
        (0, 1, 5, 6, 7, 10, 11, 12, 13, 15),
        (0, 1, 2, 6, 7, 8, 11, 13, 14, 15),
        (1, 2, 3, 6, 7, 8, 9, 12, 14, 15),
        (2, 3, 4, 7, 8, 9, 10, 12, 13, 15),
        (3, 4, 5, 8, 9, 10, 11, 13, 14, 15),
    ]
    assert [tuple(j for j, mark in enumerate(row) if mark == "X") for row in TABLE_I] == columns


@pytest.fixture
def c3():
    """Layer C3 with biases that are not all zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = lenet1998.SparseC3()
        nn.init.normal_(layer.bias)
    return layer


def slow_c3(layer, x):
    """Map by map and connection by connection, as the paper describes C3."""
    kernels, maps = iter(layer.weight), []
    for j in range(16):
        total = layer.bias[j]
        for i in range(6):
            if TABLE_I[i][j] == "X":
                windows = x[:, i].unfold(1, 5, 1).unfold(2, 5, 1)
                total = total + (windows * next(kernels)).sum((-1, -2))
        maps.append(total)
    assert next(kernels, None) is None
    return torch.stack(maps, 1)


def test_c3_equals_a_slow_computation_connection_by_connection(c3):
    x = torch.randn(2, 6, 14, 14, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(c3(x), slow_c3(c3, x), rtol=1e-4, atol=1e-5)


def test_c3_learns_as_the_slow_computation_does(c3):
    x = torch.randn(2, 6, 14, 14, generator=torch.Generator().manual_seed(1)).requires_grad_()
    wanted = [x, c3.weight, c3.bias]
    fast, slow = (torch.autograd.grad(maps.square().sum(), wanted) for maps in (c3(x), slow_c3(c3, x)))
    torch.testing.assert_close(fast, slow, rtol=1e-3, atol=1e-3)


def test_the_dense_kernels_of_c3_are_zero_where_the_table_has_no_x(c3):
    dense = c3.dense_weight()
    assert dense.shape == (16, 6, 5, 5)
    assert [[("X" if dense[j, i].any() else ".") for j in range(16)] for i in range(6)] == [list(row) for row in TABLE_I]


def test_c3_stays_sparse_when_it_is_trained(c3):
    optimizer = torch.optim.SGD(c3.parameters(), 0.1)
    c3(torch.ones(1, 6, 14, 14)).sum().backward()
    before = c3.dense_weight().detach().clone()
    optimizer.step()
    missing = torch.tensor([[mark == "." for mark in row] for row in TABLE_I]).T
    assert not c3.dense_weight()[missing].any()
    assert (c3.dense_weight() != before)[~missing].all()


@pytest.mark.parametrize("hidden", range(6))
def test_c3_maps_change_with_a_map_of_s2_only_where_the_table_has_an_x(c3, hidden):
    x = torch.randn(1, 6, 14, 14, generator=torch.Generator().manual_seed(1))
    other = x.clone()
    other[:, hidden] += 1
    changed = (c3(x) != c3(other)).flatten(2).any(2)[0]
    assert changed.tolist() == [mark == "X" for mark in TABLE_I[hidden]]


def test_rbf_output_is_minus_the_squared_distance_to_each_code():
    layer, x = lenet1998.RBFOutput(), torch.randn(5, 84, generator=torch.Generator().manual_seed(0))
    expected = -((x[:, None] - layer.codes) ** 2).sum(2)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-3)


def test_rbf_output_is_zero_at_the_code_itself_and_below_elsewhere():
    layer = lenet1998.RBFOutput()
    logits = layer(layer.codes)
    torch.testing.assert_close(logits.diagonal(), torch.zeros(10))
    assert (logits[~torch.eye(10, dtype=torch.bool)] < 0).all()


def test_the_digit_codes_are_ten_different_pictures_of_plus_and_minus_one():
    codes = lenet1998.digit_codes()
    assert codes.shape == (10, 84)
    assert set(codes.flatten().tolist()) == {-1, 1}
    assert len(codes.unique(dim=0)) == 10


def test_the_digit_codes_read_row_by_row():
    seven = "".join("#" if value > 0 else "." for value in lenet1998.digit_codes()[7].tolist())
    assert [seven[i : i + 7] for i in range(0, 84, 7)][:4] == ["#######", ".....##", ".....##", "....##."]


def test_the_codes_are_saved_but_not_trained():
    net = networks.build("lenet5-1998", seed=0)
    assert "output.codes" in net.state_dict()
    assert not any("codes" in name for name, _ in net.named_parameters())


def test_input_scale_and_squashing_are_those_of_the_paper():
    ends = lenet1998.InputScale()(torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(ends, torch.tensor([-0.1, 1.175]))
    squashed = lenet1998.ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0, 100.0]))
    torch.testing.assert_close(squashed, torch.tensor([-1.0, 0.0, 1.0, 1.7159]), rtol=0, atol=1e-4)


def test_subsampling_adds_each_window_and_scales_it():
    net, x = networks.build("lenet5-1998", seed=0), torch.randn(1, 6, 28, 28)
    scale = net.S2_scale
    windows = x.unfold(2, 2, 2).unfold(3, 2, 2).sum((-1, -2))
    expected = windows * scale.weight.view(6, 1, 1) + scale.bias.view(6, 1, 1)
    torch.testing.assert_close(scale(net.S2_sum(x)), expected)


@pytest.mark.parametrize(("name", "fan_in"), [("C1", 25), ("S2_scale", 4), ("S4_scale", 4), ("C5", 400), ("F6", 120)])
def test_first_weights_fill_the_papers_range(name, fan_in):
    layer = networks.build("lenet5-1998", seed=0).get_submodule(name)
    largest = layer.weight.abs().max().item()
    assert 0.5 * 2.4 / fan_in < largest <= 2.4 / fan_in
    assert not layer.bias.any()


@pytest.mark.parametrize("seen", [3, 4, 6])
def test_first_weights_of_c3_fill_the_range_of_the_map_that_they_belong_to(seen):
    """25 × 3, 25 × 4 or 25 × 6 weights go into a map; each map has its own largest weight."""
    c3, bound = networks.build("lenet5-1998", seed=0).C3, 2.4 / (25 * seen)
    maps = [kernels for kernels in c3.dense_weight() if kernels.flatten(1).any(1).sum() == seen]
    assert len(maps) == {3: 6, 4: 9, 6: 1}[seen]
    assert all(0.9 * bound < kernels.abs().max() <= bound for kernels in maps)
    assert not c3.bias.any()


def test_first_weights_of_c3_are_uniform():
    c3 = networks.build("lenet5-1998", seed=0).C3
    seen = torch.tensor([sum(row[j] == "X" for row in TABLE_I) for j in range(16) for row in TABLE_I if row[j] == "X"])
    shares = (c3.weight * (25 * seen / 2.4)[:, None, None]).flatten()  # of the range, −1 to 1
    assert torch.histc(shares, 4, -1, 1).div(1500).tolist() == pytest.approx([0.25] * 4, abs=0.04)


# The networks of R1, and the wide LeNet


def output_shapes(key):
    """{layer: shape of what it gives for one image}"""
    x, shapes = batch_for(key, 1), {}
    for name, layer in networks.build(key, seed=0).eval().named_children():
        x = layer(x)
        shapes[name] = tuple(x.shape[1:])
    return shapes


@pytest.mark.parametrize("key", MAPS)
def test_the_maps_have_the_sizes_of_the_source(key):
    layers, sizes = MAPS[key]
    shapes = output_shapes(key)
    assert [shapes[layer][-1] for layer in layers.split()] == sizes
    assert all(len(set(shape[1:])) < 2 for shape in shapes.values())  # as high as wide


@pytest.mark.parametrize(
    ("key", "layer", "shape"),
    [
        ("cnn-1d", "pool1", (5, 385)),
        ("cnn-2d", "pool1", (5, 7, 7)),
        ("stacked-1d-published", "pool1", (4, 390)),
        ("stacked-2d-published", "pool1", (4, 12, 12)),
        ("stacked-1d", "pool3", (4, 92)),
        ("stacked-2d", "pool3", (4, 3, 3)),
        ("multi-tower", "towers", (2352,)),
        ("lenet-wide", "pool2", (64, 7, 7)),
    ],
)
def test_what_the_linear_layers_get(key, layer, shape):
    assert output_shapes(key)[layer] == shape


@pytest.mark.parametrize("key", NETWORKS)
def test_dropout_rates_are_those_of_the_source(key):
    layers = [layer for layer in networks.build(key).modules() if "Dropout" in type(layer).__name__]
    assert [layer.p for layer in layers] == DROPOUT[key]
    assert {type(layer) for layer in layers} <= {nn.Dropout}  # single values, not whole maps


@pytest.mark.parametrize("key", [key for key, network in NETWORKS.items() if network.source == R1])
def test_every_convolution_of_r1_is_followed_by_relu_then_dropout_then_pooling(key):
    kinds = [type(layer).__name__ for layer in networks.build(key).modules() if not any(layer.children())]
    after = [kinds[place + 1 : place + 4] for place, kind in enumerate(kinds) if kind.startswith("Conv")]
    last = {"multi-tower": "Flatten"}.get(key, "MaxPool1d" if "1d" in key else "MaxPool2d")
    assert after == [["ReLU", "Dropout", last]] * len(after)
    assert len(after) == {"mlp": 0, "multi-tower": 3, "stacked-1d": 3, "stacked-2d": 3}.get(key, 1)


@pytest.mark.parametrize("key", ["cnn-1d", "stacked-1d-published", "stacked-1d"])
def test_the_row_of_pixels_is_read_line_by_line(key):
    image = torch.arange(784.0).view(1, 1, 28, 28)
    assert networks.build(key).row(image).tolist() == [[list(range(784))]]


@pytest.mark.parametrize("kind", ["1d", "2d"])
def test_only_in_the_really_stacked_networks_does_one_convolution_feed_another(kind):
    published, stacked = (
        [layer for layer in networks.build(key).modules() if isinstance(layer, nn.Conv1d | nn.Conv2d)]
        for key in (f"stacked-{kind}-published", f"stacked-{kind}")
    )
    assert [(conv.in_channels, conv.out_channels, conv.kernel_size[0]) for conv in published] == [(1, 4, 5)]
    assert [(conv.in_channels, conv.out_channels, conv.kernel_size[0]) for conv in stacked] == [
        (1, 5, 15),
        (5, 4, 10),
        (4, 4, 5),
    ]


def test_each_tower_has_784_values_of_14_by_14_maps():
    towers = networks.build("multi-tower", seed=0).eval().towers
    assert [tower(batch_for("multi-tower")).shape for tower in towers] == [(3, 784)] * 3
    assert [tower.conv(batch_for("multi-tower")).shape for tower in towers] == [(3, 4, 14, 14)] * 3


def test_towers_get_the_same_images_and_are_joined_in_their_order():
    x = torch.rand(3, 2)
    joined = Towers(nn.Identity(), nn.Linear(2, 1), nn.Hardtanh(0, 0.5))
    torch.testing.assert_close(joined(x), torch.cat([x, joined[1](x), x.clamp(max=0.5)], 1), rtol=0, atol=0)


def test_the_three_towers_begin_with_different_weights():
    towers = networks.build("multi-tower", seed=0).towers
    first, second, third = (nn.utils.parameters_to_vector(tower.parameters()) for tower in towers)
    assert not any(torch.equal(a, b) for a, b in ((first, second), (second, third), (first, third)))


def test_wide_lenet_begins_with_the_weights_of_its_source():
    """Normal with standard deviation 0.1, cut at ±0.2 (so 0.088 in all), and biases of 0.1."""
    net = networks.build("lenet-wide", seed=0)
    weights = torch.cat([p.flatten() for name, p in net.named_parameters() if name.endswith("weight")])
    assert weights.abs().max() <= 0.2
    assert weights.std().item() == pytest.approx(0.088, abs=0.001)
    assert all((p == 0.1).all() for name, p in net.named_parameters() if name.endswith("bias"))
