"""The networks and the layer table: exact counts, held to torchinfo and PyTorch, and LeNet-5 of 1998 as published."""

import numpy as np
import pytest
import torch
import torchinfo
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import mnistlib.lab  # noqa: F401 — registers its networks
from mnistlib import networks
from mnistlib.lab import lenet1998
from mnistlib.layers import layer_table
from mnistlib.networks import NETWORKS

COUNTS = {  # parameters of the layers that have any, in order, and multiply-adds for one image
    "lenet5": ([156, 2_416, 48_120, 10_164, 850], 416_520),
    "lenet5-padded": ([156, 2_416, 48_120, 10_164, 850], 416_520),
    "lenet5-1998": ([156, 12, 1_516, 32, 48_120, 10_164], 328_096),
    "small-cnn": ([320, 18_496, 73_856, 1_290], 3_089_792),
    "mlp": ([392_500, 50_100, 2_525, 260], 444_750),
    "cnn-1d": ([80, 963_000, 50_100, 1_010], 1_071_250),
    "cnn-2d": ([1_130, 123_000, 50_100, 1_010], 394_000),
    "stacked-1d-published": ([24, 780_500, 50_100, 1_010], 846_600),
    "stacked-2d-published": ([104, 288_500, 50_100, 1_010], 396_600),
    "stacked-1d": ([80, 204, 84, 184_500, 50_100, 1_010], 382_670),
    "stacked-2d": ([1_130, 2_004, 404, 18_500, 50_100, 1_010], 1_362_600),
    "multi-tower": ([904, 904, 904, 1_176_500, 50_100, 1_010], 1_756_200),
    "lenet-wide": ([1_184, 73_792, 3_212_288, 10_250], 18_575_360),
}


def half_the_flops(net, input_shape):
    """What PyTorch counts for one image: a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, *input_shape))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("key", COUNTS)
def test_every_count_is_exact_and_torchinfo_and_pytorch_agree(key):
    (parameters, mult_adds), network = COUNTS[key], NETWORKS[key]
    net = network.build(seed=0).eval()
    table = layer_table(net, network.input_shape)
    assert [count for count in table["parameters"][:-1] if count] == parameters
    assert table.loc["total", "parameters"] == sum(parameters)
    assert torchinfo.summary(net, (1, *network.input_shape), verbose=0).trainable_params == sum(parameters)
    assert table.loc["total", "mult-adds"] == table["mult-adds"][:-1].sum() == mult_adds
    dense = mult_adds + (90_000 if key == "lenet5-1998" else 0)  # PyTorch counts the zeros of C3 too
    assert half_the_flops(net, network.input_shape) == dense
    tops = list(dict.fromkeys(name.split(".")[0] for name in table.index[:-1]))
    assert tops == [name for name, _ in net.named_children()]


def test_every_network_gives_logits_image_by_image_and_learns_in_every_layer():
    assert list(NETWORKS) == list(COUNTS)
    for network in NETWORKS.values():
        images = torch.rand(32, *network.input_shape, generator=torch.Generator().manual_seed(0))
        net = network.build(seed=0).eval()
        logits = net(images)
        assert (logits.shape, logits.dtype) == ((32, 10), torch.float32)
        torch.testing.assert_close(net(images[1:2]), logits[1:2], rtol=1e-4, atol=1e-4)
        assert not torch.allclose(logits.sum(1), torch.ones(32), atol=1e-3)  # no softmax at the end
        F.cross_entropy(logits, torch.arange(32) % 10).backward()
        assert [name for name, p in net.named_parameters() if not p.grad.any()] == []


def test_the_seed_decides_the_weights_and_the_callers_random_numbers_stay():
    before = torch.get_rng_state()
    nets = [networks.build("lenet5", seed) for seed in (3, np.int64(3), torch.tensor(3), 4, 10**23)]
    assert torch.equal(torch.get_rng_state(), before)
    one, *same, other, _ = [nn.utils.parameters_to_vector(net.parameters()) for net in nets]
    assert all(torch.equal(one, vector) for vector in same)
    assert not torch.equal(one, other)
    assert not torch.equal(*(networks.build("lenet5").linear2.weight for _ in range(2)))
    with pytest.raises(TypeError):
        networks.build("lenet5", 1.5)
    with pytest.raises(ValueError, match=r"unknown network 'lenet'; there are lenet5, lenet5-padded.*mnistlib\.lab"):
        networks.build("lenet")


def test_the_table_of_lenet5_is_the_published_one():
    table = layer_table(networks.build("lenet5"), (1, 32, 32))
    published = {"conv1": "((5×5×1)+1)×6", "conv2": "((5×5×6)+1)×16", "conv3": "((5×5×16)+1)×120"}
    published |= {"linear1": "(120+1)×84", "linear2": "(84+1)×10"}
    assert {name: formula for name, formula in table["formula"].items() if formula} == published
    assert table.loc[list(published), "mult-adds"].tolist() == [117_600, 240_000, 48_000, 10_080, 840]
    assert table.loc[["pool1", "conv3", "flatten"], "output shape"].tolist() == ["6×14×14", "120×1×1", "120"]


class Product(nn.Module):
    """A matrix of its own, used by a plain function, and a layer that is never used."""

    def __init__(self):
        super().__init__()
        self.weight, self.inner, self.spare = nn.Parameter(torch.randn(4, 4)), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.inner(x) @ self.weight


LINEAR, SHARING = nn.Linear(4, 4), nn.Linear(4, 4)
SHARING.weight = LINEAR.weight
BROUGHT = {  # networks that a student may bring, the input, and the rows: (layer, formula, parameters, multiply-adds)
    nn.Conv2d(4, 8, 3, groups=2): ((4, 10, 10), [("Conv2d", "((3×3×2)+1)×8", 152, 9_216)]),
    nn.Conv2d(1, 2, (3, 5), 2, 1, bias=False): ((1, 9, 9), [("Conv2d", "(3×5×1)×2", 30, 600)]),
    nn.ConvTranspose2d(2, 3, 2, 2): ((2, 4, 4), [("ConvTranspose2d", "2×3×2×2 + 3", 27, 384)]),
    nn.BatchNorm2d(6): ((6, 2, 2), [("BatchNorm2d", "6 + 6", 12, 0)]),
    nn.Sequential(LINEAR, LINEAR): ((4,), [("0", "(4+1)×4", 20, 16), ("0", "", 0, 16)]),
    nn.Sequential(LINEAR, SHARING): ((4,), [("0", "(4+1)×4", 20, 16), ("1", "4", 4, 16)]),
    nn.Linear(4, 3).requires_grad_(False): ((4,), [("Linear", "", 0, 12)]),
    Product(): ((4,), [("inner", "(4+1)×4", 20, 16), ("Product", "4×4", 16, 16), ("(not used)", "3×4 + 3", 15, 0)]),
}


def test_the_table_of_a_network_that_a_student_brings():
    for net, (input_shape, rows) in BROUGHT.items():
        table = layer_table(net, input_shape)
        assert list(table[["formula", "parameters", "mult-adds"]].itertuples(name=None))[:-1] == rows
        assert table.loc["total", "mult-adds"] == half_the_flops(net.eval(), input_shape)


def test_an_image_that_does_not_fit_is_named_and_the_network_stays_as_it_was():
    net = networks.build("small-cnn", seed=0)
    net.dropout1.eval()
    for shape in ((3, 32, 32), (32,)):
        with pytest.raises(ValueError, match=f"cannot take an image of {'×'.join(map(str, shape))}: "):
            layer_table(net, shape)
    assert [name for name, module in net.named_modules() if not module.training] == ["dropout1"]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


TABLE_I = (
    *("X...XXX..XXXX.XX", "XX...XXX..XXXX.X", "XXX...XXX..X.XXX"),
    *(".XXX..XXXX..X.XX", "..XXX..XXXX.XX.X", "...XXX..XXXX.XXX"),
)


def test_c3_computes_what_table_i_of_the_paper_says_and_stays_sparse_in_training():
    c3, x = (
        networks.build("lenet5-1998", seed=0).C3,
        torch.randn(2, 6, 14, 14, generator=torch.Generator().manual_seed(1)),
    )
    nn.init.normal_(c3.bias)
    kernels, maps = iter(c3.weight), []
    for j in range(16):  # map by map and connection by connection
        windows = [x[:, i].unfold(1, 5, 1).unfold(2, 5, 1) for i in range(6) if TABLE_I[i][j] == "X"]
        maps.append(c3.bias[j] + sum((window * next(kernels)).sum((-1, -2)) for window in windows))
    assert next(kernels, None) is None
    torch.testing.assert_close(c3(x), torch.stack(maps, 1), rtol=1e-4, atol=1e-5)
    connected = torch.tensor([[mark == "X" for mark in row] for row in TABLE_I]).T
    assert torch.equal(c3.dense_weight().flatten(2).any(2), connected)


def test_the_layers_of_1998_are_those_of_the_paper():
    net, x = networks.build("lenet5-1998", seed=0), torch.randn(5, 84, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net.output(x), -((x[:, None] - net.output.codes) ** 2).sum(2), rtol=1e-5, atol=1e-3)
    assert net.output(net.output.codes).argmax(1).tolist() == list(range(10))
    assert "output.codes" in net.state_dict()
    seven = ["".join(".#"[value > 0] for value in row) for row in lenet1998.digit_codes()[7].view(12, 7)]
    assert seven[:4] == ["#######", ".....##", ".....##", "....##."]
    torch.testing.assert_close(net.scale(torch.tensor([0.0, 1.0])), torch.tensor([-0.1, 1.175]))
    squashed = net.tanh1(torch.tensor([-1.0, 0.0, 1.0, 100.0]))
    torch.testing.assert_close(squashed, torch.tensor([-1.0, 0.0, 1.0, 1.7159]), rtol=0, atol=1e-4)
    for kernels in net.C3.dense_weight():
        bound = 2.4 / (25 * kernels.flatten(1).any(1).sum())
        assert 0.9 * bound < kernels.abs().max() <= bound
