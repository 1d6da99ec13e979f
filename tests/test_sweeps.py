"""The table of four datasets: its numbers, that it survives any death, and that nothing is computed twice."""

import inspect
import json
import logging
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mnistlib import experiments, sweeps, training
from mnistlib.__main__ import main
from mnistlib.augmentation import Augmentation
from mnistlib.datasets import CLASSES, ImageDataset, sample
from mnistlib.evaluation import evaluate
from mnistlib.files import DataError
from mnistlib.networks import build
from mnistlib.sweeps import PRESETS, PUBLISHED, confusion, reasons, sweep, table
from mnistlib.training import fit, softmax_cross_entropy

ABSENT = "KMNIST: train-images-idx3-ubyte.gz is not on this machine."


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As in the other processes of these tests: with the same number of threads the same bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def few(mnist):
    """300 training and 100 test images of each of two datasets, by name."""
    both = {"MNIST": mnist, "FashionMNIST": sample("FashionMNIST")}
    return {name: ImageDataset(name, data.train.take(300), data.test.take(100)) for name, data in both.items()}


@pytest.fixture(scope="module")
def run(few):
    """`sweep` over both for one epoch with two seeds, unless told otherwise."""

    def run(datasets=None, **options):
        return sweep(
            few.values() if datasets is None else datasets,
            **{"seeds": 2, "epochs": 1, "device": "cpu", "progress": False, **options},
        )

    return run


@pytest.fixture(scope="module")
def results(run):
    """Both presets. Tests must not change it."""
    return run()


@pytest.fixture
def trained(monkeypatch):
    """The (dataset, preset, seeds) of every training from here on."""
    seen, real = [], sweeps.train_and_measure

    def noted(dataset, preset, seeds, *rest):
        seen.append((dataset.name, preset, seeds))
        return real(dataset, preset, seeds, *rest)

    monkeypatch.setattr(sweeps, "train_and_measure", noted)
    return seen


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(sweeps, "train_and_measure", lambda *task: pytest.fail("something was trained"))


@pytest.fixture
def loads(few, monkeypatch):
    """`load` gives these few images; the names in the set that it returns cannot be had."""
    absent = set()

    def load(name):
        if name in absent or name not in few:
            raise DataError(f"{name}: train-images-idx3-ubyte.gz is not on this machine.\nMore about it.")
        return few[name]

    monkeypatch.setattr(sweeps, "load", load)
    return absent


def numbers(results):
    """All cells without what differs from one time to the next."""
    cells = json.loads(json.dumps(results["cells"]))
    for cell in (cell for row in cells.values() for cell in row.values()):
        for run in cell["runs"]:
            assert run.pop("seconds") >= 0
        del cell["how"]
    return cells


def stored(path):
    return json.loads(path.read_text("utf-8"))


# Presets and what was published


def test_the_published_preset_is_the_protocol_of_its_source():
    assert PRESETS["published"].options == {
        "epochs": 150,
        "batch_size": 128,
        "lr": 0.002,
        "schedule": 0.98,
        "loss": softmax_cross_entropy,
        "augment": Augmentation(degrees=15, translate=0.05, scale=(0.8, 1.2), brightness=(0.8, 1.2), mode="nearest"),
    }
    defaults = {name: parameter.default for name, parameter in inspect.signature(sweep).parameters.items()}
    assert defaults["seeds"] == 10
    assert defaults["datasets"] == ("MNIST", "FashionMNIST", "KMNIST", "QMNIST")
    assert defaults["epochs"] is None
    assert list(PRESETS) == ["published", "modern"]


def test_the_modern_preset_has_no_softmax_before_its_loss():
    assert PRESETS["modern"].options["loss"] is F.cross_entropy
    assert PRESETS["modern"].options["schedule"] == "one-cycle"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_does_what_its_words_say(name):
    words, options = PRESETS[name].words, PRESETS[name].options
    augment = options["augment"]
    assert words.startswith("softmax before the loss" if options["loss"] is softmax_cross_entropy else "logits")
    assert float(re.search(r"turned by at most (\d+)°", words)[1]) == augment.degrees
    assert float(re.search(r"moved by at most (\d+) %", words)[1]) == pytest.approx(100 * augment.translate)
    assert tuple(map(float, re.search(r"scaled .*by (\d\.\d)–(\d\.\d)", words).groups())) == augment.scale
    assert augment.brightness == (augment.scale if "brightened" in words else (1, 1))
    assert float(re.search(r"(?:Adam|peak) (0\.\d+)", words)[1]) == options["lr"]
    assert int(re.search(r"batch (\d+)", words)[1]) == options["batch_size"]
    assert ("one-cycle" in words) == (options["schedule"] == "one-cycle")
    if options["schedule"] != "one-cycle":
        assert f"× {options['schedule']} an epoch" in words


def test_the_published_numbers_are_those_of_the_source():
    """antoine-spahr/MNIST-LeNet5-Pytorch: mean ± 1.96 standard deviations over ten seeds."""
    text = """
    train | 99.362 ± 0.085 | 89.701 ± 0.441 | 98.518 ± 1.219 | 99.356 ± 0.057
    test  | 99.445 ± 0.077 | 89.495 ± 0.534 | 96.255 ± 1.134 | 99.328 ± 0.055
    """
    for line in text.strip().splitlines():
        part, *columns = (column.strip() for column in line.split("|"))
        assert list(PUBLISHED[part]) == list(CLASSES)
        assert [f"{mean:.3f} ± {spread:.3f}" for mean, spread in PUBLISHED[part].values()] == columns


# The numbers


def test_there_is_a_cell_for_each_preset_and_dataset_with_each_seed(results):
    assert list(results["cells"]) == ["published", "modern"]
    for row in results["cells"].values():
        assert list(row) == ["MNIST", "FashionMNIST"]
        assert [[run["seed"] for run in cell["runs"]] for cell in row.values()] == [[1, 2]] * 2
    losses = {run["test loss"] for row in results["cells"].values() for cell in row.values() for run in cell["runs"]}
    assert len(losses) == 8  # no two are copies


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_a_run_is_the_training_that_its_preset_describes(results, few, preset, name):
    data, measured = few[name], results["cells"][preset][name]["runs"][1]
    settings = {**PRESETS[preset].options, "epochs": 1}
    if (preset, name) == ("modern", "FashionMNIST"):
        settings["augment"] = None  # "not those of FashionMNIST"
    net = build("lenet5-padded", seed=2)
    fit(net, data.train, seed=2, device="cpu", progress=False, **settings)
    tested = evaluate(net, data.test)
    assert measured["test accuracy"] == tested.accuracy
    assert measured["test loss"] == tested.loss
    assert measured["train accuracy"] == evaluate(net, data.train).accuracy
    assert measured["epochs"] == 1
    assert [list(map(int, row.split())) for row in measured["confusion"]] == tested.confusion.to_numpy().tolist()


def test_mean_and_spread_are_those_of_the_runs(results):
    for row in results["cells"].values():
        for cell in row.values():
            for part in ("train", "test"):
                accuracies = [100 * run[f"{part} accuracy"] for run in cell["runs"]]
                assert cell[part][0] == pytest.approx(statistics.mean(accuracies), abs=1e-4)
                assert cell[part][1] == pytest.approx(1.96 * np.std(accuracies), abs=1e-4)  # of the population


def test_a_cell_says_how_its_numbers_were_made(run):
    how = run(presets=["modern"], seeds=1, command="the command")["cells"]["modern"]["MNIST"]["how"]
    assert how["epochs"] == 1
    assert how["preset"] == PRESETS["modern"].words
    assert how["versions"]["torch"] == torch.__version__
    assert how["hardware"]["threads a network"] == 1
    assert how["hardware"]["device"] == "cpu"
    assert how["command"] == "the command"


def test_the_same_sweep_gives_the_same_numbers_and_leaves_the_callers_random_numbers_alone(run, results):
    before = torch.get_rng_state()
    assert numbers(run()) == numbers(results)
    assert torch.equal(torch.get_rng_state(), before)


def test_two_processes_give_the_same_numbers_as_one(run, results, tmp_path):
    two = run(workers=2, out=tmp_path / "sweep.json")
    assert numbers(two) == numbers(results)
    assert stored(tmp_path / "sweep.json") == two
    assert os.listdir(tmp_path) == ["sweep.json"]


# Tables


def test_the_table_stands_beside_the_published_numbers(results):
    for part in ("train", "test"):
        rows = table(results, "published", part)
        assert list(rows.index) == ["MNIST", "FashionMNIST"]
        assert rows.index.name == "dataset"
        for name in rows.index:
            cell = results["cells"]["published"][name]
            assert rows.loc[name].tolist() == [2, 1, *cell[part], *PUBLISHED[part][name]]
    assert list(table(results, "modern").columns[:4]) == ["seeds", "epochs", "mean", "1.96 sd"]


def test_an_empty_cell_has_no_numbers_and_the_published_ones(run, loads):
    row = table(run(["KMNIST", "MNIST"], presets=["modern"]), "modern").loc["KMNIST"]
    assert (row["seeds"], row["epochs"]) == (0, 0)
    assert row[["mean", "1.96 sd"]].isna().all()
    assert row["published mean"] == 96.255


def test_confusion_is_added_up_over_the_seeds(results):
    counts = confusion(results, "modern", "FashionMNIST")
    assert counts.to_numpy().sum() == 200  # 100 test images, two seeds
    assert list(counts.index) == list(counts.columns) == list(CLASSES["FashionMNIST"])
    assert (counts.index.name, counts.columns.name) == ("true", "predicted")
    right = sum(run["test accuracy"] for run in results["cells"]["modern"]["FashionMNIST"]["runs"])
    assert counts.to_numpy().trace() == round(100 * right)


def test_images_of_ones_own_have_a_row_without_published_numbers(run, few):
    own = run([replace(few["MNIST"], name="my digits")], presets=["modern"], seeds=1)
    assert table(own, "modern").loc["my digits"].isna().tolist() == [False] * 4 + [True] * 2
    assert list(confusion(own, "modern", "my digits").index) == list(range(10))


# It goes on where it was


def test_a_sweep_goes_on_where_it_was(run, few, results, tmp_path, trained):
    out = tmp_path / "folder" / "sweep.json"
    run([few["MNIST"]], seeds=1, presets=["modern"], out=out)
    assert trained == [("MNIST", "modern", [1])]
    trained.clear()
    whole = run(out=out)
    assert numbers(whole) == numbers(results)
    assert stored(out) == whole
    assert ("MNIST", "modern", [1]) not in trained
    assert len(trained) == 7


def test_a_finished_sweep_trains_nothing_and_leaves_its_file_alone(run, tmp_path, trained):
    out = tmp_path / "sweep.json"
    first = run(presets=["modern"], out=out)
    before = out.read_bytes()
    trained.clear()
    assert run(presets=["modern"], out=out) == first
    assert trained == []
    assert out.read_bytes() == before
    assert os.listdir(tmp_path) == ["sweep.json"]


def test_what_was_finished_before_an_interruption_is_kept_and_not_computed_again(run, results, tmp_path, monkeypatch, trained):
    out, noted = tmp_path / "sweep.json", sweeps.train_and_measure

    def interrupted(*task):
        if len(trained) == 3:
            raise KeyboardInterrupt
        return noted(*task)

    monkeypatch.setattr(sweeps, "train_and_measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(out=out)
    assert sum(len(cell["runs"]) for row in stored(out)["cells"].values() for cell in row.values()) == 3
    monkeypatch.setattr(sweeps, "train_and_measure", noted)
    assert numbers(run(out=out)) == numbers(results)
    assert len(trained) == len({str(task) for task in trained}) == 8
    assert os.listdir(tmp_path) == ["sweep.json"]


def test_a_dataset_that_cannot_be_had_leaves_its_cell_empty_with_the_reason_and_is_filled_later(run, loads, tmp_path, trained):
    out = tmp_path / "sweep.json"
    loads.add("FashionMNIST")
    first = run(["FashionMNIST", "MNIST"], presets=["modern"], out=out)
    cell = stored(out)["cells"]["modern"]["FashionMNIST"]
    assert (cell["runs"], cell["train"], cell["test"]) == ([], None, None)
    assert reasons(first) == {
        "FashionMNIST": "FashionMNIST: train-images-idx3-ubyte.gz is not on this machine. "
        "Where it can be had, run: python -m mnistlib sweep --datasets FashionMNIST"
    }
    assert list(first["cells"]["modern"]) == ["MNIST", "FashionMNIST"]  # in the order of the course
    trained.clear()
    loads.clear()
    second = run(["FashionMNIST", "MNIST"], presets=["modern"], out=out)
    assert reasons(second) == {}
    assert trained == [("FashionMNIST", "modern", [1]), ("FashionMNIST", "modern", [2])]
    assert numbers(second)["modern"]["MNIST"] == numbers(first)["modern"]["MNIST"]


def test_numbers_of_a_dataset_that_is_gone_are_kept(run, loads, tmp_path, trained):
    out = tmp_path / "sweep.json"
    first = run(["MNIST"], presets=["modern"], out=out)
    trained.clear()
    loads.add("MNIST")
    assert run(["MNIST"], presets=["modern"], out=out) == first
    assert trained == []


def test_more_seeds_are_added_to_those_that_there_are(run, few, tmp_path, trained):
    out = tmp_path / "sweep.json"
    run([few["MNIST"]], presets=["modern"], seeds=1, out=out)
    trained.clear()
    more = run([few["MNIST"]], presets=["modern"], seeds=3, out=out)
    assert [run["seed"] for run in more["cells"]["modern"]["MNIST"]["runs"]] == [1, 2, 3]
    assert trained == [("MNIST", "modern", [2]), ("MNIST", "modern", [3])]


RUN = {
    "train accuracy": 0.5,
    "test accuracy": 0.1,
    "test loss": 1.0,
    "epochs": 1,
    "seconds": 0.1,
    "confusion": ["0 0 0 0 0 0 0 0 0 10"] * 10,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 2}, "epochs: 1, now 2"),
        ({"preset": 1}, "preset: old words, now logits; each image"),
        ({"versions": 1}, r"versions: \{'torch': '1\.0'\}, now \{'python'"),
        ({"data": 1}, r"data: .*'test': '100 with .*\}, now .*'test': '99 with"),
    ],
    ids=["epochs", "preset", "versions", "data"],
)
def test_numbers_that_were_made_in_another_way_are_not_mixed_and_both_ways_are_named(
    run, few, tmp_path, no_training, monkeypatch, change, words
):
    out, data = tmp_path / "sweep.json", few["MNIST"]
    with monkeypatch.context() as patch:
        patch.setattr(sweeps, "train_and_measure", lambda dataset, preset, seeds, *_: [{**RUN, "seed": seeds[0]}])
        results = run([data], presets=["modern"], seeds=1, out=out)
    how = results["cells"]["modern"]["MNIST"]["how"]
    if "preset" in change:
        how["preset"] = "old words"
    if "versions" in change:
        how["versions"] = {"torch": "1.0"}
    if "data" in change:
        data = replace(data, test=data.test.take(99))
    out.write_text(json.dumps(results), "utf-8")
    before = out.read_bytes()
    match = rf"(?s)sweep\.json: the numbers of modern, MNIST were made in another way \({words}.* must not be mixed"
    with pytest.raises(ValueError, match=match):
        run([data], presets=["modern"], out=out, **{"epochs": change.get("epochs", 1)})
    assert out.read_bytes() == before


# What cannot be computed


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"datasets": ["MNIST", "EMNIST"]}, "unknown dataset 'EMNIST'; the datasets are MNIST, FashionMNIST, KMNIST, QMNIST"),
        ({"datasets": []}, "at least one dataset, .*got 0 datasets"),
        ({"presets": ["modern", "other"]}, r"presets out of published, modern, .*got .*presets \['modern', 'other'\]"),
        ({"presets": []}, r"presets out of published, modern, .*presets \[\]"),
        ({"seeds": 0}, "seeds, workers and epochs of at least 1; got .*seeds=0"),
        ({"workers": 0}, "seeds, workers and epochs of at least 1; got .*workers=0"),
        ({"epochs": 0}, "seeds, workers and epochs of at least 1; got .*epochs=0"),
        ({"device": "tpu"}, "no device 'tpu' on this machine"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_bad_setting_is_named_and_nothing_is_written(run, tmp_path, no_training, options, match):
    with pytest.raises(ValueError, match=match):
        run(**{"out": tmp_path / "sweep.json", **options})
    assert list(tmp_path.iterdir()) == []


def test_too_few_images_are_named_before_the_first_training(run, few, tmp_path, no_training):
    tiny = replace(few["FashionMNIST"], train=few["FashionMNIST"].train.take(100))
    with pytest.raises(ValueError, match="batch_size must be 1 to 100, the number of training images; got 128"):
        run([few["MNIST"], tiny])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no file of results, or it is damaged"),
        ("[]", "is no file of results, or it is damaged"),
        ('{"groups": {}}', "holds other results, not those of a sweep"),
    ],
)
def test_a_file_that_holds_no_sweep_is_named_and_left_as_it_is(run, tmp_path, no_training, content, words):
    out = tmp_path / "sweep.json"
    out.write_text(content)
    with pytest.raises(DataError, match=rf"sweep\.json {words}.*Move it away"):
        run(out=out)
    assert out.read_text() == content


def test_a_place_that_cannot_be_written_is_found_before_the_training(run, tmp_path, no_training):
    (tmp_path / "file").write_text("old")
    with pytest.raises(DataError, match="cannot write"):
        run(out=tmp_path / "file" / "sweep.json")


# A kill at any moment

KILLED = """
import os, random, signal, sys, time
import torch
import mnistlib
from mnistlib.datasets import ImageDataset, sample
from mnistlib.sweeps import sweep

torch.set_num_threads(1)
both = {"MNIST": mnistlib.load("MNIST"), "FashionMNIST": sample("FashionMNIST")}
few = [ImageDataset(name, data.train.take(300), data.test.take(100)) for name, data in both.items()]
moments, out = random.Random(int(sys.argv[1])), sys.argv[2]
kills = 0
while True:
    child = os.fork()  # each is a new program's start, less the seconds that importing takes
    if child == 0:
        sweep(few, seeds=2, epochs=2, device="cpu", progress=False, out=out)
        os._exit(0)
    if kills < 8:
        time.sleep(moments.uniform(0.02, 0.4))
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        break
    kills += 1
print(kills, os.WEXITSTATUS(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_sweep_that_is_killed_again_and_again_ends_with_the_same_numbers(run, tmp_path):
    out = tmp_path / "folder" / "sweep.json"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "0", str(out)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    kills, status = map(int, done.stdout.split())
    assert kills >= 2
    assert status == 0
    assert numbers(stored(out)) == numbers(run(epochs=2))
    assert not out.with_name("sweep.json.unfinished").exists()


def test_an_unfinished_training_goes_on_at_its_last_epoch(run, few, tmp_path, monkeypatch):
    out, real, epochs = tmp_path / "sweep.json", training.record_epoch, []

    def record(*numbers):
        epochs.append(1)
        if len(epochs) == 3:
            raise KeyboardInterrupt
        return real(*numbers)

    monkeypatch.setattr(training, "record_epoch", record)
    options = {"presets": ["modern"], "seeds": 1, "epochs": 4}
    with pytest.raises(KeyboardInterrupt):
        run([few["MNIST"]], out=out, **options)
    assert len(os.listdir(tmp_path / "sweep.json.unfinished")) == 1
    resumed = run([few["MNIST"]], out=out, **options)
    assert len(epochs) == 3 + 2  # two of the four were there
    assert numbers(resumed) == numbers(run([few["MNIST"]], **options))
    assert os.listdir(tmp_path) == ["sweep.json"]


# A Dask cluster


@pytest.fixture
def cluster():
    """A function that starts a Dask cluster on this machine, and is given the number of processes and of threads in each."""
    distributed = pytest.importorskip("distributed")
    started = []

    def start(processes, threads):
        started.append(
            distributed.LocalCluster(
                n_workers=processes or 1,
                threads_per_worker=threads,
                processes=processes > 0,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
        )
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_a_cluster_whose_worker_is_killed_gives_the_same_numbers(run, tmp_path, cluster):
    """The worker that dies is one that holds images and is training; those are not to be lost with it."""
    dask, killed = cluster(2, 1), []

    def kill_one_that_works():
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            for worker in list(dask.scheduler.workers.values()):
                if worker.has_what and worker.processing and not killed:
                    os.kill(dask.workers[worker.name].pid, signal.SIGKILL)
                    killed.append(worker.name)
            time.sleep(0.002)

    killer = threading.Thread(target=kill_one_that_works)
    killer.start()
    out = tmp_path / "sweep.json"
    results = run(scheduler=dask.scheduler_address, epochs=3, out=out)
    killer.join()
    assert len(killed) == 1
    assert numbers(results) == numbers(run(epochs=3))
    assert stored(out) == results
    assert results["cells"]["modern"]["MNIST"]["how"]["hardware"]["cluster"] == dask.scheduler_address
    assert os.listdir(tmp_path) == ["sweep.json"]


def test_a_worker_with_several_threads_gives_the_same_numbers(run, results, cluster):
    """They share PyTorch's random numbers, from which the first weights are drawn."""
    assert numbers(run(scheduler=cluster(0, 4).scheduler_address)) == numbers(results)


def test_a_cluster_does_only_what_is_left(run, few, results, cluster, tmp_path):
    out = tmp_path / "sweep.json"
    first = run([few["MNIST"]], out=out)
    both = run(scheduler=cluster(0, 1).scheduler_address, out=out)
    assert numbers(both) == numbers(results)
    assert all(both["cells"][preset]["MNIST"] == row["MNIST"] for preset, row in first["cells"].items())


def test_an_error_in_a_worker_is_the_error_of_the_sweep(run, cluster, monkeypatch):
    def diverge(*_):
        raise FloatingPointError("the loss is no longer a number")

    monkeypatch.setattr(sweeps, "train_and_measure", diverge)  # the worker is in this process
    with pytest.raises(FloatingPointError, match="the loss is no longer a number"):
        run(scheduler=cluster(0, 1).scheduler_address)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{port}", "127.0.0.1:{port}", "nonsense://{port}"])
def test_a_cluster_that_does_not_answer_is_named_within_seconds(run, monkeypatch, address):
    pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(sweeps, "ANSWERS_WITHIN", 1)
    address, start = address.format(port=port), time.monotonic()
    with pytest.raises(ValueError, match=rf"no Dask scheduler answers at '{address}' .*leave --scheduler out"):
        run(scheduler=address)
    assert time.monotonic() - start < 20


def test_without_dask_a_cluster_is_refused_with_the_way_to_install_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"--scheduler needs the package distributed: python -m pip install -e '\.\[cluster\]'"):
        run(scheduler="tcp://127.0.0.1:8786")


# The command

COMMAND = ("sweep", "--datasets", "MNIST", "KMNIST", "--seeds", "2", "--epochs", "1", "--device", "cpu")


def test_the_command_prints_the_tables_the_reason_and_the_path(loads, tmp_path, capsys):
    out = tmp_path / "folder" / "sweep.json"
    assert main([*COMMAND, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    results = stored(out)
    for preset in PRESETS:
        for part in ("train", "test"):
            assert f"\n{preset}, {part}, %:\n{table(results, preset, part).round(3).to_string()}\n" in printed
    assert f"\nKMNIST has no numbers: {ABSENT} Where it can be had, run: {sweeps.COMMAND.format('KMNIST')}\n" in printed
    assert printed.endswith(f"\n{out}\n")
    assert results["cells"]["modern"]["MNIST"]["how"]["command"].startswith("python -m mnistlib sweep --datasets MNIST KMNIST")


def test_the_command_goes_on_where_it_was(loads, tmp_path, capsys, monkeypatch):
    arguments = [*COMMAND, "--presets", "modern", "--out", str(tmp_path / "sweep.json")]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert "published, test" not in first
    monkeypatch.setattr(sweeps, "train_and_measure", lambda *_: pytest.fail("something was trained"))
    assert main(arguments) == 0
    assert capsys.readouterr().out == first


def test_the_command_has_the_functions_own_defaults_unless_told(monkeypatch, capsys):
    asked, parameters = [], inspect.signature(sweep).parameters
    monkeypatch.setattr(sweeps, "sweep", lambda names, **options: asked.append((tuple(names), options)) or {"cells": {}})
    assert main(["sweep"]) == 0
    names, options = asked[0]
    assert names == parameters["datasets"].default
    assert options.pop("out") == Path("results/four_datasets.json")
    assert options.pop("command") == "python -m mnistlib sweep"
    assert tuple(options.pop("presets")) == parameters["presets"].default
    assert options == {name: parameters[name].default for name in ("seeds", "epochs", "workers", "scheduler", "device")}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--datasets", "EMNIST"], "unknown dataset 'EMNIST'"),
        (["--presets", "other"], "presets out of published, modern"),
        (["--seeds", "0"], "seeds=0"),
        (["--device", "tpu"], "no device 'tpu' on this machine"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_command_is_one_line_and_exit_status_2_and_writes_nothing(arguments, words, loads, tmp_path, capsys):
    assert main([*COMMAND, "--out", str(tmp_path / "sweep.json"), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err
    assert list(tmp_path.iterdir()) == []


# The table that comes with the course


def test_the_stored_table_follows_from_its_runs():
    stored = experiments.read("four_datasets.json")
    sweeps._check_cells(stored)
    assert set(stored["cells"]) == set(sweeps.PRESETS)
    for preset, cells in stored["cells"].items():
        assert list(cells) == list(CLASSES)
        for name in ("MNIST", "FashionMNIST"):
            runs = cells[name]["runs"]
            assert [run["seed"] for run in runs] == list(range(1, 11))
            assert {run["epochs"] for run in runs} == {cells[name]["how"]["epochs"]}
            assert cells[name]["how"]["preset"] == sweeps.PRESETS[preset].words
            for part in ("train", "test"):
                accuracies = np.array([100 * run[f"{part} accuracy"] for run in runs])
                assert cells[name][part] == pytest.approx([accuracies.mean(), 1.96 * accuracies.std()], abs=1e-3)
            for run in runs:
                confusion = np.array([row.split() for row in run["confusion"]], int)
                assert confusion.sum() == 10_000
                assert confusion.trace() == round(10_000 * run["test accuracy"])
        for name in ("KMNIST", "QMNIST"):
            assert not cells[name]["runs"]
            assert cells[name]["test"] is None
            assert f"python -m mnistlib sweep --datasets {name}" in cells[name]["reason"]


def test_the_stored_numbers_are_in_reach_of_the_published_ones():
    # With 20 epochs instead of 150 the published protocol is still on its plateaus; the modern one, with 15, is past R4's mean.
    stored = experiments.read("four_datasets.json")
    assert 98.5 < stored["cells"]["published"]["MNIST"]["test"][0] < sweeps.PUBLISHED["test"]["MNIST"][0] + 0.1
    for name in ("MNIST", "FashionMNIST"):
        modern, published = (stored["cells"][preset][name]["test"][0] for preset in ("modern", "published"))
        assert modern > published
        assert modern > sweeps.PUBLISHED["test"][name][0] - 0.1
