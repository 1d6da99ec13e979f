"""Train LeNet-5 as notebook 03 does, with ten seeds, and store accuracy and seconds.

    OMP_NUM_THREADS=2 python benchmarks/ten_seeds.py

writes results/lenet5_ten_seeds.json. Accuracy is on the test set, which chose nothing here: network, epochs
and learning rate are those of the notebook. Seconds are those of `fit`, validation included.
"""

import json
import platform
import statistics
from pathlib import Path

import torch

import mnistlib
from mnistlib.files import atomic_write

OUT = Path(__file__).resolve().parent.parent / "results" / "lenet5_ten_seeds.json"
SEEDS = range(10)


def main() -> None:
    mnist = mnistlib.load("MNIST")
    train, valid = mnist.train.resized(32).split(55_000, 5_000, seed=0)
    test = mnist.test.resized(32)
    runs = []
    for seed in SEEDS:
        net = mnistlib.build("lenet5", seed=seed)
        history = mnistlib.fit(net, train, valid=valid, epochs=5, seed=seed, device="cpu", progress=False)
        runs.append({"seed": seed, "test accuracy": mnistlib.evaluate(net, test).accuracy, "seconds": sum(history.seconds)})
        print(runs[-1], flush=True)
    accuracies = [run["test accuracy"] for run in runs]
    result = {
        "command": "OMP_NUM_THREADS=2 python benchmarks/ten_seeds.py",
        "what": "LeNet-5, modified; MNIST; 5 epochs, batch 128, one-cycle Adam with peak 0.01; 55,000 training images",
        "mean test accuracy": statistics.mean(accuracies),
        "standard deviation": statistics.stdev(accuracies),
        "median seconds": statistics.median(run["seconds"] for run in runs),
        "runs": runs,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "hardware": {"machine": platform.machine(), "threads": torch.get_num_threads(), "device": "cpu"},
    }
    with atomic_write(OUT) as file:
        file.write((json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
