"""Inception v3 in torchvision (timm has its names), Keras and TF-slim. All come from the authors' release."""

from __future__ import annotations

from itertools import count

from torch import nn

from convbench.layers import ConvBNReLU
from convbench.weights.foreign.googlenet import INCEPTION_STYLE, slim_units
from convbench.weights.foreign.origin import Origin, renamed

AT_299 = {**INCEPTION_STYLE, "shorter": 342, "crop": 299}
STEM = {
    **{"conv1a": "Conv2d_1a_3x3", "conv2a": "Conv2d_2a_3x3", "conv2b": "Conv2d_2b_3x3"},
    **{"conv3b": "Conv2d_3b_1x1", "conv4a": "Conv2d_4a_3x3"},
}
SLIM_IRREGULAR = {
    "Mixed_5c/Branch_1/Conv2d_0a_1x1": "Mixed_5c/Branch_1/Conv2d_0b_1x1",
    "Mixed_5c/Branch_1/Conv2d_0b_5x5": "Mixed_5c/Branch_1/Conv_1_0c_5x5",
    "Mixed_6a/Branch_0/Conv2d_1a_3x3": "Mixed_6a/Branch_0/Conv2d_1a_1x1",
    "Mixed_6a/Branch_1/Conv2d_1a_3x3": "Mixed_6a/Branch_1/Conv2d_1a_1x1",
    "Mixed_7b/Branch_1/Conv2d_0c_3x1": "Mixed_7b/Branch_1/Conv2d_0b_3x1",
}
AUXILIARY_TORCHVISION = {"reduce": "conv0", "conv": "conv1", "fc": "fc"}
SLIM_HEADS = {
    **{"aux.reduce.conv": "AuxLogits/Conv2d_1b_1x1", "aux.reduce.bn": "AuxLogits/Conv2d_1b_1x1/BatchNorm"},
    **{"aux.conv.conv": "AuxLogits/Conv2d_2a_5x5", "aux.conv.bn": "AuxLogits/Conv2d_2a_5x5/BatchNorm"},
    **{"aux.fc": "AuxLogits/Conv2d_2b_1x1", "fc": "Logits/Conv2d_1c_1x1"},
}


def torchvision_layers(net: nn.Module) -> dict[str, str]:
    return renamed(torchvision_name, net)


def torchvision_name(ours: str) -> str:
    """Branches are not containers there: their layers are numbered from 1, and a, b where they split.

    >>> torchvision_name("mixed_5b.branch5x5.0.conv"), torchvision_name("mixed_7b.branch3x3dbl.2.a.bn")
    ('Mixed_5b.branch5x5_1.conv', 'Mixed_7b.branch3x3dbl_3a.bn')
    """
    match ours.split("."):
        case ["aux", *layer]:
            return ".".join(["AuxLogits", AUXILIARY_TORCHVISION[layer[0]], *layer[1:]])
        case [module, "branch_pool", _, kind]:
            return f"{module.capitalize()}.branch_pool.{kind}"
        case [module, "branch1x1" | "branch3x3" as branch, kind]:
            return f"{module.capitalize()}.{branch}.{kind}"
        case [module, branch, index, *split, kind]:
            return f"{module.capitalize()}.{branch}_{int(index) + 1}{''.join(split)}.{kind}"
        case [child, *kind]:
            return ".".join([STEM.get(child, child), *kind])
    raise AssertionError(ours)


def keras_layers(net: nn.Module) -> dict[str, str]:
    """Numbered as they are created, which is in our order; Keras has no auxiliary head."""
    number, names = count(), {"fc": "predictions"}
    for path, unit in net.named_modules():
        if isinstance(unit, ConvBNReLU) and not path.startswith("aux."):
            index = next(number)
            names |= {f"{path}.conv": f"conv2d_{index}", f"{path}.bn": f"batch_normalization_{index}"}
    return names


def slim_layers(net: nn.Module) -> dict[str, str]:
    modules = {name: name.capitalize() for name, _ in net.named_children() if name.startswith("mixed")}
    names = slim_units(net, "InceptionV3", STEM | modules, SLIM_IRREGULAR)
    return names | {ours: f"InceptionV3/{theirs}" for ours, theirs in SLIM_HEADS.items()}


ORIGINS = (
    Origin(
        "torchvision",
        torchvision_layers,
        avg_pool_counts_padding=True,
        optional=("aux",),
        preprocessing=AT_299,
        licence="BSD-3-Clause",
    ),
    Origin(
        "Keras",
        keras_layers,
        layout="keras",
        avg_pool_counts_padding=False,
        optional=("aux",),
        preprocessing=AT_299,
    ),
    Origin(
        "TF-slim",
        slim_layers,
        layout="slim",
        classes_offset=1,
        avg_pool_counts_padding=False,
        optional=("aux",),
        preprocessing=AT_299,
        licence="Apache-2.0",
    ),
)
