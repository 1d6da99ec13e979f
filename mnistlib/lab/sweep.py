"""One engine for all experiments: recipes × seeds, here, in several processes, or on a Dask cluster. Notebook 05."""

import asyncio
import copy
import itertools
import os
import platform
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path

import joblib
import pandas as pd
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm.auto import tqdm

from mnistlib.base.checks import PATH, checked
from mnistlib.base.files import DataError, check_target
from mnistlib.data import ImageDataset, load
from mnistlib.evaluation import evaluate
from mnistlib.lab.checkpoint import Checkpoint
from mnistlib.lab.recipes import Recipe
from mnistlib.lab.results import append, frame, runs
from mnistlib.lab.stacked import fit_stacked
from mnistlib.train import check_settings, pick_device

TIMEOUT = 30  # seconds for a cluster to answer, and to have a worker
_one_at_a_time = threading.Lock()


@checked
def sweep(
    recipes: Recipe | Iterable[Recipe],
    seeds: Iterable[int] = range(10),
    out: PATH | None = None,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    datasets: dict | None = None,
    progress: bool = True,
    command: str = __name__,
) -> pd.DataFrame:
    """Train each recipe with each seed, measure it on the test images, and return one row per run, as `results.read`.

    ``workers`` processes train at the same time, each with its part of the threads; ``scheduler`` is the address of a
    Dask cluster instead. Dask runs what anyone who reaches the scheduler sends: use a network that you trust, and one
    thread per worker. On CUDA, runs of a recipe that differ only in the seed are trained at once (`fit_stacked`).
    ``datasets`` gives images for names of datasets; `load` gives the others. A dataset that is missing is skipped: the
    reason is printed, and is in ``.attrs["skipped"]`` of the result.

    With ``out``, each run is appended to this file (`results.append`) as soon as it is done. What the file holds is
    not computed again, and an unfinished training continues after its last epoch, from a checkpoint in a folder
    beside ``out``. Raises ValueError for settings that do not fit, and `DataError` when ``out`` cannot be read or
    written, both before the first training, and MemoryError when a process dies. Introduced in notebook 05.
    """
    recipes, seeds = [recipes] if isinstance(recipes, Recipe) else list(recipes), list(seeds)
    if not recipes or not seeds or not 0 <= min(seeds) <= max(seeds) < 2**63 or not 1 <= workers <= 1_000:
        got = f"{len(recipes)} recipes, seeds {seeds} and workers={workers}"
        raise ValueError(f"give recipes, seeds that are whole numbers from 0, and 1 to 1,000 workers; got {got}.")
    keys = {recipe.key(seed): (recipe, int(seed)) for recipe, seed in itertools.product(recipes, seeds)}
    done = {run["key"]: run for run in (runs(out) if out is not None and check_target(out).exists() else [])}
    jobs = {key: job for key, job in keys.items() if key not in done}
    datasets, skipped = _loaded([recipe for recipe, _ in jobs.values()], datasets or {})
    jobs = {key: job for key, job in jobs.items() if job[0].dataset not in skipped}
    folder = None if out is None or scheduler else Path(out).with_name(f"{Path(out).name}.unfinished")
    tasks = []
    for recipe, its_runs in _grouped(jobs, stacked=not scheduler and pick_device().type == "cuda"):
        checkpoint = folder / f"{next(iter(its_runs))}.pt" if folder and len(its_runs) == 1 else None
        tasks.append((recipe, its_runs, datasets[recipe.dataset], checkpoint))
    with tqdm(total=len(jobs), desc="sweep", unit="run", disable=not progress) as bar:
        for run in itertools.chain.from_iterable(_completed(tasks, workers, scheduler)):
            run["command"] = command
            if out is not None:
                append(out, run)
            if folder:
                Checkpoint(folder / f"{run['key']}.pt").remove()
            done[run["key"]] = run
            bar.set_postfix_str(f"{run['recipe']['network']}: {run['test_accuracy']:.2%}")
            bar.update()
    with suppress(OSError):  # others may have files there
        if folder:
            folder.rmdir()
    for name, reason in skipped.items():
        print(f"{name} was skipped: {reason}", file=sys.stderr)
    rows = frame([done[key] for key in keys if key in done])
    rows.attrs["skipped"] = skipped
    return rows


def train_and_measure(recipe, runs: dict[str, int], dataset, checkpoint=None, threads: int | None = None) -> list[dict]:
    """Train one recipe with one or more seeds, each given by the key of its run, and return the runs."""
    if threads:
        torch.set_num_threads(threads)
    train, valid, test = recipe.splits(dataset, min(runs.values()))
    if len(runs) == 1:
        trained = [recipe.train(*runs.values(), dataset, checkpoint)]
    else:
        ensemble = fit_stacked(recipe.build, runs.values(), train, valid, **recipe.settings())
        trained = zip(ensemble.nets, ensemble.histories, strict=True)
    device, measured = pick_device(), []
    versions = {"python": platform.python_version(), "torch": torch.__version__, "torchvision": version("torchvision")}
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    machine["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    for (key, seed), (net, history) in zip(runs.items(), trained, strict=True):
        on_test, on_train = evaluate(net, test), evaluate(net, train)
        run = {"key": key, "recipe": recipe.to_dict(), "seed": seed}
        run |= {"test_accuracy": on_test.accuracy, "test_loss": on_test.loss}
        run |= {"train_accuracy": on_train.accuracy, "train_loss": on_train.loss}
        if valid and recipe.averaging:  # the history has the accuracies of the weights before they are averaged
            run["valid_accuracy"] = evaluate(net, valid).accuracy
        run["history"] = {name: values for name, values in vars(history).items() if name != "step_loss"}
        wrong = sorted(on_test.errors().tolist())
        run["errors"] = " ".join(f"{image}:{on_test.predictions[image]}" for image in wrong)
        run |= {"versions": versions, "machine": machine, "date": time.strftime("%Y-%m-%d")}
        measured.append(run)
    return measured


def _loaded(recipes: list[Recipe], given: dict[str, ImageDataset]) -> tuple[dict[str, ImageDataset], dict[str, str]]:
    """Return the datasets that can be had, and why the others cannot; ValueError unless they fit the recipes."""
    datasets, skipped = dict(given), {}
    for name in dict.fromkeys(recipe.dataset for recipe in recipes):
        try:
            datasets[name] = datasets.get(name) or load(name)
        except DataError as error:
            skipped[name] = str(error)
    for recipe in (recipe for recipe in dict.fromkeys(recipes) if recipe.dataset not in skipped):
        train, valid, _ = recipe.splits(datasets[recipe.dataset], 0)
        check_settings(recipe.build(0), train, valid, epochs=recipe.epochs, batch_size=recipe.batch_size, lr=recipe.lr)
    return datasets, skipped


def _grouped(jobs: dict[str, tuple[Recipe, int]], stacked: bool) -> list[tuple[Recipe, dict[str, int]]]:
    """Return recipes, each with the keys and seeds of runs that are trained together."""
    groups = {}
    for key, (recipe, seed) in jobs.items():
        alone = not stacked or recipe.patience or recipe.averaging or (recipe.valid and recipe.split_seed is None)
        groups.setdefault((recipe, seed if alone else None), {})[key] = seed
    return [(recipe, runs) for (recipe, _), runs in groups.items()]


def _completed(tasks: list[tuple], workers: int, scheduler: str | None) -> Iterator[list[dict]]:
    """Run `train_and_measure` on each task, and yield its result as soon as it is there."""
    if scheduler:
        yield from _on_cluster(tasks, scheduler)
        return
    threads = max(1, torch.get_num_threads() // workers)
    pool = joblib.Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered", batch_size=1)
    try:
        yield from pool(joblib.delayed(train_and_measure)(*task, threads) for task in tasks)
    except TerminatedWorkerError:
        what = "a worker process was killed, perhaps because memory ran out."
        raise MemoryError(f"{what} Finished runs are kept: run the command again, with fewer workers.") from None


def _on_cluster(tasks: list[tuple], scheduler: str) -> Iterator[list[dict]]:
    """Run `train_and_measure` on each task in an existing Dask cluster, and yield its result as soon as it is there."""
    try:
        import distributed
    except ImportError:
        raise ValueError("a scheduler needs the package distributed: pip install -e '.[cluster]'") from None

    async def answers():  # without this, Client would wait forever for a program that is silent
        await (await asyncio.wait_for(distributed.comm.connect(scheduler), TIMEOUT)).close()

    with ExitStack() as stack, warnings.catch_warnings(action="ignore"):  # that the images are large
        try:
            distributed.utils.LoopRunner().run_sync(answers)
            client = stack.enter_context(distributed.Client(scheduler, timeout=TIMEOUT, set_as_default=False))
            client.wait_for_workers(1, timeout=TIMEOUT)
        except (OSError, ValueError) as error:
            why = f"no Dask cluster answers at {scheduler!r} ({error}). Start one, or leave it out."
            raise ValueError(why) from None
        # The images are the result of a task: when the worker that holds them dies, Dask repeats that task.
        images = {task[2].name: task[2] for task in tasks}
        images = {name: client.submit(copy.copy, dataset, pure=False) for name, dataset in images.items()}
        futures = [client.submit(_alone, *task[:2], images[task[2].name], pure=False) for task in tasks]
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                yield future.result()
        except (CancelledError, distributed.scheduler.KilledWorker) as error:
            what = f"the Dask cluster at {scheduler!r} was lost ({type(error).__name__})."
            raise ValueError(f"{what} Finished runs are kept: run the command again.") from None


def _alone(*task) -> list[dict]:
    """One task at a time in a worker: its threads share PyTorch's random numbers, and two tasks would mix theirs."""
    with _one_at_a_time:
        return train_and_measure(*task)
