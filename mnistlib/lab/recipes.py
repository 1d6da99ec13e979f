"""Recipes: all that decides what a training does, in one frozen object, and the recipes of the course's sources."""

import dataclasses
import hashlib
import json
import math
import operator
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from mnistlib.augment import Augmentation
from mnistlib.data import ImageDataset, Split, is_whole
from mnistlib.lab.callbacks import EarlyStopping, WeightAverage, decay, softmax_cross_entropy
from mnistlib.lab.checkpoint import Checkpoint, fingerprint
from mnistlib.lab.networks import keras_initialisation
from mnistlib.networks import find
from mnistlib.train import History, constant, fit, one_cycle

OPTIMIZERS = {
    "adam": {},
    "keras-adam": {"eps": 1e-7},  # Keras's defaults, not PyTorch's
    "keras-adadelta": {"kind": torch.optim.Adadelta, "rho": 0.95, "eps": 1e-7},
    "adamw": {"kind": torch.optim.AdamW},
    "sgd": {"kind": torch.optim.SGD, "momentum": 0.9},
}
LOSSES = {"cross-entropy": F.cross_entropy, "softmax-cross-entropy": softmax_cross_entropy}
CHOICES = {"optimizer": OPTIMIZERS, "loss": LOSSES, "initialisation": ("pytorch", "keras")}
LIMITS = {"lr": math.inf, "schedule": 1, "label_smoothing": 1, "averaging": 1}  # of the others, exclusive
SMALLEST = {"epochs": 1, "batch_size": 1, "patience": 1, "valid": 0, "split_seed": 0}  # of the whole numbers


@dataclass(frozen=True)
class Recipe:
    """How one network is trained on one dataset. Introduced in notebook 05.

    schedule: "one-cycle" with ``lr`` as its peak, "constant", or a factor by which each epoch multiplies ``lr``.
    optimizer, loss: a key of `OPTIMIZERS` and of `LOSSES`. initialisation: "pytorch" is the network's own.
    patience: end after this many epochs without a lower validation loss; None for never.
    averaging: the decay of a moving average of the weights, which is then what is measured; None for none.
    valid: how many training images are kept for validation; ``split_seed`` draws them, or the run's own seed if None.

    Raises ValueError for a value that makes no sense.
    """

    network: str
    dataset: str = "MNIST"
    epochs: int = 5
    batch_size: int = 128
    lr: float = 0.01
    schedule: str | float = "one-cycle"
    optimizer: str = "adam"
    loss: str = "cross-entropy"
    label_smoothing: float = 0.0
    augmentation: Augmentation | None = None
    initialisation: str = "pytorch"
    patience: int | None = None
    averaging: float | None = None
    valid: int = 5_000
    split_seed: int | None = 0

    def __post_init__(self):
        find(self.network)
        values = {name: _whole(name, getattr(self, name), least) for name, least in SMALLEST.items()}
        values |= {name: _number(name, getattr(self, name), limit) for name, limit in LIMITS.items()}
        values |= {"split_seed": None} if not values["valid"] else {}
        for name, value in values.items():
            object.__setattr__(self, name, value)  # NumPy's numbers as Python's
        for name, known in CHOICES.items():
            if getattr(self, name) not in list(known):
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}.")
        for name, kind in {"dataset": str, "augmentation": Augmentation | None}.items():
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} must be of type {kind}; got {getattr(self, name)!r}.")
        if self.patience and not self.valid:
            raise ValueError("patience needs validation images. Set valid, or leave patience out.")
        if self.label_smoothing and self.loss != "cross-entropy":
            raise ValueError(f"label_smoothing needs the loss 'cross-entropy'; got {self.loss!r}.")

    def to_dict(self) -> dict:
        """Return the recipe as plain values, as they are stored in a file of results."""
        augmentation = self.augmentation and json.dumps(dataclasses.asdict(self.augmentation))
        plain = {"augmentation": augmentation and json.loads(augmentation, parse_int=float)}
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | plain

    @classmethod
    def from_dict(cls, values: dict) -> "Recipe":
        """Return the recipe that `to_dict` described. Raises ValueError for other fields."""
        if unknown := set(values) - {field.name for field in dataclasses.fields(cls)}:
            raise ValueError(f"a recipe has no {', '.join(sorted(unknown))}.")
        augmentation = values.get("augmentation")
        if isinstance(augmentation, dict):
            pairs = {name: tuple(augmentation[name]) for name in ("scale", "brightness")}
            values = values | {"augmentation": Augmentation(**augmentation | pairs)}
        return cls(**values)

    def key(self, seed: int) -> str:
        """Return 16 hex digits that identify a run: a hash of the recipe, the seed, and the network's layers."""
        about = [self.to_dict(), int(seed), fingerprint(find(self.network).build(0))]
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]

    def build(self, seed: int) -> nn.Module:
        """Return the network with the first weights of this seed."""
        net = find(self.network).build(seed)
        return keras_initialisation(net, seed) if self.initialisation == "keras" else net

    def splits(self, dataset: ImageDataset, seed: int) -> tuple[Split, Split | None, Split]:
        """Return the training images (with their augmentation), the validation images or None, and the test images."""
        size = find(self.network).input_shape[-1]
        train, valid, test = dataset.train.resized(size), None, dataset.test.resized(size)
        if self.valid:
            split_seed = seed if self.split_seed is None else self.split_seed
            train, valid = train.split(len(train) - self.valid, self.valid, seed=split_seed)
        return train.augmented(self.augmentation), valid, test

    def settings(self) -> dict:
        """Return the recipe's settings for `fit`."""
        schedules = {"one-cycle": partial(partial, one_cycle), "constant": partial(partial, constant)}
        make = schedules.get(self.schedule, partial(decay, self.schedule))
        loss = LOSSES[self.loss]
        if self.label_smoothing:
            loss = partial(loss, label_smoothing=self.label_smoothing)
        own = {name: getattr(self, name) for name in ("epochs", "batch_size", "lr")}
        return own | {"loss": loss, "optimizer": make(**OPTIMIZERS[self.optimizer])}

    def train(self, seed: int, dataset: ImageDataset, checkpoint=None, progress=False) -> tuple[nn.Module, History]:
        """Train the network of this seed; return it with its history. ``checkpoint`` is the path for `Checkpoint`."""
        train, valid, _ = self.splits(dataset, seed)
        callbacks = [Checkpoint(checkpoint)] if checkpoint else []
        callbacks += [EarlyStopping(self.patience)] if self.patience else []
        callbacks += [WeightAverage(self.averaging)] if self.averaging else []
        net = self.build(seed)
        return net, fit(net, train, valid, seed=seed, callbacks=callbacks, progress=progress, **self.settings())


def _whole(name: str, value, smallest: int) -> int | None:
    if value is None and name in ("patience", "split_seed"):
        return None
    if not is_whole(value) or value < smallest:
        raise ValueError(f"{name} must be a whole number, at least {smallest}; got {value!r}.")
    return operator.index(value)


def _number(name: str, value, limit: float) -> float | str | None:
    if (name, value) in (("averaging", None), ("schedule", "one-cycle"), ("schedule", "constant")):
        return value
    if isinstance(value, bool | str) or not hasattr(value, "__float__") or not 0 <= value < limit:
        raise ValueError(f"{name} must be a number above 0 and below {limit}; got {value!r}.")
    if value == 0 and name != "label_smoothing":
        raise ValueError(f"{name} must be above 0; got {value!r}.")
    return float(value)
