"""Checks for the exercises of notebook 06."""

from itertools import combinations, product
from statistics import covariance, mean, pvariance, variance

from mnistlib.exercises.check import exercise, mistake


@exercise("right for two pairs of groups", ([0.5, 0.7, 0.9], [0.6, 0.7, 0.6, 0.7]), ([0.98, 0.99], [0.9, 0.95, 0.97]))
@mistake("Divide the squares by n − 1, as statistics.variance does", spread=pvariance)
@mistake("Divide each variance by the size of its group", sizes=0)
@mistake("The error is the root of v₁ + v₂", root=1)
@mistake("In the denominator the squares are divided by n − 1, not by n", less=0)
def check_welch_error(first, second, spread=variance, sizes=1, root=0.5, less=1):
    v1, v2 = (spread(group) / len(group) ** sizes for group in (first, second))
    freedom = (v1 + v2) ** 2 / (v1**2 / (len(first) - less) + v2**2 / (len(second) - less))
    return (v1 + v2) ** root, freedom


@exercise("right for three lists", ([0.9, 0.95, 0.97, 0.99], 2), ([0.98, 0.99, 1.0], 1), ([0.5, 0.9], 2))
@mistake("That is the best of all runs; take the mean over all choices of k", lambda accuracies, k: max(accuracies))
@mistake("That is the mean of all runs; take the best of each choice", best=mean)
@mistake("These are the k best runs; each choice of k runs is as probable", lambda a, k: mean(sorted(a)[-k:]))
@mistake("Each run is chosen at most once", lambda a, k: mean(max(chosen) for chosen in product(a, repeat=k)))
def check_expected_best(accuracies, k, best=max):
    return mean(best(chosen) for chosen in combinations(accuracies, k))


halves = ([0.95, 0.92, 0.94], [0.94, 0.92, 0.95]), ([0.95, 0.93], [0.93, 0.95])


@exercise("right for three pairs of halves", *halves, ([0.9, 0.8, 0.7, 0.6], [0.85, 0.85, 0.7, 0.7]))
@mistake("Divide by n − 1", less=0)
@mistake("That is the variance; take its root", root=1)
@mistake("The covariance is negative here: return 0", positive=lambda covariance: covariance)
@mistake("The covariance is negative here, so return 0, not the root of its size", positive=abs)
def check_seed_sd(first_half, second_half, less=1, root=0.5, positive=lambda covariance: max(0, covariance)):
    n = len(first_half)
    return positive(covariance(first_half, second_half) * (n - 1) / (n - less)) ** root
