"""Checks for the exercises of notebook 02."""

import torch
from torch import nn
from torch.nn.functional import conv2d

from mnistlib.exercises.check import exercise, mistake
from mnistlib.layers import layer_table

TINY = "ten logits, a convolution, at most 2,000 parameters and 100,000 mult-adds"
image = torch.tensor([[1.0, 0, 2, 0, 1], [0, 3, 0, 1, 0], [2, 0, 1, 0, 4], [0, 1, 0, 2, 0]])
kernel, wide = torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[0.0, 1, -2], [1, 0, 3]])


@exercise("right for two kernels", (image, kernel), (image, wide))
@mistake("The kernel was turned by half a turn; lay it on the window as it is", turned=lambda kernel: kernel.flip(0, 1))
@mistake("The last row and column are missing: there are height − rows + 1 places", missing=1)
@mistake("Multiply the window by the kernel before you add up", turned=torch.ones_like)
@mistake("The kernel reaches over the edge of the image; only places where it fits count", padding="same")
def check_convolve(image, kernel, turned=torch.clone, missing=0, padding=0):
    result = conv2d(image[None, None], turned(kernel)[None, None], padding=padding)[0, 0]
    return result[: len(result) - missing, : len(result[0]) - missing]


def layers(build):
    """Each layer of the network that ``build`` returns, with its sizes."""
    net = "a network, not a function that returns one" if isinstance(build, nn.Module) else build()
    if not isinstance(net, nn.Module):
        return {"the result": net}
    leaves = [layer for layer in net.modules() if not any(layer.children())]
    names = ("in_channels", "out_channels", "in_features", "out_features", "kernel_size", "stride", "padding")
    found = {"the result": "a network", "the number of layers": len(leaves)}
    for number, layer in enumerate(leaves, 1):
        sizes = [getattr(layer, name) for name in names if hasattr(layer, name)]
        plain = [size[0] if isinstance(size, tuple) and len(set(size)) == 1 else size for size in sizes]
        found[f"layer {number}"] = [type(layer).__name__, *plain]
    return {**found, "parameters": sum(p.numel() for p in net.parameters())}


@exercise("the twelve layers of LeNet-5", (), observed=lambda build: lambda: layers(build))
def check_my_lenet5():
    def made(kind, *sizes):
        return nn.utils.skip_init(kind, *sizes)  # draws no random numbers

    convolutions = [(made(nn.Conv2d, *sizes, 5), nn.ReLU()) for sizes in ((1, 6), (6, 16), (16, 120))]
    first, second, third = convolutions
    linear = made(nn.Linear, 120, 84), nn.ReLU(), made(nn.Linear, 84, 10)
    return nn.Sequential(*first, nn.MaxPool2d(2), *second, nn.MaxPool2d(2), *third, nn.Flatten(), *linear)


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
