"""IDX files, the format of MNIST and its successors, with every check that the format allows.

Big-endian: two zero bytes, a type code (8 = unsigned byte), the number of dimensions, a 32-bit size for each
of them, then the values (LeCun, Cortes & Burges, the MNIST page, "File formats").
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from convbench.data.content import read_content, verify
from convbench.errors import ConvbenchError

FILES = {  # split -> images, labels
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read_idx(path: Path, dimensions: int, md5: str | None = None) -> Tensor:
    """The unsigned bytes in the IDX file at `path`, raw or gzipped (`.gz`), as a uint8 tensor.

    dimensions: how many there must be: 3 for images (n, h, w), 1 for labels (n,)
    md5: of the uncompressed content, where it is known

    Raises ConvbenchError for a file of another kind, an empty, short or long one, or not the official one.
    """
    content = read_content(path)
    magic, header = bytes((0, 0, 8, dimensions)), 4 + 4 * dimensions
    if content[:4] != magic:
        raise ConvbenchError(
            f"{path}: expected IDX magic {magic.hex()} (unsigned bytes, dimensions: {dimensions}), "
            f"found {content[:4].hex() or 'an empty file'}"
        )
    if len(content) < header:
        raise ConvbenchError(f"{path}: expected an IDX header of {header} bytes, found only {len(content)} bytes")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    sizes = " x ".join(map(str, shape))
    if 0 in shape:
        raise ConvbenchError(f"{path}: expected at least one value, found sizes {sizes}")
    if len(content) != header + math.prod(shape):
        raise ConvbenchError(
            f"{path}: expected {math.prod(shape):,} bytes after the header (sizes {sizes}), "
            f"found {len(content) - header:,}"
        )
    if md5 is not None:
        verify(path, content, md5)
    return torch.frombuffer(content, dtype=torch.uint8, offset=header).view(shape)


def read_labelled(files: Sequence[Path], classes: int, md5s: Sequence[str | None]) -> tuple[Tensor, Tensor]:
    """Images, uint8 (n, 1, h, w), and labels, int64 (n,) below `classes`, from an images and a labels file.

    md5s: of the uncompressed contents, where they are known

    Raises ConvbenchError when a file is bad, or images and labels do not belong together.
    """
    images, labels = (
        read_idx(path, dimensions, md5) for path, dimensions, md5 in zip(files, (3, 1), md5s, strict=True)
    )
    if len(images) != len(labels):
        raise ConvbenchError(
            f"{files[1]}: expected a label for each of the {len(images):,} images in {files[0].name}, "
            f"found {len(labels):,}"
        )
    if labels.max() >= classes:
        where = int((labels >= classes).nonzero()[0])
        raise ConvbenchError(
            f"{files[1]}: expected labels from 0 to {classes - 1}, found {labels[where]} at image {where}"
        )
    return images.unsqueeze(1), labels.long()
