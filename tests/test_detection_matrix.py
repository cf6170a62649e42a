"""A matrix of detectors: its suite, its records, what is timed, and what page and terminal show of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from convbench.bench import profile_detector
from convbench.bench.profile_detector import Latency, candidates_of, time_detector
from convbench.bench.runner import run_suite
from convbench.bench.suite import DetectorSpec, open_suite
from convbench.data.samples import sample_photographs
from convbench.detection import finding
from convbench.detection.detector import Answers, Detector
from convbench.detection.registry import build_detector, names
from convbench.detection.result import Detections
from convbench.errors import RequestError
from convbench.report.html import write_report
from convbench.timing.clock import time_side_by_side

SUITE = """
title = "two"
description = "for a test"
[[detectors]]
detector = "ssd300_mobilenet_v1"
title = "SSD"
row = "SSD 300, MobileNet"
[[detectors]]
detector = "faster_rcnn_mobilenet_v1"
side = 300
title = "Faster R-CNN"
row = "Faster R-CNN 300, MobileNet"
"""


def write_suite(folder: Path, change: tuple[str, str] = ("two", "two")) -> Path:
    path = folder / "two.toml"
    path.write_text(SUITE.replace(*change, 1))
    return path


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The detectors that were timed; nothing really is."""
    calls = list[str]()

    def time_it(spec: DetectorSpec) -> list[Latency]:
        calls.append(spec.name)
        return [
            Latency("eager", 90.0, (88.0, 93.0), 9.0, 4000, 100),
            Latency("bf16", 30.0, (29.0, 31.0), 8.0, 4000, 100),
        ]

    monkeypatch.setattr(profile_detector, "time_detector", time_it)
    return calls


def test_the_packaged_suite_is_the_decks_table() -> None:
    _, suite = open_suite("detection-matrix")
    assert len(suite.detectors) == len({one.row for one in suite.detectors}) == 9
    assert {one.detector for one in suite.detectors} == {*names()}
    assert not suite.runs and not suite.networks and not suite.data


def test_detectors_are_recorded_and_then_kept(tmp_path: Path, timed: list[str]) -> None:
    suite, lines = write_suite(tmp_path), list[str]()
    ssd, faster = run_suite(suite, out=tmp_path / "runs", jobs=2, say=lines.append)
    assert (ssd.status, faster.status, faster.name) == ("done", "done", "faster_rcnn_mobilenet_v1_300")
    assert ssd.record is not None and faster.record is not None
    assert ssd.record["cost"] == {"params": 6_819_839, "macs": 1_237_129_408}
    assert ssd.record["matrix"]["published"] == {"ap": 19.3, "macs": 1.2e9, "params": 6.8e6}
    assert ssd.record["matrix"]["source"] == "Howard et al. 2017, table 13"
    parts = {part["name"]: part for part in faster.record["matrix"]["parts"]}
    assert (parts["head of a region"]["times"], faster.record["matrix"]["side"]) == (300, 300)
    assert sum(part["macs"] for part in parts.values()) == faster.record["cost"]["macs"]
    assert (faster.record["result"], faster.record["profile"], faster.record["data"]) == (None, None, None)
    assert "    SSD: 1.24G multiply-adds, 6.82M parameters, 30.0 ms (bf16)" in lines
    assert [one.status for one in run_suite(suite, out=tmp_path / "runs")] == ["kept", "kept"]
    assert timed == ["ssd300_mobilenet_v1", "faster_rcnn_mobilenet_v1_300"]
    with pytest.raises(RequestError, match="run with other settings"):
        run_suite(write_suite(tmp_path, ('"SSD 300, MobileNet"', '"SSD 300, Inception V2"')), out=tmp_path / "runs")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"ssd300_mobilenet_v1"', '"ssd300_mobilenet"'), "unknown detector 'ssd300_mobilenet'"),
        (("side = 300", "size = 300"), "'size': nearest is side"),
        (('"faster_rcnn_mobilenet_v1"\nside = 300', '"ssd300_mobilenet_v1"'), "stands twice"),
    ],
)
def test_a_wrong_matrix_is_one_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        open_suite(write_suite(tmp_path, change))
    assert "\n" not in str(caught.value)


def test_the_page_shows_the_matrix(tmp_path: Path, timed: list[str]) -> None:
    run_suite(write_suite(tmp_path), out=tmp_path / "runs")
    page = write_report(tmp_path / "runs", tmp_path / "page.html").read_text()
    assert "2 detectors, each counted part by part" in page
    assert "head of a region, 300 times 23.46, 2.06" in page
    assert ">30.0<" in page and ">90.0<" not in page  # the fastest
    assert "http" not in page and "<script" not in page


def test_untrained_weights_fill_the_limit_and_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What page and document say of the part of the latency that follows the network."""
    looked, real = list[int](), finding.batched_nms

    def watched(boxes: Any, *others: Any) -> Any:
        looked.append(len(boxes))
        return real(boxes, *others)

    monkeypatch.setattr(finding, "batched_nms", watched)
    torch.manual_seed(0)
    net = build_detector("ssd300_mobilenet_v1").eval()
    with torch.inference_mode():
        answers = net(sample_photographs(1, 3, net.side).float() / 127.5 - 1)
        (found,) = net.find(answers, [(net.side, net.side)])
    assert looked == [400]
    assert (candidates_of(net, answers), len(found.scores)) == (4000, 100)


class Chosen:
    """The detector itself in place of an engine."""

    engine = "own"

    def __init__(self, net: Detector, *_: Any, **__: Any) -> None:
        self.net = net

    def __call__(self, images: Tensor) -> Answers:
        return self.net(images)


def test_timing_goes_from_an_image_to_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    given = dict[str, Any]()

    def watched(calls: dict[str, Any], **how: Any) -> Any:
        given.update({name: call() for name, call in calls.items()})
        return time_side_by_side(calls, **how)

    monkeypatch.setattr(profile_detector, "SECONDS", 1e-3)
    monkeypatch.setattr(profile_detector, "choose", Chosen)
    monkeypatch.setattr(profile_detector, "time_side_by_side", watched)
    _, suite = open_suite("detection-matrix")
    spec = next(one for one in suite.detectors if one.detector == "ssd300_mobilenet_v1")
    eager, other = time_detector(spec)
    assert (eager.engine, other.engine) == ("eager", "own")
    assert set(given) == {"eager", "eager, boxes", "own", "own, boxes"}
    for (found,) in given.values():
        assert isinstance(found, Detections) and len(found.scores) == 100
    for one in (eager, other):
        assert 0 < one.boxes_p50 < one.p50
        assert (one.candidates, one.found) == (4000, 100)
