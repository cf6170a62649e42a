"""Stochastic diagonal Levenberg-Marquardt, the optimiser that trained LeNet-5.

LeCun, Bottou, Bengio & Haffner 1998, appendix C: every parameter has its own step, lr / (mu + h), where h is the
diagonal of the Gauss-Newton approximation to the loss's second derivative, estimated on a few hundred images before
each pass and then frozen. Where connections share a weight, h is the sum over the connections (the cross terms of
equation 30 dropped), as the appendix has it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vjp, vmap

from convbench.errors import RequestError
from convbench.training.losses import Loss


class StochasticDiagonalLM(torch.optim.Optimizer):
    """Steps of lr / (mu + h) times the gradient; call `set_curvature` before the first step."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, mu: float) -> None:
        super().__init__(params, {"lr": lr, "mu": mu})

    def set_curvature(self, curvature: dict[nn.Parameter, Tensor]) -> None:
        """Freeze h, a tensor of each parameter's shape, for the steps to come."""
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["rate"] = (curvature[p] + group["mu"]).reciprocal()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.addcmul_(p.grad, self.state[p]["rate"], value=-group["lr"])


def gauss_newton_diagonal(net: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> dict[nn.Parameter, Tensor]:
    """The diagonal second derivative of the loss for each parameter, mean over the images, by one backward recursion.

    Through y = W x the curvature passes with squared weights, c_x = (W^2)^T c_y, and a weight gets c_y x^2; through a
    squashing function f it is multiplied by f'^2. Both are backward passes of the same layer, at squared weights and at
    squared inputs. What follows the last such layer (LeNet-5's codes) belongs to the loss, whose second derivative is
    exact.

    Args:
        net: a chain (nn.Sequential) of convolutions, linear layers, subsamplings and elementwise activations
        images, labels: (n, c, h, w) as the network reads them, and (n,)

    Raises RequestError for a network that is not such a chain.
    """
    if not isinstance(net, nn.Sequential):
        raise RequestError(
            f"optimiser sdlm needs a chain of layers (nn.Sequential), found {type(net).__name__}: take sgd"
        )
    layers = list(net)
    inputs, x = list[Tensor](), images
    with torch.no_grad():
        for layer in layers:
            inputs.append(x)
            x = layer(x)
    depth = max(i for i, layer in enumerate(layers) if next(layer.parameters(), None) is not None) + 1
    while depth < len(layers) and _is_elementwise(layers[depth], inputs[depth]):
        depth += 1
    tail, end = nn.Sequential(*layers[depth:]), inputs[depth] if depth < len(layers) else x

    def loss_of_one(flat: Tensor, label: Tensor) -> Tensor:
        return loss(tail(flat.view(1, *end.shape[1:])), label[None])

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script`", FutureWarning)  # torch's own use, when vmap is loaded
        second = vmap(jacrev(jacrev(loss_of_one)))(end.flatten(1), labels)
    c = second.diagonal(dim1=1, dim2=2).clamp(min=0).view_as(end) / len(labels)
    curvature: dict[nn.Parameter, Tensor] = {}
    for layer, x in zip(reversed(layers[:depth]), reversed(inputs[:depth]), strict=True):
        parameters = dict(layer.named_parameters())
        if parameters or isinstance(layer, nn.Flatten):
            squared = {name: p.detach().square() for name, p in parameters.items()}
            at_squared_input = vjp(lambda p, layer=layer, x=x: functional_call(layer, p, (x.square(),)), squared)[1](c)[
                0
            ]
            curvature |= {parameters[name]: at_squared_input[name] for name in parameters}
            c = vjp(lambda x, layer=layer, p=squared: functional_call(layer, p, (x,)), x)[1](c)[0]
        elif _is_elementwise(layer, x):
            slope = vjp(layer, x)[1](torch.ones_like(x))[0]
            c = slope.square() * c
        else:
            raise RequestError(f"optimiser sdlm knows no curvature rule for {type(layer).__name__}: take sgd")
    return curvature


def _is_elementwise(layer: nn.Module, x: Tensor) -> bool:
    """Whether each output of `layer` follows from the input at its own place alone; asked of the layer.

    It is asked around 0 and not at `x`, whose values may lie where the layer is flat.
    """
    if next(layer.parameters(), None) is not None:
        return False
    zero = torch.zeros_like(x[:1])
    changed = zero.clone()
    changed.view(-1)[0] = 0.25
    with torch.no_grad():
        y, z = layer(zero), layer(changed)
    return y.shape == changed.shape and torch.equal(y != z, zero != changed)
