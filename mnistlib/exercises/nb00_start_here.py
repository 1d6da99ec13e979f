"""Checks for the exercises of notebook 00."""

from operator import eq, ge, gt, ne

import torch

from mnistlib.exercises.check import exercise, mistake

images, labels = [[0.9, 0.1], [0.25, 0.75], [0.4, 0.6], [0.95, 0.05], [0.8, 0.2]], [0, 1, 0, 1, 0]


@exercise("right for four thresholds", *[(images, labels, threshold) for threshold in (0.7, 0.75, 0.0, 1.0)])
@mistake("An answer that is not given cannot be wrong; count the errors among the given ones only", of_all=True)
@mistake("The second number counts the wrong answers, not the correct ones", counted=eq)
@mistake("A probability that equals the threshold is enough: >=, not >", enough=gt)
def check_answered(probabilities, labels, threshold, enough=ge, counted=ne, of_all=False):
    rows = zip(probabilities, labels, strict=True)
    rows = [(enough(max(row), threshold), row.index(max(row)), label) for row, label in rows]
    return sum(given for given, *_ in rows), sum(counted(a, label) for given, a, label in rows if given or of_all)


@exercise("left and right changed places, and nothing else", (torch.arange(12, dtype=torch.uint8).reshape(2, 1, 2, 3),))
@mistake("Top and bottom changed places: you reversed the rows, not the columns", lambda images: images.flip(2))
@mistake("They are turned by half a turn: you reversed the rows and the columns", lambda images: images.flip(2, 3))
def check_mirrored(images):
    return images.flip(3)
