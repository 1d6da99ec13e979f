"""Every file in ``pictures/``, made from the data, the networks and the stored results. Introduced in notebook 05."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch.nn import functional as F

from mnistlib import comparisons, diagrams, experiments, hiragana, plots, sweeps
from mnistlib.counting import layer_table
from mnistlib.datasets import ImageDataset, load, sample
from mnistlib.evaluation import confusion_table, evaluate
from mnistlib.networks import NETWORKS, build
from mnistlib.training import fit


def write(folder) -> Iterator[Path]:
    """Make every picture in ``folder``, and yield each path when its file is there; the same bytes each time on one machine.

    Trains a LeNet-5 and a multi-tower network on the CPU, which takes about a minute. Raises `DataError` when a file cannot
    be written.
    """
    for name, figure in _figures(load("MNIST")):
        path = Path(folder) / f"{name}.png"
        plots.save(figure, path)
        yield path


def _figures(mnist: ImageDataset) -> Iterator[tuple[str, Figure]]:
    yield "digit_wall", plots.digit_wall(mnist.train)
    yield "class_means", plots.image_grid(plots.class_means(mnist.train), [f"mean {name}" for name in mnist.classes])
    first = [(mnist.train.labels == label).nonzero()[0, 0] for label in range(10)]
    yield "one_of_each_label", plots.image_grid(mnist.train.take(first).images, [f"label {name}" for name in mnist.classes])
    yield "class_balance", plots.class_balance(train=mnist.train, test=mnist.test)
    yield "kmnist_characters", hiragana.draw_characters()
    for key, network in NETWORKS.items():
        yield f"network_{key}", diagrams.draw(network.build(seed=0), network.input_size, network.title)
    yield "layer_table", plots.table(layer_table(build("lenet5", seed=0), NETWORKS["lenet5"].input_size))
    yield from _of_one_training(mnist)
    yield "feature_maps", tower_maps(mnist)
    yield from _of_fashion(sample("FashionMNIST"))
    yield from _of_results(mnist)


def _of_one_training(mnist: ImageDataset) -> Iterator[tuple[str, Figure]]:
    """LeNet-5 as notebook 03 trains it."""
    train, valid = mnist.train.resized(32).split(55_000, 5_000, seed=0)
    test = mnist.test.resized(32)
    net = build("lenet5", seed=0)
    fitted = fit(net, train, valid=valid, epochs=5, seed=0, device="cpu")
    measured = evaluate(net, test)
    yield "history", plots.history(fitted)
    yield "confusion", plots.confusion(measured)
    yield "roc", plots.roc(measured)
    yield "predictions", plots.predictions(test, measured)


def tower_maps(mnist: ImageDataset) -> Figure:
    """The feature maps of the multi-tower network for the mean image of each digit, after an epoch of 20,000 images."""
    net = build("multi-tower", seed=0)
    fit(net, mnist.train.take(20_000), epochs=1, lr=0.003, seed=0, device="cpu")
    means = plots.class_means(mnist.train)[:, None] / 255
    with torch.no_grad():
        maps = torch.cat([tower.relu(tower.conv(means)) for tower in net.towers], dim=1)
    columns = ["mean", *(f"{tower}{place}" for tower in "ABC" for place in "1234")]
    return plots.image_table(torch.cat([F.interpolate(means, 14), maps / maps.max()], dim=1), list(mnist.classes), columns)


def _of_fashion(fashion: ImageDataset) -> Iterator[tuple[str, Figure]]:
    """LeNet-5 after ten epochs of the 2,000 pieces of clothing that come with the course, as in notebook 07."""
    net = build("lenet5-padded", seed=0)
    fit(net, fashion.train, epochs=10, lr=0.005, seed=0, device="cpu")
    yield "fashionmnist_predictions", plots.predictions(fashion.test, evaluate(net, fashion.test))
    means = plots.class_means(fashion.train)
    yield "fashionmnist_means", plots.image_grid(means, [f"mean\n{name}" for name in fashion.classes])


def _of_results(mnist: ImageDataset) -> Iterator[tuple[str, Figure]]:
    """All networks, from the long run that is stored."""
    results = experiments.read()
    group = results["groups"]["published"]
    first = {entry["title"]: entry["runs"][0] for entry in group.values()}
    answers = partial(experiments.predictions, labels=mnist.test.labels)
    tables = {name: confusion_table(mnist.test.labels, answers(run), mnist.classes) for name, run in first.items()}
    yield "networks_accuracy", comparisons.accuracy_against_parameters(experiments.table(results, "published"))
    yield "networks_curves", comparisons.learning_curves({name: run["validation accuracy"] for name, run in first.items()})
    yield "networks_confusion", comparisons.confusions(tables)
    yield "four_datasets", comparisons.beside_published(sweeps.table(experiments.read("four_datasets.json"), "modern"))
