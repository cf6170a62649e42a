"""VGG elsewhere: torchvision and timm (without A-LRN and C), Keras (VGG16, VGG19), TF-slim (A, D, E)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from convbench.weights.foreign.origin import IMAGENET, Origin

MAPS_OF_POOL5 = 512
PIXELS = {"shorter": 256, "crop": 224, "low": 0.0, "high": 255.0}
CAFFE = {**PIXELS, "bgr": True, "mean": (103.939, 116.779, 123.68)}  # as the authors released their weights
CAFFE_RGB = {**PIXELS, "mean": (123.68, 116.78, 103.94)}  # what TF-slim made of it
OXFORD = "CC-BY-4.0 (Visual Geometry Group, University of Oxford)"


def torchvision(net: nn.Module) -> Mapping[str, str]:
    return features(net) | {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}


def timm(net: nn.Module) -> Mapping[str, str]:
    return features(net) | {"fc6": "pre_logits.fc1", "fc7": "pre_logits.fc2", "fc8": "head.fc"}


def features(net: nn.Module) -> dict[str, str]:
    """Numbered as children of `features`, which has them in our order."""
    return {
        name: f"features.{index}"
        for index, (name, layer) in enumerate(net.named_children())
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)
    }


def keras(net: nn.Module) -> Mapping[str, str]:
    """conv3_2 is block3_conv2."""
    names = {name: name.replace("conv", "block").replace("_", "_conv") for name in convolutions(net)}
    return names | {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}


def slim(net: nn.Module) -> Mapping[str, str]:
    """conv3_2 is conv3/conv3_2 in the scope of the network; the full layers are convolutions, too."""
    names = {name: f"{name.split('_')[0]}/{name}" for name in convolutions(net)}
    names |= {name: name for name in ("fc6", "fc7", "fc8")}
    scope = "vgg_a" if len(names) == 11 else f"vgg_{len(names)}"
    return {name: f"{scope}/{path}" for name, path in names.items()}


def convolutions(net: nn.Module) -> list[str]:
    return [name for name, layer in net.named_children() if isinstance(layer, nn.Conv2d)]


ORIGINS = (
    Origin("torchvision", torchvision, preprocessing=IMAGENET),
    Origin("timm", timm, preprocessing=IMAGENET),
    Origin("Keras", keras, layout="keras", flattened={"fc6": MAPS_OF_POOL5}, preprocessing=CAFFE, licence=OXFORD),
    Origin("TF-slim", slim, layout="slim", preprocessing=CAFFE_RGB, licence=OXFORD),
)
