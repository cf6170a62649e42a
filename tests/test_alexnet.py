"""AlexNet against its paper's figure 2, arithmetic, and torchvision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from convbench import features
from convbench.counting import trace
from convbench.errors import RequestError
from convbench.models import build
from convbench.models.registry import FAMILIES
from convbench.weights import load_file, load_weights
from convbench.weights.files import WeightFile
from convbench.weights.foreign.alexnet import torchvision as torchvision_layers

FIGURE_2 = {  # output, weights and biases, multiply-adds
    "conv1": ((96, 55, 55), 11 * 11 * 3 * 96 + 96, 55 * 55 * 11 * 11 * 3 * 96),
    "conv2": ((256, 27, 27), 5 * 5 * 48 * 256 + 256, 27 * 27 * 5 * 5 * 48 * 256),
    "conv3": ((384, 13, 13), 3 * 3 * 256 * 384 + 384, 13 * 13 * 3 * 3 * 256 * 384),
    "conv4": ((384, 13, 13), 3 * 3 * 192 * 384 + 384, 13 * 13 * 3 * 3 * 192 * 384),
    "conv5": ((256, 13, 13), 3 * 3 * 192 * 256 + 256, 13 * 13 * 3 * 3 * 192 * 256),
    "fc6": ((4096,), 6 * 6 * 256 * 4096 + 4096, 6 * 6 * 256 * 4096),
    "fc7": ((4096,), 4096 * 4096 + 4096, 4096 * 4096),
    "fc8": ((1000,), 4096 * 1000 + 1000, 4096 * 1000),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def on_meta(name: str, **arguments: int) -> nn.Sequential:
    with torch.device("meta"):
        return build(name, **arguments)


def test_layers_are_those_of_figure_2() -> None:
    rows = {row.name: row for row in trace(on_meta("alexnet"), (3, 227, 227)).rows}
    assert {name: (rows[name].output_shape, rows[name].params, rows[name].macs) for name in FIGURE_2} == FIGURE_2
    pools = [rows[name].output_shape for name in ("pool1", "pool2", "pool5")]
    assert pools == [(96, 27, 27), (256, 13, 13), (256, 6, 6)]


def test_the_units_are_the_650_000_of_the_text_not_the_sum_of_the_caption() -> None:
    rows = {row.name: row for row in trace(on_meta("alexnet"), (3, 227, 227)).rows}
    units = [rows[name].activations for name in FIGURE_2]
    assert units == [290_400, 186_624, 64_896, 64_896, 43_264, 4_096, 4_096, 1_000]
    assert sum(units) == 659_272


def test_normalisation_precedes_pooling() -> None:
    layers = [name for name, _ in on_meta("alexnet_dense").named_children()]
    assert layers[:8] == ["conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2"]


def test_normalisation_divides_by_the_mean_over_five_maps() -> None:
    maps = torch.arange(0.0, 800.0, 100).view(1, 8, 1, 1)
    out = build("alexnet", num_classes=2, image_size=67).norm1(maps).flatten().tolist()
    squares = {1: 0 + 1 + 4 + 9, 3: 1 + 4 + 9 + 16 + 25, 7: 25 + 36 + 49}  # fewer neighbours at the ends, still over 5
    for n, total in squares.items():
        assert out[n] == pytest.approx(100 * n / (2 + 1e-4 * total * 100**2 / 5) ** 0.75, rel=1e-5)


def test_one_tower_has_other_widths_and_reads_224_pixels() -> None:
    rows = {row.name: row.output_shape for row in trace(on_meta("alexnet_owt"), (3, 224, 224)).rows}
    assert [rows[f"conv{n}"] for n in range(1, 6)] == [
        *((64, 55, 55), (192, 27, 27), (384, 13, 13), (256, 13, 13), (256, 13, 13)),
    ]
    assert rows["pool5"] == (256, 6, 6)
    assert not any(name.startswith("norm") for name in rows)


@pytest.mark.parametrize(
    ("name", "gone", "params_removed"),
    [
        ("alexnet_no_fc7", "fc7 relu7 drop7", 16_781_312),
        ("alexnet_no_fc6_fc7", "fc6 relu6 drop6 fc7 relu7 drop7", 49_414_144),
        ("alexnet_no_conv3_conv4", "conv3 relu3 conv4 relu4", 1_696_512),
        ("alexnet_no_conv3_conv4_fc6_fc7", "conv3 relu3 conv4 relu4 fc6 relu6 drop6 fc7 relu7 drop7", 51_110_656),
    ],
)
def test_ablations_remove_what_their_names_say(name: str, gone: str, params_removed: int) -> None:
    full, ablated = on_meta("alexnet"), on_meta(name)
    layers = [layer for layer, _ in full.named_children() if layer not in gone.split()]
    assert [layer for layer, _ in ablated.named_children()] == layers
    assert sum(p.numel() for p in full.parameters()) - sum(p.numel() for p in ablated.parameters()) == params_removed
    assert ablated.conv5.groups == 2
    assert ablated.conv5.in_channels == (384 if "conv4" in layers else 256)
    assert ablated.fc8.in_features == (4096 if "fc6" in layers else 256 * 6 * 6)


@pytest.mark.parametrize("name", FAMILIES["alexnet"])
def test_starts_as_section_5_says(name: str) -> None:
    net = build(name, image_size=67, num_classes=100)
    for layer, module in net.named_children():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.03)
            assert abs(module.weight.mean().item()) < 3e-4
            assert set(module.bias.tolist()) == {0.0 if layer in ("conv1", "conv3", "fc8") else 1.0}


@pytest.mark.parametrize(("name", "smallest"), [("alexnet", 67), ("alexnet_owt", 63), ("alexnet_no_fc6_fc7", 67)])
def test_the_smallest_image_leaves_one_window_of_pool5(name: str, smallest: int) -> None:
    with pytest.raises(RequestError, match=rf"found {smallest - 1}x{smallest - 1}: {smallest} works"):
        build(name, image_size=smallest - 1)
    net = on_meta(name, image_size=smallest)
    assert features(net, torch.empty(2, 3, smallest, smallest, device="meta"), "pool5").shape == (2, 256, 1, 1)
    with pytest.raises(RuntimeError, match="too small"):
        features(net, torch.empty(2, 3, smallest - 1, smallest - 1, device="meta"), "pool5")


class TestAgainstTorchvision:
    def test_scores_at_the_published_size(self, tmp_path: Path) -> None:
        theirs = randomised(torchvision.models.alexnet(num_classes=10)).eval()
        ours = build("alexnet_owt", num_classes=10).eval()
        path = tmp_path / "theirs.pth"
        torch.save(theirs.state_dict(), path)
        assert load_weights(ours, path)["library"] == "torchvision"
        path.unlink()  # pytest keeps what its tests leave
        images = torch.randn(2, 3, 224, 224)
        with torch.no_grad():
            assert relative_error(ours(images), theirs(images)) < 1e-4

    def test_a_step_of_training(self) -> None:
        theirs = torchvision.models.alexnet(num_classes=10, dropout=0.0)
        theirs.avgpool, theirs.classifier[1] = nn.Identity(), nn.Linear(256 * 2 * 2, 4096)  # follow smaller images
        randomised(theirs)
        ours = build("alexnet_owt", num_classes=10, image_size=95)
        ours.drop6.p = ours.drop7.p = 0.0
        pairs = {path: theirs.get_submodule(their_path) for path, their_path in torchvision_layers(ours).items()}
        load_file(ours, WeightFile(Path("theirs.pth"), theirs.state_dict(), {}))
        images, labels = torch.randn(4, 3, 95, 95).double(), torch.tensor([0, 3, 3, 9])
        for net in (ours.double(), theirs.double()):  # in float32 rounding flips a ReLU now and then
            optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
            F.cross_entropy(net(images), labels).backward()
            optimiser.step()
        for path, layer in pairs.items():
            assert relative_error(ours.get_submodule(path).weight, layer.weight) < 1e-6
            assert relative_error(ours.get_submodule(path).bias, layer.bias) < 1e-6


def randomised(net: nn.Module) -> nn.Module:
    """Weights that keep the activations of order 1 through any depth."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return net


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()
