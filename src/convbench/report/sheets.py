"""Contact sheets cut into their images, so that each can stand over its own caption on any width."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path

from PIL import Image

from convbench.errors import ConvbenchError

COLUMNS = 12  # images in a row of a sheet


def cut_sheet(sheet: Path, count: int) -> list[str]:
    """The first `count` images of a contact sheet, as data URIs; ConvbenchError for what is no such picture."""
    if not count:
        return []
    try:
        with Image.open(sheet) as image:
            side = image.height // math.ceil(count / COLUMNS)
            return [_cut(image, side, number) for number in range(count)]
    except (OSError, Image.DecompressionBombError) as error:
        raise ConvbenchError(f"{sheet}: expected a PNG contact sheet of {count} images: {error}") from None


def data_uri(png: bytes) -> str:
    """The picture itself as an address, so that the page needs no other file."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _cut(image: Image.Image, side: int, number: int) -> str:
    top, left = side * (number // COLUMNS), side * (number % COLUMNS)
    buffer = io.BytesIO()
    image.crop((left, top, left + side, top + side)).save(buffer, "png")
    return data_uri(buffer.getvalue())
