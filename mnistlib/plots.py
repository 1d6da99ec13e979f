"""One style for all figures, and the way to put them on the page with a text alternative. The figures are in `show`.

Their background is white, so they stay readable on a dark page. The colours are those that Okabe and Ito chose for
colour-blind readers, with darker green and red.
"""

import math
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mnistlib.base.files import atomic_write

BLUE, ORANGE, GREEN, RED, PINK = "#0072B2", "#E69F00", "#007A5A", "#C43E00", "#CC79A7"
STYLE = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so every machine has it
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, RED, PINK]),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "image.cmap": "gray_r",  # ink is dark, as on paper
    "figure.constrained_layout.use": True,
    "lines.markersize": 5,
}
DPI = 200  # sharp on screens with double resolution
styled = plt.style.context(STYLE, after_reset=True)  # a decorator: in the course's style, whatever its caller's is


def use_style() -> None:
    """Draw what follows in the course's style, including figures made without this module. Notebook 01."""
    plt.style.use(["default", STYLE])


def show(figure: Figure, alt: str) -> None:
    """Show a figure in the notebook with a text alternative for readers who cannot see it, and close it.

    ``alt`` says what the figure shows; screen readers use it. Raises ValueError when it is empty. Notebook 00.
    """
    from IPython.display import display

    if not alt.strip():
        raise ValueError("alt is empty; say in a sentence what the figure shows.")
    buffer, width = BytesIO(), round(figure.get_figwidth() * 100)
    styled(figure.savefig)(buffer, format="png", dpi=DPI)
    plt.close(figure)
    data = {"image/png": buffer.getvalue(), "text/plain": alt}
    display(data, metadata={"image/png": {"alt": alt, "width": width}}, raw=True)


def save(figure: Figure, path) -> None:
    """Write a figure as a PNG file, with the same bytes each time, and close it. Notebook 08."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})  # no version in the bytes
    plt.close(figure)


@styled
def image_grid(images, titles, columns=10, colors=None, ink=255, signed=False) -> Figure:
    """Draw images ``[N, 1, H, W]`` or ``[N, H, W]``, each below its title, ``columns`` in a row.

    A pixel of value ``ink`` is black and 0 is white in all of them, so that they can be compared. With ``signed``,
    0 is white, ``ink`` dark orange and −``ink`` dark purple. Raises ValueError without a title per image. Notebook 00.
    """
    if not len(images) or len(images) != len(titles):
        raise ValueError(f"give at least one image, and one title per image; got {len(images)} and {len(titles)}.")
    images = images.reshape(len(images), *images.shape[-2:])
    side, columns = 9 / columns, min(columns, len(images))  # inches
    rows, lines = math.ceil(len(images) / columns), max(title.count("\n") + 1 for title in titles)
    figure, axes = plt.subplots(rows, columns, figsize=(side * columns, rows * (side + 0.19 * lines)), squeeze=False)
    scale = {"vmin": -ink, "cmap": "PuOr_r"} if signed else {"vmin": 0}
    for i, axis in enumerate(axes.flat):
        axis.axis("off")
        if i < len(images):
            axis.imshow(np.asarray(images[i]), vmax=ink, **scale)
            axis.set_title(titles[i], fontsize=9, color=colors[i] if colors else "black", pad=3)
    return figure
