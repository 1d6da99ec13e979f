"""The networks compared: each trained with several seeds, its numbers kept in one JSON file. Introduced in notebook 05."""

import math
import os
import platform
import re
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
import torchvision
from tqdm.auto import tqdm

from mnistlib.counting import layer_table
from mnistlib.datasets import ImageDataset, load
from mnistlib.evaluation import Evaluation, evaluate
from mnistlib.files import DataError, check_writable
from mnistlib.networks import NETWORKS, find
from mnistlib.runs import is_number, read_results, run_jobs, save_results, unfinished_beside
from mnistlib.training import fit, pick_device

VALID = 5_000  # training images kept to decide when to stop; the test set decides nothing


@dataclass(frozen=True)
class Setting:
    """How a network is trained: in words, and as options of `fit`."""

    words: str
    options: dict


KERAS_ADADELTA = partial(torch.optim.Adadelta, rho=0.95, eps=1e-7)  # Keras's defaults, not PyTorch's
SETTINGS = {
    "R0": Setting("Adam 0.001, batch 50, 1 epoch", {"epochs": 1, "batch_size": 50, "lr": 0.001, "schedule": None}),
    "R1": Setting(
        "Adam 0.001, batch 200, at most 200 epochs, ends after 2 epochs without a lower validation loss",
        {"epochs": 200, "batch_size": 200, "lr": 0.001, "schedule": None, "patience": 2},
    ),
    "R2": Setting(
        "Adadelta 1.0 (rho 0.95, eps 1e-7), batch 128, 12 epochs",
        {"epochs": 12, "batch_size": 128, "lr": 1.0, "schedule": None, "optimizer": KERAS_ADADELTA},
    ),
    "R3": Setting("Adam 0.001, batch 64, 5 epochs", {"epochs": 5, "batch_size": 64, "lr": 0.001, "schedule": None}),
    "1998": Setting("one-cycle Adam with peak 0.002, batch 16, 20 epochs", {"epochs": 20, "lr": 0.002, "batch_size": 16}),
    "same": Setting("one-cycle Adam with peak 0.003, batch 128, 5 epochs", {"epochs": 5, "lr": 0.003}),
}


@dataclass(frozen=True)
class Published:
    """What a network's source says: the setting nearest to its own, its test accuracy in %, and a remark on the two."""

    setting: str
    accuracy: float | None = None
    remark: str = ""


PUBLISHED = {
    "lenet5": Published("R3", None, "none valid: the source trained on test images"),
    "lenet5-padded": Published("R3", 99.445, "published after 150 epochs of augmented images"),
    "lenet5-1998": Published("1998", 99.05, "published after 20 passes of a second-order method, all 60,000 images"),
    "small-cnn": Published("R2", 98.48),
    "mlp": Published("R1", 98.22),
    "cnn-1d": Published("R1", 98.31),
    "cnn-2d": Published("R1", 98.67),
    "stacked-1d-published": Published("R1", 98.45),
    "stacked-2d-published": Published("R1", 98.87),
    "stacked-1d": Published("R1", None, "never run by the source"),
    "stacked-2d": Published("R1", None, "never run by the source"),
    "multi-tower": Published("R1", 98.75),
    "lenet-wide": Published("R0", 96.62, "published on a validation part of its own, with pixels of 0 to 255"),
}
GROUPS = ("published", "same")  # each network as its source trained it; all networks alike


def compare(
    keys: Iterable[str] = tuple(NETWORKS),
    *,
    groups: Iterable[str] = ("published",),
    seeds: int = 3,
    out=None,
    dataset: ImageDataset | None = None,
    epochs: int | None = None,
    workers: int = 1,
    device: str = "auto",
    progress: bool = True,
    command: str = "mnistlib.compare",
) -> dict:
    """Train each network with seeds 0 … ``seeds`` − 1 and measure it on the test set; return all numbers.

    ``groups`` are "published" (each network in the setting of its source, `PUBLISHED`) and "same" (all alike), on
    ``dataset``, MNIST unless given. 5,000 training images, drawn with the seed, are kept for validation: they alone decide
    when to stop. ``epochs`` sets another number. ``workers`` networks are trained at once, each in a process of its own with
    its share of the threads. ``command`` is stored: what makes the numbers again.

    With ``out``, each finished run is added to this JSON file at once, and runs that it already has are not done again:
    a comparison that was stopped goes on where it was, an unfinished run at its last epoch (files in a folder beside ``out``,
    removed at the end). Raises ValueError for unknown names, and when the
    file's numbers were made in another way, and `DataError` when it cannot be read or written. Notebook 05.
    """
    keys, groups = list(dict.fromkeys(find(key).key for key in keys)), list(dict.fromkeys(groups))
    if epochs is not None and epochs < 1:
        raise ValueError(f"epochs must be at least 1, or None for those of the setting; got {epochs}.")
    if seeds < 1 or workers < 1 or not keys or not groups or not set(groups) <= set(GROUPS):
        raise ValueError(
            f"give at least one network, groups out of {GROUPS}, and seeds and workers of at least 1; "
            f"got {len(keys)} networks, groups {groups}, seeds={seeds}, workers={workers}."
        )
    dataset = dataset or load("MNIST")
    if len(dataset.train) <= VALID:
        raise ValueError(f"the training part must have more than {VALID:,} images; {dataset} has too few.")
    threads = max(1, torch.get_num_threads() // workers)
    results = {"command": command, **_header(dataset, epochs, pick_device(device), threads)}
    if out is not None:
        check_writable(Path(out).parent)  # now, not after the first training
        if Path(out).exists():
            results = {**_continued(Path(out), results), "command": command}
    done = {(group, key, run["seed"]) for group in results["groups"] for key, run in _runs(results["groups"][group])}
    tasks = [(group, key, seed) for group in groups for seed in range(seeds) for key in keys]
    tasks = [task for task in tasks if task not in done]
    with (
        tqdm(total=len(tasks), desc="compare", unit="run", disable=not progress) as bar,
        unfinished_beside(out, needed=bool(tasks)) as folder,
    ):
        own = {task: {"checkpoint": folder and folder / f"{'-'.join(map(str, task))}.pt"} for task in tasks}
        work = partial(train_and_measure, dataset=dataset, epochs=epochs, device=device)
        for (group, key, _), run in run_jobs({task: partial(work, *task, **own[task]) for task in tasks}, workers):
            _add(results["groups"], group, key, run)
            save_results(out, results)
            bar.set_postfix_str(f"{key}: {run['test accuracy']:.2%}")
            bar.update()
    return results


def train_and_measure(
    group: str, key: str, seed: int, *, dataset: ImageDataset, epochs: int | None, device: str, checkpoint
) -> dict:
    """One run of `compare`: a network trained with one seed, measured on the test set."""
    network = NETWORKS[key]
    size = network.input_size[-1]
    train, test = dataset.train.resized(size), dataset.test.resized(size)
    train, valid = train.split(len(train) - VALID, VALID, seed=seed)
    options = SETTINGS[_setting(group, key)].options | ({"epochs": epochs} if epochs else {})
    net = network.build(seed)
    history = fit(net, train, valid=valid, seed=seed, device=device, checkpoint=checkpoint, progress=False, **options)
    tested = evaluate(net, test)
    return {
        "seed": seed,
        "test accuracy": tested.accuracy,
        "test loss": tested.loss,
        "epochs": len(history.seconds),
        "seconds of the quickest epoch": min(history.seconds),  # the others waited for something
        "training accuracy": [round(accuracy, 5) for accuracy in history.train_accuracy],
        "validation accuracy": [round(accuracy, 5) for accuracy in history.valid_accuracy],
        "mistakes": _mistakes(tested),
    }


def table(results: dict, group: str) -> pd.DataFrame:
    """A row a network of ``results``, which `compare` returned or its file holds, in one of its groups.

    Columns: ``parameters``, ``mult-adds`` (of one image), ``seeds``, ``accuracy`` and its standard deviation ``sd`` over the
    seeds, ``published`` (all three in %), ``epochs`` (mean), ``s/epoch``. What there is not, is NaN. Introduced in notebook 05.
    """
    rows = {}
    for entry in results["groups"][group].values():
        accuracies = [100 * run["test accuracy"] for run in entry["runs"]]
        rows[entry["title"]] = {
            "parameters": entry["parameters"],
            "mult-adds": entry["mult-adds"],
            "seeds": len(accuracies),
            "accuracy": statistics.mean(accuracies),
            "sd": statistics.stdev(accuracies) if len(accuracies) > 1 else float("nan"),
            "published": entry["published accuracy"],
            "epochs": statistics.mean(run["epochs"] for run in entry["runs"]),
            "s/epoch": min(run["seconds of the quickest epoch"] for run in entry["runs"]),
        }
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")
    return frame.astype({"published": float})


def read(name: str = "networks.json") -> dict:
    """The numbers of a long run that come with the course, from its folder ``results``. Raises `DataError`. Notebook 05."""
    here = Path(__file__).parent
    for path in (here / "results" / name, here.parent / "results" / name):  # installed, or in the course's folder
        if path.is_file():
            return read_results(path, _check_groups)
    raise DataError(f"the course has no results {name!r}. See the folder results/ of the course for those that there are.")


def predictions(run: dict, labels: torch.Tensor) -> torch.Tensor:
    """What a network of a stored run answered for each test image, int64 ``[N]``; ``labels`` int64 ``[N]`` are the true ones.

    Raises ValueError when they are the labels of fewer images.
    """
    answers = labels.clone()
    for pair in run["mistakes"].split():
        image, answer = map(int, pair.split(":"))
        if image >= len(labels):
            raise ValueError(f"the run has an answer for image {image}, but there are {len(labels):,} labels.")
        answers[image] = answer
    return answers


def _mistakes(tested: Evaluation) -> str:
    """Each wrong answer as image:answer; all other answers are right."""
    wrong = (~tested.correct).nonzero().flatten().tolist()
    return " ".join(f"{image}:{answer}" for image, answer in zip(wrong, tested.predictions[wrong].tolist(), strict=True))


def _setting(group: str, key: str) -> str:
    return "same" if group == "same" else PUBLISHED[key].setting


def _header(dataset: ImageDataset, epochs: int | None, device: torch.device, threads: int) -> dict:
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "what": f"{dataset.name}: {len(dataset.train) - VALID:,} images to train on, {VALID:,} to stop by, {len(dataset.test):,} "
        f"to test once" + (f"; number of epochs set to {epochs}" if epochs else ""),
        "settings": {name: setting.words for name, setting in SETTINGS.items()},
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__},
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "threads a network": threads, "device": gpu},
        "groups": {},
    }


def _add(groups: dict, group: str, key: str, run: dict) -> None:
    network, published = NETWORKS[key], PUBLISHED[key]
    if key not in groups.setdefault(group, {}):
        total = layer_table(network.build(seed=0), network.input_size).loc["total"]
        groups[group][key] = {
            "title": network.title,
            "source": network.source,
            "setting": _setting(group, key),
            "parameters": int(total["parameters"]),
            "mult-adds": int(total["mult-adds"]),
            "published accuracy": published.accuracy if group == "published" else None,
            "remark": published.remark if group == "published" else "",
            "runs": [],
        }
        order = {key: place for place, key in enumerate(NETWORKS)}
        groups[group] = dict(sorted(groups[group].items(), key=lambda item: order[item[0]]))
    entry = groups[group][key]
    entry["runs"] = sorted([*entry["runs"], run], key=lambda run: run["seed"])
    accuracies = [run["test accuracy"] for run in entry["runs"]]
    entry["mean test accuracy"] = statistics.mean(accuracies)
    entry["standard deviation"] = statistics.stdev(accuracies) if len(accuracies) > 1 else None


def _runs(group: dict) -> Iterator[tuple[str, dict]]:
    return ((key, run) for key, entry in group.items() for run in entry["runs"])


def _continued(path: Path, new: dict) -> dict:
    old = read_results(path, _check_groups)
    if "groups" not in old:
        raise DataError(f"{path} holds other results, not those of a comparison. Move it away, or write to another file.")
    for fact in ("what", "settings", "versions", "hardware"):
        if old.get(fact) != new[fact]:
            raise ValueError(
                f"{path} holds numbers made in another way ({fact}: {old.get(fact)}, now {new[fact]}), "
                "and the two must not be mixed. Move that file away, or write to another."
            )
    return old


def _check_groups(results: dict) -> None:
    """Raise ValueError unless each network has its facts and sound runs, and their mean and deviation are those stored."""
    place = "its groups"
    try:
        for group, entries in results.get("groups", {}).items():  # the other results of the course have none
            for key, entry in entries.items():
                place = f"{group}, {key}"
                seeds = [run["seed"] for run in entry["runs"]]
                accuracies = [run["test accuracy"] for run in entry["runs"]]
                known = [entry[fact] for fact in ("published accuracy", "standard deviation") if entry[fact] is not None]
                numbers = [entry["parameters"], entry["mult-adds"], *known]
                sound = group in GROUPS and key in NETWORKS and isinstance(entry["title"], str)
                sound &= all(is_number(number) for number in numbers) and all(_is_sound(run) for run in entry["runs"])
                sound &= math.isclose(entry["mean test accuracy"], statistics.mean(accuracies), rel_tol=1e-9)
                deviation = statistics.stdev(accuracies) if len(seeds) > 1 else 0
                sound &= math.isclose(entry["standard deviation"] or 0, deviation, rel_tol=1e-9, abs_tol=1e-12)
                if not sound or len(set(seeds)) < len(seeds):
                    raise ValueError(f"{place}: what it says of a run, or of all, cannot be")
    except (AttributeError, KeyError, TypeError, OverflowError, statistics.StatisticsError) as error:
        raise ValueError(f"{place}: something is missing or of a wrong kind, {error}") from None


def _is_sound(run: dict) -> bool:
    """Whether a run has what `train_and_measure` gives, in the bounds that it has."""
    accuracies = [run["test accuracy"], *run["training accuracy"], *run["validation accuracy"]]
    return (
        type(run["seed"]) is int
        and all(is_number(number) and number <= 1 for number in accuracies)
        and is_number(run["test loss"])
        and is_number(run["seconds of the quickest epoch"])
        and type(run["epochs"]) is int
        and run["epochs"] == len(run["training accuracy"]) == len(run["validation accuracy"])
        and re.fullmatch(r"(\d+:\d( \d+:\d)*)?", run["mistakes"], re.ASCII) is not None
    )
