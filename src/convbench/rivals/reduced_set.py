"""The reduced set: few vectors made to measure do nearly what many support vectors did.

Burges, "Simplified support vector decision rules", ICML 1996; Burges & Schoelkopf, NIPS 1997: a sum of
kernels of support vectors is replaced by a sum of kernels of fewer vectors, which are no patterns but found
by descent.
Departures: near is what gives near outputs on the support vectors, where the paper's measure is the
distance in feature space (on MNIST, held out, 400 vectors for 4,743 lose 0.3 points so, and 0.5 points that
way); all machines share their vectors, as they share support vectors; the start is a draw of support
vectors; Adam does the descent.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from convbench.progress import track

STEPS = 80  # of Adam
LEARNING_RATE = 0.01  # at first, then down along a cosine; the vectors start at length one
RIDGE = 1e-6  # of the weights, a fraction of the kernels' mean square: vectors may come close to each other


def polynomial(a: Tensor, b: Tensor, degree: int, offset: float) -> Tensor:
    """The kernels (a.b + offset)^degree, (n, m), of vectors (n, d) and (m, d)."""
    return (a @ b.T + offset).pow(degree)


def reduced_set(
    vectors: Tensor, outputs: Tensor, degree: int, offset: float, count: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Made vectors (count, d), their weights (count, machines) and biases (machines,).

    They give nearly the `outputs` (m, machines) at the support `vectors` (m, d). float64 in and out; the
    descent is done in float32.
    """
    chance = torch.Generator().manual_seed(seed)
    patterns, aims = vectors.float(), outputs.float()
    made = patterns[torch.randperm(len(patterns), generator=chance)[:count]].requires_grad_()
    optimiser = torch.optim.Adam([made], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in track(range(STEPS), "reduced set", STEPS, "steps"):
        optimiser.zero_grad()
        kernels = _with_bias(polynomial(patterns, made, degree, offset))
        # At the best weights the error's slope by them is zero: they may be taken as given.
        best = _least_squares(kernels.detach(), aims)
        F.mse_loss(kernels @ best, aims).backward()
        optimiser.step()
        schedule.step()
    made = made.detach().double()
    best = _least_squares(_with_bias(polynomial(vectors, made, degree, offset)), outputs)
    return made, best[:-1], best[-1]


def _with_bias(kernels: Tensor) -> Tensor:
    return F.pad(kernels, (0, 1), value=1.0)


def _least_squares(inputs: Tensor, aims: Tensor) -> Tensor:
    """The weights (inputs, machines) with the least squared error, and a little decay."""
    gram = inputs.T @ inputs
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    weights: Tensor = torch.linalg.solve(gram, inputs.T @ aims)
    return weights
