"""From answers to boxes: the same as by looking at every box at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from convbench.detection.boxes import Coder
from convbench.detection.finding import OBJECT_DETECTION_API, Finding
from convbench.detection.result import Detections

BOXES, CLASSES = 1500, 20


def answers(spread: float) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    references = torch.cat([torch.rand(BOXES, 2), 0.05 + 0.2 * torch.rand(BOXES, 2)], 1)
    return torch.randn(1, BOXES, 1 + CLASSES) * spread, torch.randn(1, BOXES, 1, 4), references[None]


def at_once(finding: Finding, scores: Tensor, codes: Tensor, references: Tensor) -> Detections:
    """All candidates decoded, sorted and suppressed together, in a picture of 200 x 100 pixels."""
    logits = (scores if finding.sigmoid else scores.log_softmax(-1))[0, :, 1:].flatten()
    certain = logits.sigmoid() if finding.sigmoid else logits.exp()
    place = (certain > finding.score).nonzero()[:, 0]
    place = place[logits[place].argsort(descending=True)][: finding.candidates]
    which, labels = place // CLASSES, place % CLASSES
    boxes = Coder().decode(codes[0, which, 0], references[0, which]).clamp(0, 1)
    kept = batched_nms(boxes, logits[place], labels, finding.overlap)[: finding.most]
    return Detections(boxes[kept] * torch.tensor([200, 100, 200, 100]), labels[kept], certain[place][kept])


@pytest.mark.parametrize("spread", [0.5, 2.0])
@pytest.mark.parametrize(
    "finding", [Finding(), OBJECT_DETECTION_API, Finding(overlap=0.05), Finding(most=1000), Finding(score=0.9)]
)
def test_nothing_is_lost_by_looking_at_the_most_certain_first(finding: Finding, spread: float) -> None:
    given = answers(spread)
    (ours,), theirs = finding(*given, [(100, 200)]), at_once(finding, *given)
    assert torch.equal(ours.labels, theirs.labels)
    torch.testing.assert_close(ours.boxes, theirs.boxes)
    torch.testing.assert_close(ours.scores, theirs.scores)


def test_where_nothing_is_certain_enough_nothing_is_found() -> None:
    scores, codes, references = answers(0.1)
    (found,) = Finding(score=0.99)(scores, codes, references, [(10, 10)])
    assert found.boxes.shape == (0, 4) and len(found.labels) == len(found.scores) == 0
