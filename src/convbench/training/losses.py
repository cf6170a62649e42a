"""The losses that a recipe can name; each takes logits (n, classes), larger = more probable, and labels (n,)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from convbench.errors import RequestError
from convbench.layers import WithAuxiliary
from convbench.training.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]
Output = Tensor | WithAuxiliary  # of a network in training mode


def mse(logits: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance to targets of +1 (the class) and -1 (the others), mean over the images."""
    targets = (labels[:, None] == torch.arange(logits.shape[1], device=labels.device)) * 2.0 - 1
    return (logits - targets).square().sum(dim=1).mean() / 2


def mle(logits: Tensor, labels: Tensor) -> Tensor:
    """The penalty of the right class, mean over the images (LeCun et al. 1998, equation 8)."""
    return -logits.gather(1, labels[:, None]).mean()


def map_loss(logits: Tensor, labels: Tensor, j: float) -> Tensor:
    """The discriminative loss (equation 9): log(e^-j + sum_i e^-y_i) added to the right class's penalty y.

    With logits z = -y. The constant j > 0 is a rubbish class that keeps far-off images from being pushed farther.
    """
    rubbish = torch.full_like(logits[:, :1], -j)
    competition = torch.logsumexp(torch.cat([logits, rubbish], dim=1), dim=1)
    return (competition - logits.gather(1, labels[:, None])[:, 0]).mean()


def logits_of(output: Output) -> Tensor:
    """The logits of the main head."""
    return output.logits if isinstance(output, WithAuxiliary) else output


def loss_with_auxiliary(loss: Loss, output: Output, labels: Tensor) -> Tensor:
    """`loss` of the main head plus, weighted as the paper weighs them, of each auxiliary head."""
    if not isinstance(output, WithAuxiliary):
        return loss(output, labels)
    auxiliary = sum(loss(logits, labels) for logits in output.aux_logits)
    return loss(output.logits, labels) + output.aux_weight * auxiliary


def make_loss(recipe: Recipe) -> Loss:
    """The loss that `recipe` names, with its constants."""
    match recipe.loss:
        case "cross_entropy":
            return lambda logits, labels: F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        case "mse":
            return mse
        case "mle":
            return mle
        case "detection":
            raise RequestError(f"loss: expected one for labels, found 'detection' with {recipe.network}, no detector")
        case "map":
            return lambda logits, labels: map_loss(logits, labels, recipe.map_j)
