"""Look for the best LeNet-5 of 61,706 parameters: choose a recipe on validation images, then test ten seeds once.

    OMP_NUM_THREADS=1 python benchmarks/best_lenet5.py choose MNIST  # a run of each candidate
    OMP_NUM_THREADS=1 python benchmarks/best_lenet5.py test MNIST    # ten seeds of the best, on all training images

`choose` trains each candidate on 50,000 training images, with one seed, and measures it on the other 10,000. `test`
takes the candidate with the highest accuracy there, trains it on all 60,000 images for three times as many epochs,
and measures each seed once on the test images. Give seeds to run some of them: test MNIST 0 1 2. Both add a line per
run to results/best_lenet5.jsonl, and do not repeat the runs that are there.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from mnistlib.augment import Augmentation
from mnistlib.lab import Recipe, sweep

OUT = Path(__file__).resolve().parent.parent / "results" / "best_lenet5.jsonl"
MILD, SLIGHT = Augmentation(10, 0.07, (0.9, 1.1)), Augmentation(7.5, 0.05, (0.93, 1.07))
STRONG, SHIFTED = Augmentation(15, 0.05, (0.8, 1.2)), Augmentation(0, 0.04)
FLIPPED = Augmentation(0, 0.04, flip=0.5)
START = Recipe("lenet5-padded", epochs=20, lr=0.005, averaging=0.999, valid=10_000, split_seed=7)
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
        {"augmentation": STRONG, "label_smoothing": 0.05},
        {"augmentation": MILD, "label_smoothing": 0.1},
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
        {"augmentation": FLIPPED},
        {"augmentation": FLIPPED, "label_smoothing": 0.05},
        {"augmentation": FLIPPED, "label_smoothing": 0.1},
        {"augmentation": Augmentation(0, 0.08, flip=0.5), "label_smoothing": 0.05},
    ],
}


def choose(dataset: str, command: str) -> Recipe:
    """Return the candidate with the highest accuracy on the validation images; train those that are not stored."""
    accuracies = {}
    for candidate in CANDIDATES[dataset]:
        recipe = replace(START, dataset=dataset, **candidate)
        accuracies[recipe] = sweep(recipe, [0], OUT, progress=False, command=command).valid_accuracy[0]
        print(f"{accuracies[recipe]:.2%} {candidate}", flush=True)
    return max(accuracies, key=accuracies.get)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("choose", "test"))
    parser.add_argument("dataset", choices=CANDIDATES)
    parser.add_argument("seeds", nargs="*", type=int, help="for test; without any, 0 to 9")
    options = parser.parse_args()
    command = f"OMP_NUM_THREADS=1 python benchmarks/best_lenet5.py {options.what} {options.dataset}"
    best = choose(options.dataset, command)
    if options.what == "test":
        final = replace(best, epochs=3 * best.epochs, valid=0)
        runs = sweep(final, options.seeds or range(10), OUT, progress=False, command=command)
        print(f"{final}\n{runs.test_accuracy.mean():.3%} on average over {len(runs)} seeds")


if __name__ == "__main__":
    main()
