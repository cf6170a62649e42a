"""What `convbench evaluate` prints: errors, classes, confusions, members of an ensemble, linear classifiers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convbench.report.listings import print_result
from convbench.report.predictions import bar

if TYPE_CHECKING:
    from pathlib import Path


def print_evaluation(result: dict[str, Any], gallery: Path | None = None) -> None:
    """What `evaluate_weights` found; class by class where it was asked for."""
    title = result["network"] if result["crops"] == "centre" else f"{result['network']}, {_views(result)}"
    print_result(title, result)
    if result["members"]:
        _print_members(result["members"])
    if "classes" in result:
        _print_classes(result["classes"])
    if gallery is not None:
        print(f"gallery: {gallery}")


def print_probe(probed: dict[str, Any]) -> None:
    """What `probe_weights` found."""
    low, high = probed["interval"]
    kind = {"svm": "a linear SVM", "logistic": "logistic regression"}[probed["kind"]]
    print(f"{kind} on the {probed['features']:,} features of {probed['network']}'s {probed['layer']}:")
    print(f"{probed['top1_error']:.2f} % error, 95 % interval {low:.2f} to {high:.2f}, {probed['n']:,} images")
    print(
        f"trained on {probed['n_train']:,} images of {probed['data']}; C = {probed['c']:g} by cross-validation on these"
    )
    if probed["caution"]:
        print(f"caution: {probed['caution']}")


def _views(result: dict[str, Any]) -> str:
    return f"crops {result['crops']}, softmax averaged over {result['views']}"


def _print_members(members: list[dict[str, Any]]) -> None:
    print("\nensemble, softmax averaged over its members:")
    table = _table("network", "weights", "alone, error %", right=(2,))
    for one in members:
        table.add_row(one["network"], Text(one["weights"]), f"{one['top1_error']:.2f}")
    Console().print(table)


def _print_classes(classes: dict[str, Any]) -> None:
    for heading, key in (("easiest classes", "easiest"), ("hardest classes", "hardest")):
        table = _table(heading, "images", "right %", "95 % interval", "", right=(1, 2, 3))
        for one in classes[key]:
            low, high = one["interval"]
            accuracy = one["accuracy"]
            table.add_row(
                Text(one["name"]), f"{one['n']:,}", f"{accuracy:.1f}", f"{low:.1f} to {high:.1f}", bar(accuracy)
            )
        print()
        Console().print(table)
    table = _table("confused most", "with", "as the second", "as the first", right=(2, 3))
    for pair in classes["confused"]:
        counts = str(pair["first_as_second"]), str(pair["second_as_first"])
        table.add_row(Text(pair["first"]), Text(pair["second"]), *counts)
    print()
    Console().print(table)


def _table(*headings: str, right: Iterable[int] = ()) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for place, heading in enumerate(headings):
        table.add_column(Text(heading), justify="right" if place in right else "left", overflow="fold")
    return table
