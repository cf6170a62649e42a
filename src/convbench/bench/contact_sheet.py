"""Images side by side on one sheet."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

COLUMNS = 12
SIDE = 56  # pixels of a tile


def contact_sheet(images: Tensor) -> bytes:
    """A PNG of uint8 images (n, 1 or 3, h, w), row by row, COLUMNS in a row; one blank tile for no image at all."""
    count = max(len(images), 1)
    rows = -(-count // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * SIDE, rows * SIDE))
    for i, image in enumerate(images):
        tile = image.expand(3, -1, -1) if len(image) == 1 else image
        tile_image = Image.fromarray(tile.permute(1, 2, 0).to(torch.uint8).numpy()).resize(
            (SIDE, SIDE), Image.Resampling.BICUBIC
        )
        sheet.paste(tile_image, (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
