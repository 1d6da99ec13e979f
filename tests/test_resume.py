"""Trainings that are stopped, by an exception or by a kill, go on and end as if nothing had happened, bit for bit."""

import errno
import json
import multiprocessing
import os
import pickle
import random
import re
import threading
import time
from array import array
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_pre_hook
from tqdm.auto import tqdm

from mnistlib import datasets, experiments, files, networks
from mnistlib.__main__ import main
from mnistlib.augmentation import Augmentation
from mnistlib.checkpoints import load_checkpoint, save_checkpoint
from mnistlib.datasets import ImageDataset, Split
from mnistlib.experiments import compare
from mnistlib.files import DataError
from mnistlib.training import fit, softmax_cross_entropy

AUGMENT = Augmentation(10, 0.07, (0.9, 1.1))
QUICK = {"epochs": 4, "batch_size": 20, "lr": 0.005, "seed": 3, "device": "cpu", "progress": False}
STEPS = 3  # an epoch: 60 images in batches of 20
OPTIMIZERS = {
    "Adam": {},
    "Adadelta": {"optimizer": torch.optim.Adadelta, "lr": 0.5},
    "SGD": {"optimizer": partial(torch.optim.SGD, momentum=0.9)},
}


def split_of(count, seed):
    """Random pixels; labels go round 0 … 9."""
    generator = torch.Generator().manual_seed(seed)
    return Split(torch.randint(0, 256, (count, 1, 28, 28), generator=generator, dtype=torch.uint8), torch.arange(count) % 10)


TRAIN, VALID = split_of(60, seed=1), split_of(30, seed=2)


def with_one_pixel_changed(split):
    images = split.images.clone()
    images[7, 0, 3, 4] += 1
    return replace(split, images=images)


def with_one_label_changed(split):
    return replace(split, labels=split.labels.index_fill(0, torch.tensor([7]), 0))


def trained(key="lenet5-padded", train=TRAIN, weights=0, **options):
    """A network and its history after `fit` on a few images."""
    net = networks.build(key, seed=weights)
    return net, fit(net, train, **{**QUICK, **options})


def bits(net, history):
    """All that a training ends with, except how long it took."""
    numbers = {name: array("d", values).tobytes() for name, values in vars(history).items() if name != "seconds"}
    return numbers | {name: tensor.contiguous().numpy().tobytes() for name, tensor in net.state_dict().items()}


class Stopped(KeyboardInterrupt):
    pass


@contextmanager
def stopped_at(step):
    """Any training in this block is stopped right before its optimizer's step of this number, from 1."""
    count = 0

    def stop(*_):
        nonlocal count
        count += 1
        if count == step:
            raise Stopped

    handle = register_optimizer_step_pre_hook(stop)
    try:
        with pytest.raises(Stopped):
            yield
    finally:
        handle.remove()


@pytest.fixture
def steps():
    """A list that grows with every step that any optimizer takes."""
    seen = []
    handle = register_optimizer_step_pre_hook(lambda *_: seen.append(1))
    yield seen
    handle.remove()


@pytest.fixture
def path(tmp_path):
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "training.pt"


@pytest.fixture
def half(path):
    """The path of a checkpoint after two of four epochs of the default training of `trained`, with validation."""
    with stopped_at(2 * STEPS + 2):
        trained(valid=VALID, checkpoint=path)
    return path


def states_of_random_numbers():
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# It goes on where it was


@pytest.mark.parametrize("valid", [None, VALID], ids=["no validation", "validation"])
@pytest.mark.parametrize("schedule", [None, 0.9, "one-cycle"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_that_was_stopped_in_its_third_epoch_ends_with_the_same_bits(path, steps, optimizer, schedule, valid):
    options = {"schedule": schedule, "valid": valid, **OPTIMIZERS[optimizer]}
    with stopped_at(2 * STEPS + 2):
        trained(checkpoint=path, **options)
    steps.clear()
    again = trained(weights=5, checkpoint=path, **options)  # the new network's own weights do not count
    assert len(steps) == 2 * STEPS
    assert bits(*again) == bits(*trained(**options))


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6, 7, 10, 12])
def test_dropout_and_augmentation_go_on_from_any_step(path, steps, step):
    options = {"key": "small-cnn", "augment": AUGMENT, "valid": VALID}
    with stopped_at(step):
        trained(checkpoint=path, **options)
    torch.rand(step)  # the caller's random numbers have no part in it
    steps.clear()
    assert bits(*trained(checkpoint=path, **options)) == bits(*trained(**options))
    assert len(steps) == 2 * 4 * STEPS - (step - 1) // STEPS * STEPS


def test_a_training_can_be_stopped_in_every_epoch(path):
    options = {"key": "small-cnn", "augment": AUGMENT, "schedule": 0.9}
    for _ in range(4):
        with stopped_at(STEPS + 1):
            trained(checkpoint=path, **options, **{"epochs": 5})
    assert bits(*trained(checkpoint=path, **options, epochs=5)) == bits(*trained(**options, epochs=5))


def test_a_checkpoint_changes_nothing(path):
    assert bits(*trained("small-cnn", augment=AUGMENT, checkpoint=path)) == bits(*trained("small-cnn", augment=AUGMENT))


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_ends_at_the_same_epoch(path, patience):
    options = {"key": "mlp", "valid": VALID, "schedule": None, "patience": patience, "epochs": 40, "lr": 0.003}
    expected = trained(**options)
    epochs = len(expected[1].seconds)
    assert 1 < epochs < 40
    for stop in sorted({1, epochs - 1}):
        path.unlink(missing_ok=True)
        with stopped_at(stop * STEPS + 1):
            trained(checkpoint=path, **options)
        assert bits(*trained(checkpoint=path, **options)) == bits(*expected)


def test_the_callers_random_numbers_are_left_alone(half):
    before = states_of_random_numbers()
    trained(valid=VALID, checkpoint=half)
    assert states_of_random_numbers() == before
    trained(valid=VALID, checkpoint=half)  # now it is finished
    assert states_of_random_numbers() == before


def test_the_history_keeps_the_seconds_of_the_epochs_before(half):
    before = torch.load(half, weights_only=True)["parts"]["history"]["seconds"]
    history = trained(valid=VALID, checkpoint=half)[1]
    assert len(before) == 2
    assert history.seconds[:2] == before
    assert len(history.seconds) == 4


def test_the_bar_starts_where_the_training_was(half, capsys):
    trained(valid=VALID, checkpoint=half, progress=True)
    assert "12/12" in capsys.readouterr().err


@pytest.mark.parametrize("patience", [None, 1])
def test_a_finished_training_is_returned_at_once(path, steps, patience):
    options = {"key": "mlp", "valid": VALID, "schedule": None, "patience": patience, "epochs": 20, "checkpoint": path}
    net, history = trained(**options)
    before = path.read_bytes()
    steps.clear()
    again, its_history = trained(weights=5, **options)
    assert steps == []
    assert its_history == history  # the seconds too
    assert bits(again, its_history) == bits(net, history)
    assert not again.training
    assert path.read_bytes() == before


def test_a_finished_training_is_returned_where_nothing_can_be_written(path, monkeypatch):
    net, history = trained(checkpoint=path)
    path.with_name(f".{path.name}.abcd1234").touch()
    for name in ("fsync", "replace", "unlink"):
        monkeypatch.setattr(os, name, refuse(errno.EROFS))
    assert bits(*trained(checkpoint=path)) == bits(net, history)


# NumPy's numbers are not plain


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": np.float64(0.003)},
        {"lr": np.float32(0.003), "schedule": None},
        {"schedule": np.float64(0.9)},
        {"epochs": np.int64(3)},
        {"batch_size": np.int64(30)},
        {"schedule": None, "patience": np.int64(3)},
    ],
    ids=lambda settings: ", ".join(settings),
)
def test_a_training_with_numbers_of_numpy_goes_on(path, settings):
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in settings.items()}
    with stopped_at(STEPS + 2):
        trained(valid=VALID, checkpoint=path, **settings)
    assert bits(*trained(valid=VALID, checkpoint=path, **settings)) == bits(*trained(valid=VALID, **plain))


def test_what_no_checkpoint_can_hold_is_refused_before_the_first_step(path, steps):
    """Else each epoch would be written, and none could be read."""
    before = states_of_random_numbers()
    with pytest.raises(ValueError, match=r"a checkpoint holds plain numbers, text and tensors only; got the settings .*SGD with"):
        trained(checkpoint=path, optimizer=partial(torch.optim.SGD, momentum=np.float64(0.9)))
    assert steps == []
    assert contents(path.parent) == {}
    assert states_of_random_numbers() == before


def test_the_file_holds_plain_things_only(half):
    def kinds(value):
        inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
        return {type(value).__name__}.union(*map(kinds, inside))

    found = kinds(torch.load(half, weights_only=True))
    assert found <= {"dict", "OrderedDict", "list", "tuple", "str", "int", "float", "bool", "NoneType", "Tensor"}


# The checkpoint of another training


def a_loss(logits, labels):
    return F.cross_entropy(logits, labels)


class ALoss:
    """Without a text of its own, it shows its place in memory, another one at each start."""

    def __call__(self, logits, labels):
        return F.cross_entropy(logits, labels)


def other_layers():
    """The layers of lenet5-padded, with another activation: the same names and shapes."""
    net = networks.build("lenet5-padded", seed=0)
    for name, layer in list(net.named_children()):
        if not list(layer.parameters()) and "ool" not in type(layer).__name__ and "Flatten" not in type(layer).__name__:
            setattr(net, name, nn.LeakyReLU())
    return net


OTHER = {
    "lr": {"lr": 0.0051},
    "epochs": {"epochs": 5},
    "seed": {"seed": 4},
    "batch_size": {"batch_size": 21},
    "schedule": {"schedule": 0.9},
    "optimizer": {"optimizer": torch.optim.SGD},
    "optimizer (its options)": {"optimizer": partial(torch.optim.Adam, fused=True, betas=(0.8, 0.9))},
    "loss": {"loss": softmax_cross_entropy},
    "loss (its options)": {"loss": partial(F.cross_entropy, label_smoothing=0.1)},
    "augment": {"augment": AUGMENT},
    "training images": {"train": with_one_pixel_changed(TRAIN)},
    "training images (a label)": {"train": with_one_label_changed(TRAIN)},
    "validation images": {"valid": with_one_pixel_changed(VALID)},
    "validation images (none)": {"valid": None},
}


def assert_refused(fit_again, path, facts):
    """ValueError with these facts and no others, the remedy, and nothing done."""
    before, numbers = contents(path.parent), states_of_random_numbers()
    with pytest.raises(ValueError, match=r"holds another training \(.*\)\. Move it away, or name another checkpoint") as caught:
        fit_again()
    assert str(path) in str(caught.value)
    listed = re.search(r"holds another training \((.*)\)\. Move", str(caught.value))[1]
    assert [fact.partition(":")[0] for fact in listed.split("; ")] == facts
    assert all(", now " in fact for fact in listed.split("; "))
    assert contents(path.parent) == before
    assert states_of_random_numbers() == numbers


@pytest.mark.parametrize("what", OTHER)
def test_the_checkpoint_of_another_training_is_refused_and_the_difference_named(half, steps, weights_of, what):
    steps.clear()
    options = {"valid": VALID, **QUICK, **OTHER[what]}
    net, train = networks.build("lenet5-padded", seed=5), options.pop("train", TRAIN)
    before = weights_of(net)
    assert_refused(lambda: fit(net, train, checkpoint=half, **options), half, [what.partition(" (")[0]])
    assert steps == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_other_patience_is_another_training(path):
    options = {"key": "mlp", "valid": VALID, "schedule": None, "checkpoint": path}
    trained(patience=3, **options)
    assert_refused(lambda: trained(patience=2, **options), path, ["patience"])


def test_another_augmentation_is_another_training(path):
    trained(augment=AUGMENT, checkpoint=path)
    assert_refused(lambda: trained(augment=replace(AUGMENT, degrees=11), checkpoint=path), path, ["augment"])


def test_options_without_a_name_count_too(path):
    trained(schedule=None, optimizer=partial(torch.optim.SGD, lr=0.1), checkpoint=path)
    other = partial(partial, torch.optim.SGD)(lr=0.1, momentum=0.5)
    assert_refused(lambda: trained(schedule=None, optimizer=other, checkpoint=path), path, ["optimizer"])
    path.unlink()
    trained(loss=partial(lambda factor, logits, labels: factor * F.cross_entropy(logits, labels), 1.0), checkpoint=path)
    again = partial(lambda factor, logits, labels: factor * F.cross_entropy(logits, labels), 2.0)
    assert_refused(lambda: trained(loss=again, checkpoint=path), path, ["loss"])


def test_several_differences_are_all_named(half):
    assert_refused(lambda: trained(lr=0.1, seed=9, checkpoint=half), half, ["lr", "seed", "validation images"])


@pytest.mark.parametrize("build", [other_layers, lambda: networks.build("mlp", seed=0)], ids=["same shapes", "other shapes"])
def test_the_checkpoint_of_another_network_is_refused(half, build):
    assert_refused(lambda: fit(build(), TRAIN, valid=VALID, checkpoint=half, **QUICK), half, ["network"])


@pytest.mark.parametrize("make", [lambda: a_loss, ALoss, lambda: partial(a_loss)], ids=["function", "object", "partial"])
def test_a_loss_of_ones_own_is_known_again_at_the_next_start(path, make):
    """Its place in memory is another one then."""
    kept = [make()]
    with stopped_at(STEPS + 1):
        trained(loss=kept[0], checkpoint=path)
    assert bits(*trained(loss=make(), checkpoint=path)) == bits(*trained())


# Damaged files


class Trap:
    """When unpickled without care, this makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def assert_damaged(path, steps):
    before, numbers = contents(path.parent), states_of_random_numbers()
    steps.clear()
    with pytest.raises(DataError, match=r"(?i)move it away, and the training begins anew") as caught:
        trained(valid=VALID, checkpoint=path)
    assert str(path) in str(caught.value)
    assert steps == []
    assert contents(path.parent) == before
    assert states_of_random_numbers() == numbers


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99, -1], ids=str)
def test_half_a_checkpoint_is_refused(half, steps, kept):
    content = half.read_bytes()
    half.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert_damaged(half, steps)


def test_flipped_bytes_are_refused_or_do_not_matter(half):
    """Each part of the file has a checksum. What has none, such as the padding between parts, decides nothing."""
    content, expected, refused = half.read_bytes(), bits(*trained(valid=VALID)), 0
    places = range(0, len(content), len(content) // 60)
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 0xFF
        half.write_bytes(changed)
        try:
            assert bits(*trained(valid=VALID, checkpoint=half)) == expected
        except DataError:
            refused += 1
            assert half.read_bytes() == changed
    assert refused > 0.9 * len(places)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, about what it was given
@pytest.mark.parametrize("place", ["whole", "training", "parts", "random", "plain pickle"])
def test_a_file_that_would_run_code_does_not(half, steps, tmp_path, place):
    trap, content = Trap(tmp_path / "trapped"), torch.load(half, weights_only=True)
    if place == "plain pickle":
        half.write_bytes(pickle.dumps(trap))
    else:
        torch.save(trap if place == "whole" else content | {place: trap}, half)
    assert_damaged(half, steps)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    "content",
    [[1, 2], {"training": 1}, {"training": [1], "parts": {}, "random": []}, {"training": None, "parts": {}, "random": []}],
    ids=["list", "no parts", "settings in a list", "no settings"],
)
def test_what_is_not_a_training_is_refused(path, steps, content):
    torch.save(content, path)
    assert_damaged(path, steps)


@pytest.mark.parametrize("part", ["network", "optimizer", "history", "order", "scheduler"])
def test_a_state_without_one_of_its_parts_is_refused(half, steps, part):
    content = torch.load(half, weights_only=True)
    del content["parts"][part]
    torch.save(content, half)
    with pytest.raises(DataError, match="does not fit this network"):
        trained(valid=VALID, checkpoint=half)


def test_trained_weights_are_not_a_training(path, steps):
    save_checkpoint(networks.build("lenet5-padded"), path, "lenet5-padded")
    assert_damaged(path, steps)


# Disks


def refuse(number):
    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    return refused


def test_a_full_disk_is_found_before_the_first_step(path, steps, monkeypatch):
    monkeypatch.setattr(os, "fsync", refuse(errno.ENOSPC))
    with pytest.raises(DataError, match=r"cannot write .*No space left on device\. Make room"):
        trained(checkpoint=path)
    assert steps == []
    assert contents(path.parent) == {}


@pytest.mark.parametrize("place", ["below a file", "a folder"])
def test_a_place_that_cannot_be_a_file_is_found_before_the_first_step(tmp_path, steps, place):
    (tmp_path / "file").write_bytes(b"old")
    checkpoint = tmp_path / "file" / "training.pt" if place == "below a file" else tmp_path
    with pytest.raises(DataError, match=r"cannot write|is a folder, and must be a file"):
        trained(checkpoint=checkpoint)
    assert steps == []
    assert contents(tmp_path) == {"file": b"old"}


def test_a_folder_where_nothing_may_be_written_is_found_before_the_first_step(path, steps):
    path.parent.chmod(0o500)
    try:
        if os.access(path.parent, os.W_OK):
            pytest.skip("this user may write everywhere")
        with pytest.raises(DataError, match=r"cannot write .*Permission denied"):
            trained(checkpoint=path)
    finally:
        path.parent.chmod(0o700)
    assert steps == []
    assert contents(path.parent) == {}


def test_a_folder_that_is_not_there_is_made(path):
    trained(checkpoint=path.parent / "new" / "deep" / "training.pt")
    assert list(contents(path.parent / "new" / "deep")) == ["training.pt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fills_up_leaves_the_last_good_checkpoint_and_the_training_goes_on_from_it(path, steps, monkeypatch, call):
    real, calls, good = getattr(os, call), [], []

    def fails_the_fourth_time(*arguments):  # after the test of the folder and two epochs
        calls.append(1)
        if len(calls) == 4:
            good.append(path.read_bytes())
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails_the_fourth_time)
        with pytest.raises(DataError, match=r"cannot write .*No space left on device"):
            trained("small-cnn", augment=AUGMENT, checkpoint=path)
    assert contents(path.parent) == {path.name: good[0]}
    steps.clear()
    assert bits(*trained("small-cnn", augment=AUGMENT, checkpoint=path)) == bits(*trained("small-cnn", augment=AUGMENT))
    assert len(steps) == (2 + 4) * STEPS


def test_what_is_written_while_the_disk_fills_up_is_removed(path, monkeypatch):
    real, opened = os.fdopen, []

    class Full:
        """A file on a disk that takes its first half, and the folder's test whole."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            if len(opened) == 3:
                self.file.write(content[: len(content) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(content)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fdopen", lambda *arguments: opened.append(1) or Full(real(*arguments)))
        with pytest.raises(DataError, match="No space left on device"):
            trained(checkpoint=path)
    assert list(contents(path.parent)) == [path.name]
    assert bits(*trained(checkpoint=path)) == bits(*trained())


def test_no_temporary_file_is_left_behind(half):
    assert list(contents(half.parent)) == [half.name]
    trained(valid=VALID, checkpoint=half)
    assert list(contents(half.parent)) == [half.name]


def test_what_a_kill_left_half_written_is_removed_and_nothing_else(half):
    left, others = f".{half.name}.x1_y2z3q", [f".{half.name}.backup", f"{half.name}.x1_y2z3q", ".other.pt.x1_y2z3q"]
    for name in (left, *others):
        half.with_name(name).write_bytes(b"half")
    trained(valid=VALID, checkpoint=half)
    assert sorted(contents(half.parent)) == sorted([half.name, *others])


# Kills


KILLED = {
    "one-cycle": {"key": "lenet5-padded", "valid": VALID, "epochs": 12},
    "dropout, augmentation, patience": {
        "key": "small-cnn",
        "valid": VALID,
        "augment": AUGMENT,
        "schedule": None,
        "patience": 8,
        "epochs": 16,
        "lr": 0.001,
    },
}
needs_kills = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="needs processes that start quickly"
)


def settle():
    """In a process of its own: one thread, and no lock of the progress bars that would be missed after a kill."""
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())


def train_in(folder, name):
    """In a process of its own: train, and write all bits of the outcome."""
    settle()
    outcome = bits(*trained(**KILLED[name], checkpoint=folder / "training.pt"))
    with files.atomic_write(folder / "ended") as file:
        file.write(pickle.dumps(outcome))


def compare_in(folder):
    """In a process of its own: compare two networks on a few images."""
    settle()
    experiments.VALID = 60
    compare(out=folder / "networks.json", **COMPARED)


COMPARED = {
    "keys": ["lenet5-padded", "small-cnn"],
    "groups": ["same"],
    "seeds": 1,
    "epochs": 8,
    "dataset": ImageDataset("MNIST", split_of(220, seed=4), split_of(40, seed=5)),
    "device": "cpu",
    "progress": False,
}


@pytest.fixture(scope="module")
def start():
    """A function that starts a process in milliseconds: a copy of one that has imported PyTorch and not used it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mnistlib.experiments", "mnistlib.__main__", "pytest"])

    def start(function, *arguments):
        process = context.Process(target=function, args=arguments)
        process.start()
        return process

    return start


def half_written(folder):
    """The checkpoints that are being written, or were at a kill."""
    return {name for name in os.listdir(folder) if name.startswith(".training.pt.")}


def saved_at(folder):
    return (folder / "training.pt").stat().st_mtime_ns if (folder / "training.pt").exists() else 0


@needs_kills
@pytest.mark.parametrize("name", KILLED)
def test_a_training_killed_at_random_moments_ends_with_the_bits_of_one_that_was_not(tmp_path, start, name):
    """Every second kill comes while a checkpoint is being written, the others within 30 ms after one."""
    moments, kills = random.Random(name), 0
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    folder.mkdir()
    start(train_in, whole, name).join()
    while not (folder / "ended").exists():
        saved, left = saved_at(folder), half_written(folder)
        process = start(train_in, folder, name)
        if kills < 6:
            while process.is_alive() and not (half_written(folder) - left if kills % 2 else saved_at(folder) > saved):
                time.sleep(0.0002)
            time.sleep(moments.uniform(0, 0.002 if kills % 2 else 0.03))
            process.kill()
        process.join()
        assert process.exitcode in (0, -9)
        kills += process.exitcode == -9
    assert kills >= 3
    assert (folder / "ended").read_bytes() == (whole / "ended").read_bytes()
    assert sorted(os.listdir(folder)) == ["ended", "training.pt"]


# Comparisons of networks


def untimed(results):
    results = json.loads(json.dumps(results))
    for entry in results["groups"]["same"].values():
        for run in entry["runs"]:
            del run["seconds of the quickest epoch"]
    return results


@pytest.fixture
def few_for_validation(monkeypatch):
    monkeypatch.setattr(experiments, "VALID", 60)


def test_a_comparison_that_was_stopped_goes_on_at_the_last_epoch_of_the_unfinished_run(tmp_path, steps, few_for_validation):
    """160 images in batches of 128 are two steps an epoch: sixteen for the first network, and then five of the second."""
    options = {**COMPARED, "keys": ["lenet5-padded", "mlp"]}
    with stopped_at(16 + 5):
        compare(out=tmp_path / "networks.json", **options)
    assert [path.name for path in (tmp_path / "networks.json.unfinished").iterdir() if "mlp" in path.name] == ["same-mlp-0.pt"]
    steps.clear()
    results = compare(out=tmp_path / "networks.json", **options)
    assert len(steps) == 16 - 4
    assert untimed(results) == untimed(compare(**options))
    assert os.listdir(tmp_path) == ["networks.json"]


@needs_kills
def test_a_comparison_that_was_killed_gives_the_same_numbers(tmp_path, start):
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    start(compare_in, tmp_path / "whole").join()
    for key in ("lenet5-padded", "small-cnn"):
        process = start(compare_in, tmp_path / "killed")
        while process.is_alive() and not (tmp_path / "killed" / "networks.json.unfinished" / f"same-{key}-0.pt").exists():
            time.sleep(0.001)
        time.sleep(0.02)
        process.kill()
        process.join()
        assert process.exitcode == -9
    process = start(compare_in, tmp_path / "killed")
    process.join()
    assert process.exitcode == 0
    whole, killed = (json.loads((tmp_path / folder / "networks.json").read_text("utf-8")) for folder in ("whole", "killed"))
    assert untimed(killed) == untimed(whole)
    assert os.listdir(tmp_path / "killed") == ["networks.json"]


# The command line


@pytest.fixture
def command(monkeypatch, tmp_path):
    """A function that runs ``train`` on a few images of MNIST, with a checkpoint and weights in a folder."""
    dataset = ImageDataset("MNIST", split_of(90, seed=6), split_of(40, seed=7))
    monkeypatch.setattr(datasets, "load", lambda name: dataset)
    options = ["--network", "small-cnn", "--epochs", "4", "--batch-size", "20", "--valid", "30", "--device", "cpu"]
    place = ["--checkpoint", str(tmp_path / "folder" / "training.pt")]
    return lambda *more: main(["train", *options, *place, *map(str, more)])


def test_train_with_a_checkpoint_can_be_run_twice(command, tmp_path, steps, capsys):
    outputs, counts = [], []
    for name in ("a.pt", "b.pt"):
        assert command("--save", tmp_path / name) == 0
        outputs.append(capsys.readouterr().out.replace(name, ""))
        counts.append(len(steps))
    assert counts == [4 * STEPS, 4 * STEPS]  # the second time, nothing is trained
    assert "4 epochs, 12 steps" in outputs[0]
    assert outputs[1] == outputs[0]
    first, second = (load_checkpoint(tmp_path / name).state_dict() for name in ("a.pt", "b.pt"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_train_goes_on_after_an_interruption(command, tmp_path, steps):
    with stopped_at(2 * STEPS + 1):
        command()
    steps.clear()
    assert command("--save", tmp_path / "a.pt") == 0
    assert len(steps) == 2 * STEPS
    (tmp_path / "folder" / "training.pt").unlink()
    assert command("--save", tmp_path / "b.pt") == 0
    first, second = (load_checkpoint(tmp_path / name).state_dict() for name in ("a.pt", "b.pt"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize(
    ("more", "words"), [(["--lr", 0.02], "holds another training (lr: 0.01, now 0.02)"), (["--seed", 1], "seed: 0, now 1")]
)
def test_train_with_the_checkpoint_of_another_training_is_one_line_and_exit_status_2(command, capsys, more, words):
    assert command() == 0
    assert command(*more) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert words in lines[0]
