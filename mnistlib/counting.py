"""Where every parameter and every multiply-add of a network comes from. Introduced in notebook 02."""

from math import prod

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mnistlib.networks import evaluating


def layer_table(net: nn.Module, input_size: tuple[int, ...]) -> pd.DataFrame:
    """One row a layer, in the order in which a forward pass calls them, and a row of totals.

    ``input_size`` is one image without the batch, e.g. ``(1, 32, 32)``. Columns: ``layer`` (the index), ``kind``,
    ``output shape`` (of one image), ``formula`` for the parameter count, ``parameters`` (trainable), and ``mult-adds`` for
    one image, without biases, as papers count them. The total of ``parameters`` equals
    ``sum(p.numel() for p in net.parameters() if p.requires_grad)``; that of ``mult-adds`` is half of what
    ``torch.utils.flop_counter`` counts, since it counts a multiplication and an addition as two.

    Convolutions and linear layers are counted by formula. For any other layer the parameters are
    listed by shape, and the mult-adds are what PyTorch's counter saw there. A layer that is used
    twice has its parameters in the first row only. Raises ValueError when the network cannot take such an image.
    """
    rows, hooks, seen = [], [], set()
    open_layers = []  # what the counter and the table held when each layer that is still at work began

    def parameters_of(module):
        """The module's own trainable parameters that no earlier row has."""
        new = [p for p in module.parameters(recurse=False) if p.requires_grad and id(p) not in seen]
        seen.update(map(id, new))
        return new

    def before(module, inputs):
        open_layers.append((counter.get_total_flops(), len(rows)))

    def after(name):
        def hook(module, inputs, output):
            flops_before, rows_before = open_layers.pop()
            output = output[0] if isinstance(output, tuple) else output  # an LSTM gives its states too
            own = parameters_of(module)
            inside = sum(row["mult-adds"] for row in rows[rows_before:])
            mult_adds = _mult_adds(module, output)
            if mult_adds is None:
                mult_adds = (counter.get_total_flops() - flops_before) // 2 - inside
            is_leaf = not any(module.children())
            if is_leaf or own or mult_adds:
                rows.append(
                    {
                        "layer": name or type(module).__name__,
                        "kind": type(module).__name__,
                        "output shape": "×".join(str(n) for n in output.shape[1:]),
                        "formula": _formula(module, own),
                        "parameters": sum(p.numel() for p in own),
                        "mult-adds": mult_adds,
                    }
                )

        return hook

    for name, module in net.named_modules():
        hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after(name))]
    parameter = next(net.parameters(), torch.empty(0))
    image = torch.zeros(1, *input_size, dtype=parameter.dtype, device=parameter.device)
    try:
        with evaluating(net), torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(image)
    except RuntimeError as error:
        size = "×".join(map(str, input_size))
        raise ValueError(f"the network cannot take an image of {size}: {str(error).splitlines()[0]}") from None
    finally:
        for hook in hooks:
            hook.remove()
    unused = [p for p in net.parameters() if p.requires_grad and id(p) not in seen]
    if unused:
        rows.append(
            {"layer": "(not used)", "kind": "", "output shape": "", "formula": _shapes(unused),
             "parameters": sum(p.numel() for p in unused), "mult-adds": 0}
        )  # fmt: skip
    total = {"layer": "total", "kind": "", "output shape": "", "formula": ""}
    total |= {column: sum(row[column] for row in rows) for column in ("parameters", "mult-adds")}
    return pd.DataFrame([*rows, total]).set_index("layer")


def _formula(module: nn.Module, own: list[nn.Parameter]) -> str:
    """The parameter count written out, e.g. ``((5×5×6)+1)×16`` for 16 filters of 5×5 over 6 maps."""
    if not own:
        return ""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        inputs = "(" + "×".join(str(n) for n in (*module.kernel_size, module.in_channels // module.groups)) + ")"
        outputs = module.out_channels
    elif isinstance(module, nn.Linear):
        inputs, outputs = str(module.in_features), module.out_features
    else:
        return _shapes(own)
    if len(own) != len(list(module.parameters(recurse=False))):  # a part is frozen or shared
        return _shapes(own)
    return f"({inputs}+1)×{outputs}" if module.bias is not None else f"{inputs}×{outputs}"


def _shapes(parameters: list[nn.Parameter]) -> str:
    return " + ".join("×".join(str(n) for n in p.shape) or "1" for p in parameters)


def _mult_adds(module: nn.Module, output) -> int | None:
    """Output values × inputs to each, for one image; None where no formula is known."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
        return prod(output.shape[1:]) * module.weight[0].numel()
    return None
