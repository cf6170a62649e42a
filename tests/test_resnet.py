"""ResNets against their paper's tables, blocks worked by hand, and torchvision."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from convbench import features
from convbench.layers import ResidualBlock
from convbench.models import build
from convbench.models.registry import FAMILIES
from convbench.models.resnet import Basic, Bottleneck, BottleneckV1_5, PaddedIdentity
from convbench.weights import load_weights
from convbench.weights.folding import foldable
from convbench.weights.foreign.resnet import akamaster_layers, torchvision_layers
from parity import randomise, relative_error, train_one_step

IMAGENET_SIDES = (112, 56, 28, 14, 7)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def on_meta(name: str, **arguments: int) -> nn.Module:
    with torch.device("meta"):
        return build(name, **arguments)


def loaded(name: str, theirs: nn.Module, folder: Path, image_size: int) -> nn.Module:
    """Our network with the tensors of another library's, through a file."""
    save_file(theirs.state_dict(), folder / "theirs.safetensors")
    classes = list(theirs.modules())[-1].out_features  # the last layer of all libraries is the classifier
    net = build(name, num_classes=classes, image_size=image_size)
    load_weights(net, folder / "theirs.safetensors")
    return net


def assert_same_evaluation(name: str, theirs: nn.Module, folder: Path, image_size: int) -> None:
    net, images = loaded(name, randomise(theirs), folder, image_size), torch.randn(2, 3, image_size, image_size)
    with torch.no_grad():
        assert relative_error(net.eval()(images), theirs.eval()(images)) <= 1e-4


def assert_same_step(name: str, theirs: nn.Module, folder: Path, image_size: int) -> None:
    """One step of SGD in training mode leaves both with the same tensors, running statistics included.

    In float64: normalising over few values, many times over, makes of float32's rounding a part in a hundred.
    """
    net, images = (
        loaded(name, randomise(theirs), folder, image_size),
        torch.randn(4, 3, image_size, image_size).double(),
    )
    for each in (net, theirs):
        train_one_step(each, lambda each: F.cross_entropy(each(images), torch.arange(4)))
    expected = loaded(name, theirs.float(), folder, image_size).state_dict()
    errors = {key: relative_error(found, expected[key]) for key, found in net.float().state_dict().items()}
    assert {key: error for key, error in errors.items() if error > 1e-4 and "num_batches" not in key} == {}


@pytest.mark.parametrize("name", FAMILIES["resnet"])
def test_depth_counts_convolutions_outside_shortcuts_and_the_full_layer(name: str) -> None:
    layers = [path for path, module in on_meta(name).named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    depth = int(re.match(r"[a-z]+(\d+)", name)[1])
    assert len([path for path in layers if "shortcut" not in path]) == depth


@pytest.mark.parametrize(
    ("name", "side", "sides", "widths"),
    [
        ("resnet18", 224, IMAGENET_SIDES, (64, 64, 128, 256, 512)),
        ("plain34", 224, IMAGENET_SIDES, (64, 64, 128, 256, 512)),
        ("resnet50", 224, IMAGENET_SIDES, (64, 256, 512, 1024, 2048)),
        ("resnet152_v1_5", 224, IMAGENET_SIDES, (64, 256, 512, 1024, 2048)),
        ("resnet56", 32, (32, 32, 16, 8), (16, 16, 32, 64)),
        ("resnet18", 225, (113, 57, 29, 15, 8), (64, 64, 128, 256, 512)),
    ],
)
def test_stages_have_the_sizes_of_the_paper(
    name: str, side: int, sides: tuple[int, ...], widths: tuple[int, ...]
) -> None:
    net, images = on_meta(name), torch.empty(1, 3, side, side, device="meta")
    found = [tuple(features(net, images, stage).shape[1:]) for stage in net.stages]
    assert found == [(width, size, size) for width, size in zip(widths, sides, strict=True)]


def test_shortcut_a_takes_every_other_pixel_between_maps_of_zeros() -> None:
    x = torch.arange(2 * 5 * 5.0).view(1, 2, 5, 5)
    out = PaddedIdentity(2, stride=2)(x)
    assert out.shape == (1, 4, 3, 3)
    assert not out[:, 0].any() and not out[:, 3].any()
    assert out[0, 1].tolist() == [[0, 2, 4], [10, 12, 14], [20, 22, 24]]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("resnet18", {PaddedIdentity, nn.Identity}),
        ("resnet20", {PaddedIdentity, nn.Identity}),
        ("plain18", set()),
        ("resnet18_v1_5", {"projection", nn.Identity}),
        ("resnet50", {"projection", nn.Identity}),
    ],
)
def test_shortcuts_project_only_where_the_shape_changes(name: str, kinds: set[object]) -> None:
    blocks = {path: block for path, block in on_meta(name).named_modules() if isinstance(block, ResidualBlock)}
    identities = [path for path, block in blocks.items() if isinstance(block.shortcut, nn.Identity)]
    assert {
        "projection" if isinstance(b.shortcut, nn.Sequential) else type(b.shortcut) for b in blocks.values()
    } == kinds
    changing = 4 if name == "resnet50" else 2 if name == "resnet20" else 3  # bottlenecks widen in conv2 already
    assert len(blocks) - len(identities) == (changing if kinds else 0)


@pytest.mark.parametrize(("layers", "strides"), [(Bottleneck, (2, 1, 1)), (BottleneckV1_5, (1, 2, 1))])
def test_a_bottleneck_worked_by_hand(layers: Callable[..., nn.Module], strides: tuple[int, ...]) -> None:
    residual = randomise(layers(8, 4, 2)).eval()
    shortcut = nn.Conv2d(8, 16, 1, 2, bias=False)
    x = torch.randn(2, 8, 7, 7)
    out = x
    for conv, stride in zip((residual.conv1, residual.conv2, residual.conv3), strides, strict=True):
        out = F.conv2d(out, conv.conv.weight, stride=stride, padding=conv.conv.kernel_size[0] // 2)
        bn = conv.bn
        out = F.batch_norm(out, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=1e-5)
        out = out.clamp(min=0) if conv is not residual.conv3 else out  # the last ReLU follows the addition
    expected = (out + F.conv2d(x, shortcut.weight, stride=2)).clamp(min=0)
    assert expected.shape == (2, 16, 4, 4)
    torch.testing.assert_close(ResidualBlock(residual, shortcut)(x), expected)


def test_a_plain_network_has_the_layers_of_the_residual_one_but_not_its_sums() -> None:
    residual, plain = randomise(build("resnet20")).eval(), build("plain20").eval()
    plain.load_state_dict(residual.state_dict())  # option A has no parameters: the names agree
    for block in (block for block in residual.modules() if isinstance(block, ResidualBlock)):
        block.shortcut.register_forward_hook(lambda *arguments: torch.zeros_like(arguments[2]))
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(plain(images), residual(images))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20"])
def test_weights_start_as_he_et_al_2015_say(name: str) -> None:
    for path, module in build(name).named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.numel() > 2000:
            weight = module.weight.detach()
            assert weight.std() == pytest.approx(math.sqrt(2 / weight[0].numel()), rel=0.1), path
            assert weight.mean().abs() < 0.1 * weight.std(), path
            assert module.bias is None or not module.bias.any()


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "plain18", "resnet20"])
@pytest.mark.parametrize("side", [1, 33])
def test_every_size_trains(name: str, side: int) -> None:
    net = build(name, image_size=side, num_classes=4)
    F.cross_entropy(net(torch.randn(2, 3, side, side)), torch.arange(2)).backward()
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters())


@pytest.mark.parametrize("name", ["resnet50", "resnet18_v1_5", "plain18", "resnet20"])
def test_every_convolution_can_take_in_the_normalisation_after_it(name: str) -> None:
    net = on_meta(name)
    assert set(foldable(net)) == {path for path, module in net.named_modules() if isinstance(module, nn.Conv2d)}


class TestTorchvision:
    @pytest.mark.parametrize("depth", [18, 50])
    def test_evaluation_at_the_published_size(self, depth: int, tmp_path: Path) -> None:
        assert_same_evaluation(f"resnet{depth}_v1_5", getattr(torchvision.models, f"resnet{depth}")(), tmp_path, 224)

    @pytest.mark.parametrize("depth", [34, 101, 152])
    def test_evaluation_of_the_others(self, depth: int, tmp_path: Path) -> None:
        theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=10)
        assert_same_evaluation(f"resnet{depth}_v1_5", theirs, tmp_path, 64)

    @pytest.mark.parametrize("depth", [18, 50])
    def test_one_step_of_training(self, depth: int, tmp_path: Path) -> None:
        theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=10)
        assert_same_step(f"resnet{depth}_v1_5", theirs, tmp_path, 64)

    @pytest.mark.parametrize("library", [torchvision.models.get_model, timm.create_model])
    @pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
    def test_names_and_shapes(self, depth: int, library: Callable[[str], nn.Module]) -> None:
        with torch.device("meta"):
            theirs = library(f"resnet{depth}")
        assert shapes_by_their_names(on_meta(f"resnet{depth}_v1_5"), torchvision_layers) == shapes(theirs)
        if depth >= 50:
            assert shapes_by_their_names(on_meta(f"resnet{depth}"), torchvision_layers) == shapes(theirs)


def shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


def shapes_by_their_names(net: nn.Module, layers: Callable[[nn.Module], dict[str, str]]) -> dict[str, tuple[int, ...]]:
    names = layers(net)
    parts = {name: name.rpartition(".") for name in net.state_dict()}
    return {f"{names[parts[name][0]]}.{parts[name][2]}": shape for name, shape in shapes(net).items()}


def test_names_of_the_cifar_weights() -> None:
    """The tensors of resnet20 in akamaster's repository: a stem, three stages of three blocks, `linear`."""
    normal = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    blocks = [f"layer{stage}.{block}." for stage in (1, 2, 3) for block in (0, 1, 2)]
    expected = {
        *("conv1.weight", "linear.weight", "linear.bias", *(f"bn1.{tensor}" for tensor in normal)),
        *(f"{block}conv{n}.weight" for block in blocks for n in (1, 2)),
        *(f"{block}bn{n}.{tensor}" for block in blocks for n in (1, 2) for tensor in normal),
    }
    assert shapes_by_their_names(on_meta("resnet20"), akamaster_layers).keys() == expected


def test_only_the_forms_of_the_blocks_differ_between_published_and_v1_5() -> None:
    assert shapes(on_meta("resnet50")) == shapes(on_meta("resnet50_v1_5"))
    first = {name: on_meta(name).conv3[0].residual for name in ("resnet50", "resnet50_v1_5")}
    assert isinstance(first["resnet50"], Bottleneck) and isinstance(first["resnet50_v1_5"], BottleneckV1_5)
    assert isinstance(on_meta("resnet34").conv3[0].residual, Basic)
