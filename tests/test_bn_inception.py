"""BN-Inception against its paper's figure 5, and TF-slim's variant against one written out from its source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convbench import features
from convbench.counting import trace
from convbench.models import build
from convbench.weights import load_weights
from convbench.weights.conventions import conventions_of
from parity import relative_error

FIGURE_5 = {  # (channels, side) that follow from its widths at 224 pixels
    **{"conv1": (64, 112), "pool1": (64, 56), "conv2": (192, 56), "pool2": (192, 28)},
    **{"inception_3a": (256, 28), "inception_3b": (320, 28), "inception_3c": (576, 14)},
    **{"inception_4a": (576, 14), "inception_4b": (576, 14), "inception_4c": (608, 14), "inception_4d": (608, 14)},
    **{"inception_4e": (1056, 7), "inception_5a": (1024, 7), "inception_5b": (1024, 7)},
}
SLIM = {  # Mixed_...: widths of its branches, as TF-slim's source has them
    "3b": ((64,), (64, 64), (64, 96, 96), 32),
    "3c": ((64,), (64, 96), (64, 96, 96), 64),
    "4a": ((128, 160), (64, 96, 96)),
    "4b": ((224,), (64, 96), (96, 128, 128), 128),
    "4c": ((192,), (96, 128), (96, 128, 128), 128),
    "4d": ((160,), (128, 160), (128, 160, 160), 96),
    "4e": ((96,), (128, 192), (160, 192, 192), 96),
    "5a": ((128, 192), (192, 256, 256)),
    "5b": ((352,), (192, 320), (160, 224, 224), 128),
    "5c": ((352,), (192, 320), (192, 224, 224), 128),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def on_meta(name: str, **arguments: int) -> nn.Module:
    with torch.device("meta"):
        return build(name, **arguments)


@pytest.mark.parametrize(("name", "narrowed"), [("inception_v2", {}), ("inception_v2_slim", {608: 576, 1056: 1024})])
def test_sizes_are_those_of_figure_5(name: str, narrowed: dict[int, int]) -> None:
    net, images = on_meta(name).eval(), torch.empty(1, 3, 224, 224, device="meta")
    for layer, (channels, side) in FIGURE_5.items():
        assert features(net, images, layer).shape == (1, narrowed.get(channels, channels), side, side), layer


def test_normalises_before_every_rectifier_and_drops_nothing() -> None:
    layers = [type(module) for module in on_meta("inception_v2").modules() if not list(module.children())]
    follows = {layers[n - 1] for n, kind in enumerate(layers) if kind is nn.ReLU}
    assert follows == {nn.BatchNorm2d} and nn.Dropout not in layers


@pytest.mark.parametrize("side", [1, 75, 231])
def test_any_image_works(side: int) -> None:
    """Sizes that are odd on the way, too: branches that step by 2 agree on the next size."""
    assert on_meta("inception_v2", image_size=side)(torch.empty(2, 3, side, side, device="meta")).shape == (2, 1000)


@pytest.mark.parametrize("name", ["inception_v2", "inception_v2_slim"])
def test_leaves_to_tf_slim_what_the_paper_leaves_open(name: str) -> None:
    found = conventions_of(on_meta(name))
    assert found == {"bn_eps": 1e-3, "relu6": False, "same_padding": True, "avg_pool_counts_padding": False}


def test_starts_as_he() -> None:
    conv = build("inception_v2").inception_4e.branch3x3dbl[1].conv
    assert conv.weight.std().item() == pytest.approx((2 / conv.weight[0].numel()) ** 0.5, rel=0.02)


def test_separable_stem_costs_a_seventh() -> None:
    rows = {row.name: row for row in trace(on_meta("inception_v2_slim"), (3, 224, 224)).rows}
    assert rows["conv1_depthwise"].macs == 112 * 112 * 24 * 49
    assert rows["conv1.conv"].macs == 112 * 112 * 24 * 64


class Slim:
    """TF-slim's InceptionV2 by torch.nn.functional, with variables of random values made as they are first asked for.

    They have TF-slim's names and layout: kernels h x w x in x out.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes, self.variables = num_classes, dict[str, np.ndarray]()

    def variable(self, name: str, *shape: int, low: float = 0.0) -> Tensor:
        if name not in self.variables:
            scale = (2 / np.prod(shape[:-1])) ** 0.5 if len(shape) > 1 else 0.3
            value = torch.rand(shape) + low if low else torch.randn(shape) * scale
            self.variables[name] = value.numpy()
        return torch.from_numpy(self.variables[name])

    def conv(self, x: Tensor, width: int, kernel_size: int, name: str, stride: int = 1) -> Tensor:
        kernel = self.variable(f"{name}/weights", kernel_size, kernel_size, x.shape[1], width)
        x = F.conv2d(pad_same(x, kernel_size, stride), kernel.permute(3, 2, 0, 1), stride=stride)
        beta, mean = (self.variable(f"{name}/BatchNorm/{part}", width) for part in ("beta", "moving_mean"))
        variance = self.variable(f"{name}/BatchNorm/moving_variance", width, low=0.5)
        return F.relu(F.batch_norm(x, mean, variance, None, beta, eps=0.001))

    def stem(self, x: Tensor, name: str) -> Tensor:
        """The separable convolution lies outside the scope in which TF-slim normalises: it has a bias."""
        depthwise = self.variable(f"{name}/depthwise_weights", 7, 7, 3, 8)
        pointwise = self.variable(f"{name}/pointwise_weights", 1, 1, 24, 64)
        x = pad_same(x, 7, 2)
        maps = [
            F.conv2d(x[:, c : c + 1], depthwise[:, :, c, m][None, None], stride=2) for c in range(3) for m in range(8)
        ]
        return F.relu(
            F.conv2d(torch.cat(maps, dim=1), pointwise.permute(3, 2, 0, 1), self.variable(f"{name}/biases", 64))
        )

    def module(self, x: Tensor, name: str, widths: tuple) -> Tensor:
        *convolutional, projection = widths if isinstance(widths[-1], int) else (*widths, None)
        stride = 1 if projection else 2
        branches = []
        for number, branch in enumerate(convolutional):
            y = x
            for place, width in enumerate(branch):
                last = place == len(branch) - 1
                size, step = (3 if place else 1), (stride if last else 1)
                y = self.conv(
                    y, width, size, f"{name}/Branch_{number}/Conv2d_{branch_place(place, step)}_{size}x{size}", step
                )
            branches.append(y)
        if not projection:
            pooled = F.max_pool2d(pad_same(x, 3, 2, -torch.inf), 3, 2)
        else:
            if name.endswith("Mixed_5c"):
                pooled = F.max_pool2d(x, 3, 1, 1)
            else:
                pooled = F.avg_pool2d(x, 3, 1, 1) / F.avg_pool2d(torch.ones_like(x), 3, 1, 1)
            pooled = self.conv(pooled, projection, 1, f"{name}/Branch_3/Conv2d_0b_1x1")
        return torch.cat([*branches, pooled], dim=1)

    def __call__(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(pad_same(self.stem(x, "InceptionV2/Conv2d_1a_7x7"), 3, 2), 3, 2)
        x = self.conv(x, 64, 1, "InceptionV2/Conv2d_2b_1x1")
        x = self.conv(x, 192, 3, "InceptionV2/Conv2d_2c_3x3")
        x = F.max_pool2d(pad_same(x, 3, 2), 3, 2)
        for name, widths in SLIM.items():
            x = self.module(x, f"InceptionV2/Mixed_{name}", widths)
        logits = "InceptionV2/Logits/Conv2d_1c_1x1"
        kernel = self.variable(f"{logits}/weights", 1, 1, 1024, self.num_classes)[0, 0]
        return x.mean(dim=(2, 3)) @ kernel + self.variable(f"{logits}/biases", self.num_classes)


def branch_place(place: int, step: int) -> str:
    return "1a" if step == 2 else f"0{'abc'[place]}"


def pad_same(x: Tensor, kernel_size: int, stride: int, value: float = 0.0) -> Tensor:
    """Rectified maps may be padded with 0 before pooling; even sizes alone, where one rule serves both sides."""
    assert x.shape[2] == x.shape[3] and x.shape[2] % stride == 0
    total = kernel_size - stride
    return F.pad(x, (total // 2, total - total // 2) * 2, value=value)


def test_computes_what_tf_slim_does(tmp_path: Path) -> None:
    """Without the classifier its variables hold 10,173,112 values, as TF-slim's own test of InceptionV2 counts."""
    slim, images = Slim(num_classes=11), torch.randn(1, 3, 224, 224)
    expected = slim(images)[:, 1:]  # class 0 is the background
    assert sum(value.size for name, value in slim.variables.items() if "Logits" not in name) == 10_173_112
    np.savez(tmp_path / "net.npz", **slim.variables)
    net = build("inception_v2_slim", num_classes=10).eval()
    assert load_weights(net, tmp_path / "net.npz")["library"] == "TF-slim"
    with torch.no_grad():
        assert relative_error(net(images), expected) < 1e-4
