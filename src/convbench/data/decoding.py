"""Photographs decoded as training reads them: of a JPEG only what a window needs, resized at once.

libjpeg-turbo, through simplejpeg, does the decoding. Three things are saved: what lies below a window is not decoded;
a large window is decoded at a half, a quarter or an eighth of its size, by the inverse cosine transform itself; and in
windows, colours stored at half the resolution are repeated, not interpolated, which random windows of training do not
miss. Whatever is no plain JPEG is read by `photographs.read_photograph`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from convbench.data.photographs import opened, read_photograph
from convbench.data.policy import ORIENTATION
from convbench.data.preprocessing import resized
from convbench.data.views import Window

START, END = b"\xff\xd8", b"\xff\xd9"  # of a JPEG
FRAMES = (0xC0, 0xC1, 0xC2)  # markers of baseline, extended and progressive frames, in Huffman's code
APP1 = 0xE1  # marker of EXIF and of XMP, which may turn the photograph
REDUCTIONS = (8, 4, 2)  # those with fast transforms; at 5/8 or 7/8 libjpeg-turbo takes longer than for the whole
# What is left is so many times the pixels wanted, as Pillow advises: with as many as wanted, the transform's sharper
# filter shows, and photographs differ by 1.4 levels instead of 0.5.
LEFT = 2
# Rows decoded below a window, so that its last ones are those of the whole photograph: where colours are stored at half
# the height, libjpeg-turbo interpolates between them and the rows beneath.
BENEATH = 16


class Frame(NamedTuple):
    """The size of a plain JPEG, and the place of its height in the file's bytes."""

    height: int
    width: int
    place: int


def decode_window(content: bytes, choose: Callable[[int, int], Window], size: int) -> Tensor:
    """A window of the photograph in a file's bytes, as uint8 (3, size, size), the channels last in memory.

    choose: gives the window of a photograph of (height, width), upright; called once
    size: pixels of a side of the result, to which the window is resampled (bilinear, antialiased) before it is
        mirrored, where it is to be

    On photographs the result is on average within 1 of 255 levels of decoding all, cutting and resampling; it is the
    same where colours are stored as finely as brightness and a side of the window is below four times `size`.

    Raises what `read_photograph` does.
    """
    frame, reduction = _plain_frame(content), 1
    if frame is None:
        pixels = read_photograph(content)
        window = choose(*pixels.shape[1:])
    else:
        window = choose(frame.height, frame.width)
        reduction = _reduction(min(window.height, window.width), size)
        pixels, reduction = _decode(content, frame, window.top + window.height, reduction, repeat_colours=True)
    seen = _resample(pixels, window, reduction, size, size)
    return seen.flip(2) if window.mirrored else seen


def decode_part(
    content: bytes,
    choose: Callable[[int, int], Window],
    size: int,
    fill: Sequence[int],
    change: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """A window of the photograph in a file's bytes that may reach out of it: uint8 (3, size, size).

    choose: as in `decode_window`
    fill: the colour of what lies outside
    change: is done to what is seen of the photograph, uint8 (3, h, w), and to nothing outside

    Raises what `read_photograph` and `choose` do.
    """
    frame, reduction, pixels = _plain_frame(content), 1, None
    if frame is None:
        pixels = read_photograph(content)
        height, width = pixels.shape[1:]
    else:
        height, width = frame.height, frame.width
    window = choose(height, width)
    top, left = max(window.top, 0), max(window.left, 0)
    bottom, right = min(window.top + window.height, height), min(window.left + window.width, width)
    part = Window(top, left, bottom - top, right - left, False)
    first, last = (round((edge - window.top) * size / window.height) for edge in (top, bottom))
    start, end = (round((edge - window.left) * size / window.width) for edge in (left, right))
    canvas = torch.tensor(fill, dtype=torch.uint8)[:, None, None].repeat(1, size, size)
    if first < last and start < end:
        if pixels is None:
            assert frame is not None
            reduction = min(_reduction(part.height, last - first), _reduction(part.width, end - start))
            pixels, reduction = _decode(content, frame, bottom, reduction, repeat_colours=True)
        seen = _resample(pixels, part, reduction, last - first, end - start)
        canvas[:, first:last, start:end] = seen if change is None else change(seen)
    return canvas.flip(2) if window.mirrored else canvas


def decode_shorter(content: bytes, shorter: int) -> Tensor:
    """The photograph in a file's bytes with `shorter` pixels on the shorter side: uint8 (3, h, w), channels last.

    The longer side is cut to whole pixels, as `Preprocessing.shorter` has it. The result is that of decoding all and
    resampling; on average within 1 of 255 levels of it where the photograph has at least four times the pixels.

    Raises what `read_photograph` does, and RequestError for photographs too long and narrow for `Preprocessing`.
    """
    frame, reduction = _plain_frame(content), 1
    if frame is None:
        pixels = read_photograph(content)
        height, width = pixels.shape[1:]
    else:
        height, width = frame.height, frame.width
        reduction = _reduction(min(height, width), shorter)
        pixels, reduction = _decode(content, frame, height, reduction, repeat_colours=False)
    return _resample(pixels, Window(0, 0, height, width, False), reduction, *resized(shorter, height, width))


def _plain_frame(content: bytes) -> Frame | None:
    """That of a whole, upright JPEG of 8 bits, grey or of three colours; None for anything else.

    Markers are followed from one to the next, as far as the frame's.
    """
    if not (content.startswith(START) and content.endswith(END)):
        return None  # also where it was cut short, which libjpeg-turbo would fill with grey
    place, tagged = len(START), False
    while content[place] == 0xFF and content[place + 1] not in FRAMES:
        tagged |= content[place + 1] == APP1
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
        if place >= len(content) - 10:
            return None
    bits, height, width, colours = (
        int.from_bytes(content[place + start : place + end]) for start, end in ((4, 5), (5, 7), (7, 9), (9, 10))
    )
    # What is too large for Pillow, `read_photograph` refuses; a height of 0 is one that follows after the pixels.
    plausible = 0 < height * width <= (Image.MAX_IMAGE_PIXELS or math.inf)
    if content[place] != 0xFF or bits != 8 or colours not in (1, 3) or not plausible:
        return None
    return None if tagged and _is_turned(content) else Frame(height, width, place + 5)


def _is_turned(content: bytes) -> bool:
    """Whether the camera's tag says that the photograph is to be turned or mirrored."""
    with opened(content) as image:
        return bool(image.getexif().get(ORIENTATION, 1) != 1)


def _reduction(side: int, wanted: int) -> int:
    """By how much `side` pixels may be reduced in decoding, where `wanted` are in the end."""
    return next((reduction for reduction in REDUCTIONS if side >= reduction * LEFT * wanted), 1)


def _decode(content: bytes, frame: Frame, rows: int, reduction: int, *, repeat_colours: bool) -> tuple[Tensor, int]:
    """uint8 (3, h, width) of at least the topmost `rows`, both divided by the reduction, which is the second result.

    libjpeg-turbo stops where the frame's header says that the photograph ends, and then warns of what follows:
    warnings are ignored, as Pillow and torchvision do. What it cannot decode, Pillow reads, or says what is wrong.
    """
    rows = min(rows + BENEATH, frame.height)
    if rows < frame.height:
        content = b"".join((content[: frame.place], rows.to_bytes(2), content[frame.place + 2 :]))
    # simplejpeg takes the smallest size with so many pixels; without a least one it does not reduce
    least = [math.ceil(side / reduction) if reduction > 1 else 0 for side in (rows, frame.width)]
    try:
        pixels = simplejpeg.decode_jpeg(
            content, fastupsample=repeat_colours, min_height=least[0], min_width=least[1], strict=False
        )
    except ValueError:
        return read_photograph(content), 1
    return torch.from_numpy(pixels).permute(2, 0, 1), reduction


def _resample(pixels: Tensor, window: Window, reduction: int, height: int, width: int) -> Tensor:
    """The window of uint8 (3, h, w) as (3, height, width), bilinear and antialiased, the channels last in memory.

    That is how PyTorch resamples bytes fastest, by far. Pillow takes parts of a pixel, which reduced windows begin and
    end with: at whole ones they differ by 2.2 levels instead of 0.5.
    """
    if reduction == 1:
        part = pixels[:, window.top : window.top + window.height, window.left : window.left + window.width]
        images = part.permute(1, 2, 0)[None].contiguous().permute(0, 3, 1, 2)
        return F.interpolate(images, (height, width), mode="bilinear", antialias=True, align_corners=False)[0]
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    right, bottom = window.left + window.width, window.top + window.height
    box = (window.left / reduction, window.top / reduction, right / reduction, bottom / reduction)
    resized = image.resize((width, height), Image.Resampling.BILINEAR, box)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)
