"""What the documents say of detectors is computed."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from convbench.bench.suite import DetectorSpec, open_suite, read_precision
from convbench.claims.ledger import Reading, find_figure
from convbench.counting import trace
from convbench.detection.parts import detector_cost, open_on_meta, split_cost
from convbench.detection.trunk import Trunk

DOCS = Path(__file__).parents[1] / "docs"
_, SUITE = open_suite("detection-matrix")


def printed(spec: DetectorSpec, metric: str) -> float:
    """Of the paper's table."""
    return find_figure(Reading(quantity="figure", paper=spec.paper, network=spec.row, metric=metric)).value


@pytest.mark.parametrize("spec", SUITE.detectors, ids=lambda spec: spec.name)
def test_the_matrix_is_what_is_counted(spec: DetectorSpec) -> None:
    (line,) = re.findall(rf"^\| {re.escape(spec.title)} \| (.*) \|$", (DOCS / "detection-matrix.md").read_text(), re.M)
    cost = detector_cost(open_on_meta(spec.detector, **spec.arguments))
    split = split_cost(cost)
    names = [part.name if part.times == 1 else f"{part.name}, {part.times} times" for part in split]
    parts = [
        f"{name} {part.macs / 1e9:.2f}G, {part.params / 1e6:.2f}M" for name, part in zip(names, split, strict=True)
    ]
    expected = [
        f"{read_precision(spec)['ap']:.1f}",
        f"{printed(spec, 'macs') / 1e9:.1f}G",
        f"{cost.macs / 1e9:.2f}G",
        f"{printed(spec, 'params') / 1e6:.1f}M",
        f"{cost.params / 1e6:.2f}M",
        "; ".join(parts),
    ]
    assert line.split(" | ") == expected


def test_the_biases_of_vgg_close_its_gap() -> None:
    """At 600 pixels to the 149.6 that is printed, and at 300 it stays 64.3."""
    for side, printed in ((300, 64.3), (600, 149.6)):
        net = open_on_meta("faster_rcnn_vgg16", side=side)
        trunk = net.get_submodule("trunk")
        assert isinstance(trunk, Trunk)
        rows = trace(torch.nn.Sequential(*trunk), (3, side, side)).rows
        biases = sum(row.operations.get("bias", 0) for row in rows) / 1e9
        assert round(detector_cost(net).macs / 1e9 + biases, 1) == printed


def benchmark(name: str) -> ModuleType:
    """A script of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS.parent / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)  # where dataclasses look their types up
    spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def test_the_layouts_beside_ssds_vgg_are_the_benchmarks() -> None:
    text, layouts = " ".join((DOCS / "detection-matrix.md").read_text().split()), benchmark("deeplab_vgg")
    for classes in (80, 90):
        ours = detector_cost(open_on_meta("ssd300_vgg16", num_classes=classes))
        assert replace(layouts.OURS, scores=classes + 1).count() == (ours.params, ours.macs)
    assert f"same network has {ours.macs / 1e9:.2f}G multiply-adds" in text
    assert f"but {ours.params / 1e6:.2f}M parameters" in text
    total, found = layouts.search()
    assert f"counts {total:,} layouts" in text and f"{len(found)} of them have both figures" in text
    wanted = {"full": (3, 1024, 512), "extras": "API", "boxes": "666666", "scores": 90, "batch_norm": False}
    (plainest,) = (one for one in found if wanted.items() <= one.items())
    assert plainest["taps"] == ("conv4_3", "fc7")
    assert f"{plainest['macs'] / 1e9:.2f}G and {plainest['params'] / 1e6:.2f}M" in text


@pytest.mark.parametrize("file", sorted((DOCS / "detection").glob("*.json")), ids=lambda file: file.stem)
def test_the_table_of_trainings_is_of_their_records(file: Path) -> None:
    kept, text = json.loads(file.read_text()), (DOCS / "detection.md").read_text()
    best = sorted(kept["per_class"], key=lambda name: -kept["per_class"][name])
    cells = [
        str(kept["passes"]),
        f"{kept['minutes']:.0f}",
        *(f"{100 * kept[name]:.1f}" for name in ("ap", "ap50", "ap75")),
        ", ".join(f"{name} {100 * kept['per_class'][name]:.1f}" for name in best),
    ]
    assert f"| {' | '.join(cells)} |" in text
    assert f"[record](detection/{file.name})" in text
