"""Inception v3 against its release: torchvision, timm, Keras and TF-slim."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from parity import randomise, relative_error, train_one_step

os.environ["KERAS_BACKEND"] = "torch"
import keras

from convbench import features
from convbench.errors import RequestError
from convbench.layers import WithAuxiliary
from convbench.models import build
from convbench.models.inception_v3 import InceptionV3
from convbench.weights import load_weights
from convbench.weights.foreign.inception_v3 import slim_layers

SIZES = {  # (channels, side) at 299 pixels, as torchvision's source notes them
    **{"conv1a": (32, 149), "conv2a": (32, 147), "conv2b": (64, 147), "pool3a": (64, 73), "conv3b": (80, 73)},
    **{"conv4a": (192, 71), "pool5a": (192, 35), "mixed_5b": (256, 35), "mixed_5c": (288, 35), "mixed_5d": (288, 35)},
    **dict.fromkeys(("mixed_6a", "mixed_6b", "mixed_6c", "mixed_6d", "mixed_6e"), (768, 17)),
    **{"mixed_7a": (1280, 8), "mixed_7b": (2048, 8), "mixed_7c": (2048, 8)},
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def on_meta(**arguments: int) -> nn.Module:
    with torch.device("meta"):
        return build("inception_v3", **arguments)


def test_sizes() -> None:
    net, images = on_meta().eval(), torch.empty(1, 3, 299, 299, device="meta")
    for layer, (channels, side) in SIZES.items():
        assert features(net, images, layer).shape == (1, channels, side, side), layer
    head = on_meta().aux
    seventeen = torch.empty(2, 768, 17, 17, device="meta")
    assert head.pool(seventeen).shape == (2, 128 * 6, 5, 5)
    assert head.conv(head.reduce(head.pool(seventeen))).shape == (2, 768, 1, 1)


def test_head_acts_in_training_alone() -> None:
    net, images = build("inception_v3", num_classes=7, image_size=107), torch.rand(2, 3, 107, 107)
    output = net(images)
    assert isinstance(output, WithAuxiliary) and output.aux_weight == 0.4
    assert [logits.shape for logits in (output.logits, *output.aux_logits)] == [(2, 7)] * 2
    assert net.eval()(images).shape == (2, 7)


def test_smallest_image(monkeypatch: pytest.MonkeyPatch) -> None:
    on_meta(image_size=107)(torch.empty(2, 3, 107, 107, device="meta"))
    with pytest.raises(RequestError, match="107 works"):
        build("inception_v3", image_size=106)
    monkeypatch.setattr("convbench.models.inception_v3.require_side", lambda *_: 1)
    with pytest.raises(RuntimeError):
        on_meta(image_size=106)(torch.empty(2, 3, 106, 106, device="meta"))


def test_larger_images_leave_the_head_its_window() -> None:
    net = on_meta(image_size=395)
    assert net.aux.conv.conv.kernel_size == (5, 5)
    assert net(torch.empty(2, 3, 395, 395, device="meta")).aux_logits[0].shape == (2, 1000)


def test_starts_as_the_release() -> None:
    net = build("inception_v3")
    for layer, deviation in (
        *((net.conv4a.conv, 0.1), (net.mixed_7b.branch3x3[1].a.conv, 0.1), (net.fc, 0.01)),
        *((net.aux.reduce.conv, 0.1), (net.aux.conv.conv, 0.01), (net.aux.fc, 0.001)),
    ):
        assert layer.weight.abs().max().item() <= 2 * deviation
        assert layer.weight.std().item() == pytest.approx(0.88 * deviation, rel=0.02)
    assert not net.fc.bias.any() and net.conv4a.bn.eps == 1e-3


def test_means_leave_the_padding_out_as_tensorflow() -> None:
    """At a corner four of nine pixels are of the image: their mean is 1, with padding counted it would be 4 / 9."""
    mean = on_meta().mixed_5b.branch_pool[0](torch.ones(1, 1, 5, 5))
    assert bool((mean == 1).all())


def test_computes_what_torchvision_does(tmp_path: Path) -> None:
    theirs = randomise(torchvision.models.Inception3(init_weights=False)).eval()
    save_file(theirs.state_dict(), tmp_path / "net.safetensors")
    ours = build("inception_v3").eval()
    assert load_weights(ours, tmp_path / "net.safetensors")["conventions"]["avg_pool_counts_padding"] is True
    with torch.no_grad():
        images, seventeen = torch.randn(1, 3, 299, 299), torch.randn(2, 768, 17, 17)
        assert relative_error(ours(images), theirs(images)) < 1e-4
        assert relative_error(ours.aux(seventeen), theirs.AuxLogits(seventeen)) < 1e-4


def test_learns_what_torchvision_does(tmp_path: Path) -> None:
    """After one step, head included: what the parameters gained, and the running statistics.

    Of small images the head has a single pixel left, so its 5x5 is 1x1 in ours: theirs is given the same.
    """
    theirs = torchvision.models.Inception3(num_classes=10, init_weights=False)
    theirs.AuxLogits.conv1 = torchvision.models.inception.BasicConv2d(128, 768, kernel_size=1)
    save_file(randomise(theirs).state_dict(), tmp_path / "net.safetensors")
    ours = build("inception_v3", num_classes=10, image_size=107)
    load_weights(ours, tmp_path / "net.safetensors")
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    images, labels = torch.randn(2, 3, 107, 107, dtype=torch.float64), torch.tensor([3, 7])

    def loss(net: nn.Module) -> Tensor:
        logits, head = net(images)[:2]
        head = head[0] if isinstance(net, InceptionV3) else head
        return F.cross_entropy(logits, labels) + 0.4 * F.cross_entropy(head, labels)

    assert train_one_step(ours, loss) == pytest.approx(train_one_step(theirs, loss), rel=1e-6)
    save_file({name: tensor.contiguous() for name, tensor in theirs.state_dict().items()}, tmp_path / "after")
    after = build("inception_v3", num_classes=10, image_size=107).double()
    load_weights(after, tmp_path / "after")
    for name, expected in after.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert relative_error(ours.state_dict()[name] - before[name], expected - before[name]) < 1e-4, name


def test_computes_what_timm_does(tmp_path: Path) -> None:
    """timm's files of the release's weights lack the head."""
    theirs = randomise(timm.create_model("inception_v3", num_classes=10)).eval()
    save_file(theirs.state_dict(), tmp_path / "net.safetensors")
    ours = build("inception_v3", num_classes=10, image_size=139).eval()
    assert all(name.startswith("aux.") for name in load_weights(ours, tmp_path / "net.safetensors")["missing"])
    images = torch.randn(2, 3, 139, 139)
    with torch.no_grad():
        assert relative_error(ours(images), theirs(images)) < 1e-4


def test_computes_what_keras_does(tmp_path: Path) -> None:
    rng, side = np.random.default_rng(0), 139
    theirs = keras.applications.InceptionV3(
        weights=None, input_shape=(side, side, 3), classes=10, classifier_activation=None
    )
    for weight in theirs.weights:
        fan_in = int(np.prod(weight.shape[:-1]))
        value = {
            "kernel": rng.normal(0, (2 / fan_in) ** 0.5, weight.shape),
            "moving_variance": rng.uniform(0.5, 1.5, weight.shape),
        }.get(weight.name, rng.normal(0, 0.2, weight.shape))
        weight.assign(value.astype(np.float32))
    np.savez(tmp_path / "net.npz", **{weight.path: weight.numpy() for weight in theirs.weights})
    ours = build("inception_v3", num_classes=10, image_size=side).eval()
    found = load_weights(ours, tmp_path / "net.npz")
    assert found["library"] == "Keras" and found["conventions"]["avg_pool_counts_padding"] is False
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        expected = theirs(images.permute(0, 2, 3, 1), training=False)
        assert relative_error(ours(images), expected) < 1e-4


def test_knows_tf_slim_names() -> None:
    """The layers it names hold 21,802,784 values without classifiers, as TF-slim's own test of InceptionV3 counts."""
    net = on_meta()
    names, modules = slim_layers(net), dict(net.named_modules())
    values = 0
    for path, theirs in names.items():
        module = modules[path]
        if "Logits" not in theirs:
            values += 3 * module.num_features if isinstance(module, nn.BatchNorm2d) else module.weight.numel()
    assert values == 21_802_784
    scopes = {theirs.removeprefix("InceptionV3/") for theirs in names.values()}
    assert scopes >= {
        *("Conv2d_1a_3x3", "Conv2d_2b_3x3/BatchNorm", "Conv2d_3b_1x1", "Mixed_5b/Branch_1/Conv2d_0b_5x5"),
        *("Mixed_5c/Branch_1/Conv2d_0b_1x1", "Mixed_5c/Branch_1/Conv_1_0c_5x5", "Mixed_5d/Branch_3/Conv2d_0b_1x1"),
        *("Mixed_6a/Branch_0/Conv2d_1a_1x1", "Mixed_6a/Branch_1/Conv2d_1a_1x1", "Mixed_6e/Branch_2/Conv2d_0e_1x7"),
        *("Mixed_7a/Branch_0/Conv2d_1a_3x3", "Mixed_7a/Branch_1/Conv2d_1a_3x3", "Mixed_7b/Branch_1/Conv2d_0b_3x1"),
        *("Mixed_7c/Branch_1/Conv2d_0c_3x1", "Mixed_7b/Branch_2/Conv2d_0d_3x1", "Mixed_7c/Branch_2/Conv2d_0c_1x3"),
        *("AuxLogits/Conv2d_1b_1x1", "AuxLogits/Conv2d_2a_5x5", "AuxLogits/Conv2d_2b_1x1"),
        *("AuxLogits/Conv2d_1b_1x1/BatchNorm", "AuxLogits/Conv2d_2a_5x5/BatchNorm"),
        "Logits/Conv2d_1c_1x1",
    }
    leaves = {
        path for path, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear)
    }
    assert leaves == names.keys() and len(scopes) == len(names)
