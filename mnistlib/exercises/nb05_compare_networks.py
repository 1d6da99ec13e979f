"""Checks for the exercises of notebook 05."""

from math import comb

import torch

from mnistlib.exercises.check import exercise, mistake

FILTERS = torch.tensor([[[[-1, 0.5], [0.25, -2]]], [[[1, 1], [1, 1]]], [[[-1, -1], [-1, -1]]], [[[2, -9], [0, 0]]]])
BIASES = torch.tensor([-1, -3, 0.5, -2.5])
CHANNELS = torch.tensor([[[[-1.0]], [[0.5]]], [[[-0.25]], [[-0.5]]], [[[0.5]], [[0.5]]]])
LISTS = [0.001, 0.013, 0.9, 0.02], [0.001, 0.04, 0.9], [0.03, 0.01, 0.04, 0.02], [0.02, 0.04, 0.045], [0.025, 0.05], []


@exercise(
    "right for four filters of 2×2, for one, and for three of 1×1 with two channels",
    (FILTERS, BIASES),
    (FILTERS[2:3], torch.tensor([-0.5])),
    (CHANNELS, torch.tensor([-0.25, 0, -0.75])),
)
@mistake("A filter adds up its channels", lambda w, b: (w.clamp(0).sum((2, 3)) + b[:, None] <= 0).all(1).sum().item())
@mistake("Negative weights see a pixel of 0 in the best image, so they count as 0", least=-99)
@mistake("The bias counts too", bias=0)
@mistake("A filter whose largest output is exactly 0 is dead too", above=-1e-9)
@mistake("A negative bias can outweigh positive weights", lambda w, b: (w.amax((1, 2, 3)).maximum(b) < 0).sum().item())
@mistake("Count the dead filters, not the others", others=True)
def check_dead_filters(weights, biases, least=0, bias=1, above=0.0, others=False):
    dead = weights.clamp(min=least).sum(dim=(1, 2, 3)) + bias * biases <= above
    return (dead != others).sum().item()


@exercise("right for two uneven splits, an even one and an empty one", (8, 2), (12, 30), (5, 5), (0, 0))
@mistake("A split that is as uneven to the other side counts too", sides=1)
@mistake("A probability is at most 1", most=2.0)
def check_mcnemar_p(only_first, only_second, sides=2, most=1.0):
    both, fewer = only_first + only_second, min(only_first, only_second)
    return min(most, sides * sum(comb(both, k) for k in range(fewer + 1)) / 2**both)


@exercise("right for seven lists", *((p_values, 0.05) for p_values in LISTS), ([0.001, 0.002], 0.01))
@mistake("These are the p-values below the level itself; divide it by the number of tests that are left", tests=0)
@mistake("That is Bonferroni's method: the threshold grows with each p-value that was accepted", less=0)
@mistake("Stop at the first p-value above its threshold, even if a later one is below its own", counted=sum)
@mistake("Sort the p-values first", order=list)
def check_accepted_by_holm(p_values, level, tests=1, less=1, order=sorted, counted=lambda fine: fine.index(0)):
    limits = [level / max(1, tests * (len(p_values) - less * k)) for k in range(len(p_values))]
    return counted([*(p <= limit for p, limit in zip(order(p_values), limits, strict=True)), False])
