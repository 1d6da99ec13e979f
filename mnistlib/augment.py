"""Random changes of training images, a whole batch at once on its device. Introduced in notebook 06."""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from mnistlib.base.checks import checked


@checked
@dataclass(frozen=True)
class Augmentation:
    """Rotate, scale, shift and brighten each image of a batch, each by random amounts of its own.

    degrees: the largest angle, to either side; translate: the largest shift, as a fraction of the width and height;
    scale, brightness: the smallest and the largest factor; mode: how a new pixel gets its value, from the "nearest"
    pixel or "bilinear" between four; flip: the probability that left and right change places, which suits clothes but
    not digits. All amounts are uniform. torchvision's RandomAffine and ColorJitter do the same, but draw one amount for
    a whole batch, and shift by whole pixels. Raises ValueError for other ranges. Notebook 06.
    """

    degrees: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    brightness: tuple[float, float] = (1.0, 1.0)
    mode: str = "bilinear"
    flip: float = 0.0

    def __post_init__(self):
        if not (0 <= self.degrees < math.inf and 0 <= self.translate < 1):
            raise ValueError(f"degrees must be at least 0, translate 0 to 1; got {self.degrees} and {self.translate}.")
        for name, (low, high) in {"scale": self.scale, "brightness": self.brightness}.items():
            if not 0 < low <= high < math.inf:
                raise ValueError(f"{name} must be two factors above 0, the smaller first; got {(low, high)}.")
        if self.mode not in ("nearest", "bilinear") or not 0 <= self.flip <= 1:
            got = f"{self.mode!r} and {self.flip}"
            raise ValueError(f"mode must be 'nearest' or 'bilinear', flip a probability, 0 to 1; got {got}.")

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw angle (radians), shift in x and y, scale, brightness, side (−1: flipped, or 1): float ``[count, 6]``."""
        angle, shift = math.radians(self.degrees), self.translate
        low = torch.tensor([-angle, -shift, -shift, self.scale[0], self.brightness[0]])
        high = torch.tensor([angle, shift, shift, self.scale[1], self.brightness[1]])
        amounts = low + (high - low) * torch.rand(count, 5, generator=generator)
        flipped = torch.rand(count, 1, generator=generator) < self.flip if self.flip else torch.zeros(count, 1)
        return torch.cat([amounts, 1 - 2 * flipped.to(amounts.dtype)], 1)

    def apply(self, images: torch.Tensor, amounts: torch.Tensor) -> torch.Tensor:
        """Change ``images``, float ``[B, 1, H, H]`` in 0–1, by the ``amounts`` of `draw`; shape and dtype stay."""
        angle, shift_x, shift_y, scale, brightness, side = amounts.to(images.dtype).unbind(1)
        cos, sin = angle.cos() / scale, angle.sin() / scale
        # grid_sample asks where each new pixel comes from, so this is the inverse of the change. Coordinates go from
        # -1 to 1: a shift by the whole width is 2.
        turn = torch.stack([cos * side, sin, -sin * side, cos], 1).view(-1, 2, 2)
        move = -2 * turn @ torch.stack([shift_x, shift_y], 1)[:, :, None]
        grid = F.affine_grid(torch.cat([turn, move], 2), list(images.shape), align_corners=False)
        moved = F.grid_sample(images, grid, self.mode, align_corners=False)
        return (moved * brightness.view(-1, 1, 1, 1)).clamp_(max=1)

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw amounts with a CPU generator and apply them."""
        return self.apply(images, self.draw(len(images), generator).to(images.device))
