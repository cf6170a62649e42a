"""Preprocessing: torchvision's and Pillow's results on the same pixels, hand-worked colours, and what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from convbench.data import Dataset, Distortion, Preprocessing, open_dataset
from convbench.errors import RequestError
from convbench.schema import parse

RECORDS = Path(__file__).parents[1] / "docs" / "lecun1998"
IMAGENET = Preprocessing(shorter=256, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
SMALL = replace(IMAGENET, shorter=32, crop=28)


def picture(height: int, width: int) -> Tensor:
    """Edges, slopes and noise in three channels, uint8 (1, 3, height, width)."""
    generator = torch.Generator().manual_seed(height * width)
    slope = torch.linspace(0, 200, width).expand(3, height, width).clone()
    slope[1, height // 3 :] = 255
    noise = torch.rand(3, height, width, generator=generator) * 55
    return (slope + noise).clamp(0, 255).to(torch.uint8)[None]


def dataset(images: Tensor, shorter: int | None) -> Dataset:
    labels = torch.zeros(len(images), dtype=torch.int64)
    return Dataset("crops", "test", images, labels, ("one",), "memory", shorter)


def torchvisions(preprocessing: Preprocessing, *, floating: bool) -> v2.Compose:
    """The same steps by torchvision; not floating resamples as Pillow does, in uint8."""
    to_float = v2.ToDtype(torch.float32, scale=True)
    resize, crop = v2.Resize(preprocessing.shorter, antialias=True), v2.CenterCrop(preprocessing.crop)
    normalise = v2.Normalize(preprocessing.mean, preprocessing.std)
    return v2.Compose([to_float, resize, crop, normalise] if floating else [resize, crop, to_float, normalise])


# Oracles


@pytest.mark.parametrize("size", [(40, 62), (62, 40), (57, 57), (33, 88), (32, 41), (20, 30), (28, 200)])
def test_torchvision_prepares_the_same(size: tuple[int, int]) -> None:
    images = picture(*size)
    torch.testing.assert_close(SMALL(images), torchvisions(SMALL, floating=True)(images), atol=1e-5, rtol=0)
    one_level = 1 / 255 / min(IMAGENET.std or ())
    torch.testing.assert_close(
        SMALL(images), torchvisions(SMALL, floating=False)(images), atol=one_level * 1.001, rtol=0
    )


@pytest.mark.parametrize("size", [(60, 80), (80, 60), (24, 24), (31, 47)])
def test_pillow_resamples_the_same(size: tuple[int, int]) -> None:
    (pixels,) = picture(*size)
    ours = Preprocessing(size=32)(pixels[None])[0] * 255
    pillows = Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.abs(ours.permute(1, 2, 0).numpy() - np.asarray(pillows)).max() <= 1.001  # Pillow rounds twice


@pytest.mark.realdata
def test_photographs_come_out_as_torchvisions(real_data: Path) -> None:
    """Photographs of COCO through the whole of a published pipeline, to within one of 255 levels."""
    compared = 0
    for file in sorted((real_data / "coco128/train2017").iterdir())[:16]:
        with Image.open(file) as image:
            photograph = image.convert("RGB")
        pixels = torch.from_numpy(np.array(photograph)).permute(2, 0, 1)[None]
        by_pillow = v2.Compose([v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor()])(photograph)
        margin = int(256 * max(photograph.size) / min(photograph.size)) - 224
        if margin % 4 == 3:  # torchvision's crop lies one pixel further, see `_central`
            continue
        compared += 1
        ours = replace(IMAGENET, mean=None, std=None)(pixels)[0] * 255
        assert (ours - by_pillow).abs().max() <= 1
        torch.testing.assert_close(IMAGENET(pixels), torchvisions(IMAGENET, floating=True)(pixels), atol=1e-5, rtol=0)
    assert compared >= 8


def test_the_crop_is_central() -> None:
    """By hand: of 5 rows the middle 2 are 1 and 2, of 4 columns they are 1 and 2; Keras' CenterCrop takes these."""
    images = torch.arange(20, dtype=torch.uint8).reshape(1, 1, 5, 4)
    kept = Preprocessing(crop=2, high=255.0)(images)
    assert kept.round().tolist() == [[[[5, 6], [9, 10]]]]


def test_caffes_colours() -> None:
    """By hand: blue first, in 0 to 255, less Caffe's means."""
    means = (103.939, 116.779, 123.68)
    caffe = Preprocessing(bgr=True, mean=tuple(mean / 255 for mean in means), std=(1 / 255,) * 3)
    red, green, blue = 200, 100, 50
    pixel = torch.tensor([red, green, blue], dtype=torch.uint8).reshape(1, 3, 1, 1)
    expected = [blue - means[0], green - means[1], red - means[2]]
    assert caffe(pixel).flatten().tolist() == pytest.approx(expected, abs=1e-4)


def test_the_mean_comes_after_low_and_high() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)
    assert Preprocessing(low=-1, high=3, mean=(1.0,), std=(2.0,))(pixels).flatten().tolist() == [-1, 1]


def test_geometry_and_scale_are_the_whole() -> None:
    """Distortions go between the two, on a background of 0."""
    images = picture(40, 50)
    between = SMALL.geometry(images)
    assert between.min() >= 0 and between.max() <= 1
    kept = between.clone()
    assert torch.equal(SMALL.scale(Distortion(0, 0, 0, 0)(between, torch.Generator())), SMALL(images))
    assert torch.equal(SMALL.scale(between), SMALL(images))
    assert torch.equal(between, kept), "pixels that are read again in the next epoch were written over"


# What a data set has done already


def test_what_was_resized_is_not_resized_again() -> None:
    crops = picture(28, 28)
    left = SMALL.for_dataset(dataset(crops, 32))
    assert torch.equal(left(crops), replace(SMALL, shorter=None)(crops))


def test_another_size_is_relative_to_the_photograph() -> None:
    """342 of 256 pixels enlarge the crop of 227 to 303.26; the photograph's own centre is nearly the same picture."""
    photograph = picture(256, 256).float()
    smooth = v2.GaussianBlur(31, 10.0)(photograph).to(torch.uint8)
    crops = smooth[:, :, 14:241, 14:241]
    large = Preprocessing(shorter=342, crop=299)
    left = large.for_dataset(dataset(crops, 256))
    assert left == Preprocessing(shorter=303, crop=299)
    assert (left(crops) - large(smooth)).abs().max() < 0.01
    assert (Preprocessing(size=299)(crops) - large(smooth)).abs().max() > 0.01


@pytest.mark.parametrize("shorter", [None, 256])
def test_a_data_set_of_whole_images_changes_nothing(shorter: int | None) -> None:
    chosen = Preprocessing(shorter=shorter, crop=8)
    assert chosen.for_dataset(dataset(picture(16, 16), None)) is chosen


def test_a_crop_beyond_what_is_stored() -> None:
    too_large = Preprocessing(shorter=299, crop=299)
    crops = dataset(picture(227, 227), 256)
    with pytest.raises(
        RequestError, match=r"crops holds 227 of 256 .* makes 265; nearest are crop 265, or shorter 338$"
    ):
        too_large.for_dataset(crops)
    assert replace(too_large, crop=265).for_dataset(crops)(crops.images).shape == (1, 3, 265, 265)
    assert replace(too_large, shorter=338).for_dataset(crops)(crops.images).shape == (1, 3, 299, 299)


@pytest.mark.realdata
@pytest.mark.parametrize(("shorter", "crop"), [(256, 224), (256, 227), (342, 299), (338, 299)])
def test_imagenet_fits_the_published_sizes(shorter: int, crop: int, real_data: Path) -> None:
    photographs = open_dataset("imagenet-val", "test", data_dir=real_data).subset(torch.arange(2))
    left = Preprocessing(shorter=shorter, crop=crop).for_dataset(photographs)
    assert left(photographs.images).shape == (2, 3, crop, crop)


# What is refused


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"mean": (0.5, 0.5, 0.5)}, "mean of 3: expected images of 3 channels, found 1"),
        ({"std": (0.5, 0.5, 0.5)}, "std of 3: expected images of 3 channels, found 1"),
        ({"bgr": True}, "bgr: expected images of 3 channels, found 1"),
        ({"crop": 9}, "crop 9: expected images at least as large, found 8x10; nearest is crop 8"),
    ],
)
def test_images_that_do_not_fit(arguments: dict[str, Any], expected: str) -> None:
    grey = torch.zeros(1, 1, 8, 10, dtype=torch.uint8)
    with pytest.raises(RequestError, match=expected):
        Preprocessing(**arguments)(grey)


def test_a_line_does_not_fill_the_memory() -> None:
    with pytest.raises(RequestError, match="sides within a factor of 64, found 1x100000"):
        Preprocessing(shorter=256)(torch.zeros(1, 3, 1, 100_000, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"crop": 0}, "preprocessing.crop: expected pixels, 1 or more, found 0"),
        ({"shorter": -1}, "preprocessing.shorter: .* found -1"),
        ({"size": 0}, "preprocessing.size"),
        ({"pad": -1}, "preprocessing.pad: .* 0 or more, found -1"),
        ({"std": [0.2, 0.0, 0.2]}, "std: expected numbers above 0"),
        ({"mean": [0.5], "std": [0.5, 0.5]}, "a mean and a std for each channel, found 1 and 2"),
        ({"mean": [0.5, "x", 0.5]}, "mean.1: .* found 'x'"),
        ({"shortest": 256}, "unknown key in here 'shortest': nearest is shorter"),
    ],
)
def test_bad_settings(content: dict[str, Any], expected: str) -> None:
    with pytest.raises(RequestError, match=expected) as caught:
        parse(Preprocessing, content, "here")
    assert "\n" not in str(caught.value)


def test_it_travels_as_json() -> None:
    caffe = replace(IMAGENET, bgr=True, low=-1.0)
    assert parse(Preprocessing, json.loads(json.dumps(asdict(caffe))), "here") == caffe


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*/record.json")), ids=lambda path: path.parent.name)
def test_older_records_mean_what_they_meant(path: Path) -> None:
    """They lack the later steps, which their defaults leave out."""
    recorded = json.loads(path.read_text())["preprocessing"]
    read = parse(Preprocessing, recorded, "record")
    assert {key: value for key, value in asdict(read).items() if key in recorded} == recorded
    assert replace(read, **{key: getattr(Preprocessing(), key) for key in recorded}) == Preprocessing()
