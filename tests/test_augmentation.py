"""Random changes of training images: what torchvision computes for one image, for a whole batch at once."""

import math

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from mnistlib.augmentation import Augmentation

WIDE = {"degrees": 40, "translate": 0.3, "scale": (0.6, 1.5), "brightness": (0.5, 1.7)}
NOTHING = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0]])  # angle, move in x, move in y, scale, brightness


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def by_torchvision(image, amounts, mode):
    """The same change of one image, ``[1, H, H]``, by torchvision."""
    angle, move_x, move_y, scale, brightness = amounts.double().tolist()
    size = image.shape[-1]
    moved = transforms.affine(
        image,
        angle=math.degrees(angle),
        translate=[size * move_x, size * move_y],
        scale=scale,
        shear=[0, 0],
        interpolation=InterpolationMode(mode),
    )
    return transforms.adjust_brightness(moved, brightness)


@pytest.fixture(scope="module")
def digits(mnist):
    """200 real digits as numbers in 0–1."""
    return mnist.test.images[:200] / 255


# The same as torchvision


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("mode", "tolerance"), [("nearest", 0), ("bilinear", 1e-5)])
def test_every_image_is_changed_as_torchvision_changes_it_by_the_same_amounts(digits, mode, tolerance, dtype):
    images, augmentation = digits.to(dtype), Augmentation(**WIDE, mode=mode)
    amounts = augmentation.draw(len(images), seeded())
    expected = torch.stack([by_torchvision(image, own, mode) for image, own in zip(images, amounts, strict=True)])
    changed = augmentation.apply(images, amounts)
    assert changed.dtype == dtype
    torch.testing.assert_close(changed, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("place", range(5), ids=["angle", "move in x", "move in y", "scale", "brightness"])
def test_each_amount_alone_does_what_it_does_in_torchvision(digits, place):
    amounts = NOTHING.clone()
    amounts[0, place] = [0.5, 3 / 28, 3 / 28, 1.3, 1.3][place]
    changed = Augmentation().apply(digits[:1], amounts)[0]
    torch.testing.assert_close(changed, by_torchvision(digits[0], amounts[0], "bilinear"), rtol=0, atol=1e-5)
    assert (changed - digits[0]).abs().max() > 0.1


def test_images_of_32_pixels_are_changed_in_the_same_way(mnist):
    images = mnist.test.take(20).resized(32).images / 255
    augmentation = Augmentation(**WIDE)
    amounts = augmentation.draw(20, seeded())
    expected = torch.stack([by_torchvision(image, own, "bilinear") for image, own in zip(images, amounts, strict=True)])
    torch.testing.assert_close(augmentation.apply(images, amounts), expected, rtol=0, atol=1e-5)


# Each image for itself


def test_each_image_of_a_batch_gets_amounts_of_its_own(digits):
    changed = Augmentation(**WIDE)(digits[:1].repeat(50, 1, 1, 1), seeded())
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 50


def test_an_image_is_changed_the_same_way_alone_and_in_a_batch(digits):
    augmentation = Augmentation(**WIDE)
    amounts = augmentation.draw(20, seeded())
    together = augmentation.apply(digits[:20], amounts)
    alone = [augmentation.apply(digits[place : place + 1], amounts[place : place + 1]) for place in range(20)]
    torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_amounts_that_change_nothing_leave_the_images_as_they_are(digits, mode):
    augmentation = Augmentation(mode=mode)
    changed = augmentation(digits, seeded())
    torch.testing.assert_close(changed, digits, rtol=0, atol=0 if mode == "nearest" else 1e-5)


def test_the_images_that_were_given_are_left_alone(digits):
    before = digits.clone()
    Augmentation(**WIDE)(digits, seeded())
    assert torch.equal(digits, before)


# Paper and ink


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize(
    ("place", "kept"),
    [
        (1, (slice(None), slice(7, None))),
        (2, (slice(7, None), slice(None))),
    ],
    ids=["right", "down"],
)
def test_paper_comes_in_from_outside(mode, place, kept):
    """A sheet of ink, moved by a quarter of its width of 28 pixels: 7 columns or rows of paper."""
    amounts = NOTHING.clone()
    amounts[0, place] = 0.25
    expected = torch.zeros(1, 1, 28, 28)
    expected[0, 0][kept] = 1
    moved = Augmentation(mode=mode).apply(torch.ones(1, 1, 28, 28), amounts)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-5)


def test_a_smaller_sheet_has_paper_around_it():
    amounts = NOTHING.clone()
    amounts[0, 3] = 0.5
    small = Augmentation(mode="nearest").apply(torch.ones(1, 1, 28, 28), amounts)[0, 0]
    assert small[7:21, 7:21].all()
    assert small.sum() == 14 * 14


def test_pixels_stay_in_0_to_1_however_bright_they_become(digits):
    changed = Augmentation(**WIDE)(digits, seeded())
    assert changed.min() == 0
    assert changed.max() == 1


# Amounts


def test_the_amounts_fill_their_ranges_and_stay_in_them():
    amounts = Augmentation(**WIDE).draw(20_000, seeded())
    assert amounts.shape == (20_000, 5)
    angle = math.radians(40)
    low = torch.tensor([-angle, -0.3, -0.3, 0.6, 0.5])
    high = torch.tensor([angle, 0.3, 0.3, 1.5, 1.7])
    assert (amounts >= low - 1e-6).all()
    assert (amounts <= high + 1e-6).all()
    shares = (amounts - low) / (high - low)
    torch.testing.assert_close(shares.mean(0), torch.full((5,), 0.5), rtol=0, atol=0.01)  # five standard errors
    torch.testing.assert_close(shares.std(0), torch.full((5,), 12**-0.5), rtol=0, atol=0.01)  # uniform
    together = torch.corrcoef(shares.T) - torch.eye(5)
    assert together.abs().max() < 0.04  # no amount follows from another


def test_the_generator_alone_decides_the_amounts(digits):
    augmentation = Augmentation(**WIDE)
    first = augmentation(digits, seeded(1))
    torch.rand(3)  # the caller's own random numbers have no part in it
    assert torch.equal(augmentation(digits, seeded(1)), first)
    assert not torch.equal(augmentation(digits, seeded(2)), first)


def test_the_callers_random_numbers_are_left_alone(digits):
    before = torch.get_rng_state()
    Augmentation(**WIDE)(digits, seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_each_call_draws_new_amounts():
    augmentation, generator = Augmentation(**WIDE), seeded()
    assert not torch.equal(augmentation.draw(10, generator), augmentation.draw(10, generator))


# What is asked for


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"degrees": -1}, "degrees must be at least 0, translate 0 to 1; got -1 and 0.0"),
        ({"degrees": math.nan}, "degrees must be at least 0.* got nan"),
        ({"degrees": math.inf}, "degrees must be at least 0.* got inf"),
        ({"translate": -0.1}, "translate 0 to 1; got 0.0 and -0.1"),
        ({"translate": 1}, "translate 0 to 1; got 0.0 and 1"),
        ({"scale": (1.2, 0.8)}, r"scale must be two factors above 0, the smaller first; got \(1.2, 0.8\)"),
        ({"scale": (0, 1)}, r"scale must be two factors above 0, .* got \(0, 1\)"),
        ({"scale": (1, math.inf)}, r"scale must be two factors .* got \(1, inf\)"),
        ({"brightness": (-1, 1)}, r"brightness must be two factors above 0, .* got \(-1, 1\)"),
        ({"brightness": (math.nan, 1)}, r"brightness must be two factors .* got \(nan, 1\)"),
        ({"mode": "bicubic"}, "mode must be 'nearest' or 'bilinear'; got 'bicubic'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_range_that_makes_no_sense_is_named(options, match):
    with pytest.raises(ValueError, match=match):
        Augmentation(**options)


def test_what_it_prints_makes_it_again():
    augmentation = Augmentation(**WIDE, mode="nearest")
    assert eval(repr(augmentation)) == augmentation
    assert repr(augmentation) != repr(Augmentation(**WIDE))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_the_gpu_the_same_amounts_are_drawn_and_the_same_pixels_come(digits):
    augmentation = Augmentation(**WIDE)
    changed = augmentation(digits.cuda(), seeded())
    assert changed.device.type == "cuda"
    torch.testing.assert_close(changed.cpu(), augmentation(digits, seeded()), rtol=0, atol=1e-5)
