"""Checks for the exercises of notebook 04."""

import torch
from torch.nn.functional import pad

from mnistlib.exercises.check import exercise, mistake

patch, weights = torch.arange(25.0).reshape(5, 5) / 25, (torch.arange(25) * 7 % 11 - 4).reshape(5, 5) / 10
sums = (patch, weights, 0.25), (patch, -weights, 0.25), (patch, weights, -9.0)
table = torch.tensor([[5, 1, 0], [2, 7, 1], [0, 3, 6]])
image = torch.arange(1, 21, dtype=torch.uint8).reshape(4, 5)


@exercise("right for a sum above 0 and for two below", *sums)
@mistake("The bias is missing", times=0)
@mistake("ReLU comes last, after the bias", lambda patch, weights, bias: (patch * weights).sum().relu() + bias)
@mistake("Add the bias only once", times=25)
@mistake("ReLU is missing: nothing in the map is below 0", lambda patch, weights, bias: (patch * weights).sum() + bias)
@mistake("@ is the matrix product; use *", product=torch.matmul)
def check_feature_value(patch, weights, bias, times=1, product=torch.mul):
    return max(product(patch, weights).sum().item() + times * bias, 0.0)


@exercise("right for three labels", (table, 0), (table, 1), (table, 2))
@mistake("Precision divides by the column, recall by the row", order=-1)
@mistake("The column and the row contain TP already", twice=1)
def check_scores_of(confusion, label, order=1, twice=0):
    hits = confusion[label, label].item()
    totals = confusion[:, label].sum().item(), confusion[label].sum().item()
    return tuple(hits / (total + twice * hits) for total in totals)[::order]


@exercise("right for four moves, one of them by nothing", (image, 1, 2), (image, -1, 0), (image, 0, -2), (image, 0, 0))
@mistake("What leaves on one side must not come in on the other", lambda image, *by: image.roll(by, (0, 1)))
@mistake("You exchanged down and right", lambda image, down, right: pad(image, (down, -down, right, -right)))
@mistake("That is the opposite direction", sign=-1)
def check_shifted(image, down, right, sign=1):
    return pad(image, (sign * right, -sign * right, sign * down, -sign * down))
