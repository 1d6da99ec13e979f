"""Figures that set several networks side by side. In the style of `plots`. Introduced in notebook 05."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, MultipleLocator, NullFormatter, PercentFormatter

from mnistlib.datasets import Split
from mnistlib.evaluation import mean_and_half_width
from mnistlib.plots import BLUE, ORANGE, styled

PUBLISHED = ("published mean", "published 1.96 sd")


@styled
def accuracy_against_parameters(table: pd.DataFrame) -> Figure:
    """Test accuracy of each network against its number of parameters; ``table`` is one of `experiments.table`.

    Bars are a standard deviation over seeds up and down. The names stand to the right, in the order of accuracy, each
    joined to its point by a line, so that none covers another. Notebook 05.
    """
    table = table.sort_values("accuracy", ascending=False)
    figure, axis = plt.subplots(figsize=(9, max(3.5, 0.34 * len(table) + 0.7)))
    axis.errorbar(table.parameters, table.accuracy, yerr=table.sd, fmt="none", ecolor=ORANGE, elinewidth=2, zorder=2)
    axis.plot(table.parameters, table.accuracy, "o", color=BLUE, zorder=3)
    axis.set(xscale="log", xlabel="parameters (log scale)", ylabel="test accuracy")
    axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_formatter(PercentFormatter(decimals=1))
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(color="#DDDDDD")
    places = np.linspace(1, 0, len(table)) if len(table) > 1 else [0.5]
    for place, (name, row) in zip(places, table.iterrows(), strict=True):
        axis.annotate(
            f"{row.accuracy:.2f} %  {name}",
            (row.parameters, row.accuracy),
            xytext=(1.06, place),
            textcoords="axes fraction",
            va="center",
            arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.7, "shrinkB": 3, "relpos": (0, 0.5)},
            fontsize=9,
        )
    return figure


@styled
def learning_curves(curves: Mapping[str, list[float]], columns: int = 4) -> Figure:
    """A panel a network: its validation accuracy (0–1) after each epoch, in blue before all others in grey. Notebook 05."""
    if not curves or not all(curves.values()):
        raise ValueError("curves must hold at least one network, and at least one accuracy for each.")
    rows = math.ceil(len(curves) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(9, 1.75 * rows + 0.3), sharex=True, sharey=True, squeeze=False)
    lowest = min(min(accuracies) for accuracies in curves.values())
    for axis, name in zip(axes.flat, curves, strict=False):
        for other in curves.values():
            axis.plot(range(1, len(other) + 1), other, color="#CCCCCC", linewidth=1)
        own = curves[name]
        axis.plot(range(1, len(own) + 1), own, "o-", color=BLUE, linewidth=2, markersize=3)
        axis.set_title(_in_lines(name), fontsize=9)
        axis.set_ylim(max(0.9, lowest - 0.01), 1)
        axis.yaxis.set_major_locator(MultipleLocator(0.02))
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    for axis in axes.flat[len(curves) :]:
        axis.axis("off")
    for axis in axes.flat[max(0, len(curves) - columns) : len(curves)]:
        axis.tick_params(labelbottom=True)
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel("validation accuracy", fontsize=10)
    return figure


@styled
def confusions(tables: Mapping[str, pd.DataFrame], columns: int = 4) -> Figure:
    """A small confusion matrix a network: mistakes only, darker for more, the same scale for all. Notebook 05.

    ``tables`` are those of `evaluation.confusion_table`. The five most frequent mistakes of each have their number.
    """
    if not tables:
        raise ValueError("tables must hold at least one confusion table.")
    mistakes = {name: table.to_numpy() * ~np.eye(len(table), dtype=bool) for name, table in tables.items()}
    most = max(1, max(int(counts.max()) for counts in mistakes.values()))
    norm = PowerNorm(0.5, 0, most)  # a root, so that a few mistakes show beside many
    rows = math.ceil(len(tables) / columns)
    long = max(len(str(label)) for table in tables.values() for label in table.index) > 2
    figure, axes = plt.subplots(rows, columns, figsize=(9, (9.8 / columns + 0.4 * long) * rows), squeeze=False)
    for axis, (name, counts) in zip(axes.flat, mistakes.items(), strict=False):
        axis.pcolormesh(counts, cmap="Blues", norm=norm, linewidth=0.3, edgecolor="#DDDDDD")
        fifth = max(1, np.sort(counts, axis=None)[-5])
        for true, predicted in np.argwhere(counts >= fifth):
            count = counts[true, predicted]
            color = "white" if norm(count) > 0.7 else "black"  # a contrast of at least 4.4 on every blue
            axis.text(predicted + 0.5, true + 0.5, count, fontsize=9, color=color, ha="center", va="center")
        labels = tables[name].index
        middles = np.arange(len(labels)) + 0.5
        axis.set(xticks=middles, xticklabels=labels, yticks=middles, yticklabels=labels, aspect="equal")
        axis.invert_yaxis()
        axis.spines[:].set_visible(False)
        axis.tick_params(left=False, bottom=False, labelrotation=0, labelsize=9)
        axis.tick_params(axis="x", labelrotation=90 if max(map(len, map(str, labels))) > 2 else 0)
        axis.set_title(f"{_in_lines(name)}\n{counts.sum():,} mistakes", fontsize=9)
    for axis in axes.flat[len(tables) :]:
        axis.axis("off")
    figure.supxlabel("predicted", fontsize=10)
    figure.supylabel("true", fontsize=10)
    return figure


@styled
def spread(groups: Mapping[str, Sequence[float]]) -> Figure:
    """A row a group of accuracies (0–1): a dot a seed, below them the mean and its 95 % confidence interval. Notebook 06."""
    if not groups or min(len(accuracies) for accuracies in groups.values()) < 2:
        raise ValueError("groups must hold at least one group, and at least two accuracies in each.")
    figure, axis = plt.subplots(figsize=(9, 0.9 * len(groups) + 0.8))
    for row, accuracies in enumerate(groups.values()):
        mean, half_width = mean_and_half_width(accuracies)
        axis.plot(accuracies, [row - 0.12] * len(accuracies), "o", color=BLUE, alpha=0.6)
        axis.errorbar(mean, row + 0.2, xerr=half_width, fmt="D", color=ORANGE, capsize=5, elinewidth=2)
    axis.set(yticks=range(len(groups)), yticklabels=groups, ylim=(len(groups) - 0.5, -0.5), xlabel="accuracy")
    axis.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    axis.grid(axis="x", color="#DDDDDD")
    return figure


@styled
def one_of_each(datasets: Mapping[str, Split | None]) -> Figure:
    """A row a dataset, an image a class, with its name; instead of a dataset that is None how to get it. Notebook 07."""
    figure, axes = plt.subplots(len(datasets), 10, figsize=(9, 1.15 * len(datasets)), squeeze=False)
    for row, (name, split) in zip(axes, datasets.items(), strict=True):
        for label, axis in enumerate(row):
            axis.axis("off")
            if split is not None:
                first = int((split.labels == label).nonzero()[0])
                axis.imshow(split.images[first, 0], cmap="gray_r", vmin=0, vmax=255)
                axis.set_title(split.classes[label].replace("/", "/\n").replace("Ankle ", "Ankle\n"), fontsize=9, pad=3)
        row[0].text(-0.15, 0.5, name, transform=row[0].transAxes, ha="right", va="center", fontsize=10)
        if split is None:  # the line may go over all ten places, and must not make the first of them wide
            row[0].text(0, 0.5, _absent(name), transform=row[0].transAxes, va="center", fontsize=10).set_in_layout(False)
    return figure


@styled
def absent(name: str) -> Figure:
    """In place of a picture of a dataset that is not on this machine: how to get it. Notebook 07."""
    figure, axis = plt.subplots(figsize=(9, 0.6))
    axis.axis("off")
    axis.text(0, 0.5, f"{name}: {_absent(name)}", va="center", fontsize=10)
    return figure


@styled
def beside_published(table: pd.DataFrame) -> Figure:
    """A row a dataset of `sweeps.table`: our mean accuracy and 1.96 standard deviations, and the published ones. Notebook 07."""
    figure, axis = plt.subplots(figsize=(9, 0.7 * len(table) + 1))
    for row, (_, line) in enumerate(table.iterrows()):
        for columns, shift, color, marker in ((("mean", "1.96 sd"), -0.15, BLUE, "o"), (PUBLISHED, 0.15, ORANGE, "s")):
            mean, half_width = line[columns[0]], line[columns[1]]
            if not math.isnan(mean):
                axis.errorbar(mean, row + shift, xerr=half_width, fmt=marker, color=color, capsize=4, elinewidth=2)
    axis.plot([], [], "o", color=BLUE, label="ours")
    axis.plot([], [], "s", color=ORANGE, label="published")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 1.18), ncols=2, frameon=False)
    axis.set(yticks=range(len(table)), yticklabels=table.index, ylim=(len(table) - 0.5, -0.5), xlabel="test accuracy, %")
    axis.grid(axis="x", color="#DDDDDD")
    return figure


def _absent(name: str) -> str:
    return f"not on this machine; to get it: python -m mnistlib data {name}"


def _in_lines(name: str) -> str:
    """A long name in two lines, broken at its comma."""
    return name.replace(", ", ",\n", 1) if len(name) > 22 else name
