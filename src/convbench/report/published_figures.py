"""Published figures in words, for page and terminal: the values, what they were measured on, and whence they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convbench.report.retelling import ERRORS, PRECISIONS

UNKNOWN = "–"
SHORT = {  # what the figures were measured on, for the narrow column of the list
    "MNIST test": "MNIST",
    "CIFAR-10 test": "CIFAR-10",
    "ILSVRC-2012 val": "ILSVRC val",
    "ILSVRC-2012 val without 1,700 blacklisted images": "ILSVRC val¹",
}
COUNTS = {"params": "parameters", "macs": "multiply-adds", "connections": "connections"}
PARTIAL = {"layer", "image_size", "num_classes", "auxiliary"}  # keys of figures that count another thing than `input`
PRECISION_NAMES = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "map": "mAP"}
CONFIDENCE = {"verified": "", "recalled": "unverified", "computed": "computed here"}


def told_facts(story: dict[str, Any]) -> list[tuple[str, str]]:
    """(label, text) of how a network is built, and its counts beside the printed ones; see `describe_network`."""
    shape = "x".join(map(str, story["input"]))
    facts = [
        ("idea", story["idea"]),
        ("code", listed(story["variant"], story["file"])),
        ("input", f"{shape}, {story['classes']} classes"),
    ]
    for metric, label in COUNTS.items():
        if metric in story:
            same = [f for f in story["figures"] if f["metric"] == metric and not PARTIAL & f.keys()]
            printed = [_printed(f) for f in same if f["value"] != story[metric] or f["confidence"] != "computed"]
            facts.append((label, f"{story[metric]:,}" + (f"; printed {listed(*printed)}" if printed else "")))
    if "departure" in story:
        facts.append(("origin", story["departure"]))
    return facts


def measured_on(entry: dict[str, Any]) -> str:
    """On what the errors of a list's entry were measured, and how; ² where the paper was not at hand."""
    measured = listed(SHORT.get(entry.get("data", ""), entry.get("data")), entry.get("protocol"))
    return measured + ("²" if entry.get("confidence") == "recalled" else "")


def _printed(figure: dict[str, Any]) -> str:
    """A count as its source prints it: 138M (table 2)."""
    digits = figure.get("printed") or format(figure["value"], ",")
    return f"{digits} ({listed(figure['source'], CONFIDENCE[figure['confidence']])})"


def told_errors(figures: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """(errors, measured on, source) of everything measured; the top-1 and top-5 of one measurement share a row."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for figure in figures:
        if figure["metric"] in ERRORS:
            source = listed(figure["source"], CONFIDENCE[figure["confidence"]])
            row = rows.setdefault((listed(figure["data"], figure["protocol"]), source), {})
            row[figure["metric"]] = figure["value"]
    return [(f"{_percents(values)} %", measured, source) for (measured, source), values in rows.items()]


def told_precisions(figures: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """(metric, value, measured on, source) of a detector's; a row of a table, which names the size, with its name."""
    return [
        (
            PRECISION_NAMES[figure["metric"]],
            f"{figure['value']} %",
            listed(figure["data"], figure["protocol"]),
            listed(figure["source"], "" if figure["network"].islower() else figure["network"]),
        )
        for figure in figures
        if figure["metric"] in PRECISIONS
    ]


def _percents(values: dict[str, float]) -> str:
    """27.0 / 8.8 for top-1 and top-5, 8.75 for the one error of ten classes."""
    metrics = ("error",) if "error" in values else ("top1_error", "top5_error")
    return " / ".join(str(values.get(metric, UNKNOWN)) for metric in metrics)


def listed(*parts: str | None) -> str:
    """What there is of the parts, with commas."""
    return ", ".join(filter(None, parts))
