"""The command line: each command on little data, in this program, and what users see when something is wrong."""

import io
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

import mnistlib
from mnistlib import data, evaluate, fit, lab, load_weights, networks
from mnistlib.cli import main
from mnistlib.lab import store
from mnistlib.live import export
from mnistlib.session import reports, tfrecords

TRAIN = "train --network lenet5-padded --epochs 1 --batch-size 50 --valid 200"


def run(words, *more):
    return main([*words.split(), *map(str, more)])


@pytest.fixture(autouse=True)
def cpu(monkeypatch):
    monkeypatch.setenv("MNISTLIB_DEVICE", "cpu")


@pytest.fixture
def small_mnist(small, monkeypatch):
    """`load` gives 2,000 + 1,000 images of MNIST for each dataset that there is."""

    def load(name="MNIST"):
        data.official_files(name)
        return small

    for module in (data, mnistlib, store, sys.modules["mnistlib.lab.sweep"]):
        monkeypatch.setattr(module, "load", load, raising=False)
    return small


def one_error(capsys):
    """The one line on stderr, less progress bars."""
    (line,) = [line for line in capsys.readouterr().err.splitlines() if re.match("error: |Traceback", line)]
    return line


COMMANDS = ["", "doctor", "data", "train", "sweep", "tfrecords", "report", "export"]
USELESS = ["", "dance", "pictures", "train --epochs many", "train --nonsense", "sweep --recipes mine", "export"]


@pytest.mark.parametrize(("words", "status"), [(f"{name} --help", 0) for name in COMMANDS] + [(w, 2) for w in USELESS])
def test_help_and_words_that_it_does_not_know_print_the_usage(words, status, capsys):
    with pytest.raises(SystemExit) as caught:
        run(words)
    assert caught.value.code == status
    assert "usage: python -m mnistlib" in "".join(capsys.readouterr())


def test_train_prints_the_layers_and_the_result_and_saves_what_fit_gives(small_mnist, tmp_path, capsys):
    path = tmp_path / "folder" / "net.pt"
    assert run(f"{TRAIN} --seed 5 --lr 0.004", "--save", path, "--checkpoint", tmp_path / "state.pt") == 0
    out = capsys.readouterr().out
    assert out.startswith("LeNet-5, padded (antoine-spahr/MNIST-LeNet5-Pytorch) on MNIST")
    assert re.search(r"total +61706 +416520", out)
    assert out.endswith(f"saved to {path}\n")
    train, valid = small_mnist.train.split(1800, 200, seed=5)
    net = networks.build("lenet5-padded", seed=5)
    history = fit(net, train, valid, epochs=1, batch_size=50, lr=0.004, seed=5, progress=False)
    saved = load_weights(path, "lenet5-padded").state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in net.state_dict().items())
    assert f"on validation ≈ {history.valid_accuracy[0]:.1%}" in out
    assert f"test: {evaluate(net, small_mnist.test)}" in out
    assert (tmp_path / "state.pt").is_file()


def test_train_resizes_the_images_and_needs_no_validation_and_no_file(small_mnist, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("train --epochs 1 --valid 0") == 0
    assert "validation" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


BAD = {  # words: what the error says
    f"{TRAIN} --network lenet": "unknown network 'lenet'",
    f"{TRAIN} --dataset mnist": "unknown dataset 'mnist'; the datasets are MNIST",
    f"{TRAIN} --epochs 0": "epochs must be at least 1; got 0",
    f"{TRAIN} --batch-size 1801": "batch_size must be 1 to 1,800",
    f"{TRAIN} --lr -1": "lr must be a number above 0 and below inf; got -1",
    f"{TRAIN} --device tpu": "no device 'tpu' on this machine",
    f"{TRAIN} --lr 1e30": "training diverged",
    f"{TRAIN} --valid 2000": "too few images to keep 2,000 of them for validation",
    "sweep --networks lenet": "unknown network 'lenet'",
    "sweep --seeds 0": "give recipes, seeds",
    "sweep --epochs 0": "epochs must be",
    "sweep --workers 0": "workers=0",
    "sweep --networks mlp --datasets EMNIST": "unknown dataset 'EMNIST'",
}


@pytest.mark.parametrize("words", BAD, ids=[words.removeprefix(TRAIN) for words in BAD])
def test_bad_input_is_one_line_and_exit_status_2_and_writes_nothing(words, small_mnist, tmp_path, capsys):
    assert run(words, "--save" if words.startswith("train") else "--out", tmp_path / "file") == 2
    assert BAD[words] in one_error(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["a folder", "below a file", "too long", "empty"])
@pytest.mark.parametrize("option", ["--save", "--checkpoint"])
def test_a_file_that_cannot_be_written_is_found_before_the_training(option, target, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mnistlib.train.fit", lambda *_, **__: pytest.fail("trained"))
    (tmp_path / "file").write_text("old")
    places = {"a folder": tmp_path, "below a file": tmp_path / "file" / "net.pt", "too long": "long" * 100, "empty": ""}
    assert run(TRAIN, option, places[target]) == 2
    assert re.search("cannot write|does not name a file", one_error(capsys))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("command", ["tfrecords", "report"])
def test_a_folder_that_cannot_be_written_is_found_at_once(command, tmp_path, capsys):
    (tmp_path / "file").write_text("old")
    assert run(command, "--out", tmp_path / "file") == 2
    assert "cannot write" in one_error(capsys)


def test_weights_are_saved_whatever_becomes_of_the_output(small_mnist, tmp_path, monkeypatch):
    """Windows writes a file in cp1252, which lacks some signs; a reader such as head may have gone."""

    class Closed(io.StringIO):
        def write(self, text):
            if "test:" in text:
                raise BrokenPipeError(32, "Broken pipe")
            return len(text)

    narrow = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", write_through=True)
    for stream, status in ((narrow, 0), (Closed(), 141), (None, 0)):
        monkeypatch.setattr(sys, "stdout", stream)
        assert run(TRAIN, "--save", tmp_path / f"{status}.pt") == status
        assert load_weights(tmp_path / f"{status}.pt")
    assert b"accuracy ? " in narrow.buffer.getvalue()


def test_ctrl_c_is_one_line(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(lab, "sweep", interrupted)
    assert run("sweep") == 130
    assert capsys.readouterr() == ("", "Interrupted.\n")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_ctrl_c_and_a_closed_pipe_in_a_program_of_its_own(tmp_path):
    def start(*words):
        command = [sys.executable, "-m", "mnistlib", *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    process = start("train", "--epochs", "100", "--save", str(tmp_path / "net.pt"))
    process.stdout.readline()  # the training begins
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err, err[-13:]) == (130, False, "Interrupted.\n")
    process = start("data")
    process.stdout.close()
    assert (process.wait(timeout=60), process.stderr.read()) == (141, "")


def test_data_fetches_mnist_by_default_and_tells_the_ways_out_where_it_cannot(data_folder, no_network, capsys):
    assert run("data MNIST EMNIST") == 2  # names are looked at before the work begins
    assert "unknown dataset 'EMNIST'" in one_error(capsys)
    assert not data_folder.exists()
    assert run("data") == 0
    out = capsys.readouterr().out
    assert out == f"ImageDataset(MNIST: train 60,000, test 10,000, 10 classes)\n  in {data_folder / 'MNIST'}\n"
    assert no_network == []
    assert run("data KMNIST") == 2
    assert re.search(r"KMNIST is not on this machine.*python -m mnistlib data KMNIST.*copy", one_error(capsys))


def test_sweep_writes_a_line_per_run_and_a_table_and_continues(small_mnist, tmp_path, capsys):
    path = tmp_path / "runs.jsonl"
    words = "sweep --recipes modern --networks lenet5-padded mlp --datasets MNIST --seeds 2 --epochs 1"
    assert run(words, "--out", path) == 0
    out, content, runs = capsys.readouterr().out, path.read_bytes(), lab.read(path)
    assert out.startswith("modern, accuracy on the test images in %:\n")
    assert out.endswith(f"\n{path}\n")
    assert list(runs.network + runs.seed.astype(str)) == ["lenet5-padded0", "lenet5-padded1", "mlp0", "mlp1"]
    assert set(runs.command) == {f"python -m mnistlib {words} --out {path}"}
    assert run(words, "--out", path) == 0
    assert (capsys.readouterr().out, path.read_bytes()) == (out, content)


def test_sweep_trains_what_the_recipes_name(monkeypatch):
    asked = []
    monkeypatch.setattr(lab, "sweep", lambda *given, **settings: asked.append((*given, settings)) or 1 / 0)
    for words in (
        "",
        "--recipes modern",
        "--recipes published --networks mlp --datasets QMNIST --epochs 3",
        "--workers 2",
    ):
        with pytest.raises(ZeroDivisionError):
            run(f"sweep {words} --device mps")
    (sources, seeds, out, settings), (modern, *_), (published, *_), (*_, more) = asked
    assert sources == [lab.SOURCES[key].recipe for key in networks.NETWORKS]
    assert (list(seeds), out) == (list(range(10)), "sweep.jsonl")
    assert settings == {"workers": 1, "scheduler": None, "command": "python -m mnistlib sweep --device mps"}
    assert modern == [lab.modern(name) for name in data.CLASSES]
    assert [(r.network, r.dataset, r.epochs, r.loss) for r in published] == [
        ("mlp", "QMNIST", 3, "softmax-cross-entropy")
    ]
    assert (more["workers"], os.environ["MNISTLIB_DEVICE"]) == (2, "mps")


def test_report_splits_the_official_training_images(mnist, monkeypatch, tmp_path):
    found = {}
    monkeypatch.setattr(reports, "run_session", lambda key, *splits, **more: found.update(more, splits=splits) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("report --seed 3", "--out", tmp_path / "my report")
    assert [len(split) for split in found["splits"]] == [55_000, 5_000, 10_000]
    assert found["command"] == f"python -m mnistlib report --seed 3 --out '{tmp_path}/my report'"
    assert (found["places"]["train"][-6:], found["epochs"], found["seed"], found["warning"]) == ("seed 3", 1, 3, "")


def test_tfrecords_are_written_and_a_report_reads_them(small, tmp_path, monkeypatch, capsys):
    few = {part: small.test.take(size) for part, size in (("train", 300), ("valid", 100), ("test", 100))}
    monkeypatch.setattr(tfrecords, "parts", lambda: few)
    monkeypatch.setattr(tfrecords, "PARTS", {part: len(split) for part, split in few.items()})
    assert run("tfrecords", "--out", tmp_path / "records") == 0
    paths = [tfrecords.path_of(tmp_path / "records", part) for part in few]
    lines = [f"{path}: {len(split):,} records" for path, split in zip(paths, few.values(), strict=True)]
    assert capsys.readouterr().out.splitlines() == lines
    assert run("report", "--tfrecords", tmp_path / "records", "--out", tmp_path / "report") == 0
    assert capsys.readouterr().out.endswith(f"\n{tmp_path / 'report' / 'report.html'}\n")
    assert reports.CONTAMINATED in (tmp_path / "report" / "training.md").read_text("utf-8")


def test_export_calls_its_room(monkeypatch, capsys):
    monkeypatch.setattr(export, "export_web", lambda path, out: f"{path} to {out}")
    assert run("export --web net.pt --out page") == 0
    assert capsys.readouterr().out == "net.pt to page\n"
