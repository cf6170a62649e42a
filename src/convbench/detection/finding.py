"""From a detector's answers to boxes: decoding, and the suppression of what overlaps something more certain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torchvision.ops import batched_nms

from convbench.detection.boxes import Coder
from convbench.detection.result import Detections

FIRST = 4  # times as many boxes as may be found are looked at first, and then each time as many again


@dataclass(frozen=True)
class Finding:
    """How answers become detections; the defaults are those of SSD's paper (section 3).

    score: the least; what is below is not looked at
    overlap: intersection over union with a more certain box of the same class, from which on a box is dropped
    most: detections of an image, at most
    sigmoid: each class answers for itself; otherwise by softmax, the background among them
    candidates: of an image, at most, before the suppression, the most certain
    """

    score: float = 0.01
    overlap: float = 0.45
    most: int = 200
    sigmoid: bool = False
    candidates: int = 4000

    def __call__(
        self,
        scores: Tensor,
        codes: Tensor,
        references: Tensor,
        sizes: Sequence[tuple[int, int]],
        coder: Coder = Coder(),  # noqa: B008 (frozen)
    ) -> list[Detections]:
        """What answers say of each image.

        Args:
            scores: (n, boxes, 1 + classes), the background's first
            codes: (n, boxes, 1 or classes, 4), one for all classes or for each its own
            references: centres, (n, boxes, 4)
            sizes: each image's (height, width) in pixels
        """
        logits = scores.float() if self.sigmoid else scores.float().log_softmax(-1)
        rows = zip(logits[..., 1:], codes.float(), references, sizes, strict=True)
        return [self._find(*row, coder) for row in rows]

    def _find(
        self, logits: Tensor, codes: Tensor, references: Tensor, size: tuple[int, int], coder: Coder
    ) -> Detections:
        """In one image. What the suppression leaves of the most certain boxes does not depend on those less certain, so
        that these are only looked at where too few are left."""
        certain, least = self._certain(logits)
        few = FIRST * self.most
        while True:
            looked = min(few, self.candidates, len(certain))
            best, place = certain.topk(looked)
            above = int((best > least).sum())  # they are sorted
            best, place = best[:above], place[:above]
            which, labels = place // logits.shape[1], place % logits.shape[1]
            chosen = codes[which, labels if codes.shape[1] > 1 else 0]
            boxes = coder.decode(chosen, references[which]).clamp(0, 1)
            kept = batched_nms(boxes, best, labels, self.overlap)[: self.most]
            if len(kept) == self.most or above < looked or looked in (self.candidates, len(certain)):
                break
            few *= FIRST
        height, width = size
        scale = boxes.new_tensor([width, height, width, height])
        scores = best[kept].sigmoid() if self.sigmoid else best[kept].exp()
        return Detections((boxes[kept] * scale).cpu(), labels[kept].cpu(), scores.cpu())

    def _certain(self, logits: Tensor) -> tuple[Tensor, float]:
        """Logits, or logarithms of probabilities, in one row, and the one that stands for `score`."""
        least = math.log(self.score / (1 - self.score)) if self.sigmoid else math.log(self.score)
        return logits.float().flatten(), least


OBJECT_DETECTION_API = Finding(score=1e-8, overlap=0.6, most=100, sigmoid=True)
