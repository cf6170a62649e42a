"""What a detector costs, part by part: sums are the whole's, and Faster R-CNN's are table 13's."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest
import torch

from convbench.counting import trace
from convbench.detection.parts import BACKBONE, REGIONS, detector_cost, open_on_meta, split_cost
from convbench.detection.registry import FAMILIES, VALID, build_detector, detector_of, names
from convbench.errors import RequestError

PRINTED = {  # of the MobileNet paper's table 13: thousand million multiply-adds at 300 and 600, million parameters
    "faster_rcnn_vgg16": (64.3, 149.6, 138.5),
    "faster_rcnn_inception_v2": (118.2, 129.6, 13.3),
    "faster_rcnn_mobilenet_v1": (25.2, 30.5, 6.1),
}


@pytest.mark.parametrize("name", names())
def test_the_parts_are_the_whole(name: str) -> None:
    cost = detector_cost(open_on_meta(name, num_classes=7))
    parts = split_cost(cost)
    assert (sum(one.params for one in parts), sum(one.macs for one in parts)) == (cost.params, cost.macs)
    with torch.device("meta"):
        net = build_detector(name, num_classes=7)
    assert cost.params == sum(one.numel() for one in net.parameters())
    backbone = next(part for part in parts if part.name == BACKBONE)
    assert backbone.params == sum(one.numel() for one in net.get_submodule("trunk").parameters())
    if name.startswith("ssd"):
        assert cost.macs == trace(net, (3, 300, 300)).macs


@pytest.mark.parametrize("name", PRINTED)
def test_faster_rcnns_are_table_13s(name: str) -> None:
    *macs, params = PRINTED[name]
    for side, printed in zip((300, 600), macs, strict=True):
        cost = detector_cost(open_on_meta(name, side=side))
        assert cost.macs / 1e9 == pytest.approx(printed, abs=0.06)
        assert cost.params / 1e6 == pytest.approx(params, abs=0.05)
        (head,) = (part for part in split_cost(cost) if part.name == REGIONS)
        assert head.times == 300 and head.macs % 300 == 0


@pytest.mark.parametrize(
    ("name", "key", "value", "expected"),
    [
        ("ssd300_mobilenet_v1", "width_multiplier", "abc", "a number from 1/64 on"),
        ("ssd300_mobilenet_v1", "width_multiplier", -1, "a number from 1/64 on"),
        ("ssd300_mobilenet_v1", "width_multiplier", float("nan"), "a number from 1/64 on"),
        ("ssd300_mobilenet_v1", "num_classes", 0, "a whole number from 1 on"),
        ("ssd300_vgg16", "scales", "abc", "coco or voc"),
        ("faster_rcnn_vgg16", "side", 300.5, "a whole number of pixels from 16 on"),
    ],
)
def test_values_that_no_detector_takes_are_one_line(name: str, key: str, value: Any, expected: str) -> None:
    with pytest.raises(RequestError) as error:
        build_detector(name, **{key: value})
    assert str(error.value) == f"{name}: {key}: expected {expected}, found {value!r}"


def test_every_argument_is_checked_and_the_least_is_taken() -> None:
    for family, members in FAMILIES.items():
        for name in members:
            make = getattr(import_module(f"convbench.detection.{family}"), name)
            assert inspect.signature(make).parameters.keys() <= VALID.keys()
    with torch.device("meta"):
        net = build_detector("ssd300_mobilenet_v1", num_classes=1, width_multiplier=1 / 64)
    assert min(tensor.numel() for tensor in net.parameters()) > 0


def test_data_or_weights_say_the_classes() -> None:
    with pytest.raises(RequestError, match="expected no num_classes, of which there are 2 already, found 3"):
        detector_of("ssd300_vgg16", 2, {"num_classes": 3})
