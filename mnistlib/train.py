"""Training: the loop of notebook 03, with callbacks for everything that is not the loop."""

import math
import operator
import os
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace

import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from mnistlib.base.checks import checked
from mnistlib.data import Split
from mnistlib.evaluation import check_fits, evaluate
from mnistlib.networks import channels_last


@dataclass
class History:
    """What happened in each epoch of `fit`, and the loss of each step. Introduced in notebook 03.

    train_loss and train_accuracy are means over the images of an epoch, measured while the network was still
    learning; valid_loss and valid_accuracy are measured after it. Accuracies are in 0–1, losses in nats.
    """

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)
    valid_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    step_loss: list[float] = field(default_factory=list)

    def table(self) -> pd.DataFrame:
        """Return one row per epoch, from 1; there are no validation columns when there was no validation split."""
        columns = {k: v for k, v in vars(self).items() if k != "step_loss" and v}
        return pd.DataFrame(columns, index=pd.RangeIndex(1, len(self.seconds) + 1, name="epoch"))

    def __str__(self) -> str:
        count = f"{len(self.seconds)} epoch{'s' if len(self.seconds) != 1 else ''}, {len(self.step_loss):,} steps"
        valid = f", on validation ≈ {self.valid_accuracy[-1]:.1%}" if self.valid_accuracy else ""
        return f"{count}, ≈ {sum(self.seconds):.0f} s: accuracy while training ≈ {self.train_accuracy[-1]:.1%}{valid}"


def one_cycle(parameters, lr, steps, steps_per_epoch, kind=torch.optim.Adam, **options):
    """Return Adam, or another ``kind`` of optimizer, and a one-cycle schedule for `fit`. Introduced in notebook 03.

    The learning rate rises to its peak ``lr`` during 30 % of the steps and then falls to almost 0, while Adam's beta1
    does the opposite. With fewer than ten steps the rate is constant. ``steps`` counts the batches of the whole
    training; ``steps_per_epoch`` is for schedules that change once an epoch. Source: Smith and Topin 2018.
    """
    optimizer, _ = constant(parameters, lr, steps, steps_per_epoch, kind, **options)
    if steps < 10:
        return optimizer, None
    momentum = "betas" in optimizer.defaults or optimizer.defaults.get("momentum", 0) > 0  # Adadelta has none to move
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, cycle_momentum=momentum)


def constant(parameters, lr, steps, steps_per_epoch, kind=torch.optim.Adam, **options):
    """Return Adam, or another ``kind`` of optimizer, with a constant learning rate, for `fit`. Notebook 05."""
    if kind is torch.optim.Adam:
        options = {"fused": True, **options}  # one kernel updates all parameters
    return kind(parameters, lr=lr, **options), None


@checked
def fit(
    net: nn.Module,
    train: Split,
    valid: Split | None = None,
    *,
    epochs: int = 5,
    batch_size: int = 128,
    lr: float = 0.01,
    seed: int = 0,
    loss: Callable = F.cross_entropy,
    optimizer: Callable = one_cycle,
    callbacks: Iterable = (),
    progress: bool = True,
) -> History:
    """Train ``net`` in place to give each image of ``train`` its label, and return the `History`. Notebook 03.

    ``loss(logits [B, classes], labels [B])`` returns the mean loss of a batch. ``optimizer`` is a function like
    `one_cycle`: it returns an optimizer, and a scheduler (or None) that moves after each batch. ``seed`` decides the
    order of images, their augmentation and the dropout; the first weights are already in ``net``. A network on the CPU
    is trained on the fastest device (`pick_device`) and comes back to the CPU, in evaluation mode.

    Of each callback, the methods that it has are called with ``run``: ``begin`` before the first batch, ``batch_end``
    after each step, ``epoch_end`` after each epoch's validation, and ``end``. ``run`` holds net, train, valid,
    optimizer, scheduler, generator, history, step and more; ``run.stop = True`` ends the training. Notebook 05.

    Raises ValueError for images or settings that cannot be trained with, before the first step, and FloatingPointError
    when the loss is no longer a number.
    """
    check_settings(net, train, valid, epochs=epochs, batch_size=batch_size, lr=lr)
    if isinstance(optimizer, type):
        raise TypeError(f"optimizer must be like one_cycle; use partial(constant, kind={optimizer.__name__}).")
    seed, home = operator.index(seed) % 2**64, next(net.parameters(), torch.empty(0)).device
    device = pick_device() if home.type == "cpu" else home
    net.to(device)
    train = train.to(device)
    steps_per_epoch = math.ceil(len(train) / batch_size)
    optimizer, scheduler = optimizer(net.parameters(), lr, epochs * steps_per_epoch, steps_per_epoch)
    history, generator = History(), torch.Generator().manual_seed(seed)

    run = SimpleNamespace(net=net, train=train, valid=valid, optimizer=optimizer, scheduler=scheduler, device=device)
    run.history, run.generator, run.callbacks = history, generator, list(callbacks)
    run.epochs, run.batch_size, run.lr, run.seed, run.loss = epochs, batch_size, lr, seed, loss
    run.step, run.steps_per_epoch, run.stop = 0, steps_per_epoch, False

    def call(event):
        for callback in run.callbacks:
            getattr(callback, event, lambda run: None)(run)

    bar = tqdm(total=epochs * steps_per_epoch, desc="training", unit="step", disable=not progress)
    with bar, torch.random.fork_rng(), channels_last(net), exact_cudnn(), ExitStack() as stack:
        stack.callback(lambda: net.to(home).eval())  # also when the student interrupts the training
        torch.manual_seed(seed)  # dropout draws from PyTorch's own generator
        call("begin")
        bar.update(run.step)  # above 0 when a callback has resumed a training
        while len(history.seconds) < epochs and not run.stop:
            start = time.perf_counter()
            net.train()
            # Losses stay on the device: a GPU would have to wait if we asked for each of them.
            losses = torch.empty(steps_per_epoch, device=device)
            correct = torch.zeros((), dtype=torch.int64, device=device)
            for i, (images, labels) in enumerate(train.batches(batch_size, generator)):
                logits = net(images)
                batch_loss = loss(logits, labels)
                if getattr(batch_loss, "ndim", 1):
                    raise ValueError("loss must return one number for a batch, as a tensor: the mean of its losses.")
                optimizer.zero_grad()
                batch_loss.backward()
                optimizer.step()
                if scheduler:
                    scheduler.step()
                losses[i] = batch_loss.detach()
                correct += (logits.argmax(1) == labels).sum()
                run.step += 1
                bar.update()
                call("batch_end")
            record_epoch(history, losses, correct.item(), len(train), batch_size)
            if valid is not None:
                measured = evaluate(net, valid)
                history.valid_loss.append(measured.loss)
                history.valid_accuracy.append(measured.accuracy)
                bar.set_postfix_str(f"validation {measured.accuracy:.1%}")
            history.seconds.append(time.perf_counter() - start)
            call("epoch_end")
        bar.total = bar.n  # training may have ended early
        call("end")
    return history


def record_epoch(history: History, losses: torch.Tensor, correct: int, images: int, batch_size: int) -> None:
    """Add the batch losses of an epoch, ``[steps]``, and its number of correct predictions to a history."""
    losses = losses.cpu().double()  # first to the CPU: Apple's MPS has no float64
    if not losses.isfinite().all():
        raise FloatingPointError("the loss is no longer a number: training diverged. Try a smaller learning rate (lr).")
    sizes = torch.full_like(losses, batch_size)
    sizes[-1] = images - batch_size * (len(losses) - 1)  # the last batch holds the remainder
    history.train_loss.append(float((losses * sizes).sum() / images))
    history.train_accuracy.append(correct / images)
    history.step_loss += losses.tolist()


def check_settings(net: nn.Module, train: Split, valid: Split | None, *, epochs: int, batch_size: int, lr: float):
    """Raise ValueError for images or settings that the network cannot be trained with."""
    for split in [train] if valid is None else [train, valid]:
        check_fits(net, split)
    if epochs < 1:
        raise ValueError(f"epochs must be a whole number, at least 1; got {epochs}.")
    if not 1 <= batch_size <= len(train):
        raise ValueError(f"batch_size must be 1 to {len(train):,}, the number of training images; got {batch_size!r}.")
    if not 0 < lr < math.inf:
        raise ValueError(f"lr, the learning rate, must be a number above 0; got {lr!r}.")


def exact_cudnn():
    """In this block a GPU adds in the same order each time, and does not shorten float32 to TF32."""
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def pick_device() -> torch.device:
    """Return the device that ``$MNISTLIB_DEVICE`` names (cpu, cuda, cuda:1, mps), or else the fastest one there is."""
    name = os.environ.get("MNISTLIB_DEVICE") or "auto"
    fastest = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    if name not in ("auto", "cpu") and name.partition(":")[0] != fastest.type:
        raise ValueError(f"no device {name!r} on this machine; it has {fastest.type}. Set MNISTLIB_DEVICE=auto.")
    return fastest if name == "auto" else torch.device(name)
