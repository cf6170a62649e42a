"""What stands between the network and the pages: who may ask, how much, and what a page may do in the browser."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_BYTES = 12 * 2**20  # of a request's body: a camera's photograph
BODY_SECONDS, HEAD_SECONDS = 20.0, 10.0  # until a request's body and head have come
HEADERS = {
    # No inline script or style, nothing from elsewhere, no frame around it: pictures may lie in the page itself.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
READING = {"GET", "HEAD"}


class Guard:
    """Refuses what another site or name asks for, bodies that are too large or too slow, and names every page's rights.

    A page of another site can make a browser ask here in three ways. By a name of its own that it lets point to this
    machine (DNS rebinding): then the Host is that name, which is none of `hosts`. By a form or script that posts
    across: then the Origin, which browsers send with each post and pages cannot change, is another than the Host. By
    an image, script or frame whose address is here, which could begin work: then Sec-Fetch-Site says that it is of
    another site, and Sec-Fetch-Dest that no person goes there. A link from elsewhere is followed.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], *, body_seconds: float = BODY_SECONDS) -> None:
        """hosts: the names, without port, by which the explorer may be asked."""
        self.app, self.hosts, self.body_seconds = app, frozenset(host.lower() for host in hosts), body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        answer = _Answer(send)
        refusal = self._refusal(scope["method"], headers)
        if refusal:
            await answer.refuse(*refusal)
            return
        body = _Body(receive, asyncio.get_running_loop().time() + self.body_seconds)
        try:
            await self.app(scope, body.receive, answer.send)
        except _TooMuchError:
            await answer.refuse(413, f"expected at most {MOST_BYTES:,} bytes, found more")
        except _TooSlowError:
            await answer.refuse(408, f"expected the request within {self.body_seconds:g} s, found it unfinished")
        except Exception as error:  # a defect, which must not hide: it is logged, and told in a line
            logging.getLogger(__name__).exception("%s failed", scope["path"])
            await answer.refuse(500, " ".join(f"a defect: {type(error).__name__}: {error}".split()))

    def _refusal(self, method: str, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if _name_of(f"//{host}") not in self.hosts:
            known = " or ".join(sorted(self.hosts))
            return 421, f"expected the host {known}, found {host[:80]!r}: convbench serve --allow-host adds names"
        origin, is_ours = headers.get("origin"), headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        if method in READING:
            is_ours = is_ours or headers.get("sec-fetch-dest") == "document"
        elif origin is not None and _host_of(origin) != host:
            is_ours = False
        if not is_ours:
            return 403, "expected a request of the explorer's own pages, found another site's"
        if method in READING:
            return None
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return 413, f"expected at most {MOST_BYTES:,} bytes, found {length[:20]}"
        return None


def _name_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


class _TooMuchError(Exception):
    """More bytes have come than a body may have."""


class _TooSlowError(Exception):
    """The body has not come in time."""


class _Body:
    """A request's body, counted and timed as it comes."""

    def __init__(self, receive: Receive, deadline: float) -> None:
        self._receive, self._deadline, self._bytes, self._whole = receive, deadline, 0, False

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()  # waits until the browser leaves
        left = self._deadline - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0))
        except TimeoutError:
            raise _TooSlowError from None
        self._bytes += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._bytes > MOST_BYTES:
            raise _TooMuchError
        return message


class _Answer:
    """An answer, with the headers that every page has."""

    def __init__(self, send: Send) -> None:
        self._send, self._begun = send, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            named = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", ()), *named]}
        await self._send(message)

    async def refuse(self, status: int, reason: str) -> None:
        if self._begun:
            return  # the answer is on its way, and what was asked for is dropped with the connection
        content = json.dumps({"error": reason}).encode()
        kind, length = (b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())
        headers = [kind, length, (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": content})


class PromptProtocol(H11Protocol):
    """Uvicorn's HTTP, which closes a connection whose request's head does not come in time.

    Without it, browsers or attackers that open connections and say nothing would hold all places for ever.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._given_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._await_head()
        elif self._given_up is not None:
            self._given_up.cancel()
            self._given_up = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._given_up is not None:
            self._given_up.cancel()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        """From the first byte on, not from the last: a head that drips in is late, too."""
        if self._given_up is None:
            self._given_up = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._given_up = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()
