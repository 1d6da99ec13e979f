"""Every network is its source's, layer by layer; parameter counts alone could not see a dropout or a stride."""

import math

import pytest
import torch
from torch import nn

import mnistlib.lab  # noqa: F401 — registers the networks
from mnistlib.lab.networks import keras_initialisation
from mnistlib.layers import layer_table
from mnistlib.networks import NETWORKS, build

# Each layer of the source in the order in which it runs; stride 1 for convolutions and 2 for pooling unless stated.
HEAD = "linear 500 | relu | dropout .5 | linear 100 | relu | dropout .4 | linear 10"
LAYERS = {
    "lenet5": "conv 6 k5 | relu | pool | conv 16 k5 | relu | pool | conv 120 k5 | relu | flatten | linear 84 | relu"
    " | linear 10",
    "lenet5-padded": "conv 6 k5 p2 | relu | pool | conv 16 k5 | relu | pool | flatten | linear 120 | relu | linear 84"
    " | relu | linear 10",
    "small-cnn": "conv 32 k3 | relu | pool | conv 64 k3 | relu | pool | conv 128 k3 | relu | pool | flatten"
    " | dropout .5 | dropout .5 | linear 10",
    "mlp": "flatten | linear 500 | relu | dropout .5 | linear 100 | relu | dropout .4 | linear 25 | relu | dropout .3"
    " | linear 10",
    "cnn-1d": f"row | conv 5 k15 | relu | dropout .5 | pool | flatten | {HEAD}",
    "cnn-2d": f"conv 5 k15 | relu | dropout .5 | pool | flatten | {HEAD}",
    "stacked-1d-published": f"row | conv 4 k5 | relu | dropout .3 | pool | flatten | {HEAD}",
    "stacked-2d-published": f"conv 4 k5 | relu | dropout .3 | pool | flatten | {HEAD}",
    "stacked-1d": "row | conv 5 k15 | relu | dropout .5 | pool | conv 4 k10 | relu | dropout .4 | pool"
    f" | conv 4 k5 | relu | dropout .3 | pool | flatten | {HEAD}",
    "stacked-2d": "conv 5 k15 p7 | relu | dropout .5 | pool | pad 4 5 4 5 | conv 4 k10 | relu | dropout .4 | pool"
    f" | conv 4 k5 p2 | relu | dropout .3 | pool | flatten | {HEAD}",
    "multi-tower": f"{'conv 4 k15 | relu | dropout .5 | flatten | ' * 3}{HEAD}",
    "lenet-wide": "pad 2 3 2 3 | conv 32 k6 | relu | pool | pad 2 3 2 3 | conv 64 k6 | relu | pool | flatten"
    " | linear 1024 | relu | dropout .5 | linear 10",
}
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


def words(layer: nn.Module) -> str:
    """One layer as in `LAYERS`; anything unusual, such as a stride, shows."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        size, padding = set(layer.kernel_size), set(layer.padding)
        assert len(size) == len(padding) == 1
        assert set(layer.stride) == set(layer.dilation) == {layer.groups} == {1}
        assert layer.bias is not None
        return f"conv {layer.out_channels} k{size.pop()}" + (f" p{padding.pop()}" if padding != {0} else "")
    if isinstance(layer, nn.MaxPool1d | nn.MaxPool2d):
        assert (layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode) == (2, 2, 0, False)
        return "pool"
    if isinstance(layer, nn.Dropout):
        return f"dropout {layer.p:g}".replace("0.", ".")
    if isinstance(layer, nn.Linear):
        assert layer.bias is not None
        return f"linear {layer.out_features}"
    if isinstance(layer, nn.ZeroPad2d):
        return f"pad {' '.join(map(str, layer.padding))}"
    if isinstance(layer, nn.Flatten):
        return "flatten" if layer.start_dim == 1 else "row"
    assert type(layer) is nn.ReLU
    return "relu"


def test_the_registry_has_the_networks_in_their_order_with_their_parameters():
    assert list(NETWORKS) == list(PARAMETERS)
    for key, network in NETWORKS.items():
        net = network.build(0)
        assert sum(p.numel() for p in net.parameters() if p.requires_grad) == PARAMETERS[key], key
        assert int(layer_table(net, network.input_shape).loc["total", "parameters"]) == PARAMETERS[key], key
        assert net(torch.zeros(2, *network.input_shape)).shape == (2, 10)


@pytest.mark.parametrize("key", LAYERS)
def test_a_network_has_the_layers_of_its_source(key):
    leaves = [layer for layer in build(key, 0).modules() if not list(layer.children())]
    assert " | ".join(map(words, leaves)) == LAYERS[key]


def test_towers_get_the_same_images_and_their_outputs_are_concatenated():
    net, images = build("multi-tower", 0).eval(), torch.rand(2, 1, 28, 28)
    assert torch.equal(net.towers(images), torch.cat([tower(images) for tower in net.towers], 1))
    assert net.towers(images).shape == (2, 3 * 784)


def test_weights_are_drawn_in_the_order_of_the_layers():
    """Stored numbers depend on it."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        assert torch.equal(nn.Conv2d(1, 4, 15).weight, build("multi-tower", 4).towers[0].conv.weight)


@pytest.mark.parametrize("key", ["lenet-wide", "cnn-1d"])
def test_the_same_seed_gives_the_same_weights_and_leaves_the_callers_random_numbers_alone(key):
    before = torch.get_rng_state()
    one, same, other = (build(key, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(tensor, same[name]) for name, tensor in one.items())
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_wide_lenet_starts_from_cut_normal_weights():
    net = build("lenet-wide", 0)
    for layer in (net.conv1, net.conv2, net.linear1, net.linear2):
        assert layer.weight.abs().max() <= 0.2
        assert layer.weight.std().item() == pytest.approx(0.088, abs=0.01)  # a normal one cut at 2 sd
        assert (layer.bias == 0.1).all()


@pytest.mark.parametrize(
    ("layer", "fans"),
    [(nn.Linear(784, 500), 784 + 500), (nn.Conv2d(3, 8, 5), 25 * (3 + 8)), (nn.Conv1d(2, 64, 15), 15 * (2 + 64))],
)
def test_keras_draws_uniform_kernels_within_its_limit_and_zero_biases(layer, fans):
    limit = math.sqrt(6 / fans)
    keras_initialisation(layer, seed=3)
    assert 0.95 * limit < layer.weight.abs().max() <= limit
    assert layer.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.1)
    assert not layer.bias.any()
    first = layer.weight.clone()
    assert torch.equal(keras_initialisation(layer, seed=3).weight, first)
    assert not torch.equal(keras_initialisation(layer, seed=4).weight, first)
