"""Networks applied to images larger than those that they were made for, at every place at once.

Sermanet et al., OverFeat, ICLR 2014, section 3.5; Simonyan & Zisserman, ICLR 2015, section 3.2.
"""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from convbench.errors import RequestError
from convbench.modes import evaluation_mode

# What may follow the flattening: it does to each unit alone what it does to one of a vector.
BY_UNIT = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Dropout, nn.Identity)


class FullyConvolutional(nn.Module):
    """`net` with the fully connected layers behind its `nn.Flatten` as convolutions, which share their weights.

    The first one becomes a convolution as large as the map that was flattened, the others 1x1. Of a larger image they
    make a map of logits, a place for each window that the network would have read, `net`'s total stride apart. Where
    layers before pad their input, a window within the image sees its surroundings instead of zeros, so that its
    logits are not quite those of the window alone. A network that averages its last map over all places, before its
    only linear layer, reads larger images as it is: the mean of the logits is the logits of the mean.

    input_shape: (channels, height, width) that `net` was made for

    Images (n, c, h, w), at least that large, to the mean of the map, (n, classes).
    Raises RequestError where other layers than these follow the flattening.
    """

    def __init__(self, net: nn.Module, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        tensors = chain(net.parameters(), net.buffers())
        self.net = copy.deepcopy(net, {id(tensor): tensor for tensor in tensors})
        self._convert(torch.zeros(1, *input_shape, device=next(net.parameters()).device))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits.mean(dim=(2, 3)) if logits.ndim == 4 else logits

    def _convert(self, image: Tensor) -> None:
        grid: tuple[int, int] | None = None
        for name, layer, shape in _leaves_in_order(self.net, image):
            if isinstance(layer, nn.Flatten) and len(shape) == 4:
                grid = shape[2], shape[3]
                self.net.set_submodule(name, nn.Identity())
            elif grid is not None and isinstance(layer, nn.Linear):
                self.net.set_submodule(name, _as_convolution(layer, grid))
                grid = 1, 1
            elif grid is not None and not isinstance(layer, BY_UNIT):
                raise RequestError(
                    f"dense: expected linear layers, ReLU and dropout behind the flattening, found {name}, a "
                    f"{type(layer).__name__}; nearest are crops of the network's own size, such as ten"
                )


def _leaves_in_order(net: nn.Module, image: Tensor) -> list[tuple[str, nn.Module, tuple[int, ...]]]:
    """The layers without layers inside, with the shape of their input, in the order in which they run."""
    order: list[tuple[str, nn.Module, tuple[int, ...]]] = []
    hooks = [
        layer.register_forward_pre_hook(
            lambda layer, inputs, name=name: order.append((name, layer, tuple(inputs[0].shape)))
        )
        for name, layer in net.named_modules()
        if not list(layer.children())
    ]
    try:
        with evaluation_mode(net), torch.inference_mode():
            net(image)
    finally:
        for hook in hooks:
            hook.remove()
    return order


def _as_convolution(linear: nn.Linear, grid: tuple[int, int]) -> nn.Conv2d:
    channels = linear.in_features // (grid[0] * grid[1])
    with torch.device("meta"):
        conv = nn.Conv2d(channels, linear.out_features, grid, bias=linear.bias is not None)
    weight: Any = linear.weight.detach().view(linear.out_features, channels, *grid)
    conv.weight, conv.bias = nn.Parameter(weight), linear.bias
    return conv.train(linear.training)
