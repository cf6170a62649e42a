"""Inception-v4 and the Inception-ResNets: the figures' sizes, a block worked by hand, timm, Keras, TF-slim's names."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from convbench import features
from convbench.errors import RequestError
from convbench.layers import init_he
from convbench.models import build
from convbench.models.inception_v4 import RESNET_V1_A, Residual, ResidualBlock
from convbench.models.registry import FAMILIES
from convbench.weights import load_weights
from convbench.weights.foreign.inception_v4 import slim_layers, timm_layers
from convbench.weights.matching import match_tensors

NAMES = FAMILIES["inception_v4"]
V4_STEM = {
    **{"stem.conv_1a": (32, 149), "stem.conv_2a": (32, 147), "stem.conv_2b": (64, 147)},
    **{"stem.mixed_3a": (160, 73), "stem.mixed_4a": (192, 71), "stem.mixed_5a": (384, 35)},
}
SIZES = {  # of the outputs: maps, rows
    "inception_v4": V4_STEM
    | {"inception_a": (384, 35), "reduction_a": (1024, 17), "inception_b": (1024, 17)}
    | {"reduction_b": (1536, 8), "inception_c": (1536, 8)},
    "inception_resnet_v1": {"stem.maxpool_3a": (64, 73), "stem.conv_4a": (192, 71), "stem": (256, 35)}
    | {"inception_a": (256, 35), "reduction_a": (896, 17), "inception_b": (896, 17)}
    | {"reduction_b": (1792, 8), "inception_c": (1792, 8)},
    "inception_resnet_v2": {"stem.conv_4a": (192, 71), "stem.maxpool_5a": (192, 35), "stem": (320, 35)}
    | {"inception_a": (320, 35), "reduction_a": (1088, 17), "inception_b": (1088, 17)}
    | {"reduction_b": (2080, 8), "inception_c": (2080, 8), "conv_7b": (1536, 8)},
    "inception_resnet_v2_figures": V4_STEM
    | {"inception_a": (384, 35), "reduction_a": (1152, 17), "inception_b": (1152, 17)}
    | {"reduction_b": (2144, 8), "inception_c": (2144, 8)},
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def on_meta(name: str, **arguments: int) -> nn.Module:
    with torch.device("meta"):
        return build(name, **arguments)


def livened(net: nn.Module) -> nn.Module:
    """`net` with activations of order 1 and normalisations that do something: 0 and 1 would hide exchanged tensors."""
    init_he(net)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.2)
    return net


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


def loaded(name: str, theirs: nn.Module, folder: Path) -> nn.Module:
    """Our network with the tensors of timm's, through a file."""
    save_file(theirs.state_dict(), folder / "theirs.safetensors")
    net = build(name, num_classes=theirs.num_classes)
    load_weights(net, folder / "theirs.safetensors")
    return net


@pytest.mark.parametrize("name", NAMES)
def test_layers_have_the_sizes_of_the_figures(name: str) -> None:
    net, images = on_meta(name).eval(), torch.empty(1, 3, 299, 299, device="meta")
    for layer, (maps, rows) in SIZES[name].items():
        assert features(net, images, layer).shape == (1, maps, rows, rows), layer


@pytest.mark.parametrize(
    ("name", "depths", "scales"),
    [
        ("inception_v4", (4, 7, 3), set()),
        ("inception_resnet_v1", (5, 10, 5), {0.17, 0.10, 0.20}),
        ("inception_resnet_v2", (10, 20, 10), {0.17, 0.10, 0.20, 1.0}),
        ("inception_resnet_v2_figures", (5, 10, 5), {0.17, 0.10, 0.20}),
    ],
)
def test_only_the_resnets_add_and_they_scale_what_they_add(
    name: str, depths: tuple[int, ...], scales: set[float]
) -> None:
    net = on_meta(name)
    blocks = [list(part) for part in (net.inception_a, net.inception_b, net.inception_c)]
    assert tuple(map(len, blocks)) == depths
    assert {module.scale for module in net.modules() if isinstance(module, ResidualBlock)} == scales
    last = blocks[2][-1]
    if name == "inception_resnet_v2":  # alone its last sum is neither scaled nor rectified
        assert last.scale == 1 and isinstance(last.relu, nn.Identity)
    elif scales:
        assert isinstance(last.relu, nn.ReLU)


def test_residual_block_is_the_figure() -> None:
    """Figure 10, each operation by torch.nn.functional: the linear convolution has a bias, no normalisation."""
    block = livened(ResidualBlock(256, Residual(RESNET_V1_A, scale=0.17))).eval()
    tensors, x = block.state_dict(), torch.randn(2, 256, 9, 9)

    def unit(x: Tensor, path: str) -> Tensor:
        kernel = tensors[f"mixed.{path}.conv.weight"]
        x = F.conv2d(x, kernel, padding=kernel.shape[2] // 2)
        mean, var, gamma, beta = (
            tensors[f"mixed.{path}.bn.{name}"].view(-1, 1, 1)
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / (var + 1e-3).sqrt() * gamma + beta).clamp(min=0)

    branches = (
        unit(x, "branch0"),
        unit(unit(x, "branch1.0"), "branch1.1"),
        unit(unit(unit(x, "branch2.0"), "branch2.1"), "branch2.2"),
    )
    added = F.conv2d(torch.cat(branches, 1), tensors["linear.weight"], tensors["linear.bias"])
    assert added.shape[1] == 256 and torch.cat(branches, 1).shape[1] == 96
    assert relative_error(block(x), (x + 0.17 * added).clamp(min=0)) <= 1e-6


@pytest.mark.parametrize("name", ["inception_v4", "inception_resnet_v2"])
def test_scores_are_timms(name: str, tmp_path: Path) -> None:
    theirs, images = livened(timm.create_model(name, num_classes=10)).eval(), torch.randn(1, 3, 299, 299)
    with torch.no_grad():
        assert relative_error(loaded(name, theirs, tmp_path).eval()(images), theirs(images)) <= 1e-4


@pytest.mark.parametrize("name", ["inception_v4", "inception_resnet_v2"])
def test_a_step_of_training_is_timms(name: str, tmp_path: Path) -> None:
    """Both end with the same tensors, running statistics included.

    In double precision: normalisation over few values makes gradients of single precision agree to 10 % only.
    """
    theirs = livened(timm.create_model(name, num_classes=10))
    net, images = loaded(name, theirs, tmp_path), torch.randn(3, 3, 75, 75).double()
    net.dropout.p = 0.0
    for each in (net, theirs):
        optimizer = torch.optim.SGD(each.double().train().parameters(), lr=0.01, momentum=0.9)
        F.cross_entropy(each(images), torch.arange(3)).backward()
        optimizer.step()
    layers, expected = timm_layers(net), theirs.state_dict()
    for key, found in net.state_dict().items():
        path, _, own = key.rpartition(".")
        assert relative_error(found, expected[f"{layers[path]}.{own}"]) <= 1e-6, key


def test_scores_are_keras(tmp_path: Path) -> None:
    import keras

    theirs = keras.applications.InceptionResNetV2(
        weights=None, classes=10, input_shape=(107, 107, 3), classifier_activation=None
    )
    for variable in theirs.weights:
        shape, kind = variable.shape, variable.path.split("/")[-1]
        values = {
            "kernel": torch.randn(shape) * (2 / np.prod(shape[:-1])) ** 0.5,
            "moving_variance": torch.rand(shape) + 0.5,
        }
        variable.assign(values.get(kind, torch.randn(shape) * 0.2))
    np.savez(tmp_path / "keras.npz", **{variable.path: variable.value.detach().numpy() for variable in theirs.weights})
    net, images = build("inception_resnet_v2", num_classes=10), torch.randn(1, 3, 107, 107)
    load_weights(net, tmp_path / "keras.npz")
    with torch.no_grad():
        expected = theirs(images.permute(0, 2, 3, 1), training=False)
        assert relative_error(net.eval()(images), expected) <= 1e-4


@pytest.mark.parametrize(
    ("name", "tensors", "some"),
    [
        (
            "inception_v4",
            149 * 4 + 2,
            {
                "stem.conv_2b.conv": "Conv2d_2b_3x3",
                "stem.mixed_3a.branch1.conv": "Mixed_3a/Branch_1/Conv2d_0a_3x3",
                "stem.mixed_4a.branch1.2.conv": "Mixed_4a/Branch_1/Conv2d_0c_7x1",
                "stem.mixed_4a.branch1.3.conv": "Mixed_4a/Branch_1/Conv2d_1a_3x3",
                "stem.mixed_5a.branch0.conv": "Mixed_5a/Branch_0/Conv2d_1a_3x3",
                "inception_a.0.branch0.conv": "Mixed_5b/Branch_0/Conv2d_0a_1x1",
                "inception_a.3.branch3.1.bn": "Mixed_5e/Branch_3/Conv2d_0b_1x1/BatchNorm",
                "reduction_a.branch1.2.conv": "Mixed_6a/Branch_1/Conv2d_1a_3x3",
                "inception_b.6.branch2.4.conv": "Mixed_6h/Branch_2/Conv2d_0e_1x7",
                "reduction_b.branch0.1.conv": "Mixed_7a/Branch_0/Conv2d_1a_3x3",
                "inception_c.2.branch1.1.branch1.conv": "Mixed_7d/Branch_1/Conv2d_0c_3x1",
                "inception_c.0.branch2.3.branch1.bn": "Mixed_7b/Branch_2/Conv2d_0e_3x1/BatchNorm",
                "fc": "Logits/Logits",
            },
        ),
        (
            "inception_resnet_v2",
            204 * 4 + 40 * 2 + 2,
            {
                "stem.conv_3b.conv": "Conv2d_3b_1x1",
                "stem.mixed_5b.branch0.conv": "Mixed_5b/Branch_0/Conv2d_1x1",
                "stem.mixed_5b.branch1.1.conv": "Mixed_5b/Branch_1/Conv2d_0b_5x5",
                "inception_a.0.mixed.branch0.bn": "Repeat/block35_1/Branch_0/Conv2d_1x1/BatchNorm",
                "inception_a.9.linear": "Repeat/block35_10/Conv2d_1x1",
                "reduction_a.branch0.conv": "Mixed_6a/Branch_0/Conv2d_1a_3x3",
                "inception_b.19.mixed.branch1.2.conv": "Repeat_1/block17_20/Branch_1/Conv2d_0c_7x1",
                "reduction_b.branch2.2.conv": "Mixed_7a/Branch_2/Conv2d_1a_3x3",
                "inception_c.8.mixed.branch1.1.conv": "Repeat_2/block8_9/Branch_1/Conv2d_0b_1x3",
                "inception_c.9.linear": "Block8/Conv2d_1x1",
                "conv_7b.bn": "Conv2d_7b_1x1/BatchNorm",
                "fc": "Logits/Logits",
            },
        ),
    ],
)
def test_slims_names_are_the_authors(name: str, tensors: int, some: dict[str, str]) -> None:
    """Read off the authors' code. Their normalisations have no factor, their classes a background before the first."""
    net, scope = on_meta(name), {"inception_v4": "InceptionV4", "inception_resnet_v2": "InceptionResnetV2"}[name]
    layers, modules = slim_layers(net), dict(net.named_modules())
    assert {path: layers[path] for path in some} == {path: f"{scope}/{theirs}" for path, theirs in some.items()}
    there = dict[str, Tensor]()
    for path, theirs in layers.items():
        module = modules[path]
        if isinstance(module, nn.BatchNorm2d):
            there |= {f"{theirs}/{own}": module.bias for own in ("beta", "moving_mean", "moving_variance")}
        elif isinstance(module, nn.Conv2d):
            there[f"{theirs}/weights"] = module.weight.permute(2, 3, 1, 0)
        else:
            there[f"{theirs}/weights"] = torch.empty(module.in_features, 1001, device="meta")
        if module.bias is not None and not isinstance(module, nn.BatchNorm2d):
            there[f"{theirs}/biases"] = torch.empty(1001 if path == "fc" else module.out_channels, device="meta")
    assert len(there) == tensors
    match = match_tensors(net, there)
    assert match.origin.library == "TF-slim" and match.differences == () and match.num_classes == 1000


@pytest.mark.parametrize("name", NAMES)
def test_smallest_image_is_the_smallest_that_torch_takes(name: str) -> None:
    with pytest.raises(RequestError, match="found 74x74: 75 works"):
        on_meta(name, image_size=74)
    net = on_meta(name, image_size=75).train()
    assert net(torch.empty(2, 3, 75, 75, device="meta")).shape == (2, 1000)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        net(torch.empty(2, 3, 74, 74, device="meta"))


@pytest.mark.parametrize("name", NAMES)
def test_stages_are_the_last_layers_before_the_maps_are_halved(name: str) -> None:
    net, images = on_meta(name).eval(), torch.empty(1, 3, 299, 299, device="meta")
    assert [features(net, images, stage).shape[2] for stage in net.stages] == [147, 71, 35, 17, 8]
    assert features(net, images, net.stages[-1]).shape[1] == net.fc.in_features


def test_weights_begin_as_he_says() -> None:
    net = build("inception_resnet_v1")
    for path, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            expected = (2 / module.weight[0].numel()) ** 0.5
            assert float(module.weight.detach().std()) == pytest.approx(expected, rel=0.05), path
            assert module.bias is None or not module.bias.any()
        elif isinstance(module, nn.BatchNorm2d):
            assert module.eps == 1e-3
