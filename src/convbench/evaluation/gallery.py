"""A picture of the easiest and the hardest classes: a row of images for each, as on a slide of ILSVRC's."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from convbench.evaluation.per_class import ClassAccuracy, PerClass
from convbench.evaluation.source import Source, image_of

COLUMNS = 8  # images of a class
TILE, FRAME, GAP = 96, 3, 6  # pixels
CAPTION = 220  # pixels that a class's name and accuracy have
FONT = 15
PAPER, INK, FAINT, WRONG = "white", "black", "#666666", "#c0392b"


def gallery(source: Source, answers: Tensor, classes: PerClass) -> bytes:
    """A PNG: for the easiest and then the hardest classes a row with name, accuracy and their first images.

    Of a class that was not all right, half the images are such as went wrong, framed in red.

    Args:
        answers: (n,), the class that each image of `source` was taken for
    """
    groups = (("Easiest classes", classes.easiest), ("Hardest classes", classes.hardest))
    heights = [FONT * 2 + len(rows) * (TILE + GAP) for _, rows in groups]
    sheet = Image.new("RGB", (CAPTION + COLUMNS * (TILE + GAP) + GAP, sum(heights) + GAP), PAPER)
    pen, title, top = ImageDraw.Draw(sheet), ImageFont.load_default(FONT * 1.2), GAP
    for heading, rows in groups:
        pen.text((GAP, top), heading, INK, title)
        top += FONT * 2
        for row in rows:
            _draw_row(sheet, pen, top, row, source, answers)
            top += TILE + GAP
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _draw_row(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, top: int, row: ClassAccuracy, source: Source, answers: Tensor
) -> None:
    font = ImageFont.load_default(FONT)
    low, high = row.interval
    lines = [*_wrapped(row.name, font), f"{row.accuracy:.0f} %", f"{low:.0f} to {high:.0f} %, {row.n} images"]
    for number, line in enumerate(lines):
        pen.text((GAP, top + number * (FONT + 4)), line, FAINT if line == lines[-1] else INK, font)
    for column, place in enumerate(shown(source.labels, answers, row.index)):
        left = CAPTION + column * (TILE + GAP)
        if answers[place] != row.index:
            pen.rectangle((left, top, left + TILE - 1, top + TILE - 1), WRONG)
        sheet.paste(_tile(image_of(source, place)), (left + FRAME, top + FRAME))


def shown(labels: Tensor, answers: Tensor, index: int, most: int = COLUMNS) -> list[int]:
    """The images that stand for a class: its first, `most` or fewer, up to half of them wrong ones if it has any."""
    own = (labels == index).nonzero()[:, 0]
    wrong, right = own[answers[own] != index].tolist(), own[answers[own] == index].tolist()
    half = max(most // 2, most - len(right))
    return sorted([*wrong[:half], *right[: most - len(wrong[:half])]])


def _tile(image: Tensor) -> Image.Image:
    """The central square of a uint8 image (1 or 3, h, w)."""
    pixels = image.expand(3, -1, -1).permute(1, 2, 0).contiguous().to(torch.uint8).numpy()
    whole, inside = Image.fromarray(pixels), TILE - 2 * FRAME
    left, top = ((size - min(whole.size)) // 2 for size in whole.size)
    square = whole.crop((left, top, left + min(whole.size), top + min(whole.size)))
    return square.resize((inside, inside), Image.Resampling.BICUBIC)


def _wrapped(name: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> Sequence[str]:
    """A name on as many lines as its words need, three at most."""
    lines = [""]
    for word in name.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > CAPTION - 2 * GAP:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines[:3]
