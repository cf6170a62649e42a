"""Exact nearest neighbours by matrix products: of 8-bit integers where patterns are pixels, else of float32.

|q - p|^2 = |q|^2 + (|p|^2 - 2 q.p), and the bracket alone orders the stored vectors p for a query q. On
pixels (multiples of 1/255) it is computed in integers, without error. Elsewhere float32 rounds it, by no more
than a bound, so that it only nominates candidates, whose distances are then computed in float64 from
differences. Either way the answer is proved: the last candidate must lie farther than the k-th by more than
the errors of both; where it does not (equal distances), more candidates are taken.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

QUERIES = 64  # at a time: their distances to 60,000 vectors take 15 MB, which a processor's last cache holds
BLOCK = 64  # neighbouring vectors of which at first only the least distance is looked at
SPARE = 13  # candidates beyond k
ROUNDING = 2.0**-24  # of one float32 operation, relative
INTEGER_DIMENSIONS = 40_000  # 3 * 128^2 times as much stays below 2^31


class ExactSearch:
    """The nearest of stored float32 vectors (n, d) in Euclidean distance; of equals, the one stored first."""

    def __init__(self, vectors: Tensor) -> None:
        self.vectors = vectors
        self._pixels = _are_pixels(vectors)

    def __call__(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Of float32 queries (m, d) the k least squared distances, ascending, and whose they are; both (m, k).

        Distances are float64: exact on pixels, elsewhere rounded as float64 rounds a sum of d squares.
        """
        assert 0 < k <= len(self.vectors), (k, len(self.vectors))
        if self._pixels and _are_pixels(queries):
            ruler, queries, unit = self._pixel_ruler, _whole(queries), 255
        else:
            ruler, unit = self._float_ruler, 1
        found = [_nearest(ruler, chunk, k, k + SPARE) for chunk in torch.split(queries, QUERIES)]
        distances, indices = (torch.cat(column) for column in zip(*found, strict=True))
        return distances / unit**2, indices

    @cached_property
    def _pixel_ruler(self) -> Ruler:
        whole = _whole(self.vectors)
        # _int_mm is a loop, and slow, where the processor has no instruction for it
        fast = whole.shape[1] <= INTEGER_DIMENSIONS and torch.cpu._is_vnni_supported()
        return _Integers(whole) if fast else _Floats(whole)

    @cached_property
    def _float_ruler(self) -> Ruler:
        return _Floats(self.vectors)


class Ruler(Protocol):
    """Distances to `count` stored vectors; `relative` ones lack |q|^2 and are padded to whole blocks."""

    count: int

    def relative(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """(m, padded count); and for each query, how much nearer one of a wrongly ordered pair may be."""

    def distances(self, queries: Tensor, indices: Tensor, relative: Tensor) -> Tensor:
        """float64 squared distances (m, k) to the vectors at `indices`, whose relative ones are given."""


class _Integers:
    """Of whole numbers 0 to 255 by products of 8-bit integers: both less 128, which moves no distance."""

    def __init__(self, vectors: Tensor) -> None:
        self.count = len(vectors)
        stored = _pad(vectors - 128)
        self.squares = _squares(stored, self.count, torch.iinfo(torch.int32).max).to(torch.int32)
        self.transposed = stored.to(torch.int8).T.contiguous()

    def relative(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        products = torch._int_mm((queries - 128).to(torch.int8), self.transposed)
        return products.mul_(-2).add_(self.squares), torch.zeros(len(queries))

    def distances(self, queries: Tensor, indices: Tensor, relative: Tensor) -> Tensor:
        return relative + (queries - 128).double().square().sum(1, keepdim=True)


class _Floats:
    def __init__(self, vectors: Tensor) -> None:
        self.count, self.vectors = len(vectors), vectors
        stored = _pad(vectors)
        self.squares = _squares(stored, self.count, torch.finfo(torch.float32).max).float()
        self.largest_norm = vectors.double().norm(dim=1).max()
        self.transposed = stored.T.contiguous()

    def relative(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        relative = torch.addmm(self.squares, queries, self.transposed, alpha=-2)
        # A sum of d products errs by at most d roundings of |q| |p|, in whatever order it is added up
        # (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); four more for the square
        # and the rest.
        error = (queries.shape[1] + 4) * ROUNDING * (queries.double().norm(dim=1) + self.largest_norm).square()
        return relative, 2 * error

    def distances(self, queries: Tensor, indices: Tensor, relative: Tensor) -> Tensor:
        return (self.vectors[indices].double() - queries[:, None]).square().sum(2)


def _nearest(ruler: Ruler, queries: Tensor, k: int, candidates: int) -> tuple[Tensor, Tensor]:
    """The k nearest of each query, among as many candidates, or four times as many if those prove nothing."""
    candidates = min(candidates, ruler.count)
    relative, slack = ruler.relative(queries)
    values, indices = _smallest(relative, candidates)
    unproved = values[:, -1] <= values[:, k - 1] + slack
    indices, order = indices.sort(dim=1)  # so that the stable sort by distance puts the lower index first
    distances, rank = ruler.distances(queries, indices, values.gather(1, order)).sort(dim=1, stable=True)
    distances, indices = distances[:, :k], indices.gather(1, rank[:, :k])
    if candidates < ruler.count and unproved.any():
        distances[unproved], indices[unproved] = _nearest(ruler, queries[unproved], k, 4 * candidates)
    return distances, indices


def _smallest(values: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """The m smallest of each row, ascending, and their columns.

    They lie in the m blocks with the smallest minima, which take one pass to find; a `topk` of whole rows
    is slower.
    """
    blocks = values.view(len(values), -1, BLOCK)
    chosen = blocks.amin(2).topk(min(m, blocks.shape[1]), largest=False).indices
    inside = blocks.gather(1, chosen[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    smallest = inside.topk(m, largest=False)
    return smallest.values, chosen.gather(1, smallest.indices // BLOCK) * BLOCK + smallest.indices % BLOCK


def _pad(vectors: Tensor) -> Tensor:
    return F.pad(vectors, (0, 0, 0, -len(vectors) % BLOCK))


def _squares(stored: Tensor, count: int, largest: float) -> Tensor:
    """|p|^2 of every stored vector; the padding after the first `count` is as far away as can be said."""
    squares = stored.double().square().sum(1)
    squares[count:] = largest
    return squares


def _whole(pixels: Tensor) -> Tensor:
    return (pixels * 255).round()


def _are_pixels(x: Tensor) -> bool:
    """Whether every value is the float32 nearest to one of 0/255, 1/255, ... 255/255."""
    return bool(((_whole(x) / 255 == x) & (x >= 0) & (x <= 1)).all())
