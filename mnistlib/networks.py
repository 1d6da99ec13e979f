"""The networks of the course. Each takes images ``[B, 1, H, W]`` in 0–1 and returns logits ``[B, 10]``.

A network is a plain ``nn.Sequential`` with named layers, so that a reader sees all of it, and
`NETWORKS` lists them by key. Parameter counts are exact: tests hold them to their sources.
"""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


def lenet5() -> nn.Sequential:
    """LeNet-5 as it is mostly built today: ReLU and max pooling, C5 as a convolution. 61,706 parameters.

    Input ``[B, 1, 32, 32]``. Source: the layer table of Peachypie98/mnist-lenet. Introduced in notebook 02.
    """
    return _named(
        conv1=nn.Conv2d(1, 6, 5),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 16, 5),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        conv3=nn.Conv2d(16, 120, 5),
        relu3=nn.ReLU(),
        flatten=nn.Flatten(),
        linear1=nn.Linear(120, 84),
        relu4=nn.ReLU(),
        linear2=nn.Linear(84, 10),
    )


def lenet5_padded() -> nn.Sequential:
    """LeNet-5 for 28×28 images: the first convolution pads by 2, C5 is a linear layer. 61,706 parameters.

    Input ``[B, 1, 28, 28]``. Source: antoine-spahr/MNIST-LeNet5-Pytorch. Introduced in notebook 02.
    """
    return _named(
        conv1=nn.Conv2d(1, 6, 5, padding=2),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 16, 5),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        linear1=nn.Linear(400, 120),
        relu3=nn.ReLU(),
        linear2=nn.Linear(120, 84),
        relu4=nn.ReLU(),
        linear3=nn.Linear(84, 10),
    )


def small_cnn() -> nn.Sequential:
    """Three 3×3 convolutions, then one linear layer. 93,962 parameters.

    Input ``[B, 1, 28, 28]``. Source: a Keras example network (R2). Introduced in notebook 02.
    """
    return _named(
        conv1=nn.Conv2d(1, 32, 3),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(32, 64, 3),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        conv3=nn.Conv2d(64, 128, 3),
        relu3=nn.ReLU(),
        pool3=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        dropout1=nn.Dropout(0.5),
        dropout2=nn.Dropout(0.5),
        linear=nn.Linear(128, 10),
    )


def lenet_wide() -> nn.Sequential:
    """A LeNet of 6×6 convolutions with 32 and 64 maps and a linear layer of 1,024. 3,297,514 parameters.

    Input ``[B, 1, 28, 28]``. Weights start from a normal distribution of standard deviation 0.1, cut at ±0.2, biases
    from 0.1. Source: Maple-Lazuli/shenanigans (R0). Introduced in notebook 08.
    """
    net = _named(
        pad1=nn.ZeroPad2d((2, 3, 2, 3)),  # the map keeps its size under a kernel of 6
        conv1=nn.Conv2d(1, 32, 6),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        pad2=nn.ZeroPad2d((2, 3, 2, 3)),
        conv2=nn.Conv2d(32, 64, 6),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        linear1=nn.Linear(3136, 1024),
        relu3=nn.ReLU(),
        dropout=nn.Dropout(0.5),
        linear2=nn.Linear(1024, 10),
    )
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.1, a=-0.2, b=0.2)
            nn.init.constant_(layer.bias, 0.1)
    return net


def lenet5_1998() -> nn.Sequential:
    """LeNet-5 as published: sparse C3, trainable subsampling, scaled tanh, RBF outputs. 60,000 parameters.

    Input ``[B, 1, 32, 32]``. The answer is minus the squared distance to each digit's code, so
    that, as with all logits, the largest wins. Source: LeCun, Bottou, Bengio and Haffner,
    "Gradient-based learning applied to document recognition", 1998, section II.B and appendix A.
    Introduced in notebook 02.
    """
    net = _named(
        scale=InputScale(),
        C1=nn.Conv2d(1, 6, 5),
        tanh1=ScaledTanh(),
        S2_sum=nn.AvgPool2d(2, divisor_override=1),  # each 2×2 window added up …
        S2_scale=nn.Conv2d(6, 6, 1, groups=6),  # … times one weight a map, plus one bias a map
        tanh2=ScaledTanh(),
        C3=SparseC3(),
        tanh3=ScaledTanh(),
        S4_sum=nn.AvgPool2d(2, divisor_override=1),
        S4_scale=nn.Conv2d(16, 16, 1, groups=16),
        tanh4=ScaledTanh(),
        C5=nn.Conv2d(16, 120, 5),
        tanh5=ScaledTanh(),
        flatten=nn.Flatten(),
        F6=nn.Linear(120, 84),
        tanh6=ScaledTanh(),
        output=RBFOutput(),
    )
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):  # the paper: uniform within ±2.4 / fan-in
            fan_in = 4 if name.endswith("_scale") else layer.weight[0].numel()
            nn.init.uniform_(layer.weight, -2.4 / fan_in, 2.4 / fan_in)
            nn.init.zeros_(layer.bias)
    return net


class InputScale(nn.Module):
    """Pixels in 0–1 to the paper's −0.1 (paper) to 1.175 (ink): mean near 0, variance near 1."""

    def forward(self, x):
        return 1.275 * x - 0.1


class ScaledTanh(nn.Module):
    """The paper's squashing function, 1.7159 tanh(2x/3), which maps ±1 to ±1."""

    def forward(self, x):
        return 1.7159 * torch.tanh(2 / 3 * x)


class SparseC3(nn.Module):
    """Layer C3 of 1998: map j sees only the S2 maps of ``CONNECTIONS[j]`` (the paper's table I).

    ``[B, 6, 14, 14]`` to ``[B, 16, 10, 10]``. Six maps see three neighbours each, nine see four, the last
    sees all six: three grouped convolutions, with 456 + 909 + 151 = 1,516 parameters.
    """

    CONNECTIONS = (
        *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
        *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
        *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
        (0, 1, 2, 3, 4, 5),
    )

    def __init__(self):
        super().__init__()
        self.threes = nn.Conv2d(6 * 3, 6, 5, groups=6)
        self.fours = nn.Conv2d(9 * 4, 9, 5, groups=9)
        self.all_six = nn.Conv2d(6, 1, 5)
        self.see_three = sum(self.CONNECTIONS[:6], ())
        self.see_four = sum(self.CONNECTIONS[6:15], ())

    def forward(self, x):
        return torch.cat([self.threes(x[:, self.see_three]), self.fours(x[:, self.see_four]), self.all_six(x)], dim=1)


class RBFOutput(nn.Module):
    """Minus the squared distance of the 84 values of F6 to each digit's fixed code of ±1.

    ``[B, 84]`` to ``[B, 10]``. The codes are a buffer, not parameters: they are drawn, not learned. ``|x − c|²``
    is written out as ``|x|² − 2 x·c + 84``.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("codes", digit_codes().float())

    def forward(self, x):
        return 2 * F.linear(x, self.codes) - x.square().sum(1, keepdim=True) - 84


DIGIT_CODES = """
..###.. ...##.. .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
.##.##. ..###.. ##...## ##...## ...###. ##..... .##.... .....## ##...## ##...##
##...## .####.. .....## .....## ..####. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## .##.##. ##..... ##..... ....##. ##...## ##...##
##...## ...##.. ....##. ....##. .##.##. ######. ######. ....##. .##.##. ##...##
##...## ...##.. ...##.. ..###.. ##..##. .....## ##...## ...##.. ..###.. ##...##
##...## ...##.. ..##... ....##. ##..##. .....## ##...## ...##.. .##.##. .######
##...## ...##.. .##.... .....## ####### .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... .....## ....##. .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... .....## ....##. .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ....##. ##...## ##...## .##.... ##...## ....##.
..###.. .###### ####### .#####. ....##. .#####. .#####. .##.... .#####. .####..
"""


def digit_codes() -> torch.Tensor:
    """Each digit of `DIGIT_CODES` as a row, ink +1 and paper −1: int64 ``[10, 84]``.

    The paper prints such 7×12 pictures for all of ASCII; these ten are drawn for this course in that style.
    """
    rows = [line.split() for line in DIGIT_CODES.split("\n")[1:-1]]
    return torch.tensor([[1 if c == "#" else -1 for row in rows for c in row[digit]] for digit in range(10)])


def _named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


@dataclass(frozen=True)
class Network:
    """How to build one network, and what it takes: ``input_size`` is (channels, height, width)."""

    key: str
    title: str
    builder: Callable[[], nn.Module]
    input_size: tuple[int, int, int]
    source: str

    def build(self, seed: int | None = None) -> nn.Module:
        """A new network with random weights; the same ``seed`` always gives the same weights."""
        if seed is None:
            return self.builder()
        with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
            torch.default_generator.manual_seed(seed)  # the CPU's alone, where weights are made
            return self.builder()


NETWORKS = {
    network.key: network
    for network in (
        Network("lenet5", "LeNet-5, modified", lenet5, (1, 32, 32), "Peachypie98/mnist-lenet"),
        Network("lenet5-padded", "LeNet-5, padded", lenet5_padded, (1, 28, 28), "antoine-spahr/MNIST-LeNet5-Pytorch"),
        Network("lenet5-1998", "LeNet-5 of 1998", lenet5_1998, (1, 32, 32), "LeCun et al. 1998"),
        Network("small-cnn", "small CNN", small_cnn, (1, 28, 28), "Keras example network"),
        Network("lenet-wide", "LeNet variant, wide", lenet_wide, (1, 28, 28), "Maple-Lazuli/shenanigans"),
    )
}


def find(key: str) -> Network:
    """The entry of `NETWORKS` for ``key``; ValueError names the keys when there is none."""
    if key not in NETWORKS:
        raise ValueError(f"unknown network {key!r}; the networks are {', '.join(NETWORKS)}.")
    return NETWORKS[key]


def build(key: str, seed: int | None = None) -> nn.Module:
    """A new network by its key, e.g. ``build("lenet5", seed=1)``. ValueError for an unknown key. Notebook 02."""
    return find(key).build(seed)


@contextmanager
def evaluating(net: nn.Module):
    """In the block, every part of ``net`` is in evaluation mode; after it, in the mode that it had."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield net
    finally:
        for module, mode in modes.items():
            module.training = mode
