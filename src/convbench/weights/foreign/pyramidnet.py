"""PyramidNets in the authors' PyTorch code."""

from __future__ import annotations

from torch import nn

from convbench.weights.foreign.origin import Origin, renamed

CIFAR = {
    "mean": (125.3 / 255, 123.0 / 255, 113.9 / 255),
    "std": (63.0 / 255, 62.1 / 255, 66.7 / 255),
}


def author_layers(net: nn.Module) -> dict[str, str]:
    return renamed(author_name, net)


def author_name(ours: str) -> str:
    """A block's normalisations are numbered from the one before its first convolution.

    >>> author_name("conv2.0.residual.bn"), author_name("conv3.0.residual.conv1.bn")
    ('layer1.0.bn1', 'layer2.0.bn2')
    """
    match ours.split("."):
        case ["conv1", kind]:
            return f"{kind}1"
        case [stage, block, "residual", "bn"]:
            return f"layer{_number(stage) - 1}.{block}.bn1"
        case [stage, block, "residual", conv, kind]:
            number = _number(conv) + (kind == "bn")
            return f"layer{_number(stage) - 1}.{block}.{kind}{number}"
        case ["bn"]:
            return "bn_final"
        case _:
            return ours


def _number(layer: str) -> int:
    return int(layer.removeprefix("conv"))


ORIGINS = (Origin("dyhan0920/PyramidNet-PyTorch", author_layers, preprocessing=CIFAR, licence="MIT"),)
