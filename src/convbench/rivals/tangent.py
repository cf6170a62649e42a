"""Nearest neighbours in tangent distance: small affine deformations and stroke thickness cost nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from convbench.errors import RequestError
from convbench.rivals.method import Floats, Labels
from convbench.rivals.neighbours import vote
from convbench.rivals.search import ExactSearch

DEFORMATIONS = 7  # two translations, scaling, rotation, two hyperbolic deformations, thickness
BATCH = 2048  # images whose tangents are computed at a time
NEGLIGIBLE = 1e-6  # a direction in which all tangents are, squared, shorter than this part of the longest
SPRING = 1e-4  # what a deformation by a unit vector costs, so that near parallel planes have one answer


@dataclass
class TangentDistance:
    """k nearest neighbours in the two-sided tangent distance, among the nearest in Euclidean distance.

    LeCun et al. 1998, section III.C.6; Simard, LeCun & Denker, NIPS 1992: the distance is the least one
    between the planes that the deformations of one image and of the other span at them. Departure: it is
    computed only for the `prefilter` training images nearest in Euclidean distance (between smoothed
    images); the paper too prefilters, at several resolutions, and does not say how far.

    k: neighbours that vote
    prefilter: training images compared
    sigma: of the Gaussian that smooths the images before derivatives are taken, in pixels
    """

    k: PositiveInt = 3
    prefilter: PositiveInt = 500
    sigma: PositiveFloat = 0.7

    def fit(self, x: Floats, y: Labels) -> Self:
        """Store each image beside an orthonormal basis of its tangents: eight vectors an image."""
        if x.ndim != 4:
            raise RequestError(f"tangent distance needs images (n, c, h, w), found {x.ndim} dimensions")
        self.labels, self.classes = torch.from_numpy(y), int(y.max()) + 1
        batches = torch.split(torch.from_numpy(x), BATCH)
        self.planes = torch.cat([planes(images, self.sigma) for images in batches])
        self.products = _own_products(self.planes)
        self.search = ExactSearch(self.planes[:, 0].contiguous())
        return self

    def decision_function(self, x: Floats) -> Floats:
        queries = planes(torch.from_numpy(x), self.sigma)
        _, near = self.search(queries[:, 0].contiguous(), min(self.prefilter, len(self.labels)))
        own = _own_products(queries)
        distances = [
            plane_distances(query, products, self.planes[chosen], self.products[chosen])
            for query, products, chosen in zip(queries, own, near, strict=True)
        ]
        nearest = torch.stack(distances).topk(min(self.k, near.shape[1]), largest=False)
        return vote(nearest.values.double(), self.labels[near.gather(1, nearest.indices)], self.classes)

    @property
    def params(self) -> int:
        return self.planes.numel() + self.products.numel()

    @property
    def macs(self) -> int:
        """The prefilter's distances, then all products of two planes' vectors for each image left."""
        stored, vectors, inputs = self.planes.shape
        return inputs * (stored + min(self.prefilter, stored) * vectors**2)


def planes(images: Tensor, sigma: float) -> Tensor:
    """Images (n, c, h, w) to (n, 8, c * h * w): smoothed image, then an orthonormal basis of its tangents."""
    smooth, tangents = smoothed_and_tangents(images, sigma)
    # Eigenvectors of the Gram matrix make them orthonormal. Where the tangents span fewer than seven
    # dimensions (those of a blank image none), the basis is filled up with zeros.
    tangents = tangents.double()
    squares, directions = torch.linalg.eigh(tangents @ tangents.transpose(1, 2))
    spans = (squares > 0) & (squares > NEGLIGIBLE * squares[:, -1:])
    scale = torch.where(spans, squares.abs().rsqrt(), 0)
    basis = (directions * scale[:, None]).transpose(1, 2) @ tangents
    return torch.cat((smooth[:, None], basis.float()), dim=1)


def smoothed_and_tangents(images: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Smoothed images (n, d) and their derivatives by the deformations (n, 7, d)."""
    radius = max(1, round(3 * sigma))
    reach = torch.arange(-radius, radius + 1.0)
    bell = torch.softmax(-(reach**2) / (2 * sigma**2), 0)
    slope = reach * bell / (reach**2 * bell).sum()  # exact on a ramp

    def filtered(vertical: Tensor, horizontal: Tensor) -> Tensor:
        kernel = torch.outer(vertical, horizontal).expand(images.shape[1], 1, -1, -1)
        return F.conv2d(images, kernel, padding="same", groups=images.shape[1])

    by_column, by_row = filtered(bell, slope), filtered(slope, bell)
    height, width = images.shape[2:]
    column = torch.arange(width) - (width - 1) / 2
    row = (torch.arange(height) - (height - 1) / 2)[:, None]
    tangents = (
        by_column,  # translations
        by_row,
        column * by_column + row * by_row,  # scaling
        row * by_column - column * by_row,  # rotation
        column * by_column - row * by_row,  # hyperbolic, along the axes
        row * by_column + column * by_row,  # hyperbolic, along the diagonals
        by_column**2 + by_row**2,  # thickness
    )
    return filtered(bell, bell).flatten(1), torch.stack(tangents, 1).flatten(2)


def _own_products(planes: Tensor) -> Tensor:
    """The products (n, 8) of each image with itself and with its basis."""
    return (planes @ planes[:, 0, :, None])[:, :, 0]


def plane_distances(plane: Tensor, own: Tensor, others: Tensor, others_own: Tensor) -> Tensor:
    """Squared two-sided tangent distances (k,) between one plane (8, d) and others (k, 8, d)."""
    products = plane @ others.transpose(1, 2)  # (k, 8, 8)
    euclidean = own[0] + others_own[:, 0] - 2 * products[:, 0, 0]
    mine = own[1:] - products[:, 1:, 0]  # the difference of the images, in each basis
    theirs = products[:, 0, 1:] - others_own[:, 1:]
    cross = products[:, 1:, 1:]
    # What the other basis spans is taken off first, then what mine adds to it.
    rest = mine - (cross @ theirs[:, :, None])[:, :, 0]
    overlap = (1 + SPRING) * torch.eye(DEFORMATIONS) - cross @ cross.transpose(1, 2)
    solved = torch.cholesky_solve(rest[:, :, None], torch.linalg.cholesky(overlap))[:, :, 0]
    return (euclidean - theirs.square().sum(1) - (rest * solved).sum(1)).clamp_min(0)
