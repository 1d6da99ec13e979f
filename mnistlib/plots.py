"""Every figure of the course. Each function that draws returns its matplotlib ``Figure``; `show` puts it on the page.

One style for all: opaque white, so that a figure stays readable on a dark page; text of at least
9 points; Okabe and Ito's colours, which colour-blind readers can tell apart, and never colour alone.
"""

import functools
import math
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from mnistlib.datasets import Split
from mnistlib.evaluation import Evaluation
from mnistlib.files import atomic_write
from mnistlib.training import History

BLUE, ORANGE, GREEN, RED, PINK = "#0072B2", "#E69F00", "#007A5A", "#C43E00", "#CC79A7"
STYLE = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so it is on every machine
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, RED, PINK]),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "image.cmap": "gray_r",  # ink is dark, as on paper
    "figure.constrained_layout.use": True,
    "lines.markersize": 5,
}
DPI = 120


def use_style() -> None:
    """Draw what follows in the course's style, also figures made without this module. Notebook 01."""
    plt.style.use(["default", STYLE])


def styled(draw):
    """Make a function draw in the course's style, whatever style its caller has chosen."""

    @functools.wraps(draw)
    def in_style(*args, **kwargs):
        with plt.style.context(STYLE, after_reset=True):
            return draw(*args, **kwargs)

    return in_style


def show(figure: Figure, alt: str) -> None:
    """Show a figure in the notebook with a text alternative for those who cannot see it, and close it.

    ``alt`` says what the figure shows. Screen readers, and pages made from the notebook, use it. Raises ValueError
    when it is empty. Introduced in notebook 00.
    """
    from IPython.display import display

    if not alt.strip():
        raise ValueError("alt is empty; say in a sentence what the figure shows.")
    buffer, width = BytesIO(), round(figure.get_figwidth() * 100)
    with plt.style.context(STYLE, after_reset=True):
        figure.savefig(buffer, format="png", dpi=DPI)
    plt.close(figure)
    data = {"image/png": buffer.getvalue(), "text/plain": alt}
    display(data, metadata={"image/png": {"alt": alt, "width": width}}, raw=True)


def save(figure: Figure, path) -> None:
    """Write a figure as a PNG file, whole or not at all, the same bytes each time, and close it. Notebook 08."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})  # no version in the bytes
    plt.close(figure)


@styled
def digit_wall(split: Split, rows: int = 6, columns: int = 20) -> Figure:
    """The first ``rows × columns`` images of a split as one wall; ValueError when it has fewer. Notebook 01."""
    images = split.take(rows * columns).images[:, 0]
    if len(images) < rows * columns:
        raise ValueError(f"a wall of {rows}×{columns} needs {rows * columns} images; the split has {len(split)}.")
    height, width = images.shape[1:]
    wall = images.reshape(rows, columns, height, width).permute(0, 2, 1, 3).reshape(rows * height, columns * width)
    figure, axes = plt.subplots(figsize=(9, 9 * rows / columns), layout="none")
    figure.subplots_adjust(0, 0, 1, 1)
    axes.imshow(wall.numpy(), vmin=0, vmax=255)
    axes.axis("off")
    return figure


@styled
def image_grid(
    images: torch.Tensor, titles: list[str], columns: int = 10, colors: list[str] | None = None, ink: float = 255, signed=False
) -> Figure:
    """Images ``[N, 1, H, W]`` or ``[N, H, W]``, each with a title above it, ``columns`` to a row.

    A pixel of value ``ink`` is black and 0 is white in all of them, so that they can be compared. With ``signed``, 0 is white,
    ``ink`` dark orange and −``ink`` dark purple. Raises ValueError when there is no image, or not one title for each.
    Introduced in notebook 00.
    """
    if not len(images) or len(images) != len(titles):
        raise ValueError(f"there must be images, and a title for each; got {len(images)} images and {len(titles)} titles.")
    images = images.reshape(len(images), *images.shape[-2:])
    side = 9 / columns  # inches
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    lines = max(title.count("\n") + 1 for title in titles)
    size = (side * columns, rows * (side + 0.19 * lines))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for i, axis in enumerate(axes.flat):
        axis.axis("off")
        if i < len(images):
            colors_of_pixels = {"vmin": -ink, "cmap": "PuOr_r"} if signed else {"vmin": 0}
            axis.imshow(np.asarray(images[i]), vmax=ink, **colors_of_pixels)
            axis.set_title(titles[i], fontsize=9, color=colors[i] if colors else "black", pad=3)
    return figure


@styled
def image_table(images: torch.Tensor, rows: list[str], columns: list[str]) -> Figure:
    """Images ``[R, C, H, W]`` as a table with a word before each row and above each column; 0 is white, 1 black. Notebook 04."""
    if images.shape[:2] != (len(rows), len(columns)):
        raise ValueError(f"{len(rows)} rows and {len(columns)} columns do not fit images of shape {list(images.shape)}.")
    side = min(9 / (len(columns) + 0.5), 1.2)
    size = (side * (len(columns) + 0.5), side * len(rows) + 0.35)
    figure, axes = plt.subplots(len(rows), len(columns), figsize=size, squeeze=False)
    for axis, image in zip(axes.flat, images.flatten(0, 1), strict=True):
        axis.imshow(np.asarray(image), vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color="#CCCCCC")
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name, fontsize=9)
    for axis, name in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    return figure


def class_means(split: Split) -> torch.Tensor:
    """The mean image of each class: float32 ``[classes, H, W]``, 0–255. Introduced in notebook 01."""
    return torch.stack([split.images[split.labels == c, 0].float().mean(0) for c in range(len(split.classes))])


@styled
def class_balance(*, numbers: bool = False, **splits: Split) -> Figure:
    """The share of each class in one or more named splits, side by side; with ``numbers`` written out. Notebook 01."""
    figure, axis = plt.subplots(figsize=(9, 4 if numbers else 3.2))
    width = 0.8 / len(splits)
    for i, (name, split) in enumerate(splits.items()):
        shares = np.array(split.counts()) / len(split)
        place = np.arange(len(shares)) + (i - (len(splits) - 1) / 2) * width
        hatch = "" if numbers else ["", "///", "..."][i % 3]  # words cannot be read on a hatch
        bars = axis.bar(place, shares, width, label=f"{name} ({len(split):,})", hatch=hatch, edgecolor="white")
        if numbers:
            words = [f"{count:,} = {share:.1%}" for count, share in zip(split.counts(), shares, strict=True)]
            color = "white" if i == 0 else "black"
            axis.bar_label(bars, words, label_type="center", rotation=90, fontsize=9, color=color)
    axis.set_xticks(range(len(split.classes)), split.classes)
    axis.axhline(1 / len(split.classes), color="black", linewidth=1, linestyle="--", label="equal shares")
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(xlabel="label", ylabel="share of the images")
    axis.legend(ncols=len(splits) + 1, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return figure


@styled
def history(fitted: History) -> Figure:
    """Loss and accuracy against the epoch, training beside validation. Notebook 03."""
    epochs = range(1, len(fitted.seconds) + 1)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
    for axis, what in zip(axes, ("loss", "accuracy"), strict=True):
        axis.plot(epochs, getattr(fitted, f"train_{what}"), "o-", label="training (while learning)")
        if fitted.valid_loss:
            axis.plot(epochs, getattr(fitted, f"valid_{what}"), "s--", label="validation (after the epoch)")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.set(xlabel="epoch", ylabel=what)
    axes[0].set(yscale="log", ylabel="cross-entropy loss (log scale)")
    axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].yaxis.set_minor_formatter(NullFormatter())
    axes[1].yaxis.set_major_formatter(PercentFormatter(1))
    axes[0].legend(frameon=False)
    return figure


@styled
def step_loss(fitted: History) -> Figure:
    """The loss of each step, and its mean over the last 50 steps. Notebook 08."""
    losses = pd.Series(fitted.step_loss, index=range(1, len(fitted.step_loss) + 1))
    figure, axis = plt.subplots(figsize=(9, 3.2))
    axis.plot(losses, color="#999999", linewidth=0.8, marker="o", markersize=2, label="each step")
    axis.plot(losses.rolling(50, min_periods=1).mean(), color=BLUE, linewidth=2, label="mean of the last 50 steps")
    axis.set(xlabel="step", ylabel="cross-entropy loss (log scale)", yscale="log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.legend(frameon=False)
    return figure


@styled
def errors(fitted: History) -> Figure:
    """The share of wrong answers after each epoch, training beside validation, each point with its number. Notebook 08."""
    epochs = range(1, len(fitted.seconds) + 1)
    figure, axis = plt.subplots(figsize=(9, 3.2))
    curves = {"training (while learning)": (fitted.train_accuracy, "o-"), "validation": (fitted.valid_accuracy, "s--")}
    for label, (accuracy, style) in curves.items():
        if accuracy:
            wrong = [1 - share for share in accuracy]
            axis.plot(epochs, wrong, style, label=label)
            if len(epochs) <= 10:
                for epoch, share in zip(epochs, wrong, strict=True):
                    axis.annotate(f"{share:.2%}", (epoch, share), (6, 4), textcoords="offset points")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.set(xlabel="epoch", ylabel="wrong answers", xlim=(0.5, len(epochs) + 0.5))
    axis.set_ylim(0, axis.get_ylim()[1] * 1.1)
    axis.legend(frameon=False)
    return figure


@styled
def roc(evaluation: Evaluation) -> Figure:
    """Ten one-versus-rest ROC curves, one a class, with the area under each. Notebook 04.

    The axes end at 10 % false and begin at 90 % true positives, for a good classifier's curves differ only there.
    """
    figure, axes = plt.subplots(2, math.ceil(len(evaluation.classes) / 2), figsize=(9, 4.4), sharex=True, sharey=True)
    for label, axis in zip(range(len(evaluation.classes)), axes.flat, strict=False):
        false_positive, true_positive, area = evaluation.roc(label)
        axis.plot(false_positive, true_positive, color=BLUE, linewidth=2, drawstyle="steps-post")
        axis.set_title(f"{evaluation.classes[label]}: area {area:.5f}", fontsize=9)
        axis.grid(color="#DDDDDD")
    axes[0, 0].set(xlim=(-0.002, 0.1), ylim=(0.9, 1.004), xticks=[0, 0.05], yticks=[0.9, 0.95, 1])
    axes[0, 0].xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[0, 0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.supxlabel("false positive rate (first tenth of the axis)", fontsize=10)
    figure.supylabel("true positive rate (last tenth)", fontsize=10)
    return figure


@styled
def confusion(evaluation: Evaluation) -> Figure:
    """Counts of each true class (row) predicted as each class (column).

    The colour shows the mistakes only, darker for more; the right answers stand on the grey diagonal.
    Notebook 03.
    """
    table = evaluation.confusion
    right = np.eye(len(table), dtype=bool)
    most = max(int(table.to_numpy()[~right].max(initial=0)), 1)
    figure, axis = plt.subplots(figsize=(6.4, 5.2))
    sns.heatmap(
        table,
        mask=right,
        annot=True,
        fmt="d",
        cmap="Blues",
        vmin=0,
        vmax=most,
        cbar_kws={"label": "mistakes", "ticks": MaxNLocator(integer=True)},
        ax=axis,
    )
    axis.set_facecolor("#D9D9D9")  # shows where the mask leaves the diagonal out
    for i, count in enumerate(np.diag(table)):
        axis.text(i + 0.5, i + 0.5, f"{count:,}", ha="center", va="center")
    axis.tick_params(left=False, bottom=False, labelrotation=0)
    if max(map(len, table)) > 3:
        axis.set_xticks(axis.get_xticks(), list(table), rotation=90)
    axis.set(xlabel="predicted", ylabel="true")
    return figure


@styled
def predictions(split: Split, evaluation: Evaluation, rows: int = 5, columns: int = 10) -> Figure:
    """Sample predictions: up to half of them wrong (✗ and true → predicted, red), the rest right (✓, green). Notebook 03."""
    wanted = min(rows * columns, len(split))
    right, wrong = evaluation.correct.nonzero().flatten(), evaluation.mistakes()
    wrong = wrong[: max(wanted // 2, wanted - len(right))]
    right = right[: wanted - len(wrong)]
    chosen = torch.cat([right, wrong])
    correct = evaluation.correct[chosen].tolist()
    true = [split.classes[i] for i in evaluation.labels[chosen]]
    predicted = [split.classes[i] for i in evaluation.predictions[chosen]]
    arrow = " → " if max(map(len, split.classes)) <= 3 else "\n→ "
    titles = [f"✓ {t}" if t == p else f"✗ {t}{arrow}{p}" for t, p in zip(true, predicted, strict=True)]
    return image_grid(split.images[chosen], titles, columns, [GREEN if ok else RED for ok in correct])


@styled
def probabilities(image: torch.Tensor, shares: torch.Tensor, classes: tuple[str, ...]) -> Figure:
    """An image ``[1, H, W]`` beside the network's probability ``[classes]`` for each class. Notebook 00."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6), width_ratios=[1, 2])
    left.imshow(image[0].numpy(), vmin=0, vmax=255)
    left.axis("off")
    shares = shares.numpy()
    bars = right.bar(classes, shares, color=[ORANGE if share == shares.max() else BLUE for share in shares])
    right.bar_label(bars, [f"{share:.0%}" if share >= 0.01 else "" for share in shares.tolist()])
    right.set(xlabel="class", ylabel="probability", ylim=(0, 1.12), yticks=[0, 0.5, 1])
    right.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


@styled
def table(frame: pd.DataFrame) -> Figure:
    """A data frame as a picture, its index to the left: numbers to the right of their columns, words to the left. Notebook 02."""
    frame = frame.reset_index()
    words = [[f"{cell:,}" if isinstance(cell, int | np.integer) else str(cell) for cell in row] for row in frame.to_numpy(object)]
    longest = [max(map(len, column)) for column in zip(*words, [str(name) for name in frame.columns], strict=True)]
    figure, axis = plt.subplots(figsize=(9, 0.26 * (len(frame) + 1) + 0.1))
    axis.axis("off")
    ends = np.cumsum([length + 3 for length in longest]) / (sum(longest) + 3 * len(longest))
    for j, name in enumerate(frame.columns):
        right = pd.api.types.is_numeric_dtype(frame[name])
        x = ends[j] - 0.02 if right else (ends[j - 1] if j else 0)
        for i, word in enumerate([str(name), *(row[j] for row in words)]):
            weight = "bold" if i == 0 or words[i - 1][0] == "total" else "normal"
            axis.text(x, len(frame) - i, word, ha="right" if right else "left", va="center", fontsize=10, fontweight=weight)
    for i in range(len(frame) + 1):
        axis.axhline(i - 0.5, color="#DDDDDD" if i < len(frame) else "black", linewidth=0.8)
    axis.set(xlim=(0, 1), ylim=(-0.6, len(frame) + 0.5))
    return figure
