"""What a notebook shows of what the library returns."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import convbench as cb
from convbench.bench.measure import measure_networks
from convbench.claims import check_claims, read_trials
from convbench.counting.memory import predict_memory
from convbench.data import open_photographs
from convbench.evaluation.result import result_from_scores
from convbench.models import build
from convbench.notebook import figure, interval, table

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


class Cells(HTMLParser):
    """Rows of cells; asserts that what is opened is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows, self.caption, self.open = list[list[str]](), "", list[str]()
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        elif self.open and self.open[-1] == "caption":
            self.caption += data


def shown(value: Any) -> Cells:
    return Cells(value._repr_html_())


def test_a_table_escapes_and_sets_numbers() -> None:
    cells = Cells(table("a < b", ("x", "y"), [("<script>", 1234), (None, figure(None))], "p & q"))
    assert cells.caption == "a < b"
    assert cells.rows == [["x", "y"], ["<script>", "1,234"], ["–", "–"]]
    assert (figure(1234.567, 1), interval((1, 2.345)), interval(None)) == ("1,234.6", "1.00 to 2.35", "–")


def test_a_result() -> None:
    """Two of four wrong, both of them a dog's; no image of the third class."""
    scores = torch.eye(3)[[0, 1, 0, 0]]
    cells = shown(result_from_scores(scores, torch.tensor([0, 1, 1, 1]), ("cat", "dog", "none")))
    assert cells.caption == "top-1 error 50.00 %, by class, hardest first"
    assert cells.rows[1][:4] == ["all", "4", "2", "50.00"]
    assert [row[:4] for row in cells.rows[2:]] == [["dog", "3", "2", "66.67"], ["cat", "1", "0", "0.00"]]


def test_data(tmp_path: Path) -> None:
    assert ["images", "596"] in shown(cb.open_dataset("digits", "test")).rows
    for place in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / place).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / place / "0.png")
    assert ["photographs", "2"] in shown(open_photographs(tmp_path, "test")).rows


def test_measurements() -> None:
    measured = measure_networks(["lenet1"], engines=("eager", "channels-last"), seconds=0.05)
    head, eager, other = shown(measured).rows
    assert head[:4] == ["network", "engine", "batch", "ms"]
    assert eager[:3] == ["lenet1", "eager", "1"] and float(eager[3]) > 0
    assert shown(measured.results[1]).rows == [head, other]


def test_memory() -> None:
    with torch.device("meta"):
        memory = predict_memory(build("lenet5_relu"), (1, 32, 32), 8, training=True)
    rows = dict(shown(memory).rows)
    assert float(rows["peak"]) == pytest.approx(memory.peak / 2**20, abs=0.05)
    assert "batch of 8" in shown(memory).caption


def test_claims() -> None:
    claims = check_claims(slide="Summary", verdict="wrong")
    cells = shown(claims)
    assert len(cells.rows) == len(claims) + 1 and {row[4] for row in cells.rows[1:]} == {"wrong"}
    assert f"{len(claims)} wrong" in cells.caption
    trial = read_trials()[0]
    assert [row[0] for row in shown(trial).rows[1:]] == [one.says for one in trial.decisions]


def test_a_run_and_an_export(tmp_path: Path) -> None:
    settings = {"data": "digits", "epochs": 1, "preprocessing.size": 28}
    run = cb.train("lenet5-relu", out=tmp_path / "runs" / "first", settings=settings, seed=3)
    rows = dict(shown(run).rows)
    assert rows["error"].startswith(f"{run.top1_error:.2f} % of 596") and rows["seed"] == "3"
    file = tmp_path / "net.pt2"
    exported = cb.export("lenet5_relu", "torch", file, weights=run.folder / "weights.safetensors")
    assert dict(shown(exported).rows)["bytes"] == f"{file.stat().st_size:,}"


@pytest.mark.slow
def test_the_notebook_runs_and_shows(tmp_path: Path) -> None:
    """Every cell of docs/notebook.ipynb in a real kernel; what ends a cell is shown as HTML."""
    nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    first, *others = (cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source == "import convbench as cb" and not first.outputs
    for cell in others:
        (result,) = (output for output in cell.outputs if output.output_type == "execute_result")
        assert result.data["text/html"].startswith(("<table>", "<img ")), cell.source


def test_the_notebook_is_kept_without_its_results() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
