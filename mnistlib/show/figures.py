"""The figures of the notebooks. Each function returns a matplotlib ``Figure``, which `plots.show` puts on the page."""

import math

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from mnistlib.data import Split
from mnistlib.evaluation import Evaluation
from mnistlib.plots import BLUE, GREEN, ORANGE, RED, image_grid, styled
from mnistlib.train import History


def class_means(split: Split) -> torch.Tensor:
    """Return the mean image of each class: float32 ``[classes, H, W]``, 0–255. Introduced in notebook 01."""
    return torch.stack([split.images[split.labels == c, 0].float().mean(0) for c in range(len(split.classes))])


@styled
def class_balance(*, numbers: bool = False, **splits: Split) -> Figure:
    """Draw the fraction of each class in one or more named splits, side by side. Notebook 01."""
    figure, axis = plt.subplots(figsize=(9, 4 if numbers else 3.2))
    width = 0.8 / len(splits)
    for i, (name, split) in enumerate(splits.items()):
        fractions = np.array(split.counts()) / len(split)
        place = np.arange(len(fractions)) + (i - (len(splits) - 1) / 2) * width
        hatch = "" if numbers else ["", "///", "..."][i % 3]  # words cannot be read on a hatch
        bars = axis.bar(place, fractions, width, label=f"{name} ({len(split):,})", hatch=hatch, edgecolor="white")
        if numbers:
            words = [f"{count:,} = {fraction:.1%}" for count, fraction in zip(split.counts(), fractions, strict=True)]
            color = "white" if i == 0 else "black"
            axis.bar_label(bars, words, label_type="center", rotation=90, fontsize=9, color=color)
    axis.set_xticks(range(len(split.classes)), split.classes)
    axis.axhline(1 / len(split.classes), color="black", linewidth=1, linestyle="--", label="equal fractions")
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(xlabel="label", ylabel="fraction of the images")
    axis.legend(ncols=len(splits) + 1, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return figure


@styled
def image_table(images: torch.Tensor, rows: list[str], columns: list[str]) -> Figure:
    """Draw images ``[R, C, H, W]`` as a table with a name for each row and column; 0 is white, 1 black. Notebook 04."""
    if images.shape[:2] != (len(rows), len(columns)):
        raise ValueError(f"{len(rows)} rows and {len(columns)} columns do not fit images {list(images.shape)}.")
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


@styled
def roc(evaluation: Evaluation) -> Figure:
    """Draw the one-versus-rest ROC curve of each class, with the area under it. Notebook 04.

    The axes end at 10 % false and begin at 90 % true positives, because good classifiers differ only there.
    """
    titles = [f"{name}: area {evaluation.roc(label)[2]:.5f}" for label, name in enumerate(evaluation.classes)]
    words = "false positive rate (first tenth of the axis)", "true positive rate (last tenth)"
    figure, axes = panels(titles, (len(titles) + 1) // 2, 2.05, *words, sharex=True, sharey=True)
    for label, axis in enumerate(axes):
        axis.plot(*evaluation.roc(label)[:2], color=BLUE, linewidth=2, drawstyle="steps-post")
        axis.grid(color="#DDDDDD")
    axis.set(xlim=(-0.002, 0.1), ylim=(0.9, 1.004), xticks=[0, 0.05], yticks=[0.9, 0.95, 1])
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def panels(titles, columns: int, height: float, xlabel: str, ylabel: str, **options) -> tuple[Figure, list[Axes]]:
    """A figure, and a panel of it for each title; the places left over in the last row are empty."""
    rows = math.ceil(len(titles) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(9, height * rows + 0.3), squeeze=False, **options)
    for title, axis in zip(titles, axes.flat, strict=False):
        axis.set_title(title.replace(", ", ",\n", 1) if len(title) > 22 else title, fontsize=9)
    for axis in axes.flat[len(titles) :]:
        axis.axis("off")
    figure.supxlabel(xlabel, fontsize=10)
    figure.supylabel(ylabel, fontsize=10)
    return figure, list(axes.flat[: len(titles)])


@styled
def digit_wall(split: Split, rows: int = 6, columns: int = 20) -> Figure:
    """Draw the first ``rows × columns`` images of a split as one wall. Notebook 01."""
    if len(split) < rows * columns:
        raise ValueError(f"a wall of {rows}×{columns} needs {rows * columns} images; the split has {len(split)}.")
    images = split.images[: rows * columns, 0].unflatten(0, (rows, columns))
    figure, axes = plt.subplots(figsize=(9, 9 * rows / columns), layout="none")
    figure.subplots_adjust(0, 0, 1, 1)
    axes.imshow(images.transpose(1, 2).flatten(0, 1).flatten(1).numpy(), vmin=0, vmax=255)
    axes.axis("off")
    return figure


@styled
def history(fitted: History) -> Figure:
    """Draw loss and accuracy against the epoch, training beside validation. Notebook 03."""
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
def confusion(evaluation: Evaluation) -> Figure:
    """Draw how often each true class (row) was predicted as each class (column). Notebook 03.

    Only the errors have a colour, darker for more; the correct predictions stand on the grey diagonal.
    """
    table = evaluation.confusion
    right = np.eye(len(table), dtype=bool)
    most = max(int(table.to_numpy()[~right].max(initial=0)), 1)
    figure, axis = plt.subplots(figsize=(6.4, 5.2))
    bar = {"label": "errors", "ticks": MaxNLocator(integer=True)}
    sns.heatmap(table, mask=right, annot=True, fmt="d", cmap="Blues", vmin=0, vmax=most, cbar_kws=bar, ax=axis)
    axis.set_facecolor("#D9D9D9")  # visible where the mask leaves the diagonal out
    for i, count in enumerate(np.diag(table)):
        axis.text(i + 0.5, i + 0.5, f"{count:,}", ha="center", va="center")
    axis.tick_params(left=False, bottom=False, labelrotation=0)
    axis.tick_params(axis="x", labelrotation=90 * (max(map(len, table)) > 3))
    axis.set(xlabel="predicted", ylabel="true")
    return figure


@styled
def predictions(split: Split, evaluation: Evaluation, rows: int = 5, columns: int = 10) -> Figure:
    """Draw sample predictions: up to half of them wrong (✗, red), the others correct (✓, green). Notebook 03."""
    wanted = min(rows * columns, len(split))
    right, wrong = evaluation.correct.nonzero().flatten(), evaluation.errors()
    wrong = wrong[: max(wanted // 2, wanted - len(right))]
    chosen = torch.cat([right[: wanted - len(wrong)], wrong])
    both = zip(evaluation.labels[chosen], evaluation.predictions[chosen], strict=True)
    true_and_predicted = [(split.classes[t], split.classes[p]) for t, p in both]
    arrow = " → " if max(map(len, split.classes)) <= 3 else "\n→ "
    titles = [f"✓ {t}" if t == p else f"✗ {t}{arrow}{p}" for t, p in true_and_predicted]
    return image_grid(split.images[chosen], titles, columns, [GREEN if "✓" in title else RED for title in titles])


@styled
def probabilities(image: torch.Tensor, values: torch.Tensor, classes: tuple[str, ...]) -> Figure:
    """Draw an image ``[1, H, W]`` beside the network's probability ``[classes]`` of each class. Notebook 00."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6), width_ratios=[1, 2])
    left.imshow(image[0].numpy(), vmin=0, vmax=255)
    left.axis("off")
    bars = right.bar(classes, values.numpy(), color=[ORANGE if value == values.max() else BLUE for value in values])
    right.bar_label(bars, [f"{value:.0%}" if value >= 0.01 else "" for value in values.tolist()])
    right.set(xlabel="class", ylabel="probability", ylim=(0, 1.12), yticks=[0, 0.5, 1])
    right.yaxis.set_major_formatter(PercentFormatter(1))
    return figure
