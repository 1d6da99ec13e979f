"""Recipes: all that decides what a training does, in one frozen object. `sources` has those of the course's sources."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields, replace
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from mnistlib.augment import Augmentation
from mnistlib.base.checks import checked
from mnistlib.data import ImageDataset, Split
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
SCHEDULES = {"one-cycle": one_cycle, "constant": constant}
LOSSES = {"cross-entropy": F.cross_entropy, "softmax-cross-entropy": softmax_cross_entropy}
CHOICES = {"optimizer": OPTIMIZERS, "loss": LOSSES, "initialisation": ("pytorch", "keras")}
SMALLEST = {"epochs": 1, "batch_size": 1, "patience": 1, "valid": 0, "split_seed": 0}
LIMITS = {"lr": math.inf, "schedule": 1, "averaging": 1, "label_smoothing": 1}  # numbers above 0 and below this
EXCEPTIONS = {("schedule", "one-cycle"), ("schedule", "constant"), ("averaging", None), ("label_smoothing", 0)}


@checked
@dataclass(frozen=True)
class Recipe:
    """How one network is trained on one dataset. Introduced in notebook 05.

    schedule: "one-cycle" with ``lr`` as its peak, "constant", or a factor by which each epoch multiplies ``lr``.
    optimizer, loss: a key of `OPTIMIZERS` and of `LOSSES`. initialisation: "pytorch" is the network's own.
    patience: end after this many epochs without a lower validation loss; None for never.
    averaging: the decay of a moving average of the weights, which is then what is measured; None for none.
    valid: how many training images are kept for validation; ``split_seed`` draws them, or the run's own seed if None.

    Raises ValueError for a value that makes no sense, and TypeError for one of another type.
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
        for name, value in ((field.name, _plain(getattr(self, field.name))) for field in fields(self)):
            if name in SMALLEST and value is not None and value < SMALLEST[name]:
                raise ValueError(f"{name} must be at least {SMALLEST[name]}; got {value!r}.")
            if name in CHOICES and value not in CHOICES[name]:
                raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}; got {value!r}.")
            if name in LIMITS:
                if (name, value) not in EXCEPTIONS and (isinstance(value, str) or not 0 < value < LIMITS[name]):
                    raise ValueError(f"{name} must be a number above 0 and below {LIMITS[name]}; got {value!r}.")
                value = float(value) if isinstance(value, int) else value
            object.__setattr__(self, name, value)
        find(self.network)
        if not self.valid:
            object.__setattr__(self, "split_seed", None)
        if self.patience and not self.valid:
            raise ValueError("patience needs validation images. Set valid, or leave patience out.")
        if self.label_smoothing and self.loss != "cross-entropy":
            raise ValueError(f"label_smoothing needs the loss 'cross-entropy'; got {self.loss!r}.")

    def to_dict(self) -> dict:
        """Return the recipe as plain values, as they are stored in a file of results."""
        values = json.loads(json.dumps(asdict(self)))
        if self.augmentation and not self.augmentation.flip:
            del values["augmentation"]["flip"]  # runs that were stored before there was a flip keep their keys
        return values

    @classmethod
    def from_dict(cls, values: dict) -> "Recipe":
        """Return the recipe that `to_dict` described. Raises ValueError or TypeError for anything else."""
        if changes := values.get("augmentation"):
            changes = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
            values = values | {"augmentation": Augmentation(**changes)}
        return cls(**values)

    @checked
    def key(self, seed: int) -> str:
        """Return 16 hex digits that identify a run: a hash of the recipe, the seed, and the network's layers."""
        about = [self.to_dict(), int(seed), fingerprint(find(self.network).build(0))]
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]

    def build(self, seed: int) -> nn.Module:
        """Return the network with the first weights of this seed."""
        net = find(self.network).build(seed)
        return keras_initialisation(net, seed) if self.initialisation == "keras" else net

    def splits(self, dataset: ImageDataset, seed: int) -> tuple[Split, Split | None, Split]:
        """Return the images to train on (with their augmentation), validation images or None, and the test images.

        Raises ValueError when there are too few images.
        """
        if len(dataset.train) <= self.valid:
            raise ValueError(f"{dataset} has too few images to keep {self.valid:,} of them for validation.")
        size = find(self.network).input_shape[-1]
        train, valid, test = dataset.train.resized(size), None, dataset.test.resized(size)
        if self.valid:
            split_seed = seed if self.split_seed is None else self.split_seed
            train, valid = train.split(len(train) - self.valid, self.valid, seed=split_seed)
        return train.augmented(self.augmentation), valid, test

    def settings(self) -> dict:
        """Return the recipe's settings for `fit`."""
        options, loss = OPTIMIZERS[self.optimizer], LOSSES[self.loss]
        schedule = SCHEDULES.get(self.schedule)
        settings = {name: getattr(self, name) for name in ("epochs", "batch_size", "lr")}
        settings["loss"] = partial(loss, label_smoothing=self.label_smoothing) if self.label_smoothing else loss
        settings["optimizer"] = partial(schedule, **options) if schedule else decay(self.schedule, **options)
        return settings

    def train(self, seed: int, dataset: ImageDataset, checkpoint=None, progress=False) -> tuple[nn.Module, History]:
        """Train the network of this seed; return it with its history. ``checkpoint`` is the path for `Checkpoint`."""
        train, valid, _ = self.splits(dataset, seed)
        callbacks = [Checkpoint(checkpoint)] if checkpoint else []
        callbacks += [EarlyStopping(self.patience)] if self.patience else []
        callbacks += [WeightAverage(self.averaging)] if self.averaging else []
        net = self.build(seed)
        return net, fit(net, train, valid, seed=seed, callbacks=callbacks, progress=progress, **self.settings())


def _plain(value):
    """Return a number of NumPy or torch as Python's, and an augmentation whose numbers are floats."""
    if isinstance(value, Augmentation):
        pairs = {name: tuple(float(number) for number in getattr(value, name)) for name in ("scale", "brightness")}
        single = {name: float(getattr(value, name)) for name in ("degrees", "translate", "flip")}
        return replace(value, **single, **pairs)
    return value.item() if hasattr(value, "item") else value
