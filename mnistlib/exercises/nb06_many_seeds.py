"""Checks for the exercises of notebook 06."""

from math import ceil
from statistics import mean, pstdev, stdev

from mnistlib.exercises.check import exercise, mistake


@exercise("right for 3, 5 and 2 runs", ([0.98, 0.99, 1.0], 4.3), ([0.98, 0.99, 0.98, 0.95, 0.9], 3), ([0.5, 0.7], 12.7))
@mistake("That is where single runs fall; divide by the root of their number", root=0)
@mistake("Divide by the root of the number of runs, not by the number", root=1)
@mistake("Divide the squares by n − 1, as statistics.stdev does", deviation=pstdev)
def check_interval(accuracies, factor, deviation=stdev, root=0.5):
    half_width = factor * deviation(accuracies) / len(accuracies) ** root
    return mean(accuracies) - half_width, mean(accuracies) + half_width


@exercise("right for four pairs", (0.07, 0.1), (0.07, 0.02), (0.1, 0.5), (0.3, 0.25))
@mistake("One run has no spread: at least 2", least=1)
@mistake("Round up: a part of a seed is a seed", rounded=round)
@mistake("Both methods vary, not only one: the formula starts with 2", methods=1)
def check_seeds_needed(sd, difference, least=2, rounded=ceil, methods=2):
    return max(least, rounded(methods * (2.8 * sd / difference) ** 2))


@exercise("right for three lists", ([0, 2, 2, 4], 5), ([1, 1, 1], 3), ([0, 1], 2))
@mistake("Those are the classes that do occur", lambda predictions, classes: sorted(set(predictions)))
@mistake("Count from 0 to classes − 1", first=1)
def check_never_predicted(predictions, classes, first=0):
    return [label for label in range(first, classes + first) if label not in predictions]
