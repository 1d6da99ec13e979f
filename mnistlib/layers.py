"""Where every parameter and every multiply-add of a network comes from. Introduced in notebook 02."""

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
    rows, hooks, seen = [], [], set()
    # The caller and each running layer: operations counted before it began, and those of the layers inside it.
    open_layers = [[0, 0]]

    def before(module, inputs):
        open_layers.append([counter.get_total_flops(), 0])

    def after(name):
        def hook(module, inputs, output):
            flops_before, flops_inside = open_layers.pop()
            flops = counter.get_total_flops() - flops_before
            open_layers[-1][1] += flops
            output = output[0] if isinstance(output, tuple) else output  # an LSTM returns its states too
            own = [p for p in module.parameters(recurse=False) if p.requires_grad and id(p) not in seen]
            seen.update(map(id, own))
            known = _mult_adds(module, output)
            mult_adds = (flops - flops_inside) // 2 if known is None else known
            if own or mult_adds or not any(module.children()):
                shape, kind = "×".join(str(n) for n in output.shape[1:]), type(module).__name__
                rows.append(_row(name or kind, kind, shape, _formula(module, own), own, mult_adds))

        return hook

    for name, module in net.named_modules():
        hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after(name))]
    parameter = next(net.parameters(), torch.empty(0))
    image = torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)
    try:
        with evaluating(net), torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(image)
    except RuntimeError as error:
        size = "×".join(map(str, input_shape))
        raise ValueError(f"the network cannot take an image of {size}: {str(error).splitlines()[0]}") from None
    finally:
        for hook in hooks:
            hook.remove()
    if unused := [p for p in net.parameters() if p.requires_grad and id(p) not in seen]:
        rows.append(_row("(not used)", "", "", _shapes(unused), unused, 0))
    totals = {column: sum(row[column] for row in rows) for column in ("parameters", "mult-adds")}
    return pd.DataFrame([*rows, _row("total", "", "", "", [], 0) | totals]).set_index("layer")


def _row(layer: str, kind: str, shape: str, formula: str, own: list[nn.Parameter], mult_adds: int) -> dict:
    values = (layer, kind, shape, formula, sum(p.numel() for p in own), mult_adds)
    return dict(zip(("layer", "kind", "output shape", "formula", "parameters", "mult-adds"), values, strict=True))


def _formula(module: nn.Module, own: list[nn.Parameter]) -> str:
    """Write out the number of parameters, e.g. ``((5×5×6)+1)×16`` for 16 filters of 5×5 over 6 maps."""
    if len(own) != len(list(module.parameters(recurse=False))) or not isinstance(module, CONVOLUTION | nn.Linear):
        return _shapes(own)  # another kind of layer, or a part of it is frozen or shared
    inputs, outputs = str(getattr(module, "in_features", "")), module.weight.shape[0]
    if isinstance(module, CONVOLUTION):
        inputs = "(" + "×".join(str(n) for n in (*module.kernel_size, module.in_channels // module.groups)) + ")"
    return f"({inputs}+1)×{outputs}" if module.bias is not None else f"{inputs}×{outputs}"


def _shapes(parameters: list[nn.Parameter]) -> str:
    return " + ".join("×".join(str(n) for n in p.shape) or "1" for p in parameters)


def _mult_adds(module: nn.Module, output) -> int | None:
    """Count output values × inputs to each, for one image; None where no formula is known."""
    if hasattr(module, "mult_adds"):
        return module.mult_adds(output)
    known = isinstance(module, CONVOLUTION | nn.Linear)
    return prod(output.shape[1:]) * module.weight[0].numel() if known else None
