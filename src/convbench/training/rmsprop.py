"""RMSProp as the papers' TensorFlow computed it.

torch's adds epsilon to the root, begins the mean of squares at 0 and multiplies by the learning rate last. With
Inception's epsilon of 1, that is another method: here epsilon stands under the root, the mean of squares begins at 1,
and momentum remembers steps, not gradients, so that a change of the learning rate reaches only what comes after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class TensorFlowRMSprop(torch.optim.Optimizer):
    """step = momentum * last step + lr * gradient / sqrt(mean of squares + epsilon).

    alpha: the decay of the mean of squares
    weight_decay: times the weight, added to the gradient (the papers' L2 loss)
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        alpha: float = 0.9,
        epsilon: float = 1e-10,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "alpha": alpha, "epsilon": epsilon, "momentum": momentum, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            learning = [one for one in group["params"] if one.grad is not None]
            if not learning:
                continue
            for one in learning:
                if one not in self.state:
                    self.state[one] = {"square": torch.ones_like(one), "step": torch.zeros_like(one)}
            squares, steps = ([self.state[one][name] for one in learning] for name in ("square", "step"))
            gradients = torch._foreach_add([one.grad for one in learning], learning, alpha=group["weight_decay"])
            torch._foreach_mul_(squares, group["alpha"])
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["alpha"])
            roots = torch._foreach_add(squares, group["epsilon"])
            torch._foreach_sqrt_(roots)
            torch._foreach_mul_(steps, group["momentum"])
            torch._foreach_addcdiv_(steps, gradients, roots, group["lr"])
            torch._foreach_sub_(learning, steps)
