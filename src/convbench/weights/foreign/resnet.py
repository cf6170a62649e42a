"""ResNets in torchvision (with timm and others that took over its names) and in akamaster/pytorch_resnet_cifar10.

Keras' and TF-slim's are not read: their convolutions carry biases before batch normalisation, or stride elsewhere.
"""

from __future__ import annotations

from torch import nn

from convbench.models.resnet import Bottleneck
from convbench.weights.foreign.origin import IMAGENET, Origin, renamed


def torchvision_layers(net: nn.Module) -> dict[str, str]:
    """The published and the v1_5 form have the same tensors; only whoever trained them can tell which it was."""
    return renamed(torchvision_name, net)


def torchvision_name(ours: str) -> str:
    """
    >>> torchvision_name("conv3.0.residual.conv2.bn"), torchvision_name("conv3.0.shortcut.conv")
    ('layer2.0.bn2', 'layer2.0.downsample.0')
    """
    match ours.split("."):
        case ["conv1", kind]:
            return f"{kind}1"
        case [stage, block, "residual", conv, kind]:
            return f"layer{number(stage) - 1}.{block}.{kind}{number(conv)}"
        case [stage, block, "shortcut", kind]:
            return f"layer{number(stage) - 1}.{block}.downsample.{('conv', 'bn').index(kind)}"
        case _:
            return ours


def torchvision_caution(net: nn.Module) -> str:
    if any(isinstance(module, Bottleneck) for module in net.modules()):
        return "torchvision's and timm's own weights stride in the 3x3: if these are theirs, take the _v1_5 network"
    return ""


def akamaster_layers(net: nn.Module) -> dict[str, str]:
    return torchvision_layers(net) | {"fc": "linear"}


def number(layer: str) -> int:
    return int(layer.removeprefix("conv"))


ORIGINS = (
    Origin(
        "torchvision",
        torchvision_layers,
        caution=torchvision_caution,
        preprocessing=IMAGENET,
        licence="BSD-3-Clause",
    ),
    Origin(
        "akamaster/pytorch_resnet_cifar10",
        akamaster_layers,
        preprocessing={"mean": IMAGENET["mean"], "std": IMAGENET["std"]},
        licence="BSD-2-Clause",
    ),
)
