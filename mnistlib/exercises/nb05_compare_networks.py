"""Checks for the exercises of notebook 05."""

from math import comb

from mnistlib.exercises.check import exercise, mistake


@exercise("right for three pairs of networks", (0.992, 0.98, 10_000), (0.9, 0.5, 100), (0.75, 0.75, 2_500))
@mistake("Add the squares of the errors, then take the root", each=0.5, root=1)
@mistake("The root is missing", root=1)
def check_difference_error(first, second, images, each=1, root=0.5):
    squares = first * (1 - first) / images, second * (1 - second) / images
    return sum(square**each for square in squares) ** root


@exercise("right for two uneven splits, an even one and an empty one", (8, 2), (12, 30), (5, 5), (0, 0))
@mistake("A split that is as uneven to the other side counts too", sides=1)
@mistake("A probability is at most 1", most=2.0)
def check_mcnemar_p(only_first, only_second, sides=2, most=1.0):
    both, fewer = only_first + only_second, min(only_first, only_second)
    return min(most, sides * sum(comb(both, k) for k in range(fewer + 1)) / 2**both)


@exercise("right for 13, 2 and 40 networks", (13, 0.05), (2, 0.05), (40, 0.01))
@mistake("You counted each pair twice", lambda networks, level: 2 * comb(networks, 2) * level)
@mistake("Count the pairs, not the networks", lambda networks, level: networks * level)
def check_expected_by_chance(networks, level):
    return comb(networks, 2) * level
