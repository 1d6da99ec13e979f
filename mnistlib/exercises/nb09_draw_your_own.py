"""Checks for the exercises of notebook 09."""

import torch

from mnistlib.exercises.check import exercise, mistake

image = torch.zeros(28, 28, dtype=torch.uint8)  # both images are square, as in the notebook and its hint
image[2, 3], image[10:20, 20], image[25, 5:9] = 255, 100, 7


@exercise("right for a high, a wide and a very thin drawing", (100, 48), (7, 17), (300, 2))
@mistake("The longer side becomes 20", side=min)
@mistake("The shape must not change", lambda height, width: (20, 20))
@mistake("Round to the nearest whole number, with round()", rounded=int)
@mistake("No side may become 0", least=0)
def check_fitted_size(height, width, side=max, rounded=round, least=1):
    scale = 20 / side(height, width)
    return max(least, rounded(height * scale)), max(least, rounded(width * scale))


@exercise("right for two images", (image,), (image.roll((1, -3), (0, 1)),))
@mistake("The row comes first, then the column", axes=(0, 1))
@mistake("Weight each place by its ink", weight=torch.Tensor.bool)
def check_center_of_mass(image, axes=(1, 0), weight=torch.Tensor.double):
    ink = weight(image).double()
    return tuple((ink.sum(axis) @ torch.arange(28.0).double() / ink.sum()).item() for axis in axes)


@exercise("right for three pairs of numbers", (0.9, 0.2), (0.9, 0.05), (1.0, 0.1))
@mistake("The width reaches from the lower to the upper end: twice the part after ±", sides=1)
@mistake("Give a multiple of 10", step=1)
@mistake("Divide by 1 + z²/n", divided=0)
@mistake("Wilson's root has a second term, z²/(4n²)", second=0)
def check_digits_needed(accuracy, width, sides=2, step=10, divided=1, second=1):
    z, n, wide = 1.96, 0, float("inf")
    while wide > width:
        n += step
        root = (accuracy * (1 - accuracy) / n + second * z**2 / (4 * n**2)) ** 0.5
        wide = sides * z * root / (1 + divided * z**2 / n)
    return n
