"""The command line, run in this program."""

import inspect
import io
import json
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

from mnistlib import datasets, experiments, networks, pictures, training
from mnistlib.__main__ import main
from mnistlib.checkpoints import load_checkpoint
from mnistlib.evaluation import evaluate


@pytest.fixture
def small_mnist(small, monkeypatch):
    """`load` gives 2,000 + 1,000 images of MNIST, whatever it is asked for, unless the name is unknown."""
    real = datasets._official_files

    def load(name="MNIST"):
        real(name)
        return small

    monkeypatch.setattr(datasets, "load", load)
    return small


def run(*arguments):
    return main([str(argument) for argument in arguments])


TRAIN = ("train", "--network", "lenet5-padded", "--epochs", 2, "--batch-size", 50, "--valid", 200, "--device", "cpu")


def test_train_prints_table_history_and_test_and_saves_the_weights(small_mnist, tmp_path, capsys):
    path = tmp_path / "folder" / "net.pt"
    assert run(*TRAIN, "--save", path) == 0
    out = capsys.readouterr().out
    assert out.startswith("LeNet-5, padded (antoine-spahr/MNIST-LeNet5-Pytorch) on MNIST")
    assert re.search(r"total +61706 +416520", out)
    assert "2 epochs, 72 steps" in out
    measured = evaluate(load_checkpoint(path, "lenet5-padded"), small_mnist.test)
    assert f"test: {measured}" in out
    assert out.endswith(f"saved to {path}\n")
    assert measured.accuracy > 0.7


def test_train_resizes_the_images_for_the_network(small_mnist, capsys):
    assert run("train", "--network", "lenet5", "--epochs", 1, "--valid", 0, "--device", "cpu") == 0
    assert "validation" not in capsys.readouterr().out.split("total")[1]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(small_mnist, tmp_path, capsys):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(*TRAIN, "--epochs", 1, "--seed", seed, "--save", tmp_path / name) == 0
    a, b, c = (load_checkpoint(tmp_path / name).conv1.weight for name in "abc")
    assert (a == b).all()
    assert (a != c).any()


def test_train_gives_the_weights_that_the_same_steps_give_in_a_notebook(small_mnist, tmp_path, capsys):
    assert run(*TRAIN, "--epochs", 1, "--seed", 5, "--lr", 0.004, "--save", tmp_path / "net.pt") == 0
    train, valid = small_mnist.train.split(1800, 200, seed=5)
    net = networks.build("lenet5-padded", seed=5)
    training.fit(net, train, valid=valid, epochs=1, batch_size=50, lr=0.004, seed=5, device="cpu", progress=False)
    saved = load_checkpoint(tmp_path / "net.pt").state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in net.state_dict().items())


def test_train_without_save_writes_nothing(small_mnist, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*TRAIN, "--epochs", 1) == 0
    assert list(tmp_path.iterdir()) == []


BAD = {
    "network": (["--network", "lenet"], "unknown network 'lenet'; the networks are lenet5"),
    "dataset": (["--dataset", "mnist"], "unknown dataset 'mnist'; the datasets are MNIST"),
    "epochs": (["--epochs", "0"], "epochs must be at least 1; got 0"),
    "batch size": (["--batch-size", "0"], "batch_size must be 1 to"),
    "large batch": (["--batch-size", "1801"], "batch_size must be 1 to 1,800"),
    "learning rate": (["--lr", "-1"], "lr, the learning rate, must be above 0; got -1"),
    "device": (["--device", "tpu"], "no device 'tpu' on this machine"),
    "divergence": (["--lr", "1e30"], "training diverged"),
    "too much validation": (["--valid", "2000"], "valid"),
    "negative validation": (["--valid", "-5"], "valid"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_and_exit_status_2_and_writes_nothing(what, small_mnist, tmp_path, capsys):
    arguments, words = BAD[what]
    assert run(*TRAIN, *arguments, "--save", tmp_path / "net.pt") == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "step" not in line and line.strip()]  # less the bar
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [[], ["dance"], ["train", "--epochs", "many"], ["train", "--nonsense"], ["train", "--lr"]], ids=" ".join
)
def test_words_it_does_not_know_exit_with_2_and_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert "usage: python -m mnistlib" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["", "doctor", "data", "train", "compare", "sweep", "tfrecords", "report", "pictures"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        run(*filter(None, [command]), "--help")
    assert caught.value.code == 0
    assert f"usage: python -m mnistlib {command}".rstrip() in capsys.readouterr().out


def test_a_place_that_cannot_be_written_is_an_error(small_mnist, tmp_path, capsys):
    (tmp_path / "file").write_text("old")
    assert run(*TRAIN, "--epochs", 1, "--save", tmp_path / "file" / "net.pt") == 2
    assert "error: cannot write" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "old"


def test_a_place_that_cannot_be_written_is_found_before_the_training(small_mnist, tmp_path, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(training, "fit", lambda *arguments, **_: trained.append(1))
    (tmp_path / "file").write_text("old")
    run(*TRAIN, "--save", tmp_path / "file" / "net.pt")
    assert trained == []


def test_train_works_where_the_output_cannot_show_every_sign(small_mnist, tmp_path, monkeypatch):
    """As on Windows when the output goes to a file; the weights must not be lost for a sign."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", write_through=True)
    monkeypatch.setattr(sys, "stdout", output)
    assert run(*TRAIN, "--epochs", 1, "--save", tmp_path / "net.pt") == 0
    assert load_checkpoint(tmp_path / "net.pt")


def test_data_fetches_mnist_by_default(data_folder, no_network, capsys):
    assert run("data") == 0
    out = capsys.readouterr().out
    assert out == f"ImageDataset(MNIST: train 60,000, test 10,000, 10 classes)\n  in {data_folder / 'MNIST'}\n"
    assert len(list((data_folder / "MNIST" / "raw").iterdir())) == 8
    assert no_network == []


def test_data_that_cannot_be_had_is_an_error_with_the_ways_out(no_network, data_folder, capsys):
    assert run("data", "KMNIST") == 2
    err = capsys.readouterr().err
    assert err.startswith("error: KMNIST: train-images-idx3-ubyte.gz is not on this machine")
    assert "Traceback" not in err
    assert str(data_folder) in err
    assert not data_folder.exists()


def test_data_with_one_unknown_name_writes_nothing(data_folder, capsys):
    """The names are looked at before the work begins."""
    assert run("data", "MNIST", "EMNIST") == 2
    assert "error: unknown dataset 'EMNIST'" in capsys.readouterr().err
    assert not data_folder.exists()


# Comparison


@pytest.fixture
def quick_comparison(small, monkeypatch):
    """300 images of MNIST to train on, 100 for validation, 200 to test."""
    monkeypatch.setattr(experiments, "VALID", 100)
    few = datasets.ImageDataset("MNIST", small.train.take(400), small.test.take(200))
    monkeypatch.setattr(experiments, "load", lambda name: few)


COMPARE = ("compare", "--networks", "mlp", "stacked-2d", "--seeds", 2, "--epochs", 1, "--device", "cpu")


def test_compare_prints_a_table_a_group_and_writes_the_file(quick_comparison, tmp_path, capsys):
    path = tmp_path / "folder" / "numbers.json"
    assert run(*COMPARE, "--groups", "published", "same", "--out", path) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"\n{path}\n")
    results = json.loads(path.read_text("utf-8"))
    for group in ("published", "same"):
        table = experiments.table(results, group)
        assert list(table.index) == ["MLP", "stacked 2D CNN, really stacked"]
        assert f"\n{group}:\n{table.round(2).to_string()}\n" in out


def test_compare_trains_only_the_groups_asked_for(quick_comparison, tmp_path, capsys):
    assert run(*COMPARE, "--groups", "same", "--out", tmp_path / "numbers.json") == 0
    assert list(json.loads((tmp_path / "numbers.json").read_text("utf-8"))["groups"]) == ["same"]
    assert "published:" not in capsys.readouterr().out


def test_compare_goes_on_where_it_was(quick_comparison, tmp_path, monkeypatch, capsys):
    assert run(*COMPARE, "--out", tmp_path / "numbers.json") == 0
    first = capsys.readouterr().out
    monkeypatch.setattr(experiments, "train_and_measure", lambda *task, **_: pytest.fail(f"{task} was trained"))
    assert run(*COMPARE, "--out", tmp_path / "numbers.json") == 0
    assert capsys.readouterr().out == first


def test_compare_takes_all_networks_and_the_functions_own_defaults_unless_told(monkeypatch, capsys):
    asked, parameters = [], inspect.signature(experiments.compare).parameters
    monkeypatch.setattr(experiments, "compare", lambda keys, **options: asked.append((list(keys), options)) or {"groups": {}})
    assert run("compare") == 0
    keys, options = asked[0]
    assert keys == list(networks.NETWORKS)
    assert options.pop("out") == Path("results/networks.json")
    assert options.pop("command") == "python -m mnistlib compare"
    assert tuple(options.pop("groups")) == parameters["groups"].default
    assert options == {name: parameters[name].default for name in ("seeds", "epochs", "workers", "device")}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--networks", "lenet"], "unknown network 'lenet'; the networks are lenet5"),
        (["--groups", "other"], "groups out of ('published', 'same')"),
        (["--seeds", "0"], "seeds=0"),
        (["--workers", "0"], "workers=0"),
        (["--device", "tpu"], "no device 'tpu' on this machine"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_comparison_is_one_line_and_exit_status_2_and_writes_nothing(arguments, words, quick_comparison, tmp_path, capsys):
    assert run(*COMPARE, "--out", tmp_path / "numbers.json", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_of_results_is_an_error_and_stays(quick_comparison, tmp_path, capsys):
    (tmp_path / "numbers.json").write_text("old")
    assert run(*COMPARE, "--out", tmp_path / "numbers.json") == 2
    assert "error: " in capsys.readouterr().err
    assert (tmp_path / "numbers.json").read_text() == "old"


# Pictures

PICTURES = {
    *("digit_wall", "class_means", "one_of_each_label", "class_balance", "network_lenet5", "network_multi-tower", "layer_table"),
    *("history", "confusion", "roc", "predictions", "feature_maps"),
    *("networks_accuracy", "networks_curves", "networks_confusion"),
    *("kmnist_characters", "fashionmnist_predictions", "fashionmnist_means", "four_datasets"),
}


def two_results():
    """As `experiments.read` gives them: two networks with two seeds each, on 200 test images."""
    runs = [
        {
            "test accuracy": 0.98 + seed / 100,
            "epochs": 3,
            "seconds of the quickest epoch": 1.0,
            "validation accuracy": [0.95, 0.97, 0.98],
            "mistakes": "3:1 7:2 150:9",
        }
        for seed in (0, 1)
    ]
    facts = {"mult-adds": 9, "published accuracy": None, "runs": runs}
    return {"groups": {"published": {key: {"title": key, "parameters": 10 + len(key), **facts} for key in ("lenet5", "mlp")}}}


@pytest.fixture
def quick_pictures(mnist, monkeypatch):
    """The real data and the real training, cut short: two networks, 500 images, and a test set of 200."""
    real = training.fit

    def fit(net, train, *, valid=None, **options):
        return real(net, train.take(500), valid=valid and valid.take(100), **{**options, "epochs": 2, "progress": False})

    monkeypatch.setattr(pictures, "load", lambda name: datasets.ImageDataset(name, mnist.train, mnist.test.take(200)))
    monkeypatch.setattr(pictures, "fit", fit)
    monkeypatch.setattr(pictures, "NETWORKS", {key: networks.NETWORKS[key] for key in ("lenet5", "multi-tower")})
    stored = experiments.read
    monkeypatch.setattr(experiments, "read", lambda name="": stored(name) if name else two_results())
    yield
    plt.close("all")


def test_pictures_are_drawn_and_are_the_same_bytes_each_time(quick_pictures, tmp_path, capsys):
    contents = []
    for folder in (tmp_path / "a", tmp_path / "deep" / "b"):
        assert run("pictures", "--out", folder) == 0
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) >= {f"{name}.png" for name in PICTURES}
    for name in contents[0]:
        picture = plt.imread(tmp_path / "a" / name)
        assert picture.shape[1] > 600
        assert picture.std() > 0.01
    assert str(tmp_path / "a" / "history.png") in capsys.readouterr().out


def test_a_folder_for_pictures_that_cannot_be_written_is_an_error(quick_pictures, tmp_path, capsys):
    (tmp_path / "file").write_text("old")
    assert run("pictures", "--out", tmp_path / "file") == 2
    assert "error: cannot write" in capsys.readouterr().err
