"""Trainings that are stopped, by an error or by a kill, continue and end with the same bits; bad files do no harm."""

import errno
import hashlib
import io
import os
import pickle
import threading
from functools import partial

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import nn
from torch.nn import functional as F

from mnistlib import Augmentation, build, fit
from mnistlib.base.files import DataError
from mnistlib.data import Split
from mnistlib.lab import Checkpoint
from mnistlib.lab.callbacks import EarlyStopping, WeightAverage, decay
from mnistlib.lab.checkpoint import BEGINNING
from mnistlib.train import constant, one_cycle

STEPS = 3  # an epoch: 60 images in batches of 20
AUGMENTATION = Augmentation(10, 0.07, (0.9, 1.1))


def images(count, seed):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return Split(pixels, torch.arange(count) % 10)


TRAIN, VALID = images(60, seed=1), images(30, seed=2)


class Stopped(Exception):
    pass


def counted(seen, stop=None):
    """A loss that notes each of its calls, and stops the training at a step, from 1; it always has the same name."""

    def loss(logits, labels):
        seen.append(1)
        if len(seen) == stop:
            raise Stopped
        return F.cross_entropy(logits, labels)

    return loss


def trained(path=None, *, stop=None, steps=None, weights=0, net=None, callbacks=(), **options):
    """A small network with dropout, and its history, after `fit`; stopped when step ``stop`` begins."""
    if net is None:
        torch.manual_seed(weights)
        net = nn.Sequential(nn.Conv2d(1, 4, 5, stride=4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(144, 10))
    settings = {"train": TRAIN, "valid": VALID, "epochs": 4, "batch_size": 20, "lr": 0.005, "seed": 3} | options
    callbacks = [Checkpoint(path), *callbacks] if path else list(callbacks)
    loss = counted([] if steps is None else steps, stop)
    return net, fit(net, callbacks=callbacks, loss=loss, progress=False, **settings)


def stopped(path, stop, **options):
    with pytest.raises(Stopped):
        trained(path, stop=stop, **options)


def bits(net, history):
    numbers = {name: values for name, values in vars(history).items() if name != "seconds"}
    return numbers, {name: tensor.contiguous().numpy().tobytes() for name, tensor in net.state_dict().items()}


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("MNISTLIB_DEVICE", "cpu")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "training.pt"


@pytest.fixture
def half(path):
    """The path of a checkpoint after two of four epochs."""
    stopped(path, 2 * STEPS + 2)
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# It continues where it was

OPTIMIZERS = {
    "one-cycle Adam": one_cycle,
    "Adam": constant,
    "decay": decay(0.9),
    "Adadelta": partial(constant, kind=torch.optim.Adadelta, eps=1e-7),
    "SGD": partial(one_cycle, kind=torch.optim.SGD, momentum=0.9),
    "AdamW": partial(constant, kind=torch.optim.AdamW),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("valid", [None, VALID], ids=["no validation", "validation"])
def test_a_stopped_training_ends_with_the_bits_of_one_that_was_not(path, optimizer, valid):
    options, steps = {"optimizer": optimizer, "valid": valid, "train": TRAIN.augmented(AUGMENTATION)}, []
    stopped(path, 2 * STEPS + 2, **options)
    torch.rand(3)  # the caller's random numbers have no part in it
    again = trained(path, weights=5, steps=steps, **options)  # nor have the new network's own weights
    assert len(steps) == 2 * STEPS
    assert bits(*again) == bits(*trained(**options))


def test_a_training_can_be_stopped_at_every_step(path):
    options = {"net": None, "train": TRAIN.augmented(AUGMENTATION), "optimizer": decay(0.9)}
    expected = bits(*trained(**options))
    for step in range(1, 4 * STEPS + 1):
        path.unlink(missing_ok=True)
        stopped(path, step, **options)
        assert bits(*trained(path, **options)) == expected


def test_channels_last_weights_and_their_optimizer_continue_too(path):
    expected = bits(*trained(net=build("lenet5-padded", 0)))
    stopped(path, 2 * STEPS, net=build("lenet5-padded", 0))
    assert bits(*trained(path, net=build("lenet5-padded", 9))) == expected


def test_early_stopping_and_averaged_weights_continue_too(path):
    def callbacks():
        return [EarlyStopping(2), WeightAverage(0.9)]

    options = {"epochs": 40, "lr": 0.003, "optimizer": constant}
    own = callbacks()
    expected = bits(*trained(callbacks=own, **options))
    epochs = len(expected[0]["valid_loss"])
    assert 2 < epochs < 40
    for epoch in {1, epochs - 1}:
        path.unlink(missing_ok=True)
        stopped(path, epoch * STEPS + 1, callbacks=callbacks(), **options)
        again, steps = callbacks(), []
        assert bits(*trained(path, callbacks=again, **options)) == expected
        assert again[1].valid_accuracy == own[1].valid_accuracy
    assert bits(*trained(path, callbacks=callbacks(), steps=steps, **options)) == expected  # it is finished
    assert steps == []


def test_a_finished_training_is_not_repeated_even_where_nothing_can_be_written(path, monkeypatch):
    net, history = trained(path)
    before, state, steps = path.read_bytes(), torch.get_rng_state(), []
    for name in ("fsync", "replace", "unlink"):
        monkeypatch.setattr(os, name, lambda *_, **__: pytest.fail("something was written"))
    again, its_history = trained(path, steps=steps, weights=5)
    assert steps == []
    assert vars(its_history) == vars(history)  # the seconds too
    assert bits(again, its_history) == bits(net, history)
    assert path.read_bytes() == before
    torch.set_rng_state(state)


def test_a_checkpoint_changes_neither_the_training_nor_the_callers_random_numbers(path):
    expected = bits(*trained())
    torch.manual_seed(11)
    before = torch.get_rng_state()
    net = build("lenet5-padded", 0)
    fit(net, TRAIN, epochs=1, batch_size=20, callbacks=[Checkpoint(path.with_name("other.pt"))], progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert bits(*trained(path)) == expected


# The checkpoint of another training

OTHER = {
    "lr": {"lr": 0.0051},
    "epochs": {"epochs": 5},
    "seed": {"seed": 4},
    "batch_size": {"batch_size": 21},
    "optimizer": {"optimizer": partial(one_cycle, betas=(0.8, 0.9))},
    "schedule": {"optimizer": constant},
    "augmentation": {"train": TRAIN.augmented(AUGMENTATION)},
    "callbacks": {"callbacks": [EarlyStopping(3)]},
    "training images": {"train": TRAIN.take([*range(59), 0])},
    "validation images": {"valid": None},
    "network": {"net": nn.Sequential(nn.Flatten(), nn.Linear(784, 10))},
}


@pytest.mark.parametrize("what", OTHER)
def test_the_checkpoint_of_another_training_is_refused_and_the_difference_named(half, what):
    before, steps = contents(half.parent), []
    with pytest.raises(
        ValueError, match=rf"training\.pt holds another training \((.*; )?{what}: .*, now .*Move it away"
    ):
        trained(half, steps=steps, **OTHER[what])
    assert (steps, contents(half.parent)) == ([], before)


def test_factors_of_a_schedule_and_options_of_a_loss_tell_trainings_apart(path):
    stopped(path, STEPS + 1, optimizer=decay(0.9))
    with pytest.raises(ValueError, match="schedule: LambdaLR"):
        trained(path, optimizer=decay(0.8))
    settings = {"epochs": 1, "batch_size": 20, "callbacks": [Checkpoint(path.with_name("b.pt"))], "progress": False}
    fit(build("lenet5", 0), TRAIN.resized(32), loss=partial(F.cross_entropy, label_smoothing=0.1), **settings)
    with pytest.raises(ValueError, match="loss: "):
        fit(build("lenet5", 0), TRAIN.resized(32), loss=partial(F.cross_entropy, label_smoothing=0.2), **settings)


def test_it_must_be_the_first_callback_and_its_settings_plain(path):
    with pytest.raises(ValueError, match="must be the first callback"):
        fit(build("lenet5-padded", 0), TRAIN, VALID, batch_size=20, callbacks=[EarlyStopping(1), Checkpoint(path)])
    with pytest.raises(ValueError, match="can hold only plain numbers and text"):
        trained(path, optimizer=partial(constant, kind=torch.optim.SGD, momentum=np.float64(0.9)))
    assert contents(path.parent) == {}


# Damaged and hostile files


class Trap:
    """When unpickled without care, this creates a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def assert_refused(path):
    net = nn.Sequential(nn.Conv2d(1, 4, 5, stride=4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(144, 10))
    weights, before, steps = bits(net, trained()[1])[1], contents(path.parent), []
    with pytest.raises(DataError, match="Move it away, and the training starts anew") as caught:
        trained(path, net=net, steps=steps)
    assert str(path) in str(caught.value)
    assert (steps, contents(path.parent)) == ([], before)
    assert bits(net, trained()[1])[1] == weights  # nothing was restored


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, about what it was given
@pytest.mark.parametrize("place", ["whole", "state", "description", "plain pickle"])
def test_a_file_that_would_run_code_does_not(half, tmp_path, place):
    trap, buffer = Trap(tmp_path / "trapped"), io.BytesIO()
    content = torch.load(io.BytesIO(half.read_bytes()[len(BEGINNING) + 32 :]), weights_only=True)
    if place == "plain pickle":
        buffer.write(pickle.dumps(trap))
    else:
        torch.save(trap if place == "whole" else content | {place: trap}, buffer)
    packed = buffer.getvalue()
    half.write_bytes(BEGINNING + hashlib.sha256(packed).digest() + packed)  # with the right checksum
    assert_refused(half)
    assert not (tmp_path / "trapped").exists()


def test_a_file_that_is_damaged_anywhere_is_refused_before_anything_is_restored(half):
    """A fused optimizer would go through memory by a wrong shape and crash the process."""
    whole = half.read_bytes()
    places = [0, len(BEGINNING) - 1, len(BEGINNING) + 9, *range(100, len(whole), len(whole) // 5), len(whole) - 1]
    damaged = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in places]
    for content in [*damaged, *(whole[:at] for at in places), whole + b"\0"]:
        half.write_bytes(content)
        assert_refused(half)


# Disks


@pytest.mark.parametrize("place", ["below a file", "a folder", "a pipe"])
def test_a_place_that_cannot_be_a_file_is_found_before_the_first_step(tmp_path, place):
    (tmp_path / "file").write_bytes(b"old")
    path, steps = tmp_path / "file" / "training.pt" if place == "below a file" else tmp_path, []
    if place == "a pipe":
        os.mkfifo(path := tmp_path / "pipe")
    with pytest.raises(DataError, match="cannot write"):
        trained(path, steps=steps)
    assert steps == []
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fills_up_leaves_the_last_good_checkpoint(path, monkeypatch, call):
    real, calls = getattr(os, call), []

    def fails_late(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails_late)
        with pytest.raises(DataError, match=r"cannot write .*No space left on device"):
            trained(path)
    assert path.name in contents(path.parent)
    assert bits(*trained(path)) == bits(*trained())


def test_only_its_own_temporary_file_is_replaced_and_deleted(half):
    others = [f".{half.name}.20251121", f".{half.name}.original", f"{half.name}.backup", ".other.pt.mnistlib-partial"]
    for name in [f".{half.name}.mnistlib-partial", *others]:
        half.with_name(name).write_bytes(b"half")
    trained(half)
    assert sorted(contents(half.parent)) == sorted([half.name, f".{half.name}.lock", *others])
    Checkpoint(half).remove()
    assert sorted(contents(half.parent)) == sorted(others)


def test_processes_that_save_the_same_training_take_turns(half):
    with FileLock(half.with_name(f".{half.name}.lock")):
        before = contents(half.parent)
        (process := threading.Thread(target=trained, args=(half,))).start()
        process.join(0.5)
        assert process.is_alive()
        assert contents(half.parent) == before
    process.join()
    assert contents(half.parent)[half.name] != before[half.name]


# Kills
