"""Checks for the exercises of notebook 00."""

from operator import eq, ge, gt, lt, ne

import torch

from mnistlib.exercises.check import exercise, mistake

images = [[0.9, 0.06, 0.04], [0.1, 0.15, 0.75], [0.3, 0.6, 0.1], [0.02, 0.95, 0.03], [0.1, 0.1, 0.8], [0.5, 0.2, 0.3]]
images, labels = [*images, [0.05, 0.1, 0.85]], [0, 2, 0, 2, 2, 1, 1]


@exercise("right for four thresholds", *[(images, labels, threshold) for threshold in (0.7, 0.75, 0.0, 1.0)])
@mistake("An answer that is not given cannot be wrong; count the errors among the given ones only", of_all=True)
@mistake("The second number counts the wrong answers, not the correct ones", counted=eq)
@mistake("Exchange the two: first the number of answers, then the number of errors", order=-1)
@mistake("The first number counts the images that the machine answers, not those left to the person", enough=lt)
@mistake("A probability that equals the threshold is enough: >=, not >", enough=gt)
def check_answered(probabilities, labels, threshold, enough=ge, counted=ne, of_all=False, order=1):
    rows = zip(probabilities, labels, strict=True)
    rows = [(enough(max(row), threshold), row.index(max(row)), label) for row, label in rows]
    errors = sum(counted(a, label) for given, a, label in rows if given or of_all)
    return (sum(given for given, *_ in rows), errors)[::order]


small = torch.arange(12, dtype=torch.uint8).reshape(2, 1, 2, 3)
NEGATIVE_STEP = ("step must be greater than zero", "PyTorch has no negative steps; use flip")


@exercise("left and right changed places, and nothing else", (small,), hints=[NEGATIVE_STEP])
@mistake("Top and bottom changed places: you reversed the rows, not the columns", lambda images: images.flip(2))
@mistake("They are rotated by 180°: you reversed the rows and the columns", lambda images: images.flip(2, 3))
def check_mirrored(images):
    return images.flip(3)
