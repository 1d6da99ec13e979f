"""Trained weights as files: what goes in comes out, and nothing else does any harm."""

import io
import os
import pickle
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mnistlib import checkpoints, networks
from mnistlib.checkpoints import load_checkpoint, pretrained, save_checkpoint
from mnistlib.evaluation import evaluate
from mnistlib.files import DataError
from mnistlib.networks import NETWORKS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pt"


@pytest.fixture
def net():
    return networks.build("lenet5", seed=3)


def assert_same_weights(one, other):
    assert list(one.state_dict()) == list(other.state_dict())
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("key", NETWORKS)
def test_every_network_comes_back_as_it_was_saved(key, path):
    net = networks.build(key, seed=3)
    save_checkpoint(net, path, key)
    for loaded in (load_checkpoint(path), load_checkpoint(path, key), load_checkpoint(str(path))):
        assert_same_weights(loaded, net)
        assert not loaded.training
        assert all(p.requires_grad for p in loaded.parameters())


def test_the_facts_are_in_the_file(net, path):
    save_checkpoint(net, path, "lenet5", epochs=3, accuracy=0.99, dataset="MNIST", valid=None)
    content = torch.load(path, weights_only=True)
    assert content["network"] == "lenet5"
    assert content["facts"] == {"epochs": 3, "accuracy": 0.99, "dataset": "MNIST", "valid": None}


def test_loading_leaves_the_callers_random_numbers_alone(net, path):
    """So that a notebook gives the same numbers whether or not it loads weights first."""
    save_checkpoint(net, path, "lenet5")
    before = torch.get_rng_state()
    load_checkpoint(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_saving_leaves_the_network_and_the_random_numbers_alone(net, path):
    before = torch.get_rng_state()
    save_checkpoint(net, path, "lenet5")
    assert net.training
    assert torch.equal(torch.get_rng_state(), before)


def test_a_later_change_of_the_network_does_not_reach_the_file(net, path):
    save_checkpoint(net, path, "lenet5")
    nn.init.zeros_(net.conv1.weight)
    assert load_checkpoint(path).conv1.weight.any()


def test_the_same_weights_make_the_same_bytes(net, tmp_path):
    for name in ("a.pt", "b.pt"):
        save_checkpoint(net, tmp_path / name, "lenet5", epochs=1)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


# The weights that ship


def test_the_network_that_ships_reads_the_test_set(mnist):
    net = pretrained()
    assert not net.training
    assert evaluate(net, mnist.test.resized(32)).accuracy >= 0.989


def test_a_network_that_does_not_ship_is_named_with_the_way_to_train_it():
    with pytest.raises(DataError, match=r"no trained 'small-cnn' ships, only lenet5.*mnistlib train --network small-cnn"):
        pretrained("small-cnn")


def test_an_unknown_key_names_the_networks(net, path):
    for use in (pretrained, lambda key: save_checkpoint(net, path, key)):
        with pytest.raises(ValueError, match="unknown network 'lenet'; the networks are lenet5"):
            use("lenet")
    assert not path.exists()


# Files that are not what they should be


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def a_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("hello.txt", "hello")
    return buffer.getvalue()


NOT_CHECKPOINTS = {
    "random bytes": lambda: np.random.default_rng(0).bytes(5000),
    "empty": lambda: b"",
    "a zip": a_zip,
    "a list": lambda: saved([1, 2, 3]),
    "a tensor": lambda: saved(torch.zeros(3)),
    "bare weights": lambda: saved(networks.build("lenet5").state_dict()),
    "a whole network": lambda: saved(networks.build("lenet5")),
    "a text": lambda: b"these are not weights\n" * 20,
    "a picture": lambda: b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a pickled dictionary": lambda: pickle.dumps({"network": "lenet5", "state": {}}),
    "no weights": lambda: saved({"network": "lenet5", "state": {}}),
    "no state": lambda: saved({"network": "lenet5"}),
    "a state that is a list": lambda: saved({"network": "lenet5", "state": [1, 2]}),
    "a state of numbers": lambda: saved({"network": "lenet5", "state": dict.fromkeys(networks.build("lenet5").state_dict(), 1)}),
    "a state with numbers for names": lambda: saved({"network": "lenet5", "state": {1: torch.zeros(1)}}),
    "an unknown network": lambda: saved({"network": "resnet", "state": {}}),
    "a network named by a list": lambda: saved({"network": ["lenet5"], "state": {}}),
    "a network named by nothing": lambda: saved({"network": None, "state": {}}),
    "the weights of another network": lambda: saved({"network": "lenet5", "state": networks.build("small-cnn").state_dict()}),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, about what it was given
@pytest.mark.parametrize("what", NOT_CHECKPOINTS)
def test_what_is_not_a_checkpoint_is_refused_by_name(what, path):
    path.write_bytes(NOT_CHECKPOINTS[what]())
    with pytest.raises(DataError) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kept", [1, 100, 5000, -1, -1000])
def test_half_a_checkpoint_is_refused(kept, net, path):
    save_checkpoint(net, path, "lenet5")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="not a checkpoint of this course, or it is damaged"):
        load_checkpoint(path)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    for place in (tmp_path / "nothing.pt", tmp_path):
        with pytest.raises(DataError, match="there is no checkpoint") as caught:
            load_checkpoint(place)
        assert str(place) in str(caught.value)


def test_the_checkpoint_of_another_network_names_both(path):
    save_checkpoint(networks.build("small-cnn"), path, "small-cnn")
    with pytest.raises(DataError, match="holds the network 'small-cnn', not 'lenet5'"):
        load_checkpoint(path, "lenet5")


class Trap:
    """When unpickled without care, this makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("pack", [saved, pickle.dumps, lambda trap: saved({"network": "lenet5", "state": {}, "facts": trap})])
def test_a_file_that_would_run_code_does_not(pack, tmp_path, path):
    path.write_bytes(pack(Trap(tmp_path / "trapped")))
    with pytest.raises(DataError):
        load_checkpoint(path)
    assert not (tmp_path / "trapped").exists()


@pytest.fixture(scope="module")
def good():
    """The bytes of a good checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(networks.build("lenet5", seed=0), Path(folder) / "net.pt", "lenet5", epochs=3)
        return (Path(folder) / "net.pt").read_bytes()


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_checkpoint_is_loaded_or_refused(good, data):
    """Most of a file is weights, so half of the changes go to the names and sizes before them and the index behind."""
    size = len(good)
    places = st.one_of(st.integers(0, 2500), st.integers(size - 3000, size - 1), st.integers(0, size - 1))
    content = bytearray(good)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
        content[place] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.pt"
        path.write_bytes(content)
        try:
            net = load_checkpoint(path)
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017 — either outcome is right
        else:
            assert isinstance(net, nn.Sequential)


@pytest.mark.parametrize("old", [b"lenet5", b"conv1.weight", b"FloatStorage", b"_rebuild_tensor_v2", b"state"])
def test_a_misspelt_word_in_a_checkpoint_is_refused(old, good, path):
    assert old in good
    path.write_bytes(good.replace(old, old[:-1] + b"X"))
    with pytest.raises(DataError) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


# Saving what should not be saved, or where one cannot


def test_a_network_that_is_not_the_one_of_the_key_is_refused_and_nothing_written(path):
    """The docstring promises ValueError: the caller made the mistake, no file did."""
    with pytest.raises(ValueError, match="does not have the weights of 'lenet5'"):
        save_checkpoint(networks.build("lenet5-padded"), path, "lenet5")
    assert not path.exists()


def test_a_layer_of_another_size_is_refused(path):
    net = networks.build("lenet5")
    net.linear2 = nn.Linear(84, 12)
    with pytest.raises((ValueError, DataError), match="does not have the weights of 'lenet5': size mismatch for linear2"):
        save_checkpoint(net, path, "lenet5")
    assert not path.exists()


@pytest.mark.parametrize("fact", [np.float64(0.99), Path("data"), object], ids=["NumPy number", "path", "class"])
def test_a_fact_that_could_not_be_read_again_is_refused_and_the_old_file_stays(fact, net, path):
    save_checkpoint(net, path, "lenet5")
    old = path.read_bytes()
    with pytest.raises((ValueError, TypeError), match="fact"):
        save_checkpoint(net, path, "lenet5", fact=fact)
    assert path.read_bytes() == old


def test_a_checkpoint_below_a_file_cannot_be_written_and_the_file_stays(net, tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(DataError, match="cannot write"):
        save_checkpoint(net, tmp_path / "file" / "net.pt", "lenet5")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_checkpoint(net, path):
    resource = pytest.importorskip("resource")
    save_checkpoint(networks.build("lenet5", seed=9), path, "lenet5")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DataError, match="cannot write"):
            save_checkpoint(net, path, "lenet5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_same_weights(load_checkpoint(path), networks.build("lenet5", seed=9))
    assert os.listdir(path.parent) == [path.name]


def test_the_shipped_checkpoint_says_how_it_was_made():
    content = torch.load(checkpoints.WEIGHTS / "lenet5.pt", weights_only=True)
    assert isinstance(content["state"], OrderedDict | dict)
    assert {"epochs", "seed", "dataset", "test_accuracy"} <= set(content["facts"])
