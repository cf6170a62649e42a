"""The documents' figures are the committed records' figures, and those fit the suite as it stands."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import pytest
import torch

from convbench.bench.execute import resolve_recipe
from convbench.bench.runner import plain, recorded_recipe
from convbench.bench.suite import open_suite, read_claim
from convbench.claims.trials import compare, read_trials
from convbench.counting import trace
from convbench.models import build, published_input

DOCS = Path(__file__).parents[1] / "docs"
RECORDS: dict[str, dict[str, Any]] = {
    path.parent.name: json.loads(path.read_text()) for path in sorted(DOCS.glob("lecun1998/*/record.json"))
}


def table(text: str) -> list[list[str]]:
    """The cells of the first Markdown table of `text`, without its head."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_every_run_of_the_suite_has_its_record() -> None:
    _, suite = open_suite("lecun1998")
    assert {run.name for run in suite.runs} == set(RECORDS)
    for run in suite.runs:
        record = RECORDS[run.name]
        assert record["status"] == "done"
        assert record["spec"] == plain(asdict(run)), f"{run.name} was recorded with other settings"
        assert recorded_recipe(record) == resolve_recipe(suite, run), f"{run.name} had another recipe"
        assert record["data"]["test"]["n"] == record["result"]["n"] == 10_000
        if run.claim:
            assert record["published"] == read_claim("lecun1998", run.claim)


def test_the_tables_figures_are_the_records() -> None:
    rows = table((DOCS / "lecun1998.md").read_text())
    assert len(rows) == len(RECORDS)
    by_title = {record["title"]: record for record in RECORDS.values()}
    for title, published, measured, interval, *_ in rows:
        record = by_title[title]
        result, claim = record["result"], record["published"]
        assert measured == f"{result['top1_error']:.2f}", title
        assert interval == "{:.2f} to {:.2f}".format(*result["interval"]), title
        assert published == (f"{claim['error']:g}" if claim else "–"), title


def test_every_deviation_is_explained() -> None:
    """A row whose interval does not meet the published figure has a sentence of its own below the table."""
    text = (DOCS / "lecun1998.md").read_text()
    explained = set(re.findall(r"^- \*\*(.+?)\*\*", text, re.M))
    explained = {title for group in explained for title in group.split("; ")}
    for record in RECORDS.values():
        if record["published"] is None:
            continue
        low, high = record["result"]["interval"]
        if not low <= record["published"]["error"] + 0.1 or not record["published"]["error"] - 0.1 <= high:
            assert record["title"] in explained, record["title"]


def test_lenet5_reaches_99_percent() -> None:
    assert RECORDS["lenet5"]["result"]["top1_error"] <= 1.0


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_figures_of_training_and_loading_are_the_benchmarks() -> None:
    text = " ".join((DOCS / "performance.md").read_text().split())
    learnt, loaded = (
        json.loads((DOCS / f"performance/{name}.json").read_text()) for name in ("resnet20_to_91", "loader")
    )
    low, high = learnt["interval"]
    assert learnt["reached"]
    assert (
        f"{learnt['passes']} passes, and ends with {100 - learnt['top1_error']:.2f} % of the test images right (error "
        f"{learnt['top1_error']:.2f} %, interval {low:.2f} to {high:.2f}; one seed) {learnt['minutes']:.2f} minutes"
    ) in text
    killed = json.loads((DOCS / "performance/kills.json").read_text())
    kills = killed["kills"]
    assert killed["identical"] and killed["trainings"] == 2
    assert f"{sum(kills.values())} times at random moments, {kills['SIGKILL']} of them by SIGKILL and" in text
    assert f"and {kills['SIGTERM']} by SIGTERM" in text
    low, high = loaded["interval"]["torchvision"]
    rate = f"{loaded['images_per_s']['convbench']:,.0f}"
    assert (
        f"{rate} images a second, {loaded['ratio']['torchvision']:.2f} ({low:.2f} to "
        f"{high:.2f}) times torchvision's `decode_jpeg` and v2, {loaded['ratio']['pillow']:.2f} times Pillow"
    ) in text
    waits = [json.loads(line) for line in (DOCS / "performance/data_wait.json").read_text().splitlines()]
    mobilenet, resnet, alexnet = (f"{100 * one['data_wait']:.1f} %" for one in waits)
    told = f"{mobilenet} of the time (mobilenet_v1), {resnet} (resnet18), {alexnet} (alexnet)"
    assert f"wait for them {told}" in text


def test_the_figures_of_detection_are_the_benchmarks() -> None:
    text = " ".join((DOCS / "performance.md").read_text().split())
    record = json.loads((DOCS / "performance/detection.json").read_text())
    timed, judged = record["inference"], record["evaluation"]
    low, high = timed["interval"]
    assert timed["boxes_share"] < 0.15 and judged["largest_difference"] <= 1e-6
    for told in (
        f"takes {timed['ms']['convbench']:.1f} ms from a prepared photograph to boxes by {timed['engine']}, of which "
        f"{100 * timed['boxes_share']:.0f} % are decoding",
        f"takes {timed['faster']['torchvision']:.1f} ({low:.1f} to {high:.1f}) times as long at the same limits",
        f"{timed['faster']['torchvision, its own limits']:.1f} times at torchvision's own",
        f"and {timed['faster']['eager fp32, our boxes']:.1f} times with our suppression",
        f"{judged['images']:,} images with {judged['detections']:,} detections",
        f"are there {judged['faster']:.1f} times before pycocotools'",
    ):
        assert told in text


def test_the_figures_of_explaining_are_the_benchmarks() -> None:
    text = " ".join((DOCS / "performance.md").read_text().split())
    record = json.loads((DOCS / "performance/explain.json").read_text())
    projected = [one["ratio"] for one in record["deconvnet"].values()]
    beyond = [
        f"{one['interval'][1]:.2f} ({name})" for name, one in record["deconvnet"].items() if one["interval"][1] > 1.3
    ]
    covered = record["occlusion"]
    ratios = {precision: {name: one["ratio"] for name, one in of.items()} for precision, of in covered.items()}
    prepared = {precision: [one["first_image_s"] for one in of.values()] for precision, of in covered.items()}
    with torch.device("meta"):
        work = 2 * trace(build("resnet50"), published_input("resnet50")).macs
    rate = 50 * work / covered["bf16"]["resnet50"]["ours_s"] / 1e9
    assert max(projected) <= 1.3 and record["top9"]["ratio"] <= 1.5 and geometric_mean(ratios["bf16"].values()) >= 5
    assert [name for name, ratio in ratios["fp32"].items() if ratio >= 5] == ["alexnet"]
    assert [name for name, ratio in ratios["bf16"].items() if ratio < 5] == ["resnet50"]
    head, *rows = re.findall(r"^\| ((?:precision|fp32|bf16).*) \|$", (DOCS / "performance.md").read_text(), re.M)
    networks = head.split(" | ")[1:-1]
    for precision, row in zip(("fp32", "bf16"), rows, strict=True):
        cells = [covered[precision][name] for name in networks]
        told = ["{:.1f} ({:.1f} to {:.1f})".format(one["ratio"], *one["interval"]) for one in cells]
        assert row.startswith(precision)
        assert row.split(" | ")[1:] == [*told, f"{geometric_mean(ratios[precision].values()):.1f}"]
    for told in (
        f"costs {min(projected):.2f} to {max(projected):.2f} times a forward and a backward pass",
        f"{record['top9']['images']:,} photographs, with all its projections, takes "
        f"{record['top9']['ratio']:.2f} times as long",
        f"upper ends of two intervals are beyond it, {' and '.join(beyond)}",
        f"prepared in {min(prepared['fp32']):.1f} to {max(prepared['fp32']):.1f} s in fp32 and "
        f"{min(prepared['bf16']):.1f} to {max(prepared['bf16']):.1f} s in bf16",
        f"it then computes {rate:,.0f} GFLOP/s",
    ):
        assert told in text, told


def test_the_figures_of_the_sanity_check_are_its_record() -> None:
    text = " ".join((DOCS / "explain.md").read_text().split())
    steps = json.loads((DOCS / "explain/sanity.json").read_text())["steps"]
    first, last = steps[0], steps[-1]
    assert f"fall to {first['signed']:.2f} with the first layer and to {last['signed']:.2f} with the last" in text
    assert f"the magnitudes to {first['magnitudes']:.2f} and {last['magnitudes']:.2f}" in text


def test_the_training_table_is_the_benchmarks() -> None:
    text = (DOCS / "performance.md").read_text().partition("Training beside the usual loop")[2]
    lines = [json.loads(line) for line in (DOCS / "performance/training.json").read_text().splitlines()]
    measured = {line["network"]: line for line in lines if "network" in line}
    rows = {cells[0].partition(",")[0]: cells[1:] for cells in table(text.partition("In geometric mean")[0])}
    assert set(rows) == set(measured)
    for network, (batch, ours, usual, ratio, limit) in rows.items():
        line, rates = measured[network], measured[network]["images_per_s"]
        assert (batch, ratio, limit) == (str(line["batch"]), f"{line['ratio']:.2f}", f"{100 * line['limit']:.0f} %")
        assert float(ours.replace(",", "")) == rates["ours"] and float(usual.replace(",", "")) == rates["usual"]
    (mean,) = (line["geometric_mean"] for line in lines if "geometric_mean" in line)
    assert f"In geometric mean {mean:.2f}." in text


def test_the_accuracy_after_equal_epochs_is_the_benchmarks() -> None:
    kept = json.loads((DOCS / "performance/equal_accuracy.json").read_text())
    (trial,) = (trial for trial in read_trials() if trial.suite == "resnet-depth")
    errors, text = kept["test_errors"], " ".join((DOCS / "performance.md").read_text().split())
    assert errors["ours"] == [outcome.top1_error for outcome in trial.runs["resnet-20"]]
    assert kept["epochs"] == trial.recipes["resnet-20"]["epochs"]
    # The last test is in fp32, those of the curve as trained: what was trained in fp32 has the same error in both.
    assert all(outcome.top1_error != outcome.curve[-1] for outcome in trial.runs["resnet-20"]), "trained in fp32"
    difference, low, high = compare(errors["ours"], errors["usual"])
    assert low < 0 < high, "the two learn unequally"
    assert [kept["difference"], *kept["interval"]] == [round(number, 3) for number in (difference, low, high)]
    for name in ("ours", "usual"):
        *some, last = (f"{error:.2f}" for error in errors[name])
        assert f"{', '.join(some)} and {last} %" in text
    assert f"{difference:+.2f} points ({low:+.2f} to {high:+.2f})" in text


def test_the_explorers_times_are_those_of_its_record() -> None:
    kept, text = json.loads((DOCS / "performance/explorer.json").read_text()), (DOCS / "performance.md").read_text()
    medians = [page["median"] for page in kept["pages"].values()]
    slow = max(kept["first"], key=kept["first"].get)
    for figure in (
        f"in {kept['digit']['median']:.0f} ms, and a photograph",
        f"in {kept['photograph']['median']:.0f} ms; pages",
        f"in {min(medians):.0f} to {max(medians):.0f} ms once they were made",
        f"/networks takes {kept['first']['/networks'] / 1000:.1f} s",
        f"page {kept['first'][slow] / 1000:.1f} s",
        f"each waits {kept['crowd']['median']:.0f} ms, the unluckiest {kept['crowd']['slowest']:.0f}",
    ):
        assert figure in " ".join(text.split()), figure
    goals = kept["goals"]
    assert max(medians) < goals["page"] and kept["digit"]["median"] < goals["digit"]
    assert kept["photograph"]["median"] < goals["photograph"]
