"""Deslanting and distortion on hand-worked images, and against SciPy and a second way to compute the same."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from convbench.data import Distortion, Preprocessing
from convbench.data.deslant import deslant, slant
from convbench.errors import RequestError

STILL = Distortion(translate=0, scale=0, squeeze=0, shear=0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(n: int, *, channels: int = 1, size: int = 28) -> Tensor:
    """Smooth ink well inside the image."""
    inner = torch.rand(n, channels, size // 2, size // 2, generator=seeded(7))
    inner = torch.nn.functional.avg_pool2d(inner, 5, stride=1, padding=2)
    return torch.nn.functional.pad(inner, (size // 4,) * 4)


# Deslanting


def test_a_slanted_bar_becomes_upright() -> None:
    image = torch.zeros(1, 1, 7, 9)
    upright = torch.zeros(1, 1, 7, 9)
    for row in range(7):
        image[0, 0, row, 1 + row] = 1  # one column per row, through the centre (3, 4)
        upright[0, 0, row, 4] = 1
    assert slant(image)[0].item() == pytest.approx(1)
    torch.testing.assert_close(deslant(image), upright)


def test_half_a_column_per_row_by_hand() -> None:
    # Rows 0 and 2 lie half a column to either side of row 1: each is blended from two neighbours.
    image = torch.tensor([[0, 0, 1, 1, 0, 0], [0, 0, 0.5, 1, 0.5, 0], [0, 0, 0, 1, 1, 0]]).view(1, 1, 3, 6)
    expected = torch.tensor([[0, 0, 0.5, 1, 0.5, 0]] * 3).view(1, 1, 3, 6)
    assert slant(image)[0].item() == pytest.approx(0.5)
    torch.testing.assert_close(deslant(image), expected)


def test_moments_after_deslanting_are_upright() -> None:
    sheared = Distortion(translate=0, scale=0, squeeze=0, shear=0.4)(blobs(64), seeded())
    assert slant(sheared)[0].abs().max() > 0.1
    upright = deslant(sheared)
    assert slant(upright)[0].abs().max() < 1e-5
    torch.testing.assert_close(upright.sum((1, 2, 3)), sheared.sum((1, 2, 3)))


@pytest.mark.parametrize("channels", [1, 3])
def test_deslanting_equals_scipys_affine_transform(channels: int) -> None:
    images = Distortion()(blobs(4, channels=channels), seeded())
    for image, mine in zip(images, deslant(images), strict=True):
        ink = image.sum(0).double().numpy()
        row, column = ndimage.center_of_mass(ink)
        rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
        weights = torch.from_numpy(ink)
        alpha = (weights * (rows - row) * (columns - column)).sum() / (weights * (rows - row) ** 2).sum()
        for channel in range(channels):
            sheared = ndimage.affine_transform(
                image[channel].numpy(), [[1, 0], [float(alpha), 1]], (0, -float(alpha) * row), order=1
            )
            torch.testing.assert_close(mine[channel], torch.from_numpy(sheared), atol=1e-4, rtol=0)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_images_without_a_slant_come_back_unchanged(n: int) -> None:
    blank = torch.zeros(n, 1, 28, 28)
    assert torch.equal(deslant(blank), blank)
    line = blank.clone()
    line[:, :, 20, 3:9] = 0.3  # ink in one row only
    assert torch.equal(deslant(line), line)


def test_preprocessing_deslants() -> None:
    pixels = (blobs(3) * 255).to(torch.uint8)
    expected = deslant(pixels.float() / 255)
    assert torch.equal(Preprocessing(deslant=True)(pixels), expected)


# Distortion


@pytest.mark.parametrize("shape", [(1, 1, 28, 28), (3, 1, 32, 32), (600, 1, 8, 8), (2, 3, 20, 33), (0, 1, 8, 8)])
def test_no_distortion_is_exact(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=seeded())
    assert torch.equal(STILL(images, seeded()), images)


def fixed(monkeypatch: pytest.MonkeyPatch, *uniform: float) -> None:
    """Every image gets these of dx, dy, scale, squeeze, shear and rotation, as fractions of their ranges."""
    monkeypatch.setattr(torch, "rand", lambda n, *_, generator: (torch.tensor([uniform] * n) + 1) / 2)


def test_translation_by_whole_pixels_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(2, 1, 28, 28, generator=seeded())
    fixed(monkeypatch, 1, -0.5, 0, 0, 0, 0)
    moved = Distortion(translate=2, scale=0, squeeze=0, shear=0)(images, seeded())
    expected = torch.zeros_like(images)
    expected[:, :, :-1, 2:] = images[:, :, 1:, :-2]  # two pixels to the right, one up
    assert torch.equal(moved, expected)


def test_a_quarter_turn_is_a_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(2, 1, 9, 9, generator=seeded())
    fixed(monkeypatch, 0, 0, 0, 0, 0, 1)
    turned = Distortion(translate=0, scale=0, squeeze=0, shear=0, rotate=90)(images, seeded())
    torch.testing.assert_close(turned, images.rot90(-1, (2, 3)), atol=1e-5, rtol=0)


def spread(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Central second moments of the ink: across, down, mixed; each (n,)."""
    rows, columns = torch.meshgrid(*(torch.arange(float(side)) for side in images.shape[2:]), indexing="ij")
    ink = images[:, 0] / images.sum((1, 2, 3))[:, None, None]
    row, column = (rows * ink).sum((1, 2)), (columns * ink).sum((1, 2))
    down, across = rows - row[:, None, None], columns - column[:, None, None]
    return (across**2 * ink).sum((1, 2)), (down**2 * ink).sum((1, 2)), (across * down * ink).sum((1, 2))


@pytest.mark.parametrize(
    ("which", "wider", "taller"),
    [("scale", 1.25, 1.25), ("squeeze", 1.25, 1 / 1.25), ("-squeeze", 1 / 1.25, 1.25)],
)
def test_scaling_and_squeezing(which: str, wider: float, taller: float, monkeypatch: pytest.MonkeyPatch) -> None:
    images = blobs(8, size=64)
    name, sign = which.lstrip("-"), -1 if which[0] == "-" else 1
    fixed(monkeypatch, 0, 0, sign, sign, 0, 0)
    after = spread(
        Distortion(**{"translate": 0, "scale": 0, "squeeze": 0, "shear": 0} | {name: 0.25})(images, seeded())
    )
    before = spread(images)
    torch.testing.assert_close(after[0] / before[0], torch.full((8,), wider**2), rtol=0.02, atol=0)
    torch.testing.assert_close(after[1] / before[1], torch.full((8,), taller**2), rtol=0.02, atol=0)


def test_shear_adds_its_slope_to_the_slant(monkeypatch: pytest.MonkeyPatch) -> None:
    images = blobs(8, size=64)
    fixed(monkeypatch, 0, 0, 0, 0, 1, 0)
    sheared = Distortion(translate=0, scale=0, squeeze=0, shear=0.3)(images, seeded())
    torch.testing.assert_close(slant(sheared)[0] - slant(images)[0], torch.full((8,), 0.3), rtol=0.02, atol=0)
    torch.testing.assert_close(spread(sheared)[1], spread(images)[1], rtol=1e-3, atol=0)


def test_distortions_compose_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two channels that hold each pixel's own column and row, from the centre: a distorted image then says
    # where each of its pixels came from, and scaling, shearing, rotating and moving that must lead back.
    axis = torch.arange(33.0) - 16
    places = torch.stack(torch.meshgrid(axis, axis, indexing="xy"))
    fixed(monkeypatch, 1, 0.5, 1, -1, 1, 0.5)
    origin = Distortion(translate=2, scale=0.2, squeeze=0.1, shear=0.3, rotate=30)(places[None], seeded())[0]
    column, row = origin[0] * 1.2 / 1.1, origin[1] * 1.2 * 1.1
    column = column + 0.3 * row
    cos, sin = math.cos(math.radians(15)), math.sin(math.radians(15))
    back = torch.stack((cos * column - sin * row + 2, sin * column + cos * row + 1))
    inner = (slice(None), slice(10, -10), slice(10, -10))
    torch.testing.assert_close(back[inner], places[inner], atol=1e-3, rtol=0)


def test_ranges_are_used_whole_and_kept() -> None:
    dot = torch.zeros(4000, 1, 31, 31)
    dot[:, :, 15, 15] = 1
    moved = Distortion(translate=3, scale=0, squeeze=0, shear=0)(dot, seeded())
    columns = (moved.sum((1, 2)) * torch.arange(31.0)).sum(1) - 15
    rows = (moved.sum((1, 3)) * torch.arange(31.0)).sum(1) - 15
    for offsets in (rows, columns):
        assert 2.99 < offsets.max() <= 3.0001
        assert -3.0001 <= offsets.min() < -2.99
        assert offsets.std().item() == pytest.approx(3 / math.sqrt(3), rel=0.03)  # uniform
    assert abs(torch.stack((rows, columns)).corrcoef()[0, 1]) < 0.05


@pytest.mark.parametrize("distortion", [Distortion(), Distortion(rotate=10, elastic_alpha=34, elastic_sigma=4)])
def test_the_seed_decides(distortion: Distortion) -> None:
    images = blobs(700)
    once = distortion(images, seeded(1))
    assert once.shape == images.shape
    assert torch.equal(once, distortion(images, seeded(1)))
    assert not torch.equal(once, distortion(images, seeded(2)))
    assert not torch.equal(once[0], distortion(images[:1].expand(2, -1, -1, -1), seeded(1))[1])  # each its own
    assert 0 <= once.min() <= once.max() <= images.max()


def test_elastic_fields_are_smoothed_noise() -> None:
    distortion = Distortion(elastic_alpha=34, elastic_sigma=4)
    field = distortion._elastic(300, 28, 28, seeded()).view(300, 2, 28, 28)
    noise = torch.rand(300, 2, 28, 28, generator=seeded()) * 2 - 1
    expected = 34 * ndimage.gaussian_filter(noise[0].numpy(), (0, 4, 4), mode="constant", truncate=7)
    torch.testing.assert_close(field[0], torch.from_numpy(expected), atol=1e-4, rtol=0)
    # Smoothing divides the spread of uniform noise, 1 / sqrt(3), by 2 sigma sqrt(pi) where the edge is far.
    assert field[:, :, 14, 14].std().item() == pytest.approx(34 / math.sqrt(3) / (8 * math.sqrt(math.pi)), rel=0.1)


def test_elastic_distortion_moves_pixels_by_its_field() -> None:
    # On a ramp the sampled value is the sampled column, so the displacement can be read off.
    ramp = torch.arange(28.0).expand(2, 1, 28, 28).contiguous()
    distortion = Distortion(translate=0, scale=0, squeeze=0, shear=0, elastic_alpha=20, elastic_sigma=5)
    generator = seeded()
    torch.rand(2, 6, generator=generator)  # the affine part draws first
    field = distortion._elastic(2, 28, 28, generator).view(2, 2, 28, 28)
    moved = distortion(ramp, seeded())[:, 0] - ramp[:, 0]
    inner = (slice(None), slice(6, -6), slice(6, -6))
    torch.testing.assert_close(moved[inner], field[:, 0][inner], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "ranges", [{"shear": -0.1}, {"translate": math.nan}, {"scale": math.inf}, {"elastic_alpha": 34}]
)
def test_bad_ranges_are_refused(ranges: dict[str, float]) -> None:
    with pytest.raises(RequestError, match=next(iter(ranges))):
        Distortion(**ranges)
