"""Many seeds in one program: the same as a training for each, and refused where it would not be."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from mnistlib import ensembles, networks
from mnistlib.augmentation import Augmentation
from mnistlib.datasets import Split
from mnistlib.ensembles import Ensemble, fit_seeds, memory_needed
from mnistlib.evaluation import evaluate
from mnistlib.networks import NETWORKS
from mnistlib.training import ADAM, History, fit, softmax_cross_entropy

QUIET = {"device": "cpu", "progress": False}
AUGMENT = Augmentation(10, 0.05, (0.9, 1.1), (0.8, 1.2))
SEEDS = [3, 8]


def vector(net):
    return nn.utils.parameters_to_vector(net.parameters()).detach().cpu().clone()


def without_dropout(key):
    """A builder of a network that leaves nothing to chance in a step; with numbers as exact as the default."""

    def build(seed):
        net = networks.build(key, seed).to(torch.get_default_dtype())
        for layer in net.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        return net

    return build


def one_by_one(build, seeds, train, **options):
    """Separate calls of `fit`: the networks and their histories."""
    nets = [build(seed) for seed in seeds]
    return nets, [fit(net, train, seed=seed, **options) for seed, net in zip(seeds, nets, strict=True)]


def assert_the_same(ensemble, nets, histories, tolerance):
    for net, other in zip(ensemble.nets, nets, strict=True):
        torch.testing.assert_close(vector(net), vector(other), rtol=0, atol=tolerance)
    for history, other in zip(ensemble.histories, histories, strict=True):
        assert history.step_loss == pytest.approx(other.step_loss, abs=tolerance)
        assert history.train_loss == pytest.approx(other.train_loss, abs=tolerance)
        assert history.train_accuracy == other.train_accuracy


def untimed(history):
    return {name: numbers for name, numbers in vars(history).items() if name != "seconds"}


def assert_bit_identical(ensemble, nets, histories):
    assert all(torch.equal(vector(net), vector(other)) for net, other in zip(ensemble.nets, nets, strict=True))
    assert [untimed(history) for history in ensemble.histories] == [untimed(history) for history in histories]


@pytest.fixture
def float64():
    """All new numbers are float64, in which rounding shows sixteen places later."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def hundred(mnist):
    """100 real images: with batches of 32, the last of an epoch has 4."""
    return mnist.train.take(100)


@pytest.fixture
def no_training(monkeypatch):
    for name in ("fit", "_fit_stacked"):
        monkeypatch.setattr(ensembles, name, lambda *_, **__: pytest.fail("something was trained"))


# Together as one by one


@pytest.mark.parametrize("key", NETWORKS)
def test_every_network_stacked_is_trained_as_each_would_be_alone(key, hundred, float64):
    """Within 1e-9, where a step moves a weight by 1e-3: the sums are rounded in another order, by 1e-16, and Adam divides each
    gradient by its own size, so that a gradient near zero, as the tanh of 1998 has them, carries more of that on."""
    train = hundred.resized(NETWORKS[key].input_size[-1])
    options = {"epochs": 1, "batch_size": 32, "lr": 0.001, "schedule": None, "augment": AUGMENT, **QUIET}
    ensemble = fit_seeds(without_dropout(key), SEEDS, train, stacked=True, **options)
    assert_the_same(ensemble, *one_by_one(without_dropout(key), SEEDS, train, **options), tolerance=1e-9)
    assert (vector(ensemble.nets[0]) - vector(ensemble.nets[1])).abs().max() > 0.01  # each has a seed of its own


@pytest.mark.parametrize(
    ("optimizer", "lr"),
    [
        (ADAM, 0.01),
        (partial(torch.optim.AdamW, weight_decay=0.1), 0.01),
        (partial(torch.optim.SGD, momentum=0.9), 0.05),
        (partial(torch.optim.Adadelta, rho=0.9, eps=1e-6), 1.0),
        (torch.optim.RMSprop, 0.001),
    ],
    ids=["Adam", "AdamW", "SGD", "Adadelta", "RMSprop"],
)
@pytest.mark.parametrize("schedule", [None, 0.5, "one-cycle"])
def test_stacked_training_is_the_same_with_each_optimizer_and_schedule(hundred, float64, optimizer, lr, schedule):
    """Three epochs of four steps: enough for a cycle, which takes ten."""
    options = {"epochs": 3, "batch_size": 32, "lr": lr, "schedule": schedule, "optimizer": optimizer, **QUIET}
    ensemble = fit_seeds(tiny, SEEDS, hundred, stacked=True, **options)
    assert_the_same(ensemble, *one_by_one(tiny, SEEDS, hundred, **options), tolerance=1e-9)
    constant = fit_seeds(tiny, SEEDS, hundred, stacked=True, **{**options, "schedule": None})
    assert (ensemble.histories[0].step_loss == constant.histories[0].step_loss) == (schedule is None)


@pytest.mark.parametrize("augment", [None, AUGMENT], ids=["plain", "augmented"])
@pytest.mark.parametrize("loss", [F.cross_entropy, softmax_cross_entropy, partial(F.cross_entropy, label_smoothing=0.1)])
def test_stacked_training_is_the_same_with_each_loss_and_over_several_epochs(hundred, float64, loss, augment):
    build = without_dropout("lenet5-padded")
    options = {"epochs": 3, "batch_size": 32, "lr": 0.002, "loss": loss, "augment": augment, **QUIET}
    ensemble = fit_seeds(build, SEEDS, hundred, stacked=True, **options)
    assert_the_same(ensemble, *one_by_one(build, SEEDS, hundred, **options), tolerance=1e-9)


def test_with_float32_stacked_training_starts_as_each_would_alone(hundred):
    """Rounding grows from step to step; after eight steps it is still far below a step's size."""
    build = without_dropout("lenet5-padded")
    options = {"epochs": 2, "batch_size": 32, "lr": 0.001, "schedule": None, "augment": AUGMENT, **QUIET}
    ensemble = fit_seeds(build, SEEDS, hundred, stacked=True, **options)
    nets, histories = one_by_one(build, SEEDS, hundred, **options)
    assert ensemble.histories[1].step_loss == pytest.approx(histories[1].step_loss, abs=1e-4)
    assert (vector(ensemble.nets[1]) - vector(nets[1])).abs().mean() < 1e-5


@pytest.mark.parametrize("stacked", [False, None], ids=["told", "by default"])
def test_one_after_the_other_is_fit_bit_for_bit(small, stacked):
    """Also on a processor unless told: there, stacking would be slower."""
    train, valid = small.train.take(200), small.test.take(50)
    options = {"valid": valid, "epochs": 2, "batch_size": 64, "augment": AUGMENT, **QUIET}  # small-cnn has dropout
    ensemble = fit_seeds("small-cnn", iter(SEEDS), train, stacked=stacked, **options)
    assert_bit_identical(ensemble, *one_by_one(NETWORKS["small-cnn"].build, SEEDS, train, **options))


def test_a_single_seed_can_be_stacked(hundred, float64):
    options = {"epochs": 2, "batch_size": 32, **QUIET}
    ensemble = fit_seeds(tiny, [5], hundred, stacked=True, **options)
    assert_the_same(ensemble, *one_by_one(tiny, [5], hundred, **options), tolerance=1e-9)


# Chance


def tiny(seed):
    """A network of 12,730 weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.Tanh(), nn.Linear(16, 10))


@pytest.mark.parametrize("share", [0.5, 0.0])
def test_stacked_networks_drop_out_different_pixels_at_each_step(share):
    """The same image again and again, the same weights, and nothing learned: only the dropout can make losses differ."""
    images = torch.randint(0, 256, (1, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    same = Split(images.repeat(40, 1, 1, 1), torch.full((40,), 3))

    def build(_):
        return nn.Sequential(nn.Flatten(), nn.Dropout(share), *tiny(0)[1:])

    options = {"epochs": 2, "batch_size": 10, "lr": 1e-12, "schedule": None, "stacked": True, **QUIET}
    ensemble = fit_seeds(build, [1, 2, 3], same, **options)
    losses = {round(loss, 4) for history in ensemble.histories for loss in history.step_loss}
    assert len(losses) == (3 * 8 if share else 1)
    again = fit_seeds(build, [1, 2, 3], same, **options)
    assert again.histories[2].step_loss == ensemble.histories[2].step_loss


def test_stacked_training_can_be_repeated_and_leaves_the_callers_random_numbers_alone(hundred):
    options = {"epochs": 2, "batch_size": 32, "augment": AUGMENT, "stacked": True, **QUIET}
    before = torch.get_rng_state()
    first = fit_seeds("small-cnn", SEEDS, hundred, **options)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    second = fit_seeds("small-cnn", SEEDS, hundred, **options)
    assert_bit_identical(first, second.nets, second.histories)


def test_the_images_are_left_alone(hundred):
    before = hundred.images.clone()
    fit_seeds(tiny, SEEDS, hundred, epochs=1, stacked=True, batch_size=50, augment=AUGMENT, **QUIET)
    assert torch.equal(hundred.images, before)


# What comes back


@pytest.fixture(scope="module")
def measured(small):
    """Three seeds, two epochs, with validation; and the validation images."""
    valid = small.test.take(60)
    options = {"valid": valid, "epochs": 2, "batch_size": 50, "lr": 0.003, "stacked": True, **QUIET}
    return fit_seeds("lenet5-padded", [1, 2, 3], small.train.take(200), **options), valid


def test_validation_is_measured_for_each_network_after_each_epoch(measured):
    ensemble, valid = measured
    for net, history, evaluation in zip(ensemble.nets, ensemble.histories, ensemble.evaluate(valid), strict=True):
        assert [len(history.valid_loss), len(history.valid_accuracy), len(history.seconds)] == [2, 2, 2]
        assert history.valid_accuracy[-1] == evaluation.accuracy == evaluate(net, valid).accuracy
        assert history.valid_loss[-1] == pytest.approx(evaluation.loss)
        assert not net.training
    assert len({history.valid_loss[0] for history in ensemble.histories}) == 3


def test_validation_does_not_change_stacked_training(small):
    train, valid = small.train.take(200), small.test.take(60)
    options = {"epochs": 2, "batch_size": 64, "stacked": True, **QUIET}
    without, with_it = (fit_seeds("small-cnn", SEEDS, train, valid=each, **options) for each in (None, valid))
    assert all(torch.equal(vector(a), vector(b)) for a, b in zip(without.nets, with_it.nets, strict=True))
    assert without.histories[0].valid_loss == []


def test_the_table_has_mean_and_standard_deviation_over_the_seeds(measured):
    ensemble, _ = measured
    table = ensemble.table()
    assert list(table.index) == [1, 2]
    assert table.index.name == "epoch"
    numbers = ["train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "seconds"]
    assert list(table.columns) == [(number, word) for number in numbers for word in ("mean", "sd")]
    for number in numbers:
        values = torch.tensor([getattr(history, number) for history in ensemble.histories], dtype=torch.float64)
        assert table[number, "mean"].tolist() == pytest.approx(values.mean(0).tolist())
        assert table[number, "sd"].tolist() == pytest.approx(values.std(0).tolist())


def test_without_validation_the_table_has_no_such_columns():
    histories = [History([1.0], [accuracy], seconds=[2.0], step_loss=[1.0]) for accuracy in (0.5, 0.7)]
    table = Ensemble([1, 2], [None, None], histories).table()
    assert list(table.columns.levels[0]) == ["seconds", "train_accuracy", "train_loss"]
    assert table["train_accuracy", "mean"].tolist() == pytest.approx([0.6])


@pytest.mark.parametrize(
    ("accuracies", "valid", "words"),
    [
        ((0.9, 0.91, 0.92), True, "3 networks, 1 epoch each: accuracy on validation ≈ 91.0%, standard deviation ≈ 1.00 points"),
        ((0.9, 0.91), False, "2 networks, 1 epoch each: accuracy while training ≈ 90.5%, standard deviation ≈ 0.71 points"),
        ((0.9,), False, "1 network, 1 epoch each: accuracy while training ≈ 90.0%"),
    ],
)
def test_the_summary_says_what_was_trained_and_how_well(accuracies, valid, words):
    histories = [History([1.0], [0.1 if valid else a], [1.0] * valid, [a] * valid, [2.0], [1.0]) for a in accuracies]
    assert str(Ensemble(list(range(len(accuracies))), [None] * len(accuracies), histories)) == words


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("progress", [True, False])
def test_the_bar_can_be_turned_off(hundred, capsys, stacked, progress):
    fit_seeds(tiny, SEEDS, hundred, epochs=1, batch_size=50, stacked=stacked, device="cpu", progress=progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("2/2" in err) == progress


# What cannot be trained


def with_batchnorm(seed):
    net = networks.build("lenet5-padded", seed)
    net.conv1 = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6))
    return net


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"seeds": []}, r"seeds must be different whole numbers, at least one; got \[\]"),
        ({"seeds": [1, 2, 1]}, r"seeds must be different .* got \[1, 2, 1\]"),
        ({"builder": "lenet"}, "unknown network 'lenet'; the networks are lenet5"),
        ({"builder": "lenet5"}, r"cannot take images of 1×28×28.*split\.resized\(32\)"),
        ({"batch_size": 101}, "batch_size must be 1 to 100, the number of training images; got 101"),
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
        ({"lr": -1}, "lr, the learning rate, must be above 0; got -1"),
        ({"schedule": "cosine"}, "schedule must be None, 'one-cycle', or a factor .* got 'cosine'"),
        ({"device": "tpu"}, "no device 'tpu' on this machine"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_bad_setting_is_named_before_anything_is_trained(hundred, no_training, stacked, changed, match):
    options = {"builder": "lenet5-padded", "seeds": SEEDS, "batch_size": 50, **QUIET, **changed}
    with pytest.raises(ValueError, match=match):
        fit_seeds(train=hundred, stacked=stacked, **options)


def test_validation_images_of_a_wrong_size_are_named_before_anything_is_trained(hundred, no_training):
    with pytest.raises(ValueError, match="cannot take images of 1×32×32"):
        fit_seeds("lenet5-padded", SEEDS, hundred, valid=hundred.resized(32), stacked=True, **QUIET)


def test_layers_that_mix_the_images_of_a_batch_are_named_with_the_way_out(hundred, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ensembles, "_fit_stacked", lambda *_, **__: pytest.fail("something was trained"))
        with pytest.raises(ValueError, match=r"mix the images of a batch \(conv1\.1\) cannot be stacked; use stacked=False"):
            fit_seeds(with_batchnorm, SEEDS, hundred, batch_size=50, stacked=True, **QUIET)
    assert len(fit_seeds(with_batchnorm, SEEDS, hundred, epochs=1, batch_size=50, stacked=False, **QUIET).nets) == 2


def test_an_optimizer_that_looks_at_all_weights_together_is_named(hundred, no_training):
    with pytest.raises(ValueError, match=r"each weight by itself \(Adadelta, .*got LBFGS. Use one of these, or stacked=False"):
        fit_seeds(tiny, SEEDS, hundred, batch_size=50, optimizer=torch.optim.LBFGS, stacked=True, **QUIET)


@pytest.mark.parametrize("stacked", [True, False])
def test_divergence_is_an_error_that_names_the_learning_rate(hundred, stacked):
    with pytest.raises(FloatingPointError, match=r"diverged. Try a smaller learning rate \(lr\)"):
        fit_seeds("lenet5-padded", SEEDS, hundred, epochs=1, batch_size=10, lr=1e30, schedule=None, stacked=stacked, **QUIET)


# Memory


def most_allocated(work):
    """The most bytes that PyTorch held at once while ``work`` ran, above what it held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    changes = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    held, most = 0, 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        held += change.nbytes()
        most = max(most, held)
    return most


@pytest.mark.parametrize(
    ("key", "seeds", "batch_size"),
    [("lenet5-padded", 5, 128), ("lenet5-padded", 10, 32), ("mlp", 5, 128), ("mlp", 10, 32), ("lenet5-1998", 4, 64)],
)
def test_the_memory_that_is_foretold_is_what_is_used_within_a_factor_of_two(small, key, seeds, batch_size):
    network = NETWORKS[key]
    train = small.train.take(128).resized(network.input_size[-1])
    options = {"epochs": 1, "batch_size": batch_size, "stacked": True, **QUIET}
    used = most_allocated(lambda: fit_seeds(key, range(seeds), train, **options))
    foretold = memory_needed(network.build(0), network.input_size, seeds=seeds, batch_size=batch_size)
    assert used / 2 < foretold < 2 * used


def test_memory_grows_with_the_seeds_the_batch_and_the_size_of_a_number():
    net = networks.build("small-cnn", 0)
    one = memory_needed(net, (1, 28, 28), seeds=1, batch_size=32)
    assert memory_needed(net, (1, 28, 28), seeds=7, batch_size=32) == 7 * one
    assert one < memory_needed(net, (1, 28, 28), seeds=1, batch_size=64) < 2 * one
    assert memory_needed(net.double(), (1, 28, 28), seeds=1, batch_size=32) == 2 * one
    assert net.training
    assert not any(layer._forward_hooks for layer in net.modules())


def test_too_little_memory_is_named_before_anything_is_trained(hundred, monkeypatch, no_training):
    monkeypatch.setattr(ensembles, "free_memory", lambda device: 10_000_000)
    with pytest.raises(MemoryError, match=r"20 networks at once need about 0\.\d GB, and cpu has 0\.0 GB free. Give fewer seeds"):
        fit_seeds("lenet5-padded", range(20), hundred, batch_size=100, stacked=True, **QUIET)


def test_one_after_the_other_needs_no_such_memory(hundred, monkeypatch):
    monkeypatch.setattr(ensembles, "free_memory", lambda device: 10_000_000)
    assert len(fit_seeds(tiny, range(20), hundred, epochs=1, batch_size=100, stacked=False, **QUIET).nets) == 20


def test_where_free_memory_cannot_be_asked_training_is_tried(hundred, monkeypatch):
    monkeypatch.setattr(ensembles, "free_memory", lambda device: None)
    assert len(fit_seeds(tiny, SEEDS, hundred, epochs=1, batch_size=50, stacked=True, **QUIET).nets) == 2


def test_memory_that_runs_out_in_training_is_a_memory_error(hundred, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(ensembles, "_fit_stacked", full)
    with pytest.raises(MemoryError, match=r"cpu ran out of memory with 2 networks at once\. Give fewer seeds at once"):
        fit_seeds(tiny, SEEDS, hundred, batch_size=50, stacked=True, **QUIET)


def test_the_free_memory_of_this_machine_is_below_what_it_has():
    free = ensembles.free_memory(torch.device("cpu"))
    assert free is None or 10**7 < free < 10**14


# Checkpoints


class Killed(BaseException):
    """What stops a training in these tests."""


@pytest.fixture
def stopped(monkeypatch):
    """A function that trains with `fit_seeds` until near the end of an epoch (from 1), which is not recorded any more."""

    def stopped(epoch, *arguments, **options):
        real, calls = ensembles.record_epoch, []

        def stop(*numbers):
            calls.append(1)
            if len(calls) > len(SEEDS) * (epoch - 1):
                raise Killed
            return real(*numbers)

        with monkeypatch.context() as patch:
            patch.setattr(ensembles, "record_epoch", stop)
            with pytest.raises(Killed):
                fit_seeds(*arguments, **options)

    return stopped


@pytest.mark.parametrize("key", ["lenet5-padded", "small-cnn"])  # the second has dropout
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_stacked_training_that_was_stopped_goes_on_and_ends_with_the_same_bits(small, tmp_path, stopped, key, epoch):
    train, valid = small.train.take(100), small.test.take(30)
    options = {"valid": valid, "epochs": 3, "batch_size": 32, "augment": AUGMENT, "stacked": True, **QUIET}
    whole = fit_seeds(key, SEEDS, train, **options)
    path = tmp_path / "ensemble.pt"
    stopped(epoch, key, SEEDS, train, checkpoint=path, **options)
    assert path.exists() == (epoch > 1)
    resumed = fit_seeds(key, SEEDS, train, checkpoint=path, **options)
    assert_bit_identical(resumed, whole.nets, whole.histories)


@pytest.mark.parametrize("stacked", [True, False])
def test_what_is_finished_is_not_done_again(hundred, tmp_path, monkeypatch, stacked):
    options = {"epochs": 2, "batch_size": 50, "stacked": stacked, "checkpoint": tmp_path / "ensemble.pt", **QUIET}
    first = fit_seeds(tiny, SEEDS, hundred, **options)
    for module in (ensembles, ensembles.fit.__globals__):
        where = module if isinstance(module, dict) else vars(module)
        monkeypatch.setitem(where, "record_epoch", lambda *_: pytest.fail("an epoch was trained"))
    second = fit_seeds(tiny, SEEDS, hundred, **options)
    assert_bit_identical(second, first.nets, first.histories)
    assert [history.seconds for history in second.histories] == [history.seconds for history in first.histories]


def test_each_seed_of_its_own_has_a_file_of_its_own_beside_the_name(hundred, tmp_path):
    folder = tmp_path / "version 1.5"
    for name in ("net", "net.pt", "net.v2.pt"):
        options = {"epochs": 1, "batch_size": 50, "checkpoint": folder / name, "stacked": False, **QUIET}
        fit_seeds(tiny, SEEDS, hundred, **options)
    files = {"net.seed-3", "net.seed-8", "net.seed-3.pt", "net.seed-8.pt", "net.v2.seed-3.pt", "net.v2.seed-8.pt"}
    assert {path.name for path in folder.iterdir()} == files
    assert [path.name for path in tmp_path.iterdir()] == ["version 1.5"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"seeds": [3, 9]}, r"seed: \[3, 8\], now \[3, 9\]"), ({"lr": 0.02}, "lr: 0.01, now 0.02")],
    ids=["seeds", "lr"],
)
def test_the_checkpoint_of_another_training_is_refused(hundred, tmp_path, changed, words):
    options = {"seeds": SEEDS, "epochs": 1, "batch_size": 50, "checkpoint": tmp_path / "a.pt", "stacked": True, **QUIET}
    fit_seeds(tiny, train=hundred, **options)
    before = (tmp_path / "a.pt").read_bytes()
    with pytest.raises(ValueError, match=f"holds another training .*{words}"):
        fit_seeds(tiny, train=hundred, **{**options, **changed})
    assert (tmp_path / "a.pt").read_bytes() == before


def test_the_checkpoint_of_a_single_training_is_not_that_of_stacked_networks(hundred, tmp_path):
    options = {"epochs": 1, "batch_size": 50, "checkpoint": tmp_path / "a.pt", **QUIET}
    fit(tiny(3), hundred, seed=3, **options)
    with pytest.raises(ValueError, match="holds another training"):
        fit_seeds(tiny, [3], hundred, stacked=True, **options)


# On a GPU

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@gpu
@pytest.mark.parametrize("key", ["lenet5-padded", "lenet5-1998", "mlp", "multi-tower"])
def test_captured_steps_on_the_gpu_do_what_stacked_steps_do_on_the_processor(hundred, key):
    """Two epochs, so that the graphs of the whole batch and of the smaller last one are replayed too."""
    train = hundred.resized(NETWORKS[key].input_size[-1])
    options = {"epochs": 2, "batch_size": 32, "lr": 1e-3, "schedule": None, "augment": AUGMENT, "progress": False}
    gpu, cpu = (
        fit_seeds(without_dropout(key), SEEDS, train, stacked=True, device=device, **options) for device in ("cuda", "cpu")
    )
    assert {parameter.device.type for parameter in gpu.nets[0].parameters()} == {"cuda"}
    for ours, theirs in zip(gpu.nets, cpu.nets, strict=True):
        assert (vector(ours) - vector(theirs)).abs().mean() < 1e-3 / 2  # of eight steps of up to 1e-3 each
    for ours, theirs in zip(gpu.histories, cpu.histories, strict=True):
        assert ours.step_loss == pytest.approx(theirs.step_loss, abs=1e-3)


@gpu
def test_networks_are_stacked_on_the_gpu_unless_told(hundred, monkeypatch):
    monkeypatch.setattr(ensembles, "fit", lambda *_, **__: pytest.fail("one after the other"))
    assert len(fit_seeds("lenet5-padded", SEEDS, hundred, epochs=1, batch_size=32, device="cuda", progress=False).nets) == 2


@gpu
def test_a_captured_step_draws_new_dropout_masks_each_time():
    images = torch.randint(0, 256, (1, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    same = Split(images.repeat(40, 1, 1, 1), torch.full((40,), 3))

    def build(_):
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), *tiny(0)[1:])

    options = {"epochs": 2, "batch_size": 10, "lr": 1e-12, "schedule": None, "device": "cuda", "progress": False}
    ensemble = fit_seeds(build, [1, 2, 3], same, **options)
    assert len({round(loss, 4) for history in ensemble.histories for loss in history.step_loss}) == 3 * 8


@gpu
def test_captured_training_that_was_stopped_goes_on_with_the_same_dropout(hundred, tmp_path, stopped):
    options = {"epochs": 3, "batch_size": 32, "augment": AUGMENT, "device": "cuda", "progress": False}
    whole = fit_seeds("small-cnn", SEEDS, hundred, **options)
    stopped(2, "small-cnn", SEEDS, hundred, checkpoint=tmp_path / "a.pt", **options)
    resumed = fit_seeds("small-cnn", SEEDS, hundred, checkpoint=tmp_path / "a.pt", **options)
    for history, other in zip(resumed.histories, whole.histories, strict=True):
        assert history.step_loss == pytest.approx(other.step_loss, abs=1e-2)  # another mask would move it ten times as far
