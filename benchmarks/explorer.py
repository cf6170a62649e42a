"""How long the explorer lets a person wait: pages, a drawn digit, a photograph through MobileNet, and fifty at once.

    python benchmarks/explorer.py --runs RUNS --mobilenet FILE [--repeats 15]

A real `convbench serve` answers real requests on the loopback. Each page is asked for once as first sight, when its
counts and charts are made, and then `--repeats` times; photographs are another each time, uploaded and answered, so
that nothing is remembered. RUNS should hold a trained LeNet-5 (`convbench run first-look`) and a comparison. Prints one
JSON line: milliseconds, as medians and the slowest.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from sklearn.datasets import load_sample_image

from convbench.data import open_dataset
from convbench.timing.machine import describe_machine, library_versions

PAGES = (
    "/networks",
    "/networks/vgg16",
    "/networks/googlenet",
    "/networks/resnet152",
    "/look",
    "/digits",
    "/runs",
    "/claims",
)
USERS, EACH = 50, 6  # people at once, and drawn digits of each
GOALS = {"page": 200, "digit": 100, "photograph": 300}


def timed(ask: Callable[[], httpx.Response], allowed: tuple[int, ...] = (200,)) -> float:
    """Milliseconds of one request, whose answer must be as allowed."""
    began = time.perf_counter()
    answer = ask()
    assert answer.status_code in allowed, f"{answer.url}: {answer.status_code} {answer.text[:200]}"
    return 1000 * (time.perf_counter() - began)


def told(times: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(times), 1), "slowest": round(max(times), 1)}


def photographs(n: int) -> list[bytes]:
    """JPEG files of about 500 x 375 pixels, each other than the others."""
    whole, files = Image.fromarray(load_sample_image("china.jpg")), []
    for i in range(n):
        buffer = io.BytesIO()
        whole.crop((i, i, i + 500, i + 375)).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


def pads(n: int) -> list[dict[str, str]]:
    """Digits on the pad, as the page sends them."""
    images = open_dataset("digits", "test").images[:n].float()
    large = [Image.fromarray(one[0].byte().numpy()).resize((28, 28), Image.Resampling.BILINEAR) for one in images]
    return [{"pixels": base64.b64encode(one.tobytes()).decode()} for one in large]


def measure(client: httpx.Client, repeats: int) -> dict[str, Any]:
    first = {page: round(timed(lambda page=page: client.get(page)), 1) for page in PAGES}  # type: ignore[misc]
    warm = {page: told([timed(lambda page=page: client.get(page)) for _ in range(repeats)]) for page in PAGES}  # type: ignore[misc]
    drawings = pads(repeats + 1)
    for _ in range(600):  # until the rivals have learnt
        state = client.get("/api/digits").json()
        if state["complete"]:
            break
        time.sleep(0.2)
    digits = [timed(lambda one=one: client.post("/api/digits", json=one)) for one in drawings][1:]  # type: ignore[misc]

    def seen(file: bytes) -> float:
        began = time.perf_counter()
        photograph = client.post("/api/photographs", content=file).json()["id"]
        timed(lambda: client.get("/api/look/answers", params={"photograph": photograph, "network": "mobilenet_v1"}))
        return 1000 * (time.perf_counter() - began)

    shown = [seen(file) for file in photographs(repeats + 2)][2:]
    return {"first": first, "pages": warm, "digit": told(digits), "photograph": told(shown)}


def crowd(address: str) -> dict[str, Any]:
    """Fifty people who draw at once."""
    times, drawings = list[float](), pads(EACH)

    def draw() -> None:
        with httpx.Client(base_url=address, timeout=120) as client:
            for one in drawings:
                times.append(timed(lambda one=one: client.post("/api/digits", json=one), (200, 503)))  # type: ignore[misc]

    began, people = time.perf_counter(), [threading.Thread(target=draw) for _ in range(USERS)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    return {"users": USERS, "answers_per_s": round(len(times) / (time.perf_counter() - began), 1), **told(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--mobilenet", type=Path, required=True, help="weights of mobilenet_v1")
    parser.add_argument("--repeats", type=int, default=15)
    asked = parser.parse_args()
    command = [sys.executable, "-m", "convbench", "serve", "--port", "0", "--runs", str(asked.runs)]
    server = subprocess.Popen(
        [*command, "--weights", f"mobilenet_v1={asked.mobilenet}"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[1]
        with httpx.Client(base_url=address, timeout=120) as client:
            found = measure(client, asked.repeats)
        found["crowd"] = crowd(address)
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(30)
    about = {"goals": GOALS, "machine": describe_machine(), "versions": library_versions()}
    print(json.dumps({"benchmark": "explorer", **found, **about}))


if __name__ == "__main__":
    main()
