"""Other libraries' weights: every format and layout against the library itself, every refusal one line, no code run."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from convbench.bench.convert import convert_weights
from convbench.bench.evaluate import evaluate_weights, load_network
from convbench.data import DATASETS, Preprocessing
from convbench.errors import ConvbenchError, RequestError
from convbench.layers import SameConv2d
from convbench.models import build
from convbench.weights import load_weights, matching, read_metadata, save_weights
from convbench.weights.conventions import apply_conventions, conventions_of
from convbench.weights.files import read_weight_file
from convbench.weights.foreign.origin import Origin
from convbench.weights.foreign.resnet import akamaster_layers
from convbench.weights.matching import match_tensors

os.environ.setdefault("KERAS_BACKEND", "torch")
CAUTIONS = {
    "resnet50": "torchvision's and timm's own weights stride in the 3x3: if these are theirs, take the _v1_5 network",
    "resnet50_v1_5": None,
}


class Toy(nn.Sequential):
    """A little of everything that layouts differ in; reads (n, 3, 8, 8)."""

    auxiliary = ("aux",)

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.conv = SameConv2d(3, 6, 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.relu = nn.ReLU()
        self.depthwise = nn.Conv2d(6, 12, 3, padding=1, groups=6, bias=False)
        self.pointwise = nn.Conv2d(12, 7, 1)
        self.bn2 = nn.BatchNorm2d(7)
        self.pool = nn.AvgPool2d(3, 1, 1)  # counts its padding, as torch does
        self.flatten = nn.Flatten()
        self.hidden = nn.Linear(7 * 4 * 4, 9)
        self.hidden_relu = nn.ReLU()
        self.fc = nn.Linear(9, num_classes)
        self.aux = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))

    def forward(self, x: Tensor) -> Tensor:
        for name, layer in self.named_children():
            x = x if name == "aux" else layer(x)
        return x


BN = ("bias", "running_mean", "running_var", "weight")
LEAVES = ("conv", "bn", "depthwise", "pointwise", "bn2", "hidden", "fc")
KERAS = Origin(
    "Keras",
    lambda _: {
        "conv": "conv2d_0",
        "bn": "batch_normalization_0",
        "depthwise": "separable/depthwise_kernel",
        "pointwise": "separable/pointwise_kernel",
        "bn2": "batch_normalization_1",
        "hidden": "hidden",
        "fc": "fc",
    },
    layout="keras",
    flattened={"hidden": 7},
    bn_eps=1e-3,
    relu6=True,
    same_padding=True,
    avg_pool_counts_padding=False,
    optional=("aux",),
    preprocessing={"low": -1.0},
    licence="Apache-2.0",
)
SLIM = Origin(
    "TF-slim",
    lambda _: {leaf: f"Toy/{leaf}{'/BatchNorm' if leaf.startswith('bn') else ''}" for leaf in LEAVES},
    layout="slim",
    classes_offset=1,
    optional=("aux",),
)
TORCH = Origin("torchvision", lambda _: {leaf: f"features.{leaf}" for leaf in LEAVES}, optional=("aux",))


@pytest.fixture(autouse=True)
def _toy_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    real = matching._origins
    monkeypatch.setattr(matching, "_origins", lambda net: (KERAS, SLIM, TORCH) if type(net) is Toy else real(net))


def toy(seed: int = 0, num_classes: int = 5) -> Toy:
    torch.manual_seed(seed)
    net = Toy(num_classes)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.uniform_(0.5, 1.5)
    return net.eval()


def state_of(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def closeness(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().abs().max() / expected.detach().abs().max())


# Formats


def write_npz(path: Path, tensors: dict[str, Tensor]) -> None:
    with path.open("wb") as file:
        np.savez(file, **{name: tensor.numpy() for name, tensor in tensors.items()})


def write_legacy(path: Path, content: Any) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


WRITERS: dict[str, Callable[[Path, dict[str, Tensor]], None]] = {
    "safetensors": lambda path, state: safetensors.torch.save_file(state, path),
    "npz": write_npz,
    "zip": lambda path, state: torch.save(state, path),
    "legacy": write_legacy,
    "nested": lambda path, state: torch.save({"epoch": 3, "state_dict": state, "optimizer": {}}, path),
    "model": lambda path, state: torch.save({"model": state}, path),
    "wrapped": lambda path, state: torch.save({f"module._orig_mod.{name}": state[name] for name in state}, path),
    "parameters": lambda path, state: torch.save({name: nn.Parameter(state[name]) for name in state}, path),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_formats_are_known_by_their_content(writer: str, suffix: str, tmp_path: Path) -> None:
    net, path = build("lenet5_relu"), tmp_path / f"weights{suffix}"
    WRITERS[writer](path, state_of(net))
    other = build("lenet5_relu")
    load_weights(other, path)
    assert same(state_of(other), state_of(net))


def test_half_precision_and_older_checkpoints(tmp_path: Path) -> None:
    """Without batch counters, as before PyTorch 0.4.1; numbers in half precision."""
    net, other = toy(), toy(1)
    state = {name: tensor.half() for name, tensor in state_of(net).items() if "num_batches" not in name}
    torch.save(state, tmp_path / "w.pt")
    load_weights(other, tmp_path / "w.pt")
    assert torch.equal(other.conv.weight, net.conv.weight.half().float())


def test_quantised_archives(tmp_path: Path) -> None:
    arrays = {"a_int8": np.array([-128, 3], np.int8), "a_frac_bits": np.int8(7), "b": np.float32(2)}
    np.savez(tmp_path / "w.npz", **arrays)
    tensors = read_weight_file(tmp_path / "w.npz").tensors
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"a": [-1, 3 / 128], "b": 2}
    del arrays["a_frac_bits"]
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(ConvbenchError, match=r"w\.npz is not a whole archive: 'a_frac_bits'"):
        read_weight_file(tmp_path / "w.npz")


# Layouts, beside the libraries themselves


def keras_toy(*, scale: bool = True) -> Any:
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(epsilon=1e-3, scale=scale),
            layers.ReLU(6.0),
            layers.SeparableConv2D(7, 3, padding="same", depth_multiplier=2, name="separable"),
            layers.BatchNormalization(epsilon=1e-3, scale=scale),
            layers.AveragePooling2D(3, 1, padding="same"),
            layers.Flatten(),
            layers.Dense(9, name="hidden"),
            layers.ReLU(6.0),
            layers.Dense(5, name="fc"),
        ]
    )


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".keras", ".npz"])
@pytest.mark.parametrize("scale", [True, False])
def test_keras_computes_the_same(suffix: str, scale: bool, tmp_path: Path) -> None:
    """HWIO, depthwise multipliers, channels-last flattening, automatic names, missing gammas, SAME, epsilon, ReLU6."""
    keras_toy()  # so that automatic names do not begin at 0
    model, path = keras_toy(scale=scale), tmp_path / f"w{suffix}"
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(
            random.uniform(0.2, 1.0, weight.shape) * random.choice([-1, 1], weight.shape) ** (weight.ndim > 1)
        )
    if suffix == ".npz":
        np.savez(path, **{"/".join(one.path.split("/")[-2:]) + ":0": one.numpy() for one in model.weights})
    else:
        model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    net = toy()
    metadata = load_weights(net, path)
    x = torch.rand(4, 3, 8, 8) * 8
    expected = model(x.permute(0, 2, 3, 1))
    assert closeness(net(x), expected) < 1e-5
    assert metadata == {
        "library": "Keras",
        "preprocessing": {"low": -1.0},
        "licence": "Apache-2.0, if these are Keras's published weights",
        "missing": ["aux.0.bias", "aux.0.weight", *(f"aux.1.{own}" for own in sorted((*BN, "num_batches_tracked")))],
        "conventions": {"bn_eps": 1e-3, "relu6": True, "same_padding": True, "avg_pool_counts_padding": False},
    }


def test_what_keras_keeps_beside_weights_is_passed_over(tmp_path: Path) -> None:
    """Seeds of dropout layers, the optimiser's state; and variables that nobody here knows are named, not guessed."""
    import h5py

    path = tmp_path / "w.weights.h5"
    keras_toy().save_weights(path)
    with h5py.File(path, "a") as file:
        file["layers/dropout/seed_generator/vars/0"] = np.array([1, 2], np.uint32)
        file["optimizer/vars/0"] = np.zeros(3, np.float32)
    load_weights(toy(), path)
    with h5py.File(path, "a") as file:
        for number in range(3):
            file[f"layers/lstm/cell/vars/{number}"] = np.zeros((2, 2), np.float32)
    assert refused(toy(), path).endswith("cell/2 is unknown; cell/bias is unknown; cell/kernel is unknown")


def slim_tensors(net: Toy, *, background: int = 1) -> dict[str, Tensor]:
    """`net` as TF-slim would keep it, transposed by hand; its classes after a background row."""
    state = state_of(net)
    tensors = {
        "Toy/conv/weights": state["conv.weight"].permute(2, 3, 1, 0),
        "Toy/depthwise/depthwise_weights": state["depthwise.weight"].reshape(6, 2, 3, 3).permute(2, 3, 0, 1),
        "Toy/pointwise/weights": state["pointwise.weight"].permute(2, 3, 1, 0),
        "Toy/pointwise/biases": state["pointwise.bias"],
        "Toy/hidden/weights": state["hidden.weight"].reshape(9, 7, 4, 4).permute(2, 3, 1, 0),  # a convolution there
        "Toy/hidden/biases": state["hidden.bias"],
        "Toy/fc/weights": nn.functional.pad(state["fc.weight"].T, (background, 0))[None, None],
        "Toy/fc/biases": nn.functional.pad(state["fc.bias"], (background, 0)),
    }
    for ours, theirs in zip(BN, ("beta", "moving_mean", "moving_variance", "gamma"), strict=True):
        tensors |= {f"Toy/{bn}/BatchNorm/{theirs}": state[f"{bn}.{ours}"] for bn in ("bn", "bn2")}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


@pytest.mark.parametrize("background", [0, 1])
def test_slim_layout(background: int, tmp_path: Path) -> None:
    net, other = toy(), toy(1)
    write_npz(tmp_path / "w.npz", slim_tensors(net, background=background))
    assert load_weights(other, tmp_path / "w.npz")["library"] == "TF-slim"
    x = torch.rand(4, 3, 8, 8)
    assert torch.equal(other(x), net(x))


def test_a_bias_in_place_of_a_normalisation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    biased = Origin(
        "TF-slim", lambda net: {**SLIM.layers(net), "bn": "Toy/conv/biases"}, layout="slim", optional=("aux",)
    )
    monkeypatch.setattr(matching, "_origins", lambda _: (biased,))
    net, other = toy(), toy(1)
    tensors = slim_tensors(net, background=0) | {"Toy/conv/biases": torch.arange(6.0)}
    write_npz(tmp_path / "w.npz", {name: tensors[name] for name in tensors if "/bn/" not in name})
    load_weights(other, tmp_path / "w.npz")
    net.bn = nn.Identity()
    net.conv.bias = nn.Parameter(torch.arange(6.0))
    x = torch.rand(4, 3, 8, 8)
    assert closeness(other(x), net(x)) < 1e-6


def test_torch_layout_is_never_transposed(tmp_path: Path) -> None:
    net = toy(num_classes=9)  # fc is square: only its name and layout could tell
    state = {f"features.{name}": tensor for name, tensor in state_of(net).items() if not name.startswith("aux")}
    torch.save(state, tmp_path / "w.pt")
    other = toy(1, num_classes=9)
    load_weights(other, tmp_path / "w.pt")
    assert torch.equal(other.fc.weight, net.fc.weight)
    state["features.hidden.weight"] = state["features.hidden.weight"].T
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(RequestError, match=r"features.hidden.weight is \(112, 9\), expected \(9, 112\)$"):
        load_weights(other, tmp_path / "w.pt")


def test_a_convolution_that_spans_what_it_reads_is_a_linear_layer(tmp_path: Path) -> None:
    net, other = toy(), toy(1)
    state = {f"features.{name}": tensor for name, tensor in state_of(net).items() if not name.startswith("aux")}
    state["features.hidden.weight"] = state["features.hidden.weight"].reshape(9, 7, 4, 4)
    state["features.pointwise.weight"] = state["features.pointwise.weight"].flatten(1)
    torch.save(state, tmp_path / "w.pt")
    load_weights(other, tmp_path / "w.pt")
    assert torch.equal(other.hidden.weight, net.hidden.weight)
    assert torch.equal(other.pointwise.weight, net.pointwise.weight)
    state["features.hidden.weight"] = torch.zeros(9, 7, 4, 3)
    state["features.conv.weight"] = torch.zeros(6, 27)
    torch.save(state, tmp_path / "w.pt")
    assert refused(other, tmp_path / "w.pt").endswith(
        "conv.weight is (6, 27), expected (6, 3, 3, 3); features.hidden.weight is (9, 7, 4, 3), expected (9, 112)"
    )


def test_torchvision_computes_the_same(tmp_path: Path) -> None:
    theirs, ours = torchvision.models.resnet18(num_classes=7).eval(), build("resnet18_v1_5", num_classes=7).eval()
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}}, tmp_path / "w"
    )
    metadata = load_weights(ours, tmp_path / "w")
    x = torch.rand(2, 3, 64, 64)
    assert closeness(ours(x), theirs(x)) < 1e-5
    assert metadata["library"] == "torchvision" and metadata["preprocessing"]["crop"] == 224


# Conventions


def test_conventions_are_applied_and_travel(tmp_path: Path) -> None:
    net, changed = toy(), {"bn_eps": 0.25, "relu6": True, "same_padding": False, "avg_pool_counts_padding": False}
    x = torch.rand(4, 3, 8, 8) * 20
    before = net(x)
    assert conventions_of(net) == {
        "bn_eps": 1e-5,
        "relu6": False,
        "same_padding": True,
        "avg_pool_counts_padding": True,
    }
    for name, value in changed.items():
        other = toy()
        apply_conventions(other, {name: value})
        assert not torch.allclose(other(x), before), name
    apply_conventions(net, changed)
    save_weights(net, tmp_path / "w.safetensors", {})
    other = toy(1)
    load_weights(other, tmp_path / "w.safetensors")
    assert conventions_of(other) == changed
    assert torch.equal(other(x), net(x))
    apply_conventions(net, {"bn_eps": 1e-5, "relu6": False, "same_padding": True, "avg_pool_counts_padding": True})
    assert torch.equal(net(x), before)


def test_an_unknown_convention_is_named_and_nothing_changes(tmp_path: Path) -> None:
    tensors, net = state_of(toy(1)), toy()
    before = state_of(net)
    safetensors.torch.save_file(tensors, tmp_path / "w.safetensors", {"conventions": '{"relu": true}'})
    with pytest.raises(RequestError, match="unknown convention 'relu': nearest is relu6"):
        load_weights(net, tmp_path / "w.safetensors")
    assert same(state_of(net), before)
    for text, message in (
        ("[1]", r"conventions: expected a table such as {'bn_eps': 1e-5}, found \[1\]"),
        ('{"relu6": 1}', "conventions.relu6: expected true or false, found 1"),
        ('{"bn_eps": true}', "conventions.bn_eps: expected a number such as 1e-5, found True"),
    ):
        safetensors.torch.save_file(tensors, tmp_path / "w.safetensors", {"conventions": text})
        with pytest.raises(RequestError, match=message):
            load_weights(net, tmp_path / "w.safetensors")
        assert same(state_of(net), before)


# Refusals: one line each, and nothing changed


def refused(net: nn.Module, path: Path, kind: type[ConvbenchError] = RequestError) -> str:
    before, conventions = state_of(net), conventions_of(net)
    with pytest.raises(ConvbenchError) as caught:
        load_weights(net, path)
    line = str(caught.value)
    assert type(caught.value) is kind and "\n" not in line and len(line) < 500, line
    assert same(state_of(net), before) and conventions_of(net) == conventions
    return line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("Toy/conv/weights"), "Toy/conv/weights is missing"),
        (lambda state: state.pop("Toy/bn/BatchNorm/gamma"), "Toy/bn/BatchNorm/gamma is missing"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra is unknown"),
        (
            lambda state: state.update({"Toy/conv/weights": torch.zeros(5, 3, 3, 6)}),
            r"Toy/conv/weights is (5, 3, 3, 6), expected (3, 3, 3, 6)",
        ),
        (
            lambda state: state.update({"Toy/depthwise/depthwise_weights": torch.zeros(3, 3, 2, 6)}),
            r"Toy/depthwise/depthwise_weights is (3, 3, 2, 6), expected (3, 3, 6, 2)",
        ),
        (lambda state: state.update({"Toy/bn2/BatchNorm/beta": torch.zeros(())}), "is (), expected (7,)"),
        (
            lambda state: state.update({"Toy/conv/weights": torch.zeros(3, 3, 3, 6, dtype=torch.uint8)}),
            "Toy/conv/weights is torch.uint8, expected torch.float32",
        ),
    ],
)
def test_what_differs_is_named(change: Any, message: str, tmp_path: Path) -> None:
    tensors = slim_tensors(toy())
    change(tensors)
    write_npz(tmp_path / "w.npz", tensors)
    line = refused(toy(), tmp_path / "w.npz")
    assert line.endswith(message) and line.startswith(f"{tmp_path / 'w.npz'} does not fit Toy: ")


def test_names_that_nobody_knows_are_set_beside_ours(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pt")
    assert "does not fit Toy: bn.bias is missing; bn.running_mean is missing; " in refused(toy(), tmp_path / "w.pt")


def test_half_an_auxiliary_head_is_not_optional(tmp_path: Path) -> None:
    state = state_of(toy())
    del state["aux.0.weight"]
    torch.save(state, tmp_path / "w.pt")
    assert refused(toy(), tmp_path / "w.pt").endswith("does not fit Toy: aux.0.weight is missing")


def test_a_wrong_class_count_names_the_right_one(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(num_classes=7).state_dict(), tmp_path / "w.pt")
    assert refused(build("resnet18_v1_5", num_classes=5), tmp_path / "w.pt").endswith(
        "does not fit ResNet: fc.bias is (7,), expected (5,); fc.weight is (7, 512), expected (5, 512)"
        "; it fits resnet18_v1_5 with 7 classes"
    )


def test_another_network_of_the_family_is_named(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(num_classes=7).state_dict(), tmp_path / "w.pt")
    line = refused(build("resnet18", num_classes=7), tmp_path / "w.pt")
    assert "downsample.0.weight is unknown" in line and line.endswith(" more; it fits resnet18_v1_5 with 7 classes")


# Ready networks and converted files


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A random ResNet-20 as akamaster/pytorch_resnet_cifar10 would have saved it."""
    torch.manual_seed(0)
    net = build("resnet20")
    theirs = akamaster_layers(net)
    state = {
        f"module.{theirs[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": tensor
        for name, tensor in net.state_dict().items()
    }
    torch.save({"state_dict": state, "best_prec1": 10.0}, tmp_path / "resnet20.th")
    return tmp_path / "resnet20.th"


def test_a_converted_file_says_everything(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "w.safetensors"
    metadata = convert_weights(checkpoint, "resnet20", out, licence="none")
    assert metadata == read_metadata(out)
    assert metadata | {"preprocessing": None, "sha256": None} == {
        "network": "resnet20",
        "library": "akamaster/pytorch_resnet_cifar10",
        "source": "resnet20.th",
        "sha256": None,
        "input_shape": [3, 32, 32],
        "classes": list(DATASETS["cifar10"].classes),
        "preprocessing": None,
        "conventions": {"bn_eps": 1e-5, "relu6": False},
        "licence": "none",
    }
    before, after = load_network("resnet20", checkpoint), load_network("resnet20", out)
    assert before.preprocessing == after.preprocessing != Preprocessing()
    assert before.classes == after.classes
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(before.net.eval()(images), after.net.eval()(images))


def test_heads_that_the_source_lacks_are_not_invented(tmp_path: Path) -> None:
    """An auxiliary head that was never loaded is random: it does not go into the converted file."""
    theirs = torchvision.models.googlenet(num_classes=5, aux_logits=False, init_weights=False)
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    metadata = convert_weights(tmp_path / "w.pt", "googlenet_bn", tmp_path / "w.safetensors")
    auxiliary = build("googlenet_bn", num_classes=5).auxiliary
    assert metadata["missing"] and all(name.split(".")[0] in auxiliary for name in metadata["missing"])
    assert not set(metadata["missing"]) & read_weight_file(tmp_path / "w.safetensors").tensors.keys()
    loaded = load_network("googlenet_bn", tmp_path / "w.safetensors")
    assert loaded.metadata["missing"] == metadata["missing"] and loaded.classes == ()
    x = torch.rand(1, 3, 224, 224)
    assert closeness(loaded.net.eval()(x), theirs.eval()(x)) < 1e-5


def test_nothing_is_written_over(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"mine")
    with pytest.raises(RequestError, match=r"w\.safetensors is already there: name another file, or delete it"):
        convert_weights(checkpoint, "resnet20", tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "w does not say its preprocessing: expected a file that a training wrote"),
        ({"network": "mlp_300"}, "w holds mlp_300, found the name lenet5_relu"),
        ({"classes": 5}, "w: classes: .*, found 5"),
        ({"input_shape": [1, 32]}, "w: input_shape.2: "),
        ({"preprocessing": {"crops": 224}}, "unknown key in .*w.preprocessing 'crops': nearest is crop"),
    ],
)
def test_what_metadata_lack_or_twist_is_named(metadata: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_weights(build("lenet5_relu"), tmp_path / "w", metadata)
    with pytest.raises(RequestError, match=message):
        load_network("lenet5_relu", tmp_path / "w")


def test_grey_images_are_not_read_as_colours(tmp_path: Path) -> None:
    classes = list(DATASETS["digits"].classes)
    metadata = {"classes": classes, "input_shape": [3, 32, 32], "preprocessing": {"pad": 12}}
    save_weights(build("lenet5_relu", in_channels=3), tmp_path / "w", metadata)
    with pytest.raises(RequestError, match="the network reads 3x32x32 images, digits's are 1x32x32 once prepared"):
        evaluate_weights("lenet5_relu", tmp_path / "w", "digits")
    metadata["classes"][0] = "O"
    save_weights(build("lenet5_relu", in_channels=3), tmp_path / "w", metadata)
    with pytest.raises(RequestError, match=r"was trained on the classes 10 \(O, 1, 2, \.\.\.\), digits has 10 \(0, 1"):
        evaluate_weights("lenet5_relu", tmp_path / "w", "digits")


# Pickles and damaged files


class Harm:
    """Writes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def write_zipped(path: Path, content: Any) -> None:
    """A zip in PyTorch's layout whose pickle is written by hand, so that no check of torch.save stands before it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr("archive/version", "3\n")


@pytest.mark.parametrize(
    "write",
    [
        lambda path, content: torch.save(content, path),
        write_legacy,
        write_zipped,
        lambda path, content: path.write_bytes(pickle.dumps(content)),
        lambda path, content: path.write_bytes(pickle.dumps(content, protocol=2)),
        lambda path, content: path.write_bytes(pickle.dumps(content, protocol=0)),
        lambda path, content: np.savez(path.open("wb"), **{"c1.weight": np.array([content], dtype=object)}),
    ],
    ids=["torch", "legacy", "zip", "pickle", "pickle 2", "pickle 0", "npz"],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz"])
def test_code_in_a_pickle_is_refused_and_not_executed(write: Any, suffix: str, tmp_path: Path) -> None:
    harm, path = tmp_path / "harm", tmp_path / f"w{suffix}"
    write(path, {"c1.weight": torch.zeros(1), "c1.bias": Harm(harm)})
    with pytest.raises(ConvbenchError, match=r"holds code|is not a whole|was not executed") as caught:
        load_weights(build("lenet1"), path)
    assert "\n" not in str(caught.value)
    assert not harm.exists()
    pickle.loads(pickle.dumps(Harm(harm)))
    assert harm.exists(), "the test's own pickle is harmless: it proves nothing"


def test_code_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": Harm(tmp_path / "harm")}}, tmp_path / "w.pt")
    line = refused(build("lenet1"), tmp_path / "w.pt")
    assert re.search(r"w\.pt holds code \(getattr\), which was not executed: expected tensors alone$", line), line


def keras_h5(path: Path, _: dict[str, Tensor]) -> None:
    keras_toy().save(path.with_suffix(".h5"))
    path.with_suffix(".h5").replace(path)


@pytest.mark.parametrize("writer", [*WRITERS, "h5"])
def test_damaged_files_are_one_line(writer: str, tmp_path: Path) -> None:
    """Cut anywhere, or with bytes changed anywhere: refused, or, where the change hit a number, loaded."""
    net, path = build("lenet5_relu", image_size=16), tmp_path / "w"
    (WRITERS | {"h5": keras_h5})[writer](path, state_of(net))
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for kept in (0, 1, 7, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        refused(net, path, ConvbenchError)
    for _ in range(30):
        content = bytearray(whole)
        for place in random.integers(0, min(len(whole), 2000), 4):
            content[place] = random.integers(256)
        path.write_bytes(content)
        with contextlib.suppress(ConvbenchError):
            load_weights(net, path)


def test_files_without_tensors_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "w"
    for content in ({}, {"epoch": 3}, [torch.zeros(1)], torch.zeros(1), {"state_dict": None}):
        torch.save(content, path)
        assert refused(build("lenet1"), path).startswith(f"{path} holds no tensors: expected a .safetensors file")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "nothing here")
    refused(build("lenet1"), path, ConvbenchError)


def test_no_h5py_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    line = refused(build("lenet1"), tmp_path / "w.h5")
    assert line.endswith("w.h5 is Keras' HDF5: pip install 'convbench[keras-files]' reads it")


def test_torchvisions_resnet50_in_the_published_form_is_taken_with_a_caution(tmp_path: Path) -> None:
    """The tensors of both forms are alike; the file cannot tell, so the user is told."""
    path = tmp_path / "resnet50.pth"
    torch.save(torchvision.models.resnet50(weights=None, num_classes=5).state_dict(), path)
    cautions = {name: load_weights(build(name, num_classes=5), path).get("caution") for name in CAUTIONS}
    assert cautions == CAUTIONS


def test_heads_that_we_do_not_build_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tensors = {"body.weight": torch.ones(2, 3), "net/AuxLogits/weights": torch.ones(4)}
    net = nn.Sequential(OrderedDict(body=nn.Linear(3, 2, bias=False)))
    for ignored, unknown in (((), 1), (("/AuxLogits/",), 0)):
        origin = Origin("other", lambda _: {"body": "body"}, ignored=ignored)
        monkeypatch.setattr(matching, "_origins", lambda _, origin=origin: (origin,))
        assert len(match_tensors(net, tensors).differences) == unknown
