"""What the commands print on the terminal: data sets, conversions, results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from convbench.data import Dataset, PhotographSet


MANY = 20  # classes that fit on one screen


def print_data_sets(as_json: bool) -> None:
    """The known data sets, a line each."""
    from convbench.data import DATASETS

    if as_json:
        rows = {
            name: {"title": d.title, "train": d.train, "test": d.test, "shape": d.shape} for name, d in DATASETS.items()
        }
        print(json.dumps(rows, indent=1))
        return
    table = _table("data set", "train", "test", "shape", "what", right=(1, 2))
    for name, d in DATASETS.items():
        shape = "x".join(map(str, d.shape)) if all(d.shape) else f"{d.shape[0]}, any"
        table.add_row(name, f"{d.train:,}", f"{d.test:,}", shape, d.title)
    Console().print(table)


def describe_data(splits: Sequence[Dataset | PhotographSet]) -> dict[str, Any]:
    """Plain values for JSON: where the splits lie, their sizes, fingerprints and images a class; shape None: any."""
    return {
        split.split: {
            "name": split.name,
            "n": len(split),
            "shape": list(split.images.shape[1:]) if hasattr(split, "images") else None,
            "source": split.source,
            "fingerprint": split.fingerprint,
            "per_class": dict(
                zip(split.classes, split.labels.bincount(minlength=len(split.classes)).tolist(), strict=True)
            ),
        }
        for split in splits
    }


def print_data(described: dict[str, Any]) -> None:
    """What `describe_data` says, for people."""
    for name, split in described.items():
        shape = "x".join(map(str, split["shape"])) if split["shape"] else "any size"
        print(f"{name}: {split['n']:,} images of {shape}, fingerprint {split['fingerprint']}, from {split['source']}")
    labels = list(next(iter(described.values()))["per_class"])
    table = _table("class", *described, right=range(1, 1 + len(described)))
    for label in labels[:MANY]:
        table.add_row(label, *(f"{split['per_class'][label]:,}" for split in described.values()))
    Console().print(table)
    _say_how_many_more(len(labels))


def print_conversion(path: Path, metadata: dict[str, Any]) -> None:
    """What a converted file of weights says of itself."""
    classes = metadata["classes"]
    rows = {
        "network": metadata["network"],
        "source": f"{metadata['source']}, in the names of {metadata.get('library', 'convbench')}",
        "sha256": metadata["sha256"],
        "input": "x".join(map(str, metadata["input_shape"])),
        "classes": f"{len(classes):,}: {', '.join(classes[:3])}, ..." if classes else "not known",
        "preprocessing": _settings(metadata["preprocessing"]),
        "conventions": _settings(metadata.get("conventions", {})),
        "folded": "batch normalisation lies in the convolutions" if metadata.get("folded") else "",
        "caution": metadata.get("caution", ""),
        "missing": ", ".join(metadata.get("missing", ())),
        "licence": metadata.get("licence", "not known"),
    }
    print(f"wrote {path}")
    table = _table("", "")
    table.show_header = False
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, "bold"), Text(value))
    Console().print(table)


def _settings(values: dict[str, Any]) -> str:
    """Those that are set, as key=value."""
    return ", ".join(f"{key}={value}" for key, value in values.items() if value not in (None, False))


def print_result(title: str, result: dict[str, Any]) -> None:
    """An evaluation on one screen; of very many classes, those with the most errors."""
    low, high = result["interval"]
    print(f"{title}: {result['top1_error']:.2f} % error, 95 % interval {low:.2f} to {high:.2f}, {result['n']:,} images")
    if result.get("caution"):
        print(f"caution: {result['caution']}")
    if result["top5_error"] is not None:
        print(f"not among the best five: {result['top5_error']:.2f} %")
    rejected = result["rejection"]["rejected"]
    share = "cannot be reached" if rejected is None else f"{rejected:.1f} % rejected"
    print(f"for {result['rejection']['target_error']} % error among the rest: {share}\n")
    classes = result["per_class"]
    shown = classes if len(classes) <= MANY else sorted(classes, key=lambda one: -one["errors"])[:MANY]
    table = _table("class", "images", "errors", "error %", right=(1, 2, 3))
    for one in shown:
        error = "–" if one["error"] is None else f"{one['error']:.2f}"
        table.add_row(one["name"], f"{one['n']:,}", str(one["errors"]), error)
    Console().print(table)
    _say_how_many_more(len(classes))
    if result["worst"]:
        worst = [
            f"{m['index']} ({classes[m['label']]['name']} as {classes[m['predicted']]['name']})"
            for m in result["worst"][:6]
        ]
        print(f"\nworst images: {', '.join(worst)}")


def _say_how_many_more(classes: int) -> None:
    if classes > MANY:
        print(f"and {classes - MANY:,} classes more; --json has them all")


def _table(*headings: str, right: Sequence[int] = ()) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for i, heading in enumerate(headings):
        table.add_column(Text(heading), justify="right" if i in right else "left", overflow="fold")
    return table
