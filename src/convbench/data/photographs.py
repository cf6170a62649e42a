"""Photographs from files of any format that Pillow reads, as the pixels that a person would see."""

from __future__ import annotations

import io
import math
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from convbench.errors import ConvbenchError, RequestError

MODES = {1: "L", 3: "RGB"}  # channels -> Pillow's name
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
# What Pillow's decoders raise on damaged files; a truncated one is an OSError.
DAMAGE = (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, struct.error, zlib.error)


def read_photograph(source: Path | str | bytes | Image.Image, channels: int = 3) -> Tensor:
    """The photograph at a path, in a file's bytes, or an open one, as uint8 (channels, height, width).

    channels: 1 (grey, by the luma of ITU-R 601) or 3 (red, green, blue), whichever the file has

    A camera's orientation tag is obeyed. What is transparent shows white behind it, 16 bits become 8, of an animation
    the first frame counts; colour profiles are not applied. Pixels are not inverted: 0 is black.

    Raises RequestError where there is no image at the path, or it is so large that Pillow takes it for an attack;
    ConvbenchError where it is damaged.
    """
    if channels not in MODES:
        raise RequestError(f"photographs have 1 or 3 channels, found a network that reads {channels}")
    with opened(source) as image:
        return pixels_of(image, channels)


@contextmanager
def opened(source: Path | str | bytes | Image.Image) -> Iterator[Image.Image]:
    """The image, open, for a block in which all that Pillow raises becomes the errors of `read_photograph`."""
    name = source if isinstance(source, str | Path) else getattr(source, "filename", "") or "the image"
    try:
        with _QUIET, ExitStack() as closing:
            if isinstance(source, str | Path):
                require_image_file(source)
                source = Path(source).expanduser()
            if not isinstance(source, Image.Image):
                file = io.BytesIO(source) if isinstance(source, bytes) else source
                source = closing.enter_context(Image.open(file))
            if source.width * source.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError
            yield source
    except UnidentifiedImageError as error:
        raise RequestError(f"{name}: expected an image, such as JPEG or PNG, found no format that is known") from error
    except Image.DecompressionBombError as error:
        limit = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise RequestError(f"{name}: expected at most {limit} pixels, found more; reduce the image first") from error
    except DAMAGE as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConvbenchError(f"{name}: expected a whole image, found one that cannot be decoded ({reason})") from error


class _Quiet:
    """Pillow's warnings, of odd tags and large images, silenced while anybody reads.

    `warnings.catch_warnings` alone restores the wrong filters when threads leave it in another order than they came.
    """

    def __init__(self) -> None:
        self.lock, self.readers, self.filters = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self.lock:
            self.readers += 1
            if self.readers == 1:
                self.filters.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore", UserWarning)  # the image is read, or an error says why not
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `opened` looks for itself

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.readers -= 1
            if self.readers == 0:
                self.filters.close()


_QUIET = _Quiet()


def require_image_file(path: Path | str) -> None:
    """RequestError unless there is a file at `path`."""
    file = Path(path).expanduser()
    if file.is_dir():
        raise RequestError(
            f"{path}: expected an image file, found a folder; name files in it, such as {file / '*.jpg'}"
        )
    if not file.is_file():
        raise RequestError(f"{path}: expected an image file, found nothing")


def pixels_of(image: Image.Image, channels: int) -> Tensor:
    """The pixels of an open image, as `read_photograph` gives them; raises what Pillow does."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in SIXTEEN_BITS:
        upright = Image.fromarray(np.round(np.asarray(upright) / 257).astype(np.uint8))  # 65535 / 257 = 255
    elif upright.mode in ("I", "F"):
        raise ValueError("32 bits a pixel, whose range it does not tell")
    elif upright.has_transparency_data:
        paper = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(paper, upright.convert("RGBA"))
    converted = np.array(upright.convert(MODES[channels]))
    return torch.from_numpy(converted.reshape(*converted.shape[:2], channels)).permute(2, 0, 1).contiguous()
