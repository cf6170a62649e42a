"""The page of digits: what it says of a drawing is what the library says of the same pixels."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect
from torch import Tensor

from browsing import DESKTOP, PHONE, assert_fits, browser, explorer, page_of
from convbench import RequestError, build_rival, features, open_dataset, run_suite
from convbench.bench.evaluate import load_network
from convbench.bench.store import RunFolder
from convbench.models.lenet import LENET5_TABLE, digit_codes
from convbench.training.network import TrainedNetwork
from convbench.web import digit_network, digit_rivals
from convbench.web.app import create_app
from convbench.web.digit_frames import FRAMES, prepare
from convbench.web.digit_network import Training, best_network
from convbench.web.digits import AMPLITUDE
from convbench.web.explorer import Settings
from convbench.web.trained import Trained

HERE = "http://127.0.0.1"
QUICK = """
title = "A quick LeNet-5"
description = "for tests"
data = "{data}"

[[runs]]
name = "lenet5"
title = "LeNet-5"
recipe = "lenet5-batch8"
settings = {{ epochs = {epochs}, batch_size = {batch}, "schedule.steps" = [[{epochs}, 4e-3]] }}
preprocessing = {{ size = 28, pad = 2, low = -0.1, high = 1.175 }}
"""


def quick_suite(folder: Path, data: str, epochs: int, batch: int = 8) -> Path:
    path = folder / "quick.toml"
    path.write_text(QUICK.format(data=data, epochs=epochs, batch=batch))
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with a LeNet-5 that has learnt the built-in digits, passably."""
    out = tmp_path_factory.mktemp("runs")
    (outcome,) = run_suite(quick_suite(tmp_path_factory.mktemp("suite"), "digits", 5), out=out)
    assert outcome.error is None
    return out


@pytest.fixture(scope="module")
def client(runs: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(runs=runs)), base_url=HERE) as opened:
        wait_for(opened, lambda state: bool(state["complete"]))
        yield opened


def wait_for(client: TestClient, holds: Callable[[dict[str, Any]], bool], seconds: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while not holds(state := client.get("/api/digits").json()):
        assert time.monotonic() < deadline, state
        time.sleep(0.1)
    return state  # type: ignore[no-any-return]


def encoded(pad: Tensor) -> dict[str, str]:
    return {"pixels": base64.b64encode(pad.to(torch.uint8).numpy().tobytes()).decode()}


def decoded(picture: dict[str, Any]) -> Tensor:
    """(maps, rows, columns), uint8"""
    values = torch.frombuffer(bytearray(base64.b64decode(picture["values"])), dtype=torch.uint8)
    return values.view(picture["maps"], picture["rows"], picture["columns"])


def drawn() -> Tensor:
    """A seven, off the centre and small."""
    pad = torch.zeros(28, 28, dtype=torch.uint8)
    pad[3:5, 4:14] = 255
    for row in range(5, 17):
        left = 12 - (row - 5) // 3
        pad[row, left : left + 2] = 255
    return pad


class TestPreparing:
    def test_a_drawing_is_fitted_and_centred_by_its_mass(self) -> None:
        image = prepare(drawn(), FRAMES["mnist"])
        rows, columns = (image.any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert height == 20 and width == pytest.approx(20 * 10 / 14, abs=2)  # of 14x10, blurred
        mass = image.double()
        along = torch.arange(28, dtype=torch.float64)
        for profile in (mass.sum(1), mass.sum(0)):
            assert float((profile * along).sum() / profile.sum()) == pytest.approx(14, abs=0.5)

    @pytest.mark.parametrize("down", [0, 5, 11])
    def test_where_it_stood_does_not_matter(self, down: int) -> None:
        moved = drawn().roll((down, down), (0, 1))
        for frame in FRAMES.values():
            assert torch.equal(prepare(moved, frame), prepare(drawn(), frame))

    def test_how_large_it_was_hardly_matters(self) -> None:
        small = torch.nn.functional.interpolate(drawn()[None, None, 3:17, 3:17].float(), scale_factor=2)[0, 0]
        one, other = (prepare(pad.to(torch.uint8), FRAMES["mnist"]).float() for pad in (small, drawn()))
        assert (one - other).abs().mean() < 8  # of 255

    def test_the_built_in_digits_stay_nearly_as_they_are(self) -> None:
        images = open_dataset("digits", "test").images[:, 0]
        same = [torch.equal(prepare(image, FRAMES["digits"]), image) for image in images]
        assert sum(same) > 0.85 * len(same)  # the others do not stand in the middle, by a pixel

    @pytest.mark.realdata
    @pytest.mark.usefixtures("real_data")
    def test_mnists_digits_stay_as_they_are(self) -> None:
        images = open_dataset("mnist", "test", download=False).images[:, 0]
        changed = [image for image in images if not torch.equal(prepare(image, FRAMES["mnist"]), image)]
        assert len(changed) == 4  # of 10,000: three whose ink is 19 pixels high, one whose centre is between two

    @pytest.mark.parametrize(
        "pad",
        [
            torch.full((28, 28), 255),
            torch.full((28, 28), 1),
            torch.eye(28) * 255,
            torch.tensor([[255] + [0] * 27] + [[0] * 28] * 27),
            torch.tensor([[255] + [0] * 27] + [[0] * 28] * 26 + [[0] * 27 + [1]]),
        ],
        ids=["all ink", "faint", "diagonal", "a dot", "two dots"],
    )
    def test_anything_with_ink_fits(self, pad: Tensor) -> None:
        for frame in FRAMES.values():
            image = prepare(pad.to(torch.uint8), frame)
            assert image.shape == (frame.side, frame.side) and image.any()

    def test_an_empty_pad_is_refused(self) -> None:
        with pytest.raises(RequestError, match="expected ink on the pad"):
            prepare(torch.zeros(28, 28, dtype=torch.uint8), FRAMES["mnist"])


class TestReading:
    def test_layers_distances_and_answer_are_the_networks(self, client: TestClient, runs: Path) -> None:
        loaded = load_network("lenet5", runs / "quick/lenet5/weights.safetensors")
        for sample in client.get("/api/digits/samples").json():
            reading = client.post("/api/digits", json={"pixels": sample["pad"]["values"]}).json()
            image = decoded(reading["prepared"])[None]
            x = loaded.preprocessing(image)
            assert set(reading["lenet"]["layers"]) == {"c1", "s2", "c3", "s4", "c5", "f6"}
            for layer, picture in reading["lenet"]["layers"].items():
                expected = features(loaded.net, x, f"{layer}_squash")[0].detach()
                expected = expected.reshape(len(expected), *(expected.shape[1:] or (1, 1)))
                shown = (decoded(picture).double() / 127.5 - 1) * AMPLITUDE
                assert (shown - expected).abs().max() <= AMPLITUDE / 255 + 1e-5  # half a step of 256
            scores = TrainedNetwork(loaded.net, loaded.preprocessing).scores(image)[0]
            assert reading["lenet"]["distances"] == pytest.approx((-scores).tolist(), rel=1e-4)
            assert reading["lenet"]["answer"] == int(scores.argmax())
            assert (
                decoded(reading["lenet"]["input"])[0] - loaded.preprocessing.geometry(image)[0, 0] * 255
            ).abs().max() <= 0.51

    def test_rivals_answer_as_they_do_elsewhere(self, client: TestClient) -> None:
        train = open_dataset("digits", "train")
        knn, svm = build_rival("knn"), build_rival("svm_poly4")
        knn.fit(train)
        svm.fit(train)
        readings = [
            client.post("/api/digits", json={"pixels": one["pad"]["values"]}).json() for one in offered(client, 2)
        ]
        images = torch.stack([decoded(reading["prepared"]) for reading in readings])
        for reading, image, near, votes in zip(readings, images, knn.scores(images), svm.scores(images), strict=True):
            assert reading["knn"]["answer"] == int(near.argmax())
            assert reading["svm"]["answer"] == int(votes.argmax())
            assert reading["svm"]["scores"] == pytest.approx(votes.tolist(), abs=1e-4)
            far = ((train.images.double() - image) / 255).square().flatten(1).sum(1).sqrt()
            shown = reading["knn"]["neighbours"]
            assert [one["distance"] for one in shown] == pytest.approx(far.sort().values[:5].tolist(), abs=1e-5)
            for one in shown:
                there = (train.images == decoded(one["image"])).flatten(1).all(1)
                assert one["digit"] in train.labels[there].tolist()

    def test_test_digits_are_read_as_in_the_evaluation(self, client: TestClient, runs: Path) -> None:
        record = json.loads((runs / "quick/lenet5/record.json").read_text())
        read = [client.post("/api/digits", json={"pixels": one["pad"]["values"]}).json() for one in offered(client, 5)]
        right = sum(one["lenet"]["answer"] == i % 10 for i, one in enumerate(read))
        assert right >= len(read) * (1 - record["result"]["top1_error"] / 100) - 4  # blurred on their way over the pad

    def test_the_pages_table_counts_and_codes_are_the_papers(self, client: TestClient) -> None:
        text = client.get("/digits").text
        cells = re.findall(r'role="cell" data-s2="(\d+)" data-c3="(\d+)">(×?)<', text)
        assert len(cells) == 96
        reads = {(int(c3), int(s2)) for s2, c3, cross in cells if cross}
        assert reads == {(c3, s2) for c3, sources in enumerate(LENET5_TABLE) for s2 in sources}
        lines = re.findall(r'<path [^>]*data-s2="(\d+)" data-c3="(\d+)"', text)
        assert len(lines) == 60 and {(int(c3), int(s2)) for s2, c3 in lines} == reads
        for params, connections in (
            *(("156", "122,304"), ("12", "5,880"), ("1,516", "151,600"), ("32", "2,000")),
            *(("48,120", "48,120"), ("10,164", "10,164"), ("no", "840"), ("60,000", "340,908")),
        ):
            assert re.search(rf"\b{params} parameters(,| and) {connections} connections", text)
        bits = re.findall(r'data-bits="([#.]{84})"', text)
        assert [[1.0 if bit == "#" else -1.0 for bit in code] for code in bits] == digit_codes().tolist()

    def test_mistakes_are_those_of_the_evaluation(self, client: TestClient, runs: Path) -> None:
        worst = json.loads((runs / "quick/lenet5/record.json").read_text())["result"]["worst"]
        assert worst, "a network that has learnt so little makes mistakes"
        shown = client.get("/api/digits/samples?kind=mistakes").json()
        assert [(one["digit"], one["read_as"]) for one in shown] == [(w["label"], w["predicted"]) for w in worst[:10]]
        assert client.get("/api/digits/samples?kind=mistakes&number=99").json() == []

    @pytest.mark.parametrize(
        ("body", "status", "says"),
        [
            ({}, 422, "pixels: Field required"),
            ({"pixels": "AAAA"}, 422, "at least 1048 characters"),
            ({"pixels": "A" * 4_000_000}, 422, "at most 1048 characters"),
            ({"pixels": "é" * 1048}, 422, "match pattern"),
            ({"pixels": "A" * 1047 + "="}, 400, "expected 784 bytes"),
            ({"pixels": "A" * 1048}, 400, "expected 784 bytes"),
            ({"pixels": "A" * 1045 + "==="}, 422, "match pattern"),
            ({"pixels": 5}, 422, "valid string"),
            ([1, 2], 422, "valid dictionary"),
            (encoded(torch.zeros(28, 28)), 400, "expected ink on the pad"),
            (encoded(torch.ones(28, 28)) | {"more": 1}, 422, "not permitted"),
        ],
    )
    def test_other_bodies_get_a_line(self, client: TestClient, body: Any, status: int, says: str) -> None:
        answer = client.post("/api/digits", json=body)
        assert answer.status_code == status, answer.text
        assert set(answer.json()) == {"error"} and says in answer.json()["error"] and "\n" not in answer.json()["error"]

    @pytest.mark.parametrize("query", ["kind=best", "number=-1", "number=100", "number=x"])
    def test_other_samples_get_a_line(self, client: TestClient, query: str) -> None:
        answer = client.get(f"/api/digits/samples?{query}")
        assert answer.status_code == 422 and set(answer.json()) == {"error"}

    def test_fifty_at_once(self, client: TestClient) -> None:
        async def all_ask() -> list[httpx.Response]:
            transport = httpx.ASGITransport(app=client.app)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url=HERE, timeout=60) as asking:
                return await asyncio.gather(*(asking.post("/api/digits", json=encoded(drawn())) for _ in range(50)))

        answers = asyncio.run(all_ask())
        assert {one.status_code for one in answers} <= {200, 503}
        assert all("retry-after" in one.headers for one in answers if one.status_code == 503)
        assert sum(one.status_code == 200 for one in answers) >= 40
        assert len({one.text for one in answers if one.status_code == 200}) == 1


def offered(client: TestClient, numbers: int) -> list[dict[str, Any]]:
    """The first so many test digits of each class."""
    return [one for number in range(numbers) for one in client.get(f"/api/digits/samples?number={number}").json()]


def copy_run(runs: Path, to: Path, **changed: Any) -> None:
    """The quick run under another name, with other things in its record."""
    shutil.copytree(runs / "quick/lenet5", to)
    record = json.loads((to / "record.json").read_text())
    for path, value in changed.items():
        *outer, last = path.split("__")
        place = record
        for key in outer:
            place = place[key]
        place[last] = value
    (to / "record.json").write_text(json.dumps(record))


class TestWhichNetwork:
    def test_the_one_that_learnt_from_most_digits_and_errs_least(self, runs: Path, tmp_path: Path) -> None:
        assert best_network(Trained(tmp_path, {})) is None
        copy_run(runs, tmp_path / "a/lenet5", result__top1_error=9.0)
        copy_run(runs, tmp_path / "b/lenet5", result__top1_error=1.0)
        copy_run(runs, tmp_path / "c/lenet5", result__top1_error=0.5, data__train__name="fashion-mnist")
        copy_run(runs, tmp_path / "d/lenet5", result__top1_error=0.5, preprocessing__pad=0)  # reads 28x28
        copy_run(runs, tmp_path / "e/lenet5", result__top1_error=0.5, status="failed")
        (tmp_path / "f/lenet5").mkdir(parents=True)
        (tmp_path / "f/lenet5/record.json").write_text("{")
        (tmp_path / "f/lenet5/weights.safetensors").write_bytes(b"")
        best = best_network(Trained(tmp_path, {}))
        assert best is not None and best[0].id == "b/lenet5"
        copy_run(runs, tmp_path / "g/lenet5", result__top1_error=5.0, data__train__n=60_000)
        best = best_network(Trained(tmp_path, {}))
        assert best is not None and best[0].id == "g/lenet5"

    def test_without_mnist_the_rivals_learn_the_built_in_digits(
        self, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CONVBENCH_DATA", raising=False)
        copy_run(runs, tmp_path / "lecun1998/lenet5", data__train__name="mnist", data__test__name="mnist")
        with TestClient(create_app(Settings(runs=tmp_path)), base_url=HERE) as client:
            state = wait_for(client, lambda state: bool(state["complete"]))
            assert (
                state["words"]["knn"] == "the nearest 3 of 1,201 built-in digits vote, as MNIST is not on this machine"
            )
            assert state["words"]["svm"].endswith("built-in digits, as MNIST is not on this machine")
            reading = client.post("/api/digits", json=encoded(drawn())).json()
            assert decoded(reading["prepared"]).shape == (1, 28, 28)
            assert decoded(reading["knn"]["neighbours"][0]["image"]).shape == (1, 8, 8)
            assert client.get("/api/digits/samples?kind=mistakes").json() == []  # which are MNIST's
            assert len(client.get("/api/digits/samples").json()) == 10

    def test_lenet_answers_alone_until_the_rivals_are_fitted(self, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(digit_rivals.Rivals, "_fit", lambda self: None)
        with TestClient(create_app(Settings(runs=runs)), base_url=HERE) as client:
            reading = client.post("/api/digits", json=encoded(drawn())).json()
            assert reading["knn"] is None and reading["svm"] is None and reading["lenet"]["answer"] in range(10)
            assert client.get("/api/digits").json()["words"]["svm"] == "is being fitted …"

    def test_a_rival_that_cannot_be_fitted_says_why(self, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise RequestError("no rivals today")

        monkeypatch.setattr(digit_rivals, "build_rival", refuse)
        with TestClient(create_app(Settings(runs=runs)), base_url=HERE) as client:
            state = wait_for(client, lambda state: bool(state["complete"]))
            assert state["words"]["knn"] == "no rivals today"
            assert client.post("/api/digits", json=encoded(drawn())).status_code == 200

    def test_damaged_weights_are_told(self, runs: Path, tmp_path: Path) -> None:
        copy_run(runs, tmp_path / "a/lenet5")
        (tmp_path / "a/lenet5/weights.safetensors").write_bytes(b"not weights")
        with TestClient(create_app(Settings(runs=tmp_path)), base_url=HERE) as client:
            for answer in (client.post("/api/digits", json=encoded(drawn())), client.get("/api/digits/samples")):
                assert answer.status_code in (400, 422) and "weights.safetensors" in answer.json()["error"]
            assert "weights.safetensors" in html.unescape(client.get("/digits").text)


class TestTraining:
    def test_where_there_is_no_network_one_is_trained(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        suite = quick_suite(tmp_path, "digits", 1, batch=64)
        monkeypatch.setattr("convbench.web.digit_readers.Training", lambda runs: Training(runs, suite))
        with TestClient(create_app(Settings(runs=tmp_path / "runs")), base_url=HERE) as client:
            assert "No trained LeNet-5 is here yet" in client.get("/digits").text
            answer = client.post("/api/digits", json=encoded(drawn()))
            if answer.status_code != 200:  # it may have learnt already
                assert answer.status_code == 503 and answer.headers["retry-after"] == "2"
                assert re.fullmatch(r"LeNet-5 is being trained: [01] of 1 epochs", answer.json()["error"])
            state = wait_for(client, lambda state: bool(state["ready"]))
            assert state["training"] is None
            assert client.post("/api/digits", json=encoded(drawn())).status_code == 200
        record = json.loads((tmp_path / "runs/quick/lenet5/record.json").read_text())
        assert record["status"] == "done" and record["command"] == digit_network.COMMAND

    def test_what_went_wrong_is_told(self, tmp_path: Path) -> None:
        training = Training(tmp_path)
        with RunFolder(training.folder).lock():
            training.begin()
            assert training._process is not None
            training._process.join(60)
        assert training.progress().error.startswith(f"{training.folder} is being run by another process")
        assert training.progress().epochs == 30

    @pytest.mark.slow
    def test_it_ends_with_the_server_and_goes_on_with_the_next(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "convbench", "serve", "--port", "0", "--runs", str(tmp_path)]
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        assert server.stdout is not None
        here = server.stdout.readline().split()[1]
        httpx.get(f"{here}/digits", timeout=60)
        epoch, deadline = 0, time.monotonic() + 240
        while epoch < 1:
            assert time.monotonic() < deadline
            time.sleep(0.2)
            state = httpx.get(f"{here}/api/digits", timeout=60).json()
            assert not state["ready"]
            epoch = state["training"]["epoch"]
        server.send_signal(signal.SIGKILL)
        server.wait()
        folder, deadline = RunFolder(tmp_path / "first-look/lenet5"), time.monotonic() + 30
        while is_locked(folder):
            assert time.monotonic() < deadline, "the training goes on"
            time.sleep(0.1)
        assert not (folder.path / "record.json").exists() or folder.read_record()["status"] != "done"  # type: ignore[index]
        with explorer(tmp_path) as here:
            state = httpx.get(f"{here}/api/digits", timeout=60).json()
            assert state["training"]["epoch"] >= epoch
        assert not is_locked(folder)

    @pytest.mark.slow
    @pytest.mark.realdata
    @pytest.mark.usefixtures("real_data")
    def test_a_fitting_ends_with_the_server(self, runs: Path, tmp_path: Path) -> None:
        copy_run(runs, tmp_path / "lecun1998/lenet5", data__train__name="mnist", data__test__name="mnist")
        command = [sys.executable, "-m", "convbench", "serve", "--port", "0", "--runs", str(tmp_path)]
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        assert server.stdout is not None
        here, deadline = server.stdout.readline().split()[1], time.monotonic() + 120
        while "digits vote" not in (state := httpx.get(f"{here}/api/digits", timeout=60).json())["words"]["knn"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not state["complete"]  # the machines are being fitted
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=60)
        assert server.returncode == 0 and "Aborted" not in said and "terminate called" not in said, said


def is_locked(folder: RunFolder) -> bool:
    try:
        with folder.lock():
            return False
    except RequestError:
        return True


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.usefixtures("real_data")
def test_mnists_digits_are_read_over_the_pad_as_in_the_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digit_rivals, "SVM_DIGITS", 500)
    (outcome,) = run_suite(quick_suite(tmp_path, "mnist", 1, batch=32), out=tmp_path / "runs")
    assert outcome.error is None
    test = open_dataset("mnist", "test", download=False)
    loaded = load_network("lenet5", tmp_path / "runs/quick/lenet5/weights.safetensors")
    scores = TrainedNetwork(loaded.net, loaded.preprocessing).scores(test.images[:100])
    expected = int((scores.argmax(1) == test.labels[:100]).sum())
    assert expected > 80
    with TestClient(create_app(Settings(runs=tmp_path / "runs")), base_url=HERE) as client:
        wait_for(client, lambda state: bool(state["complete"]))
        readings = [client.post("/api/digits", json=encoded(image[0])).json() for image in test.images[:100]]
    answers = {
        reader: torch.tensor([one[reader]["answer"] for one in readings]) == test.labels[:100]
        for reader in ("lenet", "knn", "svm")
    }
    assert int(answers["lenet"].sum()) >= expected
    assert int(answers["knn"].sum()) >= 95  # 97 % in the paper's evaluation
    assert int(answers["svm"].sum()) >= 80  # fitted on five hundred


def draw_three(page: Page) -> None:
    """With the mouse."""
    box = page.locator("#pad").bounding_box()
    assert box is not None
    points = [(0.3, 0.25), (0.5, 0.15), (0.7, 0.3), (0.5, 0.48), (0.72, 0.62), (0.6, 0.82), (0.3, 0.78)]
    (x, y), *others = [(box["x"] + a * box["width"], box["y"] + b * box["height"]) for a, b in points]
    page.mouse.move(x, y)
    page.mouse.down()
    for x, y in others:
        page.mouse.move(x, y, steps=6)
    page.mouse.up()


def touch_one(page: Page) -> None:
    """With a finger."""
    box = page.locator("#pad").bounding_box()
    assert box is not None
    touches = page.context.new_cdp_session(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.15
    for step in range(8):
        kind = "touchMove" if step else "touchStart"
        place = {"x": x, "y": y + step * box["height"] * 0.1}
        touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [place]})
    touches.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def painted(page: Page, selector: str) -> set[str]:
    """The colours on a canvas."""
    colours = page.locator(selector).evaluate(
        "one => Array.from({length: one.width * one.height}, (_, i) =>"
        " [...one.getContext('2d').getImageData(i % one.width, Math.floor(i / one.width), 1, 1).data].join())"
    )
    return set(colours)


@pytest.fixture(scope="module")
def here(runs: Path) -> Iterator[str]:
    with explorer(runs) as address:
        yield address


@pytest.mark.browser
class TestInTheBrowser:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
    def test_a_stroke_is_answered(self, here: str, size: tuple[int, int], scheme: str) -> None:
        with browser() as opened, page_of(opened, size, scheme) as page:
            page.goto(f"{here}/digits")
            expect(page.locator("#lenet")).to_have_text(
                re.compile(r"^\d$"), timeout=60_000
            )  # of the digit it begins with
            expect(page.locator("#svm")).to_have_text(re.compile(r"^\d$"), timeout=60_000)
            page.locator("#clear").click()
            expect(page.locator("#lenet")).to_have_text("–")
            expect(page.locator("#hint")).to_be_visible()
            draw_three(page)
            for reader in ("lenet", "knn", "svm"):
                expect(page.locator(f"#{reader}")).to_have_text("3", timeout=30_000)
            expect(page.locator("#answers-told")).to_have_text("LeNet-5 reads 3, k-NN 3, SVM 3", timeout=10_000)
            expect(page.locator(".codes .first")).to_have_attribute("data-code", "3")
            expect(page.locator("#near canvas")).to_have_count(5)
            assert len(painted(page, '[data-layer="c1"][data-map="0"]')) > 10
            assert len(painted(page, "#closest")) == 2
            expect(page.locator("#problem")).to_be_empty()
            assert_fits(page)
            page.locator("#undo").click()
            expect(page.locator("#lenet")).to_have_text("–")

    def test_a_finger_draws_and_does_not_scroll(self, here: str) -> None:
        with browser() as opened:
            context = opened.new_context(viewport={"width": PHONE[0], "height": PHONE[1]}, has_touch=True)
            page = context.new_page()
            page.goto(f"{here}/digits")
            expect(page.locator("#svm")).to_have_text(re.compile(r"^\d$"), timeout=60_000)
            touch_one(page)  # wipes off the digit that the page began with
            expect(page.locator("#lenet")).to_have_text("1", timeout=30_000)
            assert page.evaluate("scrollY") == 0
            context.close()

    def test_keys_draw(self, here: str) -> None:
        with browser() as opened, page_of(opened) as page:
            page.goto(f"{here}/digits")
            expect(page.locator("#svm")).to_have_text(re.compile(r"^\d$"), timeout=60_000)
            page.keyboard.press("Tab")
            page.locator("#pad").focus()
            page.keyboard.press("Delete")
            for _ in range(9):
                page.keyboard.press("ArrowUp")
            expect(page.locator("#brush")).to_be_visible()
            expect(page.locator("#lenet")).to_have_text("–")
            page.keyboard.press("Space")
            for _ in range(18):
                page.keyboard.press("ArrowDown")
            page.keyboard.press("Space")
            for reader in ("lenet", "knn"):
                expect(page.locator(f"#{reader}")).to_have_text("1", timeout=30_000)
            page.keyboard.press("Backspace")
            expect(page.locator("#lenet")).to_have_text("–")

    def test_table_one_lights_what_is_linked(self, here: str) -> None:
        with browser() as opened, page_of(opened) as page:
            page.goto(f"{here}/digits")
            lit = ".links path.lit"
            page.locator("button[data-c3='4']").hover()
            assert lit_of(page, lit, "s2") == [0, 4, 5] == lit_of(page, "button.lit", "s2")
            assert lit_of(page, "button.lit", "c3") == [4]
            assert lit_of(page, "[role=cell].lit", "s2") == [0, 4, 5]
            expect(page.locator("#linked")).to_have_text("C3 map 4 reads 3 of 6: S2 maps 0, 4 and 5.")
            page.locator("h1").hover()
            expect(page.locator(lit)).to_have_count(0)
            page.locator("button[data-s2='0']").focus()
            page.keyboard.press("ArrowRight")  # from map 0 to map 1
            readers = [c3 for c3, sources in enumerate(LENET5_TABLE) if 1 in sources]
            assert lit_of(page, lit, "c3") == readers == lit_of(page, "button.lit", "c3")
            page.keyboard.press("Enter")  # stays lit
            page.locator("h1").hover()
            assert lit_of(page, lit, "c3") == readers
            expect(page.locator("button[data-s2='1']")).to_have_attribute("aria-pressed", "true")

    def test_real_digits_go_onto_the_pad(self, here: str) -> None:
        with browser() as opened, page_of(opened) as page:
            page.goto(f"{here}/digits")
            expect(page.locator("#svm")).to_have_text(re.compile(r"^\d$"), timeout=60_000)
            page.get_by_role("button", name="Put a 0 on the pad").click()
            expect(page.locator("#knn")).to_have_text("0")
            before = page.locator("#samples canvas").first.evaluate("one => one.toDataURL()")
            page.locator("#others").click()
            expect(page.locator("#samples canvas")).to_have_count(10)
            page.wait_for_timeout(500)
            assert page.locator("#samples canvas").first.evaluate("one => one.toDataURL()") != before
            page.locator("#mistakes").click()
            mistake = page.get_by_role("button", name=re.compile(r"Put a \d that it read as \d on the pad")).first
            expect(mistake).to_be_visible()

    def test_the_page_begins_when_the_network_is_there(self, runs: Path, tmp_path: Path) -> None:
        with explorer(tmp_path) as here, browser() as opened, page_of(opened) as page:
            page.goto(f"{here}/digits")
            expect(page.locator("#training")).to_be_visible()
            expect(page.locator("#training-line")).to_have_text(re.compile(r"^epoch \d+ of 30$"))
            assert_fits(page)
            copy_run(runs, tmp_path / "elsewhere/lenet5")
            expect(page.locator("#lenet")).to_have_text(re.compile(r"^\d$"), timeout=60_000)
            expect(page.locator("#training")).to_be_hidden()
            assert not is_locked(RunFolder(tmp_path / "first-look/lenet5")), "its training is of no use any more"


def lit_of(page: Page, selector: str, name: str) -> list[int]:
    """The numbers of what is lit."""
    found = page.locator(selector).evaluate_all(f"all => all.map((one) => one.dataset.{name})")
    return sorted({int(one) for one in found if one is not None})
