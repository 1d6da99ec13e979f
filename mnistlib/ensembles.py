"""Many seeds of one network, trained in one program. Introduced in notebook 06."""

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from tqdm.auto import tqdm

from mnistlib.augmentation import Augmentation
from mnistlib.checkpoints import load_training, save_training
from mnistlib.datasets import Split
from mnistlib.evaluation import Evaluation, check_fits, evaluate
from mnistlib.networks import evaluating, find
from mnistlib.training import (
    ADAM,
    History,
    Loss,
    check_settings,
    describe,
    fit,
    make_scheduler,
    pick_device,
    record_epoch,
    structure,
)

# Optimizers that treat each weight by itself: one of them over all networks is the same as one for each network.
ELEMENTWISE = ("Adadelta", "Adagrad", "Adam", "Adamax", "AdamW", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
FEWER = "Give fewer seeds at once, a smaller batch_size, or stacked=False."


@dataclass
class Ensemble:
    """Networks that differ in their seed alone, and the `History` of each. Introduced in notebook 06."""

    seeds: list[int]
    nets: list[nn.Module]
    histories: list[History]

    def evaluate(self, split: Split) -> list[Evaluation]:
        """Measure each network on a split."""
        return [evaluate(net, split) for net in self.nets]

    def table(self) -> pd.DataFrame:
        """A row an epoch, from 1; for each number of `History.table` its mean over the seeds and its standard deviation.

        The columns have two levels: the number, then ``mean`` or ``sd`` (NaN for a single seed).
        """
        rows = pd.concat([history.table() for history in self.histories])
        return rows.groupby(level=0).agg(["mean", "std"]).rename(columns={"std": "sd"}, level=1)

    def __str__(self) -> str:
        last = self.table().iloc[-1]
        part = "valid_accuracy" if "valid_accuracy" in last else "train_accuracy"
        words = "on validation" if part == "valid_accuracy" else "while training"
        epochs = len(self.histories[0].seconds)
        spread = f", standard deviation ≈ {100 * last[part]['sd']:.2f} points" if len(self.nets) > 1 else ""
        return (
            f"{len(self.nets)} network{'s' if len(self.nets) != 1 else ''}, {epochs} epoch{'s' if epochs != 1 else ''} each: "
            f"accuracy {words} ≈ {last[part]['mean']:.1%}{spread}"
        )


def fit_seeds(
    builder: str | Callable[[int], nn.Module],
    seeds: Iterable[int],
    train: Split,
    *,
    valid: Split | None = None,
    epochs: int = 5,
    batch_size: int = 128,
    lr: float = 0.01,
    schedule: str | float | None = "one-cycle",
    optimizer: Callable[..., torch.optim.Optimizer] = ADAM,
    loss: Loss = F.cross_entropy,
    augment: Augmentation | None = None,
    device: str = "auto",
    stacked: bool | None = None,
    checkpoint=None,
    progress: bool = True,
) -> Ensemble:
    """Train one network for each seed; the same meaning as a `fit` for each, with these settings, which `fit` explains.

    ``builder`` is a key of `NETWORKS`, or makes a network from a seed. Each seed has first weights, an order of the images and
    an augmentation of its own. With ``stacked=True`` the networks take each step together: their weights are stacked in one
    tensor a layer (``torch.func``), and on CUDA a step is one captured graph. With ``stacked=False`` they are
    trained one after the other. Unless told, they are stacked on CUDA, where a small network leaves most of
    the device idle; processor cores are busy with a single one, and stacking makes them slower
    (measured in ``benchmarks``). Stacked networks draw other dropout masks than `fit` does.

    ``checkpoint`` is a file's path, as in `fit`: when one after the other, each seed's file has the seed in its name.

    Raises ValueError, before the first step, for settings that `fit` would not take, and when stacked for
    layers that mix the images of a batch (BatchNorm) and optimizers that look at more than one weight at a
    time; MemoryError when the device has too little memory. Notebook 06.
    """
    seeds = list(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be different whole numbers, at least one; got {seeds}.")
    device = pick_device(device)
    if stacked is None:
        stacked = device.type == "cuda"
    build = find(builder).build if isinstance(builder, str) else builder
    nets = [build(seed) for seed in seeds]
    for split in (train, valid):
        if split is not None:
            check_fits(nets[0], split)
    check_settings(epochs=epochs, batch_size=batch_size, lr=lr, schedule=schedule, images=len(train))
    settings = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "schedule": schedule,
        "optimizer": optimizer,
        "loss": loss,
        "augment": augment,
    }
    if stacked:
        _check_stackable(nets[0], optimizer)
        _check_memory(nets[0], train, len(seeds), batch_size, device)
        try:
            histories = _fit_stacked(nets, seeds, train, valid, device, checkpoint, progress, **settings)
        except torch.OutOfMemoryError:  # others may have taken what was free
            raise MemoryError(f"{device} ran out of memory with {len(seeds)} networks at once. {FEWER}") from None
        return Ensemble(seeds, nets, histories)
    histories = []
    for seed, net in zip(seeds, tqdm(nets, "training", unit="network", disable=not progress), strict=True):
        file = None if checkpoint is None else _with_seed(checkpoint, seed)
        own = {"seed": seed, "device": str(device), "checkpoint": file, "progress": False}
        histories.append(fit(net, train, valid=valid, **own, **settings))
    return Ensemble(seeds, nets, histories)


def memory_needed(net: nn.Module, size: tuple[int, int, int], *, seeds: int, batch_size: int) -> int:
    """About how many bytes ``seeds`` stacked copies of ``net`` take in training, the images themselves not counted.

    Of each weight six numbers: in its network, in the stack, two of its gradient, two for Adam. Of each layer's output for
    a batch the values and their gradients. Right within a factor of two. ``size`` is ``(1, H, W)`` of an image. Notebook 06.
    """
    outputs = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output: outputs.append(output.numel()))
        for layer in net.modules()
        if not list(layer.children())
    ]
    like = next(net.parameters())
    try:
        with evaluating(net), torch.no_grad():  # dropout would draw from the caller's random numbers
            net(torch.zeros(1, *size, dtype=like.dtype, device=like.device))
    finally:
        for hook in hooks:
            hook.remove()
    weights = sum(parameter.numel() for parameter in net.parameters())
    return like.element_size() * seeds * (6 * weights + 2 * batch_size * (sum(outputs) + math.prod(size)))


def _with_seed(path, seed: int) -> Path:
    path = Path(path)
    return path.with_name(f"{path.stem}.seed-{seed}{path.suffix}")


def _fit_stacked(nets, seeds, train, valid, device, checkpoint, progress, *, epochs, batch_size, lr, schedule, **parts):
    train = train.to(device)
    for net in nets:
        net.to(device).train()
    weights, buffers = stack_module_state(nets)
    steps_an_epoch = math.ceil(len(train) / batch_size)
    about = checkpoint is not None and {
        "network": structure(nets[0]),
        **describe(epochs, batch_size, lr, schedule, seeds, **parts, patience=None, train=train, valid=valid, device=device),
        "stacked": True,
    }
    optimizer = parts["optimizer"](weights.values(), lr=lr)
    scheduler = make_scheduler(schedule, optimizer, lr, epochs * steps_an_epoch, steps_an_epoch)
    augment = parts["augment"]
    step = _step_function(nets[0], weights, buffers, train, parts["loss"], augment)
    if device.type == "cuda":
        step = _Captured(step)

    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    histories = [History() for _ in seeds]
    with torch.random.fork_rng(), tqdm(total=epochs * steps_an_epoch, desc="training", unit="step", disable=not progress) as bar:
        torch.manual_seed(seeds[0])  # dropout
        saved = {"weights": list(weights.values()), "optimizer": optimizer, "scheduler": scheduler}
        saved |= {"orders": orders, "histories": histories}
        if checkpoint is not None:
            load_training(checkpoint, about, device, **saved)
            bar.update(len(histories[0].step_loss))
        while len(histories[0].seconds) < epochs:
            start = time.perf_counter()
            rows = torch.stack([torch.randperm(len(train), generator=order) for order in orders]).to(device)
            losses, correct = [], torch.zeros(len(seeds), dtype=torch.int64, device=device)
            for batch in rows.split(batch_size, dim=1):
                inputs = [batch]
                if augment:
                    inputs.append(torch.stack([augment.draw(batch.shape[1], order) for order in orders]).to(device))
                batch_losses, hits, gradients = step(*inputs)
                for weight, gradient in zip(weights.values(), gradients, strict=True):
                    weight.grad = gradient
                optimizer.step()
                if scheduler:
                    scheduler.step()
                losses.append(batch_losses)
                correct += hits
                bar.update()
            for history, its_losses, hits in zip(histories, torch.stack(losses, 1), correct.tolist(), strict=True):
                record_epoch(history, its_losses, hits, len(train), batch_size)
            _unstack(weights, nets)
            if valid is not None:
                for history, net in zip(histories, nets, strict=True):
                    measured = evaluate(net, valid)
                    history.valid_loss.append(measured.loss)
                    history.valid_accuracy.append(measured.accuracy)
                    net.train()
            seconds = time.perf_counter() - start
            for history in histories:
                history.seconds.append(seconds)  # of all seeds together
            if checkpoint is not None:
                save_training(checkpoint, about, device, **saved)
    _unstack(weights, nets)  # once more, for a checkpoint of a training that was at its end
    for net in nets:
        net.eval()
    return histories


def _step_function(net, weights, buffers, train, loss, augment):
    """The forward and backward pass of all networks: from ``rows``, int64 ``[N, B]``, to losses, hits and gradients."""
    base = copy.deepcopy(net)

    def one(its_weights, its_buffers, images, labels):
        logits = functional_call(base, (its_weights, its_buffers), (images,))
        return loss(logits, labels), (logits.argmax(1) == labels).sum()

    every = vmap(one, randomness="different")

    def step(rows, amounts=None):
        images = train.images[rows].to(torch.get_default_dtype()).div_(255)
        if augment:
            images = augment.apply(images.flatten(0, 1), amounts.flatten(0, 1)).view_as(images)
        losses, hits = every(weights, buffers, images, train.labels[rows])
        # No network's loss depends on another's weights: the gradients of the sum are those of each.
        gradients = torch.autograd.grad(losses.sum(), tuple(weights.values()))
        # Laid out in memory as the weights are: fused optimizers go through both as one row of numbers.
        return losses.detach(), hits, [gradient.contiguous() for gradient in gradients]

    return step


class _Captured:
    """A step as CUDA graphs: each shape of its inputs is captured once, and from then on replayed by a single launch."""

    def __init__(self, step):
        self.step, self.graphs = step, {}

    def __call__(self, *inputs):
        key = inputs[0].shape
        if key not in self.graphs:
            with torch.random.fork_rng():  # the rehearsals draw dropout masks, which a training that goes on would miss
                self.graphs[key] = self._capture([each.clone() for each in inputs])
        graph, own_inputs, (losses, hits, gradients) = self.graphs[key]
        for own, new in zip(own_inputs, inputs, strict=True):
            own.copy_(new)
        graph.replay()
        return losses.clone(), hits, gradients  # the next replay overwrites them; losses are kept for the history

    def _capture(self, inputs):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # libraries choose and set up their kernels now, which a capture cannot hold
                self.step(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self.step(*inputs)
        return graph, inputs, outputs


def _unstack(weights: dict[str, torch.Tensor], nets: list[nn.Module]) -> None:
    with torch.no_grad():
        for place, net in enumerate(nets):
            for name, parameter in net.named_parameters():
                parameter.copy_(weights[name][place])


def _check_stackable(net: nn.Module, optimizer: Callable) -> None:
    mixing = [name for name, layer in net.named_modules() if isinstance(layer, nn.modules.batchnorm._NormBase)]
    if mixing:
        raise ValueError(
            f"networks with layers that mix the images of a batch ({', '.join(mixing)}) cannot be stacked; use stacked=False."
        )
    made = optimizer([nn.Parameter(torch.zeros(1))], lr=0.1)
    if type(made).__name__ not in ELEMENTWISE:
        raise ValueError(
            f"stacked networks need an optimizer that treats each weight by itself ({', '.join(ELEMENTWISE)}); "
            f"got {type(made).__name__}. Use one of these, or stacked=False."
        )


def _check_memory(net: nn.Module, train: Split, seeds: int, batch_size: int, device: torch.device) -> None:
    free = free_memory(device)
    needed = memory_needed(net, tuple(train.images.shape[1:]), seeds=seeds, batch_size=batch_size) + train.images.numel()
    if free is not None and needed > free:
        raise MemoryError(
            f"{seeds} networks at once need about {needed / 1e9:.1f} GB, and {device.type} has {free / 1e9:.1f} GB free. " + FEWER
        )


def free_memory(device: torch.device) -> int | None:
    """Bytes of memory that are free on a device; None where that cannot be asked."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None  # macOS and Windows: the system says so itself, when it is too late
