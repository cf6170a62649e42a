"""Pictures of tensors: tiles with captions on one sheet, as a PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from convbench.errors import RequestError
from convbench.files import make_folder, write_whole

PAPER, INK, FAINT, FRAME = "white", "black", "#666666", "#d0342c"
GAP, FONT = 6, 13  # pixels
LEAST_TILE = 96  # pixels of a tile's shorter side
TOLD_APART = 0.99  # of a projection's magnitudes
HEAT = ((38, 18, 92), (72, 61, 139), (60, 110, 150), (66, 158, 138), (150, 200, 90), (250, 230, 60))
PALETTE = (
    (55, 110, 180),
    (230, 130, 40),
    (80, 160, 80),
    (200, 60, 60),
    (140, 100, 180),
    (130, 90, 70),
    (220, 130, 190),
)
Box = tuple[int, int, int, int]  # top, left, bottom, right; the latter two are the first outside


@dataclass(frozen=True)
class Figure:
    """A picture that notebooks show and `save` writes.

    title: what it shows, in words
    """

    image: Image.Image
    title: str

    @property
    def png(self) -> bytes:
        """The file's content."""
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()

    def save(self, out: Path | str) -> Path:
        """Write it to the file `out`, aside first; what `require_picture` raises."""
        out = require_picture(Path(out))
        write_whole(out, self.png)
        return out

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.png).decode()
        return f'<img alt="{escape(self.title, quote=True)}" src="data:image/png;base64,{data}">'


def require_picture(out: Path) -> Path:
    """`out`, to which a PNG can be written, its folder made; RequestError where it cannot, or is named otherwise."""
    if out.suffix.lower() != ".png":
        raise RequestError(f"expected a picture's name that ends in .png, found {out}")
    if out.is_dir():
        raise RequestError(f"expected a picture's name, found the folder {out}")
    make_folder(out.parent)
    return out


@dataclass(frozen=True)
class Tile:
    """One image of a sheet.

    pixels: (1 or 3, h, w) in [0, 1]
    caption: below it
    box: framed in red, in pixels of the image
    least: pixels of its shorter side on the sheet, where they are to be others than the sheet's
    """

    pixels: Tensor
    caption: str = ""
    box: Box | None = None
    least: int | None = None


def signed(signal: Tensor, share: float = 1.0) -> Tensor:
    """Numbers around 0 to [0, 1]: 0 becomes the middle grey, the largest magnitude black or white.

    share: of the magnitudes above 0 that are told apart; the others, the largest, become black or white, too
    """
    magnitudes = signal.abs().flatten()
    sorted_ = magnitudes[magnitudes > 0].sort().values
    if not len(sorted_):
        return torch.full_like(signal, 0.5)
    largest = sorted_[max(0, round(share * len(sorted_)) - 1)]
    return (0.5 + 0.5 * signal / largest).clamp(0, 1)


def projected(signal: Tensor) -> Tensor:
    """A projection for the eye: a few pixels are much stronger than all others, so that these would be grey."""
    return signed(signal, TOLD_APART)


def stretched(x: Tensor) -> Tensor:
    """The least of the numbers becomes 0, the greatest 1."""
    low, high = x.min(), x.max()
    return (x - low) / (high - low).clamp(min=torch.finfo(x.dtype).tiny)


def coloured(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """A map (rows, columns) in colours, dark blue for `low`, yellow for `high`; by default its least and greatest."""
    low, high = (float(x.min()) if low is None else low), (float(x.max()) if high is None else high)
    stops = torch.tensor(HEAT) / 255
    place = ((x.double() - low) / max(high - low, 1e-300)).clamp(0, 1) * (len(stops) - 1)
    below = place.floor().long().clamp(max=len(stops) - 2)
    share = (place - below)[..., None]
    return (stops[below] * (1 - share) + stops[below + 1] * share).permute(2, 0, 1)


def in_colours(numbers: Tensor, shown: Sequence[int]) -> Tensor:
    """A map of whole numbers, each of `shown` in a colour of its own, in its order, and grey all others."""
    picture = torch.full((*numbers.shape, 3), 0.8)
    for index, colour in zip(shown, PALETTE, strict=False):
        picture[numbers == index] = torch.tensor(colour) / 255
    return picture.permute(2, 0, 1)


def as_bytes(pixels: Tensor) -> Tensor:
    """[0, 1] to uint8, on the processor."""
    return (pixels.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)


def plain(pixels: Tensor, title: str) -> Figure:
    """One picture, (1 or 3, h, w) in [0, 1], as it is."""
    return Figure(_enlarged(Tile(pixels), 1), title)


def sheet(rows: Sequence[Sequence[Tile]], title: str, *, least: int = LEAST_TILE) -> Figure:
    """Tiles row by row under a title, each enlarged by one whole number until its shorter side has `least` pixels."""
    font, heading = ImageFont.load_default(FONT), ImageFont.load_default(FONT * 1.2)
    drawn = [[_enlarged(tile, tile.least or least) for tile in row] for row in rows]
    captions = [any(tile.caption for tile in row) for row in rows]
    heights = [max(image.height for image in row) + (FONT + 4) * has for row, has in zip(drawn, captions, strict=True)]
    top = GAP + round(FONT * 1.8)
    widest = max(sum(image.width + GAP for image in row) for row in drawn)
    width = GAP + max(widest, round(heading.getlength(title)) + GAP)
    page = Image.new("RGB", (width, top + sum(heights) + GAP * len(rows)), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((GAP, GAP), title, INK, heading)
    for row, images, height in zip(rows, drawn, heights, strict=True):
        left = GAP
        for tile, image in zip(row, images, strict=True):
            page.paste(image, (left, top))
            pen.text((left, top + image.height + 2), _shortened(tile.caption, font, image.width), FAINT, font)
            left += image.width + GAP
        top += height + GAP
    return Figure(page, title)


def join(above: Figure, below: Figure) -> Figure:
    """One under the other, with the title of the first."""
    width = max(above.image.width, below.image.width)
    page = Image.new("RGB", (width, above.image.height + below.image.height), PAPER)
    page.paste(above.image, (0, 0))
    page.paste(below.image, (0, above.image.height))
    return Figure(page, above.title)


def _enlarged(tile: Tile, least: int) -> Image.Image:
    pixels = as_bytes(tile.pixels)
    channels = pixels if len(pixels) == 3 else pixels[:1].expand(3, -1, -1)
    image = Image.fromarray(channels.permute(1, 2, 0).contiguous().numpy())
    factor = max(1, -(-least // max(1, min(image.size))))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    if tile.box is not None:
        top, left, bottom, right = (edge * factor for edge in tile.box)
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), outline=FRAME, width=2)
    return image


def _shortened(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """As much of `text` as fits."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
