"""Figures that set several networks or datasets side by side, in the style of `plots`. Introduced in notebook 05."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axis import Axis
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from mnistlib.data import Split
from mnistlib.lab import results
from mnistlib.plots import BLUE, ORANGE, image_grid, styled
from mnistlib.show.figures import panels
from mnistlib.stats import confidence_interval


def accuracies(runs: pd.DataFrame, by: str = "network") -> Figure:
    """Draw the test accuracies of ``runs``, a table of `lab.results.read`, by network or dataset, the best mean on top.

    Beside a network stands its number of parameters. A hollow square is what the source published. Notebook 05.
    """
    table, groups, published = results.table(runs, by).sort_values("mean", ascending=False), {}, {}
    for key, row in table.iterrows():
        label = f"{row.title} ({row.parameters:,})" if by == "network" else key
        groups[label], published[label] = list(runs.test_accuracy[runs[by] == key]), row.published / 100
    figure = spread(groups, published)
    if by == "dataset":  # some are much easier than others
        figure.axes[0].set_xscale("logit")
        _set_ticks(figure.axes[0].xaxis)
    return figure


@styled
def spread(groups: Mapping[str, Sequence[float]], published: Mapping[str, float] | None = None) -> Figure:
    """Draw one row for each group of accuracies (0–1): a dot for each seed, and below them the mean with its interval.

    ``published`` has the accuracies of others, or NaN, for some of the groups. Introduced in notebook 06.
    """
    rows, sizes = np.arange(len(groups)), [len(values) for values in groups.values()]
    intervals = [confidence_interval(v) if len(v) > 1 else (math.nan, math.nan) for v in groups.values()]
    means, half_widths = zip(*intervals, strict=True)
    figure, axis = plt.subplots(figsize=(9, 0.42 * len(groups) + 1.1))
    axis.plot(np.concatenate([*groups.values()]), np.repeat(rows, sizes) - 0.13, "o", alpha=0.6, label="one seed")
    look = {"fmt": "D", "color": ORANGE, "capsize": 4, "label": "mean, with its 95 % confidence interval (Student's t)"}
    axis.errorbar(means, rows + 0.2, xerr=half_widths, **look)
    values = [(published or {}).get(name, math.nan) for name in groups]
    if not np.isnan(values).all():
        axis.plot(values, rows - 0.13, "s", color="black", fillstyle="none", markersize=8, label="published")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    axis.set(yticks=rows, yticklabels=groups, ylim=(len(groups) - 0.5, -0.5), xlabel="accuracy")
    axis.xaxis.set_major_formatter(_percent)
    axis.grid(color="#DDDDDD")
    return figure


@styled
def learning_curves(curves: Mapping[str, Sequence[float]], columns: int = 4) -> Figure:
    """Draw one panel for each network: its validation accuracy (0–1) after each epoch, before all others in grey.

    On the logit scale, 99 % is about as far from 98 % as 98 % from 96 %. Notebook 05.
    """
    figure, axes = panels(curves, columns, 1.75, "epoch", "validation accuracy", sharex=True, sharey=True)
    for name, axis in zip(curves, axes, strict=True):
        for other in (*curves, name):
            look = {"marker": "o", "color": BLUE} if other is name else {"color": "#CCCCCC", "linewidth": 1}
            axis.plot(range(1, len(curves[other]) + 1), curves[other], markersize=3, **look)
        axis.set_yscale("logit")
        _set_ticks(axis.yaxis, 0.97)
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        axis.tick_params(labelbottom=name in list(curves)[-columns:])
    return figure


@styled
def confusions(tables: Mapping[str, pd.DataFrame], columns: int = 4) -> Figure:
    """Draw one small confusion matrix for each network, of errors only, each with a colour scale of its own.

    ``tables`` come from `evaluation.confusion_table`. The numbers are the five largest of each. Notebook 05.
    """
    figure, axes = panels(tables, columns, 9.8 / columns + 0.4, "predicted", "true")
    for table, axis in zip(tables.values(), axes, strict=True):
        labels, counts = list(table), table.to_numpy() * ~np.eye(len(table), dtype=bool)
        largest = np.where(counts >= max(1, np.sort(counts, axis=None)[-5]), counts.astype(str), "")
        norm = PowerNorm(0.5, 0, 2.5 * max(1, counts.max()))  # a root, so that a few errors are visible beside many
        numbers = {"annot": largest, "fmt": "", "annot_kws": {"size": 9, "color": "black"}}
        look = {"cmap": "Blues", "norm": norm, "linewidths": 0.3, "linecolor": "#DDDDDD", "cbar": False, "square": True}
        sns.heatmap(counts, xticklabels=labels, yticklabels=labels, ax=axis, **numbers, **look)
        axis.tick_params(left=False, bottom=False, labelsize=9, rotation=0)
        axis.tick_params(axis="x", rotation=90 * any(len(str(label)) > 2 for label in labels))
        axis.set_title(f"{axis.get_title()}\n{counts.sum():,} errors", fontsize=9)
    return figure


@styled
def one_of_each(datasets: Mapping[str, Split]) -> Figure:
    """Draw one row for each dataset: the first image of each of its ten classes, with the class's name. Notebook 07."""
    chosen = [split.take([int((split.labels == c).nonzero()[0]) for c in range(10)]) for split in datasets.values()]
    names = [name.replace("/", "/\n").replace("Ankle ", "Ankle\n") for split in chosen for name in split.classes]
    figure = image_grid(torch.cat([split.images for split in chosen]), names)
    for axis, name in zip(figure.axes[::10], datasets, strict=True):
        axis.text(-0.15, 0.5, name, transform=axis.transAxes, ha="right", va="center", fontsize=10)
    return figure


def _set_ticks(axis: Axis, *more: float) -> None:
    """Ticks for accuracies on a logit scale."""
    axis.set_major_locator(FixedLocator([0.5, 0.8, 0.9, 0.95, *more, 0.98, 0.99, 0.995, 0.998]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(_percent)


def _percent(fraction: float, _) -> str:
    return f"{100 * fraction:.6g} %"
