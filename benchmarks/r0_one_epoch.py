"""One epoch under R0's settings, with pixels of 0–1 and left at 0–255, three seeds each.

    OMP_NUM_THREADS=2 python benchmarks/r0_one_epoch.py

writes results/r0_one_epoch.json. R0 (Maple-Lazuli/shenanigans) published 96.62 % on its validation part, with
pixels of 0–255: the wide LeNet, Adam at 0.001, batches of 50, on its split of all 70,000 digits.
"""

import json
import platform
import statistics
from pathlib import Path

import torch
from torch import nn

import mnistlib
from mnistlib import tfrecords
from mnistlib.files import atomic_write

OUT = Path(__file__).resolve().parent.parent / "results" / "r0_one_epoch.json"
SEEDS = range(3)


class Scale(nn.Module):
    """Multiplies the pixels, which `fit` gives as 0–1."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


def main() -> None:
    parts = tfrecords.parts()
    results = {}
    for largest in (1, 255):
        runs = []
        for seed in SEEDS:
            net = nn.Sequential(Scale(largest), mnistlib.build("lenet-wide", seed=seed))
            settings = {"epochs": 1, "batch_size": 50, "lr": 0.001, "schedule": None, "seed": seed, "device": "cpu"}
            history = mnistlib.fit(net, parts["train"], valid=parts["valid"], progress=False, **settings)
            result = {"validation accuracy": history.valid_accuracy[0], "first loss": history.step_loss[0]}
            runs.append({"seed": seed, **result})
            print(f"pixels 0–{largest}:", runs[-1], flush=True)
        accuracies = [run["validation accuracy"] for run in runs]
        summary = {"mean validation accuracy": statistics.mean(accuracies), "standard deviation": statistics.stdev(accuracies)}
        results[f"pixels 0 to {largest}"] = {**summary, "runs": runs}
    content = {
        "command": "OMP_NUM_THREADS=2 python benchmarks/r0_one_epoch.py",
        "what": "LeNet variant, wide; R0's split of all 70,000 digits (contaminated); 1 epoch, batch 50, Adam 0.001",
        "published validation accuracy": 0.9662,
        **results,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "hardware": {"machine": platform.machine(), "threads": torch.get_num_threads(), "device": "cpu"},
    }
    with atomic_write(OUT) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
