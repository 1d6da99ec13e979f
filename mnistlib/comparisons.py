"""Figures that set several networks side by side. In the style of `plots`. Introduced in notebook 05."""

import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, MultipleLocator, NullFormatter, PercentFormatter

from mnistlib.plots import BLUE, ORANGE, styled


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
    rows = math.ceil(len(tables) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(9, 2.45 * rows), squeeze=False)
    for axis, (name, counts) in zip(axes.flat, mistakes.items(), strict=False):
        fifth = np.sort(counts, axis=None)[-5]
        numbers = np.where((counts >= fifth) & (counts > 0), counts.astype(str), "")
        labels = tables[name].index
        sns.heatmap(
            counts,
            annot=numbers,
            fmt="",
            cmap="Blues",
            norm=PowerNorm(0.5, 0, most),  # a root, so that a few mistakes show beside many
            cbar=False,
            square=True,
            linewidths=0.3,
            linecolor="#DDDDDD",
            annot_kws={"fontsize": 9},
            xticklabels=labels,
            yticklabels=labels,
            ax=axis,
        )
        axis.tick_params(left=False, bottom=False, labelrotation=0, labelsize=9)
        axis.set_title(f"{_in_lines(name)}\n{counts.sum():,} mistakes", fontsize=9)
    for axis in axes.flat[len(tables) :]:
        axis.axis("off")
    figure.supxlabel("predicted", fontsize=10)
    figure.supylabel("true", fontsize=10)
    return figure


def _in_lines(name: str) -> str:
    """A long name in two lines, broken at its comma."""
    return name.replace(", ", ",\n", 1) if len(name) > 22 else name
