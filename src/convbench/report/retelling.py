"""What the package's own files tell of a network: the ledger (published/*.toml), and its family's file read as text.

No network is built and torch is not loaded: a family's docstring and its table of variants are read off the syntax.
"""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

from convbench.errors import unknown

ERRORS = ("top1_error", "top5_error", "error")  # metrics, in percent
PRECISIONS = ("ap", "ap50", "ap75", "map")  # of detectors, in percent
KINDS = {"networks": "models", "detectors": "detection"}  # a ledger's file of what is built here: where it is built
PLACE = re.compile("tables?|figures?|sections?|study")  # how a source begins that is a place in a paper


def describe_networks(family: str | None = None) -> list[dict[str, Any]]:
    """Every network's entry in published/networks.toml with its name, in the order of the papers.

    With `family`, the name of a file in models/, only that family's; RequestError for an unknown one.
    """
    return _of_family(family, _entries("networks"))


def describe_detectors(family: str | None = None) -> list[dict[str, Any]]:
    """Every detector's entry in published/detectors.toml with its name and `ap`, which table 13 of Howard et al. 2017
    has for its size, in the order of the papers.

    With `family`, the name of a file in detection/, only that family's; RequestError for an unknown one.
    """
    figures = [figure for ledger in _papers() for figure in ledger.get("figures", ())]
    aps = {figure["network"]: figure["value"] for figure in figures if figure["metric"] == "ap"}
    return [{**entry, "ap": aps[entry["rows"][-1]]} for entry in _of_family(family, _entries("detectors"))]


def _of_family(family: str | None, entries: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    families = {entry["family"] for kind in KINDS for entry in _entries(kind).values()}
    if family is not None and family not in families:
        raise unknown("family", family, families)
    return [{"name": name, **entry} for name, entry in entries.items() if family in (None, entry["family"])]


def describe_network(name: str) -> dict[str, Any]:
    """A network's or a detector's entry and the story around it, as plain values.

    Adds to the entry:
        about: the paper's idea; None for what is in no paper
        published_in: the paper's title, authors, venue and year; None where the ledger has no file of it
        file: the family's, within the package
        headline, tables, departures, variant: what that file says (see `retell`)
        figures: every published number of this network, each with data, protocol, source and confidence
        relatives: the networks of the same file
        commands: what to type next

    Raises RequestError for an unknown name: it names the nearest ones.

    >>> describe_network("vgg16")["variant"]
    "VGG(column='D')"
    """
    kind = next((kind for kind in KINDS if name in _entries(kind)), None)
    if kind is None:
        raise unknown("network", name, [known for kind in KINDS for known in _entries(kind)])
    entries, file = _entries(kind), f"{KINDS[kind]}/{_entries(kind)[name]['family']}.py"
    entry = entries[name]
    relatives = [other for other in entries if entries[other]["family"] == entry["family"]]
    of_paper = [entries[other] for other in relatives if entries[other].get("paper") == entry.get("paper")]
    papers = [ledger["paper"] for ledger in _papers() if _citation(ledger["paper"]) == entry.get("paper")]
    told = retell(resources.files("convbench").joinpath(file).read_text(), name)
    told["departures"] = [text for text in told["departures"] if _concerns(text, name, relatives)]
    return {
        "name": name,
        **entry,
        "about": next((other["about"].strip() for other in (entry, *of_paper) if "about" in other), None),
        "published_in": papers[0] if papers else None,
        "file": file,
        **told,
        "figures": _figures(name, entry),
        "relatives": relatives,
        "commands": [
            f"convbench cost {name}",
            f"convbench claims --network {name}" if _in_deck(name) else f"convbench models --family {entry['family']}",
        ],
    }


def retell(source: str, name: str) -> dict[str, Any]:
    """What the Python text of a family's file says of the network `name`.

    headline: the docstring's first paragraph
    tables: its indented blocks, each with the sentence that announces it by a colon as its caption
    departures: the items of its last section, each on one line, without tables and the sentences that announce them
    variant: the network's row in the table of variants, as a call; None where a rule makes the rows
    """
    syntax = ast.parse(source)
    telling, _, departures = (ast.get_docstring(syntax) or "").partition("\nDepartures")
    blocks = telling.rstrip().split("\n\n")
    return {
        "headline": blocks[0],
        "tables": [
            {"caption": " ".join(_announcement(above).split()), "text": textwrap.dedent(block)}
            for above, block in pairwise(blocks)
            if _is_table(block)
        ],
        "departures": [_item(item) for item in departures.removeprefix(":").split("\n- ") if item],
        "variant": _variant(syntax, name),
    }


def _item(item: str) -> str:
    """The prose of a list's item; what is not indented stands after the list and is left out."""
    first, *others = item.split("\n\n")
    prose = [
        block.removesuffix(_announcement(block)) if _is_table(below) else block
        for block, below in pairwise([first, *(other for other in others if other.startswith(" ")), ""])
        if not _is_table(block)
    ]
    text = " ".join(" ".join(prose).split())
    return text[0].upper() + text[1:]


def _is_table(block: str) -> bool:
    return block != "" and all(line.startswith("    ") for line in block.splitlines())


def _announcement(block: str) -> str:
    """The last sentence of `block` if it ends in a colon, else nothing."""
    last = re.split(r"\.\s", block)[-1]
    return last if last.endswith(":") else ""


def _concerns(text: str, name: str, relatives: list[str]) -> bool:
    """Whether `text` is about every network of the family, or about this one among others."""
    named = {other for other in relatives if re.search(rf"\b{other}\b", text)}
    return not named or name in named


def _variant(syntax: ast.Module, name: str) -> str | None:
    rows = {
        key.value: row
        for node in ast.walk(syntax)
        if isinstance(node, ast.Dict)
        for key, row in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant)
    }
    match rows.get(name):
        case ast.Tuple(elts=[network, ast.Dict(keys=keys, values=values)]):
            pairs = zip(keys, values, strict=True)
            written = (f"{ast.literal_eval(key)}={ast.unparse(value)}" for key, value in pairs if key)
            return f"{ast.unparse(network)}({', '.join(written)})"
    return None


def _figures(name: str, entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The ledger's figures of a network, and its entry's errors where the ledger has none.

    The source of a figure from another paper than the network's own begins with that paper. Of the rows that a detector
    has in a table, those at other sizes of the image than its own give their AP alone.
    """
    found: list[dict[str, Any]] = []
    rows = entry.get("rows", [name])
    for ledger in _papers():
        own, paper = _citation(ledger["paper"]) == entry.get("paper"), _short(ledger["paper"])
        for figure in ledger.get("figures", ()):
            if figure["network"] in (name, rows[-1]) or (figure["network"] in rows and figure["metric"] in PRECISIONS):
                elsewhere = not own and PLACE.match(figure["source"])
                found.append({**figure, "source": f"{paper}, {figure['source']}"} if elsewhere else figure)
    known = {(figure["metric"], figure["data"]) for figure in found}
    shared = {key: entry.get(key, "verified") for key in ("data", "protocol", "source", "confidence")}
    listed = [
        {"network": name, "metric": metric, "value": entry[metric], **shared} for metric in ERRORS if metric in entry
    ]
    return [figure for figure in listed if (figure["metric"], figure["data"]) not in known] + found


def _citation(paper: dict[str, Any]) -> str:
    """As the networks' entries cite a paper: Han, Kim & Kim, CVPR 2017."""
    return f"{paper['authors']}, {paper['venue']}"


def _short(paper: dict[str, Any]) -> str:
    """As a source of figures cites a paper: Han et al. 2017."""
    first, *others = paper["authors"].split(", ")
    return f"{first} et al. {paper['venue'][-4:]}" if others else f"{first} {paper['venue'][-4:]}"


@cache
def _entries(kind: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads(resources.files("convbench").joinpath("published", f"{kind}.toml").read_text())


@cache
def _papers() -> list[dict[str, Any]]:
    """The files of the ledger that are about a paper, by name."""
    folder = resources.files("convbench").joinpath("published")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    return [content for content in (tomllib.loads(file.read_text()) for file in files) if "paper" in content]


def _in_deck(name: str) -> bool:
    """Whether a claim of the lecture deck is about the network."""
    deck = resources.files("convbench").joinpath("published", "deck.toml").read_text()
    return re.search(rf'\b(network|minus|per) = "{name}"', deck) is not None
