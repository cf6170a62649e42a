"""The claims ledger: every verdict comes out as it is written, nothing is lost, and what is unverified says so."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from convbench.claims import ClaimResult, FigureResult, check, check_claims, check_figures, ledger
from convbench.claims.check import agrees, read_number
from convbench.claims.ledger import Reading, read_claims, read_figures, read_paper
from convbench.claims.quantities import QUANTITIES, compute
from convbench.errors import RequestError
from convbench.models import names
from convbench.report.claims_listing import print_claims, print_figures
from convbench.schema import packaged


@pytest.fixture(scope="module")
def results() -> list[ClaimResult]:
    return check_claims()


@pytest.fixture(scope="module")
def figures() -> list[FigureResult]:
    return check_figures()


def test_no_verdict_has_changed(results: list[ClaimResult]) -> None:
    assert {one.id: one.verdict for one in results} == {one.id: one.expected for one in results}


def test_no_claim_is_lost(results: list[ClaimResult]) -> None:
    """The audit of the deck found 89 statements: 36 right, 27 wrong, 26 ambiguous; the rest is every other number."""
    statements = Counter(one.verdict for one in results if one.kind == "statement")
    assert statements == {"right": 36, "wrong": 27, "ambiguous": 26}
    details = Counter(one.verdict for one in results if one.kind == "detail")
    assert details == {"right": 388, "wrong": 39, "ambiguous": 22}
    assert Counter(one.recomputed for one in results) == {True: 479, False: 59}


@pytest.mark.parametrize(
    ("prefix", "cells"),
    [
        ("vgg16-row-", 65),  # the input's 2, and 3 for each of 18 convolutions and pools and 3 full layers
        ("alexnet-conv", 5 * 5 + 1),  # five columns of five convolutions, and their number
        ("lenet-c3-row-", 6),
        ("hardest-", 10 + 1),  # and the statement that sums them up
        ("easiest-", 6 + 1),
        ("alexnet-ablation", 5 + 1),
        ("table8-", 3 * 3),
        ("table10-", 5 * 3),
        ("mobilenet-body-", 19 * 3 + 2 + 5),  # 19 convolutions, two repetitions, pool, full layer, softmax
        ("coco-", 9 * 3),
        ("summary-resnet", 1 + 5 * 6 + 5),  # year, rows, statements
        ("summary-vgg", 1 + 4 * 9 + 2),
        ("summary-pyramidnet", 1 + 4 * 5 + 4),
        ("outline-", 8),
    ],
)
def test_tables_are_whole(prefix: str, cells: int) -> None:
    assert sum(claim.id.startswith(prefix) for claim in read_claims()) == cells


def test_every_claim_says_what_it_must(results: list[ClaimResult]) -> None:
    for one in results:
        assert all((one.id, one.slide, one.says, one.deck, one.reason, one.source)), one
        assert one.published or one.counted or one.parts, one
        assert set(one.to_dict()) > {"deck", "published", "counted", "verdict", "reason", "confidence"}


def test_what_a_wrong_number_really_is_agrees_with_it() -> None:
    """ResNet-20's 1.8 GOP are ResNet-18's, AlexNet's 37.5 is of ILSVRC-2010, VGG-16's 1x1 is column C's, ..."""
    wrong = [claim for claim in read_claims() if claim.really]
    assert len(wrong) == 23
    for claim in wrong:
        for reading in claim.really:
            assert agrees(claim.deck, compute(reading), unit=reading.unit, rounding=reading.rounding), claim.id


def test_a_changed_deck_value_changes_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {"summary-vgg11-conv-gop": "7.5", "vgg16-row-conv1_1-memory": "3.3M", "zfnet-conv3-maps": "256"}
    edited = [replace(claim, deck=changed.get(claim.id, claim.deck)) for claim in read_claims()]
    monkeypatch.setattr(check, "read_claims", lambda: tuple(edited))
    verdicts = {one.id: one.verdict for one in check_claims(slide="VGG") + check_claims(slide="zfnet")}
    assert verdicts["vgg16-row-conv1_1-memory"] == "wrong"
    assert verdicts["vgg16-table"] == "ambiguous"  # sums up its cells
    assert verdicts["zfnet-conv3-maps"] == "wrong"  # neither variant has 256
    assert {one.id: one.verdict for one in check_claims(network="vgg11")}["summary-vgg11-conv-gop"] == "right"


def test_published_counts_agree_or_say_why(figures: list[FigureResult]) -> None:
    silent = [one for one in figures if not one.agrees and not one.note]
    assert not silent
    assert Counter(one.agrees for one in figures) == {True: 109, False: 41}
    exact = {(one.network, one.metric): one.counted for one in figures if one.source == "torchvision 0.29"}
    assert exact["vgg16", "params"] == "138,357,544"
    assert exact["inception_v3", "params"] == "27,161,264"  # its auxiliary head included


def test_figures_are_whole() -> None:
    papers = read_figures()
    assert set(papers) == set(packaged("published")) - {"deck", "networks", "detectors"}
    assert {name: len(found) for name, found in papers.items() if name in ("vgg", "mobilenet", "ilsvrc")} == {
        "vgg": 64,
        "mobilenet": 134,
        "ilsvrc": 42,
    }
    assert sum(map(len, papers.values())) == 654
    for name, found in papers.items():
        assert len(set(found)) == len(found), name
        assert all(figure.source for figure in found), name
        assert all(figure.data or "error" not in figure.metric for figure in found), name
        if name != "lecun1998":
            assert read_paper(name).year <= int(read_paper(name).venue[-4:])
    with_error = {figure.network for found in papers.values() for figure in found if "error" in figure.metric}
    assert {"alexnet", "vgg16", "googlenet", "inception_v3", "resnet50", "mobilenet_v1_025"} <= with_error & {*names()}


@pytest.mark.parametrize(
    ("printed", "exact", "options", "expected"),
    [
        ("15.3", 15_346_630_656, {"unit": 1e9}, True),
        ("15.3", 15_350_000_000, {"unit": 1e9}, False),  # halves go up
        ("0.05", 58_621_952, {"unit": 1e9}, False),
        ("0.05", 58_621_952, {"unit": 1e9, "rounding": "truncated"}, True),
        ("150K", 150_528, {}, False),
        ("150K", 150_528, {"rounding": "2 significant digits"}, True),
        ("20k", 21_841, {"rounding": "1 significant digit"}, True),
        ("1,728", 1728, {}, True),
        ("159K", 163_328, {"unit": 1024, "rounding": "truncated"}, True),
        ("about 1.2 million", 1_204_000, {}, True),
        ("70.6%", 70.6, {}, True),
        ("1x1x4096", "4096", {}, True),
        ("3x3 5x5", "3x3 5x5 7x7", {}, False),
    ],
)
def test_agreement_by_hand(printed: str, exact: float | str, options: dict[str, float], expected: bool) -> None:
    assert agrees(printed, exact, **options) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("network", "depth"),
    [("lenet5_relu", 5), ("googlenet", 22), ("resnet50", 50), ("pyramidnet110_a48", 110), ("mobilenet_v1", 28)],
)
def test_depth_is_the_one_in_the_name(network: str, depth: int) -> None:
    assert compute(Reading(quantity="depth", network=network)) == depth


def test_the_listing_reads_at_100_columns(results: list[ClaimResult]) -> None:
    text = listed(results)
    assert max(map(len, text.splitlines())) <= 100
    assert "89 audited statements: 36 right, 27 wrong, 26 ambiguous" in text
    assert "538 claims: 424 right, 66 wrong, 48 ambiguous" in text
    (row,) = (line for line in text.splitlines() if line.startswith("VGG-11, GOP of convolutions"))
    assert " ".join(row.split()) == "VGG-11, GOP of convolutions 6.5 7.49 counted wrong 7.49; with the full"


def test_recalled_claims_are_printed_as_unverified(results: list[ClaimResult]) -> None:
    recalled = [one for one in results if one.confidence == "recalled"]
    assert len(recalled) == 36
    table, totals = listed(recalled).split("audited statements:")
    assert table.count("unverified: ") == len(recalled)
    assert "36 unverified" in totals
    table, totals = listed([one for one in results if one.confidence != "recalled"]).split("audited statements:")
    assert "unverified" not in table
    assert "0 unverified" in totals


def test_a_changed_verdict_is_seen_in_the_listing(results: list[ClaimResult]) -> None:
    assert "expected" not in listed(results[:9])
    assert "expected" in listed([replace(results[1], verdict="wrong")])


def test_figures_are_listed_with_their_reasons(figures: list[FigureResult]) -> None:
    console = Console(file=io.StringIO(), width=100)
    print_figures(figures, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "150 published counts: 109 agree, 41 do not" in text
    assert "13.6M" in text


def test_filters(results: list[ClaimResult]) -> None:
    wrong = check_claims(slide="summary", verdict="wrong")
    assert wrong == [one for one in results if one.slide == "Summary" and one.verdict == "wrong"]
    of_resnet18 = check_claims(network="resnet18")  # what the deck gives ResNet-20 is its own
    assert [one.id for one in of_resnet18] == ["summary-resnet20-gop"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"slide": "Sumary"}, "unknown slide 'Sumary': nearest is Summary"),
        ({"verdict": "false"}, "unknown verdict 'false'"),
        ({"network": "vgg61"}, "unknown network with claims 'vgg61': nearest are vgg19, vgg16"),
    ],
)
def test_requests_that_nothing_answers(asked: dict[str, str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        check_claims(**asked)


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (Reading(quantity="param"), "unknown quantity 'param': nearest .* params"),
        (Reading(quantity="shape", network="vgg16", layer="conv1_3"), "unknown layer in vgg16 'conv1_3'"),
        (Reading(quantity="figure", paper="vgg", network="vgg16"), "expected one figure .* found"),
        (Reading(quantity="figure", paper="vgq", network="vgg16"), "unknown paper 'vgq'"),
    ],
)
def test_readings_that_mean_nothing(reading: Reading, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        compute(reading)


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({}, "claim a: expected correct, recompute or parts, found none"),
        ({"correct": "1", "verdict": "true"}, "deck: a: verdict: Input should be 'right', 'wrong' or 'ambiguous'"),
        ({"correct": "1", "sources": "x"}, "unknown key in deck: a 'sources': nearest is source"),
        ({"correct": "1", "id": "b"}, "expected each id once, found b again"),
        ({"recompute": {"quantity": "macs", "netwrok": "vgg16"}}, r"recompute.0 'netwrok': nearest is network"),
    ],
)
def test_a_ledger_with_a_slip_says_where(
    claim: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"says": "one", "deck": "1", "reason": "r", "source": "s"}
    entries = [{"id": "b", "correct": "1", **said}, {"id": "a", **said, **claim}]
    content = {"sections": [{"slide": "Summary", "claims": entries}]}
    monkeypatch.setattr(ledger, "read_toml", lambda *_: ("deck", content))
    with pytest.raises(RequestError, match=message):
        read_claims.__wrapped__()


def test_a_number_is_asked_for() -> None:
    with pytest.raises(RequestError, match=r"such as 138M or 15\.3, found 'many'"):
        read_number("many")


def test_every_quantity_is_used() -> None:
    readings = (one for claim in read_claims() for one in (*claim.recompute, *claim.really))
    assert set(QUANTITIES) == {one.quantity for one in readings} | {"connections"}  # those are of figures alone


def listed(results: list[ClaimResult]) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_claims(results, console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_detectors_are_counted_beside_the_figures_of_their_table() -> None:
    results = {one.id: one for one in check_claims(network="ssd300_vgg16")}
    assert set(results) == {"coco-ssd-300-deeplab-vgg-macs", "coco-ssd-300-deeplab-vgg-params"}
    macs = results["coco-ssd-300-deeplab-vgg-macs"]
    assert (macs.published, macs.counted, macs.verdict) == ("34.9", "34.36; 34.86", "ambiguous")
    at_300, at_600 = (
        compute(Reading(quantity="macs", network="faster_rcnn_mobilenet_v1", image_size=side)) for side in (300, 600)
    )
    assert (at_300, at_600) == (25_224_412_096, 30_493_700_224)
    assert compute(Reading(quantity="params", network="faster_rcnn_vgg16", layer="head.body.fc6")) == 102_764_544
