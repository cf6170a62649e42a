"""MobileNet in Keras, in the authors' TF-slim and in timm: all three clip activations at 6."""

from __future__ import annotations

from torch import nn

from convbench.models.mobilenet_v1 import SEPARABLE
from convbench.weights.foreign.origin import Origin

INCEPTION_STYLE = {"shorter": 256, "crop": 224, "low": -1.0, "high": 1.0}
TIMM_STAGES = (1, 2, 2, 6, 2)  # its blocks are grouped by their resolution
TIMM_BLOCKS = [f"blocks.{stage}.{index}" for stage, depth in enumerate(TIMM_STAGES) for index in range(depth)]
assert len(TIMM_BLOCKS) == len(SEPARABLE)


def keras_layers(net: nn.Module) -> dict[str, str]:
    return _layers(
        first="conv1", depthwise="conv_dw_{n}", pointwise="conv_pw_{n}", bn="{conv}_bn", classifier="conv_preds"
    )


def slim_layers(net: nn.Module) -> dict[str, str]:
    return _layers(
        first="MobilenetV1/Conv2d_0",
        depthwise="MobilenetV1/Conv2d_{n}_depthwise",
        pointwise="MobilenetV1/Conv2d_{n}_pointwise",
        bn="{conv}/BatchNorm",
        classifier="MobilenetV1/Logits/Conv2d_1c_1x1",
    )


def timm_layers(net: nn.Module) -> dict[str, str]:
    names = {"conv1.conv": "conv_stem", "conv1.bn": "bn1", "fc": "classifier"}
    for n, block in enumerate(TIMM_BLOCKS, start=1):
        names[f"separable{n}.depthwise.conv"] = f"{block}.conv_dw"
        names[f"separable{n}.depthwise.bn"] = f"{block}.bn1"
        names[f"separable{n}.pointwise.conv"] = f"{block}.conv_pw"
        names[f"separable{n}.pointwise.bn"] = f"{block}.bn2"
    return names


def _layers(*, first: str, depthwise: str, pointwise: str, bn: str, classifier: str) -> dict[str, str]:
    """Names made by patterns: `n` is the separable layer, `conv` the name of the convolution before."""
    convs = {"conv1": first}
    for n in range(1, len(SEPARABLE) + 1):
        convs[f"separable{n}.depthwise"] = depthwise.format(n=n)
        convs[f"separable{n}.pointwise"] = pointwise.format(n=n)
    names = {f"{ours}.conv": theirs for ours, theirs in convs.items()}
    return names | {f"{ours}.bn": bn.format(conv=theirs) for ours, theirs in convs.items()} | {"fc": classifier}


ORIGINS = (
    Origin("Keras", keras_layers, layout="keras", relu6=True, preprocessing=INCEPTION_STYLE, licence="Apache-2.0"),
    Origin(
        "TF-slim",
        slim_layers,
        layout="slim",
        classes_offset=1,
        relu6=True,
        preprocessing=INCEPTION_STYLE,
        licence="Apache-2.0",
    ),
    Origin(
        "timm",
        timm_layers,
        bn_eps=1e-5,
        relu6=True,
        same_padding=False,
        preprocessing=INCEPTION_STYLE,
        licence="Apache-2.0",
    ),
)
