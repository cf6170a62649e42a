"""From a detector's answers to boxes: decoding, and the suppression of what overlaps something more certain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torchvision.ops import batched_nms

from convbench.detection.boxes import Coder
from convbench.detection.result import Detections


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
        scores = scores.float().sigmoid() if self.sigmoid else scores.float().softmax(-1)
        found = []
        for own, code, reference, (height, width) in zip(scores[..., 1:], codes, references, sizes, strict=True):
            place = (own.flatten() > self.score).nonzero()[:, 0]
            certain = own.flatten()[place]
            if len(place) > self.candidates:
                certain, order = certain.topk(self.candidates)
                place = place[order]
            which, labels = place // own.shape[1], place % own.shape[1]
            chosen = code[which, labels if code.shape[1] > 1 else 0].float()
            boxes = coder.decode(chosen, reference[which]).clamp(0, 1)
            kept = batched_nms(boxes, certain, labels, self.overlap)[: self.most]
            scale = boxes.new_tensor([width, height, width, height])
            found.append(Detections((boxes[kept] * scale).cpu(), labels[kept].cpu(), certain[kept].cpu()))
        return found


OBJECT_DETECTION_API = Finding(score=1e-8, overlap=0.6, most=100, sigmoid=True)
