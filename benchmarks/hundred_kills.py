"""Kill trainings at random moments, a hundred times in all, and compare what they end with, bit by bit.

    python benchmarks/hundred_kills.py

writes results/hundred_kills.json, in about seven minutes on one core. A training is a process of its own, with `fit`
and a `Checkpoint`. It is killed (SIGKILL) and started again with the same command until it ends; then its weights and
history must have the same bits as a training that was never killed and had no checkpoint. A kill comes while the
process starts, at any moment of the training, or while a checkpoint is written; a generator with a fixed seed decides
which and when.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from array import array
from collections import Counter
from contextlib import suppress
from pathlib import Path

import torch

import mnistlib
from mnistlib.base.files import atomic_write
from mnistlib.data import Split
from mnistlib.lab import Checkpoint
from mnistlib.lab.callbacks import EarlyStopping, WeightAverage
from mnistlib.train import constant, one_cycle

OUT = Path(__file__).resolve().parent.parent / "results" / "hundred_kills.json"
SEED = 2024
AUGMENTATION = mnistlib.Augmentation(10, 0.07, (0.9, 1.1))
VARIANTS = {  # how many images to train on, the settings of `fit`, and its callbacks; small-cnn has dropout
    "lenet5": (3_000, {"epochs": 8, "lr": 0.005, "optimizer": one_cycle}, lambda: []),
    "small-cnn": (
        800,
        {"epochs": 8, "lr": 0.002, "optimizer": constant},
        lambda: [EarlyStopping(4), WeightAverage(0.99)],
    ),
}
VALID = 500
MOMENTS = {"starting": 1, "training": 5, "writing": 4}  # how often which, in tenths
TRAINING, WRITING = (
    1.5,
    0.004,
)  # seconds: a kill comes at most so long after the training began, or after a file appeared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE")
    parser.add_argument("--train", choices=VARIANTS, help="one training, as the benchmark starts it")
    parser.add_argument("--folder", type=Path, help="where this training has its images and writes its files")
    parser.add_argument("--no-checkpoint", action="store_true", help="for this training")
    options = parser.parse_args()
    if options.train:
        train(options.train, options.folder, not options.no_checkpoint)
        return
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        measured = kill_often(options.kills, Path(folder))
    result = {
        "command": "python benchmarks/hundred_kills.py" + (f" --kills {options.kills}" if options.kills != 100 else ""),
        "what": "trainings with a Checkpoint, killed by SIGKILL and started again until they end; their weights and "
        "history, without seconds, compared bit by bit with a training that was never killed and had no checkpoint",
        **measured,
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "seed of the moments": SEED,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "threads a training": 1, "device": "cpu"},
    }
    with atomic_write(options.out) as file:
        file.write((json.dumps(result, indent=2) + "\n").encode())
    good, all_kills = result["kills without a trace"], result["kills"]
    print(f"{good} of {all_kills} kills left no trace: the trainings ended with the bits of one that was never killed.")
    sys.exit(0 if good == all_kills else 1)


# The training that is killed


def train(variant: str, folder: Path, checkpoint: bool) -> None:
    """Train and write all bits of the outcome to the file ``ended``."""
    torch.set_num_threads(1)
    os.environ["MNISTLIB_DEVICE"] = "cpu"
    parts = torch.load(folder.parent / f"{variant}.pt", weights_only=True)
    net, (_, settings, callbacks) = mnistlib.build(variant, seed=0), VARIANTS[variant]
    print("training", flush=True)
    history = mnistlib.fit(
        net,
        Split(*parts["train"]).augmented(AUGMENTATION),
        Split(*parts["valid"]),
        batch_size=100,
        seed=1,
        callbacks=[*([Checkpoint(folder / "checkpoint.pt")] if checkpoint else []), *callbacks()],
        progress=False,
        **settings,
    )
    with atomic_write(folder / "ended") as file:
        for tensor in net.state_dict().values():
            file.write(tensor.contiguous().numpy().tobytes())
        for name, numbers in vars(history).items():
            if name != "seconds":
                file.write(array("d", numbers).tobytes())


# The killing


def kill_often(kills: int, folder: Path) -> dict:
    """Kill trainings, one after the other, so many times in all; count."""
    write_images(folder)
    moments, counts, left = random.Random(SEED), Counter(), 0
    never_killed, seconds_to_start = {}, {}
    for variant in VARIANTS:
        never_killed[variant], seconds_to_start[variant] = let_run(variant, folder / f"{variant} never killed")
    trainings = []
    while (done := sum(counts.values())) < kills:
        variant = list(VARIANTS)[len(trainings) % len(VARIANTS)]
        own = folder / f"{variant} {len(trainings)}"
        own.mkdir()
        while sum(counts.values()) < kills:
            moment, before = moments.choices(list(MOMENTS), MOMENTS.values())[0], temporary_files(own)
            if not killed(start(variant, own), moment, moments, own, seconds_to_start[variant]):
                break
            counts[moment] += 1
            left += temporary_files(own) not in ([], before)
        else:
            let_run(variant, own, checkpoint=True)
        same = (own / "ended").read_bytes() == never_killed[variant]
        Checkpoint(own / "checkpoint.pt").remove()  # as a sweep does at its end
        clean = [path.name for path in own.iterdir()] == ["ended"]
        trainings.append(
            {"network": variant, "kills": sum(counts.values()) - done, "bit-identical": same, "clean": clean}
        )
        print(trainings[-1], flush=True)
    return {
        "kills": sum(counts.values()),
        "kills by moment": {moment: counts[moment] for moment in MOMENTS},
        "kills that left half a checkpoint": left,
        "trainings": len(trainings),
        "bit-identical trainings": sum(training["bit-identical"] for training in trainings),
        "trainings that left a temporary file": sum(not training["clean"] for training in trainings),
        "kills without a trace": sum(training["kills"] for training in trainings if training["bit-identical"]),
        "runs": trainings,
    }


def write_images(folder: Path) -> None:
    """The images of each variant as one small file, so that a training starts quickly."""
    torch.set_num_threads(1)
    mnist = mnistlib.load("MNIST").train
    for variant, (count, *_) in VARIANTS.items():
        size = mnistlib.NETWORKS[variant].input_shape[-1]
        few = mnist.take(count + VALID).resized(size)
        parts = {"train": few.take(count), "valid": few.take(list(range(count, count + VALID)))}
        torch.save({name: (part.images, part.labels) for name, part in parts.items()}, folder / f"{variant}.pt")


def start(variant: str, own: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, __file__, "--train", variant, "--folder", str(own), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def let_run(variant: str, own: Path, checkpoint: bool = False) -> tuple[bytes, float]:
    """Run a training to its end; return all its bits, and how many seconds passed before it began to train."""
    own.mkdir(exist_ok=True)
    begun = time.perf_counter()
    with start(variant, own, *([] if checkpoint else ["--no-checkpoint"])) as process:
        process.stdout.readline()
        seconds = time.perf_counter() - begun
    check_ended(process)
    return (own / "ended").read_bytes(), seconds


def killed(process: subprocess.Popen, moment: str, moments: random.Random, own: Path, seconds_to_start: float) -> bool:
    """Kill a training at this moment; False when it ended before."""
    with process:
        if moment == "starting":
            pause = moments.uniform(0, seconds_to_start)
        else:
            process.stdout.readline()  # it says when it begins to train
            pause = moments.uniform(0, TRAINING if moment == "training" else WRITING)
        if moment == "writing":
            before = temporary_files(own)  # an earlier kill may have left one
            while process.poll() is None and temporary_files(own) in ([], before):
                time.sleep(0.0002)
        try:
            process.wait(pause)
        except subprocess.TimeoutExpired:
            process.kill()
            if process.wait() != 0:
                return True
    check_ended(process)
    return False


def temporary_files(own: Path) -> list[int]:
    """When the checkpoints changed that are being written, or were when they were killed."""
    with suppress(FileNotFoundError):  # it was renamed between two steps of this line
        return [path.stat().st_mtime_ns for path in own.glob(".*.mnistlib-partial")]
    return []


def check_ended(process: subprocess.Popen) -> None:
    if process.returncode:
        raise RuntimeError(f"a training that was not killed failed with exit status {process.returncode}.")


if __name__ == "__main__":
    main()
