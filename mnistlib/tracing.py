"""What each layer of a network does to one image, in words and numbers; `diagrams` draws it. Introduced in notebook 04."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import prod

import torch
from torch import nn

from mnistlib.networks import evaluating

CONVOLUTION, POOL = nn.Conv1d | nn.Conv2d | nn.Conv3d, nn.MaxPool1d | nn.MaxPool2d | nn.AvgPool1d | nn.AvgPool2d
PADDING = nn.ConstantPad1d | nn.ConstantPad2d | nn.ReflectionPad2d | nn.ReplicationPad2d  # zero padding is constant too
DROPOUT = nn.Dropout | nn.Dropout1d | nn.Dropout2d
NORM = nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm | nn.PReLU
WORDS = {  # for layers whose class name is not what one calls them
    "Linear": "linear",
    "Flatten": "flatten",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "BatchNorm1d": "batch norm",
    "BatchNorm2d": "batch norm",
    "LayerNorm": "layer norm",
    "InputScale": "scale pixels",
    "ScaledTanh": "scaled tanh",
    "SparseC3": "sparse\nconv 5×5",
    "RBFOutput": "distances\nto codes",
}


@dataclass
class Call:
    """One call of a module in the forward pass, and the calls that were made inside it."""

    module: nn.Module | None  # None: something that forward() does without a module
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    parameters: int = 0
    inside: list["Call"] = field(default_factory=list)


def record(net: nn.Module, input_size: tuple[int, ...]) -> Call:
    """The call of ``net`` with one empty image of ``input_size``, e.g. ``(1, 32, 32)``; the network stays as it was."""
    hooks, seen, calls = [], set(), [[]]  # calls: a list for each module that is at work, the innermost last

    def before(module, inputs):
        calls.append([])

    def after(module, inputs, output):
        inside = calls.pop()
        output = output[0] if isinstance(output, tuple) else output  # an LSTM gives its states too
        takes = inputs[0].shape[1:] if inputs and isinstance(inputs[0], torch.Tensor) else ()
        new = {id(p): p.numel() for p in module.parameters() if p.requires_grad and id(p) not in seen}
        seen.update(new)  # a layer that is used twice has its parameters in the first step only
        parameters = sum(new.values()) + sum(call.parameters for call in inside)
        calls[-1].append(Call(module, tuple(takes), tuple(output.shape[1:]), parameters, inside))

    for module in net.modules():
        hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    parameter = next(net.parameters(), torch.empty(0))
    try:
        with evaluating(net), torch.no_grad():
            net(torch.zeros(1, *input_size, dtype=parameter.dtype, device=parameter.device))
    finally:
        for hook in hooks:
            hook.remove()
    return calls[0][0]


def opened(calls: Iterable[Call]) -> Iterator[Call]:
    """The calls, with those inside an ``nn.Sequential`` in its place."""
    for call in calls:
        yield from opened(call.inside) if isinstance(call.module, nn.Sequential) else [call]


def without_gaps(calls: Iterable[Call], shape: tuple[int, ...], gives: tuple[int, ...]) -> Iterator[Call]:
    """The calls, and one without a module wherever the shape changes between two of them."""
    for call in calls:
        if call.takes and call.takes != shape:
            yield Call(None, shape, call.takes)
        yield call
        shape = call.gives
    if shape != gives:
        yield Call(None, shape, gives)


def is_scale(layer: nn.Module) -> bool:
    """One weight for each map, as in the trainable subsampling of 1998."""
    return (
        isinstance(layer, CONVOLUTION)
        and layer.groups == layer.in_channels == layer.out_channels
        and prod(layer.kernel_size) == 1
    )


def words(call: Call) -> list[str]:
    """What a layer does, in lines that are short enough to stand below an arrow."""
    layer, kind = call.module, type(call.module).__name__
    if layer is None:
        return ["reshape" if prod(call.takes) == prod(call.gives) else "computed\nin forward()"]
    if is_scale(layer):
        return ["scale" if layer.bias is None else "scale + bias"]
    if isinstance(layer, CONVOLUTION | POOL):
        settings = (layer.kernel_size, layer.stride, layer.padding)
        size, stride, padding = (s if isinstance(s, tuple) else (s,) * (len(call.gives) - 1) for s in settings)
        name = "max pool" if isinstance(layer, nn.MaxPool1d | nn.MaxPool2d) else "mean pool"
        name = "sum" if getattr(layer, "divisor_override", None) == 1 else name
        name = "conv" if isinstance(layer, CONVOLUTION) else name
        words = [f"{'1D ' * isinstance(layer, nn.Conv1d)}{name} {'×'.join(map(str, size))}"]
        words += ["padded"] if set(padding) - {0, "valid"} else []
        if stride != (size if isinstance(layer, POOL) else (1,) * len(size)):
            words.append(f"stride {'×'.join(map(str, stride))}")
        groups = getattr(layer, "groups", 1)
        return words + [f"{groups} groups"] * (groups > 1)
    if isinstance(layer, DROPOUT):
        return [f"dropout {layer.p:g}"]
    return [WORDS.get(kind, kind)]
