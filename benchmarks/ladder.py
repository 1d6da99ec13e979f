"""A ladder from the LeNet-5 of 1998 to today's, one change at a time: which steps help?

    OMP_NUM_THREADS=1 python benchmarks/ladder.py            # all ten seeds
    OMP_NUM_THREADS=1 python benchmarks/ladder.py 5 6 7 8 9  # some seeds, in a second process beside the first

Each step is trained for ten epochs on 55,000 images, in batches of 64. Its learning rate is the one that was best on
the other 5,000 images: it beats both its neighbours on a grid (three epochs, one seed that is used for nothing else).
Ten seeds are then trained and measured on the test images. The first step differs from the paper in three points: its
optimizer is SGD with momentum, not the authors' second-order method; its loss is cross-entropy over minus the
distances; and its batches have 64 images, not one. The rate of the last step is chosen before averaging, so it is that
of the step before it. Adds a line per run to results/ladder.jsonl and results/ladder_rates.jsonl, and does not repeat
the runs that are there.
"""

import sys
from dataclasses import replace
from pathlib import Path

from torch import nn

from mnistlib.augment import Augmentation
from mnistlib.lab import Recipe, sweep
from mnistlib.lab.lenet1998 import ScaledTanh, lenet5_1998
from mnistlib.networks import Network, register

RESULTS = Path(__file__).resolve().parent.parent / "results"
COMMAND = "OMP_NUM_THREADS=1 python benchmarks/ladder.py"
GRID = [3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1]
START = {"sgd": 3e-3, "adam": 1e-3}


def linear_output() -> nn.Sequential:
    """LeNet-5 of 1998 with a linear layer and softmax in place of distances to drawn codes."""
    net = lenet5_1998()
    net.output = nn.Linear(84, 10)
    return net


def relu() -> nn.Sequential:
    """The same, with ReLU in place of the scaled tanh: after the output, because ReLU cannot give the codes' −1."""
    net = linear_output()
    for name, layer in net.named_children():
        if isinstance(layer, ScaledTanh):
            net.set_submodule(name, nn.ReLU())
    return net


def max_pooling() -> nn.Sequential:
    """ReLU, and max pooling in place of sums with trainable weights."""
    net = relu()
    net.S2_sum = net.S4_sum = nn.MaxPool2d(2)
    net.S2_scale = net.S4_scale = nn.Identity()
    return net


def full_c3() -> nn.Sequential:
    """The same, with a C3 whose maps all see all six maps of S2: 61,706 parameters, as today."""
    net = max_pooling()
    net.C3 = nn.Conv2d(6, 16, 5)
    return net


register(
    *(
        Network(
            f"lenet5-1998-{step.__name__.replace('_', '-')}", step.__doc__, step, (1, 32, 32), "benchmarks/ladder.py"
        )
        for step in (linear_output, relu, max_pooling, full_c3)
    )
)
FIRST = Recipe("lenet5-1998", epochs=10, batch_size=64, lr=START["sgd"], schedule="constant", optimizer="sgd")
STEPS = {
    "LeNet-5 of 1998, SGD": {},
    "linear output instead of distances": {"network": "lenet5-1998-linear-output"},
    "ReLU instead of tanh": {"network": "lenet5-1998-relu"},
    "max pooling instead of weighted sums": {"network": "lenet5-1998-max-pooling"},
    "C3 sees all maps": {"network": "lenet5-1998-full-c3"},
    "today's first weights and pixels 0–1": {"network": "lenet5"},
    "Adam instead of SGD": {"optimizer": "adam"},
    "one-cycle learning rate": {"schedule": "one-cycle"},
    "augmentation": {"augmentation": Augmentation(10, 0.07, (0.9, 1.1))},
    "averaged weights": {"averaging": 0.999},
}


def best_rate(recipe: Recipe) -> float:
    """Climb the grid of learning rates from the start until a rate beats both its neighbours on validation."""
    tried, at = {}, GRID.index(recipe.lr)
    while True:
        for near in (at, at - 1, at + 1):
            if near not in tried and 0 <= near < len(GRID):
                one = replace(recipe, lr=GRID[near], epochs=3)
                try:
                    rows = sweep(one, [100], RESULTS / "ladder_rates.jsonl", progress=False, command=COMMAND)
                    tried[near] = rows.valid_accuracy.iloc[0]
                except FloatingPointError:  # the rate is so large that training diverged
                    tried[near] = 0.0
        best = max(tried, key=tried.get)
        if best == at:
            return GRID[at]
        at = best


def main(seeds: list[int]) -> None:
    recipe = FIRST
    for title, change in STEPS.items():
        recipe = replace(recipe, **change)
        recipe = replace(recipe, lr=START[recipe.optimizer])
        recipe = replace(recipe, lr=best_rate(recipe))
        rows = sweep(recipe, seeds, RESULTS / "ladder.jsonl", progress=False, command=COMMAND)
        print(
            f"{title}: lr {recipe.lr:g}, {rows.test_accuracy.mean():.3%} on average over {len(rows)} seeds", flush=True
        )


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [*range(10)])
