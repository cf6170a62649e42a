"""What a unit sees: against the pixels to which its gradient reaches, and against published tables."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import densenet, inception, mobilenetv2, resnet, shufflenetv2, vgg

from convbench.counting import ReceptiveField, Row, trace
from convbench.models import build, published_input


def made_positive(net: nn.Module) -> nn.Module:
    """The same geometry without anything that could stop a gradient: positive weights, means in place of maxima."""
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(parent, name, pool)
            elif isinstance(child, nn.BatchNorm2d | nn.ReLU | nn.ReLU6 | nn.Dropout):
                setattr(parent, name, nn.Identity())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(1 / parameter[0].numel() if parameter.dim() > 1 else 0)
    return net.double().eval()


def reach(net: nn.Module, shape: tuple[int, int, int], unit: tuple[int, int]) -> list[tuple[int, int]]:
    """(first, last) row and column of the pixels that move this unit of the last map."""
    images = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    net(images)[0, :, unit[0], unit[1]].sum().backward()
    assert images.grad is not None
    touched = images.grad[0].abs().sum(0) > 0
    spans = [touched.any(1 - side).nonzero().flatten() for side in (0, 1)]
    return [(int(span[0]), int(span[-1])) for span in spans]


def expected(field: ReceptiveField, shape: tuple[int, int, int], unit: tuple[int, int]) -> list[tuple[int, int]]:
    """The same by the field, cut at the image's border."""
    spans = []
    for size, stride, offset, place, side in zip(field.size, field.stride, field.offset, unit, shape[1:], strict=True):
        first = offset + place * stride
        spans.append((max(first, 0), min(first + size, side) - 1))
    return spans


class Branches(nn.Module):
    """Of Inception v3: a stem, branches of 1x1 to 7x7, factorised, pooled and concatenated, and a reduction."""

    def __init__(self) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.MaxPool2d(3, 2))
        blocks = (inception.InceptionA(4, 4), inception.InceptionB(228), inception.InceptionC(708, 4))
        self.layers = nn.Sequential(stem, *blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Functional(nn.Module):
    """The shortcut of the CIFAR-10 ResNets, padding of its own, channels last, and a dilated convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, (3, 5), stride=2), nn.Conv2d(4, 4, 3, dilation=2, padding=2)
        self.norm, self.mix = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(F.pad(x, (1, 2, 0, 1)))
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))[:, 2:6]
        x = F.avg_pool2d(self.second(x), 1, 2) + shortcut
        return self.mix(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()


def narrow_vgg() -> nn.Module:
    return vgg.make_layers([4, 4, "M", 4, 4, "M", 4, 4, 4, "M", 4, 4, 4, "M", 4, 4, 4, "M"])


def bottlenecks() -> nn.Module:
    net = resnet.ResNet(resnet.Bottleneck, [2, 2, 1, 1], width_per_group=2)
    return nn.Sequential(net.conv1, net.maxpool, net.layer1, net.layer2, net.layer3)


def shuffled() -> nn.Module:
    net = shufflenetv2.ShuffleNetV2([2, 2, 2], [4, 8, 16, 32, 32])
    return nn.Sequential(net.conv1, net.maxpool, net.stage2, net.stage3)


NETS = {  # with rows and columns at which no stride leaves pixels over, which a field beyond the border would count
    "vgg16": (narrow_vgg, 64, 96),
    "resnet": (bottlenecks, 96, 128),
    "densenet": (lambda: densenet.DenseNet(2, (2, 3, 2), num_init_features=4).features, 96, 64),
    "mobilenet_v2": (lambda: mobilenetv2.MobileNetV2(width_mult=0.1).features, 64, 96),
    "shufflenet_v2": (shuffled, 64, 96),
    "inception": (Branches, 95, 103),
    "resnet20": (lambda: nn.Sequential(*list(build("resnet20").children())[:-2]), 32, 36),
    "functional": (Functional, 34, 36),
}


def last_maps(net: nn.Module, shape: tuple[int, int, int]) -> Row:
    rows = trace(net, shape).rows
    return [row for row in rows if len(row.output_shape) == 3 and row.output_shape[1:] > (1, 1)][-1]


@pytest.mark.parametrize("name", NETS)
def test_a_gradient_reaches_these_pixels_and_no_others(name: str) -> None:
    make, height, width = NETS[name]
    torch.manual_seed(0)
    net, shape = made_positive(make()), (3, height, width)
    row = last_maps(net, shape)
    assert row.receptive_field is not None
    rows, columns = row.output_shape[1:]
    for unit in ((0, 0), (rows // 2, columns // 2), (rows - 1, columns - 1)):
        assert reach(net, shape, unit) == expected(row.receptive_field, shape, unit), unit


@pytest.mark.parametrize(
    ("name", "size", "stride"),
    [  # Araujo, Norris and Sim, "Computing receptive fields", Distill 2019, the table of networks
        ("alexnet", 195, 32),
        ("vgg16", 212, 32),
        ("resnet50", 483, 32),
        ("resnet101", 1027, 32),
        ("resnet152", 1507, 32),
        ("inception_v2_slim", 699, 32),
        ("inception_v3", 1311, 32),
        ("inception_v4", 2071, 32),
        ("inception_resnet_v2", 3039, 32),
        ("mobilenet_v1", 315, 32),
    ],
)
def test_fields_are_the_published_ones(name: str, size: int, stride: int) -> None:
    with torch.device("meta"):
        net = build(name)
    field = last_maps(net, published_input(name)).receptive_field
    assert field is not None and (field.size, field.stride) == ((size, size), (stride, stride))


def field_of(net: nn.Module, shape: tuple[int, ...] = (3, 32, 32)) -> ReceptiveField | None:
    return trace(net, shape).rows[-1].receptive_field


def test_fields_by_hand() -> None:
    two = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, (1, 5), stride=(2, 1)))
    assert field_of(two) == ReceptiveField((3, 7), (2, 1), (-1, -1))
    dilated = nn.Conv2d(3, 4, 3, dilation=4, padding=4)
    assert field_of(dilated) == ReceptiveField((9, 9), (1, 1), (-4, -4))
    assert field_of(nn.AdaptiveAvgPool2d(8)) == ReceptiveField((4, 4), (4, 4), (0, 0))
    assert field_of(nn.Sequential(nn.Flatten(), nn.Linear(3072, 2))) == ReceptiveField((32, 32), (0, 0), (0, 0))
    assert field_of(nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.GroupNorm(2, 4))) == ReceptiveField(
        (32, 32), (0, 0), (0, 0)
    )


class Gated(nn.Module):
    """Squeeze and excitation: each unit sees the whole map through its gate."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean(dim=(2, 3), keepdim=True)


def test_a_gate_shows_the_whole_image() -> None:
    assert field_of(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Gated())) == ReceptiveField((34, 34), (0, 0), (-1, -1))


def test_what_is_not_followed_is_not_known() -> None:
    assert field_of(nn.ConvTranspose2d(3, 4, 2, stride=2)) is None
    assert field_of(nn.PixelShuffle(2), (4, 8, 8)) is None
    assert field_of(nn.Linear(8, 2), (8,)) is None
