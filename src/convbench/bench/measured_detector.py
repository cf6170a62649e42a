"""A detector as what is measured: from a photograph to the last box that is left, in one timed call."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convbench.bench.measure import measure_networks
from convbench.bench.measured_network import INITIAL, Subject, photographs
from convbench.counting import Cost
from convbench.detection.detector import Answers, Detector
from convbench.detection.faster_rcnn import FINDING, SURE, FasterRCNN
from convbench.detection.registry import build_detector
from convbench.detection.ssd import SSD
from convbench.modes import evaluation_mode
from convbench.timing.clock import time_call

CHECKED = 8  # photographs on which engines are compared: an answer is of thousands of boxes
TWO_STAGES = "its proposals stand in the order of certainty, which other arithmetic changes: timed by eager alone"


@dataclass(frozen=True)
class Finds:
    """What was left to do behind the passes of the photograph that was timed.

    proposals: regions that were looked at; None of a detector of one stage
    candidates: boxes with their classes that were certain enough for the suppression, which begins with the most
        certain and ends when it has left as many as may be found
    found: those that it left
    ms: of decoding, suppressing and sorting alone, the median
    """

    proposals: int | None
    candidates: int
    found: int
    ms: float


class Packed(nn.Module):
    """A detector whose answers, which may be several tensors with a row for each box, are one, as engines give it."""

    def __init__(self, net: Detector) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        answers = self.net(images)
        return answers if isinstance(answers, Tensor) else torch.cat([one.flatten(2) for one in answers], -1)


def unpack(packed: Tensor, example: Answers) -> Answers:
    """The answers in `packed`, shaped as those of `example` are."""
    if isinstance(example, Tensor):
        return packed
    shapes = [one.shape[2:] for one in example]
    parts = packed.split([shape.numel() for shape in shapes], -1)
    return tuple(part.unflatten(-1, shape) for part, shape in zip(parts, shapes, strict=True))


def measure_detector(
    name: str, arguments: dict[str, Any], cost: Cost, *, engines: tuple[str, ...], batch_sizes: tuple[int, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what `measure_networks` gives, finds) of a detector with initial weights (seed 0) on photographs, in values.

    An untrained detector is about as sure of every class of every box: its candidates are as many as its own limits
    allow, and the most certain, being of many classes, suppress each other so seldom that the first look at them finds
    enough. A trained one has fewer, or must look again. Finds say how many there were.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build_detector(name, **arguments).eval()
    images = photographs(CHECKED, (3, net.side, net.side), None)
    with evaluation_mode(net), torch.inference_mode():
        answers = net(images[:1])

    def finish(packed: Tensor) -> object:
        with torch.inference_mode():
            return net.find(unpack(packed, answers), [(net.side, net.side)] * len(packed))

    subject = Subject(name, Packed(net), cost, images, images, INITIAL, finish)
    able = ("eager",) if isinstance(net, FasterRCNN) else engines
    measured = measure_networks([subject], engines=able, batch_sizes=batch_sizes).to_dict()
    measured["results"] += [
        {"network": name, "engine": engine, "batch_size": size, "status": "missing", "reason": TWO_STAGES}
        for size in batch_sizes
        for engine in engines
        if engine not in able
    ]
    return measured, asdict(count_finds(net, answers))


def count_finds(net: Detector, answers: Answers) -> Finds:
    """Of the answers to one photograph."""
    with torch.inference_mode():
        (found,) = net.find(answers, [(net.side, net.side)])
        if isinstance(net, SSD):
            assert isinstance(answers, Tensor)
            finding, scores, proposals = net.finding, answers[0, :, 4:], None
        else:
            finding, scores = FINDING, answers[1][0]
            proposals = int((scores[:, 0] < SURE).sum())
        shares = scores.sigmoid() if finding.sigmoid else scores.softmax(-1)
        sure = int((shares[:, 1:] > finding.score).sum())
        timing = time_call(lambda: net.find(answers, [(net.side, net.side)]))
    return Finds(proposals, min(sure, finding.candidates), len(found.scores), timing.p50)
