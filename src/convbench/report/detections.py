"""What `convbench detect` prints: average precisions, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from pathlib import Path

    from convbench.bench.detect import Finds

FIGURES = {  # COCO's, in its order
    "ap": "AP, mean over overlaps of 0.50 to 0.95",
    "ap50": "AP at an overlap of 0.50",
    "ap75": "AP at an overlap of 0.75",
    "ap_small": "AP of small objects, below 32 x 32 pixels",
    "ap_medium": "AP of medium ones",
    "ap_large": "AP of large ones, above 96 x 96",
    "ar1": "AR with 1 detection an image",
    "ar10": "AR with 10",
    "ar100": "AR with 100",
    "ar_small": "AR of small objects",
    "ar_medium": "AR of medium ones",
    "ar_large": "AR of large ones",
}
CLASSES = 20  # listed, at most


def print_detector_result(title: str, result: dict[str, Any], read: Mapping[str, dict[str, Any]]) -> None:
    """COCO's twelve figures, Pascal VOC's means, and both of each class, the best first.

    read: of each split how many images there were, `n`, and what was `noted` in their annotations
    """
    console = Console()
    console.print(Text(title, style="bold"), soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    for key, words in FIGURES.items():
        table.add_row(words, figure(result[key]))
    for method, words in (("area", "VOC's mAP, under the curve"), ("07", "VOC's mAP, at eleven recalls (2007)")):
        known = [value for value in result["voc"][method].values() if value is not None]
        table.add_row(words, figure(sum(known) / len(known) if known else -1))
    console.print(table)
    classes = sorted(result["per_class"], key=lambda name: -result["per_class"][name])
    there = [name for name in classes if result["per_class"][name] >= 0]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column, justify in (("class", "left"), ("AP", "right"), ("VOC's AP", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for name in there[:CLASSES]:
        table.add_row(name, figure(result["per_class"][name]), figure(result["voc"]["area"][name]))
    console.print(table)
    if len(there) > CLASSES:
        console.print(f"and {len(there) - CLASSES} more classes; --json lists all")
    for split, about in read.items():
        noted = ", ".join(f"{what} {count:,}" for what, count in about["noted"].items())
        text = f"{split}: {about['n']:,} images" + (f"; of the annotations: {noted}" if noted else "")
        console.print(Text(text), soft_wrap=True)


def figure(value: float | None) -> str:
    """Three digits, and a dash where there is nothing to find."""
    return "-" if value is None or value < 0 else f"{value:.3f}"


def print_finds(finds: Sequence[Finds], out: Path) -> None:
    """For each photograph its name, then a line for each object: class, score, corners in pixels."""
    console = Console()
    for one in finds:
        console.print(Text(one.file, style="bold"), soft_wrap=True)
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for justify in ("left", "right", "left"):
            table.add_column(justify=justify)
        for found in one.objects:
            table.add_row(Text(found.name), f"{found.score:.2f}", " ".join(f"{edge:.0f}" for edge in found.box))
        console.print(table if one.objects else "nothing")
    console.print(f"boxes drawn: {out}/, as JSON: {out / 'found.json'}", soft_wrap=True)
