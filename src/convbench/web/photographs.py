"""Photographs that were uploaded: decoded once, kept in memory for a while, known by what they show."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from convbench.data.photographs import opened, read_photograph
from convbench.errors import ConvbenchError, RequestError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # of Pillow's, those that run no other program
MOST_PIXELS = 50_000_000  # of an upload, when it is decoded
SIDE = 1024  # pixels of the longer side that are kept
KEPT = 64  # photographs, of at most 3 MiB each
SAMPLES = ("china.jpg", "flower.jpg")  # scikit-learn's, by danielbuechele (CC BY 2.0) and dany13 (CC BY 2.0)


class MissingError(ConvbenchError):
    """What was asked for is not here, or no longer."""


@dataclass(frozen=True)
class Photograph:
    """pixels: uint8 (3, h, w); the id is a digest of them"""

    id: str
    pixels: Tensor
    name: str

    @property
    def png(self) -> bytes:
        """For the page, which may not be given what was uploaded: a browser would believe its type."""
        return png_of(self.pixels)


class Photographs:
    """The last that were uploaded, and samples that are always there."""

    def __init__(self) -> None:
        self._lock, self._kept = threading.Lock(), OrderedDict[str, Photograph]()
        self._samples: tuple[Photograph, ...] = ()

    def add(self, content: bytes) -> Photograph:
        """Decode a file's content; RequestError for what is no image of a known format or has too many pixels,
        ConvbenchError for a damaged one."""
        return self._keep(decode(content), "your photograph")

    def get(self, id: str) -> Photograph:
        """MissingError for one that was never here, or whose place others have taken."""
        samples = {one.id: one for one in self.samples()}
        with self._lock:
            if id in self._kept:
                self._kept.move_to_end(id)
                return self._kept[id]
        if id in samples:
            return samples[id]
        raise MissingError("this photograph is no longer here: upload it again")

    def samples(self) -> tuple[Photograph, ...]:
        """Scikit-learn's two."""
        if not self._samples:
            from sklearn.datasets import load_sample_image

            pixels = [torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1) for name in SAMPLES]
            self._samples = tuple(
                Photograph(digest_of(one), one, name.partition(".")[0])
                for one, name in zip(pixels, SAMPLES, strict=True)
            )
        return self._samples

    def _keep(self, pixels: Tensor, name: str) -> Photograph:
        photograph = Photograph(digest_of(pixels), pixels, name)
        with self._lock:
            self._kept[photograph.id] = photograph
            self._kept.move_to_end(photograph.id)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return photograph


def decode(content: bytes) -> Tensor:
    """The photograph in a file's bytes, upright, its longer side at most SIDE pixels: uint8 (3, h, w).

    The size is looked at before a pixel is decoded. Errors as of `Photographs.add`.
    """
    if not content:
        raise RequestError("expected a photograph, found an empty file")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        too_large = isinstance(error, Image.DecompressionBombError)
        found = "more pixels than any has" if too_large else "no format that is known"
        raise RequestError(f"expected a photograph in one of {', '.join(FORMATS)}, found {found}") from error
    with image:
        if image.width * image.height > MOST_PIXELS:
            found = f"{image.width:,} x {image.height:,}"
            raise RequestError(f"expected at most {MOST_PIXELS:,} pixels, found {found}: reduce the photograph first")
        with opened(image):
            image.draft("RGB", (SIDE, SIDE))  # JPEG's decoder leaves out what would be thrown away
            image.load()
        pixels = read_photograph(image)
    longer = max(pixels.shape[1:])
    if longer <= SIDE:
        return pixels
    whole = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    whole.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    return read_photograph(whole)


def digest_of(pixels: Tensor) -> str:
    """Of what is seen: the same for the same pixels."""
    shape = repr(tuple(pixels.shape)).encode()
    return hashlib.blake2b(shape + pixels.contiguous().numpy().tobytes(), digest_size=12).hexdigest()


def png_of(pixels: Tensor) -> bytes:
    """uint8 (1 or 3, h, w) as a PNG."""
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
