"""What a trained network gets right and wrong on a whole split. Introduced in notebook 00."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from mnistlib.base.checks import checked
from mnistlib.data import Split
from mnistlib.networks import channels_last, evaluating


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The logits of a network, float32 ``[N, classes]``, the labels, int64 ``[N]``, and what follows. Notebook 00."""

    logits: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]

    @property
    def predictions(self) -> torch.Tensor:
        """The class with the largest logit: int64 ``[N]``."""
        return self.logits.argmax(1)

    @property
    def probabilities(self) -> torch.Tensor:
        """The softmax of the logits: float32 ``[N, classes]``; each row adds up to 1."""
        return self.logits.softmax(1)

    @property
    def correct(self) -> torch.Tensor:
        """Whether each prediction is correct: bool ``[N]``."""
        return self.predictions == self.labels

    @property
    def accuracy(self) -> float:
        """The fraction of correct predictions, 0–1."""
        return self.correct.double().mean().item()

    @property
    def standard_error(self) -> float:
        """The standard error of ``accuracy`` that comes from the choice of N test images, 0–1."""
        return (self.accuracy * (1 - self.accuracy) / len(self.labels)) ** 0.5

    @property
    def loss(self) -> float:
        """The mean cross-entropy, in nats."""
        return F.cross_entropy(self.logits.double(), self.labels).item()

    @property
    def confusion(self) -> pd.DataFrame:
        """How often each true class (row) was predicted as each class (column)."""
        return confusion_table(self.labels, self.predictions, self.classes)

    def errors(self) -> torch.Tensor:
        """Return the indices of the wrong predictions, the most confident first: int64 ``[number of errors]``."""
        wrong = (~self.correct).nonzero().flatten()
        return wrong[self.probabilities[wrong].amax(1).argsort(descending=True, stable=True)]

    def scores(self) -> pd.DataFrame:
        """Compare each class with all others: true and false positives and negatives, and the usual scores.

        ``TP``, ``FP``, ``FN`` and ``TN`` are counts; ``F1`` is the harmonic mean of precision and recall. A fraction of
        nothing is NaN. Introduced in notebook 04.
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

    @checked
    def roc(self, label: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the false and true positive rates of a class against all others, float64 ``[P]``, and the area (0–1).

        They are NaN where a class, or all others, do not occur. Introduced in notebook 04.
        """
        if not 0 <= label < len(self.classes):
            raise ValueError(f"label must be 0 to {len(self.classes) - 1}; got {label}.")
        from sklearn.metrics import auc, roc_curve  # here, because importing it takes a second

        positive, score = (self.labels == label).numpy(), self.probabilities[:, label].double().numpy()
        if positive.all() or not positive.any():
            return np.array([0.0, 1.0]), np.array([np.nan, np.nan]), float("nan")
        false_positive, true_positive, _ = roc_curve(positive, score)
        return false_positive, true_positive, float(auc(false_positive, true_positive))

    def __str__(self) -> str:
        percent, wrong = f"{100 * self.accuracy:.2f} ± {100 * self.standard_error:.2f} %", int((~self.correct).sum())
        return f"accuracy ≈ {percent}, ≈ {wrong:,} of {len(self.labels):,} wrong, loss ≈ {self.loss:.3f}"


@checked
def evaluate(net: nn.Module, split: Split, batch_size: int = 250) -> Evaluation:
    """Run ``net`` over every image of ``split`` in evaluation mode, on the network's device. Introduced in notebook 00.

    Raises ValueError when the network cannot take such images or the split is empty. A CPU is faster with 250 images at
    a time than with 1,000, because the feature maps then fit into its caches.
    """
    check_fits(net, split)
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    with evaluating(net), channels_last(net), torch.inference_mode():
        logits = [net(images.to(device)).cpu() for images, _ in split.batches(min(batch_size, len(split)))]
    return Evaluation(torch.cat(logits).float(), split.labels.cpu(), split.classes)


def confusion_table(labels: torch.Tensor, predictions: torch.Tensor, classes: tuple[str, ...]) -> pd.DataFrame:
    """Count how often each true class (row) was predicted as each class (column); both int64 ``[N]``. Notebook 03."""
    counts = torch.bincount(labels * len(classes) + predictions, minlength=len(classes) ** 2)
    axes = {"index": pd.Index(classes, name="true"), "columns": pd.Index(classes, name="predicted")}
    return pd.DataFrame(counts.reshape(len(classes), -1).numpy(), **axes)


@checked
def check_fits(net: nn.Module, split: Split) -> None:
    """Raise ValueError unless ``net`` turns a batch of this split's images into one logit per class and image."""
    if not len(split):
        raise ValueError(f"a Split with at least one image is needed; got {split!r}.")
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    images, _ = next(split.take([0, 0]).batches(2))  # with one, [1, 10] for any batch would pass
    try:
        with evaluating(net), torch.no_grad():
            logits = net(images.to(device))
    except RuntimeError as error:
        shape, why = "×".join(map(str, images.shape[1:])), str(error).splitlines()[0]
        remedy = "Resize them first: lenet5 and lenet5-1998 take split.resized(32), the others 28×28."
        raise ValueError(f"the network cannot take images of {shape} ({why}). {remedy}") from None
    if getattr(logits, "shape", None) != (2, len(split.classes)):
        got = list(logits.shape) if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
        raise ValueError(f"the network must return logits [2, {len(split.classes)}] for 2 images; it gave {got}.")
