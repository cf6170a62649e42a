"""SSD in TensorFlow's Object Detection API, as TFLite keeps it: quantised, with batch normalisation folded."""

from __future__ import annotations

from torch import nn

from convbench.models.mobilenet_v1 import SEPARABLE
from convbench.weights.foreign.origin import Origin

MAPS = 6
BODY, EXTRA = "FeatureExtractor/MobilenetV1/MobilenetV1", "FeatureExtractor/MobilenetV1/Conv2d_13_pointwise"
CODES = (1, 0, 3, 2)  # theirs are (y, x, height, width)


def layers(net: nn.Module) -> dict[str, str]:
    """The extra layers' names hold their widths."""
    names = {"trunk.conv1.conv": f"{BODY}/Conv2d_0"}
    for n in range(1, len(SEPARABLE) + 1):
        for kind in ("depthwise", "pointwise"):
            names[f"trunk.separable{n}.{kind}.conv"] = f"{BODY}/Conv2d_{n}_{kind}"
    for path, module in net.named_modules():
        place, _, own = path.removeprefix("extras.").partition(".")
        if isinstance(module, nn.Conv2d) and path.startswith("extras."):
            window = "1x1" if own.startswith("0") else "3x3_s2"
            names[path] = f"{EXTRA}_{1 + int(own[0])}_Conv2d_{2 + int(place)}_{window}_{module.out_channels}"
    for k in range(MAPS):
        names[f"box_heads.{k}"] = f"BoxPredictor_{k}/BoxEncodingPredictor"
        names[f"class_heads.{k}"] = f"BoxPredictor_{k}/ClassPredictor"
    return names


ORIGINS = (
    Origin(
        "TensorFlow Object Detection API",
        layers,
        layout="tflite",
        reordered={f"box_heads.{k}": CODES for k in range(MAPS)},
        relu6=True,
        same_padding=True,
        ignored=("/stack", "Squeeze_shape", "anchors"),
        preprocessing={"size": 300, "low": -1.0, "high": 1.0},
        licence="Apache-2.0",
    ),
)
