"""What is done with files that are not the photographs they ought to be.

Bad files are empty, no images, damaged, cut short, too long and narrow to be resized, or so large that decoding them is
an attack: they are left out, listed, and an error where they are more than a set share. Odd files are read, and
counted: grey, in the four colours of print, in a palette, of 16 bits, transparent, animated (the first frame counts) or
turned by the camera's tag.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from convbench.data.photographs import SIXTEEN_BITS, opened, pixels_of
from convbench.data.preprocessing import require_proportions
from convbench.errors import ConvbenchError, reason_of

# What is left out cannot move an error by more than a tenth of a point. Kept data sets have none that is bad: even the
# 23 oddest of ImageNet's 1.28 million, 22 in four colours and a PNG that is called a JPEG, can be read.
MAX_BAD_SHARE = 0.001
LISTED = 5  # bad files that an error names
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used; reason: what was expected of it, and found."""

    path: str
    reason: str


@dataclass(frozen=True)
class Inspected:
    """What is known of a photograph once it has been decoded.

    height, width: upright
    odd: in which ways, in words
    digest: of the decoded pixels; equal where two files show exactly the same
    """

    height: int
    width: int
    odd: tuple[str, ...]
    digest: bytes


def require_content(content: bytes) -> None:
    """ConvbenchError for the content of an empty file, of which decoders would say less."""
    if not content:
        raise ConvbenchError("the image: expected an image, found an empty file")


def inspect(content: bytes) -> Inspected:
    """Decode a file's content, all of it.

    Raises ConvbenchError for a bad one; `bad_file` makes a `BadFile` of it.
    """
    require_content(content)
    with opened(content) as image:
        odd = _odd(image)
        pixels = pixels_of(image, 3)
    height, width = pixels.shape[1:]
    require_proportions(height, width)
    digest = hashlib.blake2b(repr((height, width)).encode(), digest_size=16)
    digest.update(pixels.numpy().data)
    return Inspected(height, width, odd, digest.digest())


def bad_file(path: str, error: ConvbenchError) -> BadFile:
    """The file at `path`, for the reason that `error` gives."""
    return BadFile(path, reason_of(error).removeprefix(f"{path}: "))


def require_few(bad: Sequence[BadFile], total: int, where: object, max_bad_share: float = MAX_BAD_SHARE) -> None:
    """ConvbenchError, which names the first, where more than `max_bad_share` of `total` files are bad."""
    if len(bad) > max_bad_share * total:
        first = "; ".join(f"{one.path}: {one.reason}" for one in bad[:LISTED])
        more = f"; and {len(bad) - LISTED:,} more" if len(bad) > LISTED else ""
        raise ConvbenchError(
            f"{where}: expected at most {max_bad_share:.1%} bad files, found {len(bad):,} of {total:,}: {first}{more}"
        )


def _odd(image: Image.Image) -> tuple[str, ...]:
    """Before it is decoded, when its tiles still say how many bits a colour has."""
    storage = str([tile[3] for tile in getattr(image, "tile", ())])
    ways = {
        "CMYK": image.mode == "CMYK",
        "grey": image.mode in ("1", "L", "LA", *SIXTEEN_BITS),
        "palette": image.mode in ("P", "PA"),
        "16-bit": image.mode in SIXTEEN_BITS or ";16" in storage,
        "transparent": image.has_transparency_data,
        "animated": getattr(image, "is_animated", False),
        "turned": image.getexif().get(ORIENTATION, 1) in range(2, 9),
    }
    return tuple(way for way, applies in ways.items() if applies)
