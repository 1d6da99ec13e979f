"""How far to trust a number: intervals and tests for accuracies. Introduced in notebooks 05 and 06."""

import math
import statistics
from collections.abc import Sequence

import torch
from scipy.stats import binomtest, t

from mnistlib.base.checks import checked


@checked
def confidence_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the mean of runs that differ in their seed, and half the width of its confidence interval.

    Of intervals made in this way, a fraction ``level`` contains the mean over all seeds. Raises ValueError for fewer
    than two values. Source: Student 1908. Introduced in notebook 06.
    """
    if len(values) < 2 or not all(map(math.isfinite, values)) or not 0 < level < 1:
        got = f"{values} and level={level}"
        raise ValueError(f"give at least two values, all of them finite, and a level between 0 and 1; got {got}.")
    standard_error = statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values), float(t.ppf((1 + level) / 2, len(values) - 1)) * standard_error


@checked
def mcnemar(first: torch.Tensor, second: torch.Tensor) -> tuple[int, int, float]:
    """McNemar's exact test of two classifiers on the same images: is one better, or could it be chance?

    ``first`` and ``second`` say which images each got right: bool ``[N]``. Returns how many images only the first got
    right, how many only the second, and the probability (p, 0–1) of a result at least this uneven if both were equally
    good. Raises ValueError for other dtypes or shapes. Sources: McNemar 1947, Dietterich 1998. Notebook 05.
    """
    if first.dtype != torch.bool or second.dtype != torch.bool or first.shape != second.shape or first.ndim != 1:
        got = f"{first.dtype} {list(first.shape)} and {second.dtype} {list(second.shape)}"
        raise ValueError(f"first and second must be bool tensors of the same shape [N]; got {got}.")
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    total = only_first + only_second
    return only_first, only_second, float(binomtest(only_first, total).pvalue) if total else 1.0


@checked
def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the number of tests by Holm's method, in the order given. Notebook 05.

    If you act on adjusted values below 0.05, the chance of even one false alarm is below 0.05. Source: Holm 1979.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
