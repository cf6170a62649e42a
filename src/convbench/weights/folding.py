"""Batch normalisation folded into the convolution before it, as networks are deployed."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from convbench.errors import RequestError


def foldable(net: nn.Module) -> dict[str, str]:
    """{path of a convolution: path of the batch normalisation that directly follows it in an nn.Sequential}."""
    pairs = {}
    for path, module in net.named_modules():
        if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
            for (first, conv), (second, bn) in pairwise(module.named_children()):
                if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d):
                    before = f"{path}." if path else ""
                    pairs[before + first] = before + second
    return pairs


@torch.no_grad()
def fold_batch_norm(net: nn.Module) -> nn.Module:
    """Fold, in place, every batch normalisation that directly follows a convolution into it; `net` is returned.

    The convolution gains a bias, the normalisation becomes nn.Identity: w' = w g / sqrt(var + eps),
    b' = beta + (b - mean) g / sqrt(var + eps), computed in float64. The running statistics are used, so the outputs
    are those of evaluation mode, in training mode too: a folded network can be fine-tuned as one without batch
    normalisation, but not trained as it was. Fold a copy.deepcopy to keep the original.

    Raises RequestError, before anything is changed, for a normalisation without running statistics.

    >>> fold_batch_norm(nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)))
    Sequential(
      (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
      (1): Identity()
    )
    """
    modules = dict(net.named_modules())
    pairs = foldable(net)
    for path in pairs.values():
        if modules[path].running_mean is None:
            raise RequestError(f"{path} keeps no running statistics: only track_running_stats=True can be folded")
    for conv_path, bn_path in pairs.items():
        conv, bn = modules[conv_path], modules[bn_path]
        assert isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)
        assert bn.running_mean is not None and bn.running_var is not None
        scale = (bn.running_var.double() + bn.eps).rsqrt()
        shift = -bn.running_mean.double() if conv.bias is None else conv.bias.double() - bn.running_mean.double()
        if bn.affine:
            scale = scale * bn.weight.double()
        shift = shift * scale + (bn.bias.double() if bn.affine else 0)
        conv.weight.copy_(conv.weight.double() * scale[:, None, None, None])
        conv.bias = nn.Parameter(shift.to(conv.weight.dtype))
        parent, _, name = bn_path.rpartition(".")
        setattr(modules[parent], name, nn.Identity())
    return net
