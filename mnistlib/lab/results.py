"""Files of results: one JSON line per run, appended under a lock. Tables are computed when read, never stored."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout

from mnistlib.data import CLASSES, load
from mnistlib.evaluation import confusion_table
from mnistlib.files import DataError
from mnistlib.lab.sources import published_accuracy
from mnistlib.layers import layer_table
from mnistlib.networks import NETWORKS
from mnistlib.stats import confidence_interval

BEGINNING = b'{"key": "'  # of each line


def append(path, run: dict) -> None:
    """Add one run to a file of results, as one line of JSON that is on the disk when this returns.

    Several processes may append at once. A line that a killed process left half written is removed, with a warning.
    Raises `DataError` when the file cannot be written.
    """
    path = Path(path)
    line = (json.dumps(run, ensure_ascii=False, allow_nan=False) + "\n").encode()
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=60), open(path, "a+b") as file:
            file.seek(0)
            *_, rest = file.read().split(b"\n")
            if rest and _is_whole(path, rest):
                line = b"\n" + line
            elif rest:
                file.truncate(file.tell() - len(rest))
                warnings.warn(f"{path}: a half-written line was removed from its end.", stacklevel=2)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, Timeout) as error:
        raise DataError(f"cannot write {path}: {error}. Make room there, or use another path.") from None


def runs(path) -> list[dict]:
    """Return the runs in a file of results, each key once; a last line that is half written is left out.

    Raises `DataError`, which names the file and the line, for anything else that is not a run.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is not a file of results. Give the path of a file that a sweep wrote.")
    *lines, rest = path.read_bytes().split(b"\n")
    lines += [rest] if rest and _is_whole(path, rest) else []
    found = {}
    for number, line in enumerate(lines, start=1):
        try:
            run = json.loads(line)
            kinds = [type(run[name]) for name in ("key", "recipe", "seed")]
            if kinds != [str, dict, int] or not 0 <= float(run.get("test_accuracy", 0)) <= 1:
                raise ValueError("key, recipe, seed or test_accuracy is not what it must be")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            what = f"{path}, line {number} is not a run ({error!r})."
            raise DataError(f"{what} Correct or delete that line, or use another file.") from None
        found.setdefault(run["key"], run)
    return list(found.values())


def read(file="networks") -> pd.DataFrame:
    """Return the runs in a file of results, one row per run: the fields of the recipe and of the run as columns.

    ``file`` is a path, or the name of results that come with the course, such as "networks". The columns
    ``epochs_run``, ``epoch_seconds`` (the fastest epoch) and ``valid_accuracy`` (after the last epoch) follow from
    ``history`` where a run has one. Raises `DataError`. Introduced in notebook 05.
    """
    path, here = Path(file), Path(__file__).parents[1]
    if path.suffix != ".jsonl" and path.name == str(file):
        places = [folder / "results" / f"{file}.jsonl" for folder in (here, here.parent)]  # installed, or a checkout
        path = next((place for place in places if place.is_file()), places[-1])
    return frame(runs(path))


def frame(runs: list[dict]) -> pd.DataFrame:
    """Return runs as `read` does."""
    rows = []
    for run in runs:
        history = {name: values for name, values in run.get("history", {}).items() if values}
        rows.append({"epochs_run": max(map(len, history.values()), default=run["recipe"].get("epochs"))})
        if "seconds" in history:
            rows[-1]["epoch_seconds"] = min(history["seconds"])
        if "valid_accuracy" in history:
            rows[-1]["valid_accuracy"] = history["valid_accuracy"][-1]
        rows[-1] |= run["recipe"] | {name: value for name, value in run.items() if name != "recipe"}
    return pd.DataFrame(rows)


def predictions(run, labels: torch.Tensor) -> torch.Tensor:
    """Return the predictions of a run, a row of `read`, for the test images: int64 ``[N]``.

    ``labels``, int64 ``[N]``, are the true labels; the run stores only its errors. Raises ValueError when they do not
    fit together. Introduced in notebook 05.
    """
    predicted = labels.clone()
    for error in run["errors"].split():
        image, prediction = map(int, error.split(":"))
        if not 0 <= image < len(labels):
            raise ValueError(f"the run has a prediction for image {image}, but there are {len(labels):,} labels.")
        predicted[image] = prediction
    return predicted


def confusion(runs: pd.DataFrame, labels: torch.Tensor | None = None) -> pd.DataFrame:
    """Count how often each true class (row) was predicted as each class (column), added up over runs of one dataset.

    ``labels``, int64 ``[N]``, are those of the test images; unless given, they are loaded. Notebook 05.
    """
    name, total = runs.dataset.iloc[0], 0
    classes = CLASSES.get(name, range(10))
    for _, run in runs.iterrows():
        if isinstance(run.get("confusion"), list):  # of the first version, which stored no predictions
            total = total + np.array(run["confusion"])
        else:
            labels = load(name).test.labels if labels is None else labels
            total = total + confusion_table(labels, predictions(run, labels), classes).to_numpy()
    axes = {"index": pd.Index(classes, name="true"), "columns": pd.Index(classes, name="predicted")}
    return pd.DataFrame(total, **axes)


def table(runs: pd.DataFrame, by: str = "network", part: str = "test") -> pd.DataFrame:
    """Summarise runs: one row for each network, dataset, or other column ``by``. Introduced in notebook 05.

    Columns: ``seeds``; ``mean``, ``sd`` and ``confidence_interval`` (half its width) of the accuracy on ``part``,
    "test" or "train", over the seeds; what the source ``published`` (all in %); ``epochs`` (mean) and
    ``epoch_seconds`` (minimum). For networks also ``title``, ``parameters`` and ``mult-adds``. NaN stands for what is
    not known.
    """
    rows = {}
    for name, group in runs.groupby(by, sort=False):
        accuracies, first = 100 * group[f"{part}_accuracy"].dropna(), group.iloc[0]
        rows[name] = {}
        if by == "network":
            network = NETWORKS[name]
            total = layer_table(network.build(0), network.input_shape).loc["total", ["parameters", "mult-adds"]]
            rows[name] = {"title": network.title, **total.astype(int)}
        rows[name] |= {
            "seeds": len(accuracies),
            "mean": accuracies.mean(),
            "sd": accuracies.std(),
            "confidence_interval": confidence_interval(accuracies)[1] if len(accuracies) > 1 else None,
            "published": published_accuracy(first.network, first.dataset, part),
            "epochs": group.epochs_run.mean(),
            "epoch_seconds": group.epoch_seconds.min() if "epoch_seconds" in group else None,
        }
    order = {"network": NETWORKS, "dataset": CLASSES}.get(by, rows)
    table = pd.DataFrame.from_dict({name: rows[name] for name in order if name in rows}, orient="index")
    return table.rename_axis(by).astype({"published": float})


def _is_whole(path: Path, rest: bytes) -> bool:
    """Whether a last line without a newline is whole; `DataError` unless it is at least the beginning of a run."""
    try:
        json.loads(rest)
        return True
    except (ValueError, RecursionError):
        if not (rest.startswith(BEGINNING) or BEGINNING.startswith(rest)):
            raise DataError(f"{path} is not a file of results. Move it away, or use another path.") from None
        return False
