"""Where every parameter and every multiply-add of a network comes from. Introduced in notebook 02."""

from contextlib import ExitStack
from functools import partial
from math import prod

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mnistlib.base.checks import checked
from mnistlib.networks import evaluating

CONVOLUTION = nn.Conv1d | nn.Conv2d | nn.Conv3d


@checked
def layer_table(net: nn.Module, input_shape: tuple[int, ...]) -> pd.DataFrame:
    """Return one row per layer, in the order in which a forward pass calls them, and a row of totals. Notebook 02.

    ``input_shape`` is one image without the batch, e.g. ``(1, 32, 32)``; ``formula`` explains the number of trainable
    ``parameters``; ``mult-adds`` are those for one image, without biases, as papers count them. Convolutions
    and linear layers are counted by formula, a layer with a method ``mult_adds(output)`` by that, and any other by half
    of what ``torch.utils.flop_counter`` counts. A layer that is used twice has its parameters in the first row. Raises
    ValueError when the network cannot take such an image.
    """
    rows, seen = [], set()
    # The caller and each running layer: operations counted before it began, and those of the layers inside it.
    open_layers = [[0, 0]]

    def before(module, inputs):
        open_layers.append([counter.get_total_flops(), 0])

    def after(name, module, inputs, output):
        flops_before, flops_inside = open_layers.pop()
        flops = counter.get_total_flops() - flops_before
        open_layers[-1][1] += flops
        output = output[0] if isinstance(output, tuple) else output  # an LSTM returns its states too
        own = [p for p in module.parameters(recurse=False) if p.requires_grad and id(p) not in seen]
        seen.update(map(id, own))
        mult_adds = _mult_adds(module, output, flops - flops_inside)
        if own or mult_adds or not any(module.children()):
            shape, kind = "×".join(str(n) for n in output.shape[1:]), type(module).__name__
            rows.append((name or kind, kind, shape, _formula(module, own), _count(own), mult_adds))

    parameter = next(net.parameters(), torch.empty(0))
    image = torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)
    try:
        with ExitStack() as hooks, evaluating(net), torch.no_grad(), FlopCounterMode(display=False) as counter:
            for name, module in net.named_modules():
                hooks.enter_context(module.register_forward_pre_hook(before))
                hooks.enter_context(module.register_forward_hook(partial(after, name)))
            net(image)
    except RuntimeError as error:
        size = "×".join(map(str, input_shape))
        raise ValueError(f"the network cannot take an image of {size}: {str(error).splitlines()[0]}") from None
    if unused := [p for p in net.parameters() if p.requires_grad and id(p) not in seen]:
        rows.append(("(not used)", "", "", _shapes(unused), _count(unused), 0))
    rows.append(("total", "", "", "", *(sum(row[column] for row in rows) for column in (4, 5))))
    columns = ["layer", "kind", "output shape", "formula", "parameters", "mult-adds"]
    return pd.DataFrame(rows, columns=columns).set_index("layer")


def _count(parameters: list[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _formula(module: nn.Module, own: list[nn.Parameter]) -> str:
    """Write out the number of parameters, e.g. ``((5×5×6)+1)×16`` for 16 filters of 5×5 over 6 maps."""
    if len(own) != len(list(module.parameters(recurse=False))) or not isinstance(module, CONVOLUTION | nn.Linear):
        return _shapes(own)  # another kind of layer, or a part of it is frozen or shared
    outputs, channels, *kernel = module.weight.shape
    inputs = f"({'×'.join(map(str, (*kernel, channels)))})" if kernel else channels
    return f"({inputs}+1)×{outputs}" if module.bias is not None else f"{inputs}×{outputs}"


def _shapes(parameters: list[nn.Parameter]) -> str:
    return " + ".join("×".join(str(n) for n in p.shape) or "1" for p in parameters)


def _mult_adds(module: nn.Module, output, flops: int) -> int:
    """Count output values × inputs to each, for one image; half of ``flops`` where no formula is known."""
    if hasattr(module, "mult_adds"):
        return module.mult_adds(output)
    known = isinstance(module, CONVOLUTION | nn.Linear)
    return prod(output.shape[1:]) * module.weight[0].numel() if known else flops // 2
