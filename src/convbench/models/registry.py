"""Networks by name. Each family's file holds its variants as rows of data; this index says which file that is.

The index is written out so that listing names does not import torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from convbench.errors import RequestError, unknown

if TYPE_CHECKING:
    from torch import nn

FAMILIES = {  # in the order of the papers
    "lenet": ("lenet1", "lenet4", "lenet5", "lenet5_relu"),
    "mlp": ("mlp_300", "mlp_1000", "mlp_300_100", "mlp_500_150"),
    "alexnet": (
        *("alexnet", "alexnet_dense", "alexnet_owt"),
        *("alexnet_no_fc7", "alexnet_no_fc6_fc7", "alexnet_no_conv3_conv4", "alexnet_no_conv3_conv4_fc6_fc7"),
    ),
    "zfnet": ("zfnet", "zfnet_512_1024_512"),
    "vgg": (
        *("vgg11", "vgg11_lrn", "vgg13", "vgg16_1x1", "vgg16", "vgg19"),
        *("vgg11_bn", "vgg13_bn", "vgg16_1x1_bn", "vgg16_bn", "vgg19_bn"),
    ),
    "googlenet": ("googlenet", "googlenet_bn"),
    "bn_inception": ("inception_v2", "inception_v2_slim"),
    "inception_v3": ("inception_v3",),
    "resnet": (
        *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "plain18", "plain34"),
        *("resnet18_v1_5", "resnet34_v1_5", "resnet50_v1_5", "resnet101_v1_5", "resnet152_v1_5"),
        *("resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202"),
        *("plain20", "plain32", "plain44", "plain56"),
    ),
    "inception_v4": ("inception_v4", "inception_resnet_v1", "inception_resnet_v2", "inception_resnet_v2_figures"),
    "xception": ("xception",),
    "resnext": ("resnext50_32x4d", "resnext101_32x4d", "resnext101_64x4d", "resnext29_8x64d", "resnext29_16x64d"),
    "pyramidnet": ("pyramidnet110_a48", "pyramidnet110_a84", "pyramidnet110_a270", "pyramidnet164_a270"),
    "mobilenet_v1": ("mobilenet_v1", "mobilenet_v1_075", "mobilenet_v1_050", "mobilenet_v1_025"),
}


def names() -> tuple[str, ...]:
    """Every network's name, family by family, in the order of the papers."""
    return tuple(name for family in FAMILIES.values() for name in family)


def build(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    image_size: int | None = None,
    **others: Any,
) -> nn.Module:
    """Build a network with fresh weights, as published where nothing else is asked for.

    Args:
        name: one of `names()`
        num_classes: outputs
        in_channels: channels of the images
        image_size: rows and columns of the images
        others: further arguments of the network's class, such as mobilenet_v1's width_multiplier

    Under `with torch.device("meta")` it costs neither memory nor initialisation. The kernels of networks for colour
    images are stored channels last: images in either layout are then convolved in the one that is faster on CPUs.

    Raises RequestError for an unknown name or argument, and for a size or classes that the network cannot take.

    >>> sum(p.numel() for p in build("lenet5").parameters())
    60000
    """
    network, arguments = variant(name)
    asked = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    known = inspect.signature(network).parameters
    for key in others:
        if key not in known:
            raise unknown(f"argument of {name}", key, known)
    for key, value in asked.items():
        if value is not None and value < 1:
            raise RequestError(f"{name}: {key} must be 1 or more, found {value}")
    net = network(**arguments | others | {key: value for key, value in asked.items() if value is not None})
    if published_input(name)[0] == 3:
        from torch import channels_last

        net.to(memory_format=channels_last)
    return net


def published_input(name: str) -> tuple[int, int, int]:
    """(channels, height, width) of the images that the network `name` was published for.

    >>> published_input("lenet5")
    (1, 32, 32)
    """
    network, arguments = variant(name)
    defaults = {key: value.default for key, value in inspect.signature(network).parameters.items()} | arguments
    return defaults["in_channels"], defaults["image_size"], defaults["image_size"]


def variant(name: str) -> tuple[Callable[..., nn.Module], dict[str, Any]]:
    """The class of the network `name` and the arguments that make it that variant; RequestError for an unknown name."""
    for family, members in FAMILIES.items():
        if name in members:
            network, arguments = import_module(f"convbench.models.{family}").VARIANTS[name]
            return network, arguments
    raise unknown("network", name, names())
