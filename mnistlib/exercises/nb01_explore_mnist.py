"""Checks for the exercises of notebook 01."""

import torch
from torch.nn.functional import pad

from mnistlib.exercises.check import exercise, mistake


def pattern(seed):
    """An image, and ten means: squares of 7 × 7 pixels with random grey values."""
    squares = torch.randint(256, (11, 4, 4), generator=torch.Generator().manual_seed(seed))
    squares = squares.repeat_interleave(7, 1).repeat_interleave(7, 2)
    return squares[10].to(torch.uint8), squares[:10].float()


@exercise("right for three images", pattern(24900), pattern(6062), pattern(2482))  # each mistake gives another digit
@mistake("That is the farthest mean: take argmin, not argmax", take=torch.argmax)
@mistake(
    "Ink outside the mean must count against it; square the differences, do not multiply",
    lambda image, means: (image * means).sum((1, 2)).argmax(),
)
@mistake(
    "That compares how much ink there is, not where it is; square the difference of each pixel first",
    lambda image, means: (image - means).sum((1, 2)).abs().argmin(),
)
@mistake("Square the differences, or those above and below 0 cancel out", size=torch.clone)
@mistake("Without axes, sum() adds up all ten means together; take sum((1, 2))", axes=(0, 1, 2))
@mistake("Square each difference; its absolute value is another distance", size=torch.abs)
def check_nearest_mean(image, means, size=torch.square, axes=(1, 2), take=torch.argmin):
    return take(size(image - means).sum(axes)).item()


images = torch.arange(1, 41, dtype=torch.uint8).reshape(2, 1, 4, 5)
shifts = [(images, *by) for by in ((1, 0), (-2, 0), (0, 1), (3, -2))]
ERRORS = [
    (r"size \(0\)", "A slice such as [:-0] is empty: treat a shift by 0 separately"),
    ("=-.*stopped with RuntimeError", "Negative numbers move to the left and upwards: treat them separately"),
]


@exercise("right for shifts in all four directions", *shifts, hints=ERRORS)
@mistake("`down` is not used: they did not move downwards", lambda images, a, b: pad(images, (a, -a, 0, 0)))
@mistake("What leaves on one side must not come in on the other", lambda x, right, down: x.roll((down, right), (2, 3)))
@mistake("The images moved to the other side", lambda images, right, down: pad(images, (-right, right, -down, down)))
@mistake("`right` moved them down and `down` to the right", lambda images, a, b: pad(images, (b, -b, a, -a)))
@mistake("The images grew or shrank; take away on one side what you add on the other", loss=0)
def check_shift_images(images, right, down, loss=1):
    return pad(images, (right, -loss * right, down, -loss * down))
