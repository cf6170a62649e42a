"""The networks and detectors as one page of Markdown: papers, counts, published errors, departures."""

from __future__ import annotations

from importlib import resources
from itertools import groupby
from typing import Any

from convbench.report.retelling import describe_detectors, describe_network, describe_networks, retell

HEAD = """# The networks, and where they depart from their papers

Written by `convbench models --markdown` from the families' own files and the ledger of published figures. Counts are
exact, of one image in evaluation: parameters without auxiliary heads, multiply-adds of convolutions and matrix products
([costs.md](costs.md)). Errors and AP are percent, a single network's as its own paper gives them, with what they were
measured on; compare within a protocol. `convbench models NAME` has all published figures of one.
"""
UNKNOWN = "–"
SOURCE = "../src/convbench"  # as a page in docs/ links to it


def networks_page() -> str:
    """The whole page, which ends in a line's end."""
    parts = [HEAD]
    for entries, figures in ((describe_networks(), ("top1_error", "top5_error")), (describe_detectors(), ("ap",))):
        for family, members in groupby(entries, key=lambda entry: str(entry["family"])):
            parts.append(_section(family, list(members), figures))
    return "\n".join(parts)


def _section(family: str, entries: list[dict[str, Any]], figures: tuple[str, ...]) -> str:
    first = describe_network(entries[0]["name"])
    told = retell(resources.files("convbench").joinpath(first["file"]).read_text(), first["name"])
    title, _, idea = told["headline"].partition(": ")
    lines = [f"## {title.removesuffix('.')}", ""]
    lines += [_capital(" ".join(idea.split())), ""] if idea else []
    for story in _by_paper(entries):
        lines += [f"{story['paper']}{_arxiv(story)}: {story['about']}", ""]
    measures = {"top1_error": "top-1", "top5_error": "top-5", "ap": "AP"}
    heads = ["network", "year", "parameters", "multiply-adds", *(measures[one] for one in figures), "measured on"]
    lines += [f"| {' | '.join([*heads, 'what sets it apart'])} |", _rule(len(figures))]
    lines += [_row(entry, figures) for entry in entries]
    for table in told["tables"]:
        lines += ["", *([table["caption"], ""] if table["caption"] else []), "```text", table["text"], "```"]
    file = f"[{first['file']}]({SOURCE}/{first['file']})"
    lines += ["", f"Departures ({file}):" if told["departures"] else f"No departures are known ({file}).", ""]
    lines += [f"- {departure}" for departure in told["departures"]]
    return "\n".join(lines).rstrip() + "\n"


def _by_paper(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The story of the first network of each paper that tells one."""
    stories = (describe_network(entry["name"]) for entry in entries if "paper" in entry)
    found: dict[str, dict[str, Any]] = {}
    for story in stories:
        if story["about"]:
            found.setdefault(story["paper"], story)
    return list(found.values())


def _arxiv(story: dict[str, Any]) -> str:
    return f" (arXiv:{story['arxiv']})" if "arxiv" in story else ""


def _rule(figures: int) -> str:
    return f"| --- | ---: | ---: | ---: |{' ---: |' * figures} --- | --- |"


def _row(entry: dict[str, Any], figures: tuple[str, ...]) -> str:
    counts = (str(entry.get("year", UNKNOWN)), f"{entry['params']:,}", f"{entry['macs']:,}")
    shown = [str(entry.get(one, UNKNOWN)) for one in figures]
    if "error" in entry:
        shown[0] = str(entry["error"])
    measured = ", ".join(str(entry[key]) for key in ("data", "protocol") if key in entry)
    if "ap" in entry:
        measured = f"COCO minival, {entry['input'][-1]} pixels"
    unsure = " (unverified)" if entry.get("confidence") == "recalled" else ""
    apart = " ".join(str(text) for text in (entry["idea"], _capital(entry.get("departure", ""))) if text)
    cells = (f"`{entry['name']}`", *counts, *shown, (measured or UNKNOWN) + unsure, apart)
    return f"| {' | '.join(cells)} |"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
