"""The matrix of detectors: its run, its records, what page, terminal, picture and document show of them."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import nn

from convbench.bench.profile_detector import Latency, counted_record
from convbench.bench.runner import run_suite
from convbench.bench.suite import open_suite
from convbench.counting import trace
from convbench.detection.finding import Finding
from convbench.detection.ssd import SSD, L2Norm, ssd300_vgg16
from convbench.errors import RequestError
from convbench.report.html import write_report
from convbench.report.matrix import compare_detectors, conditions, differences, findings, markdown, print_matrix
from convbench.report.matrix_chart import Mark, precision_chart
from convbench.report.picture import write_picture
from convbench.report.placement import CHARACTER, HEIGHT, Box
from convbench.report.records import Record, read_suites
from convbench.report.tables import print_suite

DOCS = Path(__file__).parents[1] / "docs"
NAME, SUITE = open_suite("detection-matrix")
PAGE = (DOCS / "detection-matrix.md").read_text()


def times(name: str, ms: float) -> list[dict[str, Any]]:
    """Eager's, and of SSD an engine's that is four times as fast."""
    after: dict[str, Any] = {"interval": None, "boxes_p50": 10.5, "candidates": 4000, "found": 100}
    eager = {"engine": "eager", "p50": ms, **after}
    return [eager, {"engine": "openvino-bf16", "p50": ms / 4, **after}] if name.startswith("ssd") else [eager]


@pytest.fixture(scope="module")
def counted() -> list[dict[str, Any]]:
    return [counted_record(NAME, spec) | {"status": "done"} for spec in SUITE.detectors]


def write_runs(folder: Path, records: Sequence[dict[str, Any]]) -> Path:
    for one in records:
        (folder / NAME / one["name"]).mkdir(parents=True)
        (folder / NAME / one["name"] / "record.json").write_text(json.dumps(one))
    about = {"title": "Detectors", "claim": "None.", "runs": [one["name"] for one in records]}
    (folder / NAME / "suite.json").write_text(json.dumps(about))
    return folder


@pytest.fixture(scope="module")
def runs(counted: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All nine timed: the first took 100 ms, the next 200, and so on; other work kept a fifth of the machine busy."""
    timed = [
        one | {"matrix": one["matrix"] | {"latencies": times(one["name"], 100.0 * number), "load": {"other": 20.0}}}
        for number, one in enumerate(counted, 1)
    ]
    return write_runs(tmp_path_factory.mktemp("runs"), timed)


@pytest.fixture(scope="module")
def records(runs: Path) -> tuple[Record, ...]:
    return read_suites(runs)[0].matrix


def test_the_run_counts_times_and_is_then_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the timing itself in place of the real one."""
    calls = list[str]()

    def time_detector(spec: Any) -> list[Latency]:
        calls.append(spec.name)
        return [Latency("eager", 20.0, (19.0, 21.0), 10.5, 4000, 100)]

    monkeypatch.setattr("convbench.bench.profile_detector.time_detector", time_detector)
    lines = list[str]()
    only = ("ssd300_mobilenet_v1", "faster_rcnn_mobilenet_v1_300")
    first = run_suite("detection-matrix", out=tmp_path, only=only, say=lines.append)
    assert [one.status for one in first] == ["done", "done"]
    assert "    SSD 300, MobileNet: 1.24G multiply-adds, 6.82M parameters, 20.0 ms (eager)" in lines
    assert first[0].record is not None
    assert first[0].record["matrix"]["deck"][0] == {
        **{"metric": "macs", "deck": "1.2", "verdict": "right"},
        "reason": "as our network counts, part by part, with 300 proposals",
    }
    assert [one.status for one in run_suite("detection-matrix", out=tmp_path, only=only)] == ["kept", "kept"]
    assert calls == [*only]


def test_the_deck_has_two_counts_of_each_detector(counted: list[dict[str, Any]]) -> None:
    for one in counted:
        assert [said["metric"] for said in one["matrix"]["deck"]] == ["macs", "params"], one["name"]
    verdicts = [said["verdict"] for one in counted for said in one["matrix"]["deck"]]
    assert (verdicts.count("right"), verdicts.count("ambiguous")) == (15, 3)


def test_what_is_said_follows_from_the_records(records: tuple[Record, ...]) -> None:
    entries = compare_detectors(records)
    assert [one.title for one in entries if one.front] == [
        *("SSD 300, Inception v2", "SSD 300, MobileNet", "Faster R-CNN 300, VGG-16", "Faster R-CNN 600, VGG-16")
    ]
    said = " ".join([*findings(entries), *conditions(entries)]).replace("\u00a0", " ")
    assert "4 of 9 detectors are beaten by none" in said
    assert "SSD 300, MobileNet, with 19.3 % for 1.2G; SSD 300, Inception v2, with 22.0 % for 3.8G;" in said
    assert "Of the deck’s 18 counts, 15 are ours" in said
    assert "of Faster R-CNN 300, Inception v2’s multiply-adds, 97 % are its head’s" in said
    assert "Up to 4,000 boxes may come to the suppression; 100 were left." in said
    assert "Other work kept up to 20 %" in said
    explained = dict(differences(entries))
    assert set(explained) == {
        "SSD 300, VGG-16, multiply-adds, 10⁹: 34.9",
        "SSD 300, VGG-16, parameters, 10⁶: 33.1",
        "Faster R-CNN 600, VGG-16, multiply-adds, 10⁹: 149.6",
    }
    assert explained["SSD 300, VGG-16, parameters, 10⁶: 33.1"].startswith("34.31 counted: unexplained")


def test_the_page_keeps_published_and_own_apart(runs: Path, tmp_path: Path) -> None:
    page = write_report(runs, tmp_path / "page.html").read_text()
    (row,) = re.findall(r'<th scope="row" class="text">SSD 300, VGG-16</th>\n(.*?)</tr>', page, re.S)[:1]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert [re.sub("<.*?>", "", cell) for cell in cells] == [
        *("34.31", "33.1", "34.36", "34.9", "21.1", "–", "100", "10.5", "25.0", "openvino-bf16")
    ]
    assert 'class="deck alone" title="unexplained' in cells[1]
    assert page.count("<svg role=") == 4  # against multiply-adds and latency, each for the desk and for the phone
    assert "Other work kept up to 20" in page
    assert "http" not in page and "<script" not in page


def test_without_times_the_page_says_none(counted: list[dict[str, Any]], tmp_path: Path) -> None:
    page = write_report(write_runs(tmp_path / "runs", counted), tmp_path / "page.html").read_text()
    assert page.count("<svg role=") == 2
    assert "Milliseconds go from" not in page


def test_the_terminal_table(runs: Path, records: tuple[Record, ...]) -> None:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    print_suite(read_suites(runs)[0], console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    line = r"Faster R-CNN 300, Inception v2 +13\.32 +13\.3 +118\.22 +118\.2 +15\.4 +– +500 +10\.5 +500 +eager"
    assert re.search(line, printed)
    assert "method" not in printed  # no second table, of runs that learn
    narrow = Console(file=io.StringIO(), width=90, color_system=None)
    print_matrix(records, narrow)
    assert re.search(r"SSD 300, MobileNet +6\.82 +6\.8 +1\.24 +1\.2 +19\.3 +– +300 *\n", narrow.file.getvalue())  # type: ignore[attr-defined]


def test_the_picture(runs: Path, tmp_path: Path) -> None:
    path = write_picture(read_suites(runs), tmp_path / "new" / "matrix.png")
    with Image.open(path) as picture:
        assert picture.width == 2 * 1096
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}
    assert any(blue > red + 90 for red, _, blue in colours) and any(green > red + 60 for red, green, _ in colours)
    with pytest.raises(RequestError, match="networks or detectors, found none"):
        write_picture([], tmp_path / "matrix.png")


@pytest.mark.parametrize("wide", [True, False])
def test_every_mark_has_its_label_and_labels_do_not_meet(records: tuple[Record, ...], wide: bool) -> None:
    marks = [
        Mark(
            title=one.title,
            short=one.title.partition(",")[0],
            group=one.known.family + one.known.backbone,
            cost=one.known.macs / 1e9,
            ap=one.ap,
            params=one.known.params,
            ink="var(--network)",
            is_hollow=False,
        )
        for one in compare_detectors(records)
    ]
    chart = precision_chart(marks, "multiply-adds", "G", wide=wide)
    found = re.findall(r'<text[^>]*text-anchor="(\w+)" transform="translate\(([\d.]+),([\d.]+)\)[^>]*>([^<]+)<', chart)
    boxes = []
    for anchor, x, y, text in found:
        if text.startswith(("SSD", "Faster")):
            width = CHARACTER * len(text)
            left = float(x) - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            boxes.append(Box(left, float(y) - HEIGHT / 2, left + width, float(y) + HEIGHT / 2))
    assert len(boxes) == 9
    assert not any(one.meets(other) for one, other in itertools.combinations(boxes, 2))


def test_the_documents_tables_are_the_records(counted: list[dict[str, Any]], tmp_path: Path) -> None:
    """The kept ones where there are any; they name the suite's runs, and count what is counted now."""
    kept = DOCS / NAME
    made = read_suites(write_runs(tmp_path, counted))[0].matrix
    shown = read_suites(DOCS, [NAME])[0].matrix if kept.is_dir() else made
    assert [(one.name, one.cost) for one in shown] == [(one.name, one.cost) for one in made]
    for table in markdown(compare_detectors(shown)):
        assert f"\n{table}\n" in PAGE
    head = next(part for part in made[4].matrix.parts if part.times == 300)  # type: ignore[union-attr]
    assert f"nearly all of it, {head.macs / 1e9:.2f}G, is the head on {head.times} regions" in " ".join(PAGE.split())


def test_a_document_with_times_has_them_in_its_table(records: tuple[Record, ...]) -> None:
    table, _ = markdown(compare_detectors(records))
    assert "| SSD 300, MobileNet | 6.82 | 6.8 | 1.24 | 1.2 | 19.3 | – | 300 | 10.5 | 75.0 | openvino-bf16 |" in table
    assert table.splitlines()[0].endswith("| eager, ms | of which boxes | fastest, ms | engine |")


OWN = ((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 1, 0), (128, 256, 1, 0))  # inner and outer maps, stride, padding
OTHERS = ((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 2, 1), (64, 128, 2, 1))
FORMS: dict[str, dict[str, Any]] = {  # the heads give a score more than there are classes
    "80 classes: SSD's own": {"classes": 80},
    "80 classes, three extra layers for four": {"classes": 80, "extras": OWN[:3]},
    "80 classes without background, three extra layers for four": {"classes": 79, "extras": OWN[:3]},
    "90 classes": {"classes": 90},
    "90 classes, two extra layers for four": {"classes": 90, "extras": OWN[:2]},
    "90 classes, extra layers as the other SSDs have": {"classes": 90, "extras": OTHERS},
    "90 classes, numbers of boxes as the other SSDs have": {"classes": 90, "boxes": (3, 6, 6, 6, 6, 6)},
    "90 classes, both as the other SSDs have": {"classes": 90, "extras": OTHERS, "boxes": (3, 6, 6, 6, 6, 6)},
    "90 classes, heads of 1 x 1 as the other SSDs have": {"classes": 90, "kernel_size": 1},
    "90 classes without background, six boxes at each place, extra layers as the other SSDs have, fc7 of 512 maps": {
        **{"classes": 89, "extras": OTHERS, "boxes": (6, 6, 6, 6, 6, 6), "fc7": 512}
    },
}


def build_form(
    classes: int,
    extras: Sequence[tuple[int, int, int, int]] = OWN,
    boxes: tuple[int, ...] = (4, 6, 6, 6, 4, 4),
    kernel_size: int = 3,
    fc7: int = 1024,
) -> SSD:
    """SSD on VGG-16 with other extra layers, boxes, heads or widths."""
    trunk, maps, layers = ssd300_vgg16().trunk, [512, fc7], nn.ModuleList()
    trunk.fc7 = nn.Conv2d(1024, fc7, 1)
    for inner, outer, stride, padding in extras:
        layers.append(nn.Sequential(nn.Conv2d(maps[-1], inner, 1), nn.Conv2d(inner, outer, 3, stride, padding)))
        maps.append(outer)
    return SSD(
        *(trunk, nn.ModuleList([L2Norm(512), nn.Identity()]), layers),
        maps=maps,
        sides=[1] * len(maps),  # of the default boxes, which are not counted
        shapes=[[(1.0, 1.0)] * number for number in boxes[: len(maps)]],
        num_classes=classes,
        finding=Finding(),
        kernel_size=kernel_size,
    )


def test_the_forms_that_were_tried_are_counted() -> None:
    (table,) = re.findall(r"^\| form of .*\n\| ---.*\n((?:\|.*\n)+)", PAGE, re.M)
    shown = {
        form: (params, macs)
        for form, params, macs in ([cell.strip() for cell in row.strip("|").split(" |")] for row in table.splitlines())
    }
    assert set(shown) == set(FORMS)
    for form, settings in FORMS.items():
        with torch.device("meta"):
            net = build_form(**settings)
        cost = trace(net, (3, 300, 300))
        assert shown[form] == (f"{cost.params / 1e6:.2f}", f"{cost.macs / 1e9:.2f}"), form
    both = [
        form
        for form, (params, macs) in shown.items()
        if (f"{float(params):.1f}", f"{float(macs):.1f}") == ("33.1", "34.9")
    ]
    assert both == list(FORMS)[-1:]  # as the text says of the last


@pytest.mark.parametrize("most", [10_000.5, 20_000.0])
def test_the_last_tick_is_not_cut_off(most: float) -> None:
    """10000 ms, wherever on the axis it stands."""
    marks = [Mark("a", "a", "", cost, 20.0 + cost / 1e4, 5e6, "var(--network)", False) for cost in (50.0, most / 2.2)]
    chart = precision_chart(marks, "latency", "ms", wide=False)
    (x,) = re.findall(r'text-anchor="middle" transform="translate\(([\d.]+),[\d.]+\)[^>]*>10000 ms<', chart)
    (width,) = re.findall(r'<svg role="img"[^>]* width="(\d+)"', chart)
    assert float(x) + 38 + CHARACTER * len("10000 ms") / 2 <= float(width)
