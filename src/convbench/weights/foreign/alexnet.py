"""AlexNet elsewhere: torchvision has the single tower, our `alexnet_owt`. TF-slim's alexnet_v2 has other widths."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from convbench.weights.foreign.origin import IMAGENET, Origin


def torchvision(net: nn.Module) -> Mapping[str, str]:
    """Convolutions are numbered as children of `features`, which has them in our order."""
    children = enumerate(net.named_children())
    features = {name: f"features.{index}" for index, (name, layer) in children if isinstance(layer, nn.Conv2d)}
    return features | {"fc6": "classifier.1", "fc7": "classifier.4", "fc8": "classifier.6"}


ORIGINS = (Origin("torchvision", torchvision, preprocessing=IMAGENET),)
