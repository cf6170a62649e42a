"""Faithful engines pass and broken ones do not, on trained and on untrained networks."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from convbench.bench.evaluate import load_network
from convbench.data import open_dataset
from convbench.data.samples import sample_photographs
from convbench.errors import RequestError
from convbench.models import build
from convbench.timing.engines import ENGINES
from convbench.timing.fidelity import SHARE, compare_outputs

TRAINED = {  # network -> file of its weights, data set of its images
    "resnet20": ("resnet20-12fca82f.th", "cifar10"),
    "mobilenet_v1_025": ("mobilenet_v1_0.25_224_keras_imagenet.npz", "imagenet-val"),
}
UNTRAINED = ("lenet5_relu", "resnet20", "mobilenet_v1_025")
KINDS = ("permuted answers", "a layer without ReLU", "another's weights", "a NaN")


def sabotage(net: nn.Module, kind: str) -> nn.Module:
    """A copy of `net` with one thing wrong, in the middle where it is a layer."""
    broken = copy.deepcopy(net).eval()
    relus = [name for name, layer in broken.named_modules() if isinstance(layer, nn.ReLU | nn.ReLU6)]
    convolutions = [layer for layer in broken.modules() if isinstance(layer, nn.Conv2d)]
    middle = convolutions[len(convolutions) // 2]
    if kind == "permuted answers":
        return nn.Sequential(broken, nn.Flatten(), Rolled())
    if kind == "a layer without ReLU":
        parent, _, child = relus[len(relus) // 2].rpartition(".")
        setattr(broken.get_submodule(parent), child, nn.Identity())
    elif kind == "another's weights":
        middle.weight.data = middle.weight.data.flip(0)
    else:
        middle.weight.data[0, 0, 0, 0] = torch.nan
    return broken


class Rolled(nn.Module):
    def forward(self, scores: Tensor) -> Tensor:
        return scores.roll(1, dims=1)


def untrained(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    shape = {"lenet5_relu": (1, 32), "resnet20": (3, 32), "mobilenet_v1_025": (3, 128)}[name]
    return build(name, image_size=shape[1]).eval(), sample_photographs(16, *shape) / 255 * 2 - 1


def check(net: nn.Module, images: Tensor, precision: str) -> None:
    with torch.inference_mode():
        reference = net(images)
        for kind in KINDS:
            result = compare_outputs(reference, sabotage(net, kind)(images), precision)
            assert not result.passed, (kind, result)
            assert result.why
    for engine in ("channels-last", "bf16", "openvino-bf16"):
        if ENGINES[engine].missing() is None:
            result = compare_outputs(reference, ENGINES[engine].prepare(net, images)(images), ENGINES[engine].precision)
            assert result.passed, (engine, result)


@pytest.mark.parametrize("name", UNTRAINED)
def test_untrained_networks(name: str) -> None:
    check(*untrained(name), "bf16")


@pytest.mark.realdata
@pytest.mark.parametrize("name", TRAINED)
def test_trained_networks(name: str, real_weights: Path, real_data: Path) -> None:
    file, data = TRAINED[name]
    loaded = load_network(name, real_weights / file)
    dataset = open_dataset(data, "test", data_dir=real_data)
    prepare = loaded.preprocessing.for_dataset(dataset)
    check(loaded.net.eval(), prepare(dataset.images[:16]), "bf16")


def scores(n: int = 8, classes: int = 5) -> Tensor:
    """Of which each image has another best one, and each spans 1."""
    return torch.stack([torch.linspace(0, 1, classes).roll(row) for row in range(n)])


def test_errors_are_parts_of_the_span() -> None:
    reference = 50 * scores()
    outputs = reference.clone()
    outputs[3, 0] += 2
    result = compare_outputs(reference, outputs, "bf16")
    assert result.max_relative_error == pytest.approx(2 / 50)
    assert result.relative_error == pytest.approx(2 / 50 / 40**0.5)
    assert (result.n, result.top1_agreement, result.passed) == (8, 100, True)


def test_the_tolerance_is_a_share_of_the_differences_between_images() -> None:
    common = torch.linspace(0, 1, 5).repeat(8, 1)  # the same scores for all images, but for a thousandth of them
    alike = common + 1e-3 * scores()
    noise = 0.02 * torch.where(torch.arange(40).reshape(8, 5) % 2 == 0, 1.0, -1.0)
    assert compare_outputs(scores(), scores() + noise, "bf16").passed
    refused = compare_outputs(alike, alike + noise, "bf16")
    assert not refused.passed
    assert "its scores are off by 0.02 of their span, bf16 by 0.005 at most" in refused.why


def test_a_clear_answer_must_stay() -> None:
    reference = torch.tensor([0, 0.2, 0.4, 0.7, 1]).repeat(8, 1)
    reference = torch.stack([row.roll(number) for number, row in enumerate(reference)])
    outputs = reference.clone()
    outputs[0, 3] += 0.16  # two errors that are small beside the tolerance turn a lead of 0.3
    outputs[0, 4] -= 0.16
    result = compare_outputs(reference, outputs, "bf16")
    assert result.why == "other answers than eager's on 1 images where eager's is clear"
    assert result.top1_agreement == 87.5
    outputs[0, 3] -= 0.04
    assert compare_outputs(reference, outputs, "bf16").passed


@pytest.mark.parametrize("precision", SHARE)
def test_what_is_no_answer_is_refused(precision: str) -> None:
    reference = scores()
    for outputs, why in (
        (reference[:, :4], r"expected scores of shape (8, 5), found (8, 4)"),
        (reference / 0, "NaN or infinity among its scores"),
        (-reference, "its scores are off by"),
    ):
        result = compare_outputs(reference, outputs, precision)
        assert not result.passed
        assert why in result.why
        json.dumps(result.to_dict(), allow_nan=False)
    assert "eager's scores" in compare_outputs(reference / 0, reference, precision).why
    assert compare_outputs(reference, reference, precision).passed


def test_a_network_that_always_answers_the_same() -> None:
    same = torch.zeros(4, 3)
    assert compare_outputs(same, same, "fp32").passed
    assert not compare_outputs(same, same + torch.tensor([0, 1e-6, 0]), "fp32").passed


def test_one_image_and_one_output() -> None:
    assert compare_outputs(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.01, 3.0]]), "bf16").passed
    assert not compare_outputs(torch.tensor([[1.0, 3.0]]), torch.tensor([[3.0, 1.0]]), "bf16").passed


def test_an_unknown_precision_names_the_nearest() -> None:
    with pytest.raises(RequestError, match="nearest is bf16"):
        compare_outputs(scores(), scores(), "bf61")
