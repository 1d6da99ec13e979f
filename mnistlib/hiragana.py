"""The ten characters of KMNIST drawn as pen strokes, since many machines have no font with hiragana.

The forms are those taught in school today, stroke by stroke in the order of writing. KMNIST's images come from
old books in a cursive hand and are much freer; its classes also hold older forms, made from other Chinese characters, which look
quite different.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mnistlib.datasets import CLASSES
from mnistlib.plots import styled

# A stroke is the points that the pen passes, "x,y" in percent of the square, x to the right and y down. A point written twice
# is a corner; at all others the pen goes round smoothly.
_POINTS = {
    "o": (
        "15,34 36,32 58,27",
        "37,11 38,40 38,67 36,80 29,86 20,83 17,76 24,65 43,54 62,50 77,55 84,67 80,79 70,86 58,89",
        "67,20 77,26 88,35",
    ),
    "ki": (
        "21,28 48,26 76,20",
        "17,46 48,43 82,36",
        "44,8 53,34 73,64",
        "24,68 26,78 36,87 52,91 70,90",
    ),
    "su": (
        "10,31 50,28 91,25",
        "57,9 57,46 54,59 47,65 40,62 37,55 40,47 47,44 54,48 58,58 56,72 49,84 38,93",
    ),
    "tsu": ("11,40 38,28 64,24 81,30 88,44 83,60 67,74 42,83",),
    "na": (
        "14,31 32,29 51,24",
        "37,11 28,38 12,65",
        "64,22 75,28 87,37",
        "64,44 65,68 63,81 55,89 44,89 37,83 42,76 53,74 66,77 78,83 88,91",
    ),
    "ha": (
        "20,12 15,40 15,66 20,88",
        "37,35 62,33 89,28",
        "66,12 66,50 66,70 64,81 56,88 45,88 38,82 43,75 54,73 67,76 80,82 91,90",
    ),
    "ma": (
        "19,28 50,26 81,22",
        "22,46 50,44 77,40",
        "51,9 52,45 52,70 49,83 41,90 29,89 22,83 28,75 39,73 53,76 68,82 82,91",
    ),
    "ya": (
        "8,53 38,38 68,28 83,31 88,42 79,53 59,57",
        "48,7 56,13 63,20",
        "26,20 38,55 54,93",
    ),
    "re": (
        "29,9 29,50 29,92",
        "8,35 35,27 35,27 23,52 8,75 8,75 31,45 46,31 58,27 66,32 68,45 65,65 67,78 75,84 84,81 93,71",
    ),
    "wo": (
        "19,25 48,23 77,18",
        "47,7 36,33 17,57 17,57 32,44 45,41 54,50 55,71",
        "86,38 58,53 38,67 31,79 38,88 56,92 82,91",
    ),
}
STEPS = 16  # straight lines from one point to the next: enough to look round
ALT = (
    "The ten characters of KMNIST drawn with a thick pen, in two rows: o, a cross with a large bow and a dot; ki, two bars, a "
    "slanted line through both and a bowl below; su, a bar and a line down with a small loop; tsu, one wide bow; na, a cross, a "
    "dot and a loop; ha, a tall line to the left of a cross that ends in a loop; ma, two bars and a line down that ends in a "
    "loop; ya, a bow crossed by a long slanted line, with a dot above; re, a tall line crossed by a zigzag that ends in a wave; "
    "wo, a bar, a bent line and an open bow."
)


def strokes(name: str) -> list[np.ndarray]:
    """The strokes of a character in the order of writing, by its name in KMNIST ("o", "ki", …). Introduced in notebook 07.

    Each is a line of many points, float64 ``[P, 2]``: x to the right and y down, in 0–1. Raises ValueError for another name.
    """
    if name not in _POINTS:
        raise ValueError(f"no character is called {name!r}; there are {', '.join(_POINTS)}.")
    return [_smooth(np.array([point.split(",") for point in stroke.split()], float) / 100) for stroke in _POINTS[name]]


def _smooth(points: np.ndarray) -> np.ndarray:
    """A line through all points, smooth but for the points that come twice: a centripetal Catmull-Rom spline.

    Source: Barry and Goldman, "A recursive evaluation algorithm for a class of Catmull-Rom splines", 1988.
    """
    corners = [i for i in range(1, len(points)) if (points[i] == points[i - 1]).all()]
    parts = []
    for part in np.split(points, corners):
        padded = np.vstack([2 * part[0] - part[1], part, 2 * part[-1] - part[-2]])  # straight on at both ends
        parts += [_between(padded[i : i + 4]) for i in range(len(part) - 1)] + [part[-1:]]
    return np.vstack(parts)


def _between(points: np.ndarray) -> np.ndarray:
    """The spline through four points, from the second to the third, which is left out."""
    knots = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1) ** 0.5)])
    time = np.linspace(knots[1], knots[2], STEPS, endpoint=False)[:, None]

    def blend(a, b, start, end):
        return ((end - time) * a + (time - start) * b) / (end - start)

    lines = [blend(points[i], points[i + 1], knots[i], knots[i + 1]) for i in range(3)]
    curves = [blend(lines[i], lines[i + 1], knots[i], knots[i + 2]) for i in range(2)]
    return blend(*curves, knots[1], knots[2])


@styled
def draw_characters(names: tuple[str, ...] = CLASSES["KMNIST"]) -> Figure:
    """Characters drawn as with a pen, five to a row, each with its name below. Introduced in notebook 07.

    Raises ValueError for a name that `strokes` does not know, and when there is none.
    """
    if not names:
        raise ValueError("there must be at least one character.")
    drawn = [strokes(name) for name in names]
    rows = math.ceil(len(names) / 5)
    figure, axes = plt.subplots(rows, 5, figsize=(9, 2.05 * rows), squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    for axis, name, lines in zip(axes.flat, names, drawn, strict=False):
        for line in lines:
            axis.plot(*line.T, color="black", linewidth=8, solid_capstyle="round", solid_joinstyle="round")
        axis.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[], aspect="equal")
        axis.spines[:].set(visible=True, color="#CCCCCC")
        axis.set_xlabel(name, fontsize=12)
    return figure
