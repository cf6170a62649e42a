"""CIFAR-10's official python batches: pickles, opened only when they are the official files, byte for byte.

Krizhevsky, "Learning multiple layers of features from tiny images", 2009. A batch is a dictionary of 10,000
images, rows of 3,072 bytes (32 x 32 red, then green, then blue), and their labels.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convbench.data.content import read_content, verify
from convbench.errors import ConvbenchError

# What a pickled array of bytes calls, and where numpy keeps it today.
CALLABLES = {
    ("numpy.core.multiarray", "_reconstruct"): "numpy._core.multiarray",
    ("numpy", "ndarray"): "numpy",
    ("numpy", "dtype"): "numpy",
}


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles plain values and numpy arrays, and refuses everything else that a pickle could call."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in CALLABLES:
            raise pickle.UnpicklingError(f"a call of {module}.{name}")
        return super().find_class(CALLABLES[module, name], name)


def read_batch(path: Path, md5: str) -> tuple[Tensor, Tensor]:
    """Images, uint8 (10000, 3, 32, 32), and labels, int64 (10000,), of the batch at `path`.

    Raises ConvbenchError unless the file hashes to `md5`, and then unless it holds only arrays.
    """
    content = read_content(path)
    verify(path, content, md5)
    try:
        # The batches were written by Python 2, whose byte strings latin1 keeps as they are.
        batch = ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise ConvbenchError(f"{path}: expected a pickle of arrays only, found {error}") from error
    return torch.from_numpy(batch["data"]).view(-1, 3, 32, 32), torch.tensor(batch["labels"])


def read_batches(files: Sequence[Path], md5s: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The images (n, 3, 32, 32) and labels (n,) of these batches, one after the other."""
    images, labels = zip(*(read_batch(path, md5) for path, md5 in zip(files, md5s, strict=True)), strict=True)
    return torch.cat(images), torch.cat(labels)
