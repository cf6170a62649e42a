"""Crops of the photographs that scikit-learn ships: real, the same each time, unlike each other."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_sample_images

from convbench.data.samples import sample_photographs


@pytest.mark.parametrize(("n", "channels", "side"), [(1, 3, 224), (8, 3, 33), (5, 1, 28), (3, 4, 16)])
def test_shape_and_type(n: int, channels: int, side: int) -> None:
    images = sample_photographs(n, channels, side)
    assert images.shape == (n, channels, side, side)
    assert images.dtype == torch.uint8
    assert images.float().std() > 20  # a photograph, not a surface


def test_the_same_each_time_and_all_unlike() -> None:
    images = sample_photographs(64, 3, 24)
    assert torch.equal(images, sample_photographs(64, 3, 24))
    assert len(images.flatten(1).unique(dim=0)) == 64


def test_a_crop_at_its_own_size_is_the_photograph() -> None:
    temple, flower = load_sample_images().images
    side = temple.shape[0]
    first, last = sample_photographs(2, 3, side)
    assert torch.equal(first, torch.tensor(temple[:, :side]).permute(2, 0, 1))
    assert torch.equal(last, torch.tensor(flower[:, -side:]).permute(2, 0, 1))


def test_grey_is_the_mean_of_the_colours() -> None:
    colour, grey = sample_photographs(4, 3, 20), sample_photographs(4, 1, 20)
    assert (colour.float().mean(dim=1, keepdim=True) - grey.float()).abs().max() <= 1
