"""ResNeXts against their paper's tables, the equivalence of figure 3 worked by hand, and torchvision."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from convbench import features
from convbench.models import build, resnext
from convbench.models.registry import FAMILIES
from convbench.models.resnext import Transformations
from convbench.weights.folding import foldable
from convbench.weights.foreign.resnet import torchvision_layers
from parity import randomise
from test_resnet import assert_same_evaluation, assert_same_step, on_meta, shapes, shapes_by_their_names


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("name", "side", "sides", "widths"),
    [
        ("resnext50_32x4d", 224, (112, 56, 28, 14, 7), (64, 256, 512, 1024, 2048)),
        ("resnext101_64x4d", 224, (112, 56, 28, 14, 7), (64, 256, 512, 1024, 2048)),
        ("resnext29_8x64d", 32, (32, 32, 16, 8), (64, 256, 512, 1024)),
    ],
)
def test_stages_have_the_sizes_of_the_paper(
    name: str, side: int, sides: tuple[int, ...], widths: tuple[int, ...]
) -> None:
    net, images = on_meta(name), torch.empty(1, 3, side, side, device="meta")
    found = [tuple(features(net, images, stage).shape[1:]) for stage in net.stages]
    assert found == [(width, size, size) for width, size in zip(widths, sides, strict=True)]


@pytest.mark.parametrize("name", FAMILIES["resnext"])
def test_paths_are_as_many_and_as_wide_as_the_name_says(name: str) -> None:
    depth, _, template = name.removeprefix("resnext").partition("_")
    cardinality, width = (int(number) for number in template.removesuffix("d").split("x"))
    net = on_meta(name)
    grouped = [module for module in net.modules() if isinstance(module, nn.Conv2d) and module.groups > 1]
    assert {conv.groups for conv in grouped} == {cardinality}
    assert {conv.out_channels // cardinality for conv in net.conv2.modules() if conv in grouped} == {width}
    assert 3 * len(grouped) + 2 == int(depth)
    strides = {stage: getattr(net, stage)[0].residual.conv2.conv.stride[0] for stage in net.stages[1:]}
    assert list(strides.values()) == [1] + [2] * (len(strides) - 1)


def test_the_grouped_form_adds_up_separate_paths() -> None:
    """Figure 3, a and c: C narrow bottlenecks, summed, are one with a grouped 3x3 convolution."""
    paths, width = 4, 3
    grouped = randomise(Transformations(8, paths * width, 10, paths, 2)).eval()
    x = torch.randn(2, 8, 7, 7)

    def normalised(y: torch.Tensor, bn: nn.BatchNorm2d, maps: slice) -> torch.Tensor:
        assert bn.running_mean is not None and bn.running_var is not None
        tensors = (tensor[maps] for tensor in (bn.running_mean, bn.running_var, bn.weight, bn.bias))
        return F.batch_norm(y, *tensors).clamp(min=0)

    total = torch.zeros(2, 10, 4, 4)
    for maps in (slice(i * width, (i + 1) * width) for i in range(paths)):
        y = normalised(F.conv2d(x, grouped.conv1.conv.weight[maps]), grouped.conv1.bn, maps)
        y = normalised(F.conv2d(y, grouped.conv2.conv.weight[maps], stride=2, padding=1), grouped.conv2.bn, maps)
        total += F.conv2d(y, grouped.conv3.conv.weight[:, maps])
    torch.testing.assert_close(grouped(x), grouped.conv3.bn(total))


def test_a_block_adds_its_projected_input() -> None:
    block = randomise(resnext.block(8, 12, 16, 4, 2)).eval()
    x = torch.randn(1, 8, 5, 5)
    projected = block.shortcut.bn(F.conv2d(x, block.shortcut.conv.weight, stride=2))
    torch.testing.assert_close(block(x), (block.residual(x) + projected).clamp(min=0))
    identity = randomise(resnext.block(16, 12, 16, 4, 1)).eval()
    y = torch.randn(1, 16, 5, 5)
    torch.testing.assert_close(identity(y), (identity.residual(y) + y).clamp(min=0))


def test_weights_start_as_he_et_al_2015_say() -> None:
    net = build("resnext50_32x4d")
    for conv in (net.conv1.conv, net.conv3[0].residual.conv2.conv, net.conv5[2].residual.conv3.conv):
        assert conv.weight.detach().std() == pytest.approx(math.sqrt(2 / conv.weight[0].numel()), rel=0.1)
    assert not net.fc.bias.any()


@pytest.mark.parametrize(("name", "side"), [("resnext50_32x4d", 1), ("resnext50_32x4d", 33), ("resnext29_8x64d", 5)])
def test_every_size_trains(name: str, side: int) -> None:
    net = build(name, image_size=side, num_classes=4)
    F.cross_entropy(net(torch.randn(2, 3, side, side)), torch.arange(2)).backward()
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters())


def test_every_convolution_can_take_in_the_normalisation_after_it() -> None:
    net = on_meta("resnext50_32x4d")
    assert set(foldable(net)) == {path for path, module in net.named_modules() if isinstance(module, nn.Conv2d)}


def test_evaluation_as_torchvision_at_the_published_size(tmp_path: Path) -> None:
    assert_same_evaluation("resnext50_32x4d", torchvision.models.resnext50_32x4d(), tmp_path, 224)


def test_one_step_of_training_as_torchvision(tmp_path: Path) -> None:
    assert_same_step("resnext50_32x4d", torchvision.models.resnext50_32x4d(num_classes=10), tmp_path, 64)


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("resnext50_32x4d", torchvision.models.get_model),
        ("resnext101_64x4d", torchvision.models.get_model),
        ("resnext50_32x4d", timm.create_model),
        ("resnext101_32x4d", timm.create_model),
        ("resnext101_64x4d", timm.create_model),
    ],
)
def test_names_and_shapes_of_other_libraries(name: str, library: Callable[[str], nn.Module]) -> None:
    with torch.device("meta"):
        theirs = library(name)
    assert shapes_by_their_names(on_meta(name), torchvision_layers) == shapes(theirs)
