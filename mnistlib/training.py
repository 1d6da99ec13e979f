"""Fit one network: a loop that fits on a screen. Introduced in notebook 03, which first writes it by hand."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from mnistlib.datasets import Split
from mnistlib.evaluation import check_fits, evaluate

ADAM = partial(torch.optim.Adam, fused=True)  # one kernel for all parameters


@dataclass
class History:
    """What happened during `fit`: one number an epoch, and the loss of each step.

    train_loss and train_accuracy are means over the epoch's batches, measured while the network was
    still learning; valid_loss and valid_accuracy are measured after the epoch. Accuracies are in 0–1,
    losses in nats; seconds are those of an epoch, validation included. Introduced in notebook 03.
    """

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)
    valid_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    step_loss: list[float] = field(default_factory=list)

    def table(self) -> pd.DataFrame:
        """A row an epoch, from 1; no validation columns when there was no validation split."""
        columns = {k: v for k, v in vars(self).items() if k != "step_loss" and v}
        return pd.DataFrame(columns, index=pd.RangeIndex(1, len(self.seconds) + 1, name="epoch"))

    def __str__(self) -> str:
        count = f"{len(self.seconds)} epoch{'s' if len(self.seconds) != 1 else ''}, {len(self.step_loss):,} steps"
        valid = f", on validation ≈ {self.valid_accuracy[-1]:.1%}" if self.valid_accuracy else ""
        return f"{count}, ≈ {sum(self.seconds):.0f} s: accuracy while training ≈ {self.train_accuracy[-1]:.1%}{valid}"


def fit(
    net: nn.Module,
    train: Split,
    *,
    valid: Split | None = None,
    epochs: int = 5,
    batch_size: int = 128,
    lr: float = 0.01,
    schedule: str | None = "one-cycle",
    seed: int = 0,
    optimizer: Callable[..., torch.optim.Optimizer] = ADAM,
    patience: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> History:
    """Train ``net`` in place on the cross-entropy of its answers; return its `History`.

    ``lr`` is the learning rate: constant with ``schedule=None``; with ``"one-cycle"`` the peak of a rise over the
    first 30 % of the steps and a fall to almost nothing (Smith and Topin 2018), while Adam's beta1 falls
    from 0.95 to 0.85 and rises again. A run of fewer than ten steps has no room for a cycle: ``lr`` is
    constant. ``seed`` decides the order of
    the images and the dropout, not the first weights: those are in ``net`` already. ``optimizer`` makes the optimizer from
    the parameters and ``lr=``; Adam unless told. With ``patience``, training ends early, after this many epochs in a row
    that did not bring a lower validation loss; the weights stay those of the last epoch. ``device`` is "cpu", "cuda", "mps",
    or "auto" for the fastest there is; ``net`` stays there. The network is left in evaluation mode.

    Raises ValueError for settings or images that cannot be trained with, before the first step, and
    FloatingPointError when the loss stops being a number.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1; got {epochs}.")
    if patience is not None and (valid is None or patience < 1 or schedule):
        raise ValueError(
            f"patience must be at least 1, and needs a validation split and schedule=None; got {patience} with "
            f"{'no' if valid is None else 'a'} validation split and schedule={schedule!r}."
        )
    for split in (train, valid):
        if split is not None:
            check_fits(net, split)
    if not 1 <= batch_size <= len(train):
        raise ValueError(f"batch_size must be 1 to {len(train):,}, the number of training images; got {batch_size}.")
    if not lr > 0:
        raise ValueError(f"lr, the learning rate, must be above 0; got {lr}.")
    if schedule not in (None, "one-cycle"):
        raise ValueError(f"schedule must be None or 'one-cycle'; got {schedule!r}.")

    device = pick_device(device)
    net.to(device)
    train = train.to(device)
    steps = epochs * math.ceil(len(train) / batch_size)
    order = torch.Generator().manual_seed(seed)
    optimizer = optimizer(net.parameters(), lr=lr)
    scheduler = None
    if schedule and steps >= 10:
        momentum = "betas" in optimizer.defaults or optimizer.defaults.get("momentum", 0) > 0  # Adadelta has none to move
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, cycle_momentum=momentum)

    history = History()
    with torch.random.fork_rng(), tqdm(total=steps, desc="training", unit="step", disable=not progress) as bar:
        torch.manual_seed(seed)  # dropout
        for _ in range(epochs):
            start = time.perf_counter()
            net.train()
            # Losses and hits stay on the device: asking for them at each step would make a GPU wait.
            losses, correct = [], torch.zeros((), dtype=torch.int64, device=device)
            for images, labels in train.batches(batch_size, order):
                logits = net(images)
                loss = F.cross_entropy(logits, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if scheduler:
                    scheduler.step()
                losses.append(loss.detach())
                correct += (logits.argmax(1) == labels).sum()
                bar.update()
            _record(history, torch.stack(losses), correct.item() / len(train), len(train), batch_size)
            if valid is not None:
                measured = evaluate(net, valid)
                history.valid_loss.append(measured.loss)
                history.valid_accuracy.append(measured.accuracy)
                bar.set_postfix_str(f"validation {measured.accuracy:.1%}")
            history.seconds.append(time.perf_counter() - start)
            if patience is not None and _epochs_since_best(history.valid_loss) >= patience:
                bar.total = bar.n  # the bar is full, for training is over
                break
    net.eval()
    return history


def _epochs_since_best(losses: list[float]) -> int:
    return len(losses) - 1 - losses.index(min(losses))


def pick_device(name: str = "auto") -> torch.device:
    """The device of this name; "auto" is CUDA, else Apple's MPS, else the CPU. ValueError when it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, present in there.items() if present))
    if not there.get(name.partition(":")[0], False):
        usable = ", ".join(kind for kind, present in there.items() if present)
        raise ValueError(f"no device {name!r} on this machine; it has {usable}. Use device='auto'.")
    return torch.device(name)


def _record(history: History, losses: torch.Tensor, accuracy: float, images: int, batch_size: int) -> None:
    losses = losses.cpu().double()  # to the CPU first: Apple's MPS has no float64
    if not losses.isfinite().all():
        raise FloatingPointError("the loss is no longer a number: training diverged. Try a smaller learning rate (lr).")
    sizes = torch.full_like(losses, batch_size)
    sizes[-1] = images - batch_size * (len(losses) - 1)  # the last batch holds what is left
    history.train_loss.append(float((losses * sizes).sum() / images))
    history.train_accuracy.append(accuracy)
    history.step_loss += losses.tolist()
