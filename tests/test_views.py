"""Random views: against torchvision's crops by distribution, against slow references pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from convbench.data.views import LIGHTING, View, shift_colours
from convbench.errors import RequestError


def drawn(view: View, images: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return view.batch(images, torch.Generator().manual_seed(seed))


def numbered(n: int, side: int) -> torch.Tensor:
    """Images whose pixels tell their place: channel 0 the row, channel 1 the column, from 1 on."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image = torch.stack((rows + 1, columns + 1, torch.ones_like(rows)))
    return (image[None] * torch.ones(n, 1, 1, 1, dtype=torch.int64)).to(torch.uint8)


def test_padded_windows_are_windows_of_the_padded_image() -> None:
    images = numbered(400, 8)
    padded = torch.nn.functional.pad(images, (2,) * 4)
    seen = drawn(View(crop="pad", pad=2, mirror=True), images)
    found = set()
    for image, window in zip(padded, seen, strict=True):
        places = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if torch.equal(window, flipped(image[:, top : top + 8, left : left + 8], mirrored))
        ]
        assert len(places) == 1
        found.add(places[0])
    assert len(found) == 50  # every place, mirrored and not


def flipped(image: torch.Tensor, mirrored: bool) -> torch.Tensor:
    return image.flip(2) if mirrored else image


def test_windows_of_stored_squares() -> None:
    view = View(crop="shorter", shorter=(20, 20), size=16, mirror=True)
    images = numbered(2000, 20)
    seen = drawn(view, images)
    assert seen.shape == (2000, 3, 16, 16) and seen.dtype == torch.uint8
    tops = seen[:, 0, 0, 0].long() - 1
    lefts = torch.minimum(seen[:, 1, 0, 0], seen[:, 1, 0, -1]).long() - 1
    mirrored = seen[:, 1, 0, 0] > seen[:, 1, 0, -1]
    for counts in (tops.bincount(minlength=5), lefts.bincount(minlength=5), mirrored.long().bincount(minlength=2)):
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    with pytest.raises(RequestError, match="stored 24x24"):
        drawn(view, numbered(1, 24))
    with pytest.raises(RequestError, match="nearest is 'shorter'"):
        drawn(View(crop="area", size=16), images)


def test_views_repeat_by_their_generator() -> None:
    images, view = numbered(50, 8), View(crop="pad", mirror=True)
    assert torch.equal(drawn(view, images, 3), drawn(view, images, 3))
    assert not torch.equal(drawn(view, images, 3), drawn(view, images, 4))


@pytest.mark.parametrize(("height", "width"), [(375, 500), (100, 900)])
def test_areas_are_torchvisions(height: int, width: int) -> None:
    """Two-sample tests on area, ratio and place, of 2,000 windows of each; the second shape often falls back."""
    view, random = View(crop="area", size=224), torch.Generator().manual_seed(0)
    ours = [view.window(height, width, random) for _ in range(2000)]
    torch.manual_seed(0)
    crop, image = v2.RandomResizedCrop(224), torch.empty(3, height, width, dtype=torch.uint8)
    theirs = [crop.make_params([image]) for _ in range(2000)]
    for name in ("height", "width", "top", "left"):
        sample = [getattr(one, name) for one in ours]
        assert stats.ks_2samp(sample, [one[name] for one in theirs]).pvalue > 1e-3, name
    assert all(0 <= one.top <= height - one.height and 0 <= one.left <= width - one.width for one in ours)


def test_scale_jitter_gives_windows_of_the_resized_photograph() -> None:
    """VGG's: 224 pixels out of a photograph whose shorter side has 256 to 512."""
    view, random = View(crop="shorter", shorter=(256, 512), size=224), torch.Generator().manual_seed(0)
    windows = [view.window(375, 500, random) for _ in range(2000)]
    sides = {one.height for one in windows}
    assert (min(sides), max(sides)) == (round(224 * 375 / 512), round(224 * 375 / 256))
    assert all(
        one.height == one.width and one.top + one.height <= 375 and one.left + one.width <= 500 for one in windows
    )


def test_colours_shift_along_the_principal_components() -> None:
    images = torch.rand(2, 3, 4, 4)
    deviations, components = LIGHTING
    alphas = torch.tensor([[0.1, 0.0, 0.0], [0.0, -0.2, 0.3]])
    shifted = shift_colours(images, alphas)
    for image, (before, after) in enumerate(zip(images, shifted, strict=True)):
        for channel in range(3):
            shift = sum(components[channel][k] * deviations[k] * alphas[image, k].item() for k in range(3))
            torch.testing.assert_close(after[channel], before[channel] + shift)
    columns = torch.tensor(components)
    torch.testing.assert_close(columns.T @ columns, torch.eye(3), rtol=0, atol=1e-3)  # they are orthonormal
