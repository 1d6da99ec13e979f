"""Draw a digit, and look into the network that reads it: widgets, and how a drawing becomes a picture like MNIST's.

The widgets run the JavaScript of this folder, which computes the same as Python does. They need anywidget.
"""

from itertools import pairwise

import numpy as np
import torch
import traitlets
from PIL import Image
from torch import nn

from mnistlib.base.checks import checked
from mnistlib.data import Split, load
from mnistlib.live.bundle import HERE, bundle
from mnistlib.live.export import web_bytes
from mnistlib.networks import evaluating
from mnistlib.weights import pretrained

try:
    from anywidget import AnyWidget
except ImportError:
    remedy = "In the course's folder: pip install -r requirements.txt"
    raise ImportError(f"mnistlib.live.pad needs anywidget. {remedy}") from None

SIDE = 280  # pixels of a drawing: ten for each of MNIST's
PLACES = np.arange(SIDE) + 0.5  # the middles of the pixels


@checked
def ink(strokes: list, width: float = 0.08) -> np.ndarray:
    """Return strokes of a round pen as a picture: uint8 ``[280, 280]``, 0 is paper and 255 is ink. Notebook 09.

    A stroke is a list of points ``(x, y)``, from (0, 0) at the top left to (1, 1) at the bottom right. ``width`` is the
    pen's, in the same unit. A pixel is ink if its middle is at most half that width from a stroke. Raises ValueError
    for points that are not pairs of finite numbers near the page, and for a width outside 0.01–0.5.
    """
    if not 0.01 <= width <= 0.5:
        raise ValueError(f"the pen's width must be 0.01 to 0.5 of the side; got {width}.")
    picture, radius = np.zeros((SIDE, SIDE), np.uint8), width * SIDE / 2
    for stroke in strokes:
        try:
            points = [(float(x) * SIDE, float(y) * SIDE) for x, y in stroke]
            if not all(abs(number) <= 1000 * SIDE for point in points for number in point):
                raise ValueError("far off, or not finite")
        except (TypeError, ValueError):
            raise ValueError(f"a stroke is a list of points (x, y), finite and about 0 to 1; got {stroke!r}.") from None
        for (ax, ay), (bx, by) in pairwise([*points[:1], *points]):
            around = ([int(min(ends) - radius), int(max(ends) + radius) + 1] for ends in ((ay, by), (ax, bx)))
            rows, columns = (slice(*np.clip(ends, 0, SIDE)) for ends in around)
            x, y, dx, dy = PLACES[columns] - ax, PLACES[rows, None] - ay, bx - ax, by - ay
            square = dx * dx + dy * dy
            along = np.clip((x * dx + y * dy) / square, 0, 1) if square else 0  # the nearest point between a and b
            across, down = x - along * dx, y - along * dy
            picture[rows, columns][across * across + down * down <= radius * radius] = 255
    return picture


def crop(picture) -> np.ndarray:
    """Return the part of a picture that holds its ink, at full strength: uint8 ``[h, w]``. Notebook 09.

    ``picture``: ``[H, W]`` or ``[1, H, W]`` of numbers, NumPy or torch, where 0 is paper and more is ink. Its strongest
    ink becomes 255, as in nearly every picture of MNIST. Raises ValueError for anything else, or without ink.
    """
    try:
        found = torch.as_tensor(picture).detach().to("cpu", torch.float64).numpy()
    except (TypeError, ValueError, RuntimeError):  # text, or rows of different lengths
        raise ValueError(f"a picture is a rectangle of numbers; got another {type(picture).__name__}.") from None
    if found.ndim - (len(found.shape) == 3 and len(found) == 1) != 2:
        raise ValueError(f"a picture is [height, width] or [1, height, width]; got {list(found.shape)}.")
    if not np.isfinite(found).all() or (found < 0).any():
        raise ValueError("a picture's numbers must be finite and not negative: 0 is paper, more is ink.")
    if not found.any():
        raise ValueError("there is no ink in the picture: every number is 0.")
    found = found.reshape(found.shape[-2:])
    rows, columns = found.any(1).nonzero()[0], found.any(0).nonzero()[0]
    found = found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.round(found / found.max() * 255).astype(np.uint8)


def fit(picture: np.ndarray) -> np.ndarray:
    """Return a uint8 picture scaled so that its longer side has 20 pixels; the digit keeps its shape. Notebook 09.

    A new pixel is the mean of those it covers, so edges become grey: *anti-aliasing*.
    """
    height, width = picture.shape
    scale = 20 / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def center(picture: np.ndarray) -> torch.Tensor:
    """Place at most 20×20 pixels on 28×28, the centre of mass on pixel (14, 14): uint8 ``[1, 28, 28]``. Notebook 09.

    It moves by whole pixels, so the centre of mass comes within half a pixel of there, as in all of MNIST's test
    digits, unless ink would be pushed off the page. Raises ValueError when there is no ink.
    """
    mass, (height, width) = picture.sum(dtype=np.float64), picture.shape
    if not mass:
        raise ValueError("so thin a drawing leaves no ink on 20×20 pixels. Draw thicker lines, or a smaller picture.")
    y, x = (picture.sum(1) * np.arange(height)).sum() / mass, (picture.sum(0) * np.arange(width)).sum() / mass
    top, left = min(max(round(14 - y), 0), 28 - height), min(max(round(14 - x), 0), 28 - width)
    page = torch.zeros(1, 28, 28, dtype=torch.uint8)
    page[0, top : top + height, left : left + width] = torch.from_numpy(picture)
    return page


def as_mnist(drawn) -> torch.Tensor:
    """Return a drawing as MNIST would show it: uint8 ``[1, 28, 28]``, 0 is paper and 255 is ink. Notebook 09.

    ``drawn``: a list of strokes (see `ink`), or a picture of any size (see `crop`). It is cropped to its ink, scaled to
    fit 20×20 with grey edges, and placed on 28×28 by its centre of mass: LeCun, Cortes and Burges, "The MNIST database
    of handwritten digits", and LeCun et al. 1998, section III A. Raises ValueError as `ink`, `crop` and `center` do.
    """
    return center(fit(crop(ink(drawn) if isinstance(drawn, list) else drawn)))


class DrawingPad(AnyWidget):
    """A pad to draw a digit on, with what a LeNet-5 makes of it. Show it at the end of a cell. Notebooks 00 and 09.

    ``net``: a "lenet5" or "lenet5-padded", by default the one that ships. ``strokes`` (see `ink`; a program may set
    them) and ``width`` are what was drawn. From them follow ``image``, uint8 ``[1, 28, 28]``, and ``probabilities``,
    float32 ``[10]``; while nothing is drawn, all 0 and None.
    """

    _esm, _css = bundle("widget.js"), (HERE / "live.css").read_text("utf-8")
    _kind = traitlets.Unicode("pad").tag(sync=True)
    _weights = traitlets.Bytes().tag(sync=True)
    strokes = traitlets.List().tag(sync=True)
    width = traitlets.Float(0.08).tag(sync=True)

    @checked
    def __init__(self, net: nn.Module | None = None, strokes: list | None = None, **traits):
        self.net = pretrained("lenet5") if net is None else net
        super().__init__(_weights=web_bytes(self.net), strokes=strokes or [], **traits)

    @property
    def image(self) -> torch.Tensor:
        picture = ink(self.strokes, self.width)
        return as_mnist(picture) if picture.any() else torch.zeros(1, 28, 28, dtype=torch.uint8)

    @property
    @torch.no_grad()
    def probabilities(self) -> torch.Tensor | None:
        one = Split(self.image[None], torch.zeros(1, dtype=torch.int64))
        pixels = one.resized(28 if any(self.net[0].padding) else 32).images / 255
        with evaluating(self.net):
            return self.net(pixels)[0].softmax(0) if pixels.any() else None


class UnitExplorer(AnyWidget):
    """Every unit of a LeNet-5 that reads an image: click one to see how it is computed. Introduced in notebook 04.

    ``net`` as for `DrawingPad`; ``image``: uint8 ``[1, 28, 28]``, by default the first test digit. ``layer``, ``map``,
    ``row`` and ``column`` say which unit is shown; a program may read and set them.
    """

    _esm, _css = DrawingPad._esm, DrawingPad._css
    _kind = traitlets.Unicode("units").tag(sync=True)
    _weights, _image = traitlets.Bytes().tag(sync=True), traitlets.Bytes().tag(sync=True)
    layer = traitlets.Unicode("conv1").tag(sync=True)
    map, row, column = (traitlets.Int(number).tag(sync=True) for number in (3, 14, 17))

    @checked
    def __init__(self, net: nn.Module | None = None, image: torch.Tensor | None = None, **traits):
        image = load("MNIST").test.images[0] if image is None else image
        if image.dtype != torch.uint8 or image.shape != (1, 28, 28):
            raise ValueError(f"image must be uint8 of shape [1, 28, 28]; got {image.dtype} of {list(image.shape)}.")
        weights = web_bytes(pretrained("lenet5") if net is None else net)
        super().__init__(_weights=weights, _image=image.contiguous().numpy().tobytes(), **traits)


class ConvolutionWindow(UnitExplorer):
    """The window of the first convolution, to be moved over an image; see `UnitExplorer`. Introduced in notebook 02."""

    _kind = traitlets.Unicode("window").tag(sync=True)
