"""Files of results: one JSON line per run, appended under a lock. Tables are computed when read, never stored."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout

from mnistlib.base.checks import PATH, checked
from mnistlib.base.files import DataError
from mnistlib.data import CLASSES, load
from mnistlib.evaluation import confusion_table
from mnistlib.lab.sources import published_accuracy
from mnistlib.layers import layer_table
from mnistlib.networks import NETWORKS
from mnistlib.stats import confidence_interval

BEGINNING = b'{"key": "'  # of each line


@checked
def append(path: PATH, run: dict) -> None:
    """Add one run to a file of results, as one line of JSON that is on the disk when this returns.

    Several processes may append at once. A line that a killed process left half written is removed, with a warning.
    Raises `DataError` when the file cannot be written.
    """
    path, line = Path(path), (json.dumps(run, ensure_ascii=False, allow_nan=False) + "\n").encode()
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=60), open(path, "a+b") as file:
            file.seek(0)
            content = file.read()
            whole = _without_torn_line(path, content)
            if whole != content:
                file.truncate(len(whole))
                warnings.warn(f"{path}: a half-written line was removed from its end.", stacklevel=2)
            file.write(line if whole[-1:] in (b"", b"\n") else b"\n" + line)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, Timeout, ValueError) as error:
        raise DataError(f"cannot write {path}: {error}. Make room there, or use another path.") from None


@checked
def runs(path: PATH) -> list[dict]:
    """Return the runs in a file of results, each key once; a last line that is half written is left out.

    Raises `DataError`, which names the file and the line, for anything else that is not a run.
    """
    path, found = Path(path), {}
    if not path.is_file():
        raise DataError(f"{path} is not a file of results. Give the path of a file that a sweep wrote.")
    for number, line in enumerate(_without_torn_line(path, path.read_bytes()).splitlines(), start=1):
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


def _without_torn_line(path: Path, content: bytes) -> bytes:
    """Leave out a last line that a killed process left half written. Raises `DataError` when it is anything else."""
    whole, _, rest = content.rpartition(b"\n")
    try:
        json.loads(rest or b"{}")
        return content
    except (ValueError, RecursionError):
        if not (rest.startswith(BEGINNING) or BEGINNING.startswith(rest)):
            raise DataError(f"{path} is not a file of results. Move it away, or use another path.") from None
        return whole and whole + b"\n"


@checked
def read(file: PATH = "networks") -> pd.DataFrame:
    """Return the runs in a file of results, one row per run: the fields of the recipe and of the run as columns.

    ``file`` is a path, or the name of results that come with the course, such as "networks". The columns
    ``epochs_run``, ``epoch_seconds`` (the fastest epoch) and ``valid_accuracy`` (after the last epoch) follow from
    ``history`` where a run has one and does not store them. Raises `DataError`. Introduced in notebook 05.
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
        row = {"epochs_run": max(map(len, history.values()), default=run["recipe"].get("epochs"))}
        row |= {"epoch_seconds": min(history["seconds"])} if "seconds" in history else {}
        row |= {"valid_accuracy": history["valid_accuracy"][-1]} if "valid_accuracy" in history else {}
        rows.append(row | run["recipe"] | {name: value for name, value in run.items() if name != "recipe"})
    return pd.DataFrame(rows)


def predictions(run, labels: torch.Tensor) -> torch.Tensor:
    """Return the predictions of a run, a row of `read`, for the test images: int64 ``[N]``.

    ``labels``, int64 ``[N]``, are the true labels; the run stores only its errors. Raises ValueError when they do not
    fit together. Introduced in notebook 05.
    """
    predicted = labels.clone()
    for image, prediction in (map(int, error.split(":")) for error in run["errors"].split()):
        if not 0 <= image < len(labels):
            raise ValueError(f"the run has a prediction for image {image}, but there are {len(labels):,} labels.")
        predicted[image] = prediction
    return predicted


def confusion(runs: pd.DataFrame, labels: torch.Tensor | None = None) -> pd.DataFrame:
    """Count how often each true class (row) was predicted as each class (column), added up over runs of one dataset.

    ``labels``, int64 ``[N]``, are those of the test images; unless given, they are loaded. Notebook 05.
    """
    name = runs.dataset.iloc[0]
    classes = CLASSES.get(name, range(10))
    if "confusion" in runs and runs.confusion.notna().all():  # of the first version, which stored no predictions
        axes = {"index": pd.Index(classes, name="true"), "columns": pd.Index(classes, name="predicted")}
        return pd.DataFrame(np.sum(list(runs.confusion), axis=0), **axes)
    labels = load(name).test.labels if labels is None else labels
    return sum(confusion_table(labels, predictions(run, labels), classes) for _, run in runs.iterrows())


@checked
def table(runs: pd.DataFrame, by: str = "network", part: str = "test") -> pd.DataFrame:
    """Summarise runs: one row for each network, dataset, or other column ``by``. Introduced in notebook 05.

    Columns: ``seeds``; ``mean``, ``sd`` and ``confidence_interval`` (half its width) of the accuracy on ``part``,
    "test" or "train", over the seeds; what the source ``published`` (all in %); ``epochs`` (mean) and
    ``epoch_seconds`` (minimum). For networks also ``title``, ``parameters`` and ``mult-adds``. NaN stands for what is
    not known.
    """
    if missing := {by, f"{part}_accuracy", "network", "dataset"} - set(runs):
        raise ValueError(f"the runs have no column {', '.join(sorted(missing))}. Give runs as lab.read returns them.")
    groups = runs.assign(accuracy=100 * runs[f"{part}_accuracy"]).groupby(by, sort=False)
    table = groups.accuracy.agg(seeds="count", mean="mean", sd="std", confidence_interval=_half_width)
    firsts = groups[["network", "dataset"]].first().to_numpy()
    table["published"] = [published_accuracy(network, dataset, part) for network, dataset in firsts]
    table["epochs"] = groups.epochs_run.mean()
    table["epoch_seconds"] = groups.epoch_seconds.min() if "epoch_seconds" in runs else None
    if by == "network":
        networks = [NETWORKS[key] for key in table.index]
        totals = [layer_table(network.build(0), network.input_shape).loc["total"] for network in networks]
        table.insert(0, "title", [network.title for network in networks])
        for place, column in enumerate(["parameters", "mult-adds"], start=1):
            table.insert(place, column, [int(total[column]) for total in totals])
    order = {"network": NETWORKS, "dataset": CLASSES}.get(by, table.index)
    return table.loc[[name for name in order if name in table.index]].astype({"published": float})


def _half_width(accuracies: pd.Series) -> float:
    return confidence_interval(accuracies.dropna())[1] if accuracies.count() > 1 else np.nan
