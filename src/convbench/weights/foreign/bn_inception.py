"""BN-Inception in TF-slim: our `inception_v2_slim`. Caffe's and its ports have biases before batch normalisation."""

from __future__ import annotations

from torch import nn

from convbench.weights.foreign.googlenet import INCEPTION_STYLE, slim_units
from convbench.weights.foreign.origin import Origin

SLIM = {
    **{"conv2_reduce": "Conv2d_2b_1x1", "conv2": "Conv2d_2c_3x3"},
    **{"inception_3a": "Mixed_3b", "inception_3b": "Mixed_3c", "inception_3c": "Mixed_4a"},
    **{"inception_4a": "Mixed_4b", "inception_4b": "Mixed_4c", "inception_4c": "Mixed_4d", "inception_4d": "Mixed_4e"},
    **{"inception_4e": "Mixed_5a", "inception_5a": "Mixed_5b", "inception_5b": "Mixed_5c"},
}
STEM = {  # one separable convolution; the classification network has biases in place of its batch normalisation
    "conv1_depthwise": "InceptionV2/Conv2d_1a_7x7/depthwise_weights",
    "conv1.conv": "InceptionV2/Conv2d_1a_7x7/pointwise_weights",
    "conv1.bn": "InceptionV2/Conv2d_1a_7x7/biases",
}


def slim_layers(net: nn.Module) -> dict[str, str]:
    names = STEM | slim_units(net, "InceptionV2", SLIM, {})
    return names | {"fc": "InceptionV2/Logits/Conv2d_1c_1x1"}


ORIGINS = (
    Origin(
        "TF-slim",
        slim_layers,
        layout="slim",
        classes_offset=1,
        bn_eps=1e-3,
        same_padding=True,
        avg_pool_counts_padding=False,
        preprocessing=INCEPTION_STYLE,
        licence="Apache-2.0",
    ),
)
