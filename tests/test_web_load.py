"""The explorer under load: requests made at random from its own description, fifty people at once, bounded memory."""

from __future__ import annotations

import base64
import io
import os
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from PIL import Image
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from browsing import explorer
from convbench.web.app import create_app
from convbench.web.explorer import Settings
from small_trainings import untrained_weights

USERS = 50
NETWORKS = ("alexnet", "googlenet", "mobilenet_v1", "resnet18", "vgg11")  # whose pages they open


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_weights(tmp_path_factory.mktemp("weights"), tuple("abcdefghij"))


@pytest.fixture(scope="module")
def described(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> schemathesis.BaseSchema:
    runs = tmp_path_factory.mktemp("runs")
    app = create_app(Settings(runs, {"resnet20": weights}, hosts=("testserver", "localhost")))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.slow
def test_no_request_is_answered_otherwise_than_described(described: schemathesis.BaseSchema) -> None:
    operations = [one.ok() for one in described.get_all_operations()]
    assert {"/api/photographs", "/api/digits", "/api/look/projection"} <= {one.path for one in operations}
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def try_out(case: schemathesis.Case) -> None:
            response = case.call()
            if response.status_code == 503:  # a full desk says so, and when to come back
                assert int(response.headers["retry-after"][0]) > 0
                return
            # no description can say which bytes are a photograph, or which names are there
            case.validate_response(response, excluded_checks=[positive_data_acceptance])
            if response.status_code >= 400:
                line = response.json()["error"]
                assert line and "\n" not in line and "Traceback" not in line

        try_out()


def hostile_files() -> dict[str, bytes]:
    """What a photograph may turn out to be."""
    buffer = io.BytesIO()
    Image.effect_noise((640, 480), 90).convert("RGB").save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    header = bytearray(png((8, 8)))
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    rng = np.random.default_rng(0)
    broken = bytearray(jpeg)
    for place in rng.integers(600, len(jpeg), 200):
        broken[place] = rng.integers(256)
    return {
        "empty": b"",
        "text": b"photograph.jpeg",
        "noise": rng.bytes(100_000),
        "half": jpeg[: len(jpeg) // 2],
        "broken": bytes(broken),
        "bomb": bytes(header),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%BeginPreview\nshowpage\n",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "zip": b"PK\x03\x04" + rng.bytes(200),
        "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",
    }


def png(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def test_hostile_files_are_told_in_one_line(tmp_path: Path) -> None:
    client = TestClient(create_app(Settings(runs=tmp_path)), base_url="http://127.0.0.1")
    for name, content in hostile_files().items():
        answer = client.post("/api/photographs", content=content)
        if name == "broken" and answer.status_code == 200:
            continue  # JPEG decoders forgive a good deal
        assert answer.status_code in (400, 422), name
        assert "\n" not in answer.json()["error"]


@pytest.mark.slow
def test_fifty_people_at_once(weights: Path, tmp_path: Path) -> None:
    """Photographs and what a network says of them, hostile files, pages, occlusions and drawings: each is answered, or
    told to come back; nothing falls over, and the memory does not grow from one wave to the next, each of which brings
    photographs of its own."""
    pad = base64.b64encode(bytes(28 * 28)).decode()
    counts, wrong, told = Counter[int](), list[str](), list[bool]()

    def visit(address: str, user: int, wave: int) -> None:
        with httpx.Client(base_url=address, timeout=120) as client:
            photograph, hostile = png((800 + 60 * wave + user, 600)), list(hostile_files().values())[user % 10]

            def look_inside() -> httpx.Response:
                kept = client.post("/api/photographs", content=photograph)
                if kept.status_code != 200:
                    return kept
                asked = {"photograph": kept.json()["id"], "network": "resnet20"}
                if user % 10 == 0:
                    client.get("/api/look/occlusion", params=asked | {"steps": 7})
                answer = client.get("/api/look/answers", params=asked)
                told.append(answer.status_code == 200 and len(answer.json()["answers"]) == 5)
                return answer

            requests = [
                lambda: client.get("/look"),
                look_inside,
                lambda: client.get(f"/networks/{NETWORKS[user % len(NETWORKS)]}"),
                lambda: client.post("/api/photographs", content=hostile),
                lambda: client.post("/api/digits", json={"pixels": pad}),
                lambda: client.get("/runs"),
                lambda: client.get("/api/look/networks"),
            ]
            for ask in requests[user % 7 :] + requests[: user % 7]:
                try:
                    answer = ask()
                except httpx.HTTPError as error:
                    wrong.append(f"{type(error).__name__}: {error}")
                    continue
                counts[answer.status_code] += 1
                if answer.status_code == 503 and "retry-after" not in answer.headers:
                    wrong.append("503 without Retry-After")

    with explorer(tmp_path, "--weights", f"resnet20={weights}") as address:
        sizes = []
        for wave in range(3):
            people = [threading.Thread(target=visit, args=(address, user, wave)) for user in range(USERS)]
            for one in people:
                one.start()
            for one in people:
                one.join()
            sizes.append(resident(address))
        started = time.monotonic()
        assert httpx.get(f"{address}/runs", timeout=60).status_code == 200
        assert time.monotonic() - started < 60  # it has not fallen asleep
    assert not wrong, wrong[:5]
    assert set(counts) <= {200, 400, 404, 422, 503}, counts  # 404: of a photograph that others have pushed out
    assert counts[200] > 3 * USERS and sum(told) > USERS, (counts, sum(told))
    assert sizes[2] < 1.25 * sizes[0], f"MiB after each wave: {sizes}"


def resident(address: str) -> float:
    """MiB of the process that listens at the address."""
    port = f"{httpx.URL(address).port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inode = next(row[9] for row in rows if row[1].endswith(f":{port}") and row[3] == "0A")  # the one that listens
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(file.readlink()) == f"socket:[{inode}]" for file in (process / "fd").iterdir()):
                pages = int((process / "statm").read_text().split()[1])
                return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        except OSError:
            continue
    raise AssertionError("nobody listens there")
