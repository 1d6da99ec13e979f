"""Checks for the exercises of notebook 02."""

import re

import torch
from torch import nn

from mnistlib.exercises.check import Without, exercise, mistake
from mnistlib.layers import layer_table
from mnistlib.networks import build

TINY = "ten logits, a convolution, at most 2,000 parameters and 100,000 mult-adds"
image = torch.tensor([[1.0, 0, 2, 0, 1], [0, 3, 0, 1, 0], [2, 0, 1, 0, 4], [0, 1, 0, 2, 0]])
kernel, wide = torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[0.0, 1, -2], [1, 0, 3]])
by_hand = Without("conv2d", "convolution")


@exercise("right for two kernels, without PyTorch's convolution", (image, kernel), (image, wide), observed=by_hand)
@mistake("The kernel was rotated by 180°; lay it on the window as it is", turned=lambda kernel: kernel.flip(0, 1))
@mistake("The last row and column are missing: there are height − rows + 1 positions", missing=1)
@mistake("Multiply the window by the kernel before you add up", turned=torch.ones_like)
@mistake(
    "The kernel need not be 5 × 5: take its size from kernel.shape",
    lambda image, kernel: torch.zeros(len(image) - 4, len(image[0]) - 4),
)
def check_convolve(image, kernel, turned=torch.clone, missing=0):
    windows = image.unfold(0, len(kernel), 1).unfold(1, len(kernel[0]), 1)
    result = (windows * turned(kernel)).sum((2, 3))
    return result[: len(result) - missing, : len(result[0]) - missing]


def built(build):
    """The network that ``build`` returns, or in words what it is instead."""
    net = "a network, not a function that returns one" if isinstance(build, nn.Module) else build()
    return net if net is None or isinstance(net, nn.Module | str) else f"a {type(net).__name__}"


def layers(build):
    """Each layer of the network that ``build`` returns, with its sizes; "nothing" for one of twelve that is missing."""
    net = built(build)
    if not isinstance(net, nn.Module):
        return {"the result": net}
    leaves = [layer for layer in net.modules() if not any(layer.children())]
    found = {"the result": "a network", **{f"layer {number}": "nothing" for number in range(1, 13)}}
    for number, layer in enumerate(leaves, 1):  # 5 and (5, 5) are the same size of a kernel
        found[f"layer {number}"] = re.sub(r"\((\d+), \1\)|inplace=True", r"\1", str(layer))
    found["the number of layers"] = len(leaves)
    try:
        return {**found, "the shape of its answer to an image of 32 × 32": [*net(torch.zeros(1, 1, 32, 32)).shape]}
    except Exception as error:  # layers that do not fit together: the first wrong one has been named above
        return {**found, "the shape of its answer to an image of 32 × 32": str(error)}


@exercise("the twelve layers of LeNet-5", (), observed=lambda build: lambda: layers(build))
def check_my_lenet5():
    return build("lenet5", seed=0)  # with a seed, so that the student's random numbers stay as they are


@exercise("right for three networks", (32, [5, 5], 16), (28, [3, 3, 3], 128), (30, [3], 2))
@mistake("A kernel fits at width − kernel + 1 positions", fits=0)
@mistake("Pooling halves the width after each convolution", pooled=lambda width: width)
@mistake("Pooling drops an odd last row and column: // 2", pooled=lambda width: width / 2)
@mistake("That is one map; there is one for each filter", maps=0)
@mistake("A map has width × width numbers", power=1)
@mistake("`return` stands inside the loop", last=1)
def check_linear_inputs(width, kernels, filters, fits=1, pooled=lambda width: width // 2, maps=1, power=2, last=None):
    for kernel in kernels[:last]:
        width = pooled(width - kernel + fits)
    return width**power * filters**maps


def facts(build):
    """What the exercise asks about the network that ``build`` returns."""
    net = built(build)
    if not isinstance(net, nn.Module):
        return {"the result": net}
    table = layer_table(net, (1, 28, 28))  # the layers that are called
    total, answers = table.loc["total"], net(torch.linspace(0, 1, 2 * 28 * 28).reshape(2, 1, 28, 28))
    what = "numbers after a ReLU" if isinstance([*net.modules()][-1], nn.ReLU) else "logits"
    for name, values in ("probabilities", answers), ("logarithms of probabilities", answers.exp()):
        what = name if (values.sum(-1) - 1).abs().max() < 1e-4 else what
    return {
        "the result": "a network",
        "convolutions that it uses, at least": min(1, (table["kind"] == "Conv2d").sum().item()),
        "the shape of the answers to two images": list(answers.shape),
        "what it gives": what,
        "parameters, at most": max(2_000, int(total["parameters"])),
        "mult-adds, at most": max(100_000, int(total["mult-adds"])),
    }


@exercise(TINY, (), observed=lambda build: lambda: facts(build))
def check_tiny_network():
    with torch.random.fork_rng(devices=[]):  # the student's random numbers stay as they are
        return nn.Sequential(nn.Conv2d(1, 5, 5), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(180, 10))
