"""Training one network: it learns, it can be repeated, and bad settings change nothing."""

import random
import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mnistlib import networks, training
from mnistlib.datasets import Split
from mnistlib.evaluation import evaluate
from mnistlib.training import History, fit, pick_device

QUIET = {"device": "cpu", "progress": False}


def vector(net):
    return nn.utils.parameters_to_vector(net.parameters()).detach().clone()


@pytest.fixture
def few(small):
    """200 real images, 50 for validation."""
    return small.train.take(200), small.test.take(50)


@pytest.fixture
def steps():
    """The options (learning rate and others) of every step that any optimizer takes."""
    seen = []
    handle = register_optimizer_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0] | {"params": None}))
    yield seen
    handle.remove()


class Recorder(nn.Module):
    """A linear network that remembers the first pixel of each image it is trained on."""

    def __init__(self, pixels):
        super().__init__()
        self.linear, self.seen = nn.Linear(pixels, 10), []

    def forward(self, x):
        if self.training:
            self.seen += (x[:, 0, 0, 0] * 255).round().int().tolist()
        return self.linear(x.flatten(1))


def numbered_split(count):
    """Each image's one pixel holds its number."""
    return Split(torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1), torch.arange(count) % 10)


# It learns


def test_two_epochs_on_2000_images_read_most_of_1000_others(small, padded_net):
    history = fit(padded_net, small.train, valid=small.test, epochs=2, batch_size=50, seed=0, **QUIET)
    assert history.train_loss[1] < 0.6 * history.train_loss[0]
    assert history.train_accuracy[1] > history.train_accuracy[0]
    assert history.valid_accuracy[-1] > 0.8  # measured: 0.90; guessing: 0.1
    measured = evaluate(padded_net, small.test)
    assert measured.accuracy == pytest.approx(history.valid_accuracy[-1])
    assert measured.loss == pytest.approx(history.valid_loss[-1])


@pytest.mark.parametrize("key", ["lenet5-1998", "small-cnn", "mlp", "stacked-2d-published"])
def test_other_networks_learn_too(key, small):
    network = networks.find(key)
    train = small.train if network.input_size[-1] == 28 else small.train.resized(32)
    history = fit(network.build(0), train, epochs=2, batch_size=50, lr=0.005, **QUIET)
    assert history.train_loss[1] < 0.8 * history.train_loss[0]


def test_the_network_ends_in_evaluation_mode_and_on_the_device(few, padded_net):
    fit(padded_net, few[0], epochs=1, **QUIET)
    assert not any(module.training for module in padded_net.modules())
    assert {p.device.type for p in padded_net.parameters()} == {"cpu"}


def test_a_frozen_layer_stays(few, padded_net):
    padded_net.conv1.requires_grad_(False)
    before = padded_net.conv1.weight.clone()
    fit(padded_net, few[0], epochs=1, batch_size=50, **QUIET)
    assert torch.equal(padded_net.conv1.weight, before)


def test_the_images_are_left_alone(few, padded_net):
    before = few[0].images.clone()
    fit(padded_net, few[0], epochs=1, **QUIET)
    assert torch.equal(few[0].images, before)


# It can be repeated


@pytest.mark.parametrize("key", ["lenet5-padded", "small-cnn"])  # the second has dropout
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(key, few):
    trained = []
    for seed in (1, 1, 2):
        net = networks.build(key, seed=0)
        history = fit(net, few[0], valid=few[1], epochs=2, batch_size=32, seed=seed, **QUIET)
        trained.append((vector(net), history.step_loss, history.valid_loss))
        torch.rand(7)  # the caller's own random numbers have no part in it
    assert torch.equal(trained[0][0], trained[1][0])
    assert trained[0][1:] == trained[1][1:]
    assert not torch.equal(trained[0][0], trained[2][0])


def test_validation_does_not_change_the_training(few):
    trained = []
    for valid in (None, few[1]):
        net = networks.build("small-cnn", seed=0)
        fit(net, few[0], valid=valid, epochs=2, batch_size=32, seed=1, **QUIET)
        trained.append(vector(net))
    assert torch.equal(*trained)


def test_the_callers_random_numbers_are_left_alone(few):
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    fit(networks.build("small-cnn", seed=0), few[0], epochs=1, **QUIET)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


def test_each_epoch_visits_every_image_once_in_a_new_order_on_the_cpu_too():
    net = Recorder(1)
    fit(net, numbered_split(100), epochs=3, batch_size=30, **QUIET)
    epochs = [net.seen[start : start + 100] for start in range(0, 300, 100)]
    assert len(net.seen) == 300
    assert all(sorted(epoch) == list(range(100)) for epoch in epochs)
    orders = [*epochs, list(range(100))]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])


# The learning rate


@pytest.mark.parametrize("optimizer", [{}, {"optimizer": torch.optim.Adadelta}], ids=["Adam", "Adadelta"])
def test_one_cycle_rises_for_30_percent_to_the_peak_and_falls_to_almost_nothing(few, steps, optimizer):
    fit(networks.build("lenet5-padded", seed=0), few[0], epochs=5, batch_size=10, lr=0.01, **optimizer, **QUIET)
    rates = [step["lr"] for step in steps]
    assert len(rates) == 100
    assert max(rates) == pytest.approx(0.01)
    assert rates.index(max(rates)) in (28, 29, 30)
    assert rates[0] < 0.1 * max(rates)
    assert rates[-1] < 1e-4 * max(rates)
    peak = rates.index(max(rates))
    assert rates == sorted(rates[:peak]) + sorted(rates[peak:], reverse=True)


def test_one_cycle_moves_adams_beta1_against_the_rate(few, steps):
    fit(networks.build("lenet5-padded", seed=0), few[0], epochs=5, batch_size=10, lr=0.01, **QUIET)
    betas = [step["betas"][0] for step in steps]
    assert (betas[0], min(betas), betas[-1]) == pytest.approx((0.95, 0.85, 0.95))
    assert betas.index(min(betas)) == [step["lr"] for step in steps].index(max(step["lr"] for step in steps))


def test_without_a_schedule_the_rate_is_constant(few, steps):
    fit(networks.build("lenet5-padded", seed=0), few[0], epochs=2, batch_size=50, lr=0.003, schedule=None, **QUIET)
    assert [step["lr"] for step in steps] == [0.003] * 8


def test_training_of_a_single_step_learns_something(few, padded_net):
    """A cycle of one step must not consist of its almost-nothing end."""
    before = vector(padded_net)
    fit(padded_net, few[0], epochs=1, batch_size=200, lr=0.01, **QUIET)
    assert (vector(padded_net) - before).abs().max() > 1e-4


# The optimizer


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(torch.optim.Adadelta, rho=0.8, eps=1e-5),
        partial(torch.optim.SGD, momentum=0.9),
        lambda parameters, lr: torch.optim.Adam(parameters, lr, betas=(0.8, 0.9)),
    ],
    ids=["Adadelta", "SGD", "Adam"],
)
def test_an_optimizer_gives_what_a_loop_written_by_hand_gives(few, optimizer):
    fitted, by_hand = networks.build("lenet5-padded", seed=0), networks.build("lenet5-padded", seed=0)
    history = fit(fitted, few[0], epochs=2, batch_size=64, lr=0.02, schedule=None, seed=3, optimizer=optimizer, **QUIET)
    by_hand.to(memory_format=torch.channels_last)  # as fit does it: in another layout, sums are rounded in another order
    optimizer, order, losses = optimizer(by_hand.parameters(), lr=0.02), torch.Generator().manual_seed(3), []
    for _ in range(2):
        for images, labels in few[0].batches(64, order):
            optimizer.zero_grad()
            loss = F.cross_entropy(by_hand(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    by_hand.to(memory_format=torch.contiguous_format)
    assert torch.equal(vector(fitted), vector(by_hand))
    assert history.step_loss == losses


def test_the_optimizer_is_adam_unless_told(few):
    trained = [networks.build("lenet5-padded", seed=0) for _ in range(2)]
    fit(trained[0], few[0], epochs=1, batch_size=50, lr=0.002, **QUIET)
    fit(trained[1], few[0], epochs=1, batch_size=50, lr=0.002, optimizer=partial(torch.optim.Adam, fused=True), **QUIET)
    assert torch.equal(*map(vector, trained))


def test_one_cycle_with_adadelta_learns_and_leaves_its_own_options_alone(few, steps):
    optimizer = partial(torch.optim.Adadelta, rho=0.95, eps=1e-7)
    history = fit(networks.build("mlp", seed=0), few[0], epochs=8, batch_size=20, lr=1.0, optimizer=optimizer, **QUIET)
    assert history.train_loss[-1] < 0.8 * history.train_loss[0]
    assert {(step["rho"], step["eps"]) for step in steps} == {(0.95, 1e-7)}
    assert len({step["lr"] for step in steps}) > 70


# Patience


@pytest.fixture
def valid_losses(monkeypatch):
    """A function that decides which validation losses `fit` will measure, one an epoch."""

    def script(*losses):
        rest = iter(losses)
        monkeypatch.setattr(training, "evaluate", lambda net, split: SimpleNamespace(loss=next(rest), accuracy=0.5))

    return script


@pytest.mark.parametrize(
    ("losses", "patience", "epochs"),
    [
        ([3, 4, 1], 1, 2),
        ([3, 4, 1, 2, 2, 2], 2, 5),
        ([3, 2, 2.5, 2.4, 1, 1, 1, 1, 1, 1, 1], 3, 8),  # as low as before is not lower
        ([5, 4, 3, 2, 1], 1, 5),  # as many as there are
        ([1, 2, 0.9, 2, 0.8, 2, 0.7], 2, 7),  # never two in a row
        ([1, 5, 4, 3, 2, 1.5], 5, 6),  # the lowest counts, not the one before
    ],
)
def test_training_ends_after_so_many_epochs_in_a_row_without_a_lower_validation_loss(few, valid_losses, losses, patience, epochs):
    valid_losses(*losses)
    net, most = networks.build("mlp", seed=0), len(losses)
    history = fit(net, few[0], valid=few[1], epochs=most, batch_size=200, schedule=None, patience=patience, **QUIET)
    assert history.valid_loss == losses[:epochs]
    columns = ["train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "seconds", "step_loss"]
    assert [len(getattr(history, column)) for column in columns] == [epochs] * 6


def by_the_rule(losses, patience):
    """After how many epochs training must have ended."""
    best, waited = float("inf"), 0
    for epoch, loss in enumerate(losses, start=1):
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited == patience:
            return epoch
    return None


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_real_training_ends_by_the_rule_and_keeps_the_weights_of_the_last_epoch(few, patience):
    stopped, counted = networks.build("mlp", seed=0), networks.build("mlp", seed=0)
    options = {"valid": few[1], "batch_size": 40, "lr": 0.003, "schedule": None, "seed": 1, **QUIET}
    history = fit(stopped, few[0], epochs=60, patience=patience, **options)
    epochs = len(history.seconds)
    assert epochs == by_the_rule(history.valid_loss, patience)
    assert not stopped.training
    assert fit(counted, few[0], epochs=epochs, **options).valid_loss == history.valid_loss
    assert torch.equal(vector(stopped), vector(counted))


def test_patience_that_is_never_lost_changes_nothing(few):
    nets = [networks.build("small-cnn", seed=0) for _ in range(2)]
    for net, patience in zip(nets, (None, 3), strict=True):
        fit(net, few[0], valid=few[1], epochs=3, batch_size=50, schedule=None, patience=patience, **QUIET)
    assert torch.equal(*map(vector, nets))


def test_without_patience_all_epochs_are_trained(few, valid_losses):
    valid_losses(1, 2, 3, 4, 5)
    history = fit(networks.build("mlp", seed=0), few[0], valid=few[1], epochs=5, batch_size=200, schedule=None, **QUIET)
    assert history.valid_loss == [1, 2, 3, 4, 5]


def test_the_bar_of_a_training_that_ended_early_is_full(few, valid_losses, capsys):
    valid_losses(1, 2, 3)
    net = networks.build("mlp", seed=0)
    fit(net, few[0], valid=few[1], epochs=9, batch_size=100, schedule=None, patience=2, device="cpu")
    assert "6/6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"valid": None, "schedule": None, "patience": 1}, "got 1 with no validation split and schedule=None"),
        ({"schedule": None, "patience": 0}, "got 0 with a validation split and schedule=None"),
        ({"schedule": None, "patience": -2}, "got -2 with a validation split and schedule=None"),
        ({"patience": 2}, "got 2 with a validation split and schedule='one-cycle'"),
    ],
    ids=["no validation", "none", "negative", "schedule"],
)
def test_patience_that_cannot_be_had_is_refused_and_nothing_changes(few, padded_net, settings, words):
    before = vector(padded_net)
    with pytest.raises(ValueError, match="patience must be at least 1, and needs a validation split") as caught:
        fit(padded_net, few[0], **{"valid": few[1], **QUIET, **settings})
    assert words in str(caught.value)
    assert torch.equal(vector(padded_net), before)
    assert padded_net.training


# What is recorded


def test_the_history_has_a_number_an_epoch_and_a_loss_a_step(few, padded_net):
    history = fit(padded_net, few[0], valid=few[1], epochs=3, batch_size=64, **QUIET)
    assert len(history.step_loss) == 3 * 4  # 64 + 64 + 64 + 8 images
    columns = ["train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "seconds"]
    assert [len(getattr(history, column)) for column in columns] == [3] * 5
    assert all(0 <= accuracy <= 1 for accuracy in history.train_accuracy + history.valid_accuracy)
    table = history.table()
    assert list(table.columns) == columns
    assert list(table.index) == [1, 2, 3]
    assert table.index.name == "epoch"
    assert table["valid_loss"].tolist() == history.valid_loss


def test_without_validation_the_table_has_no_such_columns(few, padded_net):
    history = fit(padded_net, few[0], epochs=1, **QUIET)
    assert list(history.table().columns) == ["train_loss", "train_accuracy", "seconds"]
    assert history.valid_loss == history.valid_accuracy == []


def test_the_training_loss_weighs_each_image_the_same(few, padded_net):
    """200 images in batches of 64 leave 8 for the last, which must not count as much as a whole batch."""
    before = evaluate(padded_net, few[0])
    history = fit(padded_net, few[0], epochs=1, batch_size=64, lr=1e-12, schedule=None, **QUIET)
    assert history.train_loss[0] == pytest.approx(before.loss, rel=1e-5)
    assert history.train_accuracy[0] == pytest.approx(before.accuracy)
    assert np.mean(history.step_loss) != pytest.approx(before.loss, rel=1e-5)


def test_the_summary_says_epochs_steps_and_accuracies():
    history = History([0.5], [0.876], [0.4], [0.912], [1.4], [0.1] * 1200)
    words = str(history)
    assert re.match(r"1 epoch, 1,200 steps", words)
    assert "87.6" in words
    assert "91.2" in words
    assert "2 epochs" in str(History([1, 1], [0, 0], [], [], [1, 1], [1]))
    assert "validation" not in str(History([1], [0.5], [], [], [1], [1]))


@pytest.mark.parametrize("progress", [True, False])
def test_the_bar_can_be_turned_off(few, padded_net, capsys, progress):
    fit(padded_net, few[0], valid=few[1], epochs=1, device="cpu", progress=progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("2/2" in err) == progress


# Settings that cannot be trained with


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
        ({"epochs": -3}, "epochs must be at least 1; got -3"),
        ({"batch_size": 0}, "batch_size must be 1 to 200, the number of training images; got 0"),
        ({"batch_size": 201}, "batch_size must be 1 to 200, the number of training images; got 201"),
        ({"lr": 0}, "lr, the learning rate, must be above 0; got 0"),
        ({"lr": -0.1}, "lr, the learning rate, must be above 0; got -0.1"),
        ({"lr": float("nan")}, "lr, the learning rate, must be above 0; got nan"),
        ({"schedule": "cosine"}, "schedule must be None, 'one-cycle', or a factor above 0 and at most 1; got 'cosine'"),
        ({"schedule": 0}, "schedule must be .* a factor above 0 and at most 1; got 0"),
        ({"schedule": 1.5}, "schedule must be .* a factor above 0 and at most 1; got 1.5"),
        ({"device": "tpu"}, "no device 'tpu' on this machine; it has .*cpu.*device='auto'"),
        ({"device": ""}, "no device '' on this machine"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_bad_setting_is_named_and_nothing_changes(few, padded_net, settings, match):
    before = vector(padded_net)
    with pytest.raises(ValueError, match=match):
        fit(padded_net, few[0], **{**QUIET, **settings})
    assert torch.equal(vector(padded_net), before)
    assert padded_net.training


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no device 'cuda' on this machine; it has"):
        pick_device("cuda")


@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_devices_that_are_there(name):
    assert pick_device(name).type == ("cpu" if name == "cpu" else pick_device().type)
    torch.zeros(1, device=pick_device(name))


def test_images_of_a_wrong_size_are_named_with_the_remedy_and_nothing_changes(few):
    net = networks.build("lenet5", seed=0)
    before = vector(net)
    with pytest.raises(ValueError, match=r"cannot take images of 1×28×28.*split\.resized\(32\)"):
        fit(net, few[0], **QUIET)
    assert torch.equal(vector(net), before)


def test_an_empty_split_is_called_empty(few, padded_net):
    before = vector(padded_net)
    with pytest.raises(ValueError, match="no images"):
        fit(padded_net, few[0].take(0), **QUIET)
    assert torch.equal(vector(padded_net), before)


@pytest.mark.parametrize("wrong", ["size", "empty"])
def test_validation_images_that_do_not_fit_are_refused_before_the_first_step(few, padded_net, wrong):
    train, valid = few
    before = vector(padded_net)
    with pytest.raises(ValueError, match="cannot take images of 1×32×32" if wrong == "size" else "no images"):
        fit(padded_net, train, valid=valid.resized(32) if wrong == "size" else valid.take(0), **QUIET)
    assert torch.equal(vector(padded_net), before)


@pytest.mark.parametrize("schedule", [None, "one-cycle"])
def test_divergence_is_an_error_that_names_the_learning_rate(few, padded_net, schedule):
    with pytest.raises(FloatingPointError, match=r"diverged. Try a smaller learning rate \(lr\)"):
        fit(padded_net, few[0], epochs=1, batch_size=10, lr=1e30, schedule=schedule, **QUIET)


# On a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_the_gpu_learns_and_leaves_its_random_numbers_alone(small, padded_net):
    before = torch.cuda.get_rng_state()
    history = fit(padded_net, small.train, valid=small.test, epochs=2, batch_size=50, progress=False)
    assert history.valid_accuracy[-1] > 0.8
    assert {p.device.type for p in padded_net.parameters()} == {"cuda"}
    assert torch.equal(torch.cuda.get_rng_state(), before)
