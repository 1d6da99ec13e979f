"""Stacked networks are trained as each would be alone."""

from contextlib import contextmanager
from unittest.mock import MagicMock

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from mnistlib import Augmentation, build, fit_seeds
from mnistlib.lab import stacked
from mnistlib.lab.callbacks import decay, softmax_cross_entropy
from mnistlib.lab.stacked import fit_stacked, memory_needed
from mnistlib.networks import NETWORKS
from mnistlib.train import constant

SEEDS = [3, 8]


@pytest.fixture(autouse=True)
def float64_on_the_cpu(monkeypatch):
    """All new numbers are float64, in which rounding shows sixteen places later."""
    monkeypatch.setenv("MNISTLIB_DEVICE", "cpu")
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def hundred(mnist):
    """100 real images: with batches of 32, the last of an epoch has 4."""
    return mnist.train.take(100)


def without_dropout(key):
    def network(seed):
        net = build(key, seed).to(torch.get_default_dtype())
        for layer in net.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        return net

    return network


def assert_the_same(network, train, valid=None, **options):
    """Within 1e-9: the sums are rounded in another order, by 1e-16, and Adam divides small gradients by their size."""
    stacked = fit_stacked(network, SEEDS, train, valid, batch_size=32, **options)
    alone = fit_seeds(network, SEEDS, train, valid, batch_size=32, progress=False, **options)
    for net, other, history, expected in zip(stacked.nets, alone.nets, stacked.histories, alone.histories, strict=True):
        vectors = [nn.utils.parameters_to_vector(each.parameters()) for each in (net, other)]
        torch.testing.assert_close(*vectors, rtol=0, atol=1e-9)
        assert history.step_loss == pytest.approx(expected.step_loss, abs=1e-9)
        assert history.train_loss == pytest.approx(expected.train_loss, abs=1e-9)
        assert (history.train_accuracy, history.valid_accuracy) == (expected.train_accuracy, expected.valid_accuracy)
        assert not net.training
    assert stacked.histories[0].step_loss != stacked.histories[1].step_loss  # each seed has images of its own


@pytest.mark.parametrize("key", ["lenet5", "lenet5-1998", "stacked-1d", "cnn-2d"])
def test_a_network_is_trained_as_it_would_be_alone(key, hundred):
    train = hundred.resized(NETWORKS[key].input_shape[-1]).augmented(Augmentation(10, 0.05, (0.9, 1.1), (0.8, 1.2)))
    assert_the_same(without_dropout(key), train, epochs=1, lr=0.001, optimizer=constant)


@pytest.mark.parametrize("loss", [F.cross_entropy, softmax_cross_entropy])
@pytest.mark.parametrize(
    "options", [{}, {"optimizer": decay(0.5, torch.optim.SGD, momentum=0.9), "lr": 0.05}], ids=["cycle", "sgd"]
)
def test_schedules_losses_and_validation_are_the_same(hundred, small, loss, options):
    assert_the_same(without_dropout("lenet5-padded"), hundred, small.test.take(60), epochs=3, loss=loss, **options)


def test_dropout_draws_new_masks_for_each_network_and_step_and_the_same_ones_next_time(hundred):
    """The same image again and again, the same weights, and nothing learned: only dropout can make losses differ."""
    same, before = hundred.take([0] * 40), torch.get_rng_state()
    options = {"epochs": 2, "batch_size": 10, "lr": 1e-12, "optimizer": constant}
    first, second = (fit_stacked(lambda _: build("small-cnn", 1).double(), [1, 2], same, **options) for _ in "ab")
    losses = [loss for history in first.histories for loss in history.step_loss]
    assert len({round(loss, 6) for loss in losses}) == 2 * 8
    assert losses == [loss for history in second.histories for loss in history.step_loss]
    assert torch.equal(torch.get_rng_state(), before)


def test_settings_that_nothing_can_be_trained_with_are_named(hundred):
    for seeds in ([], [1, 1]):
        with pytest.raises(ValueError, match="seeds must be different"):
            fit_stacked("lenet5-padded", seeds, hundred)
    with pytest.raises(ValueError, match="batch_size must be 1 to 100"):
        fit_stacked(without_dropout("lenet5-padded"), SEEDS, hundred)
    with pytest.raises(ValueError, match="cannot take images"):
        fit_stacked(without_dropout("lenet5"), SEEDS, hundred, batch_size=32)
    with pytest.raises(FloatingPointError, match="diverged"):
        fit_stacked(without_dropout("lenet5-padded"), SEEDS, hundred, batch_size=32, lr=1e300, optimizer=constant)


@pytest.mark.parametrize(("key", "seeds", "batch_size"), [("lenet5-padded", 10, 32), ("mlp", 5, 100)])
def test_the_estimated_memory_is_what_is_used_within_a_factor_of_two(hundred, key, seeds, batch_size):
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        fit_stacked(without_dropout(key), range(seeds), hundred, epochs=1, batch_size=batch_size)
    changes = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = torch.tensor([event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())]).cumsum(0)
    net = without_dropout(key)(0)
    estimate = memory_needed(net, (1, 28, 28), seeds=seeds, batch_size=batch_size)
    assert held.max() / 2 < estimate < 2 * held.max()
    assert net.training
    assert memory_needed(net.float(), (1, 28, 28), seeds=seeds, batch_size=batch_size) == estimate / 2


class StandIn:
    """For a CUDA graph: `replay` computes the step again from the same inputs, and overwrites the same outputs."""

    def __init__(self):
        self.calls = []

    def record(self, step):
        def recorded(*inputs):
            outputs = step(*inputs)
            self.calls.append((step, inputs, outputs))
            return outputs

        return recorded

    def replay(self):
        step, inputs, outputs = self.captured
        losses, correct, gradients = step(*inputs)
        for old, new in zip([*outputs[:2], *outputs[2]], [losses, correct, *gradients], strict=True):
            old.copy_(new)


def test_steps_that_are_captured_and_replayed_train_as_other_steps_do(hundred, monkeypatch):
    """What a replay overwrites must have been read or copied before; the last batch of an epoch has its own graph."""
    options = {"epochs": 3, "batch_size": 32, "lr": 0.005}
    train, plain = hundred.augmented(Augmentation(10, flip=0.5)), stacked._step_function
    expected = fit_stacked(without_dropout("lenet5-padded"), SEEDS, train, **options)
    graphs, recorder = [], StandIn()

    def new_graph():
        graphs.append(StandIn())
        return graphs[-1]

    @contextmanager
    def capture(graph):
        yield
        graph.captured = recorder.calls[-1]

    for name in ("Stream", "current_stream", "stream", "device"):
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", new_graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(stacked, "_step_function", lambda *of: stacked._captured(recorder.record(plain(*of)), "cpu"))
    found = fit_stacked(without_dropout("lenet5-padded"), SEEDS, train, **options)
    assert (len(graphs), len(recorder.calls)) == (2, 8)  # three rehearsals and a capture for each size of a batch
    assert [history.step_loss for history in found.histories] == [each.step_loss for each in expected.histories]
    for one, other in zip(found.nets, expected.nets, strict=True):
        assert all(map(torch.equal, one.parameters(), other.parameters()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("key", ["lenet5-padded", "mlp"])
def test_captured_steps_on_a_gpu_do_what_stacked_steps_do_on_the_cpu(hundred, monkeypatch, key):
    found = {}
    for device in ("cpu", "cuda"):
        monkeypatch.setenv("MNISTLIB_DEVICE", device)
        found[device] = fit_stacked(without_dropout(key), SEEDS, hundred, epochs=2, batch_size=32, lr=1e-3)
    for one, other in zip(found["cpu"].histories, found["cuda"].histories, strict=True):
        assert one.step_loss == pytest.approx(other.step_loss, abs=1e-3)
    assert {parameter.device.type for parameter in found["cuda"].nets[0].parameters()} == {"cpu"}
