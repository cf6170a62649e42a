"""A matrix of detectors: its suite, its records, what is timed, and what page and terminal show of it."""

from __future__ import annotations

import io
import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

from convbench import cli
from convbench.bench import measure, measured_detector, profile_detector
from convbench.bench.cost import cost
from convbench.bench.measured_detector import Finds, count_finds, measure_detector, unpack
from convbench.bench.measured_network import photographs
from convbench.bench.runner import run_suite
from convbench.bench.suite import open_suite
from convbench.detection import finding
from convbench.detection.parts import detector_cost, open_on_meta
from convbench.detection.registry import build_detector, names
from convbench.detection.result import Detections
from convbench.errors import ConvbenchError, RequestError
from convbench.files import make_folder, write_json
from convbench.report.html import write_report
from convbench.report.matrix import matrix, print_matrix, rows
from convbench.report.matrix_chart import Mark, precision_chart
from convbench.report.matrix_section import matrix_section
from convbench.report.picture import write_picture
from convbench.report.placement import CHARACTER, HEIGHT, Box
from convbench.report.records import Suite, read_suites
from convbench.timing.clock import Ratio, SideBySide, Timing
from convbench.timing.machine import Limits

LIMITS = Limits(matrix_fp32=100, matrix_bf16=200, matrix_int8=400, copy_gib_per_s=10, cache_gib_per_s=50)
SUITE = """
title = "two"
description = "for a test"
[measuring]
engines = ["eager", "bf16"]
batch_sizes = [1]
[[detectors]]
name = "ssd"
detector = "ssd300_mobilenet_v1"
title = "SSD"
paper = "mobilenet"
row = "SSD 300, MobileNet"
[[detectors]]
name = "faster"
detector = "faster_rcnn_mobilenet_v1"
arguments = { side = 300 }
title = "Faster R-CNN"
paper = "mobilenet"
row = "Faster R-CNN 300, MobileNet"
"""


def write_suite(folder: Path, change: tuple[str, str] = ("two", "two")) -> Path:
    path = folder / "two.toml"
    path.write_text(SUITE.replace(*change, 1))
    return path


def timing(engine: str, ms: float, eager: float = 90.0) -> dict[str, Any]:
    latency = {"p50": ms, "p95": 1.2 * ms, "interval": [0.9 * ms, 1.1 * ms]}
    ratio = {"value": eager / ms, "interval": [0.9 * eager / ms, 1.1 * eager / ms]}
    return {"engine": engine, "batch_size": 1, "status": "ok", "latency_ms": latency, "ratio_to_eager": ratio}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The detectors that were measured; nothing really is."""
    calls = list[str]()

    def measure(name: str, arguments: dict[str, Any], *_: Any, **how: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        assert how == {"engines": ("eager", "bf16"), "batch_sizes": (1,)}
        calls.append(f"{name} {arguments}")
        results = [timing("eager", 90.0), timing("bf16", 30.0)]
        machine = {"load": {"other": 20.0}, "versions": {"openvino": "1"}}
        finds = {"proposals": 300 if arguments else None, "candidates": 4000, "found": 100, "ms": 9.0}
        return {"machine": machine, "networks": [], "results": results}, finds

    monkeypatch.setattr(profile_detector, "measure_detector", measure)
    return calls


def test_the_packaged_suite_is_the_decks_table() -> None:
    _, suite = open_suite("detection-matrix")
    assert len(suite.detectors) == len({one.row for one in suite.detectors}) == 9
    assert {one.detector for one in suite.detectors} == {*names()}
    assert not suite.runs and not suite.networks and not suite.data
    for spec in suite.detectors:  # the name, the side and the row are of the same detector
        net = open_on_meta(spec.detector, **spec.arguments)
        assert f" {net.side}," in spec.row and f" {net.side}," in spec.title
        assert spec.name in (spec.detector, f"{spec.detector}_{net.side}")


def test_detectors_are_recorded_and_then_kept(tmp_path: Path, measured: list[str]) -> None:
    suite, lines = write_suite(tmp_path), list[str]()
    ssd, faster = run_suite(suite, out=tmp_path / "runs", jobs=2, say=lines.append)
    assert (ssd.status, faster.status, faster.name) == ("done", "done", "faster")
    assert ssd.record is not None and faster.record is not None
    assert ssd.record["cost"] == {"params": 6_819_839, "macs": 1_237_129_408}
    assert (ssd.record["published"]["ap"], ssd.record["detector"]["ap"]) == (19.3, None)
    assert ssd.record["versions"]["openvino"] == "1"
    assert {one["metric"]: one["deck"] for one in ssd.record["detector"]["deck"]} == {
        "ap": "19.3%",
        "macs": "1.2",
        "params": "6.8",
    }
    parts = {part["name"]: part for part in faster.record["detector"]["parts"]}
    assert (parts["per-proposal head"]["times"], faster.record["detector"]["side"]) == (300, 300)
    assert sum(part["macs"] for part in parts.values()) == faster.record["cost"]["macs"]
    assert (faster.record["result"], faster.record["profile"], faster.record["data"]) == (None, None, None)
    assert "    SSD: 1.24G multiply-adds; 30.0 ms for a batch of 1 by bf16" in lines
    assert [one.status for one in run_suite(suite, out=tmp_path / "runs")] == ["kept", "kept"]
    assert measured == ["ssd300_mobilenet_v1 {}", "faster_rcnn_mobilenet_v1 {'side': 300}"]
    with pytest.raises(RequestError, match="run with other settings"):
        run_suite(write_suite(tmp_path, ('"SSD 300, MobileNet"', '"SSD 300, Inception V2"')), out=tmp_path / "runs")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"ssd300_mobilenet_v1"', '"ssd300_mobilenet"'), "unknown detector 'ssd300_mobilenet'"),
        (("arguments =", "argument ="), "'argument': nearest are arguments"),
        (('name = "faster"', 'name = "ssd"'), "stands twice"),
        (('"SSD 300, MobileNet"', '"SSD 300, MobilNet"'), "'SSD 300, MobilNet': nearest"),
        (("[measuring]", "[measurin]"), "nearest are measuring"),
        (
            (SUITE[SUITE.index("[measuring]") : SUITE.index("[[detectors]]")], ""),
            r"by its table \[measuring\], found none",
        ),
    ],
)
def test_a_wrong_matrix_is_one_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        open_suite(write_suite(tmp_path, change))
    assert "\n" not in str(caught.value)


def counted(folder: Path, *, with_times: bool) -> Suite:
    """All nine detectors, really counted; times of a thousandth of a millisecond a million multiply-adds."""
    name, suite = open_suite("detection-matrix")
    for spec in suite.detectors:
        record, cost = profile_detector.counted_record(name, suite, spec)
        if with_times:
            ms = 20 + cost.macs / 1e9
            machine, finds = {"load": {"other": 20.0}, "versions": {}}, {"candidates": 4000, "found": 100, "ms": 9.0}
            results = [timing("eager", ms, ms), *([] if spec.arguments else [timing("bf16", ms / 3, ms)])]
            record["detector"]["measurements"] = {"machine": machine, "results": results}
            record["detector"]["finds"] = finds | {"proposals": 300 if spec.arguments else None}
        write_json(make_folder(folder / name / spec.name) / "record.json", record | {"status": "done"})
    write_json(
        folder / name / "suite.json",
        {"title": suite.title, "claim": suite.description, "runs": [one.name for one in suite.detectors]},
    )
    (read,) = read_suites(folder)
    return read


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    counted(folder, with_times=True)
    return folder


def test_the_page_shows_the_matrix(runs: Path, tmp_path: Path) -> None:
    page = write_report(runs, tmp_path / "page.html").read_text()
    words = " ".join(page.split())
    assert "9 detectors, each counted part by part" in words
    assert page.count("<svg role=") == 4 + 9  # two charts, each for the desk and for the phone; the parts of each
    assert '<i class="deck alone" title="as printed there; 34.31 counted with 80 classes' in page
    assert "<td>34.31</td>" in page and "<b>21.2</b>" in page and ">7.08<" in page
    assert "all 300 proposals of an image" in words
    assert "4,000 boxes were certain enough for the suppression, 100 were found; the heads looked at 300" in words
    assert "Other work kept up to 20" in words
    assert "http" not in re.sub(r'<a [^>]*href="[^"]*"', "", page) and 'src="http' not in page


def test_published_and_own_precision_never_share_a_column(runs: Path) -> None:
    (suite,) = read_suites(runs)
    for row, entry in zip(rows(matrix(suite.detectors)), suite.detectors, strict=True):
        assert entry.published is not None
        assert (row.published, row.own) == (f"{entry.published.ap:.1f}", "–")


def test_the_terminal_table(runs: Path) -> None:
    (suite,) = read_suites(runs)
    console = Console(file=io.StringIO(), width=160, color_system=None)
    print_matrix(suite.detectors, console)
    printed = console.file.getvalue().replace("\u00a0", " ")  # type: ignore[attr-defined]
    assert re.search(r"SSD 300, MobileNet +6.82 +6.8 +1.24 +1.2 +19.3 +– +21.2 +9.00 +7.08 +bf16", printed)
    assert re.search(r"Faster R-CNN 600, VGG +138.51 +138.5 +149.54 +149.6 +25.7 +– +170 +9.00 +170 +eager", printed)
    assert "SSD 300, MobileNet, with 19.3 % for 1.2G" in printed
    assert "of Faster R-CNN 300, Inception v2’s multiply-adds, 97 % are its head’s" in printed


def drawn_labels(chart: str) -> dict[str, Box]:
    """Boxes of the labels, as a chart's SVG has them."""
    found = re.findall(r'<text[^>]*text-anchor="(\w+)" transform="translate\(([\d.]+),([\d.]+)\)[^>]*>([^<]+)<', chart)
    boxes = {}
    for place, (anchor, x, y, text) in enumerate(found):
        width = CHARACTER * len(text)
        left = float(x) - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        boxes[f"{text} {place}"] = Box(left, float(y) - HEIGHT / 2, left + width, float(y) + HEIGHT / 2)
    return boxes


def joined_points(chart: str) -> list[tuple[float, float]]:
    """Along the lines that join a detector at its two sizes of image, a hundred points on each."""
    found = re.findall(
        r'<line transform="translate\(([\d.]+),([\d.]+)\)" x2="(-?[\d.]+)" y2="(-?[\d.]+)"[^>]*stroke-width="1.2"',
        chart,
    )
    lines = [tuple(map(float, line)) for line in found]
    return [(x + dx * step / 99, y + dy * step / 99) for x, y, dx, dy in lines for step in range(100)]


def test_every_detector_has_a_label_and_none_meets_another(runs: Path) -> None:
    (suite,) = read_suites(runs)
    for chart in matrix_section(suite.detectors).charts:
        for drawn in (chart.figure.wide, chart.figure.narrow):
            labels = [box for text, box in drawn_labels(drawn).items() if "SSD" in text or "R-CNN" in text]
            assert len(labels) == 9, chart.cost
            assert not any(one.meets(other) for one, other in itertools.combinations(labels, 2)), chart.cost
            joined = joined_points(drawn)
            assert len(joined) == 3 * 100  # each Faster R-CNN at 300 and at 600 pixels
            assert not any(box.touches(point, 1.0) for box in labels for point in joined), chart.cost


def test_the_picture_of_what_was_only_counted_has_one_chart(tmp_path: Path, runs: Path) -> None:
    alone = counted(tmp_path / "counted", with_times=False)
    (whole,) = read_suites(runs)
    with Image.open(write_picture([alone], tmp_path / "one.png")) as one:
        with Image.open(write_picture([whole], tmp_path / "two.png")) as two:
            assert one.width == two.width == 2 * 1096
            assert one.height < 0.6 * two.height
        colours = {colour for _, colour in one.convert("RGB").getcolors(1 << 24) or []}
    assert (0xFD, 0xFD, 0xFB) in colours  # --paper


def test_a_broken_record_is_one_line_naming_the_file(tmp_path: Path) -> None:
    counted(tmp_path, with_times=False)
    path = tmp_path / "detection-matrix" / "ssd300_vgg16" / "record.json"
    content = json.loads(path.read_text())
    del content["detector"]["parts"]
    path.write_text(json.dumps(content))
    with pytest.raises(ConvbenchError, match=r"ssd300_vgg16/record\.json: detector\.parts"):
        read_suites(tmp_path)


def test_untrained_weights_fill_the_limit_and_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What page and document say of the part of the latency that follows the network."""
    looked, real = list[int](), finding.batched_nms

    def watched(boxes: Any, *others: Any) -> Any:
        looked.append(len(boxes))
        return real(boxes, *others)

    monkeypatch.setattr(finding, "batched_nms", watched)
    monkeypatch.setattr(measured_detector, "time_call", lambda call: SimpleNamespace(p50=1.0))
    torch.manual_seed(0)
    net = build_detector("ssd300_mobilenet_v1").eval()
    with torch.inference_mode():
        finds = count_finds(net, net(photographs(1, (3, net.side, net.side), None)))
    assert looked == [400]
    assert finds == Finds(proposals=None, candidates=4000, found=100, ms=1.0)


@pytest.mark.parametrize(
    ("name", "arguments", "engines"),
    [
        ("ssd300_mobilenet_v1", {}, ("eager", "channels-last")),
        ("faster_rcnn_mobilenet_v1", {"side": 300}, ("eager",)),
    ],
)
def test_what_is_timed_goes_from_an_image_to_boxes(
    name: str, arguments: dict[str, Any], engines: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list[Any]()

    def timed(calls: dict[str, Any], **how: Any) -> SideBySide:
        found.extend((engine, call()) for engine, call in calls.items())
        one = Timing(1.0, 1.0, 1.0, None, 1, 1, True, 0.0)
        return SideBySide(dict.fromkeys(calls, one), dict.fromkeys(calls, Ratio(1.0, None)))

    monkeypatch.setattr(measure, "time_side_by_side", timed)
    monkeypatch.setattr(measure, "measure_limits", lambda: LIMITS)
    monkeypatch.setattr(measured_detector, "time_call", lambda call: SimpleNamespace(p50=1.0))
    monkeypatch.setattr(measured_detector, "CHECKED", 2)
    cost = detector_cost(open_on_meta(name, **arguments))
    given, finds = measure_detector(name, arguments, cost, engines=("eager", "channels-last"), batch_sizes=(1,))
    assert [engine for engine, _ in found] == list(engines)
    for _, (boxes,) in found:
        assert isinstance(boxes, Detections) and len(boxes.scores) == finds["found"] == 100
    status = {one["engine"]: (one["status"], one["reason"]) for one in given["results"]}
    assert status["eager"] == ("ok", "")
    assert status["channels-last"] == (("ok", "") if len(engines) == 2 else ("missing", measured_detector.TWO_STAGES))


def test_answers_come_back_as_they_were_packed() -> None:
    answers = torch.rand(2, 5, 4), torch.rand(2, 5, 3), torch.rand(2, 5, 3, 4)
    packed = torch.cat([one.flatten(2) for one in answers], -1)
    for one, other in zip(unpack(packed, answers), answers, strict=True):
        assert torch.equal(one, other)
    assert unpack(packed, packed) is packed


@pytest.mark.parametrize("most", [10_000.5, 20_000.0])
def test_the_last_tick_is_not_cut_off(most: float) -> None:
    """10000 ms, wherever on the axis it stands."""
    marks = [Mark("a", "a", "", cost, 20.0 + cost / 1e4, 5e6, "var(--network)", False) for cost in (50.0, most / 2.2)]
    chart = precision_chart(marks, "latency", "ms", wide=False)
    (x,) = re.findall(r'text-anchor="middle" transform="translate\(([\d.]+),[\d.]+\)[^>]*>10000 ms<', chart)
    (width,) = re.findall(r'<svg role="img"[^>]* width="(\d+)"', chart)
    assert float(x) + 38 + CHARACTER * len("10000 ms") / 2 <= float(width)


def test_cost_knows_detectors_and_their_parts(capsys: pytest.CaptureFixture[str]) -> None:
    cli.cost("faster_rcnn_mobilenet_v1", image_size=300, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["network"], told["input_shape"]) == ("faster_rcnn_mobilenet_v1", [3, 300, 300])
    parts = {part["name"]: part for part in told["parts"]}
    assert list(parts) == ["backbone", "RPN", "per-proposal head"]
    assert sum(part["macs"] for part in parts.values()) == told["macs"] == sum(one["macs"] for one in told["layers"])
    assert (parts["per-proposal head"]["times"], told["claims"]) == (300, [])  # those are of the published side
    cli.cost("ssd300_vgg16")
    said = capsys.readouterr().out
    assert "heads             4,231,319,040 multiply-adds, 11,361,270 parameters" in said
    assert "ambiguous: the deck's 34.9" in said
    assert cost("ssd300_vgg16", num_classes=90).params == 35_641_826


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory": True}, "is a detector: expected no --in-channels, --referees, --memory or --fits"),
        ({"image_size": 512}, "unknown argument of ssd300_mobilenet_v1 'side'"),
        ({"convention": "training"}, r"whose forward pass alone is counted, found forward\+backward"),
    ],
)
def test_what_cost_cannot_say_of_a_detector_is_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        cli.cost("ssd300_mobilenet_v1", **arguments)
    assert "\n" not in str(caught.value)
