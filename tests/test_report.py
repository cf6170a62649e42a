"""The report: what it reads, what it says, and that it opens anywhere."""

from __future__ import annotations

import io
import json
import re
import shutil
from html.parser import HTMLParser
from math import log
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from convbench.errors import ConvbenchError, RequestError
from convbench.report.charts import published_beside_measured
from convbench.report.findings import verdict
from convbench.report.html import write_report
from convbench.report.placement import place
from convbench.report.records import Published, Result, read_suites
from convbench.report.tables import duration, print_table, rows

HOSTILE = '<script>alert("1")</script>&\'"{{ 7*7 }}[red]'


def record(name: str, errors: int, published: float | None = None, **changes: Any) -> dict[str, Any]:
    """A valid record over two classes of 500 test images; all errors are in class 1."""
    split = {"name": "pairs", "n": 1000, "fingerprint": "00ff00ff00ff00ff"}
    error = errors / 10
    return {
        "schema": 1,
        "suite": "made",
        "name": name,
        "title": name.title(),
        "status": "done",
        "error": None,
        "subject": {"kind": "network", "name": name, "arguments": {"num_classes": 2}},
        "recipe": {"epochs": 2, "optimizer": {"name": "sgd", "lr": 0.1}},
        "preprocessing": {"pad": 2, "crop": None},
        "data": {"train": {**split, "split": "train"}, "test": {**split, "split": "test"}, "classes": ["a", "b"]},
        "seed": 0,
        "result": {
            "top1_error": error,
            "top5_error": 0.0,
            "n": 1000,
            "errors": errors,
            "interval": [max(error - 0.5, 0), error + 0.5],
            "per_class": [
                {"name": "a", "n": 500, "errors": 0, "error": 0.0},
                {"name": "b", "n": 500, "errors": errors, "error": errors / 5},
            ],
            "confusion": [[500, 0], [errors, 500 - errors]],
            "worst": [{"index": i, "label": 1, "predicted": 0, "margin": -1.0} for i in range(min(errors, 13))],
            "rejection": {"target_error": 0.5, "rejected": None},
        },
        "cost": {"params": 1000 + errors, "macs": 5000},
        "published": published
        and {"error": published, "protocol": "test set", "source": "A paper", "rejection": 1.8, "note": None},
        "seconds": {"train": 61.2, "evaluate": 2.0},
        "machine": {"cpu": "A processor", "cores": 2, "memory_gib": 24, "os": "Linux"},
        "versions": {"convbench": "0.1.0", "torch": "2.14"},
        "commit": "abc1234",
        "command": "convbench run made",
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
        **changes,
    }


def save(runs: Path, made: dict[str, Any], *, metrics: bool = True) -> Path:
    folder = runs / made["suite"] / made["name"]
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(made))
    if metrics:
        epoch = {"loss": 0.3, "lr": 0.1, "train_error": 0.0, "test_error": 2.5, "seconds": 1.0, "images_per_s": 9.0}
        lines = [json.dumps({"epoch": number, **epoch}) for number in (1, 2)]
        (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"epoch": 3, "lo')  # killed while writing
    if made["result"] and made["result"]["worst"]:
        sheet = Image.new("RGB", (12 * 4, 2 * 4), "white")
        sheet.paste((255, 0, 0), (0, 4, 4, 8))  # the thirteenth image, the first of the second row, is red
        sheet.save(folder / "worst.png")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite with everything that can happen to a run."""
    folder = tmp_path_factory.mktemp("runs")
    rival = {"kind": "rival", "name": "knn", "arguments": {}}
    save(folder, record("lenet5", 20, 1.9))
    save(folder, record("knn", 50, 9.0, subject=rival, cost={"params": None, "macs": 5000}), metrics=False)
    save(folder, record("hostile", 30, title=HOSTILE, cost=None))
    save(folder, record("broken", 0, status="failed", result=None, error=f"loss is not finite {HOSTILE}"))
    save(folder, record("interrupted", 0, status="running", result=None, machine=None))
    (folder / "made" / "suite.json").write_text(
        json.dumps({"title": "A made suite", "claim": "Nothing much.", "runs": ["lenet5", "never-run"]})
    )
    return folder


@pytest.fixture(scope="module")
def page(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(runs, tmp_path_factory.mktemp("out") / "report" / "index.html").read_text()


class Tags(HTMLParser):
    """Every start tag with its attributes, and all the text outside <style>."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def test_the_page_asks_for_nothing(page: str) -> None:
    tags = Tags(page).tags
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in tags}
    assert [attributes for tag, attributes in tags if tag == "script"] == [{"type": "module"}]
    sources = [value or "" for _, attributes in tags for name, value in attributes.items() if name in ("src", "srcset")]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"url\(|@import|xlink:href", page)
    addresses = [attributes["href"] for tag, attributes in tags if "href" in attributes and tag != "a"]
    assert not addresses
    assert "http" not in re.sub(r'<a [^>]*href="[^"]*"', "", page)


def test_what_records_say_is_escaped(page: str) -> None:
    parsed = Tags(page)
    assert re.findall(r"<script[^>]*>", page) == ['<script type="module">']  # ours
    assert "onerror" not in page
    assert HOSTILE in parsed.text  # shown as it stands: not run, not rendered, not lost
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_everything_is_on_the_page(page: str) -> None:
    text = " ".join(Tags(page).text.split())
    assert "A made suite" in text
    assert "Lenet5 makes the fewest errors: 2.00 % of 1,000 test images (95 % interval 1.50 to 2.50)." in text
    # 2.0 +- 0.5 against 5.0 +- 0.5
    assert "the best rival, Knn, on 5.00 %: their intervals do not overlap." in text
    assert "Of 2 published figures, 1 is met within the uncertainty of both sides, 1 bettered and 0 missed." in text
    assert "failed loss is not finite" in text
    assert "Interrupted running not finished" in text
    assert "never-run missing no record.json" in text
    assert "optimizer.name sgd" in text
    # k-NN and the run without a cost are not drawn against parameters.
    assert "2 methods have no known count of parameters" not in text  # fewer than two known: no chart at all
    assert "1 method has no known count of multiply-adds and is not drawn." in text


def test_the_worst_images_are_cut_out_of_their_sheet(page: str) -> None:
    import base64

    sources = [attributes["src"] or "" for tag, attributes in Tags(page).tags if tag == "img"]
    assert len(sources) == 2 * 13  # the best network and the best rival
    tiles = [Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) for source in sources]
    assert {tile.size for tile in tiles} == {(4, 4)}
    assert [tile.getpixel((2, 2)) for tile in tiles[11:14]] == [(255, 255, 255), (255, 0, 0), (255, 255, 255)]


def test_what_a_network_looks_at_is_shown_with_its_run(runs: Path, tmp_path: Path) -> None:
    import base64

    copied = shutil.copytree(runs, tmp_path / "runs")
    folder = copied / "made" / "hostile" / "explain" / "top9"
    folder.mkdir(parents=True)
    Image.new("RGB", (30, 20), "red").save(folder / "relu5.png")
    tags = Tags(write_report(copied, tmp_path / "page.html", ["made"]).read_text())
    shown = [attributes for tag, attributes in tags.tags if tag == "img" and attributes.get("loading") == "lazy"]
    assert [attributes["alt"] for attributes in shown] == [f"relu5 of {HOSTILE}"]
    png = base64.b64decode((shown[0]["src"] or "").partition(",")[2])
    assert png == (folder / "relu5.png").read_bytes()
    assert "What the networks look at" in tags.text


def test_copied_folders_give_the_same_bytes(runs: Path, page: str, tmp_path: Path) -> None:
    copied = shutil.copytree(runs, tmp_path / "elsewhere")
    again = write_report(copied, tmp_path / "again.html", ["made"])
    assert again.read_text() == page
    assert [path.name for path in tmp_path.glob("*.html*")] == ["again.html"]


@pytest.mark.parametrize(
    ("interval", "error", "published", "expected"),
    [
        ((0.78, 1.16), 0.95, 0.95, "within"),
        ((1.05, 1.50), 1.25, 0.95, "within"),  # 0.95 + 0.1 just touches 1.05
        ((0.80, 1.20), 1.00, 0.7, "within"),  # 0.7 + 0.1 touches 0.8, though in floats it stays below
        ((1.06, 1.50), 1.25, 0.95, "worse"),
        ((0.50, 0.85), 0.65, 0.95, "within"),  # 0.95 - 0.1 just touches 0.85
        ((0.50, 0.84), 0.65, 0.95, "better"),
        ((11.0, 11.8), 11.4, 12.0, "better"),
        ((0.50, 0.84), 0.65, None, None),
    ],
)
def test_verdict(interval: tuple[float, float], error: float, published: float | None, expected: str | None) -> None:
    result = Result(error, None, 10_000, round(error * 100), interval, (), (), (), None)
    assert verdict(result, Published(published, None, None, None, None)) == expected
    assert verdict(result, None) is None


def test_rows_keep_published_and_measured_apart(runs: Path) -> None:
    records = [run.record for run in read_suites(runs)[0].runs if run.record]
    first, second, third = rows(records)
    assert [first.title, second.title, third.title] == ["Lenet5", HOSTILE, "Knn"]  # fewest errors first
    assert (first.published, first.measured, first.interval) == ("1.9\u2007", "2.00", "1.50–2.50")
    assert (first.verdict, second.verdict, third.verdict) == ("within", None, "better")
    assert (first.rejection_published, first.rejection_measured) == ("1.8\u2007", "unreachable")
    assert (second.published, second.params, third.params, third.macs) == ("–", "–", "–", "5,000")


def test_the_terminal_table(runs: Path) -> None:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    print_table([run.record for run in read_suites(runs)[0].runs if run.record], console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"Lenet5 +1\.9. +2\.00 +1\.50–2\.50 +within +1,000 +1,020 +5,000 +1 min 01 s", printed)
    slim = Console(file=io.StringIO(), width=80, color_system=None)
    print_table([run.record for run in read_suites(runs)[0].runs if run.record], slim)
    assert re.search(r"Lenet5 +1\.9. +2\.00 +1\.50–2\.50 +within", slim.file.getvalue())  # type: ignore[attr-defined]
    assert printed.count("[red]") == 2  # titles and error lines are text, not markup
    assert "broken: failed: loss is not finite" in printed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.417, "0.42 s"),
        (8.31, "8.3 s"),
        (59.96, "1 min 00 s"),
        (250.4, "4 min 10 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_labels_do_not_overlap() -> None:
    points = [(50.0, 50.0), (52.0, 54.0), (199.0, 50.0), (150.0, 80.0)]
    boxes = place(points, ["first", "second", "third", "no room for a label as long as this one"], (200, 100))
    placed = [box for box in boxes if box is not None]
    assert boxes[3] is None
    assert len(placed) == 3
    assert not any(a.meets(b) for i, a in enumerate(placed) for b in placed[:i])
    assert not any(box.left < x < box.right and box.top < y < box.bottom for box in placed for x, y in points)
    assert boxes[2] is not None
    assert boxes[2].right < 199  # to the left of a point at the right edge


def test_an_empty_folder_is_a_wrong_request(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(RequestError, match=re.escape(str(folder))):
            write_report(folder, tmp_path / "out.html")
    assert not list(tmp_path.iterdir())


def test_an_unknown_suite_names_the_nearest(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="unknown suite 'mode': nearest is made"):
        write_report(runs, tmp_path / "out.html", ["mode"])


def test_a_suite_of_nothing_but_failures_is_reported(tmp_path: Path) -> None:
    save(tmp_path, record("broken", 0, status="failed", result=None, data=None, error="no data"), metrics=False)
    text = Tags(write_report(tmp_path, tmp_path / "out.html").read_text()).text
    assert "No run of this suite is done." in text
    assert "no data" in text


def test_a_run_without_an_error_has_a_place_on_the_log_axis(tmp_path: Path) -> None:
    save(tmp_path, record("perfect", 0, 0.5))
    (run,) = read_suites(tmp_path)[0].done
    dot = re.search(
        r'<path transform="translate\(([\d.]+),[^>]*var\(--network\)', published_beside_measured([run], wide=True)
    )
    assert dot is not None
    # Half of one image in 1,000 is 0.05 %; the interval ends at 0.5 %: the axis runs from 0.05 / 1.15 to 0.5 * 1.15.
    assert float(dot[1]) == pytest.approx((1040 - 250 - 16) * log(1.15) / log(10 * 1.15**2), abs=0.01)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ('{"schema": 1, ', "Invalid JSON"),
        (json.dumps(record("a", 1) | {"schema": 2}), "schema: Input should be 1, found 2"),
        (json.dumps(record("a", 1) | {"seed": "x"}), "seed: Input should be a valid integer.*found 'x'"),
        (json.dumps(record("a", 1) | {"result": None}), "a run that is done has `data` and a `result`"),
        (json.dumps(record("a", 1)).replace('"predicted": 0', '"predicted": 2'), r"labels of `worst` to lie in 0\.\.1"),
        (json.dumps(record("a", 1)).replace("[[500, 0]", "[[500]"), "`confusion` over the 2 classes"),
    ],
)
def test_a_broken_record_is_one_line_naming_the_file(tmp_path: Path, broken: str, message: str) -> None:
    folder = save(tmp_path / "runs", record("a", 1))
    (folder / "record.json").write_text(broken)
    (tmp_path / "out.html").write_text("the report before")
    with pytest.raises(ConvbenchError, match=message) as caught:
        write_report(tmp_path / "runs", tmp_path / "out.html")
    assert str(folder / "record.json") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "out.html").read_text() == "the report before"


def test_a_broken_line_of_metrics_is_named(tmp_path: Path) -> None:
    folder = save(tmp_path, record("a", 1))
    (folder / "metrics.jsonl").write_text('{"epoch": 1}\n')
    with pytest.raises(ConvbenchError, match=r"metrics\.jsonl: line 1: loss: Field required"):
        write_report(tmp_path, tmp_path / "out.html")


def test_a_broken_contact_sheet_is_named(tmp_path: Path) -> None:
    folder = save(tmp_path, record("a", 1))
    (folder / "worst.png").write_bytes(b"not a picture")
    with pytest.raises(ConvbenchError, match=r"worst\.png: expected a PNG contact sheet of 1 images"):
        write_report(tmp_path, tmp_path / "out.html")
