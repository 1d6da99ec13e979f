"""Checks for the exercises of notebook 01."""

import torch

from mnistlib.exercises.check import exercise, mistake

grey, black, empty, even, mixed = torch.zeros(5, 28, 28, dtype=torch.uint8)
grey[:7], black[:14, :6], even[:], mixed[:20], mixed[20:] = 51, 255, 190, 50, 225
means = torch.tensor([100.0, 0, 225, 25, 200, 50, 175, 75, 150, 125])[:, None, None].repeat(1, 28, 28)


@exercise("right for 3, 0 and 9", (3,), (0,), (9,))
@mistake("Places count from 0: the label 0 has its 1 in the first place", first=1)
def check_one_hot(label, first=0):
    return [int(place == label) for place in range(first, first + 10)]


@exercise("right for a grey, a black and an empty image", (grey,), (black,), (empty,))
@mistake("That is the number of pixels with ink; divide it by the number of all", lambda image: (image > 0).sum())
@mistake("That is the fraction of pixels without ink", lambda image: (image == 0).double().mean())
@mistake("That is the mean ink; here a grey pixel counts as much as a black one", lambda image: (image / 255).mean())
def check_inked_share(image):
    return (image > 0).double().mean().item()


@exercise("right for two images", (even, means), (mixed, means))
@mistake("That is the farthest mean: take argmin, not argmax", take=torch.argmax)
@mistake("Square the differences, or those above and below 0 cancel out", size=torch.clone)
@mistake("Without axes, sum() adds up all ten means together; take sum((1, 2))", axes=(0, 1, 2))
@mistake("Square each difference; its absolute value is another distance", size=torch.abs)
def check_nearest_mean(image, means, size=torch.square, axes=(1, 2), take=torch.argmin):
    return take(size(image - means).sum(axes)).item()
