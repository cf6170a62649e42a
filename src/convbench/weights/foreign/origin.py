"""What is to be known of another library's weights for one family of networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn


@dataclass(frozen=True)
class Origin:
    """How a library names, lays out and trained the tensors of a family.

    library: its name, for people and metadata
    layers: from a network of ours to {path of our leaf module: the library's path of that layer}, for every leaf with
        tensors. A path that ends in `kernel` or `weights` names the tensor itself (Keras' separable layers keep two),
        and one in `/biases` for a batch normalisation of ours a bias that stands in its place.
    layout: "torch" (`layer.weight`, out x in x h x w), "keras" (`layer/kernel`, h x w x in x out) or
        "slim" (`layer/weights`, the same layout; TF-slim's batch normalisations lie at `layer/BatchNorm`) or "tflite"
        (`layer/weights_quant/...`, out x h x w x in; batch normalisation is folded)
    classes_offset: outputs of the library before our first (TF-slim's "background")
    flattened: {path of our linear layer: number of maps that are flattened before it}, where the library flattens
        channels last (Keras): its kernel's rows are then ordered (row, column, map), ours (map, row, column)
    reordered: {path of our layer: for each group of so many outputs, which of the library's each of ours is}
    bn_eps, relu6, same_padding, avg_pool_counts_padding: what the tensors were trained with, where it may differ from
        ours; None leaves ours. The last: whether padding pixels count in the mean (torch) or not (TensorFlow)
    optional: prefixes of our names that files of this library may lack (auxiliary heads)
    ignored: parts of the library's names, such as "/AuxLogits/", by which tensors are told that we have no layer for
    caution: what a user must know where these tensors fit a network that the library did not train; "" where none
    preprocessing: fields of `Preprocessing` that prepare images as these weights expect
    licence: of the library's published weights, where known

    A convolution that spans the maps it reads (fc6 of VGG in timm and TF-slim) holds the tensor of our linear layer.
    """

    library: str
    layers: Callable[[nn.Module], Mapping[str, str]]
    layout: Literal["torch", "keras", "slim", "tflite"] = "torch"
    classes_offset: int = 0
    flattened: Mapping[str, int] = field(default_factory=dict)
    reordered: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    bn_eps: float | None = None
    relu6: bool | None = None
    same_padding: bool | None = None
    avg_pool_counts_padding: bool | None = None
    optional: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    caution: Callable[[nn.Module], str] = lambda _: ""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""


def renamed(rename: Callable[[str], str], net: nn.Module) -> dict[str, str]:
    """Origin.layers of a library whose path of a layer follows from ours."""
    return {
        name: rename(name)
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear)
    }


IMAGENET = {  # torchvision's, and of most that followed it
    "shorter": 256,
    "crop": 224,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}
