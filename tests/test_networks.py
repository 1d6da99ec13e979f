"""Every network: its size to the parameter, its shapes, and LeNet-5 of 1998 as the paper describes it."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mnistlib import networks
from mnistlib.networks import NETWORKS

PARAMETERS = {"lenet5": 61_706, "lenet5-padded": 61_706, "lenet5-1998": 60_000, "small-cnn": 93_962, "lenet-wide": 3_297_514}

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


def parts(net):
    """Trainable parameters of each named layer that has any."""
    counts = {name: sum(p.numel() for p in layer.parameters()) for name, layer in net.named_children()}
    return [count for count in counts.values() if count]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("lenet5", [156, 2_416, 48_120, 10_164, 850]),
        ("lenet5-padded", [156, 2_416, 48_120, 10_164, 850]),
        ("lenet5-1998", [156, 12, 1_516, 32, 48_120, 10_164]),
        ("small-cnn", [320, 18_496, 73_856, 1_290]),
    ],
)
def test_parameter_count_of_each_layer_is_exact(key, expected):
    assert parts(networks.build(key)) == expected


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
def test_a_gradient_reaches_every_parameter(key):
    net = networks.build(key, seed=0)
    F.cross_entropy(net(batch_for(key, 32)), torch.arange(32) % 10).backward()
    without = [name for name, p in net.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert without == []


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
    assert by_map == networks.SparseC3.CONNECTIONS


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


def test_c3_equals_a_dense_convolution_with_the_missing_connections_at_zero():
    torch.manual_seed(0)
    layer = networks.SparseC3()
    dense, bias = torch.zeros(16, 6, 5, 5), torch.zeros(16)
    own = [*layer.threes.weight, *layer.fours.weight, *layer.all_six.weight]  # each [maps seen, 5, 5]
    for j in range(16):
        seen = [i for i in range(6) if TABLE_I[i][j] == "X"]
        dense[j, seen] = own[j].detach()
    bias[:] = torch.cat([layer.threes.bias, layer.fours.bias, layer.all_six.bias]).detach()
    x = torch.randn(2, 6, 14, 14)
    torch.testing.assert_close(layer(x), F.conv2d(x, dense, bias))


@pytest.mark.parametrize("hidden", range(6))
def test_c3_maps_change_with_a_map_of_s2_only_where_the_table_has_an_x(hidden):
    torch.manual_seed(0)
    layer, x = networks.SparseC3(), torch.randn(1, 6, 14, 14)
    other = x.clone()
    other[:, hidden] += 1
    changed = (layer(x) != layer(other)).flatten(2).any(2)[0]
    assert changed.tolist() == [mark == "X" for mark in TABLE_I[hidden]]


def test_rbf_output_is_minus_the_squared_distance_to_each_code():
    layer, x = networks.RBFOutput(), torch.randn(5, 84, generator=torch.Generator().manual_seed(0))
    expected = -((x[:, None] - layer.codes) ** 2).sum(2)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-3)


def test_rbf_output_is_zero_at_the_code_itself_and_below_elsewhere():
    layer = networks.RBFOutput()
    logits = layer(layer.codes)
    torch.testing.assert_close(logits.diagonal(), torch.zeros(10))
    assert (logits[~torch.eye(10, dtype=torch.bool)] < 0).all()


def test_the_digit_codes_are_ten_different_pictures_of_plus_and_minus_one():
    codes = networks.digit_codes()
    assert codes.shape == (10, 84)
    assert set(codes.flatten().tolist()) == {-1, 1}
    assert len(codes.unique(dim=0)) == 10


def test_the_digit_codes_read_row_by_row():
    seven = "".join("#" if value > 0 else "." for value in networks.digit_codes()[7].tolist())
    assert [seven[i : i + 7] for i in range(0, 84, 7)][:4] == ["#######", ".....##", ".....##", "....##."]


def test_the_codes_are_saved_but_not_trained():
    net = networks.build("lenet5-1998", seed=0)
    assert "output.codes" in net.state_dict()
    assert not any("codes" in name for name, _ in net.named_parameters())


def test_input_scale_and_squashing_are_those_of_the_paper():
    ends = networks.InputScale()(torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(ends, torch.tensor([-0.1, 1.175]))
    squashed = networks.ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0, 100.0]))
    torch.testing.assert_close(squashed, torch.tensor([-1.0, 0.0, 1.0, 1.7159]), rtol=0, atol=1e-4)


def test_subsampling_adds_each_window_and_scales_it():
    net, x = networks.build("lenet5-1998", seed=0), torch.randn(1, 6, 28, 28)
    scale = net.S2_scale
    windows = x.unfold(2, 2, 2).unfold(3, 2, 2).sum((-1, -2))
    expected = windows * scale.weight.view(6, 1, 1) + scale.bias.view(6, 1, 1)
    torch.testing.assert_close(scale(net.S2_sum(x)), expected)


@pytest.mark.parametrize(
    ("name", "fan_in"),
    [
        ("C1", 25),
        ("S2_scale", 4),
        ("C3.threes", 75),
        ("C3.fours", 100),
        ("C3.all_six", 150),
        ("S4_scale", 4),
        ("C5", 400),
        ("F6", 120),
    ],
)
def test_first_weights_fill_the_papers_range(name, fan_in):
    layer = networks.build("lenet5-1998", seed=0).get_submodule(name)
    largest = layer.weight.abs().max().item()
    assert 0.5 * 2.4 / fan_in < largest <= 2.4 / fan_in
    assert not layer.bias.any()


def test_wide_lenet_begins_with_the_weights_of_its_source():
    """Normal with standard deviation 0.1, cut at ±0.2 (so 0.088 in all), and biases of 0.1."""
    net = networks.build("lenet-wide", seed=0)
    weights = torch.cat([p.flatten() for name, p in net.named_parameters() if name.endswith("weight")])
    assert weights.abs().max() <= 0.2
    assert weights.std().item() == pytest.approx(0.088, abs=0.001)
    assert all((p == 0.1).all() for name, p in net.named_parameters() if name.endswith("bias"))
    shapes = [row for row in layer_shapes(net) if row.startswith(("32×", "64×"))]
    assert shapes[0] == "32×28×28"
    assert shapes[-1] == "64×7×7"


def layer_shapes(net):
    from mnistlib.counting import layer_table

    return layer_table(net, (1, 28, 28))["output shape"].tolist()
