"""The reduced set: few made vectors that do nearly what many support vectors did."""

from __future__ import annotations

import torch
from torch import Tensor


def reduced_set(
    vectors: Tensor, weights: Tensor, degree: int, offset: float, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    raise NotImplementedError
