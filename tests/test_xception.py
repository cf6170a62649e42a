"""Xception: the paper's sizes, a block worked by hand, and the ports in Keras and timm, which pool differently."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import math
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
from convbench.layers import SameMaxPool2d, init_he
from convbench.models import build
from convbench.models.xception import Block, Xception
from convbench.weights import load_weights
from convbench.weights.conventions import apply_conventions
from convbench.weights.foreign.xception import cadene_name, renamed, timm_name

SIZES = {  # of the outputs at 299x299: maps, rows; figure 5 has the widths
    **{"block1.conv1": (32, 149), "block1": (64, 147), "block2": (128, 74), "block3": (256, 37), "block4": (728, 19)},
    **{f"block{number}": (728, 19) for number in range(5, 13)},
    **{"block13.residual.sepconv2": (1024, 19), "block13": (1024, 10)},
    **{"block14.sepconv1": (1536, 10), "block14": (2048, 10)},
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def on_meta(**arguments: int) -> Xception:
    with torch.device("meta"):
        net = build("xception", **arguments)
    assert isinstance(net, Xception)
    return net


def livened(net: nn.Module) -> nn.Module:
    """`net` with activations of order 1 and normalisations that do something: 0 and 1 would hide exchanged tensors."""
    init_he(net)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


def loaded(theirs: nn.Module, folder: Path) -> nn.Module:
    """Our network with the tensors of timm's, through a file."""
    save_file(theirs.state_dict(), folder / "theirs.safetensors")
    net = build("xception", num_classes=theirs.num_classes)
    known = load_weights(net, folder / "theirs.safetensors")
    assert known["library"] == "timm" and known["conventions"]["same_padding"] is False
    return net


def test_layers_have_the_sizes_of_figure_5() -> None:
    net, images = on_meta().eval(), torch.empty(1, 3, 299, 299, device="meta")
    for layer, (maps, rows) in SIZES.items():
        assert features(net, images, layer).shape == (1, maps, rows, rows), layer
    assert [features(net, images, stage).shape[2] for stage in net.stages] == [147, 74, 37, 19, 10]


def test_has_36_convolutional_layers_in_14_modules() -> None:
    """The paper counts a separable convolution as one layer and leaves the shortcuts' out."""
    net = on_meta()
    convs = {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    layers = [name for name in convs if "shortcut" not in name and not name.endswith("depthwise")]
    assert len(layers) == 36 and {name.split(".")[0] for name in layers} == {f"block{n}" for n in range(1, 15)}
    for name, conv in convs.items():
        assert conv.bias is None
        assert conv.groups == (conv.in_channels if name.endswith("depthwise") else 1)


def test_block_is_the_figure() -> None:
    """A block that halves an even number of rows, by torch.nn.functional: SAME pads below and to the right alone."""
    block = livened(Block(4, (6, 8), halve=True)).eval()
    tensors, x = block.state_dict(), torch.randn(2, 4, 10, 10)

    def normalised(x: Tensor, path: str) -> Tensor:
        mean, var, gamma, beta = (
            tensors[f"{path}.{name}"].view(-1, 1, 1) for name in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * gamma + beta

    def separable(x: Tensor, path: str) -> Tensor:
        each = F.conv2d(x.clamp(min=0), tensors[f"{path}.depthwise.weight"], padding=1, groups=x.shape[1])
        return normalised(
            torch.einsum("oi,nihw->nohw", tensors[f"{path}.pointwise.weight"][..., 0, 0], each), f"{path}.bn"
        )

    maps = separable(separable(x, "residual.sepconv1"), "residual.sepconv2")
    padded = F.pad(maps, (0, 1, 0, 1), value=-math.inf)
    windows = [padded[:, :, row : row + 9 : 2, column : column + 9 : 2] for row in range(3) for column in range(3)]
    pooled = torch.stack(windows).amax(0)
    shortcut = torch.einsum("oi,nihw->nohw", tensors["shortcut.conv.weight"][..., 0, 0], x[:, :, ::2, ::2])
    assert relative_error(block(x), pooled + normalised(shortcut, "shortcut.bn")) <= 1e-5


def test_rectifies_before_every_separable_convolution_of_a_block_but_the_first() -> None:
    net = on_meta()
    for number in range(2, 14):
        kinds = [name for name, _ in getattr(net, f"block{number}").residual.named_children()]
        relus = [kinds[place - 1] for place, name in enumerate(kinds) if name.startswith("sepconv") and place]
        assert all(name.startswith("relu") for name in relus)
        assert kinds[0] == ("sepconv1" if number == 2 else "relu1")
    assert [name for name, _ in net.block14.named_children()] == ["sepconv1", "relu1", "sepconv2", "relu2"]


def test_scores_are_timms(tmp_path: Path) -> None:
    theirs, images = livened(timm.create_model("legacy_xception", num_classes=10)).eval(), torch.randn(1, 3, 299, 299)
    with torch.no_grad():
        assert relative_error(loaded(theirs, tmp_path).eval()(images), theirs(images)) <= 1e-4


def test_a_step_of_training_is_timms(tmp_path: Path) -> None:
    """In double precision: normalisation over few values makes gradients of single precision agree roughly only."""
    theirs = livened(timm.create_model("legacy_xception", num_classes=10))
    net, images = loaded(theirs, tmp_path), torch.randn(3, 3, 75, 75).double()
    net.dropout.p = 0.0
    for each in (net, theirs):
        optimizer = torch.optim.SGD(each.double().train().parameters(), lr=0.01, momentum=0.9)
        F.cross_entropy(each(images), torch.arange(3)).backward()
        optimizer.step()
    layers, expected = renamed(timm_name, net), theirs.state_dict()
    for key, found in net.state_dict().items():
        path, _, own = key.rpartition(".")
        assert relative_error(found, expected[f"{layers[path]}.{own}"]) <= 1e-6, key


def test_cadenes_names_are_timms_of_before() -> None:
    assert cadene_name("fc") == "last_linear" and cadene_name("block14.sepconv1.bn") == "bn3"


def test_scores_are_keras(tmp_path: Path) -> None:
    """At the published size 74 rows are pooled, where SAME and symmetric padding differ: the import must set SAME."""
    import keras

    theirs = keras.applications.Xception(weights=None, classes=10, classifier_activation=None)
    for variable in theirs.weights:
        shape, kind = tuple(variable.shape), variable.path.split("/")[-1]
        fan = math.prod(shape[:2] if kind == "depthwise_kernel" else shape[:-1])
        values = {"gamma": torch.rand(shape) / 2 + 0.5, "moving_variance": torch.rand(shape) + 0.5}
        values |= dict.fromkeys(
            ("kernel", "depthwise_kernel", "pointwise_kernel"), torch.randn(shape) * (2 / fan) ** 0.5
        )
        variable.assign(values.get(kind, torch.randn(shape) * 0.2))
    np.savez(tmp_path / "keras.npz", **{variable.path: variable.value.detach().numpy() for variable in theirs.weights})
    net, images = build("xception", num_classes=10), torch.randn(1, 3, 299, 299)
    apply_conventions(net, {"bn_eps": 1e-5, "same_padding": False})  # as after loading timm's
    assert load_weights(net, tmp_path / "keras.npz")["library"] == "Keras"
    with torch.no_grad():
        expected = theirs(images.permute(0, 2, 3, 1), training=False)
        assert relative_error(net.eval()(images), expected) <= 1e-4
        for module in net.modules():
            if isinstance(module, SameMaxPool2d):
                module.same = False
        assert relative_error(net(images), expected) > 1e-2


def test_smallest_image_is_the_smallest_that_torch_takes() -> None:
    with pytest.raises(RequestError, match="found 6x6: 7 works"):
        on_meta(image_size=6)
    net = on_meta(image_size=7).train()
    assert net(torch.empty(2, 3, 7, 7, device="meta")).shape == (2, 1000)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        net(torch.empty(2, 3, 6, 6, device="meta"))


def test_weights_begin_as_glorot_says() -> None:
    for path, module in build("xception").named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight.detach()
            area = weight[0, 0].numel()
            outputs, inputs = len(weight) * area, weight.shape[1] * area
            bound = math.sqrt(6 / (inputs + outputs))
            assert float(weight.abs().max()) <= bound
            assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1), path
            assert module.bias is None or not module.bias.any()
        elif isinstance(module, nn.BatchNorm2d):
            assert module.eps == 1e-3
