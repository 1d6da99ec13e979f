"""The recipes of the course's sources, and what they published. Introduced in notebooks 05 and 07."""

from dataclasses import dataclass

from mnistlib.augment import Augmentation
from mnistlib.lab.recipes import Recipe


@dataclass(frozen=True)
class Source:
    """The protocol of a network's source, the test accuracy that it published (in %, or None), and a remark."""

    recipe: Recipe
    accuracy: float | None = None
    remark: str = ""


def published(dataset: str = "MNIST") -> Recipe:
    """antoine-spahr/MNIST-LeNet5-Pytorch: 150 epochs, with a softmax before the loss. Introduced in notebook 07."""
    augmentation = Augmentation(15, 0.05, (0.8, 1.2), (0.8, 1.2), mode="nearest")
    options = {"loss": "softmax-cross-entropy", "augmentation": augmentation, "valid": 0}
    return Recipe("lenet5-padded", dataset, 150, lr=0.002, schedule=0.98, **options)


def modern(dataset: str = "MNIST") -> Recipe:
    """Ours: 40 epochs without that softmax, one-cycle Adam and milder augmentation. Introduced in notebook 07.

    Chosen on validation images (benchmarks/modern_preset.py), on which augmented clothes were worse.
    """
    augmentation = None if dataset == "FashionMNIST" else Augmentation(10, 0.07, (0.9, 1.1))
    return Recipe("lenet5-padded", dataset, 40, lr=0.005, augmentation=augmentation, valid=0)


def plain(network: str) -> Recipe:
    """The same recipe for all networks: one-cycle Adam with peak 0.003, 5 epochs. Introduced in notebook 05."""
    return Recipe(network, lr=0.003)


def _numbers(network: str) -> Recipe:
    """DeepLearn_NUMBERS: Adam until two epochs bring no lower loss, on validation instead of the test images."""
    options = {"optimizer": "keras-adam", "initialisation": "keras", "patience": 2}
    return Recipe(network, epochs=200, batch_size=200, lr=0.001, schedule="constant", **options)


_keras = {"optimizer": "keras-adadelta", "initialisation": "keras", "schedule": "constant"}
_lenet5 = Recipe("lenet5", batch_size=64, lr=0.001, schedule="constant", loss="softmax-cross-entropy")
_lenet5_1998 = Recipe("lenet5-1998", epochs=20, batch_size=16, lr=0.002)
_wide = Recipe("lenet-wide", epochs=1, batch_size=50, lr=0.001, schedule="constant")
_passes = "published after 20 passes of a second-order method over all 60,000 images"
SOURCES = {
    "lenet5": Source(_lenet5, None, "no valid number: the source trained on test images"),
    "lenet5-padded": Source(published(), 99.445, "the mean of ten seeds"),
    "lenet5-1998": Source(_lenet5_1998, 99.05, _passes),
    "small-cnn": Source(Recipe("small-cnn", epochs=12, lr=1.0, **_keras), 98.48),
    "mlp": Source(_numbers("mlp"), 98.22),
    "cnn-1d": Source(_numbers("cnn-1d"), 98.31),
    "cnn-2d": Source(_numbers("cnn-2d"), 98.67),
    "stacked-1d-published": Source(_numbers("stacked-1d-published"), 98.45),
    "stacked-2d-published": Source(_numbers("stacked-2d-published"), 98.87),
    "stacked-1d": Source(_numbers("stacked-1d"), None, "the source never ran it"),
    "stacked-2d": Source(_numbers("stacked-2d"), None, "the source never ran it"),
    "multi-tower": Source(_numbers("multi-tower"), 98.75),
    "lenet-wide": Source(_wide, 96.62, "published on a validation part of its own, with pixels of 0 to 255"),
}

PUBLISHED = {  # antoine-spahr/MNIST-LeNet5-Pytorch: mean accuracy of ten seeds after the last epoch, in %
    "train": {"MNIST": 99.362, "FashionMNIST": 89.701, "KMNIST": 98.518, "QMNIST": 99.356},
    "test": {"MNIST": 99.445, "FashionMNIST": 89.495, "KMNIST": 96.255, "QMNIST": 99.328},
}


def published_accuracy(network: str, dataset: str, part: str = "test") -> float | None:
    """Return the accuracy on this part, in %, that the source of a network published, or None."""
    if network == "lenet5-padded":
        return PUBLISHED[part].get(dataset)
    return SOURCES[network].accuracy if network in SOURCES and (dataset, part) == ("MNIST", "test") else None
