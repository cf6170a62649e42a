"""ResNeXts in torchvision (with timm and others that took over its names): the layers of its ResNets."""

from __future__ import annotations

from convbench.models.foreign.origin import IMAGENET, Origin
from convbench.models.foreign.resnet import torchvision_layers

ORIGINS = (Origin("torchvision", torchvision_layers, preprocessing=IMAGENET, licence="BSD-3-Clause"),)
