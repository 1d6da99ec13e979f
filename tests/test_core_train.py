"""Training: the loop of notebook 03 bit for bit, callbacks, seeds and augmentation; bad settings change nothing."""

import math
import random
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from mnistlib import lab, networks, train
from mnistlib.augment import Augmentation
from mnistlib.data import Split
from mnistlib.evaluation import evaluate
from mnistlib.lab.callbacks import EarlyStopping, WeightAverage, decay, softmax_cross_entropy
from mnistlib.seeds import fit_seeds
from mnistlib.train import History, constant, fit, one_cycle

assert lab.networks  # registers small-cnn, which has dropout


def vector(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("MNISTLIB_DEVICE", "cpu")


@pytest.fixture
def few(small):
    """200 real images, 50 for validation."""
    return small.train.take(200), small.test.take(50)


@pytest.fixture
def fitted(few):
    """A function that trains a new network on a few images: (network, history)."""

    def run(key="lenet5-padded", valid=None, data=few[0], **settings):
        net = networks.build(key, seed=0)
        return net, fit(net, data, valid, **{"epochs": 2, "batch_size": 100, "progress": False, **settings})

    return run


def test_two_epochs_on_2000_images_read_most_of_1000_others(small, padded_net):
    history = fit(padded_net, small.train, small.test, epochs=2, batch_size=50, progress=False)
    measured = evaluate(padded_net, small.test)
    assert measured.accuracy > 0.8  # measured: 0.90; guessing: 0.1
    assert (measured.accuracy, measured.loss) == pytest.approx((history.valid_accuracy[-1], history.valid_loss[-1]))
    assert not any(module.training for module in padded_net.modules())


@pytest.mark.parametrize("schedule", [one_cycle, constant])
def test_the_loop_of_notebook_03_gives_the_same_weights_bit_for_bit(few, fitted, schedule):
    kind, options = (
        (torch.optim.Adam, {"fused": True}) if schedule is one_cycle else (torch.optim.SGD, {"momentum": 0.9})
    )
    made = partial(schedule, kind=kind, **options)
    net, history = fitted("small-cnn", epochs=4, batch_size=64, lr=0.02, seed=3, optimizer=made)
    by_hand, losses = networks.build("small-cnn", seed=0).to(memory_format=torch.channels_last), []
    optimizer = kind(by_hand.parameters(), lr=0.02, **options)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=16) if schedule is one_cycle else None
    order = torch.Generator().manual_seed(3)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for _ in range(4):
            for images, labels in few[0].batches(64, order):
                loss = F.cross_entropy(by_hand(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if scheduler:
                    scheduler.step()
                losses.append(loss.item())
    assert torch.equal(vector(net), vector(by_hand.to(memory_format=torch.contiguous_format)))
    assert history.step_loss == losses


def test_the_seed_alone_decides_and_the_callers_random_numbers_stay(few, fitted):
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    augmented = few[0].augmented(Augmentation(degrees=10))
    numbers = {"seed": np.int64(1), "epochs": torch.tensor(2), "batch_size": np.uint8(100), "lr": np.float64(0.01)}
    settings = ({"seed": 1}, numbers, {"seed": torch.tensor(1), "valid": few[1]}, {"seed": 10**23})
    first, *same, other = [fitted("small-cnn", data=augmented, **changed) for changed in settings]
    plain = fitted("small-cnn", seed=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]
    assert all(torch.equal(vector(first[0]), vector(net)) for net, _ in same)
    assert same[0][1].step_loss == first[1].step_loss not in (other[1].step_loss, plain[1].step_loss)


def test_the_learning_rate_rises_and_falls_or_stays_or_decays(fitted):
    rates = {one_cycle: [], constant: [], decay(0.5): []}
    for optimizer, seen in rates.items():
        look = SimpleNamespace(batch_end=lambda run, seen=seen: seen.append(run.optimizer.param_groups[0]["lr"]))
        fitted(epochs=5, batch_size=20, lr=0.01, optimizer=optimizer, callbacks=[look])
    cycle, steady, decayed = (rates[:-1] for rates in rates.values())  # seen after each step: the rate of the next
    peak = cycle.index(max(cycle))
    assert (cycle[peak], cycle[-1] < 1e-5) == (pytest.approx(0.01, rel=0.01), True)
    assert 12 <= peak <= 15
    assert cycle == sorted(cycle[:peak]) + sorted(cycle[peak:], reverse=True)
    assert steady == [0.01] * 49
    assert decayed[8::10] == pytest.approx([0.01 * 0.5**epoch for epoch in range(5)])
    net = fitted(epochs=1, batch_size=200)[0]  # one step must not be the almost-nothing end of a cycle
    assert (vector(net) - vector(networks.build("lenet5-padded", seed=0))).abs().max() > 1e-4


def test_the_history_has_a_number_an_epoch_and_a_loss_a_step(few, fitted, capsys):
    before = evaluate(networks.build("lenet5-padded", seed=0), few[0])
    history = fitted(epochs=1, batch_size=64, lr=1e-12, optimizer=constant)[1]  # the last batch has 8 images
    assert (history.train_loss[0], history.train_accuracy[0]) == pytest.approx((before.loss, before.accuracy), rel=1e-5)
    assert list(history.table()) == ["train_loss", "train_accuracy", "seconds"]
    assert capsys.readouterr() == ("", "")
    history = fitted(epochs=3, valid=few[1], progress=True)[1]
    assert "6/6" in capsys.readouterr().err
    columns = ["train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "seconds"]
    assert (list(history.table()), list(history.table().index), len(history.step_loss)) == (columns, [1, 2, 3], 6)
    floor = softmax_cross_entropy(torch.eye(10) * 1e4, torch.arange(10)).item()
    assert floor == pytest.approx(math.log(math.e + 9) - 1)  # as its docstring says
    words = str(History([0.5], [0.876], [0.4], [0.912], [1.4], [0.1] * 1200))
    assert words == "1 epoch, 1,200 steps, ≈ 1 s: accuracy while training ≈ 87.6%, on validation ≈ 91.2%"


def test_callbacks_are_called_in_order_and_may_end_the_training(few, fitted):
    calls = []

    def begin(run):
        calls.append("begin")
        assert (run.step, run.steps_per_epoch, run.stop, len(run.train), run.valid) == (0, 2, False, 200, few[1])
        assert (run.epochs, run.batch_size, run.lr, run.seed, run.loss) == (9, 100, 0.01, 5, F.cross_entropy)

    def epoch_end(run):
        calls.append(f"epoch {len(run.history.valid_loss)}")
        run.stop = len(run.history.seconds) == 2

    first = SimpleNamespace(begin=begin, batch_end=lambda run: calls.append(run.step), epoch_end=epoch_end)
    second = SimpleNamespace(batch_end=lambda run: calls.append(-run.step), end=lambda run: calls.append("end"))
    fitted(epochs=9, valid=few[1], seed=5, callbacks=iter([first, SimpleNamespace(), second]))
    assert calls == ["begin", 1, -1, 2, -2, "epoch 1", 3, -3, 4, -4, "epoch 2", "end"]


def test_early_stopping_ends_as_keras_does_with_the_weights_of_the_last_epoch(few, fitted, monkeypatch):
    for losses, patience, epochs in (
        ([3, 4, 1], 1, 2),
        ([3, 2, 2.5, 2, 1, 1, 1, 1, 1], 3, 8),  # as low as before is not lower
        ([5, 4, 3, 2, 1], 1, 5),
        ([1, 2, 0.9, 2, 0.8, 2, 0.7], 2, 7),  # never two in a row
        ([1, 5, 4, 3, 2, 1.5], 5, 6),  # the lowest counts, not the one before
    ):
        script = iter(losses)
        monkeypatch.setattr(train, "evaluate", lambda *_, script=script: SimpleNamespace(loss=next(script), accuracy=1))
        settings = {"optimizer": constant, "batch_size": 200}
        net, history = fitted(epochs=len(losses), valid=few[1], callbacks=[EarlyStopping(patience)], **settings)
        assert history.valid_loss == losses[:epochs]
        assert torch.equal(vector(net), vector(fitted(epochs=epochs, **settings)[0]))
    with pytest.raises(ValueError, match="needs a validation split"):
        fitted(callbacks=[EarlyStopping(1)])


def test_weight_average_is_that_of_a_plain_loop_and_changes_no_step(few, fitted):
    class Reference:
        def begin(self, run):
            self.average = vector(run.net).double()

        def batch_end(self, run):
            own = min(0.9, (1 + run.step) / (10 + run.step))
            self.average = own * self.average + (1 - own) * vector(run.net).double()

    reference, averaged = Reference(), WeightAverage(0.9)
    net, history = fitted(epochs=4, batch_size=40, valid=few[1], callbacks=[reference, averaged])
    torch.testing.assert_close(vector(net).double(), reference.average, rtol=1e-5, atol=1e-6)
    assert averaged.valid_accuracy[-1] == evaluate(net, few[1]).accuracy
    assert history.step_loss == fitted(epochs=4, batch_size=40)[1].step_loss


def test_options_of_callbacks_that_make_no_sense_are_refused():
    options = {EarlyStopping: (0, True, 1.5, "2"), WeightAverage: (0, 1, -1, math.nan), decay: (0, 1.1, math.nan)}
    for make, value in [(make, value) for make, values in options.items() for value in values]:
        with pytest.raises(ValueError, match=r"(patience|decay|factor) must be"):
            make(value)


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_network_on_the_cpu_is_trained_on_the_fastest_device_and_comes_back(
    few, padded_net, monkeypatch, interrupted
):
    fastest, moves, to = torch.device("cpu:0"), [], nn.Module.to  # the CPU by another name stands for a GPU
    record = lambda net, *device, **layout: (moves.extend(device), to(net, *device, **layout))[1]  # noqa: E731
    monkeypatch.setattr(nn.Module, "to", record)
    monkeypatch.setattr(train, "pick_device", lambda: fastest)

    def begin(run):
        assert (moves, run.device) == ([fastest], fastest)
        if interrupted:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) if interrupted else torch.enable_grad():
        fit(padded_net, few[0], epochs=1, progress=False, callbacks=[SimpleNamespace(begin=begin)])
    assert moves == [fastest, torch.device("cpu")]
    assert not padded_net.training


def test_cudnn_is_exact_while_a_network_is_trained(few, padded_net):
    def flags():
        return torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32

    before, seen = flags(), []
    callback = SimpleNamespace(batch_end=lambda run: seen.append(flags()))
    fit(padded_net, few[0], epochs=1, progress=False, callbacks=[callback])
    assert (set(seen), flags()) == ({(True, False)}, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_a_gpu_brings_the_network_back_and_leaves_its_random_numbers(small, padded_net, monkeypatch):
    monkeypatch.delenv("MNISTLIB_DEVICE")
    before, augmented = torch.cuda.get_rng_state(), small.train.augmented(Augmentation(degrees=5))
    assert fit(padded_net, augmented, small.test, batch_size=50, progress=False).valid_accuracy[-1] > 0.8
    assert {p.device.type for p in padded_net.parameters()} == {"cpu"}
    here = evaluate(padded_net, small.test).logits
    torch.testing.assert_close(evaluate(padded_net.cuda(), small.test).logits, here, rtol=1e-2, atol=1e-2)
    fit(padded_net, augmented, epochs=1, batch_size=50, progress=False)
    assert {p.device.type for p in padded_net.parameters()} == {"cuda"}
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_the_device_is_that_of_the_environment(monkeypatch):
    assert train.pick_device() == torch.device("cpu")
    monkeypatch.setenv("MNISTLIB_DEVICE", "")
    torch.zeros(1, device=train.pick_device())
    monkeypatch.setenv("MNISTLIB_DEVICE", "tpu")
    with pytest.raises(ValueError, match=r"no device 'tpu' on this machine; it has .*MNISTLIB_DEVICE=auto"):
        train.pick_device()


class Gives(nn.Linear):
    """A linear network whose output is changed before it is returned."""

    def __init__(self, change):
        super().__init__(784, 10)
        self.change = change

    def forward(self, x):
        return self.change(super().forward(x.flatten(1)))


NO_COUNT = [0, -3, True, 2.0, math.nan, "3", None, [1], np.array([1, 1]), torch.tensor(1.5), torch.tensor(True)]
NO_RATE = [0, -0.1, math.nan, math.inf, True, "0.1", None, 1j, [0.1], np.array([0.1])]
REFUSED = {
    "epochs must be a whole number(, at least 1)?; got": [{"epochs": value} for value in NO_COUNT],
    "batch_size must be (1 to 200|a whole number)": [{"batch_size": value} for value in (*NO_COUNT, 201)],
    "lr(, the learning rate, must be a number above 0| must be a real number); got": [
        {"lr": value} for value in NO_RATE
    ],
    "seed must be a whole number": [{"seed": value} for value in (1.5, "x", None)],
    "loss must return one number": [{"loss": partial(F.cross_entropy, reduction="none")}, {"loss": lambda *_: 1.0}],
    r"optimizer must be .*use partial\(constant, kind=Adam\)": [{"optimizer": torch.optim.Adam}],
    r"the network must return logits \[2, 10\] for 2 images; it gave": [
        {"net": Gives(change)} for change in (lambda y: y[:1], lambda y: (y, y), lambda y: y[:, :9], lambda y: None)
    ],
    r"cannot take images of 1×28×28.*split\.resized\(32\)": [{"net": networks.build("lenet5")}],
    "cannot take images of 1×32×32": [{"valid": Split(torch.zeros(1, 1, 32, 32).byte(), torch.tensor([0]))}],
    r"net must be a network, such as mnistlib\.build": [{"net": "lenet5"}, {"net": networks.lenet5_padded}],
    r"(train|valid) must be a Split, such as mnistlib\.load": [
        {"train": torch.zeros(5, 1, 28, 28)},
        {"valid": "MNIST"},
    ],
}


@pytest.mark.parametrize("match", REFUSED)
def test_what_cannot_be_trained_with_is_one_clear_error_and_changes_nothing(match, few, padded_net):
    before, good = vector(padded_net), {"train": few[0], "epochs": 1, "batch_size": 100, "progress": False}
    for settings in REFUSED[match]:
        with pytest.raises((ValueError, TypeError), match=match):
            fit(**{"net": padded_net, **good, **settings})
        assert torch.equal(vector(padded_net), before)


@pytest.mark.parametrize("optimizer", [one_cycle, constant])
def test_divergence_is_an_error_that_names_the_learning_rate(fitted, optimizer):
    with pytest.raises(FloatingPointError, match=r"training diverged. Try a smaller learning rate \(lr\)"):
        fitted(epochs=1, batch_size=10, lr=1e30, optimizer=optimizer)


def test_many_seeds_are_a_loop_over_fit(few):
    settings = {"epochs": 1, "batch_size": 100, "progress": False}
    ensemble = fit_seeds("lenet5-padded", iter([3, 1]), *few, **settings)
    for seed, net, history, measured in zip(
        (3, 1), ensemble.nets, ensemble.histories, ensemble.evaluate(few[1]), strict=True
    ):
        alone = networks.build("lenet5-padded", seed=seed)
        assert fit(alone, *few, seed=seed, **settings).step_loss == history.step_loss
        assert torch.equal(vector(net), vector(alone))
        assert measured.accuracy == history.valid_accuracy[0]
    assert fit_seeds(lambda seed: Gives(lambda y: y), [2], few[0], **settings).seeds == [2]
    for seeds in ([], [1, 1]):
        with pytest.raises(ValueError, match="seeds must be different whole numbers, at least one"):
            fit_seeds("lenet5-padded", seeds, few[0])


WIDE = {"degrees": 40, "translate": 0.3, "scale": (0.6, 1.5), "brightness": (0.5, 1.7)}


def by_torchvision(image, amounts, mode):
    angle, right, down, scale, brightness, side = amounts.double().tolist()
    shift, mode = [image.shape[-1] * part for part in (side * right, down)], InterpolationMode(mode)
    moved = transforms.affine(image, math.degrees(angle), shift, scale, shear=[0, 0], interpolation=mode)
    moved = transforms.adjust_brightness(moved, brightness)
    return moved if side == 1 else transforms.hflip(moved)


@pytest.mark.parametrize(("mode", "tolerance"), [("nearest", 0), ("bilinear", 1e-5)])
def test_every_image_is_changed_as_torchvision_changes_it_by_the_same_amounts(mnist, mode, tolerance):
    for images in (mnist.test.images[:100] / 255, mnist.test.take(20).resized(32).images.double() / 255):
        before, augmentation = images.clone(), Augmentation(**WIDE, mode=mode, flip=0.5)
        amounts = augmentation.draw(len(images), torch.Generator().manual_seed(0))
        expected = torch.stack([by_torchvision(*pair, mode) for pair in zip(images, amounts, strict=True)])
        changed = augmentation.apply(images, amounts)
        torch.testing.assert_close(changed, expected, rtol=0, atol=tolerance)
        assert torch.equal(images, before)
        unchanged = Augmentation(mode=mode)(images, torch.Generator())
        torch.testing.assert_close(unchanged, images, rtol=0, atol=tolerance)


def test_the_amounts_fill_their_ranges_uniformly_and_independently():
    *amounts, side = Augmentation(**WIDE, flip=0.2).draw(20_000, torch.Generator().manual_seed(0)).T
    assert (side == -1).double().mean() == pytest.approx(0.2, abs=0.015)  # five standard errors
    low, high = torch.tensor([[-math.radians(40), -0.3, -0.3, 0.6, 0.5], [math.radians(40), 0.3, 0.3, 1.5, 1.7]])
    places = (torch.stack(amounts, 1) - low) / (high - low)
    assert -1e-6 < places.min() < places.max() < 1 + 1e-6
    torch.testing.assert_close(places.mean(0), torch.full((5,), 0.5), rtol=0, atol=0.01)  # five standard errors
    torch.testing.assert_close(places.std(0), torch.full((5,), 12**-0.5), rtol=0, atol=0.01)  # uniform
    assert (torch.corrcoef(places.T) - torch.eye(5)).abs().max() < 0.04


def test_a_range_that_makes_no_sense_is_named():
    factors = ((1.2, 0.8), (0, 1), (1, math.inf), (math.nan, 1))
    wrong = {"degrees": (-1, math.nan, math.inf), "translate": (-0.1, 1), "flip": (-0.1, 2)}
    wrong |= {"scale": factors, "brightness": factors}
    for name, value in [(name, value) for name, values in wrong.items() for value in values] + [("mode", "bicubic")]:
        with pytest.raises(ValueError, match=f"{name} .*got "):
            Augmentation(**{name: value})
