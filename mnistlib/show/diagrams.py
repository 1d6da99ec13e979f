"""A drawing of any network, made from the network itself. Introduced in notebook 04.

Hooks record the calls of layers and their shapes while the network takes one empty image. The result of each step is
drawn from left to right, as in LeCun's picture of LeNet-5; below the arrow stand the layer and its parameter count.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from math import ceil, log10, prod, sqrt
from textwrap import fill

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import nn

from mnistlib import plots
from mnistlib.lab.networks import Towers
from mnistlib.layers import CONVOLUTION, layer_table
from mnistlib.networks import evaluating

WIDTH, PITCH, MARGIN, LINE, GAP = 9, 1.12, 0.15, 0.165, 0.06  # in inches; PITCH: from step to step, GAP: around glyphs
COLUMNS, SHEETS, STRIPS = 8, 16, 8  # the most steps in a row, and the most maps of either kind that are drawn
INK = {"color": "#444444", "linewidth": 1.1}
ARROW = {"arrowstyle": "-|>", "mutation_scale": 10, "shrinkA": 0, "shrinkB": 0, **INK}
POOL = nn.MaxPool1d | nn.MaxPool2d | nn.AvgPool1d | nn.AvgPool2d
OPENED = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
WORDS = {  # for layers of our own
    "InputScale": "scale pixels",
    "ScaledTanh": "scaled tanh",
    "SparseC3": "sparse\nconv 5×5",
    "RBFOutput": "distances\nto codes",
    "Towers": "towers,\nside by side",
}


@plots.styled
def draw(net: nn.Module, input_shape: tuple[int, ...], title: str = "") -> Figure:
    """Draw the architecture of ``net``, from one forward pass of an image of ``input_shape``, e.g. ``(1, 32, 32)``.

    Maps ``[C, H, W]`` are a stack of sheets (at most 16), rows ``[C, L]`` a stack of strips (at most 8), and values
    ``[N]`` a bar; the label ``6@28×28`` means 6 maps of 28×28. A layer that only changes values, such as ReLU, is named
    in the step before it, and padding in the step after it. What ``forward`` does without a layer is a step of its own
    where it changes the shape, and cannot be seen elsewhere. ``nn.Sequential`` is opened; any other module with layers
    inside is one step, which you can draw by itself. The network stays as it was.

    Raises ValueError when the network cannot take such an image. Introduced in notebook 04.
    """
    total, calls = layer_table(net, input_shape).loc["total"], calls_of(net, input_shape)
    stages = stages_of(calls, input_shape)
    length = ceil(len(stages) / ceil(len(stages) / COLUMNS))
    rows = [stages[i : i + length] for i in range(0, len(stages), length)]
    spans = [len(row) - (row is rows[0]) for row in rows]  # in steps; later rows begin with the arrow to their first
    width = max(WIDTH, (max(spans) + 1) * PITCH)
    figure, axes = plt.subplots(figsize=(width, 1), layout="none")
    figure.subplots_adjust(0, 0, 1, 1)
    axes.axis("off")
    y, end = -0.3 if title else 0, None  # y is 0 at the top and negative below it; end is where the last row ended
    axes.text(width / 2, -0.1, title, size=11, ha="center", va="top")
    for row, span in zip(rows, spans, strict=True):
        end, y = draw_row(axes, row, (width - span * PITCH) / 2, y - MARGIN, end)
    text = f"{total['parameters']:,} parameters, {total['mult-adds']:,} mult-adds for one image"
    if missing := total["parameters"] - sum(parameters for *_, parameters in calls):
        text += f" ({missing:,} of the parameters in none of these layers)"
    axes.text(width / 2, y - 0.1, text, ha="center", va="top")
    figure.set_figheight(0.4 - y)
    axes.set(xlim=(0, width), ylim=(y - 0.4, 0))  # one unit is one inch
    return figure


@dataclass
class Stage:
    """What one step gives, drawn as one glyph with a label above it, and the text below the arrow to it."""

    shape: tuple[int, ...]
    text: str
    color: str = plots.BLUE
    name: str = "{}"

    @property
    def label(self) -> str:
        channels, *size = self.shape or [1]
        return self.name.format(f"{channels}@{'×'.join(map(str, size))}" if size else f"{channels:,}")

    @property
    def sheets(self) -> list[tuple[float, float, float, float]]:
        """The sheets, strips or bar from back to front: (x, y, width, height), y downwards.

        Sides grow with the root of the sizes, and a bar with the logarithm, so that all fit into one picture.
        """
        channels, *size = self.shape or [1]
        if prod(size) == 1:
            return [(0, 0, 0.13, 0.25 + 0.16 * log10(channels))]
        number = min(channels, SHEETS if len(size) > 1 else STRIPS)
        height, width = (min(0.105 * sqrt(n), 0.7) for n in (size if len(size) > 1 else (0.5, size[0] / 19))[-2:])
        right = min(0.04, 0.3 / number)
        return [(i * right, i * (right if len(size) > 1 else 1.5 * height), width, height) for i in range(number)]

    @property
    def size(self) -> tuple[float, float]:
        x, y, width, height = self.sheets[-1]
        return x + width, y + height


def opened(net: nn.Module) -> list[nn.Module]:
    """The modules that are one step each: those inside ``net``, or ``net`` itself."""
    children = [] if isinstance(net, Towers) else net.children()
    return [step for child in children for step in (opened(child) if type(child) in OPENED else [child])] or [net]


def calls_of(net: nn.Module, input_shape: tuple[int, ...]) -> list[tuple]:
    """Each step while ``net`` takes one empty image: (layer, shape before, shape after, its parameters).

    The layer is None where the shape changes without one. Parameters count where they are used first.
    """
    calls, shape, seen = [], tuple(input_shape), set()

    def reach(gives, layer=None, parameters=0):
        nonlocal shape
        if layer is not None or gives != shape:
            calls.append((layer, shape, gives, parameters))
        shape = gives

    def after(layer, inputs, output):
        output = output[0] if isinstance(output, tuple) else output  # an LSTM returns its states too
        reach(next((tuple(given.shape[1:]) for given in inputs if isinstance(given, torch.Tensor)), shape))
        new = {parameter for parameter in layer.parameters() if parameter.requires_grad} - seen
        seen.update(new)
        reach(tuple(output.shape[1:]), layer, sum(parameter.numel() for parameter in new))

    parameter = next(net.parameters(), torch.empty(0))
    image = torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)
    with ExitStack() as hooks, evaluating(net), torch.no_grad():
        for layer in set(opened(net)):
            hooks.enter_context(layer.register_forward_hook(after))
        reach(tuple(net(image).shape[1:]))
    return calls


def stages_of(calls: list[tuple], input_shape: tuple[int, ...]) -> list[Stage]:
    """A stage for the input, and one for each call that makes something new to look at."""
    stages, first, padded = [Stage(input_shape, "", "#BBBBBB", "input\n{}")], [], []  # first: done to the image itself
    for layer, takes, gives, parameters in calls:
        kind, (name, *more) = type(layer).__name__, words(layer, takes, gives)
        more += [f"{parameters:,}", "parameter" + "s" * (parameters != 1)] if parameters else []
        same = takes in (gives, (*gives, 1), (*gives, 1, 1)) and "Pool" not in kind
        learns = layer is not None and any(True for _ in layer.parameters())
        if "Pad" in kind:
            padded = ["padded"]
        elif not same or (learns and "Norm" not in kind and not name.startswith("scale")):
            color = plots.ORANGE if "Pool" in kind else plots.BLUE
            stages.append(Stage(gives, "\n".join([*first, name, *padded, *more]), color))
            first, padded = [], []
        elif stages[1:]:
            stages[-1].text += "\n" + "\n".join([name, *more])
        else:
            first += [name, *more]
    if first or padded:
        stages.append(Stage(gives, "\n".join(first + padded)))
    if len(gives) == 1 and stages[1:]:
        stages[-1].shape = gives  # ten maps of 1×1, flattened, are ten logits
        stages[-1].name = "{} outputs" if "softmax" in stages[-1].text.lower() else "{} logits"
    return stages


def words(layer: nn.Module | None, takes: tuple[int, ...], gives: tuple[int, ...]) -> list[str]:
    """What a layer does, in lines short enough to stand below an arrow."""
    kind = type(layer).__name__
    if layer is None:
        return ["reshape" if prod(takes) == prod(gives) else "computed\nin forward()"]
    if isinstance(layer, nn.Dropout | nn.Dropout1d | nn.Dropout2d):
        return [f"dropout {layer.p:g}"]
    if not isinstance(layer, CONVOLUTION | POOL):
        return [WORDS.get(kind, kind.lower() if kind.istitle() else fill(kind, 14))]
    settings = (layer.kernel_size, layer.stride, layer.padding)
    size, stride, padding = (s if isinstance(s, tuple) else (s,) * (len(gives) - 1) for s in settings)
    usual, groups = size if isinstance(layer, POOL) else (1,) * len(size), getattr(layer, "groups", 1)
    if prod(size) == 1 and groups == gives[0]:  # one weight for each map, as in the subsampling of 1998
        return ["scale" if layer.bias is None else "scale + bias"]
    pool = "sum" if getattr(layer, "divisor_override", None) == 1 else "max pool" if "Max" in kind else "mean pool"
    name = pool if isinstance(layer, POOL) else "1D conv" if isinstance(layer, nn.Conv1d) else "conv"
    lines = [f"{name} {'×'.join(map(str, size))}", *["padded"] * bool(set(padding) - {0, "valid"})]
    lines += [f"stride {'×'.join(map(str, stride))}"] * (stride != usual)
    return lines + [f"{groups} groups"] * (groups > 1)


def draw_row(axes: Axes, stages: list[Stage], left: float, top: float, end: tuple | None) -> tuple:
    """Draw a row below ``top``. The row above ended at ``end``; return where this one ends, and its bottom."""
    top -= MARGIN if end else 0  # for the line that comes from the row above
    below = max(stage.size[1] for stage in stages) / 2 + 0.1
    y = top - 0.06 - max(stage.size[1] / 2 + LINE * (stage.label.count("\n") + 1) for stage in stages)
    if end:
        right, between = end[0] + MARGIN, top + MARGIN / 2
        axes.plot([end[0], right, right, left, left], [end[1], end[1], between, between, y], **INK)
        end, left = (left, y), left + PITCH
    for x, stage in zip(count(left, PITCH), stages, strict=False):
        (width, height), color = stage.size, plots.GREEN if len(stage.shape) < 2 else stage.color
        if end:
            axes.add_patch(FancyArrowPatch(end, (x - width / 2 - GAP, y), **ARROW))
            axes.text(x - PITCH / 2, y - below, stage.text, size=9, ha="center", va="top")
        for right, down, *sides in stage.sheets:
            corner = x - width / 2 + right, y + height / 2 - down - sides[1]
            axes.add_patch(Rectangle(corner, *sides, fc=color, ec="white", lw=0.6, zorder=3))
        axes.text(x, y + height / 2 + 0.05, stage.label, size=9, ha="center", va="bottom")
        end = (x + width / 2 + GAP, y)
    return end, y - below - LINE * max(stage.text.count("\n") + 1 for stage in stages)
