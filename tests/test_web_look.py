"""Look: a photograph through trained networks, against what the commands answer; hostile files; and in a browser."""

from __future__ import annotations

import base64
import io
import os
import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from playwright.sync_api import Browser, expect

import convbench as cb
from browsing import DESKTOP, PHONE, assert_fits, browser, explorer, page_of
from convbench.bench.evaluate import load_network
from convbench.bench.explain import digest_of, grey_of, open_subject, prepare_image
from convbench.bench.predict import predict
from convbench.bench.top9 import KEPT, kept_unit, top9
from convbench.data import Preprocessing
from convbench.explain.figure import as_bytes, projected, stretched
from convbench.explain.layers import count_switches
from convbench.models import build
from convbench.web import errands
from convbench.web.app import create_app
from convbench.web.explorer import Settings
from convbench.web.trained import Choice
from convbench.weights import save_weights
from small_trainings import untrained_weights

README = Path(__file__).parents[1] / "README.md"
CLASSES = ("cat", "dog", "ship", "truck", "frog")


def said_of(channels: int) -> dict[str, Any]:
    """What a file of weights says of itself."""
    known = {"network": "resnet20", "classes": CLASSES, "input_shape": (channels, 32, 32)}
    return {**known, "preprocessing": asdict(Preprocessing())}


def told(answers: Any) -> list[tuple[int, str]]:
    """Indices and names of answers, of an endpoint or of the command."""
    return [(one["index"], one["name"]) if isinstance(one, dict) else (one.index, one.name) for one in answers]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a small network for colours; that it learnt nothing does not matter to how it is shown."""
    return untrained_weights(tmp_path_factory.mktemp("weights"), CLASSES)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of photographs: crops of the samples."""
    folder = tmp_path_factory.mktemp("photos")
    crops = cb.data.samples.sample_photographs(24, 3, 40)
    for number, crop in enumerate(crops):
        place = folder / ("train" if number % 2 else "val") / f"class{number // 2 % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop.permute(1, 2, 0).numpy()).save(place / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def client(weights: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    runs = tmp_path_factory.mktemp("runs")
    app = create_app(Settings(runs, {"resnet20": weights}, str(photos)))
    with TestClient(app, base_url="http://127.0.0.1") as opened:
        yield opened


def asked(client: TestClient, what: str, status: int = 200, **values: Any) -> Any:
    """What an endpoint answers; waits while it is to be asked again."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        answer = client.get(f"/api/look/{what}", params=values)
        assert answer.status_code == status, answer.text
        found = answer.json()
        if not found.get("waiting"):
            return found
    pytest.fail("it did not end")


@pytest.fixture(scope="module")
def sample(client: TestClient) -> str:
    samples = asked(client, "networks")["samples"]
    return str(samples[0]["id"])


@pytest.fixture(scope="module")
def china(client: TestClient, sample: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first sample as a file, as the commands read it."""
    file = tmp_path_factory.mktemp("files") / "china.png"
    file.write_bytes(client.get(f"/api/photographs/{sample}.png").content)
    return file


def pixels(uri: str) -> torch.Tensor:
    """uint8 (c, h, w) of a picture that lies in an answer."""
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    array = np.array(Image.open(io.BytesIO(base64.b64decode(content))))
    return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)


def png(size: tuple[int, int] = (40, 30), mode: str = "RGB", kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


class TestAnswers:
    def test_the_answers_are_the_commands(self, client: TestClient, sample: str, china: Path, weights: Path) -> None:
        found = asked(client, "answers", photograph=sample, network="resnet20")
        (expected,) = predict([china], "resnet20", weights, top=5, engine="eager")
        assert told(found["answers"]) == told(expected.answers)
        shares = [one["probability"] for one in found["answers"]]
        assert shares == pytest.approx([a.probability for a in expected.answers], rel=1e-5)
        loaded = open_subject("resnet20", weights)
        assert torch.equal(pixels(found["picture"]), as_bytes(prepare_image(loaded, china)))  # scaled to [0, 1] alone

    def test_a_grey_network_reads_the_luma(self, tmp_path: Path, client: TestClient, sample: str, china: Path) -> None:
        net = build("resnet20", num_classes=len(CLASSES), in_channels=1)
        save_weights(net, tmp_path / "g.safetensors", said_of(channels=1))
        app = create_app(Settings(tmp_path, {"resnet20": tmp_path / "g.safetensors"}))
        with TestClient(app, base_url="http://127.0.0.1") as opened:
            found = asked(opened, "answers", photograph=sample, network="resnet20")
        loaded = load_network("resnet20", tmp_path / "g.safetensors")
        assert torch.equal(pixels(found["picture"]), as_bytes(prepare_image(loaded, china)))

    def test_layers_are_the_stages_and_all_others(self, client: TestClient, weights: Path) -> None:
        found = asked(client, "layers", network="resnet20")
        net = open_subject("resnet20", weights).net
        assert [one["name"] for one in found["layers"] if one["is_stage"]] == list(net.stages)
        names = [one["name"] for one in found["layers"]]
        assert set(names) == {name for name, _ in net.named_modules() if name}
        assert found["layers"][0] | {"kind": ""} == {
            **{"name": names[0], "kind": "", "units": 16, "rows": 32, "columns": 32, "is_stage": False}
        }
        assert (found["layers"][-1]["rows"], found["layers"][-1]["units"], found["classes"]) == (1, 5, 5)
        assert found["switches"] == 0

    def test_switches_are_those_of_max_pooling(self) -> None:
        with torch.device("meta"):
            assert count_switches(build("alexnet")) == 3
            assert count_switches(build("resnet50")) == 1

    def test_maps_are_the_activations(self, client: TestClient, sample: str, china: Path, weights: Path) -> None:
        loaded = open_subject("resnet20", weights)
        maps = cb.explain.activations(loaded.net, prepare_image(loaded, china), "conv4").maps
        found = asked(client, "activations", photograph=sample, network="resnet20", layer="conv4", first=3, count=4)
        assert [one["unit"] for one in found["maps"]] == [3, 4, 5, 6] and found["units"] == 64
        for one in found["maps"]:
            assert one["greatest"] == pytest.approx(float(maps[one["unit"]].max()), rel=1e-5)
            assert torch.equal(pixels(one["picture"])[0], as_bytes(stretched(maps[one["unit"]])))
        strong = asked(client, "activations", photograph=sample, network="resnet20", layer="conv4", order="strength")
        assert strong["maps"][0]["unit"] == int(maps.flatten(1).amax(1).argmax())
        greatest = [one["greatest"] for one in strong["maps"]]
        assert greatest == sorted(greatest, reverse=True) and len(greatest) == 64

    def test_a_layer_without_maps_gives_values_and_the_last_ones_classes(self, client: TestClient, sample: str) -> None:
        last = asked(client, "layers", network="resnet20")["layers"][-1]["name"]
        found = asked(client, "activations", photograph=sample, network="resnet20", layer=last)
        assert [one["name"] for one in found["maps"]] == list(CLASSES)
        assert {one["picture"] for one in found["maps"]} == {None}

    @pytest.mark.parametrize("method", ["deconvnet", "guided", "gradient"])
    def test_the_projection_is_the_librarys(
        self, client: TestClient, sample: str, china: Path, weights: Path, method: Any
    ) -> None:
        loaded = open_subject("resnet20", weights)
        expected = cb.explain.deconvnet(loaded.net, prepare_image(loaded, china), "conv3", 7, method=method)
        found = asked(client, "projection", photograph=sample, network="resnet20", layer="conv3", unit=7, method=method)
        assert found["activation"] == pytest.approx(expected.activation, rel=1e-5)
        assert (found["position"], found["box"]) == (list(expected.position or ()), list(expected.box))
        drawn = pixels(found["projection"]).int() - as_bytes(projected(expected.pixels)).int()
        assert int(drawn.abs().max()) <= 1
        there = asked(
            client, "projection", photograph=sample, network="resnet20", layer="conv3", unit=7, row=0, column=2
        )
        assert there["position"] == [0, 2] and there["box"][0] == 0

    def test_the_network_is_as_before(self, client: TestClient, sample: str, weights: Path) -> None:
        before = asked(client, "answers", photograph=sample, network="resnet20")
        for what in ("activations", "projection"):
            asked(client, what, photograph=sample, network="resnet20", layer="conv4")
        assert asked(client, "answers", photograph=sample, network="resnet20") == before


class TestSlow:
    def test_occlusion_is_the_librarys(self, client: TestClient, sample: str, china: Path, weights: Path) -> None:
        loaded = open_subject("resnet20", weights)
        expected = cb.explain.occlusion(
            *(loaded.net, prepare_image(loaded, china), "conv3", 2),
            **{"target": 1, "steps": 4, "grey": grey_of(loaded), "engine": "eager"},
        )
        assert expected.projection is not None and expected.projection.unit == 2
        values = {"photograph": sample, "network": "resnet20", "layer": "conv3", "unit": 2, "target": 1, "steps": 4}
        found = asked(client, "occlusion", **values)["found"]
        torch.testing.assert_close(torch.tensor(found["probability"]), expected.probability, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(torch.tensor(found["activation"]), expected.activation, rtol=1e-4, atol=1e-4)
        assert found["answers"] == expected.answers.tolist()
        assert (found["name"], found["unit"], found["square"]) == ("dog", 2, expected.square)
        assert pixels(found["pictures"][0]).shape == (3, 4, 4)

    def test_what_was_found_is_kept(self, client: TestClient, sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
        values = {"photograph": sample, "network": "resnet20", "steps": 3}
        before = asked(client, "occlusion", **values)
        monkeypatch.setattr(cb.explain, "occlusion", lambda *_, **__: pytest.fail("done again"))
        assert asked(client, "occlusion", **values) == before

    def test_top9_is_looked_for_when_asked(self, client: TestClient, photos: Path, weights: Path) -> None:
        values = {"network": "resnet20", "layer": "conv3", "unit": 5, "method": "guided"}
        offer = asked(client, "top9", **values)
        assert offer["found"] is None and offer["data"] == photos.name
        found = asked(client, "top9", **values, search=True)["found"]
        loaded = open_subject("resnet20", weights)
        source = cb.data.open_photographs(str(photos), "test")
        (expected,) = cb.explain.top9(
            loaded.net, source, ["conv3"], [5], preprocessing=Preprocessing(shorter=32, crop=32), method="guided"
        )
        shown = [(one.index, one.projection.activation) for one in expected.units[0].strongest]
        assert [one["index"] for one in found["strongest"]] == [index for index, _ in shown]
        assert [one["activation"] for one in found["strongest"]] == pytest.approx([a for _, a in shown], rel=1e-4)
        assert pixels(found["projected"]).shape == pixels(found["seen"]).shape

    def test_top9_of_a_run_is_what_the_command_kept(self, tmp_path: Path, photos: Path, weights: Path) -> None:
        kept = top9("resnet20", weights, str(photos), ["conv2", "conv4"], [1, 6], tmp_path / KEPT, engine="eager")
        app = create_app(Settings(tmp_path, {"resnet20": weights}))
        choice = Choice("a/run", "resnet20", "a run", weights, tmp_path, colours=True)
        app.state.explorer.trained.choices = lambda: [choice]
        with TestClient(app, base_url="http://127.0.0.1") as opened:
            found = asked(opened, "top9", network="a/run", layer="conv4", unit=6)["found"]
            other = asked(opened, "top9", network="a/run", layer="conv4", unit=7)
        strongest = kept["layers"][1]["units"][1]["strongest"]
        assert [one["index"] for one in found["strongest"]] == [one["index"] for one in strongest]
        picture = Image.open(tmp_path / KEPT / kept["layers"][1]["units"][1]["pictures"][0])
        assert torch.equal(pixels(found["projected"]).permute(1, 2, 0), torch.from_numpy(np.array(picture)))
        assert other["found"] is None and "--layers conv4 --units 7," in other["command"]

    def test_top9_of_other_weights_is_not_this_networks(self, tmp_path: Path, photos: Path, weights: Path) -> None:
        top9("resnet20", weights, str(photos), ["conv4"], [6], tmp_path / KEPT, engine="eager")
        changed = open_subject("resnet20", weights)
        with torch.no_grad():
            next(changed.net.parameters()).add_(0.1)
        assert kept_unit(tmp_path / KEPT, digest_of(changed.net), "conv4", 6, "deconvnet") is None

    def test_a_quick_answer_does_not_wait_for_a_slow_one(
        self, client: TestClient, sample: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        go, begun = threading.Event(), threading.Event()

        def held(*_: Any, **__: Any) -> None:
            begun.set()
            go.wait(60)
            raise cb.errors.ConvbenchError("let go")

        monkeypatch.setattr(cb.explain, "occlusion", held)
        values = {"photograph": sample, "network": "resnet20", "steps": 5}
        first = client.get("/api/look/occlusion", params=values).json()
        assert first["waiting"]["doing"] == "beginning" and begun.wait(60)
        asked(client, "answers", photograph=sample, network="resnet20")
        assert client.get("/api/look/occlusion", params=values).json()["waiting"]
        go.set()
        assert "let go" in asked_error(client, "occlusion", 422, **values)

    def test_work_that_nobody_asks_for_any_more_is_dropped(
        self, client: TestClient, sample: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended = threading.Event()

        def endless(*_: Any, **__: Any) -> None:
            try:
                with cb.progress.progress("covering", 1) as bar:
                    while True:
                        time.sleep(0.01)
                        bar.advance()
            finally:
                ended.set()

        client.get("/networks")  # its charts are drawn from the start on: behind them it would be dropped in the line
        monkeypatch.setattr(errands, "FORGOTTEN", 0.3)
        monkeypatch.setattr(errands, "PATIENCE", 0.1)
        with monkeypatch.context() as within:
            within.setattr(cb.explain, "occlusion", endless)
            values = {"photograph": sample, "network": "resnet20", "steps": 6}
            assert client.get("/api/look/occlusion", params=values).json()["waiting"]
            assert ended.wait(60)
        monkeypatch.setattr(errands, "FORGOTTEN", 60)
        assert asked(client, "occlusion", **values)["found"]["steps"] == 6


def asked_error(client: TestClient, what: str, status: int, **values: Any) -> str:
    """The one line of an error, waited for."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = client.get(f"/api/look/{what}", params=values)
        if answer.status_code == status:
            (line,) = answer.json()["error"].splitlines()
            return str(line)
        assert answer.status_code == 200, answer.text
    pytest.fail("no error came")


WRONG: dict[str, tuple[str, int, dict[str, Any], str]] = {
    "layer": ("activations", 400, {"layer": "conv9"}, "unknown layer 'conv9'"),
    "unit": ("projection", 400, {"layer": "conv4", "unit": 64}, "a unit from 0 to 63, found 64"),
    "position": ("projection", 400, {"layer": "conv4", "unit": 0, "row": 8, "column": 0}, "to 7,7, found 8,0"),
    "no unit": ("projection", 422, {"layer": "conv4", "unit": -1}, "greater than or equal to 0"),
    "method": ("projection", 422, {"layer": "conv4", "method": "magic"}, "method"),
    "photograph": ("answers", 404, {"photograph": "0" * 24}, "no longer here"),
    "path as photograph": ("answers", 422, {"photograph": "../../etc/passwd"}, "pattern"),
    "network": ("answers", 404, {"network": "../../etc"}, "no trained network"),
    "target": ("occlusion", 400, {"target": 5, "steps": 2}, "a class from 0 to 4, found 5"),
    "occluded unit": ("occlusion", 400, {"layer": "conv4", "unit": 64, "steps": 2}, "a unit from 0 to 63"),
    "occluded layer": ("occlusion", 400, {"layer": "conv9", "steps": 2}, "conv9"),
    "top9 unit": ("top9", 400, {"layer": "conv4", "unit": 64, "search": True}, "units from 0 to 63, found 64"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_told_in_one_line(client: TestClient, sample: str, case: str) -> None:
    what, status, values, expected = WRONG[case]
    values = {"photograph": sample, "network": "resnet20", **values}
    if what == "top9":
        del values["photograph"]
    assert expected in asked_error(client, what, status, **values)


def bomb() -> bytes:
    """A whole PNG header of 60,000 x 60,000 pixels, checksum and all, with little behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    content = zlib.compress(bytes(10**6))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


HOSTILE: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "text": (lambda: b"this is no photograph, whatever its name", 400, "no format that is known"),
    "nothing": (lambda: b"", 400, "an empty file"),
    "truncated JPEG": (lambda: png((640, 480), kind="JPEG")[:900], 422, "cannot be decoded"),
    "bomb": (bomb, 400, "more pixels than any has"),
    "SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", 400, "no format"),
    "EPS": (lambda: png(kind="EPS"), 400, "no format that is known"),
    "PDF": (lambda: png(kind="PDF"), 400, "no format that is known"),
    "only a head": (lambda: png()[:20], 400, "no format that is known"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_one_line(client: TestClient, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, status, expected = HOSTILE[case]
    content = make()
    # Pillow hands PostScript to Ghostscript, as a program.
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("another program was run"))
    answer = client.post("/api/photographs", content=content)
    assert answer.status_code == status and expected in answer.json()["error"]
    assert len(answer.json()["error"].splitlines()) == 1


ODD: dict[str, Callable[[], bytes]] = {
    "16 bits": lambda: _sixteen_bits(),
    "CMYK": lambda: png(mode="CMYK", kind="JPEG"),
    "a palette": lambda: png(mode="P"),
    "transparent": lambda: png(mode="RGBA"),
    "animated": lambda: png(kind="GIF", save_all=True, append_images=[Image.new("RGB", (40, 30), "red")] * 3),
    "one pixel": lambda: png((1, 1)),
}


def _sixteen_bits() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.linspace(0, 65535, 1200).reshape(30, 40).astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ODD)
def test_odd_photographs_are_looked_at(client: TestClient, kind: str) -> None:
    kept = client.post("/api/photographs", content=ODD[kind]())
    assert kept.status_code == 200, kept.text
    id, width, height = (kept.json()[key] for key in ("id", "width", "height"))
    shown = client.get(f"/api/photographs/{id}.png")
    assert shown.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(shown.content)).size == (width, height)
    assert len(asked(client, "answers", photograph=id, network="resnet20")["answers"]) == 5


def test_a_photograph_too_narrow_for_the_network_is_told(client: TestClient) -> None:
    id = client.post("/api/photographs", content=png((900, 2))).json()["id"]
    answer = client.get("/api/look/answers", params={"photograph": id, "network": "resnet20"})
    assert answer.status_code == 400 and "cut the image first" in answer.json()["error"]


def test_without_networks_the_page_says_how_to_get_one(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(tmp_path)), base_url="http://127.0.0.1") as opened:
        page = opened.get("/look").text
        assert opened.get("/api/look/networks").json()["networks"] == []
    command = "convbench train imagenette-cpu --set data=PHOTOS --set network=mobilenet_v1_025"
    assert command in " ".join(page.split()) and command in README.read_text()  # whose lines are run
    assert "convbench serve" in page and "--weights mobilenet_v1=FILE" in page and page.count('class="sample"') == 2


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as one:
        yield one


@pytest.mark.browser
@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_a_person_looks_inside(
    opened: Browser, tmp_path: Path, weights: Path, photos: Path, size: tuple[int, int], scheme: str
) -> None:
    (tmp_path / "mine.png").write_bytes(png((300, 200)))
    (tmp_path / "none.jpg").write_text("no photograph")
    options = ("--weights", f"resnet20={weights}", "--data", str(photos))
    with explorer(tmp_path / "runs", *options) as at, page_of(opened, size, scheme) as page:
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        page.goto(f"{at}/look")
        assert_fits(page)
        page.get_by_role("button", name="china").click()
        expect(page.locator(".answers li")).to_have_count(5)
        page.locator(".tiles button").nth(2).click()  # of the first stage
        expect(page.locator(".seen rect.box")).to_have_count(1)
        page.locator(".stages button").last.click()
        expect(page.locator(".maps .what")).to_contain_text("64 maps of 8 × 8")
        page.locator(".tiles button").nth(3).press("Enter")
        expect(page.locator(".unit .name")).to_contain_text("conv4, unit 3")
        expect(page.locator(".whole figcaption")).to_contain_text("sees all of the photograph")
        page.get_by_label("deconvnet", exact=True).check()
        expect(page.locator(".note")).to_contain_text("no switches")
        page.locator("figure.map .place").press("ArrowDown")
        page.get_by_role("button", name="Its nine strongest").click()
        expect(page.locator(".nine img")).to_have_count(2)
        page.get_by_role("button", name="Cover it").click()
        expect(page.locator(".covered .place")).to_have_count(3)
        page.locator(".covered .place").first.press("ArrowRight")
        expect(page.locator(".cover [role=status]")).to_contain_text("most probable is")
        expect(page.locator(".seen rect.grey")).to_have_count(1)
        assert_fits(page)

        page.select_option("#beside", "resnet20")
        expect(page.locator(".column")).to_have_count(2)
        page.set_input_files("#file", tmp_path / "mine.png")
        expect(page.locator("#said")).to_contain_text("300 × 200")
        for column in page.locator(".column").all():
            expect(column.locator(".answers li")).to_have_count(5)
        expect(page.locator(".column").first.locator(".unit .name")).to_contain_text("conv4, unit 3")
        first, second = page.locator(".column").evaluate_all("all => all.map((one) => one.offsetTop)")
        assert (first == second) == (size == DESKTOP)  # on a phone one under the other
        assert_fits(page)
        address = page.url
        page.goto(address)  # the address says what is shown
        expect(page.locator(".answers li")).to_have_count(10)


@pytest.mark.browser
def test_a_file_that_is_no_photograph_is_told(opened: Browser, tmp_path: Path, weights: Path) -> None:
    (tmp_path / "none.jpg").write_text("no photograph")
    with explorer(tmp_path / "runs", "--weights", f"resnet20={weights}") as at:
        context = opened.new_context()  # the browser itself logs the refusal as an error
        page = context.new_page()
        page.goto(f"{at}/look")
        page.set_input_files("#file", tmp_path / "none.jpg")
        expect(page.locator("#said.problem")).to_contain_text("no format that is known")
        context.close()


@pytest.mark.realdata
def test_real_networks_answer_as_the_command_does(real_data: Path, real_weights: Path) -> None:
    file = real_weights / "mobilenet_v1_1.0_224_keras_imagenet.npz"
    photograph = sorted(real_data.glob("imagenet-val/*.jpeg"))[0]
    (expected,) = predict([photograph], "mobilenet_v1", file, engine="eager")
    loaded = open_subject("mobilenet_v1", file)
    prepared = prepare_image(loaded, photograph)
    projection = cb.explain.deconvnet(loaded.net, prepared, "separable5", 12, method="guided")
    app = create_app(Settings(Path(os.devnull), {"mobilenet_v1": file}))
    with TestClient(app, base_url="http://127.0.0.1") as opened:
        id = opened.post("/api/photographs", content=photograph.read_bytes()).json()["id"]
        found = asked(opened, "answers", photograph=id, network="mobilenet_v1")
        values = {"photograph": id, "network": "mobilenet_v1", "layer": "separable5", "unit": 12, "method": "guided"}
        projected_there = asked(opened, "projection", **values)
    assert told(found["answers"]) == told(expected.answers)
    shares = [one["probability"] for one in found["answers"]]
    assert shares == pytest.approx([a.probability for a in expected.answers], rel=1e-3)
    assert projected_there["activation"] == pytest.approx(projection.activation, rel=1e-4)
    assert projected_there["box"] == list(projection.box)
    apart = pixels(projected_there["projection"]).int() - as_bytes(projected(projection.pixels)).int()
    assert float((apart.abs() > 2).float().mean()) < 0.001
