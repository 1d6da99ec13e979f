"""Checks for the exercises of notebook 01."""

import torch
from torch.nn.functional import pad

from mnistlib.exercises.check import exercise, mistake

even, mixed = torch.zeros(2, 28, 28, dtype=torch.uint8)
even[:], mixed[:20], mixed[20:] = 190, 50, 225
means = torch.tensor([100.0, 0, 225, 25, 200, 50, 175, 75, 150, 125])[:, None, None].repeat(1, 28, 28)


@exercise("right for two images", (even, means), (mixed, means))
@mistake("That is the farthest mean: take argmin, not argmax", take=torch.argmax)
@mistake("Square the differences, or those above and below 0 cancel out", size=torch.clone)
@mistake("Without axes, sum() adds up all ten means together; take sum((1, 2))", axes=(0, 1, 2))
@mistake("Square each difference; its absolute value is another distance", size=torch.abs)
def check_nearest_mean(image, means, size=torch.square, axes=(1, 2), take=torch.argmin):
    return take(size(image - means).sum(axes)).item()


images = torch.arange(1, 41, dtype=torch.uint8).reshape(2, 1, 4, 5)


def rolled(images, right, down):
    return images.roll((down, right), (2, 3))


@exercise(
    "right for shifts in all four directions", *[(images, *shift) for shift in ((1, 0), (-2, 0), (0, 1), (3, -2))]
)
@mistake("What left the image came in again at the other side; paper, 0, should come in", rolled)
@mistake("The images moved to the other side", lambda images, right, down: pad(images, (-right, right, -down, down)))
@mistake("`right` moved them down and `down` to the right", lambda images, a, b: pad(images, (b, -b, a, -a)))
@mistake("The images grew or shrank; take away on one side what you add on the other", loss=0)
def check_shift_images(images, right, down, loss=1):
    return pad(images, (right, -loss * right, down, -loss * down))
