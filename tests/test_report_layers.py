"""What a network costs layer by layer: split so that it adds up, recorded, drawn in proportion."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from convbench.bench.cost import cost
from convbench.counting.split import MOST, split_by_layer
from convbench.errors import ConvbenchError
from convbench.models import names
from convbench.report.html import write_report
from convbench.report.layers import WIDTH, layer_rows, strips
from convbench.report.records import read_suites
from test_report import Tags, record, save

DOCS = Path(__file__).parents[1] / "docs"
LAYERS = [
    {"name": "conv", "output_shape": [8, 4, 4], "layers": 1, "params": 100, "macs": 3000, "values": 96},
    {"name": "fc", "output_shape": [2], "layers": 1, "params": 900, "macs": 1000, "values": 32},
]


@pytest.mark.parametrize("name", ["lenet5", "vgg16", "resnet50", "resnet152", "googlenet", "inception_v4", "xception"])
def test_the_layers_add_up(name: str) -> None:
    assert name in names()
    counted = cost(name)
    split = split_by_layer(counted)
    assert 1 < len(split) <= MOST
    assert sum(one.params for one in split) == counted.params
    assert sum(one.macs for one in split) == counted.macs
    assert sum(one.values for one in split) + math.prod(counted.input_shape) == counted.stored_values
    assert sum(one.layers for one in split) == sum(row.macs > 0 for row in counted.rows)
    assert len({one.name for one in split}) == len(split), "each name once"


def test_few_layers_stand_for_themselves_and_many_for_their_modules() -> None:
    vgg = [one.name for one in split_by_layer(cost("vgg16"))]
    assert vgg[:2] == ["conv1_1", "conv1_2"] and vgg[-3:] == ["fc6", "fc7", "fc8"]
    deep = split_by_layer(cost("resnet152"))
    assert [one.name for one in deep] == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc"]
    assert [one.layers for one in deep] == [1, 10, 25, 109, 10, 1]  # blocks of three, and a projection in each stage
    assert [one.output_shape for one in deep[:2]] == [(64, 56, 56), (256, 56, 56)]  # conv1's with its pooling
    assert len(split_by_layer(cost("vgg16"), most=4)) == 16, "names of one part cannot be joined"


def test_kept_records_have_what_is_counted() -> None:
    (suite,) = read_suites(DOCS, ["imagenet-costs"])
    for run in suite.profiled:
        assert run.cost is not None and run.cost.layers, run.name
        assert sum(one.params for one in run.cost.layers) == run.cost.params
    vgg = next(one for one in suite.profiled if one.name == "vgg16")
    counted = [(one.name, one.macs, one.values) for one in split_by_layer(cost("vgg16"))]
    assert vgg.cost is not None
    assert [(one.name, one.macs, one.values) for one in vgg.cost.layers] == counted


def test_strips_are_in_proportion(tmp_path: Path) -> None:
    save(tmp_path, record("split", 20, cost={"params": 1000, "macs": 4000, "layers": LAYERS}))
    (suite,) = read_suites(tmp_path)
    made = suite.done[0].record
    assert made is not None
    shares = [row.shares for row in layer_rows([made])]
    assert shares == [{"macs": 75.0, "params": 10.0, "values": 75.0}, {"macs": 25.0, "params": 90.0, "values": 25.0}]
    (drawn,) = strips([made])
    assert drawn.totals == "4.00 k · 1.00 k · 128"
    assert "fc has 90 % of the parameters" in drawn.where
    widths = [float(width) for width in re.findall(r'd="M[\d.]+,[\d.]+h([\d.]+)v', drawn.chart)]
    assert widths[0] == WIDTH, "the whole chart"
    ends = [0.75, 0.25, 0.10, 0.90, 0.75, 0.25]
    assert widths[1:] == pytest.approx([WIDTH * share - 0.7 for share in ends], abs=0.01)
    text = " ".join(Tags(write_report(tmp_path, tmp_path / "page.html").read_text()).text.split())
    assert "2 layers and modules as a table" in text
    assert "Split 1 conv 8×4×4 1 3,000 75.0 100 10.0 96 75.0" in text


def test_records_without_layers_have_no_strips(tmp_path: Path) -> None:
    save(tmp_path, record("old", 20))
    assert "Layer by layer" not in write_report(tmp_path, tmp_path / "page.html").read_text()


def test_a_broken_layer_is_named(tmp_path: Path) -> None:
    broken = [LAYERS[0] | {"macs": "many"}]
    save(tmp_path, record("broken", 20, cost={"params": 1, "macs": 1, "layers": broken}))
    with pytest.raises(ConvbenchError, match=r"record\.json: cost\.layers\.0\.macs: .*found 'many'"):
        read_suites(tmp_path)
