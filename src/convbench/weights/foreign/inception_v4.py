"""Inception-v4 and the released Inception-ResNet-v2 in the authors' TF-slim, in PyTorch ports and, of v2, in Keras.

No library has weights of Inception-ResNet-v1, nor of Inception-ResNet-v2 as drawn: `layers` is empty for them.
"""

from __future__ import annotations

import re
from itertools import count

from torch import nn

from convbench.layers import ConvBNReLU
from convbench.weights.foreign.origin import Origin

TIMM_V4 = [*(f"features.{number}" for number in range(22)), "last_linear"]  # in the order of our `blocks`, as all below
TIMM_RESNET_V2 = [
    *("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a", "maxpool_5a", "mixed_5b"),
    *(f"repeat.{number}" for number in range(10)),
    "mixed_6a",
    *(f"repeat_1.{number}" for number in range(20)),
    "mixed_7a",
    *(f"repeat_2.{number}" for number in range(9)),
    *("block8", "conv2d_7b", "classif"),
]
SLIM_V4 = [
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Mixed_3a", "Mixed_4a"),
    *(
        f"Mixed_{number}{letter}"
        for number, letters in ((5, "abcde"), (6, "abcdefgh"), (7, "abcd"))
        for letter in letters
    ),
    "Logits/Logits",
]
SLIM_RESNET_V2 = [
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_3a_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"),
    *("MaxPool_5a_3x3", "Mixed_5b"),
    *(f"Repeat/block35_{number}" for number in range(1, 11)),
    "Mixed_6a",
    *(f"Repeat_1/block17_{number}" for number in range(1, 21)),
    "Mixed_7a",
    *(f"Repeat_2/block8_{number}" for number in range(1, 10)),
    *("Block8", "Conv2d_7b_1x1", "Logits/Logits"),
]


def blocks(net: nn.Module) -> list[str]:
    """Our paths of the stem's layers, the blocks A, B and C, the reductions, the convolution after C and the head."""
    paths = []
    for name, module in net.named_children():
        if name == "stem" or name.startswith("inception"):
            paths += [f"{name}.{child}" for child, _ in module.named_children()]
        elif name not in {"pool", "dropout"}:
            paths.append(name)
    return paths


def timm_layers(net: nn.Module) -> dict[str, str]:
    layers = dict[str, str]()
    for block, theirs in _pairs(net, TIMM_V4, TIMM_RESNET_V2):
        for inside, module in net.get_submodule(block).named_modules():
            if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
                layers[f"{block}.{inside}".rstrip(".")] = f"{theirs}.{timm_inside(block, inside)}".rstrip(".")
    return layers


def timm_inside(block: str, inside: str) -> str:
    """
    >>> timm_inside("inception_c.0", "branch2.3.branch1.conv"), timm_inside("inception_c.0", "mixed.branch1.0.bn")
    ('branch2_3b.conv', 'branch1.0.bn')
    """
    if block in {"stem.mixed_3a", "stem.mixed_5a"}:
        return re.sub(r"^branch\d", "conv", inside)
    if block.startswith("inception_c"):  # Inception-v4's have forks at the end of two branches
        fork = re.compile(r"^(branch[12])\.(\d)(?:\.branch(\d))?")
        inside = fork.sub(lambda found: f"{found[1]}_{found[2]}{'ab'[int(found[3])] if found[3] else ''}", inside)
    return inside.removeprefix("mixed.").replace("linear", "conv2d")


def cadene_layers(net: nn.Module) -> dict[str, str]:
    return {path: theirs.replace("classif", "last_linear") for path, theirs in timm_layers(net).items()}


def slim_layers(net: nn.Module) -> dict[str, str]:
    released_v2 = hasattr(net, "conv_7b")
    layers = dict[str, str]()
    for block, theirs in _pairs(net, SLIM_V4, SLIM_RESNET_V2):
        scope = f"{'InceptionResnetV2' if released_v2 else 'InceptionV4'}/{theirs}"
        for inside, module in net.get_submodule(block).named_modules():
            path = f"{block}.{inside}".rstrip(".")
            if isinstance(module, ConvBNReLU):
                conv = scope + (slim_inside(inside, theirs, module.conv, released_v2) if inside else "")
                layers |= {f"{path}.conv": conv, f"{path}.bn": f"{conv}/BatchNorm"}
            elif inside == "linear":
                layers[path] = f"{scope}/Conv2d_1x1"
            elif isinstance(module, nn.Linear):
                layers[path] = scope
    return layers


def slim_inside(inside: str, block: str, conv: nn.Conv2d, released_v2: bool) -> str:
    """A convolution's scope in its block: branch, place there ("1a" where maps shrink, none if alone in v2), kernel."""
    branch, *places = map(int, re.findall(r"\d+", inside))
    rows, columns = conv.kernel_size
    if conv.padding == (0, 0) and rows > 1 and block != "Mixed_3a":
        place = "1a_"
    else:
        place = "" if released_v2 and not places else f"0{'abcde'[sum(places)]}_"
    return f"/Branch_{branch}/Conv2d_{place}{rows}x{columns}"


def keras_layers(net: nn.Module) -> dict[str, str]:
    """Of the released v2: `linear` and the last layers have names, all others are numbered in their order."""
    if not hasattr(net, "conv_7b"):
        return {}
    layers, number = {"conv_7b.conv": "conv_7b", "conv_7b.bn": "conv_7b_bn", "fc": "predictions"}, count()
    sides = {"inception_a": 35, "inception_b": 17, "inception_c": 8}
    for path, module in net.named_modules():
        if path.endswith(".linear"):
            name, place, _ = path.split(".")
            layers[path] = f"block{sides[name]}_{int(place) + 1}_conv"
        elif isinstance(module, ConvBNReLU) and path != "conv_7b":
            n = next(number)
            layers |= {f"{path}.conv": f"conv2d_{n}", f"{path}.bn": f"batch_normalization_{n}"}
    return layers


def _pairs(net: nn.Module, v4: list[str], resnet_v2: list[str]) -> list[tuple[str, str]]:
    """Our blocks and what they are called in a library that has Inception-v4 and the released Inception-ResNet-v2."""
    ours = blocks(net)
    return [pair for theirs in (v4, resnet_v2) if len(theirs) == len(ours) for pair in zip(ours, theirs, strict=True)]


TENSORFLOW = {"shorter": 341, "crop": 299, "low": -1.0, "high": 1.0}  # the central 87.5 %

ORIGINS = (
    Origin(
        "TF-slim",
        slim_layers,
        layout="slim",
        classes_offset=1,
        ignored=("/AuxLogits/",),  # the release's auxiliary head, which the paper does not have
        preprocessing=TENSORFLOW,
        licence="Apache-2.0",
    ),
    Origin("timm", timm_layers, preprocessing=TENSORFLOW, licence="Apache-2.0"),
    Origin("pretrained-models.pytorch", cadene_layers, preprocessing=TENSORFLOW, licence="Apache-2.0"),
    Origin("Keras", keras_layers, layout="keras", preprocessing=TENSORFLOW),
)
