"""The ten characters of KMNIST drawn as pen strokes, as many machines have no Japanese font. Notebook 07.

The forms are those taught in school today. KMNIST's images come from old books in a cursive hand, and are much freer.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.interpolate import CubicSpline  # SciPy comes with scikit-learn

from mnistlib.plots import styled

# Each character has its strokes in the order of writing, and each stroke the points (x, y) that the pen passes, in
# percent of the square, y downwards. At a point that is given twice the pen turns a corner; else the line is smooth.
ALT, POINTS = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8")).values()


@styled
def draw_characters() -> Figure:
    """Draw the ten characters in two rows, each above its name. Introduced in notebook 07."""
    figure, axes = plt.subplots(2, 5, figsize=(9, 4.1))
    for axis, (name, strokes) in zip(axes.flat, POINTS.items(), strict=True):
        for points in strokes:
            axis.plot(*smooth(points).T, color="black", linewidth=8, solid_capstyle="round", solid_joinstyle="round")
        axis.set(xlim=(0, 100), ylim=(100, 0), xticks=[], yticks=[], aspect="equal", xlabel=name)
        axis.spines[:].set(visible=True, color="#CCCCCC")
    return figure


def smooth(points: list) -> np.ndarray:
    """Join points by cubic splines, from corner to corner, in Lee's centripetal parametrization (1989): ``[P, 2]``."""
    points, lines = np.array(points), []
    for part in np.split(points, np.flatnonzero((points[1:] == points[:-1]).all(1)) + 1):
        knots = np.cumsum([0, *np.linalg.norm(np.diff(part, axis=0), axis=1) ** 0.5])
        times = np.interp(np.linspace(0, len(part) - 1, 16 * len(part) - 15), range(len(part)), knots)
        lines.append(CubicSpline(knots, part, bc_type="natural")(times))
    return np.vstack(lines)
