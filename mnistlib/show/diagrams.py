"""A drawing of any network, made from the network itself. Introduced in notebook 04.

Hooks record the calls of layers and their shapes while the network takes one empty image. (torchinfo files calls by the
place where a layer is defined: if it is used in two places, both calls are in one of them.) The result of each step is
drawn from left to right, as in LeCun's picture of LeNet-5; below the arrow stand the layer and its parameter count.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from math import ceil, log10, prod, sqrt
from textwrap import fill

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from mnistlib import plots
from mnistlib.lab.networks import Towers
from mnistlib.layers import layer_table
from mnistlib.networks import evaluating

WIDTH, PITCH, MARGIN, LINE, GAP = 9, 1.12, 0.15, 0.165, 0.06  # in inches; PITCH: from step to step, GAP: around glyphs
COLUMNS, SHEETS, STRIPS = 8, 16, 8  # the most steps in a row, and the most maps of either kind that are drawn
INK = {"color": "#444444", "linewidth": 1.1}
ARROW = {"arrowstyle": "-|>", "mutation_scale": 10, "shrinkA": 0, "shrinkB": 0, **INK}
CONVOLUTION, POOL = nn.Conv1d | nn.Conv2d | nn.Conv3d, nn.MaxPool1d | nn.MaxPool2d | nn.AvgPool1d | nn.AvgPool2d
WORDS = {  # for the layers of 1998
    "InputScale": "scale pixels",
    "ScaledTanh": "scaled tanh",
    "SparseC3": "sparse\nconv 5×5",
    "RBFOutput": "distances\nto codes",
}


@plots.styled
def draw(net: nn.Module, input_shape: tuple[int, ...], title: str = "") -> Figure:
    """Draw the architecture of ``net``, from one forward pass of an image of ``input_shape``, e.g. ``(1, 32, 32)``.

    Maps ``[C, H, W]`` are a stack of sheets (at most 16), rows ``[C, L]`` a stack of strips (at most 8), and values
    ``[N]`` a bar; the label ``6@28×28`` means 6 maps of 28×28. A layer that only changes values, such as ReLU, is named
    in the step before it, and padding in the step after it. What ``forward`` does without a layer is a step of its own
    where it changes the shape, and cannot be seen elsewhere. ``nn.Sequential`` and `Towers` are opened; any other
    module with layers inside is one step. The network and the random numbers stay as they were.

    Raises ValueError when the network cannot take such an image. Introduced in notebook 04.
    """
    with torch.random.fork_rng(devices=[]):
        total, run = layer_table(net, input_shape).loc["total"], record(net, input_shape)
    calls = run.inside if run.inside and not isinstance(net, Towers) else [run]
    stages = [Stage(run.takes, name="input"), *stages_of(calls, run.takes, run.gives)]
    if len(run.gives) == 1 and len(stages) > 1:
        stages[-1].shape = run.gives  # ten maps of 1×1, flattened, are ten logits
        stages[-1].name = "outputs" if "softmax" in stages[-1].text.lower() else "logits"
    rows = rows_of(stages)
    spans = [row[-1][0] for row in rows]  # from the first to the last step of each row
    width = max(WIDTH, (max(spans) + 1) * PITCH)
    figure, axes = plt.subplots(figsize=(width, 1), layout="none")
    figure.subplots_adjust(0, 0, 1, 1)
    axes.axis("off")
    y, end = -0.3 if title else 0, None  # y is 0 at the top and negative below it; end is where the last row ended
    axes.text(width / 2, -0.1, title, size=11, ha="center", va="top")
    for row, span in zip(rows, spans, strict=True):
        end, y = draw_row(axes, row, (width - span * PITCH) / 2, y - MARGIN, end)
    text = f"{total['parameters']:,} parameters, {total['mult-adds']:,} mult-adds for one image"
    if missing := total["parameters"] - sum(call.parameters for call in calls):
        text += f" ({missing:,} of the parameters in none of these layers)"
    axes.text(width / 2, y - 0.1, text, ha="center", va="top")
    figure.set_figheight(0.4 - y)
    axes.set(xlim=(0, width), ylim=(y - 0.4, 0))  # one unit is one inch
    return figure


@dataclass
class Call:
    """One call of a layer in the forward pass, and the calls inside it; ``layer`` is None for code without a layer."""

    layer: nn.Module | None
    takes: tuple[int, ...]  # shapes of one image
    gives: tuple[int, ...]
    parameters: int = 0  # those that no earlier call has used
    inside: list["Call"] = field(default_factory=list)


def record(net: nn.Module, input_shape: tuple[int, ...]) -> Call:
    """Run ``net`` on one empty image, and return its call."""
    seen, calls = set(), [[]]  # calls: a list for each layer that is at work, the innermost last

    def before(layer, inputs):
        calls.append([])

    def after(layer, inputs, output):
        inside = calls.pop()
        output = output[0] if isinstance(output, tuple) else output  # an LSTM returns its states too
        takes = inputs[0].shape[1:] if inputs and isinstance(inputs[0], torch.Tensor) else ()
        new = {p for p in layer.parameters() if p.requires_grad} - seen
        seen.update(new)
        count = sum(p.numel() for p in new) + sum(call.parameters for call in inside)
        calls[-1].append(Call(layer, tuple(takes), tuple(output.shape[1:]), count, inside))

    parameter = next(net.parameters(), torch.empty(0))
    image = torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)
    hooks = register_module_forward_pre_hook(before), register_module_forward_hook(after)
    with hooks[0], hooks[1], evaluating(net), torch.no_grad():
        net(image)
    return calls[0][0]


def opened(calls: list[Call], shape: tuple[int, ...], gives: tuple[int, ...]) -> Iterator[Call]:
    """The calls, those inside ``nn.Sequential`` in its place, and one without a layer wherever the shape changes."""
    for call in calls:
        if call.takes and call.takes != shape:
            yield Call(None, shape, call.takes)
        yield from opened(call.inside, call.takes, call.gives) if isinstance(call.layer, nn.Sequential) else [call]
        shape = call.gives
    if shape != gives:
        yield Call(None, shape, gives)


def is_scale(layer: nn.Module | None) -> bool:
    """One weight for each map, as in the trainable subsampling of 1998."""
    return isinstance(layer, CONVOLUTION) and layer.groups == layer.out_channels and prod(layer.kernel_size) == 1


def words(call: Call) -> list[str]:
    """What a layer does, in lines short enough to stand below an arrow."""
    layer, kind = call.layer, type(call.layer).__name__
    if layer is None:
        return ["reshape" if prod(call.takes) == prod(call.gives) else "computed\nin forward()"]
    if is_scale(layer):
        return ["scale" if layer.bias is None else "scale + bias"]
    if isinstance(layer, CONVOLUTION | POOL):
        settings = (layer.kernel_size, layer.stride, layer.padding)
        size, stride, padding = (s if isinstance(s, tuple) else (s,) * (len(call.gives) - 1) for s in settings)
        usual, groups = size if isinstance(layer, POOL) else (1,) * len(size), getattr(layer, "groups", 1)
        pool = "sum" if getattr(layer, "divisor_override", None) == 1 else "max pool" if "Max" in kind else "mean pool"
        name = pool if isinstance(layer, POOL) else "1D conv" if isinstance(layer, nn.Conv1d) else "conv"
        lines = [f"{name} {'×'.join(map(str, size))}", *["padded"] * bool(set(padding) - {0, "valid"})]
        lines += [f"stride {'×'.join(map(str, stride))}"] * (stride != usual)
        return lines + [f"{groups} groups"] * (groups > 1)
    if isinstance(layer, nn.Dropout | nn.Dropout1d | nn.Dropout2d):
        return [f"dropout {layer.p:g}"]
    return [WORDS.get(kind, kind.lower() if kind.istitle() else fill(kind, 14))]


@dataclass
class Stage:
    """What one step gives, drawn as one glyph with a label above it, and the text below the arrow to it."""

    shape: tuple[int, ...]
    text: str = ""
    pools: bool = False
    name: str = ""

    @property
    def label(self) -> str:
        channels, *size = self.shape or [1]
        label = f"{channels}@{'×'.join(map(str, size))}" if size else f"{channels:,}"
        return f"input\n{label}" if self.name == "input" else f"{label} {self.name}".strip()

    @property
    def sheets(self) -> list[tuple[float, float, float, float]]:
        """The sheets, strips or bar from back to front: (x, y, width, height), y downwards.

        Sides grow with the root of the sizes, and a bar with the logarithm, so that all fit into one picture.
        """
        channels, *size = self.shape or [1]
        if prod(size) == 1:
            return [(0, 0, 0.13, 0.25 + 0.16 * log10(channels))]
        count = min(channels, SHEETS if len(size) > 1 else STRIPS)
        height, width = (min(0.105 * sqrt(n), 0.7) for n in (size if len(size) > 1 else (0.5, size[0] / 19))[-2:])
        right = min(0.04, 0.3 / count)
        return [(i * right, i * (right if len(size) > 1 else 1.5 * height), width, height) for i in range(count)]

    @property
    def size(self) -> tuple[float, float]:
        x, y, width, height = self.sheets[-1]
        return x + width, y + height


def stages_of(calls: list[Call], shape: tuple[int, ...], gives: tuple[int, ...]) -> list[Stage | list]:
    """A stage for each call that makes something new to look at, and a list of branches for `Towers`."""
    stages, first, padded = [], [], []  # first: what is done to the image itself
    for call in opened(calls, shape, gives):
        lines, kind = words(call), type(call.layer).__name__
        lines += [f"{call.parameters:,}", "parameter" + "s" * (call.parameters != 1)] if call.parameters else []
        same = call.takes in (call.gives, (*call.gives, 1), (*call.gives, 1, 1)) and "Pool" not in kind
        learns = call.layer is not None and any(True for _ in call.layer.parameters())
        if isinstance(call.layer, Towers):
            stages.append([stages_of([tower], call.takes, tower.gives) for tower in call.inside])
            stages.append(Stage(call.gives, "joined"))
        elif "Pad" in kind:
            padded = ["padded"]
        elif not same or (learns and "Norm" not in kind and not is_scale(call.layer)):
            stages.append(Stage(call.gives, "\n".join([*first, lines[0], *padded, *lines[1:]]), "Pool" in kind))
            first, padded = [], []
        elif stages:
            stages[-1].text += "\n" + "\n".join(lines)
        else:
            first += lines
    return [*stages, Stage(gives, "\n".join(first + padded))] if first or padded else stages


def rows_of(stages: list[Stage | list]) -> list[list[tuple[float, float | None, tuple]]]:
    """Rows of (place, corner, column), as even as can be; places and corners are counted in steps.

    A column has a stage for each branch, or None where it has ended. The line to a column has a corner where branches
    fork or join, which they do within one row, and where it comes from the row above.
    """
    columns = [c for stage in stages for c in (zip_longest(*stage) if isinstance(stage, list) else [(stage,)])]
    limit = ceil(len(columns) / ceil(len(columns) / COLUMNS))
    rows, last, place = [[(0, None, columns[0])]], columns[0], 0
    for column in columns[1:]:
        corner = place + 0.5 if len(column) != len(last) else None
        place += 1 if corner is None else 1.5
        if len(rows[-1]) >= limit and len(column) == len(last) == 1:
            rows.append([])
            corner, place = 0, 1
        rows[-1].append((place, corner, column))
        last = column
    return rows


def draw_row(axes: Axes, row: list[tuple], left: float, top: float, end: tuple | None) -> tuple:
    """Draw a row below ``top``. The row above ended at ``end``; return where this one ends, and its bottom."""
    top -= MARGIN if end else 0  # for the line that comes from the row above
    stages = [stage for _, _, column in row for stage in column if stage]
    above = max(stage.size[1] / 2 + LINE * (stage.label.count("\n") + 1) for stage in stages) + 0.06
    to_text = max(stage.size[1] for stage in stages) / 2 + 0.1
    apart = above + to_text + LINE * max(stage.text.count("\n") + 1 for stage in stages) + MARGIN  # of branches
    branches = max(len(column) for _, _, column in row)
    middle, ends = top - above - apart * (branches - 1) / 2, []  # ends: where each branch of the last column ended
    for place, corner, column in row:
        x, lanes = left + place * PITCH, [middle + apart * ((len(column) - 1) / 2 - i) for i in range(len(column))]
        if corner is not None:
            turn = left + corner * PITCH
            if not ends:
                right, between = end[0] + MARGIN, top + MARGIN / 2
                axes.plot([end[0], right, right, turn, turn], [end[1], end[1], between, between, middle], **INK)
            for start, y in ends:
                axes.plot([start, turn], [y, y], **INK)
            heights = [*lanes, *(y for _, y in ends)]
            axes.plot([turn, turn], [min(heights), max(heights)], **INK)
            ends = [(turn, y) for y in lanes]
        for i, (stage, y) in enumerate(zip(column, lanes, strict=True)):
            if not stage:
                continue
            if stage.text:
                axes.add_patch(FancyArrowPatch(ends[i], (x - stage.size[0] / 2 - GAP, y), **ARROW))
                axes.text(x - PITCH / 2, y - to_text, stage.text, size=9, ha="center", va="top")
            color = plots.GREEN if len(stage.shape) < 2 else plots.ORANGE if stage.pools else plots.BLUE
            color = "#BBBBBB" if stage.name == "input" else color
            for right, down, width, height in stage.sheets:
                corner = x - stage.size[0] / 2 + right, y + stage.size[1] / 2 - down - height
                axes.add_patch(Rectangle(corner, width, height, fc=color, ec="white", lw=0.6, zorder=3))
            axes.text(x, y + stage.size[1] / 2 + 0.05, stage.label, size=9, ha="center", va="bottom")
            ends[i : i + 1] = [(x + stage.size[0] / 2 + GAP, y)]
    return ends[0], top - apart * branches + MARGIN
