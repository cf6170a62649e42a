"""Whether an engine answers as eager fp32 does, on the same images.

Errors are measured against what the scores of an image span, as scores have no unit. How much of it a precision may
err depends on the network: what tells images apart is nearly the whole span in a trained one, a hundredth of it in an
untrained one, whose scores stem mostly from its biases; there rounding errs less, and so does much of what could be
wrong. The tolerance is therefore a share of the differences between images, and never less than what rounding does to
scores as such. docs/measuring.md has the errors that the shares were chosen from, of faithful engines and broken ones.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from convbench.errors import unknown

SHARE = {"fp32": 1e-3, "bf16": 0.2, "int8": 0.6}  # of the differences between images, both root mean squares
LEAST = {"fp32": 2e-5, "bf16": 0.005, "int8": 0.05}  # of the span of the scores
WORST = 10  # times the tolerated error: that of a single score
CLEAR = 4  # times the tolerated error: a lead of the best score from which on it must stay the best


@dataclass(frozen=True)
class Fidelity:
    """An engine's answers beside eager's; errors are parts of what eager's scores of an image span.

    top1_agreement: percent of images with the same best score
    max_relative_error: the largest error of any score
    relative_error: the root mean square of all
    tolerated_error: the most that it may be, at the engine's precision
    why: what is wrong, in words; empty where `passed`

    Errors are None where shapes differ, or scores are no numbers.
    """

    top1_agreement: float
    max_relative_error: float | None
    relative_error: float | None
    tolerated_error: float | None
    n: int
    passed: bool
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare_outputs(reference: Tensor, outputs: Tensor, precision: str) -> Fidelity:
    """Compare scores (n, classes) of an engine at `precision` with eager's, `reference`, on the same images.

    Passed: numbers in the shape of the reference; their errors within the tolerance, no single one beyond ten times
    of it, and the same answer wherever eager's is clear. Of one image the scores' own deviation stands for the
    differences between images, which makes the tolerance wide for untrained networks: compare eight or more.

    >>> import torch
    >>> compare_outputs(torch.eye(3), torch.eye(3).roll(1, dims=1), "bf16").why
    'its scores are off by 0.816 of their span, bf16 by 0.0943 at most'
    """
    if precision not in SHARE:
        raise unknown("precision", precision, SHARE)
    if outputs.shape != reference.shape:
        why = f"expected scores of shape {tuple(reference.shape)}, found {tuple(outputs.shape)}"
        return _refused(len(reference), why)
    reference, outputs = reference.detach().flatten(1).double(), outputs.detach().flatten(1).double()
    for scores, whose in ((reference, "eager's"), (outputs, "its")):
        if not bool(scores.isfinite().all()):
            return _refused(len(reference), f"NaN or infinity among {whose} scores")
    best, second = _best_two(reference)
    span = best - reference.amin(dim=1, keepdim=True)
    typical_span = max(float(span.mean()), 1e-30)  # of scores that are all the same, any difference is too much
    errors = (outputs - reference) / typical_span
    differences = reference - reference.mean(dim=0 if len(reference) > 1 else 1, keepdim=True)
    varies = float(differences.square().mean().sqrt()) / typical_span
    tolerated = max(LEAST[precision], SHARE[precision] * varies)
    error, largest = float(errors.square().mean().sqrt()), float(errors.abs().max())
    same = outputs.argmax(dim=1) == reference.argmax(dim=1)
    flipped = int((~same & ((best - second)[:, 0] > CLEAR * tolerated * typical_span)).sum())
    if error > tolerated:
        why = f"its scores are off by {error:.3g} of their span, {precision} by {tolerated:.3g} at most"
    elif largest > WORST * tolerated:
        why = f"one of its scores is off by {largest:.3g} of their span, {precision} by {WORST * tolerated:.3g} at most"
    elif flipped:
        why = f"other answers than eager's on {flipped} images where eager's is clear"
    else:
        why = ""
    agreement = 100 * float(same.double().mean())
    return Fidelity(agreement, largest, error, tolerated, len(reference), not why, why)


def _best_two(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The best score and the one after it, (n, 1) each; of a single output it is both."""
    best = scores.topk(min(2, scores.shape[1]), dim=1).values
    return best[:, :1], best[:, -1:]


def _refused(n: int, why: str) -> Fidelity:
    return Fidelity(0.0, None, None, None, n, False, why)
