"""The one engine: nothing is computed twice, nothing is lost, and workers and clusters give the same numbers."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import torch

from mnistlib.base.files import DataError
from mnistlib.data import ImageDataset
from mnistlib.evaluation import evaluate
from mnistlib.lab import Recipe, predictions, recipes, results, sweep
from mnistlib.lab.store import sample

engine = sys.modules["mnistlib.lab.sweep"]  # the module; mnistlib.lab.sweep is the function
SMALL = Recipe("lenet5-padded", epochs=2, batch_size=50, lr=0.003, valid=0)
CLOTHES = Recipe("lenet5-padded", "FashionMNIST", epochs=2, batch_size=50, lr=0.003, valid=0)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """On the CPU, as in the other processes of these tests: with the same number of threads come the same bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNISTLIB_DEVICE", "cpu")
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def datasets(mnist):
    """300 training and 100 test images of two datasets."""
    both = {"MNIST": mnist, "FashionMNIST": sample("FashionMNIST")}
    return {name: ImageDataset(name, data.train.take(300), data.test.take(100)) for name, data in both.items()}


@pytest.fixture
def run(datasets):
    return lambda recipes=(SMALL, CLOTHES), seeds=(1, 2), out=None, **options: sweep(
        recipes, seeds, out, **{"datasets": datasets, "progress": False, **options}
    )


@pytest.fixture(scope="module")
def expected(datasets):
    """The numbers of both recipes with both seeds, trained one after the other without a file."""
    return numbers(sweep((SMALL, CLOTHES), (1, 2), datasets=datasets, progress=False))


@pytest.fixture
def trained(monkeypatch):
    """The seed of every training from here on."""
    seen, real = [], recipes.fit

    def noted(net, train, *more, **options):
        seen.append(options["seed"])
        return real(net, train, *more, **options)

    monkeypatch.setattr(recipes, "fit", noted)
    return seen


def numbers(rows):
    """All that must be the same at each time, by key."""
    columns = ["key", "dataset", "seed", "test_accuracy", "test_loss", "train_accuracy", "train_loss", "errors"]
    return sorted(rows[columns].itertuples(index=False, name=None))


def test_a_run_is_the_training_of_its_recipe_measured_on_the_test_images(run, datasets, tmp_path):
    out = tmp_path / "runs.jsonl"
    rows = run(SMALL, [3], out, command="make it so")
    net, history = SMALL.train(3, datasets["MNIST"])
    measured, row = evaluate(net, datasets["MNIST"].test), rows.iloc[0]
    assert (row.test_accuracy, row.test_loss) == (measured.accuracy, measured.loss)
    assert torch.equal(predictions(row, datasets["MNIST"].test.labels), measured.predictions)
    assert row.history["train_loss"] == history.train_loss
    assert row.train_accuracy == evaluate(net, datasets["MNIST"].train).accuracy
    line = json.loads(out.read_text("utf-8"))
    assert line["recipe"] == SMALL.to_dict()
    assert (line["key"], line["seed"], line["command"]) == (SMALL.key(3), 3, "make it so")
    assert line["versions"]["torch"] == torch.__version__
    assert line["machine"]["device"] == "cpu"
    assert "step_loss" not in line["history"]


def test_what_the_file_has_is_not_computed_again(run, expected, tmp_path, trained):
    out = tmp_path / "new" / "runs.jsonl"
    first = run(SMALL, [1], out)
    assert trained == [1]
    both = run((SMALL, CLOTHES), [2, 1], out)
    assert sorted(trained) == [1, 1, 2, 2]
    assert set(numbers(first)) < set(numbers(both))
    trained.clear()
    before = out.read_bytes()
    assert numbers(run(out=out)) == numbers(both) == numbers(results.read(out))
    assert (trained, out.read_bytes()) == ([], before)
    assert len(run(CLOTHES, [2], out)) == 1  # only what was asked for
    assert numbers(both) == expected


def test_an_unfinished_training_continues_and_others_files_stay(run, tmp_path, monkeypatch):
    out, steps = tmp_path / "runs.jsonl", []
    folder = tmp_path / "runs.jsonl.unfinished"
    loss = recipes.LOSSES["cross-entropy"]

    def stopping(logits, labels):
        steps.append(1)
        if len(steps) == 9:  # in the second epoch
            raise KeyboardInterrupt
        return loss(logits, labels)

    monkeypatch.setitem(recipes.LOSSES, "cross-entropy", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(SMALL, [1], out)
    key = SMALL.key(1)
    assert (folder / f"{key}.pt").is_file()
    (folder / "0123456789abcdef.pt").write_bytes(b"another run's")
    rows = run(SMALL, [1], out)
    assert len(steps) == 9 + 6  # the first of two epochs was there
    assert [path.name for path in folder.iterdir()] == ["0123456789abcdef.pt"]
    monkeypatch.setitem(recipes.LOSSES, "cross-entropy", loss)
    assert numbers(rows) == numbers(run(SMALL, [1]))


def test_two_processes_give_the_same_numbers(run, expected, tmp_path):
    rows = run(out=tmp_path / "runs.jsonl", workers=2)
    assert numbers(rows) == expected == numbers(results.read(tmp_path / "runs.jsonl"))
    assert not (tmp_path / "runs.jsonl.unfinished").exists()


def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_worker_is_one_sentence(run, monkeypatch):
    monkeypatch.setattr(engine, "train_and_measure", killed)
    with pytest.raises(MemoryError, match="a worker process was killed, perhaps because memory ran out"):
        run(workers=2)


def test_seeds_are_stacked_where_they_differ_in_nothing_else(datasets):
    stop, own_split = Recipe("mlp", patience=2, valid=60), Recipe("mlp", valid=60, split_seed=None)
    jobs = {recipe.key(seed): (recipe, seed) for recipe in (SMALL, stop, own_split) for seed in (1, 2)}
    assert [list(runs.values()) for _, runs in engine._grouped(jobs, stacked=True)] == [[1, 2], [1], [2], [1], [2]]
    assert len(engine._grouped(jobs, stacked=False)) == 6
    runs = engine.train_and_measure(SMALL, {"a": 1, "b": 2}, datasets["MNIST"])
    for run, seed in zip(runs, (1, 2), strict=True):
        (alone,) = engine.train_and_measure(SMALL, {"c": seed}, datasets["MNIST"])
        assert run["test_loss"] == pytest.approx(alone["test_loss"], abs=1e-3)
        assert (run["seed"], len(run["history"]["seconds"])) == (seed, 2)


# What cannot be computed


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"recipes": []}, "give recipes, seeds that are whole numbers from 0, .* got 0 recipes"),
        *(({"seeds": seeds}, "seeds (that are whole numbers|must be)") for seeds in ([], [1.5], [True], [-1], [2**70])),
        ({"workers": 0}, "1 to 1,000 workers"),
        ({"recipes": Recipe("mlp", valid=300)}, "too few images to keep 300"),
        ({"recipes": Recipe("mlp", valid=250)}, "batch_size must be 1 to 50"),
        ({"recipes": Recipe("mlp", "EMNIST", valid=0)}, "unknown dataset 'EMNIST'"),
    ],
    ids=str,
)
def test_a_bad_setting_is_named_before_anything_is_trained_or_written(run, tmp_path, trained, options, match):
    with pytest.raises((ValueError, TypeError), match=match):
        run(**{"out": tmp_path / "runs.jsonl", **options})
    assert trained == []
    assert list(tmp_path.iterdir()) == []


def test_a_bad_target_is_found_before_anything_is_trained(run, tmp_path, trained):
    (tmp_path / "file").write_text("old\n")
    for out in (tmp_path, tmp_path / "file" / "runs.jsonl", tmp_path / "file"):
        with pytest.raises(DataError):
            run(out=out)
    assert (trained, (tmp_path / "file").read_text()) == ([], "old\n")


def test_a_dataset_that_cannot_be_had_is_skipped_with_its_reason(run, capsys, monkeypatch):
    def absent(name):
        raise DataError(f"{name} is not on this machine.")

    monkeypatch.setattr(engine, "load", absent)
    rows = run([Recipe("lenet5-padded", "KMNIST"), SMALL], [1])
    assert list(rows.dataset) == ["MNIST"]
    assert rows.attrs["skipped"] == {"KMNIST": "KMNIST is not on this machine."}
    assert "KMNIST was skipped: KMNIST is not on this machine." in capsys.readouterr().err


KILLED = """
import os, random, signal, sys, time
import torch, mnistlib.lab
from mnistlib.data import ImageDataset
torch.set_num_threads(1)
mnist = mnistlib.load("MNIST")
few = {"MNIST": ImageDataset("MNIST", mnist.train.take(300), mnist.test.take(100))}
recipe = mnistlib.lab.Recipe("lenet5-padded", epochs=2, batch_size=50, lr=0.003, valid=0)
moments, kills = random.Random(4), 0
while True:
    child = os.fork()  # a new start of the program, without the seconds that importing takes
    if child == 0:
        mnistlib.lab.sweep(recipe, [1, 2], sys.argv[1], datasets=few, progress=False)
        os._exit(0)
    if kills < 8:
        time.sleep(moments.uniform(0.01, 0.3))
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        break
    kills += 1
print(kills, os.WEXITSTATUS(status))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_sweep_that_is_killed_again_and_again_ends_with_the_same_numbers(run, tmp_path):
    out = tmp_path / "runs.jsonl"
    done = subprocess.run([sys.executable, "-c", KILLED, out], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    kills, status = map(int, done.stdout.split())
    assert (kills >= 2, status) == (True, 0)
    assert numbers(results.read(out)) == numbers(run(SMALL))


# A Dask cluster


@pytest.fixture
def cluster():
    """A function that starts a Dask cluster on this machine with so many processes, or threads of this process."""
    distributed, started = pytest.importorskip("distributed"), []

    def start(processes=0, threads=1):
        options = {"dashboard_address": None, "silence_logs": logging.CRITICAL, "processes": processes > 0}
        started.append(distributed.LocalCluster(n_workers=processes or 1, threads_per_worker=threads, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_a_cluster_gives_the_same_numbers_also_with_several_threads_in_a_worker(run, expected, cluster, tmp_path):
    environment = os.environ.get("OMP_NUM_THREADS")
    rows = run(scheduler=cluster(threads=4).scheduler_address, out=tmp_path / "runs.jsonl")
    assert numbers(rows) == expected == numbers(results.read(tmp_path / "runs.jsonl"))
    assert os.environ.get("OMP_NUM_THREADS") == environment


@pytest.mark.slow
def test_asking_a_cluster_leaves_the_environment_as_it_was(tmp_path):
    pytest.importorskip("distributed")
    code = """if True:
        import os
        before = dict(os.environ)
        import sys
        import mnistlib.lab
        engine = sys.modules["mnistlib.lab.sweep"]
        engine.TIMEOUT = 1
        try:
            list(engine._on_cluster([], "tcp://127.0.0.1:1"))
        except ValueError as error:
            print(error)
        changed = {k for k in set(os.environ) | set(before) if os.environ.get(k) != before.get(k)}
        print("OMP_NUM_THREADS" in changed, "distributed" in sys.modules)"""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert "no Dask cluster answers at 'tcp://127.0.0.1:1'" in done.stdout, done.stderr
    assert done.stdout.endswith("False True\n")


@pytest.mark.slow
def test_a_cluster_whose_worker_is_killed_gives_the_same_numbers(run, expected, cluster):
    """The worker that dies holds images and is training; neither is to be lost with it."""
    dask, dead = cluster(2), []

    def kill_one_that_works():
        deadline = time.monotonic() + 120
        while not dead and time.monotonic() < deadline:
            for worker in list(dask.scheduler.workers.values()):
                if worker.has_what and worker.processing and not dead:
                    os.kill(dask.workers[worker.name].pid, signal.SIGKILL)
                    dead.append(worker.name)
            time.sleep(0.002)

    killer = threading.Thread(target=kill_one_that_works)
    killer.start()
    rows = run(scheduler=dask.scheduler_address)
    killer.join()
    assert len(dead) == 1
    assert numbers(rows) == expected


@pytest.mark.slow
def test_a_cluster_that_is_lost_is_one_sentence_and_finished_runs_stay(run, expected, cluster, tmp_path, monkeypatch):
    dask, real, out = cluster(1), engine.append, tmp_path / "runs.jsonl"

    def append_and_lose(*arguments):
        real(*arguments)
        dask.close()

    monkeypatch.setattr(engine, "append", append_and_lose)
    with pytest.raises(ValueError, match=r"the Dask cluster at .* was lost .*Finished runs are kept"):
        run(scheduler=dask.scheduler_address, out=out)
    monkeypatch.setattr(engine, "append", real)
    assert len(results.read(out)) == 1
    assert numbers(run(out=out)) == expected


@pytest.mark.slow
def test_a_cluster_without_workers_or_without_dask_is_one_sentence(run, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(engine, "TIMEOUT", 1)
    refused = pytest.raises(ValueError, match=r"no Dask cluster answers at '.*leave it out")
    quiet = {"n_workers": 0, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    with distributed.LocalCluster(**quiet) as empty, refused:
        run(scheduler=empty.scheduler_address)
    with socket.create_server(("127.0.0.1", 0)) as silent, refused:
        run(scheduler=f"tcp://127.0.0.1:{silent.getsockname()[1]}")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"a scheduler needs the package distributed"):
        run(scheduler="tcp://127.0.0.1:8786")
