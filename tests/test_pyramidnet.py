"""PyramidNets against their authors' widths and blocks worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convbench import features
from convbench.models import build
from convbench.models.pyramidnet import Basic, Bottleneck, ResidualBlock, widths
from convbench.models.registry import FAMILIES
from convbench.weights.folding import foldable
from convbench.weights.foreign.pyramidnet import author_layers, author_name
from parity import randomise
from test_resnet import on_meta


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("alpha", "first", "last"),
    [  # of the authors' code
        (48, (17, 18, 19, 20, 20), (62, 63, 64)),
        (84, (18, 19, 21, 22, 24), (97, 98, 100)),
        (270, (21, 26, 31, 36, 41), (276, 281, 286)),
    ],
)
def test_widths_grow_at_every_block(alpha: int, first: tuple[int, ...], last: tuple[int, ...]) -> None:
    found = widths(alpha, 54)
    assert len(found) == 54
    assert found[:5] == first and found[-3:] == last


def test_widths_round_halves_up() -> None:
    assert widths(3, 2) == (18, 19)  # 17.5 and 19: a banker's rounding agrees ...
    assert widths(1, 2) == (17, 17)  # ... but would make 16 of 16.5


@pytest.mark.parametrize("name", FAMILIES["pyramidnet"])
def test_depth_and_widths_are_those_of_the_name(name: str) -> None:
    net = on_meta(name)
    depth, alpha = (int(number) for number in name.removeprefix("pyramidnet").split("_a"))
    weighted = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(weighted) == depth
    threes = [m.out_channels for m in weighted if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert threes[0] == 16 and threes[-1] == 16 + alpha
    per_block = 2 if depth == 110 else 1
    assert threes[1:] == [width for width in widths(alpha, 54) for _ in range(per_block)]


@pytest.mark.parametrize(("side", "sides"), [(32, (32, 32, 16, 8)), (33, (33, 33, 17, 9)), (1, (1, 1, 1, 1))])
@pytest.mark.parametrize(
    ("name", "maps"),
    [("pyramidnet110_a48", (16, 32, 48, 64)), ("pyramidnet164_a270", (16, 4 * 106, 4 * 196, 4 * 286))],
)
def test_stages(name: str, maps: tuple[int, ...], side: int, sides: tuple[int, ...]) -> None:
    net, images = on_meta(name, image_size=side), torch.empty(2, 3, side, side, device="meta")
    found = [tuple(features(net, images, stage).shape[1:]) for stage in net.stages]
    assert found == [(width, size, size) for width, size in zip(maps, sides, strict=True)]


def normalised(x: Tensor, bn: nn.BatchNorm2d) -> Tensor:
    return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias)


def test_a_basic_block_worked_by_hand() -> None:
    block = randomise(ResidualBlock(Basic(4, 7, 2), extra=3, stride=2)).eval()
    f, x = block.residual, torch.randn(2, 4, 6, 6)
    y = F.conv2d(normalised(x, f.bn), f.conv1.conv.weight, stride=2, padding=1)  # no ReLU before
    y = F.conv2d(normalised(y, f.conv1.bn).clamp(min=0), f.conv2.conv.weight, padding=1)
    y = normalised(y, f.conv2.bn)
    y[:, :4] += (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4
    assert y.shape == (2, 7, 3, 3) and bool((y < 0).any())  # no ReLU after
    torch.testing.assert_close(block(x), y)


def test_a_bottleneck_worked_by_hand() -> None:
    block = randomise(ResidualBlock(Bottleneck(6, 2, 2), extra=2, stride=2)).eval()
    f, x = block.residual, torch.randn(2, 6, 4, 4)
    y = F.conv2d(normalised(x, f.bn), f.conv1.conv.weight)
    y = F.conv2d(normalised(y, f.conv1.bn).clamp(min=0), f.conv2.conv.weight, stride=2, padding=1)
    y = F.conv2d(normalised(y, f.conv2.bn).clamp(min=0), f.conv3.conv.weight)
    y = normalised(y, f.conv3.bn)
    y[:, :6] += F.avg_pool2d(x, 2)
    torch.testing.assert_close(block(x), y)


def test_a_window_cut_off_averages_what_it_has() -> None:
    block = ResidualBlock(nn.Conv2d(1, 1, 3, 2, 1), extra=0, stride=2)
    nn.init.zeros_(block.residual.weight)
    nn.init.zeros_(block.residual.bias)
    x = torch.tensor([[1.0, 3, 5], [5, 7, 9], [2, 4, 8]]).view(1, 1, 3, 3)
    assert block(x).flatten().tolist() == [4, 7, 3, 8]


def test_stem_and_head_worked_by_hand() -> None:
    net = randomise(build("pyramidnet110_a48", image_size=8)).eval()
    images = torch.randn(2, 3, 8, 8)
    stem = normalised(F.conv2d(images, net.conv1.conv.weight, padding=1), net.conv1.bn)
    torch.testing.assert_close(net.conv1(images), stem)
    maps = net.conv4(net.conv3(net.conv2(stem)))
    pooled = normalised(maps, net.bn).clamp(min=0).mean((2, 3))
    torch.testing.assert_close(net(images), pooled @ net.fc.weight.T + net.fc.bias)


def test_weights_start_as_in_the_authors_code() -> None:
    net = build("pyramidnet164_a270")
    for conv in (net.conv2[17].residual.conv1.conv, net.conv3[9].residual.conv2.conv, net.conv4[3].residual.conv3.conv):
        fan_out = conv.out_channels * conv.kernel_size[0] ** 2
        assert conv.weight.detach().std() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)
    bound = 1144**-0.5
    assert 0.95 * bound < float(net.fc.weight.detach().abs().max()) <= bound
    assert not net.fc.bias.any()


def test_every_convolution_can_take_in_the_normalisation_after_it() -> None:
    net = on_meta("pyramidnet164_a270")
    assert set(foldable(net)) == {path for path, module in net.named_modules() if isinstance(module, nn.Conv2d)}


def test_names_in_the_authors_code() -> None:
    cases = {
        "conv1.conv": "conv1",
        "conv1.bn": "bn1",
        "conv2.0.residual.bn": "layer1.0.bn1",
        "conv2.0.residual.conv1.conv": "layer1.0.conv1",
        "conv4.17.residual.conv1.bn": "layer3.17.bn2",
        "conv3.5.residual.conv3.conv": "layer2.5.conv3",
        "conv3.5.residual.conv3.bn": "layer2.5.bn4",
        "bn": "bn_final",
        "fc": "fc",
    }
    assert {ours: author_name(ours) for ours in cases} == cases
    names = author_layers(on_meta("pyramidnet164_a270"))
    assert len(set(names.values())) == len(names) == 163 + (1 + 54 * 4 + 1) + 1
