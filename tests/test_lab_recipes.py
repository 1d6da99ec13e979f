"""Recipes validate once, describe themselves in plain values, and train what they say."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mnistlib import Augmentation
from mnistlib.data import CLASSES, ImageDataset
from mnistlib.lab import SOURCES, Recipe, modern, plain, published
from mnistlib.lab.callbacks import softmax_cross_entropy
from mnistlib.lab.sources import PUBLISHED
from mnistlib.networks import NETWORKS, build
from mnistlib.train import fit

RICH = Recipe(
    "small-cnn", epochs=2, augmentation=Augmentation(10, 0.05), patience=1, averaging=0.9, schedule=0.5, valid=60
)


@pytest.fixture(scope="module")
def few(mnist):
    return ImageDataset("MNIST", mnist.train.take(160), mnist.test.take(40))


@pytest.mark.parametrize(
    "values",
    [
        {"network": "lenet"},
        *(
            {name: value}
            for name in ("epochs", "batch_size", "patience")
            for value in (0, -1, 1.5, True, "5", math.nan)
        ),
        *({"valid": value} for value in (-1, 0.5, False, None)),
        *({"lr": value} for value in (0, -1, math.nan, math.inf, True, "x", None)),
        *({"schedule": value} for value in (0, 1.5, "cosine", None, True)),
        *({"averaging": value} for value in (0, 1, math.nan, True)),
        *({"label_smoothing": value} for value in (-0.1, 1, None)),
        {"optimizer": "lion"},
        {"optimizer": ["adam"]},
        {"loss": F.cross_entropy},
        {"initialisation": "jax"},
        {"augmentation": {"degrees": 10}},
        {"dataset": 3},
        {"patience": 2, "valid": 0},
        {"loss": "softmax-cross-entropy", "label_smoothing": 0.1},
    ],
    ids=lambda values: re.sub(r" at 0x\w+", "", str(values)),
)
def test_a_value_that_makes_no_sense_is_refused_by_name(values):
    wanted = f"{re.escape(next(iter(values)))}|unknown network|label_smoothing"
    with pytest.raises((ValueError, TypeError), match=wanted):
        Recipe(**{"network": "lenet5", **values})


def test_numbers_of_numpy_are_pythons_afterwards():
    whole, real = (Recipe("mlp", lr=lr, label_smoothing=none) for lr, none in ((1, 0), (1.0, 0.0)))
    assert whole.key(0) == real.key(0)
    recipe = Recipe(
        "mlp", epochs=np.int64(3), lr=np.float32(0.5), schedule=np.float64(0.5), valid=np.int32(10), patience=np.int8(2)
    )
    assert recipe == Recipe("mlp", epochs=3, lr=0.5, schedule=0.5, valid=10, patience=2)
    assert {type(value) for value in recipe.to_dict().values()} <= {str, int, float, type(None)}
    assert recipe.key(np.int64(1)) == recipe.key(1)


@pytest.mark.parametrize(
    "recipe", [RICH, published(), modern("KMNIST"), plain("mlp"), *(s.recipe for s in SOURCES.values())]
)
def test_a_recipe_survives_json_and_its_key_with_it(recipe):
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert again.key(1) == recipe.key(1)


def test_unknown_fields_are_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Recipe.from_dict({"network": "mlp", "colour": 1})


def test_numbers_of_an_augmentation_are_floats_however_they_were_written():
    plain = Recipe("mlp", augmentation=Augmentation(10.0, 0.0, (0.5, 1.0)))
    for other in (Augmentation(10, 0, (0.5, 1)), Augmentation(np.float32(10), np.int64(0), np.array([0.5, 1]))):
        recipe = Recipe("mlp", augmentation=other)
        assert (recipe, recipe.to_dict(), recipe.key(0)) == (plain, plain.to_dict(), plain.key(0))
        assert hash(recipe) == hash(plain)


def test_the_key_tells_recipes_seeds_and_networks_apart(monkeypatch):
    others = [
        {"lr": 0.02},
        {"epochs": 6},
        {"network": "stacked-1d"},
        {"split_seed": 1},
        {"augmentation": Augmentation(1)},
    ]
    keys = {dataclasses.replace(plain("cnn-1d"), **other).key(seed) for other in [{}, *others] for seed in (0, 1)}
    assert len(keys) == 12
    assert all(re.fullmatch("[0-9a-f]{16}", key) for key in keys)
    build_it = NETWORKS["cnn-1d"].builder

    def other_dropout():
        net = build_it()
        net.head_dropout2.p = 0.5
        return net

    changed = dataclasses.replace(NETWORKS["cnn-1d"], builder=other_dropout)
    monkeypatch.setitem(NETWORKS, "cnn-1d", changed)
    assert plain("cnn-1d").key(0) not in keys
    assert dataclasses.replace(modern(), augmentation=Augmentation(10.0, 0.07, (0.9, 1.1))).key(0) == modern().key(0)


def test_a_recipe_trains_what_fit_trains_with_its_settings(few):
    recipe = Recipe(
        "lenet5", epochs=2, batch_size=20, lr=0.005, valid=60, split_seed=None, augmentation=Augmentation(5)
    )
    net, history = recipe.train(7, few)
    train, valid = few.train.resized(32).split(100, 60, seed=7)
    expected = build("lenet5", 7)
    numbers = fit(
        expected, train.augmented(Augmentation(5)), valid, epochs=2, batch_size=20, lr=0.005, seed=7, progress=False
    )
    assert all(torch.equal(tensor, expected.state_dict()[name]) for name, tensor in net.state_dict().items())
    assert history.step_loss == numbers.step_loss
    assert history.valid_loss == numbers.valid_loss


@pytest.mark.parametrize(
    ("options", "kind", "defaults"),
    [
        ({"optimizer": "adam"}, "Adam", {"eps": 1e-8, "fused": True}),
        ({"optimizer": "keras-adam"}, "Adam", {"eps": 1e-7}),
        ({"optimizer": "keras-adadelta", "lr": 1.0}, "Adadelta", {"rho": 0.95, "eps": 1e-7}),
        ({"optimizer": "sgd"}, "SGD", {"momentum": 0.9}),
        ({"optimizer": "adamw"}, "AdamW", {}),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("schedule", "scheduler"), [("one-cycle", "OneCycleLR"), ("constant", "NoneType"), (0.5, "LambdaLR")]
)
def test_optimizer_and_schedule_are_those_named(options, kind, defaults, schedule, scheduler):
    recipe = Recipe("mlp", schedule=schedule, **options)
    optimizer, found = recipe.settings()["optimizer"](build("mlp", 0).parameters(), recipe.lr, 40, 10)
    assert (type(optimizer).__name__, type(found).__name__) == (kind, scheduler)
    assert {**optimizer.defaults, **defaults} == optimizer.defaults
    assert optimizer.defaults["lr"] == recipe.lr


def test_losses_and_initialisation_are_those_named():
    logits, labels = torch.randn(5, 10), torch.arange(5)
    smoothed = Recipe("mlp", label_smoothing=0.1).settings()["loss"]
    assert smoothed(logits, labels) == F.cross_entropy(logits, labels, label_smoothing=0.1)
    assert published().settings()["loss"] is softmax_cross_entropy
    assert not Recipe("mlp", initialisation="keras").build(0).linear1.bias.any()
    assert Recipe("mlp").build(0).linear1.bias.any()


def test_validation_images_are_drawn_with_the_split_seed_or_the_runs_own(few):
    def drawn(split_seed, seed):
        return Recipe("mlp", valid=60, split_seed=split_seed).splits(few, seed)[1].images

    assert torch.equal(drawn(3, 0), drawn(3, 1))
    assert torch.equal(drawn(None, 3), drawn(3, 0))
    assert not torch.equal(drawn(None, 3), drawn(None, 4))
    train, valid, test = Recipe("mlp", valid=0).splits(few, 0)
    assert (len(train), valid, len(test)) == (160, None, 40)


def test_the_sources_have_their_protocols_and_published_numbers():
    """The numbers of the sources' own pages."""
    accuracies = [None, 99.445, 99.05, 98.48, 98.22, 98.31, 98.67, 98.45, 98.87, None, None, 98.75, 96.62]
    assert list(SOURCES) == list(NETWORKS)
    assert [source.accuracy for source in SOURCES.values()] == accuracies
    assert all(source.recipe.network == key and (source.accuracy or source.remark) for key, source in SOURCES.items())
    numbers = SOURCES["cnn-2d"].recipe
    assert (numbers.epochs, numbers.batch_size, numbers.lr, numbers.patience) == (200, 200, 0.001, 2)
    assert (numbers.optimizer, numbers.initialisation) == ("keras-adam", "keras")
    small = SOURCES["small-cnn"].recipe
    assert (small.epochs, small.batch_size, small.lr, small.optimizer) == (12, 128, 1.0, "keras-adadelta")
    protocol = Recipe(
        "lenet5-padded", epochs=150, batch_size=128, lr=0.002, schedule=0.98, loss="softmax-cross-entropy", valid=0
    )
    changes = Augmentation(degrees=15, translate=0.05, scale=(0.8, 1.2), brightness=(0.8, 1.2), mode="nearest")
    assert SOURCES["lenet5-padded"].recipe == published() == dataclasses.replace(protocol, augmentation=changes)
    assert [published(name).dataset for name in CLASSES] == list(CLASSES) == list(PUBLISHED["test"])
    assert modern("FashionMNIST").augmentation is None
    assert modern("KMNIST").loss == "cross-entropy"
