"""LeNet-5 as its authors published it in 1998, with layers that no library has any more. Introduced in notebook 02.

Source: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998, section II.B
and appendix A.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from mnistlib.networks import named


def lenet5_1998() -> nn.Sequential:
    """LeNet-5 as published: sparse C3, trainable subsampling, scaled tanh, RBF outputs. 60,000 parameters.

    Input ``[B, 1, 32, 32]``. The logits are minus the squared distances to each digit's code, so that the largest wins.
    """
    net = named(
        scale=InputScale(),
        C1=nn.Conv2d(1, 6, 5),
        tanh1=ScaledTanh(),
        S2_sum=nn.AvgPool2d(2, divisor_override=1),  # add up each 2×2 window, …
        S2_scale=nn.Conv2d(6, 6, 1, groups=6),  # … multiply by one weight per map, and add one bias per map
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
    for name, layer in net.named_children():
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
    """Layer C3 of 1998: map j sees only the S2 maps in ``CONNECTIONS[j]`` (the paper's table I).

    ``[B, 6, 14, 14]`` to ``[B, 16, 10, 10]``. 60 connections with 25 weights each, and 16 biases, are 1,516 parameters.
    It is computed as a full convolution whose other kernels are zero, which a CPU does 15 times as fast.
    """

    _MAPS = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"
    CONNECTIONS = tuple(tuple(map(int, seen)) for seen in _MAPS.split())

    def __init__(self):
        super().__init__()
        pairs = torch.tensor([(j, i) for j, seen in enumerate(self.CONNECTIONS) for i in seen])
        self.register_buffer("to_map", pairs[:, 0].clone(), persistent=False)  # buffers move with the weights
        self.register_buffer("from_map", pairs[:, 1].clone(), persistent=False)
        fan_in = 25 * self.to_map.bincount()[self.to_map][:, None, None]
        self.weight = nn.Parameter((2 * torch.rand(len(pairs), 5, 5) - 1) * 2.4 / fan_in)
        self.bias = nn.Parameter(torch.zeros(16))

    def forward(self, x):
        return F.conv2d(x, self.dense_weight(), self.bias)

    def dense_weight(self):
        """Return the kernels of a full convolution, ``[16, 6, 5, 5]``, zero where there is no connection."""
        return self.weight.new_zeros(16, 6, 5, 5).index_put((self.to_map, self.from_map), self.weight)

    def mult_adds(self, output):
        """Count the connections that exist: 60 kernels of 25 weights at 100 places are 150,000, not 240,000."""
        return self.weight.numel() * output.shape[-2] * output.shape[-1]


class RBFOutput(nn.Module):
    """Minus the squared distances of the 84 values of F6 to each digit's fixed code of ±1: ``[B, 84]`` to ``[B, 10]``.

    The codes are drawn, not learned, so they are a buffer. ``|x − c|²`` is written out as ``|x|² − 2 x·c + 84``.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("codes", digit_codes().float())

    def forward(self, x):
        return 2 * F.linear(x, self.codes) - x.square().sum(1, keepdim=True) - 84


def digit_codes() -> torch.Tensor:
    """Return each digit of digit_codes.txt as a row, ink +1 and paper −1: int64 ``[10, 84]``.

    The paper prints such 7×12 pictures for all of ASCII; these ten were drawn for this course in that style.
    """
    rows = [line.split() for line in Path(__file__).with_name("digit_codes.txt").read_text("ascii").splitlines()]
    return torch.tensor([[1 if c == "#" else -1 for row in rows for c in row[digit]] for digit in range(10)])
