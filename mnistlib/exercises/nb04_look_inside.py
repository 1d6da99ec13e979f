"""Checks for the exercises of notebook 04."""

import torch

from mnistlib.exercises.check import exercise, mistake

table = torch.tensor([[5, 1, 0], [2, 7, 1], [0, 3, 6]])
lenet5 = [(5, 1), (2, 2), (5, 1), (2, 2), (5, 1)]
stacks = (lenet5[:1],), (lenet5[:3],), (lenet5,), ([(4, 3), (3, 1)],)
certain = (torch.tensor([0.95, 0.95, 0.65, 0.65]), torch.tensor([True, True, True, False]), 10)
mixed = (torch.tensor([0.1, 0.3, 0.35, 0.8, 1.0, 0.97]), torch.tensor([False, False, True, True, False, True]), 4)


@exercise("right for one, three and five layers, and for a stride of 3", *stacks)
@mistake("A kernel of k adds k − 1 neighbours, not k", extra=0)
@mistake("Behind a stride the neighbours lie further apart: multiply the distance", spread=False)
@mistake("A layer's own stride counts only for the layers that follow it", early=True)
def check_receptive_field(layers, extra=1, spread=True, early=False):
    size, distance = 1, 1
    for kernel, stride in layers:
        distance *= stride if spread and early else 1
        size += (kernel - extra) * distance
        distance *= stride if spread and not early else 1
    return size


@exercise("right for three labels", (table, 0), (table, 1), (table, 2))
@mistake("Precision divides by the column, recall by the row", order=-1)
@mistake("The column and the row contain TP already", twice=1)
@mistake("Give fractions of 1, not percent", whole=100)
@mistake("Return two numbers: this is the precision alone", lambda table, i: (table[i, i] / table[:, i].sum()).item())
@mistake("Return two numbers: this is the recall alone", lambda table, i: (table[i, i] / table[i].sum()).item())
def check_scores_of(confusion, label, order=1, twice=0, whole=1):
    hits = confusion[label, label].item()
    totals = confusion[:, label].sum().item(), confusion[label].sum().item()
    return tuple(whole * hits / (total + twice * hits) for total in totals)[::order]


EMPTY = ("got nan", "It is nan because an empty group has no mean: leave it out")


@exercise("right for two sets of answers, with empty groups and a confidence of 1", certain, mixed, hints=[EMPTY])
@mistake("Weight each gap by the number of answers in its group", weighted=False)
@mistake("Take the absolute value of each gap, or gaps in opposite directions cancel", absolute=False)
@mistake("An answer with a confidence of exactly 1 belongs to the last group", last=0)
def check_calibration_error(confidence, correct, groups, weighted=True, absolute=True, last=1):
    group = (confidence * groups).long().clamp(max=groups - last)
    parts = [group == i for i in range(groups) if (group == i).any()]
    gaps = [(confidence[part].double().mean() - correct[part].double().mean()).item() for part in parts]
    sizes = [part.sum().item() if weighted else len(group) / len(parts) for part in parts]
    return sum(size * (abs(gap) if absolute else gap) for size, gap in zip(sizes, gaps, strict=True)) / len(group)


@exercise("right for four prices, one of them so high that asking never pays", (2, 50), (1, 10), (60, 50), (1, 3))
@mistake("That is the probability of an error at which the two are equal; the answer is one minus it", error=True)
@mistake("When asking costs more than an error, return 0", lambda asking, error: 1 - asking / error)
def check_ask_below(cost_of_asking, cost_of_error, error=False):
    equal = min(cost_of_asking / cost_of_error, 1)
    return float(equal if error else 1 - equal)
