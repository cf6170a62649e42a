"""A detector from a photograph to boxes beside torchvision's way, and average precision beside pycocotools.

    python benchmarks/detection.py --out docs/performance/detection.json [--weights ssd.npz]

ssd300_mobilenet_v1 (with --weights the Object Detection API's at width 0.75, else untrained at width 1) on one of
scikit-learn's photographs: by the fastest engine that answers as eager fp32 does and our suppression; beside it, in
turns, eager fp32 in torch's own layout with torchvision's post-processing, at the same limits and at its own. And the
figures of 5,000 images with made detections, by us and by pycocotools.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import _utils as peers
from torchvision.models.detection import ssd as peer

from convbench.bench.detect import load_detector
from convbench.data.samples import sample_photographs
from convbench.detection.annotations import DetectionSet, Objects
from convbench.detection.boxes import corners_of
from convbench.detection.finding import OBJECT_DETECTION_API, Finding
from convbench.detection.result import COCO_FIGURES, Detections, coco_detections, coco_result, coco_truth
from convbench.detection.ssd import SSD, ssd300_mobilenet_v1
from convbench.files import write_json
from convbench.timing.choice import choose
from convbench.timing.clock import time_side_by_side
from convbench.timing.load import watch_load
from convbench.timing.machine import describe_machine, library_versions

IMAGES, CLASSES, FOUND = 5000, 80, 60  # of the made set; detections an image


def theirs(net: SSD, finding: Finding) -> Any:
    """torchvision's post-processing, at these limits."""
    settings = SimpleNamespace(
        box_coder=peers.BoxCoder((10.0, 10.0, 5.0, 5.0)),
        score_thresh=finding.score,
        topk_candidates=400,
        nms_thresh=finding.overlap,
        detections_per_img=finding.most,
    )
    corners = corners_of(net.default_boxes) * net.side

    def find(answers: Tensor) -> Any:
        heads = {"bbox_regression": answers[..., :4], "cls_logits": answers[..., 4:]}
        return peer.SSD.postprocess_detections(settings, heads, [corners], [(net.side, net.side)])

    return find


def inference(weights: Path | None, seconds: float) -> dict[str, Any]:
    net, plain = network(weights), network(weights)
    plain.to(memory_format=torch.contiguous_format)
    photographs = sample_photographs(8, 3, net.side).float() / 127.5 - 1
    image, sizes = photographs[:1], [(net.side, net.side)]
    choice = choose(net, image, checked=photographs)
    find, answers = theirs(net, OBJECT_DETECTION_API), choice(image)
    find_less = theirs(net, Finding())
    with torch.inference_mode():
        calls = {
            "torchvision": lambda: find(plain(image)),
            "torchvision, its own limits": lambda: find_less(plain(image)),
            "eager fp32, our boxes": lambda: net.find(plain(image), sizes),
            "convbench": lambda: net.find(choice(image), sizes),
            "boxes alone": lambda: net.find(answers, sizes),
            "torchvision, boxes alone": lambda: find(answers),
        }
        timed = time_side_by_side(calls, seconds=seconds)
    ours, boxes = timed.timings["convbench"].p50, timed.timings["boxes alone"].p50
    return {
        "weights": "initial, width 1" if weights is None else "COCO's, width 0.75",
        "engine": choice.engine,
        "ms": {name: one.p50 for name, one in timed.timings.items()},
        "faster": {name: one.p50 / ours for name, one in timed.timings.items() if name.startswith(("torchv", "eager"))},
        "interval": timed.ratios["convbench"].interval,
        "boxes_share": boxes / ours,
    }


def network(weights: Path | None) -> SSD:
    """The same each time."""
    if weights is None:
        torch.manual_seed(0)
        return ssd300_mobilenet_v1().eval()
    net = load_detector(weights, "ssd300_mobilenet_v1", {"width_multiplier": 0.75}).net
    assert isinstance(net, SSD)
    return net.eval()


def made(images: int) -> tuple[DetectionSet, list[Detections]]:
    """Objects of all sizes in images of 500 x 500 pixels, and detections of which some hit them."""
    chance = torch.Generator().manual_seed(0)

    def boxes_of(count: int) -> Tensor:
        low = torch.rand(count, 2, generator=chance) * 300
        return torch.cat([low, low + 4 + torch.rand(count, 2, generator=chance) ** 2 * 190], 1)

    objects, found = [], []
    for _ in range(images):
        count = int(torch.randint(1, 15, (), generator=chance))
        boxes, labels = boxes_of(count), torch.randint(0, CLASSES, (count,), generator=chance)
        areas, no = (boxes[:, 2:] - boxes[:, :2]).prod(1), torch.zeros(count, dtype=torch.bool)
        objects.append(Objects(boxes, labels, areas, no, ~no))
        near = boxes + torch.randn(count, 4, generator=chance) * 5
        guessed = torch.cat([near, boxes_of(FOUND - count)])
        named = torch.cat([labels, torch.randint(0, CLASSES, (FOUND - count,), generator=chance)])
        certain = torch.rand(FOUND, generator=chance).sort(descending=True).values
        found.append(Detections(guessed, named, certain))
    dataset = DetectionSet(
        name="made",
        split="test",
        root=Path(),
        files=tuple(f"{i}.jpg" for i in range(images)),
        sizes=torch.full((images, 2), 500),
        identifiers=tuple(range(1, images + 1)),
        objects=tuple(objects),
        classes=tuple(f"class {i}" for i in range(CLASSES)),
        categories=tuple(range(1, CLASSES + 1)),
        noted={},
        source="made",
    )
    return dataset, found


def evaluation() -> dict[str, Any]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    dataset, found = made(IMAGES)
    began = time.perf_counter()
    ours = coco_result(dataset, found).to_dict()
    ours_s = time.perf_counter() - began
    truth, results = coco_truth(dataset), coco_detections(dataset, found)
    with contextlib.redirect_stdout(io.StringIO()):
        began = time.perf_counter()
        annotated = COCO()
        annotated.dataset = truth
        annotated.createIndex()
        judged = COCOeval(annotated, annotated.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
        theirs_s = time.perf_counter() - began
    difference = max(abs(ours[name] - float(value)) for name, value in zip(COCO_FIGURES, judged.stats, strict=True))
    return {
        "images": IMAGES,
        "detections": len(results),
        "ours_s": ours_s,
        "pycocotools_s": theirs_s,
        "faster": theirs_s / ours_s,
        "largest_difference": difference,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    asked = parser.parse_args()
    with watch_load() as load:
        record = {
            "inference": inference(asked.weights, asked.seconds),
            "evaluation": evaluation(),
        }
    record |= {"other_load": load.other, "machine": describe_machine(), "versions": library_versions()}
    print(json.dumps(record, indent=1))
    if asked.out:
        write_json(asked.out, record)


if __name__ == "__main__":
    main()
