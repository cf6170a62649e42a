"""The explorer's pages of suites and runs: folders whole, under way and broken, and a training that is killed."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from browsing import DESKTOP, PHONE, assert_fits, browser, explorer, page_of
from convbench.bench.store import RunFolder
from convbench.errors import ConvbenchError
from convbench.report.html import write_report
from convbench.standing import FILE, read_standing
from convbench.web.app import create_app
from convbench.web.explorer import Settings
from convbench.web.photographs import MissingError
from convbench.web.shelf import Shelves
from convbench.web.workshop import Workshop
from small_trainings import digits, recipe_with, trained

DOCS = Path(__file__).parents[1] / "docs"
HERE = "http://127.0.0.1"
EPOCH = {
    "epoch": 1,
    "loss": 1.5,
    "lr": 0.1,
    "train_error": 9.0,
    "test_error": 8.0,
    "seconds": 1.0,
    "images_per_s": 10.0,
}


Clients = Callable[[Path], TestClient]


@pytest.fixture
def client_of() -> Iterator[Clients]:
    """Makes clients of explorers, whose processes end with the test."""
    with ExitStack() as stack:

        def make(runs: Path) -> TestClient:
            app = create_app(Settings(runs=runs))
            stack.callback(app.state.explorer.close)
            return TestClient(app, base_url=HERE)

        yield make


def real_run(folder: Path, of: str = "lecun1998/lenet5") -> Path:
    """A run that was really done, copied to `folder`."""
    shutil.copytree(DOCS / of, folder)
    return folder


def begun(folder: Path, *epochs: dict[str, object]) -> Path:
    """A training without a record."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in epochs))
    return folder


def states(runs: Path, suite: str = "suite") -> dict[str, str]:
    return {item.name: item.state for item in Shelves(runs).one(suite).items}


def whole(client: TestClient, address: str) -> str:
    """The page once all that it shows is made."""
    for _ in range(600):
        answer = client.get(address)
        assert answer.status_code == 200
        if 'class="making"' not in answer.text:
            return answer.text
        time.sleep(0.2)
    raise AssertionError(f"{address} was never whole")


class TestStates:
    def test_each(self, tmp_path: Path, client_of: Clients) -> None:
        suite = tmp_path / "suite"
        real_run(suite / "done")
        failed = json.loads((real_run(suite / "failed") / "record.json").read_text())
        failed |= {"status": "failed", "error": "it diverged"}
        (suite / "failed/record.json").write_text(json.dumps(failed))
        begun(suite / "stopped", EPOCH)
        begun(suite / "running", EPOCH)
        (suite / "suite.json").write_text(json.dumps({"title": "Five", "runs": ["never", "done"]}))
        with RunFolder(suite / "running").lock():
            found = states(tmp_path)
            page = client_of(tmp_path).get("/runs").text
        assert found == {
            "never": "missing",
            "done": "done",
            "failed": "failed",
            "running": "running",
            "stopped": "stopped",
        }
        assert list(found)[:2] == ["never", "done"]  # in the suite's order, then those that it does not name
        for state in found.values():
            assert f"1 {state}</span>" in page
        assert states(tmp_path)["running"] == "stopped"
        assert "it diverged" in client_of(tmp_path).get("/runs/suite").text

    def test_a_failed_run_that_is_run_again(self, tmp_path: Path) -> None:
        folder = real_run(tmp_path / "suite/run")
        record = json.loads((folder / "record.json").read_text())
        (folder / "record.json").write_text(json.dumps(record | {"status": "failed", "error": "no"}))
        with RunFolder(folder).lock():
            assert states(tmp_path) == {"run": "running"}
        assert states(tmp_path) == {"run": "failed"}

    def test_the_newest_first(self, tmp_path: Path) -> None:
        for name, when in (
            ("old", "2026-01-01T00:00:00+00:00"),
            ("new", "2026-03-01T00:00:00+00:00"),
            ("mid", "2026-02-01"),
        ):
            folder = real_run(tmp_path / name / "run")
            record = json.loads((folder / "record.json").read_text())
            (folder / "record.json").write_text(json.dumps(record | {"finished": when}))
        assert [shelf.name for shelf in Shelves(tmp_path).all()] == ["new", "mid", "old"]

    def test_no_runs(self, tmp_path: Path, client_of: Clients) -> None:
        for folder in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
            (tmp_path / "file").write_text("")
            answer = client_of(folder).get("/runs")
            assert answer.status_code == 200
            assert "No runs are in" in answer.text

    def test_what_changes_is_seen(self, tmp_path: Path) -> None:
        shelves, folder = Shelves(tmp_path), begun(tmp_path / "suite/run", EPOCH)
        assert shelves.one("suite").items[0].state == "stopped"
        shutil.copy(DOCS / "lecun1998/lenet5/record.json", folder)
        assert shelves.one("suite").items[0].state == "done"

    def test_looking_keeps_no_run_from_beginning(self, tmp_path: Path) -> None:
        folder, over = RunFolder(tmp_path / "suite/run"), threading.Event()
        with folder.lock():
            pass

        def look() -> None:
            while not over.is_set():
                folder.is_locked  # noqa: B018

        lookers = [threading.Thread(target=look) for _ in range(2)]
        for one in lookers:
            one.start()
        try:
            for _ in range(50):
                with folder.lock():
                    assert folder.is_locked
        finally:
            over.set()
            for one in lookers:
                one.join()


class TestBroken:
    @pytest.mark.parametrize(
        ("file", "content", "line"),
        [
            ("record.json", b"{ half", "run/record.json"),
            ("record.json", b"", "run/record.json"),
            ("record.json", b"[]", "run/record.json"),
            ("record.json", b"\xff\xfe", "run/record.json"),
            ("record.json", b'{"schema": 1}', "Field required"),
            ("record.json", None, "expected a file, found a folder"),
            ("metrics.jsonl", b'{"epoch": 1}\n', "line 1"),
        ],
    )
    def test_a_line_each(self, tmp_path: Path, client_of: Clients, file: str, content: bytes | None, line: str) -> None:
        real_run(tmp_path / "suite/good")
        path = begun(tmp_path / "suite/run", EPOCH) / file
        path.mkdir() if content is None else path.write_bytes(content)
        client = client_of(tmp_path)
        for address in ("/runs", "/runs/suite", "/runs/suite/run", "/runs/suite/good", "/api/runs/suite/run/metrics"):
            assert client.get(address).status_code == 200, address
        (item,) = [item for item in Shelves(tmp_path).one("suite").items if item.name == "run"]
        assert item.state == "broken"
        assert line in item.line
        assert "\n" not in item.line
        assert html.escape(item.line, quote=False)[:30] in html.unescape(client.get("/runs/suite").text)

    def test_a_line_that_is_being_written(self, tmp_path: Path, client_of: Clients) -> None:
        folder = begun(tmp_path / "suite/run", EPOCH)
        with (folder / "metrics.jsonl").open("a") as file:
            file.write('{"epoch": 2, "lo')
        found = client_of(tmp_path).get("/api/runs/suite/run/metrics").json()
        assert (found["state"], found["total"]) == ("stopped", 1)

    def test_a_file_where_a_run_should_be(self, tmp_path: Path, client_of: Clients) -> None:
        real_run(tmp_path / "suite/good")
        (tmp_path / "suite/bad").write_text("")
        (tmp_path / "suite/suite.json").write_text('{"runs": ["good", "bad"]}')
        assert states(tmp_path) == {"good": "done", "bad": "broken"}
        assert "expected a run&#39;s folder, found a file" in client_of(tmp_path).get("/runs/suite").text

    def test_a_broken_suite_file(self, tmp_path: Path, client_of: Clients) -> None:
        real_run(tmp_path / "suite/good")
        (tmp_path / "suite/suite.json").write_text("{")
        client = client_of(tmp_path)
        assert "suite/suite.json" in client.get("/runs").text
        assert "suite/suite.json" in client.get("/runs/suite").text

    def test_a_picture_that_cannot_be_cut_is_a_line(self, tmp_path: Path, client_of: Clients) -> None:
        (real_run(tmp_path / "suite/run") / "worst.png").write_bytes(b"no picture")
        assert "expected a PNG contact sheet" in whole(client_of(tmp_path), "/runs/suite")

    def test_no_name_of_a_suite_file_leads_elsewhere(self, tmp_path: Path, client_of: Clients) -> None:
        real_run(tmp_path / "elsewhere/secret")
        real_run(tmp_path / "runs/suite/good")
        names = ["../../elsewhere/secret", "..", "", "/etc", "a\0b", "x" * 300]
        (tmp_path / "runs/suite/suite.json").write_text(json.dumps({"runs": names}))
        found = Shelves(tmp_path / "runs").one("suite").items
        assert {item.name: item.state for item in found if item.state != "broken"} == {"good": "done"}
        assert all(item.run is None for item in found if item.name != "good")
        client = client_of(tmp_path / "runs")
        assert client.get("/runs/suite").status_code == 200

    @pytest.mark.parametrize(
        "address",
        [
            "/runs/..%2felsewhere",
            "/runs/%2e%2e",
            "/runs/suite/..%2f..%2felsewhere%2fsecret",
            "/runs/suite/..%5c",
            "/runs/suite%00",
            "/runs/.hidden",
            "/runs/suite/good%2frecord.json",
            "/api/runs/suite/..%2fgood/metrics",
            "/api/runs/suite/good/pictures/..%2frecord.json",
            "/runs/" + "x" * 900,
        ],
    )
    def test_no_address_leads_elsewhere(self, tmp_path: Path, client_of: Clients, address: str) -> None:
        real_run(tmp_path / "elsewhere/secret")
        real_run(tmp_path / "runs/suite/good")
        real_run(tmp_path / "runs/.hidden/run")
        answer = client_of(tmp_path / "runs").get(address)
        assert answer.status_code in (404, 422), answer.text


class TestNames:
    @pytest.mark.parametrize("name", ["größer", "two words", "50%", "a?b#c", "<b>&\"'", "日本", "{{ 7*7 }}", "-"])
    def test_any_folder_has_its_page(self, tmp_path: Path, client_of: Clients, name: str) -> None:
        real_run(tmp_path / name / name)
        client = client_of(tmp_path)
        (address,) = re.findall(r'<h2><a href="([^"]+)"', client.get("/runs").text)
        page = client.get(html.unescape(address))
        assert page.status_code == 200
        links = {html.unescape(one) for one in re.findall(r'href="(/runs/[^"]+/[^"]+)"', page.text)}
        (run,) = links
        assert client.get(run).status_code == 200
        assert client.get(f"/api{run}/metrics").json()["total"] == 20
        assert "<b>&" not in page.text

    def test_a_name_that_is_no_text(self, tmp_path: Path, client_of: Clients) -> None:
        real_run(tmp_path / "suite/good")
        (tmp_path / "suite" / os.fsdecode(b"\xff\xfe")).mkdir()
        client = client_of(tmp_path)
        page = client.get("/runs/suite")
        assert page.status_code == 200
        links = re.findall(r'href="(/runs/suite/[^"]+)"', page.text)
        assert {client.get(link).status_code for link in links} == {200}


class TestMetrics:
    def test_what_is_new(self, tmp_path: Path, client_of: Clients) -> None:
        folder = begun(tmp_path / "suite/run", EPOCH, EPOCH | {"epoch": 2})
        client = client_of(tmp_path)
        first = client.get("/api/runs/suite/run/metrics").json()
        assert [one["epoch"] for one in first["epochs"]] == [1, 2]
        begun(folder, EPOCH, EPOCH | {"epoch": 2}, EPOCH | {"epoch": 3})
        more = client.get("/api/runs/suite/run/metrics?after=2").json()
        assert ([one["epoch"] for one in more["epochs"]], more["total"], more["begun"]) == ([3], 3, first["begun"])
        begun(folder, EPOCH | {"loss": 1.25})
        anew = client.get("/api/runs/suite/run/metrics?after=3").json()
        assert (anew["epochs"], anew["total"]) == ([], 1)
        assert anew["begun"] != first["begun"]

    def test_what_is_no_number_is_null(self, tmp_path: Path, client_of: Clients) -> None:
        begun(tmp_path / "suite/run", EPOCH | {"loss": float("nan")}, EPOCH | {"loss": float("inf")})
        answer = client_of(tmp_path).get("/api/runs/suite/run/metrics")
        assert [one["loss"] for one in answer.json()["epochs"]] == [None, None]
        assert client_of(tmp_path).get("/runs/suite/run").status_code == 200

    @pytest.mark.parametrize("after", ["-1", "x", "1" * 30])
    def test_bounds(self, tmp_path: Path, client_of: Clients, after: str) -> None:
        begun(tmp_path / "suite/run", EPOCH)
        answer = client_of(tmp_path).get(f"/api/runs/suite/run/metrics?after={after}")
        assert answer.status_code == 422
        assert "after" in answer.json()["error"]

    def test_a_training_says_where_it_stands(self, tmp_path: Path, client_of: Clients) -> None:
        folder = tmp_path / "suite/run"
        folder.mkdir(parents=True)
        trained(recipe_with(epochs=2), digits(64), folder=folder)
        standing = read_standing(folder)
        assert standing is not None
        assert (standing.network, standing.epoch, standing.epochs, standing.of) == ("lenet5", 3, 2, 64)
        assert standing.seconds_left in (None, 0)
        found = client_of(tmp_path).get("/api/runs/suite/run/metrics").json()
        assert found["standing"]["epochs"] == 2
        (folder / FILE).write_text('{"epoch": -1}')
        assert read_standing(folder) is None
        assert client_of(tmp_path).get("/runs/suite/run").status_code == 200


class TestPictures:
    def test_by_their_place(self, tmp_path: Path, client_of: Clients) -> None:
        folder = real_run(tmp_path / "suite/run")
        (folder / "explain/deeper").mkdir(parents=True)
        for place, name in enumerate(("worst.png", "found.png", "explain/a.png", "explain/deeper/b.png")):
            Image.new("RGB", (5 + place, 5)).save(folder / name)
        client = client_of(tmp_path)
        for place, name in enumerate(("worst.png", "found.png", "explain/a.png", "explain/deeper/b.png")):
            answer = client.get(f"/api/runs/suite/run/pictures/{place}")
            assert (answer.content, answer.headers["content-type"]) == ((folder / name).read_bytes(), "image/png")
        assert client.get("/api/runs/suite/run/pictures/4").status_code == 404

    def test_what_only_says_that_it_is_one(self, tmp_path: Path, client_of: Clients) -> None:
        (real_run(tmp_path / "suite/run") / "worst.png").write_text("<script>alert(1)</script>")
        answer = client_of(tmp_path).get("/api/runs/suite/run/pictures/0")
        assert answer.status_code == 404
        assert "script" not in answer.text


class TestWhatIsShown:
    def test_a_suite_is_what_its_report_shows(self, tmp_path: Path, client_of: Clients) -> None:
        for name in ("lenet5", "knn"):
            real_run(tmp_path / "suite" / name, f"lecun1998/{name}")
        report = write_report(tmp_path, tmp_path / "report.html").read_text()
        body = report.partition("</header>")[2].partition("</section>")[0]
        assert "<svg" in body
        assert body.strip() in whole(client_of(tmp_path), "/runs/suite")

    def test_a_run(self, tmp_path: Path, client_of: Clients) -> None:
        real_run(tmp_path / "suite/run")
        page = whole(client_of(tmp_path), "/runs/suite/run")
        for text in (
            "0.90",
            "0.73–1.10",
            "within",
            "60,000",
            'href="/networks/lenet5"',
            "71d3be42f93ad20d",
            "AMD EPYC",
        ):
            assert text in page
        assert page.count("<svg") == 3  # errors within classes for desk and phone, and confusions
        assert " style=" not in page

    @pytest.mark.parametrize(
        ("of", "text"), [("imagenet-costs/vgg16", "138,357,544"), ("detection-matrix/ssd300_vgg16", "backbone")]
    )
    def test_what_was_measured(self, tmp_path: Path, client_of: Clients, of: str, text: str) -> None:
        real_run(tmp_path / "suite/run", of)
        page = client_of(tmp_path).get("/runs/suite/run").text
        assert text in page
        assert "How fast it is" in page

    def test_a_suite_of_nothing_done(self, tmp_path: Path, client_of: Clients) -> None:
        begun(tmp_path / "suite/run", EPOCH)
        assert "1 stopped" in whole(client_of(tmp_path), "/runs/suite")


def fail() -> None:
    raise ConvbenchError("two\nlines")


class TestWorkshop:
    def test_kept_until_things_change(self) -> None:
        async def all_of_it() -> None:
            workshop = Workshop()
            try:
                first = await settled(workshop, 1, partial(time.time_ns))
                assert await settled(workshop, 1, partial(time.time_ns)) == first
                meanwhile = await workshop.get("key", 2, partial(time.sleep, 0.5))
                assert (meanwhile.value, meanwhile.whole) == (first, False)
                assert await settled(workshop, 2, partial(time.sleep, 0.5)) is None
            finally:
                workshop.close()

        asyncio.run(all_of_it())

    def test_a_problem_is_a_line(self) -> None:
        async def all_of_it() -> None:
            workshop = Workshop()
            try:
                assert await settled(workshop, 1, partial(fail)) == "two lines"
                invalid = "ValueError: invalid literal for int() with base 10: 'x'"
                assert await settled(workshop, 2, partial(int, "x")) == invalid
                assert await settled(workshop, 3, partial(os._exit, 1)) == "the process that made it has ended"
                assert await settled(workshop, 4, partial(abs, -1)) == 1
            finally:
                workshop.close()

        asyncio.run(all_of_it())


async def settled(workshop: Workshop, stamp: int, make: Callable[[], object]) -> object:
    """What was made, or the problem, once it is there."""
    for _ in range(600):
        made = await workshop.get("key", stamp, make)
        if made.whole:
            return made.problem or made.value
    raise AssertionError("it was never made")


@pytest.mark.browser
class TestInABrowser:
    def test_every_page_fits(self) -> None:
        addresses = ["/runs", "/runs/lecun1998", "/runs/lecun1998/lenet5", "/runs/imagenet-costs/vgg16"]
        with explorer(DOCS) as url, browser() as opened:
            for size in (DESKTOP, PHONE):
                for scheme in ("light", "dark"):
                    with page_of(opened, size, scheme) as page:
                        for address in addresses:
                            page.goto(url + address)
                            page.wait_for_selector(".making", state="detached", timeout=120_000)
                            assert_fits(page)

    def test_curves_are_read_with_the_keyboard(self) -> None:
        with explorer(DOCS) as url, browser() as opened, page_of(opened) as page:
            page.goto(url + "/runs/lecun1998/lenet5")
            page.wait_for_selector(".making", state="detached", timeout=120_000)
            page.wait_for_selector("#charts svg path", state="attached")  # a straight line counts as hidden
            page.locator("#charts svg").first.focus()
            page.keyboard.press("Home")
            assert page.inner_text("#readout") == "epoch 1: loss 4.7096, test 2.50 %, training set 5.38 %"
            page.keyboard.press("ArrowRight")
            assert page.inner_text("#readout").startswith("epoch 2:")
            page.keyboard.press("End")
            assert page.inner_text("#readout").startswith("epoch 20:")

    def test_without_scripts(self) -> None:
        with explorer(DOCS) as url, browser() as opened:
            context = opened.new_context(java_script_enabled=False)
            page = context.new_page()
            page.goto(url + "/runs/lecun1998/lenet5")
            page.click("summary")
            assert page.locator("#epochs tr").count() == 20
            assert page.locator("#epochs tr").first.inner_text().split() == [
                *("1", "4.7096", "5.38", "–", "2.50", "–", "0.0005", "70.4", "852")
            ]
            context.close()

    def test_a_training_grows_is_killed_and_goes_on(self, tmp_path: Path) -> None:
        folder = tmp_path / "train/two words"
        command = [sys.executable, "-m", "convbench", "train", "lenet5-relu", "--out", str(folder)]
        passes = 300  # so many that it is not over before it is killed, on whatever machine
        settings = {"data": "digits", "preprocessing.size": 16, "preprocessing.pad": 0, "images": 600, "epochs": passes}
        for name, value in settings.items():
            command += ["--set", f"{name}={value}"]

        def begin(*more: str) -> subprocess.Popen[bytes]:
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            return subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)

        with explorer(tmp_path) as url, browser() as opened, page_of(opened) as page:
            training = begin()
            try:
                while read_standing(folder) is None:
                    assert training.poll() is None
                    time.sleep(0.05)
                page.goto(f"{url}/runs/train/two%20words")
                rows = page.locator("#epochs tr")
                rows.nth(2).wait_for(state="attached", timeout=120_000)
                assert page.inner_text("#state") == "running"
                assert re.fullmatch(rf"\d+ of {passes}", page.inner_text("#epoch"))
                curve = page.locator("#charts path[fill=none]").first
                before, count = curve.get_attribute("d") or "", rows.count()
                rows.nth(count).wait_for(state="attached", timeout=60_000)
                assert (curve.get_attribute("d") or "").count("L") > before.count("L")
            finally:
                training.send_signal(signal.SIGKILL)
                training.wait()
            page.locator("#state.stopped").wait_for(timeout=30_000)
            seen = rows.count()
            training = begin("--resume")
            try:
                page.locator("#state.running").wait_for(timeout=120_000)
                page.wait_for_selector(".state.done", timeout=300_000)
            finally:
                training.wait(300)
            page.wait_for_selector("text=test error %", timeout=60_000)  # the page has come again, with the result
            assert seen < rows.count() == passes
            assert not (folder / FILE).exists()


def test_no_such_suite(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no suite 'x' is here"):
        Shelves(tmp_path).one("x")
