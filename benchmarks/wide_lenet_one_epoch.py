"""One epoch as in Maple-Lazuli/shenanigans, with pixels of 0–1 and left at 0–255, three seeds each.

    OMP_NUM_THREADS=2 python benchmarks/wide_lenet_one_epoch.py

writes results/wide_lenet_one_epoch.jsonl, a line per run. The source published 96.62 % on its validation part, with
pixels of 0–255: the wide LeNet, Adam at 0.001, batches of 50, on its split of all 70,000 digits.
"""

import platform
from pathlib import Path

import torch
from torch import nn

import mnistlib
from mnistlib.lab import Recipe, results
from mnistlib.session import tfrecords
from mnistlib.train import constant

OUT = Path(__file__).resolve().parent.parent / "results" / "wide_lenet_one_epoch.jsonl"
NOTE = "The split of Maple-Lazuli/shenanigans, which mixes the official test images into training."


class Scale(nn.Module):
    """Multiplies the pixels, which `fit` gives as 0–1."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


def main() -> None:
    parts = tfrecords.parts()
    recipe = Recipe(
        "lenet-wide", epochs=1, batch_size=50, lr=0.001, schedule="constant", valid=14_000, split_seed=101_011
    )
    OUT.unlink(missing_ok=True)
    for largest in (1, 255):
        for seed in range(3):
            net = nn.Sequential(Scale(largest), mnistlib.build("lenet-wide", seed))
            settings = {
                "epochs": 1,
                "batch_size": 50,
                "lr": 0.001,
                "seed": seed,
                "optimizer": constant,
                "progress": False,
            }
            history = mnistlib.fit(net, parts["train"], parts["valid"], **settings)
            run = {"key": f"{recipe.key(seed)}-{largest}", "seed": seed}
            run["recipe"] = {
                **recipe.to_dict(),
                "dataset": "MNIST, 49,000 of all 70,000 digits",
                "largest_pixel": largest,
            }
            run |= {"valid_accuracy": history.valid_accuracy[0], "first_loss": history.step_loss[0], "note": NOTE}
            run["versions"] = {"python": platform.python_version(), "torch": torch.__version__}
            run["machine"] = {"machine": platform.machine(), "threads": torch.get_num_threads()}
            run["command"] = "OMP_NUM_THREADS=2 python benchmarks/wide_lenet_one_epoch.py"
            results.append(OUT, run)
            print(f"pixels 0–{largest}, seed {seed}: {run['valid_accuracy']:.2%}", flush=True)


if __name__ == "__main__":
    main()
