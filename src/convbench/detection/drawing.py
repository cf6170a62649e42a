"""Pictures of what was found: boxes with their classes and how certain they are."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from convbench.detection.result import Detections

COLOURS = (  # Okabe and Ito's, which the colour-blind can tell apart, but for black
    *("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"),
)


def draw(pixels: Tensor, found: Detections, classes: Sequence[str]) -> Image.Image:
    """A photograph, uint8 (3, h, w), with what was found in it, the most certain on top."""
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    pen = ImageDraw.Draw(picture)
    side = min(picture.size)
    width, font = max(2, round(side / 200)), ImageFont.load_default(max(10, round(side / 32)))
    rows = zip(found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
    for box, label, one in reversed(list(rows)):
        colour = COLOURS[label % len(COLOURS)]
        pen.rectangle(box, outline=colour, width=width)
        text = f"{classes[label]} {one:.0%}"
        _, _, right, bottom = pen.textbbox((0, 0), text, font=font)
        left = min(max(0, box[0]), picture.width - right - 2 * width)
        top = box[1] - bottom - 2 * width if box[1] >= bottom + 2 * width else box[1]
        pen.rectangle((left, top, left + right + 2 * width, top + bottom + 2 * width), fill=colour)
        pen.text((left + width, top + width), text, fill="black", font=font)
    return picture


def sheet(pictures: Sequence[Image.Image], columns: int = 4, width: int = 320) -> Image.Image:
    """Pictures side by side, each `width` pixels wide."""
    small = [one.resize((width, round(one.height * width / one.width)), Image.Resampling.LANCZOS) for one in pictures]
    rows = [small[first : first + columns] for first in range(0, len(small), columns)]
    heights = [max(one.height for one in row) for row in rows]
    whole = Image.new("RGB", (width * min(columns, len(small)), sum(heights)), "white")
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for place, one in enumerate(row):
            whole.paste(one, (place * width, top))
        top += height
    return whole
