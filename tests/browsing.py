"""A real browser, and the explorer as a process of its own, for tests that click."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DESKTOP, PHONE = (1280, 900), (390, 844)
QUIET = (  # a browser that asks nobody anything
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium, headless; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def page_of(opened: Browser, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> Iterator[Page]:
    """A page of that size; the test fails for a script's error, a refused resource and a request to elsewhere."""
    context = opened.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("console", lambda message: wrong.append(f"console: {message.text}") if message.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("http://127.0.0.1:", "data:", "blob:", "file:"))
            else wrong.append(f"request to {request.url}")
        ),
    )
    try:
        yield page
    finally:
        context.close()
    assert not wrong, wrong


def assert_fits(page: Page) -> None:
    """Nothing is wider than the screen, but what scrolls by itself."""
    widest, screen = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widest <= screen, f"{page.url}: {widest} pixels wide on a screen of {screen}"


@contextmanager
def explorer(runs: Path, *options: str) -> Iterator[str]:
    """`convbench serve` as a process on a free port, until the block ends: its address, such as http://127.0.0.1:5000"""
    command = [sys.executable, "-m", "convbench", "serve", "--port", "0", "--runs", str(runs), *options]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("explorer: http://"), line + process.stdout.read()
        yield line.split()[1]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            said, _ = process.communicate(timeout=30)
            assert process.returncode == 0 and "resource_tracker" not in said, said
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
