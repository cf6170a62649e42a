"""Windows of photographs, decoded as far as they need, beside torchvision's and Pillow's of whole photographs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image, JpegImagePlugin
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import functional

from convbench.data.decoding import decode_shorter, decode_window
from convbench.data.folder import image_files
from convbench.data.photographs import read_photograph
from convbench.data.preprocessing import Preprocessing
from convbench.data.views import View, Window
from convbench.errors import ConvbenchError, RequestError

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")  # torchvision's

LEVELS = 1.0  # mean absolute difference of 255 that photographs may have on average
WORST = 3.0  # and a single one


def scene(height: int, width: int) -> Image.Image:
    """Smooth shapes and colours, some noise: what a JPEG is made for."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    noise = np.random.default_rng(0).normal(0, 3, (height, width, 3))
    waves = [np.sin(9 * rows + 7 * columns), np.cos(11 * columns), np.sin(40 * rows * columns)]
    return Image.fromarray((127 + 90 * np.stack(waves, 2) + noise).clip(0, 255).astype(np.uint8))


def stored(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def whole(content: bytes, window: Window, size: int) -> Tensor:
    """The same by torchvision, which decodes all."""
    pixels = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)
    seen = functional.resized_crop(
        pixels, window.top, window.left, window.height, window.width, [size, size], antialias=True
    )
    return functional.horizontal_flip(seen) if window.mirrored else seen


def difference(a: Tensor, b: Tensor) -> float:
    assert (a.dtype, a.shape) == (torch.uint8, b.shape)
    return float((a.int() - b.int()).abs().float().mean())


def always(window: Window) -> Callable[[int, int], Window]:
    return lambda height, width: window


def windows(height: int, width: int, count: int, size: int) -> list[Window]:
    view, generator = View(crop="area", size=size, mirror=True), torch.Generator().manual_seed(0)
    return [view.window(height, width, generator) for _ in range(count)]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_window_is_that_of_the_whole_photograph(mode: str, progressive: bool) -> None:
    content = stored(scene(231, 317).convert(mode), quality=90, subsampling="4:4:4", progressive=progressive)
    for window in windows(231, 317, 30, 160):
        assert torch.equal(decode_window(content, always(window), 160), whole(content, window, 160))


@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"progressive": True}])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_rows_that_are_not_decoded_change_nothing(subsampling: str, options: dict[str, Any]) -> None:
    content = stored(scene(200, 120), quality=95, subsampling=subsampling, **options)
    photograph = simplejpeg.decode_jpeg(content, fastupsample=True)
    for top in range(140):
        window = Window(top, 10, 60, 60, False)
        seen = decode_window(content, always(window), 60)
        assert np.array_equal(seen.permute(1, 2, 0), photograph[top : top + 60, 10:70])


@pytest.mark.parametrize(("size", "reduction"), [(64, 2), (32, 4), (16, 8)])
def test_reduced_decoding_is_close(size: int, reduction: int) -> None:
    content = stored(scene(413, 519), quality=92)
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        side = int(torch.randint(2 * size * reduction, 414, (), generator=generator))
        top = int(torch.randint(0, 414 - side, (), generator=generator))
        window = Window(top, 519 - side, side, side, True)
        assert difference(decode_window(content, always(window), size), whole(content, window, size)) < LEVELS


def turned_by(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_window_is_chosen_once_of_the_upright_photograph(orientation: int) -> None:
    content = stored(scene(48, 64), subsampling="4:4:4", exif=turned_by(orientation))
    upright, asked = read_photograph(content), list[tuple[int, ...]]()
    seen = decode_window(content, lambda *size: asked.append(size) or Window(0, 0, *size, False), 40)
    assert asked == [upright.shape[1:]]
    assert torch.equal(seen, functional.resize(upright, [40, 40], antialias=True))


@pytest.mark.parametrize(
    "content",
    [
        stored(scene(50, 70), "PNG"),
        stored(scene(50, 70).convert("CMYK")),
        stored(scene(50, 70).convert("RGBA"), "WEBP", lossless=True),
        stored(scene(50, 70), subsampling="4:4:4") + b"what follows",
        stored(scene(50, 70), subsampling="4:4:4", comment=b"\xff\xd9\xff\xc0"),
        stored(scene(50, 70), subsampling="4:4:4", keep_rgb=True),
    ],
    ids=["PNG", "CMYK", "WebP", "bytes behind", "markers in a comment", "red, green, blue"],
)
def test_other_files_are_read_as_pillow_does(content: bytes) -> None:
    window = Window(5, 6, 30, 40, True)
    part = read_photograph(content)[:, 5:35, 6:46]
    expected = functional.resize(part, [24, 24], antialias=True).flip(2)
    assert torch.equal(decode_window(content, always(window), 24), expected)
    assert torch.equal(
        decode_shorter(content, 25), functional.resize(read_photograph(content), [25, 35], antialias=True)
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (7, 5), (8, 8), (17, 3)])
def test_tiny_photographs(shape: tuple[int, int]) -> None:
    content = stored(scene(*shape), subsampling="4:4:4")
    seen = decode_window(content, lambda height, width: Window(0, 0, height, width, False), 16)
    assert torch.equal(seen, whole(content, Window(0, 0, *shape, False), 16))


@pytest.mark.parametrize("left", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize(
    "read",
    [
        lambda content: decode_window(content, always(Window(0, 0, 9, 9, False)), 9),
        lambda content: decode_shorter(content, 9),
    ],
)
def test_what_is_cut_short_is_an_error_of_one_line(read: Callable[[bytes], Tensor], left: float) -> None:
    content = stored(scene(100, 100))
    with pytest.raises(ConvbenchError) as caught:  # of which RequestError is one
        read(content[: int(left * len(content))])
    assert len(str(caught.value).splitlines()) == 1


def test_damage_is_an_error_or_pixels_but_nothing_else() -> None:
    content, random = stored(scene(64, 64)), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for place in random.integers(2, len(content) - 2, 3):
            damaged[place] = random.integers(256)
        try:
            seen = decode_window(bytes(damaged), lambda height, width: Window(0, 0, height // 2, width, False), 8)
        except ConvbenchError:
            continue
        assert seen.shape == (3, 8, 8)


def test_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 99)
    with pytest.raises(RequestError, match="at most 99 pixels"):
        decode_shorter(stored(scene(10, 10)), 5)


@pytest.mark.parametrize(("height", "width", "shorter"), [(90, 121, 64), (121, 90, 64), (50, 50, 60)])
def test_the_shorter_side_is_as_preprocessing_makes_it(height: int, width: int, shorter: int) -> None:
    content = stored(scene(height, width))
    ours = decode_shorter(content, shorter)
    theirs = Preprocessing(shorter=shorter).geometry(read_photograph(content)[None])[0] * 255
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= 1.5  # bytes are rounded after each of the two directions


@pytest.mark.realdata
def test_windows_of_real_photographs(real_data: Path) -> None:
    """Photographs of several hundred pixels, and small ones, as stored."""
    folders = {real_data / "coco128": 2, real_data / "imagenette": 211}  # one in so many
    files = [folder / name for folder, step in folders.items() for name in list(image_files(folder, "."))[::step]]
    assert len(files) > 60
    close, shorter = list[float](), list[float]()
    for file in files:
        content = file.read_bytes()
        height, width = read_photograph(content).shape[1:]
        sampled = JpegImagePlugin.get_sampling(Image.open(file))
        for size in (64, 224):
            for window in windows(height, width, 2, size):
                found = difference(decode_window(content, always(window), size), whole(content, window, size))
                close.append(found)
                if sampled in (0, -1) and min(window.height, window.width) < 4 * size:
                    assert found == 0
        for side in (48, 256):
            ours, photograph = decode_shorter(content, side), read_photograph(content)
            shorter.append(difference(ours, functional.resize(photograph, list(ours.shape[1:]), antialias=True)))
            assert shorter[-1] == 0 or min(height, width) >= 4 * side
    print(f"{len(close)} windows: {np.mean(close):.3f}, at most {max(close):.3f}")
    print(f"{len(shorter)} whole: {np.mean(shorter):.3f}, at most {max(shorter):.3f}")
    assert np.mean(close) < LEVELS and max(close) < WORST
    assert np.mean(shorter) < LEVELS and max(shorter) < WORST
