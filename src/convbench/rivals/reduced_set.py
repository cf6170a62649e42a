"""The reduced set: few vectors made to measure do nearly what many support vectors did.

Burges, "Simplified support vector decision rules", ICML 1996; Burges & Schoelkopf, NIPS 1997. A machine is
a vector of feature space, w = sum_i a_i f(v_i). Sought are fewer z_k, not patterns any more, and b_k with
the least |w - sum_k b_k f(z_k)|^2, which kernels k(z, v) = f(z).f(v) suffice to compute. For given z the
best b solve a linear system, so that gradients are needed only for z. Departures: all machines share their
vectors, as support vectors are shared; the start is a draw of support vectors; Adam does the descent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from convbench.progress import track

STEPS = 100  # of Adam; further ones gain nothing on MNIST
LEARNING_RATE = 0.01  # at first, then down along a cosine; vectors start at length one
RIDGE = 1e-5  # of the linear system, a fraction of the mean |f(z)|^2: vectors may come close to each other


def polynomial(a: Tensor, b: Tensor, degree: int, offset: float) -> Tensor:
    """The kernels (a.b + offset)^degree, (n, m), of vectors (n, d) and (m, d)."""
    return (a @ b.T + offset).pow(degree)


def reduced_set(
    vectors: Tensor, weights: Tensor, degree: int, offset: float, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """`count` vectors (count, d) and their weights (count, machines), in place of (m, d) and (m, machines).

    float64 in and out; the descent is done in float32.
    """
    v, a = vectors.float(), weights.float()
    chance = torch.Generator().manual_seed(seed)
    chosen = torch.multinomial(weights.abs().sum(1), count, generator=chance)  # no vector twice
    z = v[chosen].clone().requires_grad_()
    optimiser = torch.optim.Adam([z], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in track(range(STEPS), "reduced set", STEPS, "steps"):
        optimiser.zero_grad()
        b, overlaps = _best_weights(z, v, a, degree, offset)
        (-(overlaps * b).sum()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    made = z.detach().double()
    return made, _best_weights(made, vectors, weights, degree, offset)[0]


def _best_weights(z: Tensor, v: Tensor, a: Tensor, degree: int, offset: float) -> tuple[Tensor, Tensor]:
    """The weights b of `z` that come nearest to the machines, and the overlaps f(z).w; each (count,
    machines).

    With these b the squared distance is |w|^2 - sum(overlaps * b).
    """
    overlaps = polynomial(z, v, degree, offset) @ a
    gram = polynomial(z, z, degree, offset)
    gram = gram + RIDGE * gram.diagonal().mean() * torch.eye(len(z), dtype=z.dtype)
    return torch.linalg.solve(gram, overlaps), overlaps
