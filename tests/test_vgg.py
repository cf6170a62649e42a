"""VGG against its paper's table 1, and torchvision, timm and Keras."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

os.environ["KERAS_BACKEND"] = "torch"
import keras

from convbench import features
from convbench.counting import trace
from convbench.data.preprocessing import Preprocessing
from convbench.errors import RequestError
from convbench.models import build
from convbench.models.registry import FAMILIES
from convbench.weights import load_file, load_weights
from convbench.weights.files import WeightFile
from convbench.weights.foreign import vgg as foreign

TABLE_1 = {  # convolutions with their kernels and maps, "M" for a pool, as the columns read from top to bottom
    "vgg11": "3-64 M 3-128 M 3-256 3-256 M 3-512 3-512 M 3-512 3-512 M",
    "vgg11_lrn": "3-64 LRN M 3-128 M 3-256 3-256 M 3-512 3-512 M 3-512 3-512 M",
    "vgg13": "3-64 3-64 M 3-128 3-128 M 3-256 3-256 M 3-512 3-512 M 3-512 3-512 M",
    "vgg16_1x1": "3-64 3-64 M 3-128 3-128 M 3-256 3-256 1-256 M 3-512 3-512 1-512 M 3-512 3-512 1-512 M",
    "vgg16": "3-64 3-64 M 3-128 3-128 M 3-256 3-256 3-256 M 3-512 3-512 3-512 M 3-512 3-512 3-512 M",
    "vgg19": "3-64 3-64 M 3-128 3-128 M 3-256 3-256 3-256 3-256 M 3-512 3-512 3-512 3-512 M 3-512 3-512 3-512 3-512 M",
}
IN_TORCHVISION = ("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def on_meta(name: str, **arguments: int) -> nn.Sequential:
    with torch.device("meta"):
        return build(name, **arguments)


@pytest.mark.parametrize("name", TABLE_1)
def test_layers_are_those_of_table_1(name: str) -> None:
    found = []
    for layer in on_meta(name):
        if isinstance(layer, nn.Conv2d):
            found.append(f"{layer.kernel_size[0]}-{layer.out_channels}")
        elif isinstance(layer, nn.MaxPool2d | nn.LocalResponseNorm):
            found.append("M" if isinstance(layer, nn.MaxPool2d) else "LRN")
    assert " ".join(found) == TABLE_1[name]


def test_a_lrn_normalises_with_the_constants_of_alexnet() -> None:
    net, alexnet = on_meta("vgg11_lrn"), on_meta("alexnet")
    assert list(dict(net.named_children()))[:4] == ["conv1_1", "relu1_1", "norm1_1", "pool1"]
    assert str(net.norm1_1) == str(alexnet.norm1)


def test_vgg16_keeps_fifteen_million_activations() -> None:
    """224 pixels of input, the convolutions, pools and fully connected layers: 58 MiB, not the 96 MB often quoted."""
    rows = trace(on_meta("vgg16"), (3, 224, 224)).rows
    kept = {row.name: row.output_shape for row in rows if row.name.startswith(("conv", "pool", "fc"))}
    assert [kept[f"pool{n}"] for n in range(1, 6)] == [
        *((64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)),
    ]
    assert [kept[f"fc{n}"] for n in (6, 7, 8)] == [(4096,), (4096,), (1000,)]
    assert 3 * 224 * 224 + sum(torch.Size(shape).numel() for shape in kept.values()) == 15_237_608


@pytest.mark.parametrize("name", [name for name in FAMILIES["vgg"] if name.endswith("_bn")])
def test_each_convolution_is_followed_by_its_normalisation(name: str) -> None:
    plain, layers = on_meta(name.removesuffix("_bn")), dict(on_meta(name).named_children())
    order = list(layers)
    maps = [layer.out_channels for layer in plain if isinstance(layer, nn.Conv2d)]
    for conv in [layer for layer in order if layer.startswith("conv")]:
        place = conv.removeprefix("conv")
        assert order[order.index(conv) + 1 : order.index(conv) + 3] == [f"bn{place}", f"relu{place}"]
    normalised = sum(p.numel() for layer in layers.values() for p in layer.parameters())
    assert normalised - sum(p.numel() for p in plain.parameters()) == 2 * sum(maps)


@pytest.mark.parametrize("name", ["vgg11", "vgg19", "vgg16_bn"])
def test_starts_as_glorot_does(name: str) -> None:
    for module in build(name, image_size=32, num_classes=100):
        if isinstance(module, nn.Conv2d | nn.Linear):
            space = module.weight[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
            inputs, outputs = module.weight.shape[1] * space, module.weight.shape[0] * space
            assert module.weight.var().item() == pytest.approx(2 / (inputs + outputs), rel=0.1)
            assert not module.bias.any()
        elif isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all()
            assert not module.bias.any()


def test_the_deviation_of_the_text_explodes_and_a_tenth_of_it_vanishes() -> None:
    net, images = build("vgg16", num_classes=10, image_size=32).eval(), torch.randn(4, 3, 32, 32)
    spread = {}
    with torch.no_grad():
        spread["Glorot"] = net(images).std().item()
        for deviation in (0.1, 0.01):
            for module in net:
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.weight.normal_(0, deviation)
            spread[deviation] = net(images).std().item()
    assert spread[0.1] > 1e6
    assert 1e-4 < spread["Glorot"] < 1
    assert spread[0.01] < 1e-7


@pytest.mark.parametrize("name", ["vgg11", "vgg19_bn"])
def test_the_smallest_image_leaves_one_window_of_pool5(name: str) -> None:
    with pytest.raises(RequestError, match="found 31x31: 32 works"):
        build(name, image_size=31)
    net = on_meta(name, image_size=32)
    assert features(net, torch.empty(2, 3, 32, 32, device="meta"), "pool5").shape == (2, 512, 1, 1)
    with pytest.raises(RuntimeError, match="too small"):
        features(net, torch.empty(2, 3, 31, 31, device="meta"), "pool5")


class TestAgainstTorchvision:
    @pytest.mark.parametrize("name", ["vgg16", "vgg16_bn"])
    def test_scores_at_the_published_size(self, name: str) -> None:
        theirs = randomised(torchvision.models.get_model(name, num_classes=10, init_weights=False))
        ours = build(name, num_classes=10)
        load(ours, theirs)
        assert_same_scores(ours, theirs, torch.randn(1, 3, 224, 224))

    @pytest.mark.parametrize("name", IN_TORCHVISION)
    def test_scores_of_every_column(self, name: str) -> None:
        theirs, ours = both_for_small_images(name)
        assert_same_scores(ours, theirs, torch.randn(4, 3, 32, 32))

    @pytest.mark.parametrize("name", ["vgg11", "vgg16", "vgg13_bn", "vgg19_bn"])
    def test_a_step_of_training(self, name: str) -> None:
        theirs, ours = both_for_small_images(name)
        images, labels = torch.randn(4, 3, 32, 32).double(), torch.tensor([0, 3, 3, 9])
        for net in (ours.double().train(), theirs.double().train()):  # in float32 rounding flips a ReLU now and then
            optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
            F.cross_entropy(net(images), labels).backward()
            optimiser.step()
        for path, their_path in foreign.torchvision(ours).items():
            their_state = theirs.get_submodule(their_path).state_dict()
            for tensor, value in ours.get_submodule(path).state_dict().items():
                assert relative_error(value, their_state[tensor]) < 1e-6, f"{path}.{tensor}"


def test_scores_of_timm_whose_full_layers_are_convolutions() -> None:
    theirs = randomised(timm.create_model("vgg11_bn", num_classes=10))
    ours = build("vgg11_bn", num_classes=10)
    load(ours, theirs)
    assert_same_scores(ours, theirs, torch.randn(1, 3, 224, 224))


@pytest.mark.parametrize(("name", "model"), [("vgg16", "VGG16"), ("vgg19", "VGG19")])
def test_scores_of_keras_which_flattens_channels_last(name: str, model: str, tmp_path: Path) -> None:
    theirs: Any = getattr(keras.applications, model)(
        weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None
    )
    random, path = np.random.default_rng(0), tmp_path / "keras.npz"
    for variable in theirs.weights:
        scale = (2 / np.prod(variable.shape[:-1])) ** 0.5 if len(variable.shape) > 1 else 0.1
        variable.assign(random.normal(0, scale, variable.shape).astype(np.float32))
    np.savez(path, **{variable.path: variable.value.detach().numpy() for variable in theirs.weights})
    ours = build(name, num_classes=10, image_size=64).eval()
    assert load_weights(ours, path)["library"] == "Keras"
    path.unlink()  # pytest keeps what its tests leave
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert relative_error(ours(images), theirs(images.permute(0, 2, 3, 1))) < 1e-4


def test_keras_weights_read_pixels_as_keras_prepares_them() -> None:
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    theirs = keras.applications.vgg16.preprocess_input(pixels.permute(0, 2, 3, 1).numpy().astype(np.float32))
    ours = Preprocessing(**{**foreign.CAFFE, "shorter": None, "crop": None})(pixels)
    assert torch.allclose(ours, torch.from_numpy(theirs.copy()).permute(0, 3, 1, 2), atol=1e-3)


@pytest.mark.parametrize(("name", "scope"), [("vgg11", "vgg_a"), ("vgg16", "vgg_16"), ("vgg19", "vgg_19")])
def test_tf_slim_keeps_its_full_layers_as_convolutions(name: str, scope: str) -> None:
    source, ours = (build(name, num_classes=10, image_size=64) for _ in range(2))
    tensors = {}
    for layer, module in source.named_children():
        if isinstance(module, nn.Conv2d | nn.Linear):
            path = f"{scope}/{layer[:5]}/{layer}" if layer.startswith("conv") else f"{scope}/{layer}"
            side = {"fc6": 2, "fc7": 1, "fc8": 1}.get(layer, 3)
            kernel = module.weight.detach().unflatten(1, (-1, side, side)) if side < 3 else module.weight.detach()
            tensors |= {f"{path}/weights": kernel.permute(2, 3, 1, 0), f"{path}/biases": module.bias.detach()}
    assert load_file(ours, WeightFile(Path("slim.npz"), tensors, {}))["library"] == "TF-slim"
    maps, kernel = torch.randn(2, 512, 2, 2), tensors[f"{scope}/fc6/weights"]
    full = F.conv2d(maps, kernel.permute(3, 2, 0, 1)).flatten(1)
    assert relative_error(ours.fc6(ours.flatten(maps)), full) < 1e-4
    assert_same_scores(ours, source, torch.randn(2, 3, 64, 64))


def both_for_small_images(name: str) -> tuple[nn.Module, nn.Module]:
    """torchvision's network and ours, with the same weights, for 32 pixels (its own pools 1x1 maps up to 7x7)."""
    theirs = torchvision.models.get_model(name, num_classes=10, init_weights=False, dropout=0.0)
    theirs.avgpool, theirs.classifier[0] = nn.Identity(), nn.Linear(512, 4096)
    ours = build(name, num_classes=10, image_size=32)
    ours.drop6.p = ours.drop7.p = 0.0
    load(ours, randomised(theirs))
    return theirs, ours


def load(ours: nn.Module, theirs: nn.Module) -> None:
    load_file(ours, WeightFile(Path("theirs.pth"), theirs.state_dict(), {}))


def assert_same_scores(ours: nn.Module, theirs: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        assert relative_error(ours.eval()(images), theirs.eval()(images)) < 1e-4


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def randomised(net: nn.Module) -> nn.Module:
    """Weights and running statistics that differ from channel to channel and keep activations of order 1."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.uniform_(module.bias, -0.1, 0.1)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net
