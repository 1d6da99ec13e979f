"""The networks that the course teaches. Each takes images ``[B, 1, H, W]`` in 0–1 and returns logits ``[B, 10]``.

A network is a plain ``nn.Sequential`` with named layers, so that you can see all of it. `NETWORKS` lists the networks
by key. ``import mnistlib.lab`` adds LeNet-5 as it was published in 1998 and ten networks to compare.
"""

import operator
from collections import OrderedDict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from mnistlib.base.checks import checked


def lenet5() -> nn.Sequential:
    """LeNet-5 as most people build it today, with ReLU, max pooling, and C5 as a convolution. 61,706 parameters.

    Input ``[B, 1, 32, 32]``. Source: the layer table of Peachypie98/mnist-lenet. Introduced in notebook 02.
    """
    return named(
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
    """LeNet-5 for images of 28×28: the first convolution pads by 2, and C5 is a linear layer. 61,706 parameters.

    Input ``[B, 1, 28, 28]``. Source: antoine-spahr/MNIST-LeNet5-Pytorch. Introduced in notebook 02.
    """
    return named(
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


def named(**layers: nn.Module) -> nn.Sequential:
    """Return an ``nn.Sequential`` whose layers have these names."""
    return nn.Sequential(OrderedDict(layers))


@dataclass(frozen=True)
class Network:
    """How to build one network, and what it takes: ``input_shape`` is (channels, height, width)."""

    key: str
    title: str
    builder: Callable[[], nn.Module]
    input_shape: tuple[int, int, int]
    source: str

    @checked
    def build(self, seed: int | None = None) -> nn.Module:
        """Return a new network with random weights; the same ``seed`` always gives the same weights."""
        if seed is None:
            return self.builder()
        with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
            torch.default_generator.manual_seed(operator.index(seed) % 2**64)  # the CPU's generator draws the weights
            return self.builder()


NETWORKS: dict[str, Network] = {}


def register(*networks: Network) -> None:
    """Add networks to `NETWORKS`."""
    NETWORKS.update({network.key: network for network in networks})


register(
    Network("lenet5", "LeNet-5, modified", lenet5, (1, 32, 32), "Peachypie98/mnist-lenet"),
    Network("lenet5-padded", "LeNet-5, padded", lenet5_padded, (1, 28, 28), "antoine-spahr/MNIST-LeNet5-Pytorch"),
)


@checked
def find(key: str) -> Network:
    """Return the entry of `NETWORKS` for ``key``. Raises ValueError, which lists the keys, when there is none."""
    if key not in NETWORKS:
        raise ValueError(f"unknown network {key!r}; there are {', '.join(NETWORKS)}. `import mnistlib.lab` adds more.")
    return NETWORKS[key]


def build(key: str, seed: int | None = None) -> nn.Module:
    """Return a new network by its key, as in ``build("lenet5", seed=1)``. Raises ValueError. Notebook 02."""
    return find(key).build(seed)


@contextmanager
def evaluating(net: nn.Module):
    """In this block every module of ``net`` is in evaluation mode; afterwards each has its old mode again."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield net
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def channels_last(net: nn.Module):
    """In this block the channels lie side by side in memory: a CPU is up to 3 times as fast, and no value changes."""
    contiguous = all(parameter.is_contiguous() for parameter in net.parameters())  # False in a nested block
    net.to(memory_format=torch.channels_last)
    try:
        yield net
    finally:
        if contiguous:
            net.to(memory_format=torch.contiguous_format)
