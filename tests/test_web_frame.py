"""The explorer's frame: who is let in, how much may come, and what waits in line."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image, ImageFile
from starlette.types import Message, Receive, Scope, Send
from typer.testing import CliRunner

from browsing import explorer
from convbench.cli import app as commands
from convbench.errors import ConvbenchError, RequestError
from convbench.web import photographs, safety, trained
from convbench.web.app import create_app
from convbench.web.desk import BusyError, Desk
from convbench.web.explorer import Settings
from convbench.web.once import Once
from convbench.web.photographs import MissingError, Photographs, decode
from convbench.web.serve import CONNECTIONS, parse_weights

HERE = "http://127.0.0.1"


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(create_app(Settings(runs=tmp_path)), base_url=HERE)


class TestWhoIsLetIn:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LOCALHOST", "[::1]:8000"])
    def test_this_machines_names(self, client: TestClient, host: str) -> None:
        assert client.get("/report.css", headers={"host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host",
        ["example.org", "127.0.0.1.example.org", "localhost.example.org:8000", "", "[::1", "127.0.0.1@example.org"],
    )
    def test_no_other_name_that_points_here(self, client: TestClient, host: str) -> None:
        answer = client.get("/report.css", headers={"host": host})
        assert answer.status_code == 421
        assert "expected the host" in answer.json()["error"] and "--allow-host" in answer.json()["error"]

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "http://example.org"},
            {"origin": "null"},
            {"origin": "http://127.0.0.1:9999"},  # another server of this machine
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"origin": HERE, "sec-fetch-site": "cross-site"},
            {"origin": "http://["},
        ],
    )
    def test_no_other_sites_posts(self, client: TestClient, headers: dict[str, str]) -> None:
        answer = client.post("/api/photographs", content=b"x", headers=headers)
        assert answer.status_code == 403 and "another site's" in answer.json()["error"]

    @pytest.mark.parametrize("use", ["image", "script", "iframe", "empty"])
    def test_no_other_sites_images_and_frames(self, client: TestClient, tmp_path: Path, use: str) -> None:
        """/digits begins a training."""
        answer = client.get("/digits", headers={"sec-fetch-site": "cross-site", "sec-fetch-dest": use})
        assert answer.status_code == 403 and "another site's" in answer.json()["error"]
        assert not list(tmp_path.iterdir())

    def test_a_link_from_another_site_is_followed(self, client: TestClient) -> None:
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document", "sec-fetch-mode": "navigate"}
        assert client.get("/report.css", headers=headers).status_code == 200

    @pytest.mark.parametrize("headers", [{}, {"origin": HERE}, {"origin": HERE, "sec-fetch-site": "same-origin"}])
    def test_its_own_posts_and_scripts(self, client: TestClient, headers: dict[str, str]) -> None:
        assert (
            client.post("/", headers=headers).status_code == 405
        )  # let in, and told that nothing is to be posted there

    def test_every_answer_says_what_pages_may_do(self, client: TestClient) -> None:
        for path, headers in (("/report.css", {}), ("/nowhere", {}), ("/report.css", {"host": "example.org"})):
            answer = client.get(path, headers=headers)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"

    def test_names_that_were_allowed(self, tmp_path: Path) -> None:
        app = create_app(Settings(runs=tmp_path, hosts=("bench.example.org",)))
        client = TestClient(app, base_url="http://bench.example.org:8000")
        assert client.get("/report.css").status_code == 200
        assert client.get("/report.css", headers={"host": "127.0.0.1"}).status_code == 421


class TestWhatMayCome:
    def test_a_body_that_says_it_is_too_large(self, client: TestClient) -> None:
        answer = client.post("/", content=b"x", headers={"content-length": str(safety.MOST_BYTES + 1)})
        assert answer.status_code == 413

    def test_a_body_that_grows_too_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(safety, "MOST_BYTES", 1000)
        chunks = iter([{"type": "http.request", "body": b"x" * 600, "more_body": True}] * 3)

        async def receive() -> Message:
            return dict(next(chunks))

        assert guarded(receive) == [413]

    def test_a_body_that_does_not_come(self) -> None:
        async def receive() -> Message:
            await asyncio.sleep(60)
            raise AssertionError

        assert guarded(receive, body_seconds=0.05) == [408]

    @pytest.mark.slow
    def test_a_head_that_does_not_come_is_hung_up_on(self, tmp_path: Path) -> None:
        with explorer(tmp_path) as address:
            url = httpx.URL(address)
            assert url.port is not None
            with socket.create_connection((url.host, url.port), timeout=30) as silent:
                silent.sendall(b"GET / HTTP/1.1\r\nhost: 127")
                for _ in range(int(4 * safety.HEAD_SECONDS)):
                    time.sleep(0.5)
                    try:
                        silent.sendall(b"x")  # one byte now and then, as attackers do
                    except (BrokenPipeError, ConnectionResetError):
                        break
                else:
                    pytest.fail(f"the connection is still open after {2 * safety.HEAD_SECONDS:g} s")
                assert httpx.get(f"{address}/report.css").status_code == 200


def guarded(receive: Receive, **options: float) -> list[int]:
    """The statuses that an application behind the guard answers with when it reads such a body."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass

    statuses: list[int] = []

    async def send(message: Message) -> None:
        if "status" in message:
            statuses.append(message["status"])

    scope = {"type": "http", "method": "POST", "headers": [(b"host", b"localhost")]}
    asyncio.run(safety.Guard(application, ["localhost"], **options)(scope, receive, send))
    return statuses


class TestDesk:
    def run(self, work: Callable[[Desk], Awaitable[None]], **options: float) -> None:
        async def all_of_it() -> None:
            desk = Desk("test", **{"hands": 1, "waiting": 1, "seconds": 5, **options})  # type: ignore[arg-type]
            try:
                await work(desk)
            finally:
                desk.close()

        asyncio.run(all_of_it())

    def test_it_gives_what_the_work_gives(self) -> None:
        async def work(desk: Desk) -> None:
            assert await desk.do(lambda: 7) == 7
            with pytest.raises(RequestError, match="wrong"):
                await desk.do(lambda: _raise(RequestError("wrong")))
            assert desk.taken == 0

        self.run(work)

    def test_nobody_is_let_in_where_the_line_is_full(self) -> None:
        async def work(desk: Desk) -> None:
            gate = threading.Event()
            doing = [asyncio.ensure_future(desk.do(gate.wait)) for _ in range(2)]
            await asyncio.sleep(0.05)
            with pytest.raises(BusyError) as refused:
                await desk.do(lambda: None)
            assert refused.value.retry_after > 0
            gate.set()
            assert await asyncio.gather(*doing) == [True, True]
            assert await desk.do(lambda: 1) == 1

        self.run(work)

    def test_what_outlasts_its_askers_keeps_its_place(self) -> None:
        async def work(desk: Desk) -> None:
            gate = threading.Event()
            for _ in range(2):
                with pytest.raises(BusyError, match="no answer after"):
                    await desk.do(gate.wait)
            assert desk.taken == 1  # the one that runs; the one that waited was dropped
            gate.set()
            await asyncio.sleep(0.1)
            assert desk.taken == 0

        self.run(work, seconds=0.05)

    def test_what_many_ask_for_is_done_once_and_kept(self) -> None:
        async def work(desk: Desk) -> None:
            once, gate, done = Once(desk, most=1), threading.Event(), list[int]()

            def slow() -> int:
                gate.wait()
                done.append(1)
                return 7

            asking = [asyncio.ensure_future(once.do("a", slow)) for _ in range(20)]
            await asyncio.sleep(0.02)
            assert desk.taken == 1
            asking[0].cancel()
            gate.set()
            assert await asyncio.gather(*asking[1:]) == [7] * 19
            assert await once.do("a", slow) == 7
            assert len(done) == 1
            assert await once.do("b", lambda: 8) == 8
            assert await once.do("a", slow) == 7
            assert len(done) == 2

        self.run(work)

    def test_what_failed_is_tried_again(self) -> None:
        async def work(desk: Desk) -> None:
            once = Once(desk)
            with pytest.raises(RequestError, match="wrong"):
                await once.do("a", lambda: _raise(RequestError("wrong")))
            assert await once.do("a", lambda: 7) == 7

        self.run(work)


def _raise(error: Exception) -> None:
    raise error


class TestPhotographs:
    @pytest.mark.parametrize("kind", photographs.FORMATS)
    def test_known_formats(self, kind: str) -> None:
        pixels = decode(file_of(kind, (40, 30)))
        assert pixels.shape == (3, 30, 40) and pixels.dtype == torch.uint8

    def test_large_ones_are_kept_smaller(self) -> None:
        assert decode(file_of("JPEG", (3000, 1500))).shape == (3, 512, 1024)

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", "an empty file"),
            (b"GIF, or so it says", "no format that is known"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "no format that is known"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no format that is known"),
        ],
    )
    def test_others_are_refused(self, content: bytes, expected: str) -> None:
        with pytest.raises(RequestError, match=expected):
            decode(content)

    def test_a_bomb_is_refused_before_it_is_decoded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        content = bytearray(file_of("PNG", (8, 8)))
        content[16:24] = (60_000).to_bytes(4, "big") * 2  # the header's width and height, whose checksum no longer fits
        with pytest.raises(ConvbenchError):
            decode(bytes(content))
        content = file_of("PNG", (40, 30))
        monkeypatch.setattr(photographs, "MOST_PIXELS", 100)
        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
        with pytest.raises(RequestError, match="expected at most 100 pixels, found 40 x 30"):
            decode(content)

    def test_a_damaged_one(self) -> None:
        content = file_of("JPEG", (640, 480))
        with pytest.raises(ConvbenchError, match="cannot be decoded"):
            decode(content[: len(content) // 2])

    def test_the_last_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(photographs, "KEPT", 2)
        shelf = Photographs()
        ids = [shelf.add(file_of("PNG", (8, 8 + n))).id for n in range(3)]
        assert len(set(ids)) == 3
        assert shelf.get(ids[2]).pixels.shape == (3, 10, 8)
        with pytest.raises(MissingError):
            shelf.get(ids[0])
        for sample in shelf.samples():
            assert shelf.get(sample.id) is sample


def file_of(kind: str, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


class TestCommand:
    def test_weights_are_named(self, tmp_path: Path) -> None:
        file = tmp_path / "a=b.npz"
        file.touch()
        assert parse_weights([f"mobilenet_v1={file}"]) == {"mobilenet_v1": file}
        for wrong, expected in (
            (str(tmp_path / "a"), "NETWORK=FILE"),
            (f"mobilnet_v1={file}", "nearest are mobilenet_v1"),
            (f"vgg16={tmp_path / 'none'}", "found none at"),
        ):
            with pytest.raises(RequestError, match=expected):
                parse_weights([wrong])

    def test_a_taken_port(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            result = CliRunner().invoke(commands, ["serve", "--port", port, "--runs", str(tmp_path)])
        assert isinstance(result.exception, RequestError) and "take another --port" in str(result.exception)

    def test_a_data_set_that_is_not_there(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(commands, ["serve", "--port", "0", "--runs", str(tmp_path), "--data", "imagenete"])
        assert isinstance(result.exception, RequestError) and "imagenet" in str(result.exception)

    def test_a_defect_is_told_in_a_line(self, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("convbench.web.look.choices", lambda _: 1 / 0)
        answer = client.get("/api/look/networks")
        assert answer.status_code == 500 and answer.json() == {"error": "a defect: ZeroDivisionError: division by zero"}
        assert "default-src 'none'" in answer.headers["content-security-policy"]

    def test_no_photograph_reaches_a_file(self, client: TestClient) -> None:
        for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"):
            assert client.get(path).status_code in (404, 405)


def test_the_limits_are_those_of_the_document(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs/explorer.md").read_text()
    made = create_app(Settings(runs=tmp_path)).state.explorer
    assert f"| {safety.MOST_BYTES // 2**20} MiB, within {safety.BODY_SECONDS:g} seconds |" in text
    assert f"| within {safety.HEAD_SECONDS:g} seconds |" in text
    assert f"| {CONNECTIONS} at a time | 503 |" in text
    assert f"{photographs.MOST_PIXELS // 10**6} million pixels" in text
    assert f"the last {photographs.KEPT}, in memory alone, at most {photographs.SIDE:,} pixels" in text
    for desk in (made.quick, made.counting, made.slow):
        assert f"one at a time, {desk.places - 1} wait, {desk.seconds:g} seconds" in text
    assert f"the last {trained.KEPT} that were asked for" in text
    for kind in photographs.FORMATS:
        assert kind.lower() in text.lower()
    made.close()
