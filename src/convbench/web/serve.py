"""Run the explorer on this machine."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from convbench.data.datasets import require_dataset
from convbench.errors import RequestError, unknown
from convbench.models import names

SAY = partial(print, flush=True)  # who waits for the line may read it through a pipe
EVERY_ADDRESS = ("0.0.0.0", "::")  # as which nobody can ask for it
CONNECTIONS = 256  # at a time; more are told to come back


def parse_weights(texts: Sequence[str]) -> dict[str, Path]:
    """["mobilenet_v1=FILE"] to files by the network's name; RequestError for what is no such pair or not there."""
    files = {}
    for text in texts:
        name, sign, file = text.partition("=")
        if not sign:
            raise RequestError(f"--weights: expected NETWORK=FILE, such as mobilenet_v1=mobilenet.npz, found {text!r}")
        if name not in names():
            raise unknown("network", name, names())
        files[name] = Path(file).expanduser()
        if not files[name].is_file():
            raise RequestError(f"--weights: expected a file of {name}'s weights, found none at {file}")
    return files


def serve_explorer(
    *,
    host: str,
    port: int,
    allowed: Sequence[str],
    runs: Path,
    weights: dict[str, Path],
    data: str | None,
    data_dir: Path | None,
    say: Callable[[str], None] = SAY,
) -> None:
    """Answer until SIGINT or SIGTERM, which end the process.

    port: 0 takes any that is free
    allowed: names by which browsers may ask for it, beside this machine's and `host`

    Raises RequestError where the web extra is not installed, the port is taken, or there is no such data set.
    """
    if data is not None:
        require_dataset(data)
    try:
        import uvicorn

        from convbench.web.app import create_app
        from convbench.web.explorer import LOCAL, Settings
        from convbench.web.safety import PromptProtocol
    except ImportError as error:
        raise RequestError(
            f"serve: expected the web extra, found no {error.name}: pip install 'convbench[web]'"
        ) from error
    listener = _listen(host, port)
    hosts = tuple(dict.fromkeys((*LOCAL, host, *allowed)))
    app = create_app(Settings(runs, weights, data, data_dir, hosts))
    config = uvicorn.Config(
        app,
        http=PromptProtocol,
        ws="none",
        log_level="warning",
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
    )
    shown = f"[{host}]" if ":" in host else host
    say(f"explorer: http://{shown}:{listener.getsockname()[1]} (Ctrl-C ends it)")
    if host in EVERY_ADDRESS and not allowed:
        say("others are answered by the names and addresses that --allow-host gives: none so far")
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            one, lambda *_: None
        )  # uvicorn heeds them, and raises again what ended it: here that is no failure
    with listener:
        uvicorn.Server(config).run(sockets=[listener])
    os._exit(0)  # else Python waits for threads that are drawing what nobody will see


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # from now on who asks waits, and is not refused
    except OSError as error:
        listener.close()
        reason = f"cannot listen on {host} port {port}: {error.strerror}"
        raise RequestError(f"{reason}; take another --port, or 0 for any that is free") from error
    return listener
