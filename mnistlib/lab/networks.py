"""The networks of other projects, which notebook 05 compares. Importing this module adds them to `NETWORKS`.

Each takes images ``[B, 1, 28, 28]`` in 0–1 and returns logits ``[B, 10]``. A test holds every layer, stride, padding
and dropout probability to the source, which `NETWORKS` names.
"""

from functools import partial
from itertools import pairwise

import torch
from torch import nn

from mnistlib.lab.lenet1998 import lenet5_1998
from mnistlib.networks import Network, named, register


def small_cnn() -> nn.Sequential:
    """Three 3×3 convolutions and one linear layer. Introduced in notebook 02."""
    return named(
        **_block(1, nn.Conv2d(1, 32, 3)),
        **_block(2, nn.Conv2d(32, 64, 3)),
        **_block(3, nn.Conv2d(64, 128, 3)),
        flatten=nn.Flatten(),
        dropout1=nn.Dropout(0.5),
        dropout2=nn.Dropout(0.5),
        linear=nn.Linear(128, 10),
    )


def stacked_1d() -> nn.Sequential:
    """Three 1D convolutions one after the other, as the source intended. Introduced in notebook 05."""
    return named(
        row=nn.Flatten(2),
        **_block(1, nn.Conv1d(1, 5, 15), 0.5),
        **_block(2, nn.Conv1d(5, 4, 10), 0.4),
        **_block(3, nn.Conv1d(4, 4, 5), 0.3),
        **_head(4 * 92),
    )


def stacked_2d() -> nn.Sequential:
    """Three 2D convolutions one after the other, as the source intended; none shrinks its map. Notebook 05."""
    return named(
        **_block(1, nn.Conv2d(1, 5, 15, padding=7), 0.5),
        pad2=nn.ZeroPad2d((4, 5, 4, 5)),  # keeps the size of the map under a kernel of 10×10
        **_block(2, nn.Conv2d(5, 4, 10), 0.4),
        **_block(3, nn.Conv2d(4, 4, 5, padding=2), 0.3),
        **_head(4 * 3 * 3),
    )


def multi_tower() -> nn.Sequential:
    """Three convolutions of 15×15 side by side, their maps concatenated. Introduced in notebook 04."""
    towers = Towers(
        named(conv=nn.Conv2d(1, 4, 15), relu=nn.ReLU(), dropout=nn.Dropout(0.5), flatten=nn.Flatten()) for _ in range(3)
    )
    net = named(towers=towers, **_head(3 * 4 * 14 * 14))
    del net.flatten  # each tower flattens its own maps
    return net


class Towers(nn.ModuleList):
    """Networks side by side: all get the same images; their outputs ``[B, n]`` are concatenated. Notebook 04."""

    def forward(self, x):
        return torch.cat([tower(x) for tower in self], dim=1)


def lenet_wide() -> nn.Sequential:
    """A LeNet with 32 and 64 maps and a linear layer of 1,024. Introduced in notebook 08.

    Weights start from a normal distribution with standard deviation 0.1, cut at ±0.2, and biases from 0.1.
    """
    net = named(
        pad1=nn.ZeroPad2d((2, 3, 2, 3)),  # keeps the size of the map under a kernel of 6×6
        **_block(1, nn.Conv2d(1, 32, 6)),
        pad2=nn.ZeroPad2d((2, 3, 2, 3)),
        **_block(2, nn.Conv2d(32, 64, 6)),
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


def keras_initialisation(net: nn.Module, seed: int) -> nn.Module:
    """Draw the first weights of ``net``, in place, as Keras does: zero biases, and uniform kernels.

    Their limits are ±√(6 / (fan in + fan out)). Source: Glorot and Bengio 2010. Introduced in notebook 05.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)  # counts fans as Keras does
            nn.init.zeros_(layer.bias)
    return net


def _block(number: int, convolution: nn.Module, dropout: float | None = None) -> dict[str, nn.Module]:
    """Convolution, ReLU, dropout and pooling, in DeepLearn_NUMBERS' order."""
    layers = {f"conv{number}": convolution, f"relu{number}": nn.ReLU()}
    layers |= {f"dropout{number}": nn.Dropout(dropout)} if dropout else {}
    return layers | {f"pool{number}": nn.MaxPool1d(2) if isinstance(convolution, nn.Conv1d) else nn.MaxPool2d(2)}


def _linear(sizes: tuple[int, ...], dropouts: tuple[float, ...], prefix: str = "") -> dict[str, nn.Module]:
    """Flatten, then a linear layer from each size to the next; ReLU and dropout follow each but the last."""
    layers = {"flatten": nn.Flatten()}
    for i, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        layers[f"linear{i}"] = nn.Linear(inputs, outputs)
        if i <= len(dropouts):
            layers |= {f"{prefix}relu{i}": nn.ReLU(), f"{prefix}dropout{i}": nn.Dropout(dropouts[i - 1])}
    return layers


def _head(inputs: int) -> dict[str, nn.Module]:
    """The end of DeepLearn_NUMBERS' convolutional networks."""
    return _linear((inputs, 500, 100, 10), (0.5, 0.4), "head_")


def _one_block(convolution: nn.Module, dropout: float, inputs: int) -> nn.Sequential:
    """One convolution and the head; a 1D convolution sees the image as one row of 784 pixels."""
    row = {"row": nn.Flatten(2)} if isinstance(convolution, nn.Conv1d) else {}
    return named(**row, **_block(1, convolution, dropout), **_head(inputs))


_numbers = partial(Network, input_shape=(1, 28, 28), source="nildip/DeepLearn_NUMBERS")
register(
    Network("lenet5-1998", "LeNet-5 of 1998", lenet5_1998, (1, 32, 32), "LeCun et al. 1998"),
    Network("small-cnn", "small CNN", small_cnn, (1, 28, 28), "Keras example network"),
    _numbers("mlp", "MLP", lambda: named(**_linear((784, 500, 100, 25, 10), (0.5, 0.4, 0.3)))),
    _numbers("cnn-1d", "1D CNN", lambda: _one_block(nn.Conv1d(1, 5, 15), 0.5, 5 * 385)),
    _numbers("cnn-2d", "2D CNN", lambda: _one_block(nn.Conv2d(1, 5, 15), 0.5, 5 * 7 * 7)),
    # As published, each of three "stacked" convolutions gets the image itself: only the last one has an effect.
    _numbers("stacked-1d-published", "stacked 1D CNN, as published", lambda: _one_block(nn.Conv1d(1, 4, 5), 0.3, 1560)),
    _numbers("stacked-2d-published", "stacked 2D CNN, as published", lambda: _one_block(nn.Conv2d(1, 4, 5), 0.3, 576)),
    _numbers("stacked-1d", "stacked 1D CNN, really stacked", stacked_1d),
    _numbers("stacked-2d", "stacked 2D CNN, really stacked", stacked_2d),
    _numbers("multi-tower", "multi-tower 2D CNN", multi_tower),
    Network("lenet-wide", "LeNet variant, wide", lenet_wide, (1, 28, 28), "Maple-Lazuli/shenanigans"),
)
