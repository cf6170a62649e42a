"""Do one run of a matrix of detectors: count one by its parts, and time it with all that it takes to boxes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from convbench.bench.record import new_record, recording
from convbench.bench.store import RunFolder
from convbench.bench.suite import DetectorSpec
from convbench.claims.ledger import Reading, find_figure
from convbench.data.samples import sample_photographs
from convbench.detection.detector import Answers, Detector
from convbench.detection.faster_rcnn import FasterRCNN
from convbench.detection.parts import count_detector
from convbench.detection.registry import build_detector
from convbench.modes import evaluation_mode
from convbench.timing.choice import choose
from convbench.timing.clock import time_side_by_side
from convbench.timing.load import watch_load

PAPER = "mobilenet"  # whose table 13 the deck shows
CHECKED = 8  # photographs on which an engine's answers are compared with eager's
SECONDS = 2.0  # of timing, for each way


@dataclass(frozen=True)
class Latency:
    """Of one photograph, in ms: p50 from the prepared image to boxes, and of that the part after the network.

    engine: "eager" is torch in fp32
    candidates: boxes with a class that were certain enough for the suppression of what overlaps, which begins with the
        most certain and ends when it has left as many as may be `found`
    """

    engine: str
    p50: float
    interval: tuple[float, float] | None
    boxes_p50: float
    candidates: int
    found: int


def profile_detector(
    suite_name: str, spec: DetectorSpec, folder: RunFolder, *, seed: int, command: str
) -> dict[str, Any]:
    """Count and time the detector of `spec`; the record is returned and lies in `folder`.

    Its weights are as initialised, by which every class of every box is about as likely. Candidates are then as many as
    its limits let through, and the most certain, being of many classes, suppress each other so seldom that the first
    look at them finds enough. A trained detector has fewer candidates, or needs further looks.
    """
    record = new_record(
        *(suite_name, spec.name, spec.title),
        subject={"kind": "detector", "name": spec.detector, "arguments": spec.arguments},
        spec=asdict(spec),
        seed=seed,
        command=command,
    )
    cost = count_detector(spec.detector, **spec.arguments)
    record["cost"] = {"params": cost.params, "macs": cost.macs}
    with recording(record, folder):
        with watch_load() as load:
            latencies = time_detector(spec)
        record["matrix"] = {
            "parts": cost.to_dict()["parts"],
            "side": cost.side,
            "published": {metric: published(spec.row, metric) for metric in ("ap", "macs", "params")},
            "source": f"Howard et al. 2017, {find_figure(_reading(spec.row, 'ap')).source}",
            "latencies": [asdict(one) for one in latencies],
            "load": asdict(load),
        }
    return record


def published(row: str, metric: str) -> float:
    """The paper's figure of a detector: AP in percent, multiply-adds, parameters."""
    return find_figure(_reading(row, metric)).value


def _reading(row: str, metric: str) -> Reading:
    return Reading(quantity="figure", paper=PAPER, network=row, metric=metric)


def time_detector(spec: DetectorSpec) -> list[Latency]:
    """In eager fp32, and by the fastest engine that answers as that does, where the network is one pass."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build_detector(spec.detector, **spec.arguments).eval()
    photographs = sample_photographs(CHECKED, 3, net.side).float() / 127.5 - 1
    image, sizes = photographs[:1], [(net.side, net.side)]
    ways: dict[str, Any] = {"eager": net}
    if not isinstance(net, FasterRCNN):  # whose regions depend on the image: no graph has a fixed shape
        choice = choose(net, image, checked=photographs)
        ways[choice.engine] = choice
    with evaluation_mode(net), torch.inference_mode():
        answers = {name: way(image) for name, way in ways.items()}
        calls: dict[str, Any] = {}
        for name, way in ways.items():
            calls[name] = lambda way=way: net.find(way(image), sizes)
            calls[f"{name}, boxes"] = lambda own=answers[name]: net.find(own, sizes)
        timings = time_side_by_side(calls, seconds=SECONDS).timings
        return [
            Latency(
                engine=name,
                p50=timings[name].p50,
                interval=timings[name].interval,
                boxes_p50=timings[f"{name}, boxes"].p50,
                candidates=candidates_of(net, answers[name]),
                found=len(net.find(answers[name], sizes)[0].scores),
            )
            for name in ways
        ]


def candidates_of(net: Detector, answers: Answers) -> int:
    """Boxes with a class that are certain enough for the suppression, of one image."""
    scores: Tensor = answers[1] if isinstance(answers, tuple) else answers[..., 4:]
    return net.finding.count(scores[0])


def describe_matrix(record: dict[str, Any]) -> str:
    """A line for people."""
    cost, matrix = record["cost"], record["matrix"]
    fastest = min(matrix["latencies"], key=lambda one: one["p50"])
    return (
        f"{cost['macs'] / 1e9:.2f}G multiply-adds, {cost['params'] / 1e6:.2f}M parameters, "
        f"{fastest['p50']:.1f} ms ({fastest['engine']})"
    )
