"""The three open projects: a line for each, which says what was measured over how many seeds."""

import pytest
from torch import nn

from mnistlib.exercises import projects

pytestmark = pytest.mark.slow


def linear(width=784):
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 10))


def test_the_fewest_parameters_are_judged_by_the_mean_over_seeds(capsys):
    accuracies = projects.fewest_parameters(linear, [0, 1], epochs=1, batch_size=1_000)
    assert 0.8 < min(accuracies) < max(accuracies) < 0.95
    assert "✗ 7,850 parameters: " in (line := capsys.readouterr().out)
    assert "2 seeds" in line


def test_small_networks_for_clothes_are_compared_seed_by_seed(mnist, monkeypatch, capsys):
    monkeypatch.setattr(projects, "load", lambda name: mnist)
    differences = projects.best_on_clothes(linear, [0, 1], epochs=1, batch_size=5_000)
    assert len(differences) == 2
    assert "points from LeNet-5" in capsys.readouterr().out
    with pytest.raises(ValueError, match="fewer than 100,000 parameters; it has 100,482"):
        projects.best_on_clothes(lambda: nn.Sequential(linear(), nn.Linear(10, 8_400), nn.Linear(28, 8)), [0, 1])


def test_a_change_that_fools_two_is_counted_and_limited(capsys):
    assert projects.fools_two(lambda images: images, [0, 1]) == [0, 0]
    with pytest.raises(ValueError, match="40 are allowed"):
        projects.fools_two(lambda images: 255 - images)
    with pytest.raises(ValueError, match=r"uint8 images \[500, 1, 28, 28\]"):
        projects.fools_two(lambda images: images / 255)
