"""One network on several datasets, with many seeds: the table of four datasets. Introduced in notebook 07."""

import copy
import math
import os
import platform
import statistics
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchvision
from torch.nn import functional as F
from tqdm.auto import tqdm

from mnistlib.augmentation import Augmentation
from mnistlib.datasets import CLASSES, ImageDataset, load
from mnistlib.ensembles import fit_seeds
from mnistlib.evaluation import Evaluation, evaluate
from mnistlib.experiments import Setting
from mnistlib.files import DataError, check_writable
from mnistlib.networks import NETWORKS
from mnistlib.runs import is_number, read_results, run_jobs, save_results, unfinished_beside
from mnistlib.training import check_settings, digest, pick_device, softmax_cross_entropy

NETWORK = "lenet5-padded"
ANSWERS_WITHIN = 30  # seconds; a cluster that does not is not there
COMMAND = "python -m mnistlib sweep --datasets {}"
PRESETS = {
    "published": Setting(
        "softmax before the loss; each image turned by at most 15°, moved by at most 5 %, scaled and brightened by 0.8–1.2; "
        "Adam 0.002 × 0.98 an epoch, batch 128",
        {
            "epochs": 150,
            "batch_size": 128,
            "lr": 0.002,
            "schedule": 0.98,
            "loss": softmax_cross_entropy,
            "augment": Augmentation(15, 0.05, (0.8, 1.2), (0.8, 1.2), mode="nearest"),
        },
    ),
    "modern": Setting(
        "logits; each image, not those of FashionMNIST, turned by at most 10°, moved by at most 7 %, scaled by 0.9–1.1; "
        "one-cycle Adam with peak 0.005, batch 128",
        {
            "epochs": 40,
            "batch_size": 128,
            "lr": 0.005,
            "schedule": "one-cycle",
            "loss": F.cross_entropy,
            "augment": Augmentation(10, 0.07, (0.9, 1.1)),
        },
    ),
}
# Chosen on validation images (benchmarks/modern_preset.py): turned and moved clothes are harder, and bring nothing.
EXCEPTIONS = {("modern", "FashionMNIST"): {"augment": None}}
# antoine-spahr/MNIST-LeNet5-Pytorch (R4): mean and 1.96 standard deviations over ten seeds, in %, after 150 epochs.
PUBLISHED = {
    "train": {"MNIST": (99.362, 0.085), "FashionMNIST": (89.701, 0.441), "KMNIST": (98.518, 1.219), "QMNIST": (99.356, 0.057)},
    "test": {"MNIST": (99.445, 0.077), "FashionMNIST": (89.495, 0.534), "KMNIST": (96.255, 1.134), "QMNIST": (99.328, 0.055)},
}


def sweep(
    datasets: Iterable[str | ImageDataset] = tuple(CLASSES),
    *,
    presets: Iterable[str] = tuple(PRESETS),
    seeds: int = 10,
    epochs: int | None = None,
    out=None,
    workers: int = 1,
    scheduler: str | None = None,
    device: str = "auto",
    progress: bool = True,
    command: str = "mnistlib.sweep",
) -> dict:
    """Train LeNet-5 with seeds 1 … ``seeds`` on each dataset under each preset; return all numbers.

    ``datasets`` are names, or an `ImageDataset` with 28×28 images. ``presets`` are "published" (R4's protocol, its softmax
    before the loss included) and "modern" (`PRESETS`); ``epochs`` sets another number than theirs. All training images train
    and the test set is measured once, after the last epoch. A dataset that cannot be had leaves its cell empty, with the reason.

    On CUDA the seeds of a cell are trained at once (`fit_seeds`); elsewhere ``workers`` networks at a time, each in a process of
    its own with its share of the threads. ``scheduler`` is the address of a Dask cluster that does the same tasks, one at a time
    in each worker process: start its workers with one thread each.

    With ``out``, each finished task is added to this JSON file, and what it holds is never computed again: a
    sweep that was stopped at any moment goes on where it was, an unfinished training at its last epoch
    (files beside ``out``, removed when it is done). Raises ValueError for unknown names and when the file's numbers
    were made in another way, and `DataError` when it cannot be read or written. Notebook 07.
    """
    presets = list(dict.fromkeys(presets))
    datasets = list(datasets)
    known = presets and set(presets) <= set(PRESETS)
    if not datasets or not known or seeds < 1 or workers < 1 or (epochs is not None and epochs < 1):
        raise ValueError(
            f"give at least one dataset, presets out of {', '.join(PRESETS)}, and seeds, workers and epochs of at least 1; "
            f"got {len(datasets)} datasets, presets {presets}, seeds={seeds}, workers={workers}, epochs={epochs}."
        )
    for name in datasets:
        if isinstance(name, str) and name not in CLASSES:
            raise ValueError(f"unknown dataset {name!r}; the datasets are {', '.join(CLASSES)}.")
    if out is not None:
        check_writable(Path(out).parent)  # now, not after the first training
    results = read_results(Path(out), _check_cells) if out is not None and Path(out).exists() else _new_results()
    if "cells" not in results:
        raise DataError(f"{out} holds other results, not those of a sweep. Move it away, or write to another file.")
    found, missing = _loaded(datasets)
    for preset in presets:
        for name in [*found, *missing]:
            how = _how(preset, epochs, device, workers, scheduler, command)
            _open_cell(results, preset, name, how, found.get(name), missing.get(name), out)
    save_results(out, results)

    at_once = scheduler is None and pick_device(device).type == "cuda"
    tasks = []
    for preset in presets:
        for name in found:
            done = {run["seed"] for run in results["cells"][preset][name]["runs"]}
            left = [seed for seed in range(1, seeds + 1) if seed not in done]
            tasks += [(preset, name, left)] if at_once and left else [(preset, name, [seed]) for seed in left]
    for preset, name, _ in tasks:
        checked = {key: options(preset, name, epochs)[key] for key in ("epochs", "batch_size", "lr", "schedule")}
        check_settings(**checked, images=len(found[name].train))
    with (
        tqdm(total=sum(len(its_seeds) for *_, its_seeds in tasks), desc="sweep", unit="network", disable=not progress) as bar,
        unfinished_beside(None if scheduler else out, needed=bool(tasks)) as folder,
    ):
        jobs = {}
        for preset, name, its_seeds in tasks:
            file = folder and folder / f"{preset}-{name}-{'-'.join(map(str, its_seeds))}.pt"
            jobs[preset, name, tuple(its_seeds)] = (preset, its_seeds, epochs, device, file)
        for (preset, name, _), runs in _done(jobs, found, workers, scheduler):
            _add(results["cells"][preset][name], runs)
            save_results(out, results)
            bar.set_postfix_str(f"{preset}, {name}: {runs[-1]['test accuracy']:.2%}")
            bar.update(len(runs))
    return results


def train_and_measure(
    dataset: ImageDataset, preset: str, seeds: list[int], epochs: int | None, device: str, checkpoint
) -> list[dict]:
    """One task of `sweep`: networks trained with these seeds, measured on all training and test images."""
    start = time.perf_counter()
    settings = options(preset, dataset.name, epochs)
    trained = fit_seeds(NETWORK, seeds, dataset.train, device=device, checkpoint=checkpoint, progress=False, **settings)
    seconds = (time.perf_counter() - start) / len(seeds)
    return [
        _run(seed, len(history.seconds), seconds, evaluate(net, dataset.train), evaluate(net, dataset.test))
        for seed, net, history in zip(seeds, trained.nets, trained.histories, strict=True)
    ]


def table(results: dict, preset: str, part: str = "test") -> pd.DataFrame:
    """A row a dataset of ``results``, which `sweep` returned or its file holds: its accuracy in %, beside the published.

    Columns: ``seeds``, ``epochs``, ``mean`` and ``1.96 sd`` (population standard deviation over the seeds, as the source counts
    it), ``published mean`` and ``published 1.96 sd``. What there is not, is NaN. ``part`` is "train" or "test". Notebook 07.
    """
    rows = {}
    for name, cell in results["cells"][preset].items():
        mean, spread = cell.get(part) or (float("nan"), float("nan"))
        published, its_spread = PUBLISHED[part].get(name, (float("nan"), float("nan")))
        rows[name] = {
            "seeds": len(cell["runs"]),
            "epochs": cell["how"]["epochs"] if cell["runs"] else 0,
            "mean": mean,
            "1.96 sd": spread,
            "published mean": published,
            "published 1.96 sd": its_spread,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("dataset")


def reasons(results: dict) -> dict[str, str]:
    """Why a dataset of ``results`` has empty cells, by dataset."""
    return {name: cell["reason"] for cells in results["cells"].values() for name, cell in cells.items() if cell["reason"]}


def confusion(results: dict, preset: str, name: str) -> pd.DataFrame:
    """How often each true class (row) was predicted as each class (column): test images, added up over the seeds."""
    counts = sum(np.array([row.split() for row in run["confusion"]], int) for run in results["cells"][preset][name]["runs"])
    classes = CLASSES.get(name, range(len(counts)))  # of images of one's own the file has no names
    axes = {"index": pd.Index(classes, name="true"), "columns": pd.Index(classes, name="predicted")}
    return pd.DataFrame(counts, **axes)


def options(preset: str, name: str = "MNIST", epochs: int | None = None) -> dict:
    """The settings of `fit` and `fit_seeds` for a preset and a dataset. Introduced in notebook 07."""
    return PRESETS[preset].options | EXCEPTIONS.get((preset, name), {}) | ({"epochs": epochs} if epochs else {})


def _check_cells(results: dict) -> None:
    """Raise ValueError unless each cell has sound runs, and their mean and spread are those stored."""
    place = "its cells"
    try:
        for preset, cells in results.get("cells", {}).items():
            for name, cell in cells.items():
                place = f"{preset}, {name}"
                how, runs = cell["how"], cell["runs"]
                sound = preset in PRESETS and isinstance(cell["reason"], str) and isinstance(runs, list)
                sound &= type(how["epochs"]) is int and {"preset", "versions", "hardware", "command"} <= set(how)
                sound &= all(_is_sound(run, how["epochs"], cell["data"]) for run in runs)
                sound &= len({run["seed"] for run in runs}) == len(runs)
                for part in ("train", "test"):
                    of_all = _mean_and_spread(runs, part) if runs else None
                    sound &= cell[part] == of_all or (len(cell[part]) == 2 and np.allclose(cell[part], of_all, atol=1e-4))
                if not sound:
                    raise ValueError("what it says of a run, or of all, cannot be")
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{place}: something is missing or wrong, {error}") from None


def _is_sound(run: dict, epochs: int, data: dict) -> bool:
    """Whether a run has what `train_and_measure` gives: its test accuracy is that of its answers to all test images."""
    counts = np.array([row.split() for row in run["confusion"]], int)
    images = int(counts.sum())
    return (
        type(run["seed"]) is int
        and run["epochs"] == epochs
        and all(is_number(run[fact]) for fact in ("train accuracy", "test accuracy", "test loss", "seconds"))
        and run["train accuracy"] <= 1
        and counts.shape == (len(counts), len(counts))
        and counts.min() >= 0 < images
        and data["test"].startswith(f"{images:,} with")
        and math.isclose(run["test accuracy"], counts.trace() / images, abs_tol=1e-9)
    )


def _run(seed: int, epochs: int, seconds: float, trained: Evaluation, tested: Evaluation) -> dict:
    return {
        "seed": seed,
        "train accuracy": trained.accuracy,
        "test accuracy": tested.accuracy,
        "test loss": tested.loss,
        "epochs": epochs,
        "seconds": round(seconds, 1),
        "confusion": [" ".join(map(str, row)) for row in tested.confusion.to_numpy()],
    }


def _loaded(datasets) -> tuple[dict[str, ImageDataset], dict[str, str]]:
    """The datasets that can be had, by name, and why the others cannot."""
    found, missing = {}, {}
    for dataset in datasets:
        try:
            dataset = load(dataset) if isinstance(dataset, str) else dataset
            found[dataset.name] = dataset
        except DataError as error:
            missing[dataset] = f"{str(error).splitlines()[0]} Where it can be had, run: {COMMAND.format(dataset)}"
    return found, missing


def _new_results() -> dict:
    return {
        "what": f"{NETWORKS[NETWORK].title}: accuracy in % as [mean, 1.96 population standard deviations] over the seeds",
        "presets": {name: preset.words for name, preset in PRESETS.items()},
        "cells": {},
    }


def _how(preset, epochs, device, workers, scheduler, command) -> dict:
    device = pick_device(device)
    return {
        "epochs": options(preset, epochs=epochs)["epochs"],
        "preset": PRESETS[preset].words,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__},
        "hardware": {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "threads a network": max(1, torch.get_num_threads() // workers),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        }
        | ({"cluster": scheduler} if scheduler else {}),
        "command": command,
    }


def _open_cell(results, preset, name, how, dataset, reason, out) -> None:
    """The cell of a preset and a dataset: a new one, or the file's, if its numbers were made in the same way."""
    cells = results["cells"].setdefault(preset, {})
    data = None if dataset is None else {"train": digest(dataset.train), "test": digest(dataset.test)}
    old = cells.get(name)
    if old is None or not old["runs"]:
        cells[name] = {"how": how, "data": data, "reason": reason or "", "train": None, "test": None, "runs": []}
        cells |= {key: cells.pop(key) for key in CLASSES if key in cells}
        return
    if dataset is None:
        return  # numbers made where the dataset was
    other = [fact for fact in ("epochs", "preset", "versions") if old["how"][fact] != how[fact]]
    if old["data"] != data:
        other.append("data")
    if other:
        listed = "; ".join(f"{fact}: {old['how'].get(fact, old['data'])}, now {how.get(fact, data)}" for fact in other)
        raise ValueError(
            f"{out}: the numbers of {preset}, {name} were made in another way ({listed}), and the two must not be mixed. "
            "Move that file away, or write to another."
        )


def _add(cell: dict, runs: list[dict]) -> None:
    cell["runs"] = sorted([*cell["runs"], *runs], key=lambda run: run["seed"])
    for part in ("train", "test"):
        cell[part] = [round(number, 4) for number in _mean_and_spread(cell["runs"], part)]


def _mean_and_spread(runs: list[dict], part: str) -> tuple[float, float]:
    """Accuracy in % on a part, over the seeds: mean and 1.96 population standard deviations."""
    accuracies = [100 * run[f"{part} accuracy"] for run in runs]
    return statistics.mean(accuracies), 1.96 * statistics.pstdev(accuracies)


def _done(jobs: dict, found: dict, workers: int, scheduler: str | None) -> Iterator[tuple[tuple, list[dict]]]:
    """Each task with its runs, as they end."""
    if scheduler:
        return _done_by_cluster(jobs, found, scheduler)
    return run_jobs({task: partial(train_and_measure, found[task[1]], *job) for task, job in jobs.items()}, workers)


def _done_by_cluster(jobs: dict, found: dict, scheduler: str) -> Iterator[tuple[tuple, list[dict]]]:
    try:
        import distributed
    except ImportError:
        raise ValueError("--scheduler needs the package distributed: python -m pip install -e '.[cluster]'") from None
    try:
        client = distributed.Client(scheduler, timeout=ANSWERS_WITHIN, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {scheduler!r} ({error}). Start one, or leave --scheduler out.") from None
    with client:
        # As tasks, not scattered: what only a worker holds dies with it, and the scheduler keeps the tasks. A worker that dies
        # takes what it was doing with it; Dask gives that to another, and the seed makes the same numbers.
        with warnings.catch_warnings(action="ignore"):  # that the images are large
            data = {name: client.submit(copy.copy, found[name], pure=False) for name in {task[1] for task in jobs}}
        running = {client.submit(_alone, data[task[1]], *job, pure=False): task for task, job in jobs.items()}
        for future in distributed.as_completed(list(running), loop=client.loop):
            yield running[future], future.result()


_one_at_a_time = threading.Lock()


def _alone(dataset: ImageDataset, *job) -> list[dict]:
    """`train_and_measure` in a cluster's worker, whose threads share PyTorch's random numbers: two at once would mix theirs."""
    with _one_at_a_time:
        return train_and_measure(dataset, *job)
