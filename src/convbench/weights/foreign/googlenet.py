"""GoogLeNet in torchvision and TF-slim: both are our `googlenet_bn`; the published network lives in neither."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from convbench.layers import ConvBNReLU
from convbench.weights.foreign.origin import Origin, renamed

INCEPTION_STYLE = {"shorter": 256, "crop": 224, "low": -1.0, "high": 1.0}
TORCHVISION = {
    **{"conv2_reduce": "conv2", "conv2": "conv3"},
    **{"branch1x1": "branch1", "branch3x3": "branch2", "branch5x5": "branch3"},
}
SLIM = {
    **{"conv1": "Conv2d_1a_7x7", "conv2_reduce": "Conv2d_2b_1x1", "conv2": "Conv2d_2c_3x3"},
    **{"inception_3a": "Mixed_3b", "inception_3b": "Mixed_3c"},
    **{"inception_4a": "Mixed_4b", "inception_4b": "Mixed_4c", "inception_4c": "Mixed_4d", "inception_4d": "Mixed_4e"},
    **{"inception_4e": "Mixed_4f", "inception_5a": "Mixed_5b", "inception_5b": "Mixed_5c"},
}
SLIM_IRREGULAR = {"Mixed_5b/Branch_2/Conv2d_0b_3x3": "Mixed_5b/Branch_2/Conv2d_0a_3x3"}


def torchvision_layers(net: nn.Module) -> dict[str, str]:
    return renamed(torchvision_name, net)


def torchvision_name(ours: str) -> str:
    """
    >>> torchvision_name("inception_3a.branch5x5.1.conv"), torchvision_name("inception_3a.branch_pool.1.bn")
    ('inception3a.branch3.1.conv', 'inception3a.branch4.1.bn')
    """
    words = ours.replace("inception_", "inception").replace("branch_pool", "branch4").split(".")
    return ".".join(TORCHVISION.get(word, word) for word in words)


def slim_layers(net: nn.Module) -> dict[str, str]:
    names = slim_units(net, "InceptionV1", SLIM, SLIM_IRREGULAR)
    return names | {"fc": "InceptionV1/Logits/Conv2d_0c_1x1"}


def slim_units(net: nn.Module, root: str, scopes: Mapping[str, str], irregular: Mapping[str, str]) -> dict[str, str]:
    """TF-slim's names for the convolutions of an Inception network, and for their batch normalisations.

    Branches are numbered; a convolution is called by its place (stage, letter) in its branch and its window.

    Args:
        scopes: for the children of `net` that are convolutions or modules, their names within `root`
        irregular: names by these rules -> those that were given instead
    """
    names: dict[str, str] = {}
    for path, unit in net.named_modules():
        child, *within = path.split(".")
        if child in scopes and isinstance(unit, ConvBNReLU):
            scope = scopes[child]
            if within:
                branches = [name for name, _ in net.get_submodule(child).named_children()]
                scope += f"/Branch_{branches.index(within[0])}/{slim_place(within[1:], unit.conv)}"
            scope = f"{root}/{irregular.get(scope, scope)}"
            names |= {f"{path}.conv": scope, f"{path}.bn": f"{scope}/BatchNorm"}
    return names


def slim_place(within: list[str], conv: nn.Conv2d) -> str:
    """The name of a convolution by its path within a branch: [], [index], or [index, "a" or "b"] where it splits."""
    letter = "abcdef"[int(within[0]) + (within[1:] == ["b"]) if within else 0]
    rows, columns = conv.kernel_size
    return f"Conv2d_{'0' + letter if conv.stride == (1, 1) else '1a'}_{rows}x{columns}"


ORIGINS = (
    Origin(
        "torchvision",
        torchvision_layers,
        same_padding=False,
        optional=("aux1", "aux2"),
        preprocessing=INCEPTION_STYLE,
        licence="BSD-3-Clause",
    ),
    Origin(
        "TF-slim",
        slim_layers,
        layout="slim",
        classes_offset=1,
        same_padding=True,
        optional=("aux1", "aux2"),
        preprocessing=INCEPTION_STYLE,
        licence="Apache-2.0",
    ),
)
