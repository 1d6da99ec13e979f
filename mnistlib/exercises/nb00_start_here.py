"""Checks for the exercises of notebook 00."""

import torch

from mnistlib.exercises.check import exercise, mistake

pairs = [((2, 0.6), (7, 0.9)), ((1, 0.95), (8, 0.5)), ((0, 0.4), (0, 0.98)), ((9, 0.7), (3, 0.68))]


def ten(digit, largest):
    """Ten probabilities: ``largest`` for one digit, the rest for the two digits after it."""
    return [{0: largest, 1: (1 - largest) / 2, 2: (1 - largest) / 2}.get((i - digit) % 10, 0.0) for i in range(10)]


@exercise("right for three lists of nine", ([0.05] * 9,), ([0.25, 0.5] + [0.0] * 7,), ([1.0] + [0.0] * 8,))
@mistake("That is the sum of the nine; all ten add up to 1", sum)
@mistake("Subtract all nine, not only the largest", lambda nine: 1 - max(nine))
def check_tenth_probability(nine):
    return 1 - sum(nine)


@exercise("right for four pairs of images", *[(ten(*first), ten(*second)) for first, second in pairs])
@mistake("Compare the largest probabilities, not the digits that have them", by=lambda ten: ten.index(max(ten)))
@mistake("Python compares lists place by place; compare max(first) and max(second)", by=list)
def check_surer(first, second, by=max):
    return "first" if by(first) > by(second) else "second"


@exercise("left and right changed places, and nothing else", (torch.arange(12, dtype=torch.uint8).reshape(2, 1, 2, 3),))
@mistake("They are upside down: you exchanged the rows, not the columns", lambda images: images.flip(2))
@mistake("They are rotated by half a turn: you exchanged rows and columns", lambda images: images.flip(2, 3))
def check_mirrored(images):
    return images.flip(3)
