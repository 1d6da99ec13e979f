"""A drawing of any network, made from the network itself. Introduced in notebook 04.

The network is run on one empty image. What each layer gives is drawn from left to right, as in LeCun's
picture of LeNet-5, and below each arrow stands what the layer does and how many parameters it has.
"""

from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise, zip_longest
from math import log10, prod, sqrt

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.textpath import TextPath
from torch import nn

from mnistlib import plots
from mnistlib.counting import layer_table
from mnistlib.networks import Towers
from mnistlib.tracing import NORM, PADDING, Call, is_scale, opened, record, without_gaps, words

WIDTH, MARGIN, LINE = 9, 0.15, 0.165  # in inches, as all lengths here: the figure, its margin, a line of text
ARROW, STRETCH, TURN, APART = 0.3, 0.6, 0.2, 0.14  # the shortest arrow, longer at most by, a corner, between texts
SHEETS, SHIFT, GAP = 8, 0.04, 0.06  # the most maps that are drawn, their distance, and a glyph's from its arrows
POINTS, GREY, INK = 9, "#BBBBBB", {"color": "#444444", "linewidth": 1.1}


@plots.styled
def draw(net: nn.Module, input_size: tuple[int, ...], title: str = "") -> Figure:
    """The architecture of ``net``, drawn from one forward pass of an image of ``input_size``, e.g. ``(1, 32, 32)``.

    Maps ``[C, H, W]`` are a stack of sheets, rows ``[C, L]`` a stack of strips (eight at most are drawn), values ``[N]`` a
    bar; the label ``6@28×28`` is 6 maps of 28×28. `Towers` are drawn one below the other. A layer that only changes
    the values, such as ReLU, is named in the step before it, and padding in the step after it.

    In a module of your own, the layers are drawn in the order in which ``forward`` calls them. What ``forward`` does
    without a layer is a step of its own where it changes the shape; where it does not, as ``F.relu``, it cannot be seen.
    Within ``net``, ``nn.Sequential`` and `Towers` are opened, and any other module of several layers is one step.

    The network's mode and hooks and the random numbers stay as they were. The figure is 9 inches wide (wider only if long
    towers need it). Raises ValueError when the network cannot take such an image. Introduced in notebook 04.
    """
    with torch.random.fork_rng(devices=[]):
        total = layer_table(net, input_size).loc["total"]
        run = record(net, input_size)
    calls = run.inside if run.inside and not isinstance(net, Towers) else [run]
    stages = [_Stage(run.takes, name="input"), *_stages(calls, run.takes, run.gives)]
    if len(run.gives) == 1 and len(stages) > 1:
        stages[-1].shape = run.gives  # 10@1×1, flattened, are 10 logits
        stages[-1].name = "outputs" if "softmax" in stages[-1].text.lower() else "logits"
    rows = _rows(stages)
    width = max(WIDTH, *(_width(row) + 4 * MARGIN for row in rows))
    figure, axes = plt.subplots(figsize=(width, 1), layout="none")
    figure.subplots_adjust(0, 0, 1, 1)
    axes.axis("off")
    y, end = 0, None  # y is 0 at the top and grows upwards, so it is negative below
    if title:
        axes.text(width / 2, y - 0.1, title, size=11, ha="center", va="top")
        y -= 0.3
    for row in rows:
        end, y = _draw_row(axes, row, y - MARGIN, width, end)
    text = f"{total['parameters']:,} parameters, {total['mult-adds']:,} mult-adds for one image"
    drawn = sum(stage.parameters for row in rows for column in row for stage in column if stage)
    if drawn < total["parameters"]:
        text += f" ({total['parameters'] - drawn:,} of the parameters in none of these layers)"
    axes.text(width / 2, y - 0.1, text, ha="center", va="top")
    figure.set_figheight(0.4 - y)
    axes.set(xlim=(0, width), ylim=(y - 0.4, 0))  # one unit is one inch
    return figure


@dataclass
class _Stage:
    """What one step gives, drawn as one glyph, and the text of the step."""

    shape: tuple[int, ...]
    lines: list[str] = field(default_factory=list)
    parameters: int = 0
    pools: bool = False
    name: str = ""

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def label(self) -> str:
        size = "×".join(map(str, self.shape[1:]))
        label = f"{self.shape[0]}@{size}" if size else f"{prod(self.shape):,}"
        return f"input\n{label}" if self.name == "input" else f"{label} {self.name}".strip()

    @property
    def sheets(self) -> list[tuple[float, float, float, float]]:
        """What is drawn, from the back to the front: (x, y, width, height) of each sheet, strip or bar.

        The sides grow with the root of the sizes, and a bar with the logarithm, so that all can stand in one picture.
        """
        channels, *size = self.shape or [1]
        if prod(size) == 1:
            return [(0, 0, 0.13, 0.25 + 0.16 * log10(channels))]
        if len(size) == 1:
            width, height, down = min(0.032 * sqrt(size[0]), 1.2), 0.08, 0.12
        else:
            height, width = (min(0.115 * sqrt(n), 1.2) for n in size[-2:])
            down = SHIFT
        return [(i * SHIFT, i * down, width, height) for i in range(min(channels, SHEETS))]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the whole glyph."""
        x, y, width, height = self.sheets[-1]
        return x + width, y + height

    @property
    def room(self) -> float:
        return max(self.size[0], _text_width(self.label))


def _stages(calls: list[Call], shape: tuple[int, ...], gives: tuple[int, ...]) -> list[_Stage | list]:
    """A stage for each call that makes something new to look at, and a list of branches for `Towers`."""
    stages, first, padded = [], _Stage(shape), []  # first: what is done to the image itself
    for call in without_gaps(opened(calls), shape, gives):
        lines, count, pools = words(call), call.parameters, "Pool" in type(call.module).__name__
        lines += [f"{count:,}", f"parameter{'s' * (count != 1)}"] if count else []
        same = call.takes in (call.gives, (*call.gives, 1), (*call.gives, 1, 1)) and not pools
        if isinstance(call.module, Towers):
            stages.append([_stages([tower], call.takes, tower.gives) for tower in call.inside])
            stages.append(_Stage(call.gives, ["joined"]))
        elif isinstance(call.module, PADDING):
            padded = ["padded"]
        elif same and (not count or isinstance(call.module, NORM) or is_scale(call.module)):
            step = stages[-1] if stages else first
            step.lines += lines
            step.parameters += count
        else:
            lines = [*first.lines, lines[0], *padded, *lines[1:]]
            stages.append(_Stage(call.gives, lines, first.parameters + count, pools))
            first, padded = _Stage(shape), []
    rest = _Stage(gives, first.lines + padded, first.parameters)
    return [*stages, rest] if rest.lines else stages


def _rows(stages: list[_Stage | list]) -> list[list[tuple]]:
    """The stages in columns (of one for each branch, None where a branch is over), and these in as few rows as can be.

    The rows are about as long as each other. Branches and where they fork and join stay in one row.
    """
    groups = []
    for stage in stages:
        columns = list(zip_longest(*stage)) if isinstance(stage, list) else [(stage,)]
        for column in columns:
            if groups and (len(column) > 1 or len(groups[-1][-1]) > 1):
                groups[-1].append(column)
            else:
                groups.append([column])

    def fill(limit):
        rows = [[]]
        for group in groups:
            if rows[-1] and _width(rows[-1] + group) > limit:
                rows.append([])
            rows[-1] += group
        return rows

    limit = WIDTH - 4 * MARGIN
    rows = fill(limit)
    while limit > 0 and len(evener := fill(limit)) == len(rows):
        rows, limit = evener, limit - 0.1
    return rows


@cache
def _text_width(text: str) -> float:
    """Of the longest line, at 9 points; found without a canvas to measure on."""
    font = FontProperties(family="DejaVu Sans")
    paths = [TextPath((0, 0), line, size=POINTS, prop=font) for line in text.splitlines()]  # none for the input
    return max((path.get_extents().width for path in paths), default=0) / 72


def _room(column: tuple) -> float:
    return max(stage.room for stage in column if stage)


def _gaps(row: list[tuple]) -> list[tuple[float, float]]:
    """Before each column: room for a corner, where the way forks, joins or comes from the row above, and for the arrow.

    A text may be wider than its arrow, but only so far that it cannot meet the next text.
    """
    gaps = []
    for last, column in pairwise([None, *row]):
        text = max(_text_width(stage.text) for stage in column if stage)
        if last is None or len(last) != len(column):
            gaps.append((TURN, text + APART) if text else (0, 0))  # the input has no step before it
        else:
            beside = min((stage.room + stage.size[0]) / 2 for stage in (*last, *column) if stage)
            gaps.append((0, max(ARROW, text + APART - beside)))
    return gaps


def _width(row: list[tuple]) -> float:
    return sum(map(sum, _gaps(row))) + sum(map(_room, row))


def _draw_row(axes: Axes, row: list[tuple], top: float, width: float, end: tuple | None) -> tuple[tuple, float]:
    """One row below ``top``. ``end`` is where the row above ended; returns where this one ends, and its bottom."""
    if end:
        top -= MARGIN  # for the line that comes from the row above
    stages = [stage for column in row for stage in column if stage]
    above = max(stage.size[1] / 2 + LINE * (stage.label.count("\n") + 1) for stage in stages) + 0.06
    to_text = max(stage.size[1] for stage in stages) / 2 + 0.1
    below = to_text + LINE * max(stage.text.count("\n") + 1 for stage in stages)
    apart = above + below + APART  # from branch to branch
    branches = max(map(len, row))
    middle, bottom = top - above - apart * (branches - 1) / 2, top - apart * branches + APART

    gaps = _gaps(row)
    arrows = sum(gap > 0 and not turn for turn, gap in gaps)
    extra = min(STRETCH, (width - 4 * MARGIN - _width(row)) / max(arrows, 1))
    x = (width - _width(row) - extra * arrows) / 2
    ends = []  # of what the last column drew, one (x, y) a branch
    for column, (turn, gap) in zip(row, gaps, strict=True):
        lanes = [middle + apart * ((len(column) - 1) / 2 - i) for i in range(len(column))]
        corner = x + turn / 2
        x += turn + gap + extra * (gap > 0 and not turn)
        if turn:
            if end:
                right, between = end[0] + MARGIN, top + MARGIN / 2
                axes.plot([end[0], right, right, corner, corner], [end[1], end[1], between, between, middle], **INK)
            for start in ends:
                axes.plot([start[0], corner], [start[1]] * 2, **INK)
            meeting = [*lanes, *(y for _, y in ends)]
            axes.plot([corner] * 2, [min(meeting), max(meeting)], **INK)
            ends, end = [(corner, y) for y in lanes], None
        centre = x + _room(column) / 2
        for i, (stage, y) in enumerate(zip(column, lanes, strict=True)):
            if not stage:
                continue
            left, right = centre - stage.size[0] / 2 - GAP, centre + stage.size[0] / 2 + GAP
            if stage.text:
                axes.add_patch(
                    FancyArrowPatch(ends[i], (left, y), arrowstyle="-|>", mutation_scale=10, shrinkA=0, shrinkB=0, **INK)
                )
                axes.text((ends[i][0] + left) / 2, y - to_text, stage.text, size=POINTS, ha="center", va="top")
            _draw_stage(axes, stage, centre, y)
            ends[i : i + 1] = [(right, y)]
        x += _room(column)
    return ends[0], bottom


def _draw_stage(axes: Axes, stage: _Stage, x: float, y: float) -> None:
    """The glyph with its centre at (x, y), and its label above it."""
    left, top = x - stage.size[0] / 2, y + stage.size[1] / 2
    kind = plots.GREEN if len(stage.shape) < 2 else plots.ORANGE if stage.pools else plots.BLUE
    look = {"facecolor": GREY if stage.name == "input" else kind, "edgecolor": "white", "linewidth": 0.8, "zorder": 3}
    for right, down, width, height in stage.sheets:
        axes.add_patch(Rectangle((left + right, top - down - height), width, height, **look))
    axes.text(x, top + 0.05, stage.label, size=POINTS, ha="center", va="bottom")
