"""The cost of a network as a user sees it: bytes by hand, the deck's table of VGG-16, files, notebooks, the screen."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import convbench
from convbench.bench.cost import open_on_meta
from convbench.claims import check_totals
from convbench.counting import Cost, open_convention, trace
from convbench.errors import RequestError
from convbench.models import build
from convbench.report.cost_lines import ONE_SCREEN
from convbench.report.costs import print_cost

DECK = {  # slide VGG (2/4): what stands beside each layer as values ("memory") and weights
    **{"input": ("150K", 0), "conv1_1": ("3.2M", 1_728), "conv1_2": ("3.2M", 36_864), "pool1": ("800K", 0)},
    **{"conv2_1": ("1.6M", 73_728), "conv2_2": ("1.6M", 147_456), "pool2": ("400K", 0)},
    **{"conv3_1": ("800K", 294_912), "conv3_2": ("800K", 589_824), "conv3_3": ("800K", 589_824), "pool3": ("200K", 0)},
    **{"conv4_1": ("400K", 1_179_648), "conv4_2": ("400K", 2_359_296), "conv4_3": ("400K", 2_359_296)},
    **{"pool4": ("100K", 0), "conv5_1": ("100K", 2_359_296), "conv5_2": ("100K", 2_359_296)},
    **{"conv5_3": ("100K", 2_359_296), "pool5": ("25K", 0)},
    **{"fc6": ("4096", 102_760_448), "fc7": ("4096", 16_777_216), "fc8": ("1000", 4_096_000)},
}


def screen(capsys: pytest.CaptureFixture[str], cost: Cost, width: int = 100, **options: object) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        print_cost(cost, **options)  # type: ignore[arg-type]
    return capsys.readouterr().out


def as_the_deck_writes(values: int) -> str:
    for letter, scale in (("M", 1e6), ("K", 1e3)):
        if values >= 10 * scale or (values >= scale and scale == 1e6):
            return f"{float(f'{values / scale:.2g}'):g}{letter}"
    return str(values)


def test_the_decks_table_of_vgg16(capsys: pytest.CaptureFixture[str]) -> None:
    """Every row of the slide, and the true sum beside its slip of 24M values and 96 MB."""
    shown = screen(capsys, convbench.cost("vgg16"), 80, claims=check_totals("vgg16"))
    rows = {line.split()[0]: line.split() for line in shown.splitlines() if line.split() and line.split()[0] in DECK}
    assert list(rows) == list(DECK)
    for name, (memory, weights) in DECK.items():
        shape, values = rows[name][1], int(rows[name][-1].replace(",", ""))
        params = int(rows[name][3].replace(",", "")) if weights else 0
        biases = int(shape.split("x")[0]) if weights else 0
        assert (as_the_deck_writes(values), params - biases) == (memory, weights), name
    assert "15,237,608  61.0 MB" in shown
    told = " ".join(shown.split())
    assert "wrong: the deck's 96MB (memory of a forward pass, slide VGG (2/4)): 15.2M values of 4 bytes" in told
    assert "wrong: the deck's 24M (values of a forward pass, slide VGG (2/4)): 15.2M" in told


def test_the_true_sum_is_of_the_listed_values() -> None:
    cost = convbench.cost("vgg16")
    assert (cost.stored_values, 4 * cost.stored_values) == (15_237_608, 60_950_432)
    assert cost.activations - cost.stored_values > 13e6  # the ReLUs' outputs


def test_bytes_by_hand() -> None:
    """Inputs, parameters and buffers are read once, outputs written; views and identities move nothing."""
    net = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten()), nn.Linear(256, 5)
    )
    rows = trace(net, (3, 10, 10)).rows
    assert [(row.bytes_read, row.bytes_written) for row in rows] == [
        (4 * (300 + 108 + 4), 4 * 256),
        (4 * (256 + 4 * 4), 4 * 256),
        (4 * 256, 4 * 256),
        (0, 0),
        (0, 0),
        (4 * (256 + 1280 + 5), 4 * 5),
    ]
    assert rows[2].intensity == 256 / 2048 and rows[3].intensity is None
    double = trace(net.double(), (3, 10, 10))
    assert double.bytes_moved == 2 * sum(row.bytes_read + row.bytes_written for row in rows)
    in_training = trace(net, (3, 10, 10), training=True).rows[0]
    assert (in_training.bytes_read, in_training.bytes_written) == (8 * (300 + 108 + 4), 8 * 256)


def test_a_layer_of_several_operators_moves_its_input_and_output_once() -> None:
    (row,) = trace(nn.LocalResponseNorm(5), (8, 6, 6)).rows
    assert (row.bytes_read, row.bytes_written) == (4 * 288, 4 * 288)
    assert set(row.operations) == {"lrn"}


class Joined(nn.Module):
    """Branches that a network joins itself."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x), self.right(x)
        return F.relu(torch.cat([left, right], 1) + 1)


def test_operators_outside_layers_have_rows() -> None:
    rows = trace(Joined(), (3, 5, 5)).rows
    assert [(row.name, row.kind) for row in rows[2:]] == [("(net)", "cat"), ("(net)", "add"), ("(net)", "relu")]
    assert [row.operations for row in rows[2:]] == [{}, {"addition": 200}, {"activation": 200}]
    assert (rows[2].bytes_read, rows[2].bytes_written) == (800, 800)
    assert {row.receptive_field.size for row in rows[2:] if row.receptive_field} == {(3, 3)}


class Two(nn.Module):
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        return image.flatten(1) @ text.transpose(0, 1)


def test_other_inputs_than_one_image() -> None:
    with pytest.raises(RequestError, match="Two does not take 1 inputs: missing a required argument: 'text'"):
        convbench.cost(Two(), (3, 4, 4))
    assert convbench.cost(Two(), (3, 4, 4), inputs=(torch.rand(1, 3, 4, 4), torch.rand(7, 48))).macs == 48 * 7


def test_attention_is_counted_as_written_out() -> None:
    """torch's own module, with parameters that it hands to a function, and the fused operator."""
    net = torchvision.models.vit_b_16(weights=None)
    counted = trace(net, (3, 224, 224))
    scores = 12 * 197 * 197 * 64
    width = 768
    block = 197 * (4 * width * width + 2 * width * 4 * width) + 2 * scores
    assert counted.macs == 12 * block + 196 * width * width + width * 1000
    assert counted.unknown == () and counted.params == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    "name", ["convnext_atto", "efficientnet_lite0", "regnety_002", "repvgg_a0", "nfnet_f0", "hrnet_w18"]
)
def test_timms_networks_have_no_unknown_operator(name: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name)
    assert trace(net, (3, 96, 96)).unknown == ()


def test_what_is_unknown_is_told_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    class Sorts(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sort(dim=-1).values.sort(dim=-2).values

    cost = trace(nn.Sequential(nn.Conv2d(3, 4, 3), Sorts()), (3, 8, 8))
    assert str(cost.unknown[0]) == "aten.sort.default (2 calls in 1)"
    assert "no rule known: aten.sort.default (2 calls in 1); the totals are lower bounds" in screen(capsys, cost)


def test_a_callable_of_any_module() -> None:
    counted = convbench.cost("torchvision.models:resnet18")
    assert (counted.network, counted.params, counted.macs) == ("torchvision.models:resnet18", 11_689_512, 1_814_073_344)
    assert convbench.cost("torchvision.models:regnet_x_400mf", (3, 64, 64)).params == 5_495_976  # not made on meta
    with pytest.raises(RequestError, match=r"unknown callable of torchvision\.models 'resnet19'"):
        convbench.cost("torchvision.models:resnet19")


def test_a_network_by_name_is_made_without_memory() -> None:
    assert {parameter.device.type for parameter in open_on_meta("vgg16").net.parameters()} == {"meta"}


def test_the_csv_has_every_row_and_names_its_convention(tmp_path: Path) -> None:
    cost = convbench.cost("lenet5_relu", convention=open_convention("all"))
    cost.to_csv(tmp_path / "cost.csv")
    with (tmp_path / "cost.csv").open() as file:
        records = list(csv.DictReader(file))
    assert [record["name"] for record in records] == [row.name for row in cost.rows]
    assert sum(int(record[cost.convention.name]) for record in records) == cost.total()
    assert sum(float(record["share_percent"]) for record in records) == pytest.approx(100)
    assert records[0]["receptive_field_size_rows"] == "5"


def test_pandas_and_notebooks() -> None:
    cost = convbench.cost("lenet5_relu")
    frame = cost.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert (frame.params.sum(), frame.macs.sum(), len(frame)) == (cost.params, cost.macs, len(cost.rows))
    page = cost._repr_html_()
    assert page.count("<tr>") == len(cost.rows) + 2 and f"{cost.macs:,}" in page
    assert "multiply-adds of convolutions and matrix products, forward pass" in page


def test_json_holds_everything() -> None:
    cost = convbench.cost("resnet20", convention="training-step")
    told = json.loads(json.dumps(cost.to_dict()))
    assert (told["params"], told["macs"], told["flops"]) == (269_722, 40_551_040, 81_102_080)
    assert told["counted"] == cost.total() > 3 * told["flops"]
    assert told["convention"].endswith("training step with sgd-momentum")
    (layer,) = [one for one in told["layers"] if one["name"].endswith("fc")]
    assert layer["operations"] == {"matmul": 1280, "bias": 10} and layer["receptive_field"]["stride"] == [0, 0]


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "resnet1202", "inception_v3", "mobilenet_v1"])
@pytest.mark.parametrize("width", [80, 100])
def test_a_screen_holds_the_whole_network(name: str, width: int, capsys: pytest.CaptureFixture[str]) -> None:
    with torch.device("meta"):
        net = build(name)
    side = 32 if name == "resnet1202" else 299 if name == "inception_v3" else 224
    cost = trace(net, (3, side, side), name)
    shown = screen(capsys, cost, width).splitlines()
    assert max(len(line.rstrip()) for line in shown) <= width
    table = shown[shown.index("") + 2 : shown.index("", 4)]
    assert len(table) <= ONE_SCREEN + 1 if width == 100 else len(table) <= 2 * ONE_SCREEN
    every = screen(capsys, cost, width, every_row=True).splitlines()
    assert len(every) > len(cost.rows)
