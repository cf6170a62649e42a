"""Weights that others trained, on real images: what their own library makes of them, and the same once converted."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from convbench.bench.convert import convert_weights
from convbench.bench.evaluate import evaluate_weights, load_network
from convbench.data import Preprocessing, imagenet_classes, open_dataset
from convbench.errors import RequestError
from convbench.evaluation.scoring import score_images
from convbench.timing.engines import ENGINES
from convbench.weights import read_metadata
from convbench.weights.files import read_weight_file

pytestmark = pytest.mark.realdata

MOBILENET = "mobilenet_v1_1.0_224_keras_imagenet.npz"
MOBILENET_025 = "mobilenet_v1_0.25_224_keras_imagenet.npz"
RESNET50 = "resnet50_imagenet_pruned_int8_bnfolded.npz"
RESNET20 = "resnet20-12fca82f.th"
RESNET56 = "resnet56-4bfd9763.th"


def documented(network: str) -> str:
    """What docs/weights.md says that `network` reaches."""
    text = Path(__file__).parents[1].joinpath("docs", "weights.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {network} |")]
    return row.split("|")[-2].strip()


def accuracies(result: dict[str, Any], digits: int) -> str:
    return f"{100 - result['top1_error']:.{digits}f} / {100 - result['top5_error']:.{digits}f}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "file", "top1", "top5"),
    [
        ("mobilenet_v1", MOBILENET, 71.6, 89.2),  # of the 500 images, in percent: Keras' own network
        ("mobilenet_v1_025", MOBILENET_025, 49.2, 73.4),
        ("resnet50", RESNET50, 71.8, 91.2),  # torchvision's layers, stride moved to the first 1x1
    ],
)
def test_imagenet(network: str, file: str, top1: float, top5: float, real_data: Path, real_weights: Path) -> None:
    result = evaluate_weights(network, real_weights / file, "imagenet-val", data_dir=real_data)
    assert result["n"] == 500
    assert accuracies(result, 1) == documented(network)
    assert 100 - result["top1_error"] == pytest.approx(top1, abs=0.4)
    assert 100 - result["top5_error"] == pytest.approx(top5, abs=0.4)
    low, high = result["interval"]
    assert low < result["top1_error"] < high
    assert (result["data"], result["network"]) == ("imagenet-val", network)
    assert ENGINES[result["engine"]].precision == "fp32"  # whichever is fastest where the test runs
    assert "confusion" not in result and len(result["per_class"]) == 1000


@pytest.mark.slow
@pytest.mark.parametrize(("network", "file", "accuracy"), [("resnet20", RESNET20, 91.73), ("resnet56", RESNET56, 93.4)])
def test_cifar10(network: str, file: str, accuracy: float, real_data: Path, real_weights: Path) -> None:
    result = evaluate_weights(network, real_weights / file, "cifar10", data_dir=real_data)
    assert result["n"] == 10_000
    assert accuracies(result, 2) == documented(network)
    assert 100 - result["top1_error"] == pytest.approx(accuracy, abs=0.001 if network == "resnet20" else 0.05)


@pytest.mark.slow
def test_the_published_resnet50_strides_where_these_weights_do(real_data: Path, real_weights: Path) -> None:
    """The tensors fit both forms: only accuracy tells, and it says that stride and weights belong together."""
    images = open_dataset("imagenet-val", "test", data_dir=real_data).subset(torch.arange(100))
    right = {}
    for network in ("resnet50", "resnet50_v1_5"):
        loaded = load_network(network, real_weights / RESNET50)
        scores = score_images(loaded.net, images.images, loaded.preprocessing.for_dataset(images))
        right[network] = int((scores.argmax(dim=1) == images.labels).sum())
    assert right["resnet50"] - right["resnet50_v1_5"] >= 4, right


@pytest.mark.parametrize(
    ("network", "file", "data", "library"),
    [
        ("mobilenet_v1_025", MOBILENET_025, "imagenet-val", "Keras"),
        ("resnet50", RESNET50, "imagenet-val", "torchvision"),
        ("resnet20", RESNET20, "cifar10", "akamaster/pytorch_resnet_cifar10"),
    ],
)
def test_converted_weights_answer_bit_for_bit(
    network: str, file: str, data: str, library: str, real_data: Path, real_weights: Path, tmp_path: Path
) -> None:
    source, out = real_weights / file, tmp_path / "w.safetensors"
    metadata = convert_weights(source, network, out, licence="for research")
    before, after = load_network(network, source), load_network(network, out)
    images = open_dataset(data, "test", data_dir=real_data).subset(torch.arange(8))
    scores = [score_images(one.net, images.images, one.preprocessing.for_dataset(images)) for one in (before, after)]
    assert torch.equal(*scores)
    assert after.classes == before.classes == images.classes
    assert after.preprocessing == before.preprocessing and after.input_shape == before.input_shape
    assert read_metadata(out) == metadata
    assert {key: metadata[key] for key in ("network", "library", "source", "licence", "sha256")} == {
        "network": network,
        "library": library,
        "source": file,
        "licence": "for research",
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    assert bool(metadata.get("folded")) == (file == RESNET50)


def test_what_keras_weights_expect(real_weights: Path) -> None:
    loaded = load_network("mobilenet_v1", real_weights / MOBILENET)
    assert loaded.preprocessing == Preprocessing(shorter=256, crop=224, low=-1.0, high=1.0)
    assert loaded.metadata["conventions"] == {"bn_eps": 1e-3, "relu6": True, "same_padding": True}
    assert loaded.classes == imagenet_classes() and loaded.input_shape == (3, 224, 224)


def test_quantised_kernels_are_multiples_of_a_power_of_two(real_weights: Path) -> None:
    kernel = read_weight_file(real_weights / RESNET50).tensors["conv1.weight"]
    steps = kernel * 2**7
    assert kernel.dtype == torch.float32 and kernel.abs().max() < 2
    assert torch.equal(steps * 2, (steps * 2).round())


@pytest.mark.parametrize(
    ("network", "file", "data", "message"),
    [
        ("resnet20", RESNET20, "imagenet-val", "was trained on the classes 10 (airplane, automobile, bird, ...), "),
        ("mobilenet_v1_025", MOBILENET_025, "cifar10", "was trained on the classes 1000 (tench, goldfish, "),
        ("resnet56", RESNET20, "cifar10", "layer1.3.bn1.bias is missing; "),
        ("mobilenet_v1", MOBILENET_025, "imagenet-val", "conv1/kernel is (3, 3, 3, 8), expected (3, 3, 3, 32)"),
        ("mobilenet_v1_050", MOBILENET_025, "imagenet-val", "; it fits mobilenet_v1_025 with 1000 classes"),
        ("vgg16", RESNET20, "cifar10", " is missing; "),
        ("resnet18", "ssd_mobilenet_v1_0.75_coco_uint8.npz", "cifar10", " is missing; "),
        ("resnet20", "README.md", "cifar10", "no weights at "),
    ],
)
def test_what_does_not_belong_together_is_refused(
    network: str, file: str, data: str, message: str, real_data: Path, real_weights: Path
) -> None:
    with pytest.raises(RequestError) as caught:
        evaluate_weights(network, real_weights / file, data, data_dir=real_data)
    assert message in str(caught.value) and "\n" not in str(caught.value)
