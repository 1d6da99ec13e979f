"""The networks of the course. Each takes images ``[B, 1, H, W]`` in 0–1 and returns logits ``[B, 10]``.

A network is a plain ``nn.Sequential`` with named layers, so that a reader sees all of it, and
`NETWORKS` lists them by key. Parameter counts are exact: tests hold them to their sources.
LeNet-5 of 1998, whose layers PyTorch does not have, is in `lenet1998`.
"""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from mnistlib.lenet1998 import lenet5_1998


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


def mlp() -> nn.Sequential:
    """No convolution: the pixels as one row, three linear layers with dropout. 445,385 parameters.

    Input ``[B, 1, 28, 28]``. Source: nildip/DeepLearn_NUMBERS (R1). Introduced in notebook 05.
    """
    return _named(
        flatten=nn.Flatten(),
        linear1=nn.Linear(784, 500),
        relu1=nn.ReLU(),
        dropout1=nn.Dropout(0.5),
        linear2=nn.Linear(500, 100),
        relu2=nn.ReLU(),
        dropout2=nn.Dropout(0.4),
        linear3=nn.Linear(100, 25),
        relu3=nn.ReLU(),
        dropout3=nn.Dropout(0.3),
        linear4=nn.Linear(25, 10),
    )


def cnn_1d() -> nn.Sequential:
    """One convolution along the pixels as one row of 784. 1,014,190 parameters.

    Input ``[B, 1, 28, 28]``. Source: nildip/DeepLearn_NUMBERS (R1). Introduced in notebook 05.
    """
    return _named(
        row=nn.Flatten(2),
        conv1=nn.Conv1d(1, 5, 15),
        relu1=nn.ReLU(),
        dropout1=nn.Dropout(0.5),
        pool1=nn.MaxPool1d(2),
        flatten=nn.Flatten(),
        **_head(5 * 385),
    )


def cnn_2d() -> nn.Sequential:
    """One convolution with large filters of 15×15. 175,240 parameters.

    Input ``[B, 1, 28, 28]``. Source: nildip/DeepLearn_NUMBERS (R1). Introduced in notebook 05.
    """
    return _named(
        conv1=nn.Conv2d(1, 5, 15),
        relu1=nn.ReLU(),
        dropout1=nn.Dropout(0.5),
        pool1=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        **_head(5 * 7 * 7),
    )


def stacked_1d_published() -> nn.Sequential:
    """What R1's "stacked" 1D network computes: only the last of its three convolutions. 831,634 parameters.

    Its code gives every convolution the image itself, so that the last one alone has an effect.
    Input ``[B, 1, 28, 28]``. Source: nildip/DeepLearn_NUMBERS (R1). Introduced in notebook 05.
    """
    return _named(
        row=nn.Flatten(2),
        conv1=nn.Conv1d(1, 4, 5),
        relu1=nn.ReLU(),
        dropout1=nn.Dropout(0.3),
        pool1=nn.MaxPool1d(2),
        flatten=nn.Flatten(),
        **_head(4 * 390),
    )


def stacked_2d_published() -> nn.Sequential:
    """What R1's "stacked" 2D network computes: only the last of its three convolutions. 339,714 parameters.

    Input ``[B, 1, 28, 28]``. Source: nildip/DeepLearn_NUMBERS (R1). Introduced in notebook 05.
    """
    return _named(
        conv1=nn.Conv2d(1, 4, 5),
        relu1=nn.ReLU(),
        dropout1=nn.Dropout(0.3),
        pool1=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        **_head(4 * 12 * 12),
    )


def stacked_1d() -> nn.Sequential:
    """R1's three 1D convolutions, really one after the other. 235,978 parameters.

    Input ``[B, 1, 28, 28]``. Source: the intent of nildip/DeepLearn_NUMBERS (R1). Introduced in notebook 05.
    """
    return _named(
        row=nn.Flatten(2),
        conv1=nn.Conv1d(1, 5, 15),
        relu1=nn.ReLU(),
        dropout1=nn.Dropout(0.5),
        pool1=nn.MaxPool1d(2),
        conv2=nn.Conv1d(5, 4, 10),
        relu2=nn.ReLU(),
        dropout2=nn.Dropout(0.4),
        pool2=nn.MaxPool1d(2),
        conv3=nn.Conv1d(4, 4, 5),
        relu3=nn.ReLU(),
        dropout3=nn.Dropout(0.3),
        pool3=nn.MaxPool1d(2),
        flatten=nn.Flatten(),
        **_head(4 * 92),
    )


def stacked_2d() -> nn.Sequential:
    """R1's three 2D convolutions, really one after the other, each keeping the map's size. 73,148 parameters.

    Input ``[B, 1, 28, 28]``. Source: the intent of nildip/DeepLearn_NUMBERS (R1). Introduced in notebook 05.
    """
    return _named(
        conv1=nn.Conv2d(1, 5, 15, padding=7),
        relu1=nn.ReLU(),
        dropout1=nn.Dropout(0.5),
        pool1=nn.MaxPool2d(2),
        pad2=nn.ZeroPad2d((4, 5, 4, 5)),  # the map keeps its size under a kernel of 10
        conv2=nn.Conv2d(5, 4, 10),
        relu2=nn.ReLU(),
        dropout2=nn.Dropout(0.4),
        pool2=nn.MaxPool2d(2),
        conv3=nn.Conv2d(4, 4, 5, padding=2),
        relu3=nn.ReLU(),
        dropout3=nn.Dropout(0.3),
        pool3=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        **_head(4 * 3 * 3),
    )


def multi_tower() -> nn.Sequential:
    """Three convolutions of 15×15 side by side, their maps joined. 1,230,322 parameters.

    Input ``[B, 1, 28, 28]``. Source: nildip/DeepLearn_NUMBERS (R1). Introduced in notebook 04.
    """

    def tower():
        return _named(conv=nn.Conv2d(1, 4, 15), relu=nn.ReLU(), dropout=nn.Dropout(0.5), flatten=nn.Flatten())

    return _named(towers=Towers(tower(), tower(), tower()), **_head(3 * 4 * 14 * 14))


class Towers(nn.ModuleList):
    """Networks side by side: each gets the same images, and their answers ``[B, n]`` are joined to ``[B, sum of n]``."""

    def __init__(self, *towers: nn.Module):
        super().__init__(towers)

    def forward(self, x):
        return torch.cat([tower(x) for tower in self], dim=1)


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


def _head(inputs: int) -> dict[str, nn.Module]:
    """The three linear layers in which all but one of R1's networks end."""
    return dict(
        linear1=nn.Linear(inputs, 500),
        head_relu1=nn.ReLU(),
        head_dropout1=nn.Dropout(0.5),
        linear2=nn.Linear(500, 100),
        head_relu2=nn.ReLU(),
        head_dropout2=nn.Dropout(0.5),
        linear3=nn.Linear(100, 10),
    )


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


R1 = "nildip/DeepLearn_NUMBERS"
NETWORKS = {
    network.key: network
    for network in (
        Network("lenet5", "LeNet-5, modified", lenet5, (1, 32, 32), "Peachypie98/mnist-lenet"),
        Network("lenet5-padded", "LeNet-5, padded", lenet5_padded, (1, 28, 28), "antoine-spahr/MNIST-LeNet5-Pytorch"),
        Network("lenet5-1998", "LeNet-5 of 1998", lenet5_1998, (1, 32, 32), "LeCun et al. 1998"),
        Network("small-cnn", "small CNN", small_cnn, (1, 28, 28), "Keras example network"),
        Network("mlp", "MLP", mlp, (1, 28, 28), R1),
        Network("cnn-1d", "1D CNN", cnn_1d, (1, 28, 28), R1),
        Network("cnn-2d", "2D CNN", cnn_2d, (1, 28, 28), R1),
        Network("stacked-1d-published", "stacked 1D CNN, as published", stacked_1d_published, (1, 28, 28), R1),
        Network("stacked-2d-published", "stacked 2D CNN, as published", stacked_2d_published, (1, 28, 28), R1),
        Network("stacked-1d", "stacked 1D CNN, really stacked", stacked_1d, (1, 28, 28), R1),
        Network("stacked-2d", "stacked 2D CNN, really stacked", stacked_2d, (1, 28, 28), R1),
        Network("multi-tower", "multi-tower 2D CNN", multi_tower, (1, 28, 28), R1),
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


@contextmanager
def channels_last(net: nn.Module):
    """In the block, the weights of ``net`` lie with their channels side by side in memory; after it, as they lay before.

    The values are the same. A processor convolves and pools 1.1 to 3 times as fast with them.
    """
    contiguous = all(parameter.is_contiguous() for parameter in net.parameters())  # not so in a block within such a block
    net.to(memory_format=torch.channels_last)
    try:
        yield net
    finally:
        if contiguous:
            net.to(memory_format=torch.contiguous_format)
