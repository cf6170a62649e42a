"""A data set in memory: images as one uint8 tensor, labels beside them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from convbench.notebook import facts


@dataclass(frozen=True)
class Dataset:
    """Labelled images, whole in memory.

    images: uint8, shape (n, channels, height, width), 0 = background, 255 = full ink or light
    labels: int64, shape (n,), indices into `classes`
    source: where it was read from, for people
    shorter: of photographs, the pixels of their shorter side before `images` were cropped from them; else None
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    source: str
    shorter: int | None = None

    def __post_init__(self) -> None:
        assert (self.images.dtype, self.images.ndim) == (torch.uint8, 4)
        assert (self.labels.dtype, self.labels.shape) == (torch.int64, self.images.shape[:1])

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 over shape, pixels and labels: says on what a run was trained."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def _repr_html_(self) -> str:
        """What it is, in a notebook."""
        size = "x".join(map(str, self.images.shape[1:]))
        known = {"images": len(self), "of each": size, "classes": len(self.classes), "source": self.source}
        return facts(f"{self.name}, {self.split}", known)

    def subset(self, indices: Tensor) -> Dataset:
        """The images and labels at `indices`, in that order."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])
