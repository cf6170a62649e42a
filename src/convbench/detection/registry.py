"""Detectors by name. Like the index of networks, it is written out so that listing names does not import torch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from convbench.errors import RequestError, unknown

if TYPE_CHECKING:
    from convbench.detection.detector import Detector

FAMILIES = {
    "ssd": ("ssd300_vgg16", "ssd300_inception_v2", "ssd300_mobilenet_v1"),
    "faster_rcnn": ("faster_rcnn_vgg16", "faster_rcnn_inception_v2", "faster_rcnn_mobilenet_v1"),
}
BACKBONES = {"vgg16": "vgg16", "inception_v2": "inception_v2_slim", "mobilenet_v1": "mobilenet_v1"}  # by their ends

VALID: dict[str, tuple[str, Callable[[Any], bool]]] = {  # an argument -> what it is, and whether something is that
    "num_classes": ("a whole number from 1 on", lambda value: type(value) is int and value >= 1),
    "side": ("a whole number of pixels from 16 on", lambda value: type(value) is int and value >= 16),
    "scales": ("coco or voc", lambda value: value in ("coco", "voc")),
    # at less the least of the extra layers' widths is 0
    "width_multiplier": (
        "a number from 1/64 on",
        lambda value: type(value) in (int, float) and 1 / 64 <= value < math.inf,
    ),
}


def backbone_of(name: str) -> str:
    """The name of the network whose layers the detector `name` begins with."""
    return next(network for end, network in BACKBONES.items() if name.endswith(end))


def family_of(name: str) -> str:
    """The file that the detector `name` lives in: "ssd" or "faster_rcnn"."""
    return next(family for family, members in FAMILIES.items() if name in members)


def names() -> tuple[str, ...]:
    """Every detector's name, in the order of the papers."""
    return tuple(name for family in FAMILIES.values() for name in family)


def build_detector(name: str, *, num_classes: int | None = None, **others: Any) -> Detector:
    """Build a detector with fresh weights, as published where nothing else is asked for.

    Args:
        name: one of `names()`
        num_classes: of the data, without the background
        others: further arguments of the detector's function, such as ssd300_mobilenet_v1's width_multiplier or
            faster_rcnn_vgg16's side

    Raises RequestError for an unknown name or argument, and for a value that the network cannot take.
    """
    for family, members in FAMILIES.items():
        if name in members:
            make = getattr(import_module(f"convbench.detection.{family}"), name)
            known = inspect.signature(make).parameters
            given = others | ({} if num_classes is None else {"num_classes": num_classes})
            for key, value in given.items():
                if key not in known:
                    raise unknown(f"argument of {name}", key, known)
                expected, is_valid = VALID[key]
                if not is_valid(value):
                    raise RequestError(f"{name}: {key}: expected {expected}, found {value!r}")
            detector: Detector = make(**given)
            return detector
    raise unknown("detector", name, names())


def detector_of(name: str, classes: int, arguments: Mapping[str, Any]) -> Detector:
    """`build_detector` for data or weights of so many classes, which `arguments` therefore may not say."""
    if "num_classes" in arguments:
        found = arguments["num_classes"]
        raise RequestError(f"{name}: expected no num_classes, of which there are {classes} already, found {found!r}")
    return build_detector(name, num_classes=classes, **arguments)
