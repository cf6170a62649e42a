"""ZFNet against its paper's figure 3 and arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convbench import features
from convbench.counting import trace
from convbench.errors import RequestError
from convbench.models import build

FIGURE_3 = {  # in the order of the layers; contrast is normalised after the pools
    **{"conv1": (96, 110, 110), "pool1": (96, 55, 55), "norm1": (96, 55, 55)},
    **{"conv2": (256, 26, 26), "pool2": (256, 13, 13), "norm2": (256, 13, 13)},
    **{"conv3": (384, 13, 13), "conv4": (384, 13, 13), "conv5": (256, 13, 13), "pool5": (256, 6, 6)},
    **{"fc6": (4096,), "fc7": (4096,), "fc8": (1000,)},
}
MULTIPLY_ADDS = {
    "conv1": 110 * 110 * 7 * 7 * 3 * 96,
    "conv2": 26 * 26 * 5 * 5 * 96 * 256,
    "conv3": 13 * 13 * 3 * 3 * 256 * 384,
    "conv4": 13 * 13 * 3 * 3 * 384 * 384,
    "conv5": 13 * 13 * 3 * 3 * 384 * 256,
    "fc6": 6 * 6 * 256 * 4096,
    "fc7": 4096 * 4096,
    "fc8": 4096 * 1000,
}


def on_meta(name: str, **arguments: int) -> nn.Sequential:
    with torch.device("meta"):
        return build(name, **arguments)


def test_layers_are_those_of_figure_3() -> None:
    rows = [row for row in trace(on_meta("zfnet"), (3, 224, 224)).rows if row.name in FIGURE_3]
    assert [(row.name, row.output_shape) for row in rows] == list(FIGURE_3.items())
    assert {row.name: row.macs for row in rows if row.macs} == MULTIPLY_ADDS


def test_contrast_is_normalised_with_the_constants_of_alexnet() -> None:
    net, alexnet = on_meta("zfnet"), on_meta("alexnet")
    assert str(net.norm1) == str(net.norm2) == str(alexnet.norm1) == str(alexnet.norm2)


def test_the_variant_of_the_deck_widens_the_last_three_convolutions() -> None:
    net = on_meta("zfnet_512_1024_512")
    assert [layer.out_channels for layer in net if isinstance(layer, nn.Conv2d)] == [96, 256, 512, 1024, 512]
    assert net.fc6.in_features == 6 * 6 * 512
    assert not any(layer.groups > 1 for layer in net if isinstance(layer, nn.Conv2d))


def test_starts_with_weights_of_deviation_a_hundredth_and_biases_of_0() -> None:
    torch.manual_seed(0)
    for module in build("zfnet", image_size=63, num_classes=100):
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.03)
            assert not module.bias.any()


def test_the_smallest_image_leaves_one_window_of_pool5() -> None:
    with pytest.raises(RequestError, match="found 62x62: 63 works"):
        build("zfnet", image_size=62)
    net = on_meta("zfnet", image_size=63)
    assert features(net, torch.empty(2, 3, 63, 63, device="meta"), "pool5").shape == (2, 256, 1, 1)
    with pytest.raises(RuntimeError, match="too small"):
        features(net, torch.empty(2, 3, 62, 62, device="meta"), "pool5")
