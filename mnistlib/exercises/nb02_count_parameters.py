"""Checks for the exercises of notebook 02."""

import torch
from torch import nn

from mnistlib.exercises.check import exercise, mistake
from mnistlib.layers import layer_table

TINY = "ten logits, a convolution, at most 2,000 parameters and 100,000 mult-adds"


@exercise("right for three convolutions", (3, 32, 64), (5, 1, 6), (1, 3, 2))
@mistake("The biases are missing, one for each filter", bias=0)
@mistake("Each filter has its own bias", lambda kernel, channels, filters: kernel**2 * channels * filters + 1)
@mistake("A filter has weights for each channel", lambda kernel, channels, filters: (kernel**2 + 1) * filters)
@mistake("^ is not the power in Python; write **", square=lambda kernel: kernel ^ 2)
def check_convolution_parameters(kernel, channels, filters, bias=1, square=lambda kernel: kernel**2):
    return (square(kernel) * channels + bias) * filters


@exercise("right for three networks", (32, [5, 5], 16), (28, [3, 3, 3], 128), (30, [3], 2))
@mistake("A kernel fits in side − kernel + 1 places", fits=0)
@mistake("Pooling halves the side after each convolution", pooled=lambda side: side)
@mistake("An odd side loses its last row when it is pooled: // 2", pooled=lambda side: side / 2)
@mistake("That is one map; there is one for each filter", maps=0)
@mistake("A map has side × side numbers", power=1)
@mistake("`return` stands inside the loop", last=1)
def check_linear_inputs(side, kernels, filters, fits=1, pooled=lambda side: side // 2, maps=1, power=2, last=None):
    for kernel in kernels[:last]:
        side = pooled(side - kernel + fits)
    return side**power * filters**maps


def facts(build):
    """What the exercise asks about the network that ``build`` returns."""
    net = "a network, not a function that returns one" if isinstance(build, nn.Module) else build()
    if not isinstance(net, nn.Module):
        return {"the result": net}
    layers, total = [*net.modules()], layer_table(net, (1, 28, 28)).loc["total"]
    return {
        "the result": "a network",
        "convolutions, at least": min(1, sum(isinstance(layer, nn.Conv2d) for layer in layers)),
        "the shape of the answers to two images": list(net(torch.zeros(2, 1, 28, 28)).shape),
        "what the last layer gives": {nn.Softmax: "Softmax", nn.ReLU: "ReLU"}.get(type(layers[-1]), "logits"),
        "parameters, at most": max(2_000, int(total["parameters"])),
        "mult-adds, at most": max(100_000, int(total["mult-adds"])),
    }


@exercise(TINY, (), observed=lambda build: lambda: facts(build))
def check_tiny_network():
    convolution, linear = nn.utils.skip_init(nn.Conv2d, 1, 5, 5), nn.utils.skip_init(nn.Linear, 180, 10)
    return nn.Sequential(convolution, nn.MaxPool2d(4), nn.Flatten(), linear)  # skip_init draws no random numbers
