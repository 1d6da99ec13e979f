"""Every file in ``pictures/``: the figures of the README and of the pages, each for a light and for a dark page."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from mnistlib import plots
from mnistlib.data import load
from mnistlib.evaluation import evaluate
from mnistlib.files import atomic_write
from mnistlib.lab import results
from mnistlib.networks import NETWORKS, build
from mnistlib.show import compare, diagrams, figures
from mnistlib.train import fit

DARK_PAGE = np.array([13, 17, 23])  # the background of GitHub in its dark mode


def write(folder) -> Iterator[Path]:
    """Draw each picture as ``NAME.png`` and ``NAME_dark.png`` in ``folder``, and yield the path of the first.

    Trains a LeNet-5, which takes about a minute on two cores. Raises `DataError` when a file cannot be written.
    """
    for name, figure in draw_all():
        path = Path(folder) / f"{name}.png"
        plots.save(figure, path)
        with atomic_write(path.with_stem(f"{name}_dark")) as file:
            Image.fromarray(darkened(np.asarray(Image.open(path).convert("RGB")))).save(file, "png")
        yield path


def darkened(pixels: np.ndarray) -> np.ndarray:
    """Invert the lightness of each pixel and keep its hue, uint8 ``[H, W, 3]``; white becomes `DARK_PAGE`."""
    inverted = pixels + 255.0 - pixels.max(-1, keepdims=True) - pixels.min(-1, keepdims=True)
    return (DARK_PAGE + inverted * (255 - DARK_PAGE) / 255).round().astype(np.uint8)


def draw_all() -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each picture."""
    mnist = load("MNIST")
    yield "digit_wall", figures.digit_wall(mnist.train)
    for key, network in NETWORKS.items():
        yield f"network_{key}", diagrams.draw(network.build(seed=0), network.input_shape, network.title)
    train, valid = mnist.train.resized(32).split(55_000, 5_000, seed=0)  # as in notebook 03
    net, test = build("lenet5", seed=0), mnist.test.resized(32)
    yield "history", figures.history(fit(net, train, valid))
    evaluation = evaluate(net, test)
    yield "confusion", figures.confusion(evaluation)
    yield "predictions", figures.predictions(test, evaluation)
    four = results.read("four_datasets")  # of two recipes; the other has a softmax before the loss
    yield "networks_accuracy", compare.accuracies(results.read("networks"))
    yield "four_datasets", compare.accuracies(four[four.loss == "cross-entropy"], by="dataset")
