"""Comparing what networks cost: the suite, its records, who is on the front, what page, picture and terminal show."""

from __future__ import annotations

import io
import itertools
import json
import random
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image
from rich.console import Console
from torch import nn

from convbench.bench.profile import count, deck_cells
from convbench.bench.runner import run_suite
from convbench.bench.suite import open_suite, read_errors
from convbench.claims.ledger import read_claims
from convbench.errors import ConvbenchError, RequestError
from convbench.models import published_input
from convbench.report.bubbles import Bubble, bubble_chart
from convbench.report.comparison import beats, compare, findings, rank
from convbench.report.efficiency import deck_rows, print_comparison
from convbench.report.html import write_report
from convbench.report.picture import write_picture
from convbench.report.placement import CHARACTER, HEIGHT, Box
from convbench.report.records import Suite, read_suites

DOCS = Path(__file__).parents[1] / "docs"
SUITE = """
title = "two"
description = "for a test"
[measuring]
engines = ["eager", "openvino-bf16"]
batch_sizes = [1, 8]
[[networks]]
network = "mobilenet_v1_025"
title = "small"
paper = "mobilenet"
protocol = "1 crop of 224"
[[networks]]
network = "alexnet"
title = "AlexNet"
paper = "alexnet"
protocol = "1 network, 10 crops"
mark = "10 crops"
"""


def write_suite(folder: Path, change: tuple[str, str] = ("two", "two")) -> Path:
    path = folder / "two.toml"
    path.write_text(SUITE.replace(*change, 1))
    return path


def timed(engine: str, batch_size: int, ms: float | None, eager: float) -> dict[str, Any]:
    result: dict[str, Any] = {"engine": engine, "batch_size": batch_size, "status": "ok", "reason": ""}
    if ms is None:
        return result | {"status": "failed", "reason": "<b>other answers</b>"}
    latency = {"p50": ms, "p95": 1.2 * ms, "p99": 1.3 * ms, "interval": [0.9 * ms, 1.1 * ms]}
    ratio = {"value": eager / ms, "interval": [0.9 * eager / ms, 1.1 * eager / ms]}
    return result | {"latency_ms": latency, "images_per_s": 1000 * batch_size / ms, "ratio_to_eager": ratio}


def measured(network: str, ms: float, other: float | None = 1.0, fast: float | None = 4.0) -> dict[str, Any]:
    """What measuring gives: eager takes `ms` an image, bf16 a `fast`-th of it, or fails."""
    results = [
        {"network": network, **timed(engine, n, n * ms / share if share else None, n * ms)}
        for n in (1, 8)
        for engine, share in (("eager", 1.0), ("openvino-bf16", fast))
    ]
    return {"machine": {"load": {"other": other}, "versions": {"openvino": "1"}}, "networks": [], "results": results}


class Measure:
    """In place of the real measuring: notes its calls, and does what it is told to at one of them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.at: dict[str, BaseException] = {}

    def __call__(self, nets: list[str], *, engines: tuple[str, ...], batch_sizes: tuple[int, ...]) -> Any:
        assert (engines, batch_sizes) == (("eager", "openvino-bf16"), (1, 8))
        (network,) = nets
        self.calls.append(network)
        if network in self.at:
            raise self.at[network]
        return SimpleNamespace(to_dict=lambda: measured(network, 10.0))


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Measure:
    fake = Measure()
    monkeypatch.setattr("convbench.bench.profile.measure_networks", fake)
    return fake


def test_networks_are_recorded_and_then_kept(tmp_path: Path, measure: Measure) -> None:
    suite, lines = write_suite(tmp_path), list[str]()
    outcomes = run_suite(suite, out=tmp_path / "runs", jobs=2, say=lines.append)
    assert [one.status for one in outcomes] == ["done", "done"]
    record = outcomes[0].record
    assert record is not None
    assert (record["cost"]["params"], record["cost"]["macs"]) == (470_072, 41_030_272)
    assert sum(layer["macs"] for layer in record["cost"]["layers"]) == 41_030_272
    assert [layer["name"] for layer in record["cost"]["layers"]][:2] == ["conv1", "separable1.depthwise"]
    assert (record["result"], record["data"], record["recipe"]) == (None, None, None)
    assert (record["published"]["error"], record["published"]["top5_error"]) == (49.4, None)
    assert record["versions"]["openvino"] == "1"
    assert outcomes[1].record is not None
    assert outcomes[1].record["published"]["error"] == 40.7  # on ILSVRC-2012, not the 37.5 of ILSVRC-2010
    assert any("one network at a time, not 2" in line for line in lines)
    assert "    small: 0.04G multiply-adds; 2.5 ms for a batch of 1 by openvino-bf16" in lines
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("record.json")}
    assert [one.status for one in run_suite(suite, out=tmp_path / "runs")] == ["kept", "kept"]
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("record.json")}
    assert measure.calls == ["mobilenet_v1_025", "alexnet"]


def test_an_interrupted_comparison_goes_on_where_it_was(tmp_path: Path, measure: Measure) -> None:
    suite = write_suite(tmp_path)
    measure.at = {"alexnet": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, out=tmp_path / "runs")
    measure.at = {}
    assert [one.status for one in run_suite(suite, out=tmp_path / "runs")] == ["kept", "done"]
    assert measure.calls == ["mobilenet_v1_025", "alexnet", "alexnet"]


def test_a_network_that_fails_is_recorded_and_does_not_stop_the_others(tmp_path: Path, measure: Measure) -> None:
    measure.at = {"mobilenet_v1_025": ConvbenchError("no memory")}
    failed, done = run_suite(write_suite(tmp_path), out=tmp_path / "runs")
    assert (failed.status, failed.error, done.status) == ("failed", "no memory", "done")
    page = write_report(tmp_path / "runs", tmp_path / "page.html").read_text()
    assert "no memory" in page


def test_other_engines_are_another_measurement(tmp_path: Path, measure: Measure) -> None:
    run_suite(write_suite(tmp_path), out=tmp_path / "runs")
    with pytest.raises(RequestError, match="run with other settings"):
        run_suite(write_suite(tmp_path, ('["eager", ', "[")), out=tmp_path / "runs")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"mobilenet_v1_025"', '"mobilenet"'), "unknown network 'mobilenet'"),
        (('"mobilenet"', '"mobilnet"'), "unknown paper 'mobilnet': nearest are mobilenet"),
        (("1 crop of 224", "1 crop of 225"), "top-1 error in mobilenet '1 crop of 225': nearest"),
        (("[measuring]", "[measurin]"), "unknown key in two 'measurin': nearest are measuring"),
        (('"eager", ', '"eagre", '), "unknown engine 'eagre': nearest"),
        (("[1, 8]", "[0, 8]"), r"batch sizes are 1 or more, found \(0, 8\)"),
        (("[measuring]", '[[runs]]\nname = "x"\ntitle = "x"\nrival = "knn"\n[measuring]'), "found no key data"),
        ((SUITE[SUITE.index("[meas") :], ""), "a suite has runs, networks or detectors, found none"),
    ],
)
def test_a_wrong_comparison_is_one_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        open_suite(write_suite(tmp_path, change))
    assert "\n" not in str(caught.value)


def test_imagenet_costs_has_the_decks_networks_and_marks_other_protocols() -> None:
    _, suite = open_suite("imagenet-costs")
    compared = {spec.network for spec in suite.networks}
    on_slide = {name for claim in read_claims() if claim.slide == "Summary" for name in claim.networks}
    assert {name for name in on_slide if published_input(name)[1] >= 224} <= compared
    assert not suite.runs
    for spec in suite.networks:
        protocol = read_errors(spec)["protocol"]
        alike = protocol.startswith("ILSVRC-2012 val, ") and re.search(r"(1|center) crop\b", protocol)
        assert bool(spec.mark) != bool(alike), (spec.network, protocol)


@pytest.mark.parametrize(("name", "peer"), [("vgg16", "vgg16"), ("resnext50_32x4d", "resnext50_32x4d")])
def test_counts_are_torchvisions(name: str, peer: str) -> None:
    with torch.device("meta"):
        net = getattr(torchvision.models, peer)()

    def params(kind: type[nn.Module]) -> int:
        return sum(p.numel() for m in net.modules() if isinstance(m, kind) for p in m.parameters(recurse=False))

    counts = count(name)
    assert (counts["params"], counts["conv_params"], counts["full_params"]) == (
        *(params(nn.Module), params(nn.Conv2d), params(nn.Linear)),
    )
    kernels = sorted({m.kernel_size for m in net.modules() if isinstance(m, nn.Conv2d)})
    assert counts["kernels"] == " ".join(f"{rows}x{columns}" for rows, columns in kernels)
    weights = getattr(torchvision.models, f"{'VGG16' if 'vgg' in name else 'ResNeXt50_32X4D'}_Weights").IMAGENET1K_V1
    assert counts["macs"] / 1e9 == pytest.approx(weights.meta["_ops"], abs=5e-4)
    assert counts["macs"] == counts["conv_macs"] + counts["full_macs"]
    assert counts["depth"] == counts["conv_layers"] + counts["full_layers"] == int(re.findall(r"\d+", name)[0])


def test_the_decks_numbers_stand_with_the_networks_that_they_are_of() -> None:
    cells = {cell["column"]: cell for cell in deck_cells("alexnet")}
    assert (cells["top1_error"]["deck"], cells["top1_error"]["truth"]) == ("37.5", "40.7")
    assert (cells["top1_error"]["verdict"], cells["conv_layers"]["verdict"]) == ("wrong", "right")
    assert all(cell["own"] for cell in cells.values())
    (lent,) = [cell for cell in deck_cells("resnet18") if cell["column"] == "macs"]
    assert (lent["own"], lent["says"], lent["deck"]) == (False, "ResNet-20, GOP", "1.8")
    assert deck_cells("xception") == []


def test_ranks_are_the_fronts_that_peeling_leaves() -> None:
    points = [(1.0, 9.0), (2.0, 5.0), (2.0, 5.0), (3.0, 5.0), (3.0, 6.0), (9.0, 1.0), (9.0, 9.0)]
    assert rank(points) == [1, 1, 1, 2, 3, 1, 4]
    rng = random.Random(0)
    cloud = [(rng.randint(0, 9), rng.randint(0, 9)) for _ in range(60)]
    # Another definition: the rank is the longest chain of points, each of which beats the next, that ends in the point.
    longest = dict[tuple[float, float], int]()
    for point in sorted(set(cloud)):
        longest[point] = 1 + max((longest[other] for other in longest if beats(other, point)), default=0)
    assert rank(cloud) == [longest[point] for point in cloud]


def record(name: str, error: float, macs: float, ms: float, **changes: Any) -> dict[str, Any]:
    """A finished run of a network with macs in 10^9, which eager does in `ms` and the fastest engine in a fourth."""
    keys = ("conv_layers", "full_layers", "depth", "conv_params", "full_params", "conv_macs", "full_macs")
    counts = {**dict.fromkeys(keys, 1), "input_shape": [3, 224, 224], "kernels": "3x3", "params": 25_000_000}
    changes = {"mark": None, "deck": [], "measurements": measured(name, ms), "params": 25_000_000} | changes
    counts |= {"macs": round(macs * 1e9), "params": changes["params"]}
    published = {"error": error, "top5_error": 7.5, "protocol": "ILSVRC-2012 val, 1 crop", "source": "A paper"}
    empty = ("error", "recipe", "preprocessing", "data", "result", "cost", "seconds", "commit", "command", "started")
    return {
        **dict.fromkeys((*empty, "finished")),
        **{"schema": 1, "suite": "costs", "name": name, "title": name.title(), "status": "done", "seed": 0},
        "subject": {"kind": "network", "name": name, "arguments": {}},
        "published": {**published, "rejection": None, "note": None, "mark": changes["mark"]},
        "machine": {"cpu": "A processor", "cores": 2, "memory_gib": 24, "os": "Linux"},
        "versions": {"torch": "2"},
        "profile": {"counts": counts, "deck": changes["deck"], "measurements": changes["measurements"]},
    }


CELL = {"column": "top1_error", "own": True, "says": "Heavy, top-1 error (%)", "deck": "11.0", "truth": "28.0"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """small < middle < large trade error for operations; heavy is beaten; crops would beat all, but is marked."""
    folder = tmp_path_factory.mktemp("runs")
    heavy = [CELL | {"verdict": "wrong", "reason": "of <another> year"}]
    heavy += [CELL | {"verdict": "right", "reason": "as counted", "column": "params", "says": "p", "deck": "140"}]
    made = [
        record("heavy", 28.0, 15.0, 100.0, deck=heavy, params=140_000_000),
        record("small", 40.0, 0.1, 30.0, measurements=measured("small", 30.0, other=20.0, fast=None)),
        record("middle", 25.0, 2.0, 20.0),
        record("large", 20.0, 12.0, 80.0),
        record("crops", 19.0, 0.05, 5.0, mark="10 crops"),
    ]
    for one in made:
        (folder / "costs" / one["name"]).mkdir(parents=True)
        (folder / "costs" / one["name"] / "record.json").write_text(json.dumps(one))
    names = ["small", "middle", "large", "heavy", "crops", "never-run"]
    (folder / "costs" / "suite.json").write_text(json.dumps({"title": "Costs", "claim": "None.", "runs": names}))
    return folder


@pytest.fixture(scope="module")
def suite(runs: Path) -> Suite:
    (suite,) = read_suites(runs)
    return suite


def test_only_errors_of_one_protocol_are_ranked(suite: Suite) -> None:
    entries = compare(suite.profiled)
    assert [(one.title, one.rank) for one in entries] == [
        *(("Small", 1), ("Middle", 1), ("Large", 1), ("Heavy", 2), ("Crops", None)),
    ]
    # small takes eager's 30 ms, since its bf16 fails: middle's 5 ms and fewer errors beat it
    assert [one.latency_ms for one in entries] == [30.0, 5.0, 20.0, 25.0, 1.25]
    assert [one.fast_front for one in entries] == [False, True, True, False, False]
    said = " ".join(findings(entries)).replace("\u00a0", " ")
    assert "Of 4 networks with an error by the same protocol, 3 are on the Pareto front" in said
    assert "Heavy is not among them: it errs on 28.0 % for 15.00G multiply-adds, Middle on 25.0 % for 2.00G." in said
    assert "the front is the same, without Small" in said
    assert "Large does 600G multiply-adds a second here, Small 3G" in said


def test_the_page_shows_the_tables_and_what_the_deck_has_wrong(runs: Path, tmp_path: Path) -> None:
    page = write_report(runs, tmp_path / "page.html").read_text()
    assert '<s class="deck" title="28.0: of &lt;another&gt; year">11.0</s> 28.0' in page
    assert "1 of the deck’s 2 entries on these networks is wrong" in page
    assert "Other work kept up to\n20 % of the machine busy" in page
    assert 'class="status" title="&lt;b&gt;other answers&lt;/b&gt;">failed' in page
    assert "never-run" in page
    assert page.count("<svg role=") == 4  # two charts, each for the desk and for the phone
    assert "trained on" not in page
    assert "http" not in page
    assert page.count("<script") == 1  # ours


def test_the_decks_table_keeps_the_suites_order(suite: Suite) -> None:
    assert [one.title for one in suite.profiled] == ["Small", "Middle", "Large", "Heavy", "Crops"]
    (heavy,) = [row for row in deck_rows(compare(suite.profiled)) if row.title == "Heavy"]
    assert [cell.text for cell in heavy.cells[-2:]] == ["28.0", "7.5"]
    assert heavy.cells[-2].deck == "11.0"
    assert {cell.deck for cell in (*heavy.cells[:-2], heavy.cells[-1])} == {""}


def test_the_terminal_table(suite: Suite) -> None:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    print_comparison(suite.profiled, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"Heavy +2 +140 +15\.0 +28\.0 +7\.5 +100 +25\.0 +4\.0× +40 +openvino-bf16", printed)
    assert re.search(r"Small +1 +25\.0 +0\.100 +40\.0 +7\.5 +30\.0 +30\.0 +1\.0× +33 +eager", printed)
    assert "Other work kept up to 20 % of the machine busy" in printed
    narrow = Console(file=io.StringIO(), width=80, color_system=None)
    print_comparison(suite.profiled, narrow)
    assert re.search(r"Crops +– +0\.0500 +19\.0 +1\.25 +openvino-bf16 +10 crops", narrow.file.getvalue())  # type: ignore[attr-defined]


def drawn(chart: str) -> tuple[list[float], dict[str, Box]]:
    """(radii of the bubbles, boxes of the labels) of a chart, as its SVG has them."""
    radii = [float(r) for r in re.findall(r'd="M([\d.]+),0A', chart)]
    found = re.findall(r'<text[^>]*text-anchor="(\w+)" transform="translate\(([\d.]+),([\d.]+)\)[^>]*>([^<]+)<', chart)
    boxes = {}
    for anchor, x, y, text in found:
        width = CHARACTER * len(text)
        left = float(x) - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        boxes[text] = Box(left, float(y) - HEIGHT / 2, left + width, float(y) + HEIGHT / 2)
    return radii, boxes


@pytest.mark.parametrize("wide", [True, False])
def test_bubbles_have_the_area_of_their_parameters_and_labels_that_do_not_meet(wide: bool) -> None:
    rng = random.Random(1)
    kinds = ("front", "other", "apart")
    bubbles = [
        Bubble(f"Network {i}", rng.uniform(1, 20), rng.uniform(19, 50), rng.choice((4e6, 64e6)), kinds[i % 3])
        for i in range(24)
    ]
    radii, boxes = drawn(bubble_chart(bubbles, "latency", "ms", wide=wide))
    ratio = (max(radii[3:]) / min(radii[3:])) ** 2  # the first three are the key's
    assert len(radii) == 3 + 24
    assert ratio == pytest.approx(16, rel=0.01)
    names = {title: box for title, box in boxes.items() if title.startswith("Network")}
    assert len(names) >= (24 if wide else 18)
    assert not any(one.meets(other) for one, other in itertools.combinations(names.values(), 2))


def test_the_picture_is_the_charts_in_the_pages_light_colours(suite: Suite, runs: Path, tmp_path: Path) -> None:
    path = write_picture([suite], tmp_path / "new" / "costs.png")
    with Image.open(path) as picture:
        assert picture.width == 2 * 1096
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}
    assert (0xFD, 0xFD, 0xFB) in colours  # --paper
    assert any(blue > red + 90 for red, _, blue in colours)  # the front
    with pytest.raises(RequestError, match=r"ends in .png, found costs.jpg"):
        write_picture([suite], Path("costs.jpg"))
    with pytest.raises(RequestError, match="found none"):
        write_picture([], tmp_path / "costs.png")


def test_a_broken_profile_is_one_line_naming_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "costs" / "small"
    folder.mkdir(parents=True)
    broken = record("small", 40.0, 0.1, 30.0)
    del broken["profile"]["measurements"]["results"][0]["latency_ms"]
    (folder / "record.json").write_text(json.dumps(broken))
    with pytest.raises(ConvbenchError, match=r"small/record\.json: .*status is ok has `latency_ms`"):
        read_suites(tmp_path)
    (folder / "record.json").write_text(json.dumps(record("small", 40.0, 0.1, 30.0) | {"published": None}))
    with pytest.raises(ConvbenchError, match="has a `published` error beside it"):
        read_suites(tmp_path)


def test_records_from_before_comparisons_are_read_as_they_are() -> None:
    (suite,) = read_suites(DOCS, ["lecun1998"])
    assert (len(suite.done), suite.profiled) == (29, ())
