"""Look for the best LeNet-5 of 61,706 parameters: choose a recipe on validation images, then test ten seeds once.

    OMP_NUM_THREADS=1 python benchmarks/best_lenet5.py choose MNIST  # a run of each candidate
    OMP_NUM_THREADS=1 python benchmarks/best_lenet5.py test MNIST    # ten seeds of the best, on all training images

`choose` trains each candidate on 50,000 training images, with one seed, and measures it on the other 10,000. `test`
takes the candidate with the highest accuracy there, trains it on all 60,000 images for twice as many epochs, and
measures each seed once on the test images. Give seeds to run some of them: test MNIST 0 1 2. Both add a line per run to
results/best_lenet5.jsonl, and do not repeat the runs that are there.
"""

import sys
from dataclasses import replace
from pathlib import Path

from mnistlib.augment import Augmentation
from mnistlib.lab import Recipe, sweep

OUT = Path(__file__).resolve().parent.parent / "results" / "best_lenet5.jsonl"
MILD, SLIGHT = Augmentation(10, 0.07, (0.9, 1.1)), Augmentation(7.5, 0.05, (0.93, 1.07))
STRONG, SHIFTED = Augmentation(15, 0.05, (0.8, 1.2)), Augmentation(0, 0.04)
START = Recipe("lenet5-padded", epochs=30, lr=0.005, averaging=0.999, valid=10_000, split_seed=7)
CANDIDATES = {
    "MNIST": [
        {"augmentation": MILD},
        {"augmentation": MILD, "averaging": None},
        {"augmentation": MILD, "label_smoothing": 0.05},
        {"augmentation": MILD, "schedule": "constant", "lr": 0.001},
        {"augmentation": MILD, "batch_size": 64, "lr": 0.004},
        {"augmentation": MILD, "lr": 0.01},
        {"augmentation": MILD, "lr": 0.0025},
        {"augmentation": MILD, "optimizer": "adamw"},
        {"augmentation": MILD, "initialisation": "keras"},
        {"augmentation": SLIGHT},
        {"augmentation": STRONG},
        {"augmentation": STRONG, "batch_size": 64, "lr": 0.004},
    ],
    "FashionMNIST": [
        {},
        {"averaging": None},
        {"label_smoothing": 0.05},
        {"label_smoothing": 0.1},
        {"augmentation": SHIFTED},
        {"augmentation": SHIFTED, "label_smoothing": 0.05},
        {"augmentation": Augmentation(3, 0.03, (0.95, 1.05))},
        {"augmentation": Augmentation(3, 0.03, (0.95, 1.05)), "label_smoothing": 0.05},
        {"augmentation": Augmentation(0, 0, brightness=(0.8, 1.2))},
        {"augmentation": SHIFTED, "batch_size": 64, "lr": 0.004},
        {"augmentation": SHIFTED, "lr": 0.0025},
        {"augmentation": SHIFTED, "schedule": "constant", "lr": 0.001},
    ],
}


def main(what: str, dataset: str, *seeds: str) -> None:
    recipes = [replace(START, dataset=dataset, **candidate) for candidate in CANDIDATES[dataset]]
    command = f"OMP_NUM_THREADS=1 python benchmarks/best_lenet5.py {what} {dataset}"
    if what == "test":
        chosen = sweep(recipes, [0], OUT, progress=False).set_index("key").valid_accuracy
        best = max(recipes, key=lambda recipe: chosen[recipe.key(0)])
        final = replace(best, epochs=2 * best.epochs, valid=0)
        runs = sweep(final, [int(seed) for seed in seeds] or range(10), OUT, progress=False, command=command)
        print(f"{best}\n{runs.test_accuracy.mean():.3%} on average over {len(runs)} seeds")
        return
    for recipe, candidate in zip(recipes, CANDIDATES[dataset], strict=True):
        runs = sweep(recipe, [0], OUT, progress=False, command=command)
        print(f"{runs.valid_accuracy[0]:.2%} {candidate}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
