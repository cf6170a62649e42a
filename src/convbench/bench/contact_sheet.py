"""Images side by side on one sheet."""

from __future__ import annotations

import io

import torch
from PIL import Image, ImageOps

from convbench.evaluation.source import Source, image_of

COLUMNS = 12
SIDE = 56  # pixels of a tile


def contact_sheet(source: Source, side: int = SIDE) -> bytes:
    """A PNG of all images, row by row, COLUMNS in a row; one blank tile for no image at all.

    side: pixels of a tile
    """
    count = max(len(source), 1)
    rows = -(-count // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * side, rows * side))
    for i in range(len(source)):
        image = image_of(source, i)
        tile = image.expand(3, -1, -1) if len(image) == 1 else image
        whole = Image.fromarray(tile.permute(1, 2, 0).contiguous().to(torch.uint8).numpy())
        sheet.paste(
            ImageOps.fit(whole, (side, side), Image.Resampling.BICUBIC), (i % COLUMNS * side, i // COLUMNS * side)
        )
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
