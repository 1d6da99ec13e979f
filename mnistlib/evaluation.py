"""What a trained network gets right and wrong, on a whole split. Introduced in notebook 00."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from mnistlib.datasets import Split
from mnistlib.networks import channels_last, evaluating


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The logits of a network for every image of a split, and what follows from them.

    logits: float32 ``[N, classes]``; labels: int64 ``[N]``; both on the CPU.
    """

    logits: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]

    @property
    def predictions(self) -> torch.Tensor:
        """The class with the largest logit: int64 ``[N]``."""
        return self.logits.argmax(1)

    @property
    def probabilities(self) -> torch.Tensor:
        """Softmax of the logits: float32 ``[N, classes]``, each row adds up to 1."""
        return self.logits.softmax(1)

    @property
    def accuracy(self) -> float:
        """The share of correct predictions, 0–1."""
        return self.correct.double().mean().item()

    @property
    def correct(self) -> torch.Tensor:
        """Whether each prediction is right: bool ``[N]``."""
        return self.predictions == self.labels

    @property
    def loss(self) -> float:
        """Mean cross-entropy, in nats."""
        return F.cross_entropy(self.logits.double(), self.labels).item()

    @property
    def standard_error(self) -> float:
        """The standard error of ``accuracy`` that the choice of N test images brings, 0–1."""
        return (self.accuracy * (1 - self.accuracy) / len(self.labels)) ** 0.5

    @property
    def confusion(self) -> pd.DataFrame:
        """How often each true class (row) was predicted as each class (column)."""
        return confusion_table(self.labels, self.predictions, self.classes)

    def scores(self) -> pd.DataFrame:
        """For each class against all others: true and false positives and negatives, and the shares made of them.

        Columns ``TP``, ``FP``, ``FN``, ``TN`` (counts), ``precision`` TP / (TP + FP), ``recall`` TP / (TP + FN),
        ``specificity`` TN / (TN + FP), ``accuracy`` (TP + TN) / all, and ``F1``, the harmonic mean of precision and recall.
        A share of nothing is NaN. Introduced in notebook 04.
        """
        counts = self.confusion.to_numpy()
        tp = counts.diagonal()
        fp, fn = counts.sum(0) - tp, counts.sum(1) - tp
        tn = counts.sum() - tp - fp - fn
        table = pd.DataFrame({"TP": tp, "FP": fp, "FN": fn, "TN": tn}, index=pd.Index(self.classes, name="class"))
        return table.assign(
            precision=table.TP / (table.TP + table.FP),
            recall=table.TP / (table.TP + table.FN),
            specificity=table.TN / (table.TN + table.FP),
            accuracy=(table.TP + table.TN) / len(self.labels),
            F1=2 * table.TP / (2 * table.TP + table.FP + table.FN),
        )

    def roc(self, label: int) -> tuple[np.ndarray, np.ndarray, float]:
        """The one-versus-rest ROC curve of a class, from its probability, and the area under it.

        Returns (false positive rate float64 ``[P]``, true positive rate float64 ``[P]``, area 0–1), NaN where a
        class or all others do not occur. Introduced in notebook 04.
        """
        from sklearn.metrics import roc_auc_score, roc_curve

        positive, score = (self.labels == label).numpy(), self.probabilities[:, label].double().numpy()
        if positive.all() or not positive.any():
            return np.array([0.0, 1.0]), np.array([np.nan, np.nan]), float("nan")
        false_positive, true_positive, _ = roc_curve(positive, score)
        return false_positive, true_positive, float(roc_auc_score(positive, score))

    def mistakes(self) -> torch.Tensor:
        """Indices of the wrong predictions, the most confident first: int64 ``[number wrong]``."""
        wrong = (~self.correct).nonzero().flatten()
        return wrong[self.probabilities[wrong].amax(1).argsort(descending=True, stable=True)]

    def __str__(self) -> str:
        n, wrong = len(self.labels), int((~self.correct).sum())
        return (
            f"accuracy ≈ {100 * self.accuracy:.2f} ± {100 * self.standard_error:.2f} %, "
            f"≈ {wrong:,} of {n:,} wrong, loss ≈ {self.loss:.3f}"
        )


def evaluate(net: nn.Module, split: Split, batch_size: int = 250) -> Evaluation:
    """Run ``net`` over every image of ``split``, in evaluation mode, on the device the network is on.

    Returns an `Evaluation`. Raises ValueError when the network cannot take such images or the split is empty. A processor is
    quicker with 250 images at a time than with 1,000, whose feature maps its caches do not hold.
    """
    check_fits(net, split)
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    # In one tensor: thousands of small ones among the large ones that come and go would break up the memory.
    logits, done = torch.empty(len(split), len(split.classes), dtype=torch.float32), 0
    with evaluating(net), channels_last(net), torch.inference_mode():
        for images, _ in split.batches(min(batch_size, len(split))):
            logits[done : done + len(images)] = net(images.to(device))
            done += len(images)
    return Evaluation(logits, split.labels.cpu(), split.classes)


def confusion_table(labels: torch.Tensor, predictions: torch.Tensor, classes: tuple[str, ...]) -> pd.DataFrame:
    """How often each true class (row) was predicted as each class (column); both int64 ``[N]``. Introduced in notebook 03."""
    from sklearn.metrics import confusion_matrix  # here, because importing it takes a second

    counts = confusion_matrix(labels, predictions, labels=range(len(classes)))
    axes = {"index": pd.Index(classes, name="true"), "columns": pd.Index(classes, name="predicted")}
    return pd.DataFrame(counts, **axes)


def mcnemar(first: torch.Tensor, second: torch.Tensor) -> tuple[int, int, float]:
    """McNemar's exact test of two classifiers on the same images: is one better, or is it chance?

    ``first`` and ``second`` say which images each got right: bool ``[N]``. Returns how many images only the first got right,
    how many only the second, and the probability (p, 0–1) of a split at least this uneven if both were equally good.
    Images that both got right, or both wrong, say nothing. Raises ValueError for other types or shapes.
    Source: McNemar 1947; Dietterich 1998. Introduced in notebook 05.
    """
    from scipy.stats import binomtest  # comes with scikit-learn

    if first.dtype != torch.bool or second.dtype != torch.bool or first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            "first and second must be bool of the same shape [N], an entry for each image; got "
            f"{first.dtype} {list(first.shape)} and {second.dtype} {list(second.shape)}."
        )
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    if only_first + only_second == 0:
        return 0, 0, 1.0
    return only_first, only_second, float(binomtest(only_first, only_first + only_second).pvalue)


def mean_and_half_width(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The mean of runs that differ in their seed alone, and half the width of its confidence interval (Student's t).

    Of such intervals a share ``level`` holds the mean of all seeds there are. Raises ValueError for fewer than two
    values. Source: Student 1908. Introduced in notebook 06.
    """
    from scipy.stats import t  # comes with scikit-learn

    if len(values) < 2:
        raise ValueError(f"one run has no spread: give at least two values; got {len(values)}.")
    standard_error = statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values), float(t.ppf((1 + level) / 2, len(values) - 1)) * standard_error


def check_fits(net: nn.Module, split: Split) -> None:
    """Raise ValueError unless ``net`` turns this split's images into one logit for each class."""
    if not len(split):
        raise ValueError("the split has no images; nothing can be trained or measured on it.")
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    size = "×".join(str(n) for n in split.images.shape[1:])
    try:
        with evaluating(net), torch.no_grad():
            images, _ = next(split.batches(1))
            logits = net(images.to(device))
    except RuntimeError as error:
        raise ValueError(
            f"the network cannot take images of {size} ({str(error).splitlines()[0]}). "
            "Resize them first: lenet5 and lenet5-1998 take split.resized(32), the others 28×28."
        ) from None
    if logits.shape != (1, len(split.classes)):
        raise ValueError(
            f"the network must give {len(split.classes)} logits an image, one a class; it gave {list(logits.shape)}."
        )
