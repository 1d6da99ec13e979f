"""Fit one network: a loop that fits on a screen. Introduced in notebook 03, which first writes it by hand."""

import math
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from mnistlib.augmentation import Augmentation
from mnistlib.checkpoints import load_training, save_training
from mnistlib.datasets import Split
from mnistlib.evaluation import check_fits, evaluate
from mnistlib.networks import channels_last

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of logits [B, classes] and labels [B]: their mean loss []
ADAM = partial(torch.optim.Adam, fused=True)  # one kernel for all parameters


def softmax_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The famous mistake, for experiments: softmax first, then cross-entropy, which takes the softmax once more.

    logits: float ``[B, classes]``; labels: int64 ``[B]``; returns the mean, ``[]``, in nats. With ten classes it cannot fall
    below ln(e + 9) - 1 = 1.4612. Found in Peachypie98/mnist-lenet and antoine-spahr/MNIST-LeNet5-Pytorch. Notebook 06.
    """
    return F.cross_entropy(logits.softmax(-1), labels)


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
    schedule: str | float | None = "one-cycle",
    seed: int = 0,
    optimizer: Callable[..., torch.optim.Optimizer] = ADAM,
    loss: Loss = F.cross_entropy,
    augment: Augmentation | None = None,
    patience: int | None = None,
    device: str = "auto",
    checkpoint=None,
    progress: bool = True,
) -> History:
    """Train ``net`` in place on the cross-entropy of its answers; return its `History`.

    ``lr`` is the learning rate: constant with ``schedule=None``; multiplied by a number such as ``schedule=0.98`` after each
    epoch; with ``"one-cycle"`` the peak of a rise over the
    first 30 % of the steps and a fall to almost nothing (Smith and Topin 2018), while Adam's beta1 falls
    from 0.95 to 0.85 and rises again. A run of fewer than ten steps has no room for a cycle: ``lr`` is
    constant. ``seed`` decides the order of the images, their augmentation and the dropout, not the first weights: those are
    in ``net`` already. ``optimizer`` makes the optimizer from the parameters and ``lr=``; Adam unless told. ``augment``
    changes each batch of training images. With ``patience``, training ends early, after this many epochs in a row
    that did not bring a lower validation loss; the weights stay those of the last epoch. ``device`` is "cpu", "cuda", "mps",
    or "auto" for the fastest there is; ``net`` stays there. The network is left in evaluation mode.

    With ``checkpoint``, the path of a file, the whole state is written there after each epoch. A training that was stopped at
    any moment, called again with a new ``net``, goes on from there, and on the same machine ends with the same weights, bit
    for bit; one that is finished is not done again. The weights of the new ``net`` do not count. A function, such as a loss
    of your own, is known by its name: when you change it, name another checkpoint.

    Raises ValueError for settings or images that cannot be trained with and for a checkpoint of another training, before the
    first step, FloatingPointError when the loss stops being a number, and `DataError` when a checkpoint is damaged or cannot
    be written.
    """
    if patience is not None and (valid is None or patience < 1 or schedule):
        raise ValueError(
            f"patience must be at least 1, and needs a validation split and schedule=None; got {patience} with "
            f"{'no' if valid is None else 'a'} validation split and schedule={schedule!r}."
        )
    for split in (train, valid):
        if split is not None:
            check_fits(net, split)
    check_settings(epochs=epochs, batch_size=batch_size, lr=lr, schedule=schedule, images=len(train))
    epochs, batch_size, lr, schedule, patience = map(_plain, (epochs, batch_size, lr, schedule, patience))

    device = pick_device(device)
    net.to(device)
    train = train.to(device)
    steps = epochs * math.ceil(len(train) / batch_size)
    order = torch.Generator().manual_seed(seed)
    about = checkpoint is not None and {  # what must be the same to go on with it
        "network": structure(net),
        **describe(epochs, batch_size, lr, schedule, seed, optimizer, loss, augment, patience, train, valid, device),
    }
    optimizer = optimizer(net.parameters(), lr=lr)
    scheduler = make_scheduler(schedule, optimizer, lr, steps, steps // epochs)

    history = History()
    bar = tqdm(total=steps, desc="training", unit="step", disable=not progress)
    with bar, torch.random.fork_rng(), channels_last(net):
        torch.manual_seed(seed)  # dropout
        parts = {"network": net, "optimizer": optimizer, "scheduler": scheduler, "order": order, "history": history}
        if checkpoint is not None:
            load_training(checkpoint, about, device, **parts)
            bar.update(len(history.step_loss))
        while len(history.seconds) < epochs and not (patience and _epochs_since_best(history.valid_loss) >= patience):
            start = time.perf_counter()
            net.train()
            # Losses and hits stay on the device: asking for them at each step would make a GPU wait.
            # In one tensor: thousands of small ones among the large ones that come and go would break up the memory.
            losses = torch.empty(steps // epochs, device=device)
            correct = torch.zeros((), dtype=torch.int64, device=device)
            for step, (images, labels) in enumerate(train.batches(batch_size, order)):
                if augment:
                    images = augment(images, order)
                logits = net(images)
                batch_loss = loss(logits, labels)
                optimizer.zero_grad()
                batch_loss.backward()
                optimizer.step()
                if scheduler:
                    scheduler.step()
                losses[step] = batch_loss.detach()
                correct += (logits.argmax(1) == labels).sum()
                bar.update()
            record_epoch(history, losses, correct.item(), len(train), batch_size)
            if valid is not None:
                measured = evaluate(net, valid)
                history.valid_loss.append(measured.loss)
                history.valid_accuracy.append(measured.accuracy)
                bar.set_postfix_str(f"validation {measured.accuracy:.1%}")
            history.seconds.append(time.perf_counter() - start)
            if checkpoint is not None:
                save_training(checkpoint, about, device, **parts)
        bar.total = bar.n  # the bar is full: training may have ended early
    net.eval()
    return history


def _epochs_since_best(losses: list[float]) -> int:
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def check_settings(*, epochs: int, batch_size: int, lr: float, schedule, images: int) -> None:
    """Raise ValueError for settings that nothing can be trained with."""
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1; got {epochs}.")
    if not 1 <= batch_size <= images:
        raise ValueError(f"batch_size must be 1 to {images:,}, the number of training images; got {batch_size}.")
    if not lr > 0:
        raise ValueError(f"lr, the learning rate, must be above 0; got {lr}.")
    factor = isinstance(schedule, int | float) and 0 < schedule <= 1
    if not (schedule in (None, "one-cycle") or factor):
        raise ValueError(f"schedule must be None, 'one-cycle', or a factor above 0 and at most 1; got {schedule!r}.")


def make_scheduler(schedule, optimizer: torch.optim.Optimizer, lr: float, steps: int, steps_an_epoch: int):
    """What moves the learning rate after each step, as `fit` explains; None when it is constant."""
    if schedule == "one-cycle" and steps >= 10:
        momentum = "betas" in optimizer.defaults or optimizer.defaults.get("momentum", 0) > 0  # Adadelta has none to move
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, cycle_momentum=momentum)
    if schedule in (None, "one-cycle"):
        return None
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule ** (step // steps_an_epoch))


def describe(epochs, batch_size, lr, schedule, seed, optimizer, loss, augment, patience, train, valid, device) -> dict:
    """A training in plain values: a checkpoint goes on only where all of them are the same."""
    return {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "schedule": schedule,
        "seed": seed,
        "optimizer": _name(optimizer),
        "loss": _name(loss),
        "augment": _name(augment),
        "patience": patience,
        "training images": digest(train),
        "validation images": None if valid is None else digest(valid),
        "device": device.type,
    }


def _name(function: Callable | None) -> str:
    if isinstance(function, partial):
        options = {**dict(enumerate(function.args)), **function.keywords}
        return f"{_name(function.func)} with {_without_address(options)}"
    return getattr(function, "__qualname__", _without_address(function))


def _without_address(value) -> str:
    """Its text, less the place in memory that some objects show: it is another at each start."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def structure(net: nn.Module) -> str:
    """A network's layers in few words: its class, and a checksum (CRC-32) of all that PyTorch prints of it."""
    return f"{type(net).__name__} with the checksum {zlib.crc32(_without_address(net).encode()):08x}"


def _plain(value):
    """NumPy's numbers as Python's: a checkpoint that cannot run code holds no others."""
    return value.item() if isinstance(value, np.generic) else value


def digest(split: Split) -> str:
    """A split in few words: its number of images, and checksums (CRC-32) of images and labels."""
    parts = (zlib.crc32(part.cpu().contiguous().numpy()) for part in (split.images, split.labels))
    return f"{len(split):,} with the checksum {' '.join(f'{part:08x}' for part in parts)}"


def pick_device(name: str = "auto") -> torch.device:
    """The device of this name; "auto" is CUDA, else Apple's MPS, else the CPU. ValueError when it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, present in there.items() if present))
    if not there.get(name.partition(":")[0], False):
        usable = ", ".join(kind for kind, present in there.items() if present)
        raise ValueError(f"no device {name!r} on this machine; it has {usable}. Use device='auto'.")
    return torch.device(name)


def record_epoch(history: History, losses: torch.Tensor, correct: int, images: int, batch_size: int) -> None:
    """Add an epoch's batch losses, ``[steps]``, and its count of right answers to a history."""
    losses = losses.cpu().double()  # to the CPU first: Apple's MPS has no float64
    if not losses.isfinite().all():
        raise FloatingPointError("the loss is no longer a number: training diverged. Try a smaller learning rate (lr).")
    sizes = torch.full_like(losses, batch_size)
    sizes[-1] = images - batch_size * (len(losses) - 1)  # the last batch holds what is left
    history.train_loss.append(float((losses * sizes).sum() / images))
    history.train_accuracy.append(correct / images)
    history.step_loss += losses.tolist()
