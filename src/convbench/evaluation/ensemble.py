"""Several networks that answer together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from convbench.errors import RequestError


def mean_probabilities(members: Sequence[Tensor]) -> Tensor:
    """The mean of the members' softmax probabilities, each (n, classes).

    So the papers combine networks (Simonyan & Zisserman, ICLR 2015, section 4.4; Szegedy et al., CVPR 2015, section 7).

    Raises RequestError where the members do not answer for the same images and classes.
    """
    shapes = sorted({tuple(member.shape) for member in members})
    if len(shapes) != 1:
        raise RequestError(f"ensemble: expected members that answer for the same images and classes, found {shapes}")
    return torch.stack(list(members)).mean(dim=0)
