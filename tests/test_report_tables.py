"""The report's tables as Markdown, CSV and JSON: the same numbers with the same provenance as the records have."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from convbench.report.grids import grids
from convbench.report.records import Suite, read_suites
from convbench.report.written import plain, write_csv, write_markdown
from test_cli import convbench, one_line
from test_report import HOSTILE, record, save

DOCS = Path(__file__).parents[1] / "docs"
SUITES = ("imagenet-costs", "detection-matrix", "lecun1998")


@pytest.fixture(scope="module")
def suites() -> tuple[Suite, ...]:
    return read_suites(DOCS, SUITES)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def cells_of(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown text as another library reads them: their rows' cells as text."""
    tables: list[list[list[str]]] = []
    for token in MarkdownIt().enable("table").parse(text):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type == "inline" and tables and token.level > 2:
            children = token.children or []
            tables[-1][-1].append(
                "".join(child.content for child in children if child.type in ("text", "text_special"))
            )
    return tables


def test_csv_holds_the_records_numbers_exactly(suites: tuple[Suite, ...], tmp_path: Path) -> None:
    files = {path.name for path in write_csv(suites, tmp_path / "new")}
    assert {"lecun1998-results.csv", "imagenet-costs-networks.csv", "detection-matrix-detectors.csv"} <= files
    found = {row["run"]: row for row in rows(tmp_path / "new" / "lecun1998-results.csv")}
    assert len(found) == 29
    kept = json.loads((DOCS / "lecun1998" / "lenet5" / "record.json").read_text())
    row = found["lecun1998/lenet5"]
    assert float(row["measured_error"]) == kept["result"]["top1_error"]
    assert [float(row[f"measured_error_{end}"]) for end in ("low", "high")] == kept["result"]["interval"]
    assert (float(row["published_error"]), row["source"]) == (0.95, kept["published"]["source"])
    assert (int(row["counted_macs"]), row["weights"], row["commit"]) == (326_520, "trained here", kept["commit"])
    alexnet = {row["network"]: row for row in rows(tmp_path / "new" / "imagenet-costs-networks.csv")}["AlexNet"]
    assert (alexnet["url"], alexnet["weights"]) == ("https://github.com/BVLC/caffe", "initial")
    assert found["lecun1998/lenet5-relu"]["published_error"] == "", "unknown is empty, never a zero"
    layers = rows(tmp_path / "new" / "imagenet-costs-layers.csv")
    assert sum(int(row["counted_macs"]) for row in layers if row["network"] == "VGG-16") == 15_470_264_320
    challenge = rows(tmp_path / "new" / "imagenet-costs-challenge.csv")
    assert [row["name"] for row in challenge if row["year"] == "2014"] == ["GoogLeNet", "VGG", "MSRA"]


def test_numbers_say_whose_they_are(suites: tuple[Suite, ...]) -> None:
    for suite in suites:
        for grid in grids(suite):
            columns = list(grid.rows[0])
            assert all(list(row) == columns for row in grid.rows), grid.name
            if any(name.startswith("published") for name in columns):
                assert {"source", "url", "protocol"} <= set(columns), grid.name
            if any(name.startswith(("measured", "counted")) for name in columns):
                assert {"run", "runs"} & set(columns), grid.name


def test_markdown_is_tables_that_another_library_reads(suites: tuple[Suite, ...], tmp_path: Path) -> None:
    text = write_markdown(suites, tmp_path / "report.md").read_text()
    tables = cells_of(text)
    assert len(tables) == sum(len(grids(suite)) for suite in suites)
    for table in tables:
        assert {len(row) for row in table} == {len(table[0])}
    (results,) = [table for table in tables if table[0][0] == "method" and "verdict" in table[0]]
    by_title = {row[0]: dict(zip(results[0], row, strict=True)) for row in results}
    lenet = by_title["[dist] LeNet-5"]
    assert (lenet["published error"], lenet["measured error"], lenet["counted macs"]) == ("0.8", "0.73", "326,520")
    assert lenet["run"] == "lecun1998/lenet5-dist"
    assert "[He, Zhang, Ren & Sun, CVPR 2016, table 2](https://arxiv.org/abs/1512.03385)" in text


def test_what_records_say_is_no_markup(tmp_path: Path) -> None:
    save(tmp_path, record("hostile", 20, title=f"{HOSTILE} | *a* _b_ `c`\nd"))
    (suite,) = read_suites(tmp_path)
    text = write_markdown([suite], tmp_path / "report.md").read_text()
    first = cells_of(text)[0][1][0]
    assert first == f"{HOSTILE} | *a* _b_ `c` d"
    assert rows(write_csv([suite], tmp_path)[0])[0]["method"] == f"{HOSTILE} | *a* _b_ `c`\nd"


def test_the_command_writes_one_format_and_prints_for_programs(tmp_path: Path) -> None:
    runs = ("--runs", str(DOCS), "--out", str(tmp_path))
    done = convbench("report", "lecun1998", *runs, "--format", "csv", "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert {Path(path).name for path in told["report"]} == {path.name for path in tmp_path.iterdir()}
    (suite,) = told["suites"]
    assert suite == json.loads(json.dumps(plain(read_suites(DOCS, ["lecun1998"]))[0]))
    assert suite["tables"]["results"][0]["measured_error"] == 0.48
    assert convbench("report", "lecun1998", *runs, "--format", "markdown").stdout.endswith("report.md\n")
    wrong = convbench("report", "lecun1998", *runs, "--format", "markdwn")
    assert "unknown format 'markdwn': nearest is markdown" in one_line(wrong, 2)
    assert not list(tmp_path.glob("*.html"))
