"""Three open projects, judged over several seeds. This file holds no answers: nobody knows the best ones.

See docs/projects.md. ``network`` is a function without arguments that returns a new network for images
``[B, 1, 28, 28]``; ``settings`` are those of `mnistlib.fit`. Each function prints one line and returns its numbers.
"""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from mnistlib.base.checks import checked
from mnistlib.data import Split, load
from mnistlib.networks import Network, lenet5_padded
from mnistlib.seeds import fit_seeds
from mnistlib.stats import confidence_interval

LIMIT = 100_000  # parameters, in the second project
CHANGE = 40  # grey levels for each pixel on average, in the third


@checked
def fewest_parameters(network: Callable, seeds: Iterable[int] = range(5), **settings) -> list[float]:
    """Train on 55,000 digits of MNIST: is the mean accuracy on the other 5,000 at least 99 %? Return the accuracies."""
    train, valid = load("MNIST").train.split(55_000, 5_000)
    accuracies = _accuracies(network, seeds, train, valid, settings)
    mean, half = confidence_interval(accuracies)
    result = f"{_parameters(network):,} parameters: {100 * mean:.2f} ± {100 * half:.2f} % of 5,000 validation digits"
    _say(mean >= 0.99, f"{result}, {len(accuracies)} seeds. The goal is a mean of 99 % with as few as you can")
    return accuracies


@checked
def best_on_clothes(network: Callable, seeds: Iterable[int] = range(5), **settings) -> list[float]:
    """Compare a small network with LeNet-5 on FashionMNIST, seed by seed. Return the differences in accuracy."""
    train, valid = load("FashionMNIST").train.split(55_000, 5_000)
    if (count := _parameters(network)) >= LIMIT:
        raise ValueError(f"the network must have fewer than {LIMIT:,} parameters; it has {count:,}.")
    yours, theirs = (_accuracies(net, seeds, train, valid, settings) for net in (network, lenet5_padded))
    differences = [one - other for one, other in zip(yours, theirs, strict=True)]
    mean, half = confidence_interval(differences)
    result = f"{count:,} parameters: {100 * sum(yours) / len(yours):.2f} % on average over {len(yours)} seeds, which is"
    _say(mean > half, f"{result} {100 * mean:+.2f} ± {100 * half:.2f} points from LeNet-5 with the same settings")
    return differences


@checked
def fools_two(change: Callable, seeds: Iterable[int] = range(3)) -> list[float]:
    """Count the test digits that a LeNet-5 and an MLP read, and both misread after ``change``. Return the fractions.

    ``change`` gets uint8 images ``[500, 1, 28, 28]`` and returns as many; a person must still read them. They may
    differ from the digits by 40 grey levels for each pixel on average. Raises ValueError for more, or another shape.
    """
    mnist = load("MNIST")
    before = mnist.test.take(500)
    changed = change(before.images.clone())
    if getattr(changed, "shape", None) != before.images.shape or changed.dtype != torch.uint8:
        raise ValueError("change must return uint8 images [500, 1, 28, 28], as it got them.")
    if (moved := (changed.float() - before.images.float()).abs().mean().item()) > CHANGE:
        raise ValueError(f"the pixels change by {moved:.1f} grey levels on average; {CHANGE} are allowed.")
    after, train, both = Split(changed, before.labels), mnist.train.take(20_000), 1
    networks = lenet5_padded, lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    for network in networks:
        nets = fit_seeds(_seeded(network), seeds, train, epochs=2, progress=False)
        pairs = zip(nets.evaluate(before), nets.evaluate(after), strict=True)
        both = both * torch.stack([one.correct & ~other.correct for one, other in pairs])
    fractions = both.double().mean(1).tolist()
    mean, half = confidence_interval(fractions)
    result = f"{100 * mean:.0f} ± {100 * half:.0f} % of 500 digits fool both, {len(fractions)} seeds"
    _say(mean > 0.5, f"{result}. Half is the goal")
    return fractions


def _accuracies(network, seeds, train: Split, valid: Split, settings: dict) -> list[float]:
    trained = fit_seeds(_seeded(network), seeds, train, **settings)
    return [each.accuracy for each in trained.evaluate(valid)]


def _seeded(network: Callable) -> Callable:
    return Network("project", "yours", network, (1, 28, 28), "docs/projects.md").build


def _parameters(network: Callable) -> int:
    return sum(parameter.numel() for parameter in network().parameters() if parameter.requires_grad)


def _say(reached: bool, result: str) -> None:
    print(f"{'✓' if reached else '✗'} {result}.")
