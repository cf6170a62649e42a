"""What other counters say when they are run, against what their rules as told here make of the same calls."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convbench.bench.cost import open_on_meta
from convbench.counting.referees import REFEREES, Comparison, compare
from convbench.counting.referees.calls import Call, Counts
from convbench.errors import RequestError
from convbench.report.referees import print_referees

OURS = ("vgg16", "googlenet", "inception_v3", "resnet50", "resnext50_32x4d", "mobilenet_v1")
OTHERS = (
    *(f"torchvision.models:{name}" for name in ("vgg16", "googlenet", "inception_v3", "resnet50", "resnext50_32x4d")),
    "timm.models:mobilenetv1_100",
)


def compare_spec(spec: str) -> Comparison:
    network = open_on_meta(spec, image_size=299 if "inception_v3" in spec else None)
    return compare(network.net, network.input_shape, network.name)


def totals(comparison: Comparison) -> dict[str, int | None]:
    return {one.referee: one.total for one in comparison.opinions}


def amounts(comparison: Comparison, referee: str) -> dict[tuple[str, int, str], int]:
    (opinion,) = (one for one in comparison.opinions if one.referee == referee)
    return {(one.operator, one.calls, one.what): one.amount for one in opinion.differences}


def assert_all_explained(comparison: Comparison) -> None:
    for one in comparison.opinions:
        assert (one.unexplained, one.failed) == (0, ""), one.referee
        assert one.total == one.ours + sum(difference.amount for difference in one.differences)


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
@pytest.mark.parametrize("spec", [*OURS, *OTHERS])
def test_every_difference_is_explained_to_the_last_operation(spec: str) -> None:
    """The referees are really run; their rules do not know what they say."""
    comparison = compare_spec(spec)
    assert list(totals(comparison)) == list(REFEREES)
    assert_all_explained(comparison)


def test_resnet50_of_torchvision_has_four_counts() -> None:
    """4.089, 4.112, 4.132 and 4.134 G, the parts worked out by hand from the shapes of its maps."""
    comparison = compare_spec("torchvision.models:resnet50")
    assert totals(comparison) == {
        "torchinfo": 4_089_238_376,
        "fvcore": 4_111_512_576,
        "ptflops": 4_132_436_968,
        "thop": 4_133_742_592,
        "FlopCounterMode": 2 * 4_089_184_256,
    }
    normalised = 64 * 112**2  # values after the stem's convolution, then after those of each stage
    for width, side, blocks, before in ((64, 56, 3, 56), (128, 28, 4, 56), (256, 14, 6, 28), (512, 7, 3, 14)):
        normalised += width * (before**2 + (blocks - 1) * side**2)  # the 1x1 at a block's start
        normalised += (blocks * (1 + 4) + 4) * width * side**2  # its 3x3 and last 1x1, and the stage's shortcut
    assert amounts(comparison, "torchinfo") == {
        ("BatchNorm2d", 53, "weights, once an image"): 26_560,
        ("BatchNorm2d", 53, "biases, once an image"): 26_560,
        ("Linear", 1, "biases, once an image"): 1000,
    }
    assert amounts(comparison, "fvcore") == {
        ("F.batch_norm", 53, "2 a value"): 2 * normalised,
        ("F.adaptive_avg_pool2d", 1, "1 for each value that is read"): 2048 * 7 * 7,
    }
    assert amounts(comparison, "thop") == {
        ("BatchNorm2d", 53, "4 a value"): 4 * normalised,
        ("AdaptiveAvgPool2d", 1, "a window's values and 1 more, for each value"): 2048 * (7 * 7 + 1),
    }
    assert amounts(comparison, "ptflops")["BatchNorm2d", 53, "2 a value"] == 2 * normalised
    assert amounts(comparison, "FlopCounterMode") == {}


class OwnConv(nn.Conv2d):
    """A subclass, which counters of torch's exact classes overlook."""


class ByHand(nn.Module):
    """Beside it a matrix product and a full layer as plain functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = OwnConv(3, 4, 3, bias=False)
        self.weight = nn.Parameter(torch.zeros(5, 4))

    def forward(self, images: Tensor) -> Tensor:
        maps = F.relu(self.conv(images)).flatten(2)  # 4 x 36
        gram = torch.matmul(maps, maps.transpose(1, 2))  # 4 x 4
        return torch.add(F.linear(gram, self.weight), 1)


def test_an_operator_that_a_referee_does_not_see_is_named() -> None:
    comparison = compare(ByHand(), (3, 8, 8))
    conv, gram, full = 4 * 36 * 27, 4 * 4 * 36, 4 * 5 * 4
    assert comparison.macs == conv + gram + full
    assert totals(comparison) == {
        "torchinfo": conv,
        "fvcore": conv + gram + full,
        "ptflops": 4 * 36 + gram + 4 * 5,
        "thop": 0,
        "FlopCounterMode": 2 * (conv + gram + full),
    }
    own = {("OwnConv", 1, "multiply-adds left out"): -conv}
    products = {("bmm, mm", 1, "multiply-adds left out"): -gram - full}
    assert amounts(comparison, "thop") == own | products
    assert amounts(comparison, "torchinfo") == products
    assert_all_explained(comparison)


class OneOfEach(nn.Module):
    """Every layer and function that some referee has a rule for, of one size or another."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding="same"),
            *(nn.SiLU(), nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), nn.GroupNorm(2, 6)),
            *(nn.InstanceNorm2d(6, affine=True), nn.BatchNorm2d(6, affine=False), nn.PReLU(), nn.LeakyReLU()),
            *(nn.LocalResponseNorm(5), nn.AvgPool2d(2), nn.ELU(), nn.ReLU6(), nn.AdaptiveAvgPool2d(6)),
            *(nn.Upsample(scale_factor=2, mode="bilinear"), nn.AdaptiveMaxPool2d(3), nn.Flatten(2)),
        )
        self.rows = nn.Sequential(nn.LayerNorm(9), nn.GELU(), nn.Linear(9, 5), nn.Softmax(-1), nn.Conv1d(6, 5, 1))
        self.unused = nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        larger = F.interpolate(images, scale_factor=2, mode="bilinear")
        rows = self.rows(self.maps(F.interpolate(larger, size=(8, 8))))
        square = torch.bmm(rows, rows @ rows)
        return torch.addmm(square[:, 0] + rows[:, 0], square[:, 0], rows[0]) * 2


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_rule_is_what_the_referee_does() -> None:
    comparison = compare(OneOfEach(), (3, 8, 8))
    assert_all_explained(comparison)
    left_out = amounts(comparison, "fvcore")
    assert left_out["Conv2d", 1, "multiply-adds left out"] == -(3 * 3 * 3 * 4 * 64)  # its padding has a name


class ByName(nn.Module):
    """Functions whose operands are given by name, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        maps = F.conv2d(bias=None, weight=self.weight, input=images)
        maps = F.local_response_norm(maps, size=3).flatten(2)
        square = torch.bmm(maps, mat2=maps.transpose(1, 2))[0]
        return torch.addmm(square, mat2=square, mat1=square)[None]


def test_operands_may_be_given_by_name() -> None:
    comparison = compare(ByName(), (3, 8, 8), referees=["torchinfo", "fvcore", "thop", "FlopCounterMode"])
    assert comparison.macs == 4 * 3 * 64 + 4 * 64 * 4 + 4 * 4 * 4
    assert_all_explained(comparison)


def test_a_wrong_rule_is_shown_as_unexplained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    thop = REFEREES["thop"]

    def half_of_batch_normalisation(call: Call) -> Counts:
        times = 2 if isinstance(call.module, nn.BatchNorm2d) else 1
        return {what: amount // times for what, amount in thop.count(call).items()}

    monkeypatch.setitem(REFEREES, "thop", dataclasses.replace(thop, count=half_of_batch_normalisation))
    comparison = compare(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), (3, 8, 8), referees=["thop"])
    assert comparison.opinions[0].unexplained == 2 * 4 * 64
    print_referees(comparison)
    shown = capsys.readouterr().out
    assert "+512  unexplained" in shown
    assert "Not explained to the last operation: thop" in shown


def test_a_referee_that_fails_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> int:
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setitem(REFEREES, "thop", dataclasses.replace(REFEREES["thop"], run=fail))
    comparison = compare(nn.Conv2d(3, 4, 1), (3, 8, 8), referees=["thop"])
    (opinion,) = comparison.opinions
    assert (opinion.total, opinion.unexplained, opinion.differences) == (None, None, ())
    assert opinion.failed == "RuntimeError: no such operator"
    print_referees(comparison)
    assert "No answer from thop" in capsys.readouterr().out


def test_ptflops_gives_the_reason_that_it_prints() -> None:
    class NoMaps(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            if images.device.type == "cpu":
                raise ValueError("not on this device")
            return images

    (opinion,) = compare(NoMaps(), (3, 8, 8), referees=["ptflops"]).opinions
    assert opinion.total is None
    assert opinion.failed == "ValueError: not on this device"


def test_a_referee_that_is_missing_or_unknown_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="unknown referee 'thob': nearest is thop"):
        compare(nn.Conv2d(3, 4, 1), (3, 8, 8), referees=["thob"])
    monkeypatch.setitem(REFEREES, "thop", dataclasses.replace(REFEREES["thop"], package="no_such_counter"))
    with pytest.raises(RequestError, match=r"expected no_such_counter .* pip install 'convbench\[referees\]'"):
        compare(nn.Conv2d(3, 4, 1), (3, 8, 8))


def test_the_module_and_torch_are_left_untouched(capfd: pytest.CaptureFixture[str]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1)).train()
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    attributes = {module: set(vars(module)) for module in net.modules()}
    patched = (F.relu, F.adaptive_avg_pool2d, torch.add, torch.matmul)
    compare(net, (3, 8, 8))
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")
    assert all(module.training for module in net.modules())
    assert {module: set(vars(module)) for module in net.modules()} == attributes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert net.state_dict().keys() == kept.keys()
    assert all(torch.equal(value, kept[name]) for name, value in net.state_dict().items())
    assert (F.relu, F.adaptive_avg_pool2d, torch.add, torch.matmul) == patched


def test_published_figures_stand_beside(capsys: pytest.CaptureFixture[str]) -> None:
    comparison = compare(nn.Conv2d(3, 4, 1), (3, 8, 8), "net", {"table 1 [macs]": "3.8G"}, referees=["torchinfo"])
    print_referees(comparison)
    shown = capsys.readouterr().out
    assert "768  multiply-adds counted here" in shown
    assert "+256  Conv2d: biases" in shown
    assert "3.8G  in print: table 1 [macs]" in shown
    assert comparison.to_dict()["opinions"][0]["unexplained"] == 0
