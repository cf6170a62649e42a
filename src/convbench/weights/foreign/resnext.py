"""ResNeXts in torchvision (with timm and others that took over its names): the layers of its ResNets."""

from __future__ import annotations

from convbench.weights.foreign.origin import IMAGENET, Origin
from convbench.weights.foreign.resnet import torchvision_layers

ORIGINS = (Origin("torchvision", torchvision_layers, preprocessing=IMAGENET, licence="BSD-3-Clause"),)
