"""`--live`: the page of a record on this machine's own address 127.0.0.1, while a command writes the record.

Every request needs the random token of the address, and the name of this server as Host and, where it has one, Origin;
only GET and HEAD of the page and of its stream of events are answered. New data comes as server-sent events.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import socket
import socketserver
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from gdcli.commands.report.live_data import CurveCache, Signature, live_data, signature_of
from gdcli.report.page import json_block, live_policy, page

ADDRESS = "127.0.0.1"
PAUSE = 0.5
"""Seconds between two readings of a record at least."""
SHARE = 25
"""A pause is at least so many times as long as the processor time of the reading before it: at most 4 % of a core."""
TICK = 0.2
"""Seconds between two looks whether there is something new."""
STILL = 10.0
"""Seconds after which a stream without news has a comment, which finds out whether somebody still reads."""
GRACE = 3.0
"""Seconds that the end of a command waits for open pages to be told of it, at most."""
QUICK = 0.75
"""Seconds of processor time up to which a record is read once more at the end."""
MOST_STREAMS = 5
"""Pages that follow at once: browsers open six connections to a server."""
MOST_CONNECTIONS = 32
PATIENCE = 10.0
"""Seconds that a connection may keep the server waiting: with its whole request, and with each part of the answer."""


class Feed:
    """The newest data of a record, read from its files when somebody asks, in a small share of the time."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._place = _place(folder)
        self._signature: Signature | None = None
        self._cache = CurveCache()
        self._next = self._took = 0.0  # seconds: when it may be read again; processor time of the last reading
        self.version = 0
        self.data: Mapping[str, Any] = {}
        self.text = ""  # the same as JSON

    def latest(self, *, last: bool = False) -> int:
        """Return the number of the newest data, read now if the pause is over, or it is the last time and is quick."""
        with self._lock:
            if time.monotonic() >= self._next or (last and self._took < QUICK):
                begun = time.thread_time()
                self._read(begun)
                self._next = time.monotonic() + max(PAUSE, SHARE * (time.thread_time() - begun))
            return self.version

    def _read(self, begun: float) -> None:
        signature = signature_of(self._folder)
        if signature == self._signature or _place(self._folder) != self._place:  # another folder there
            return
        try:
            data = live_data(self._folder, self._cache)
            text = json_block(data)
        except Exception:  # files between two states; whatever it is, training goes on and the next reading is near
            return
        finally:
            self._took = time.thread_time() - begun
        self._signature, self.data, self.text = signature, data, text
        self.version += 1


def _place(folder: Path) -> tuple[int, int] | None:
    """Return what a folder is known by as long as it is the same; None where it is not there, or is a link."""
    try:
        found = os.lstat(folder)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


class LivePage:
    """The server of one record's page, from now until it is closed."""

    def __init__(self, folder: Path) -> None:
        """Serve on a free port. Raises OSError where there is none, RuntimeError for a thread that cannot start."""
        self.feed, self.token = Feed(folder), secrets.token_urlsafe(32)
        self.ended, self.streams = threading.Event(), 0
        self._count = threading.Lock()
        self._server = _Server(self)
        self.host = f"{ADDRESS}:{self._server.server_address[1]}"
        self.origin = f"http://{self.host}"
        self.address = f"{self.origin}/?token={self.token}"
        serve = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="live", daemon=True)
        try:
            serve.start()
        except RuntimeError:
            self._server.server_close()
            raise

    def close(self) -> None:
        """Tell the pages that it has ended, for no longer than ``GRACE``, and stop."""
        self.ended.set()
        until = time.monotonic() + GRACE
        while self.streams and time.monotonic() < until:
            time.sleep(0.01)
        self._server.shutdown()
        self._server.server_close()

    def html(self, lang: str) -> bytes | None:
        """Return the page with the newest data; None where there is none yet."""
        if not self.feed.latest():
            return None
        data = self.feed.data
        return page(data["live"]["title"], data, lang, live=True).encode()

    @contextmanager
    def stream(self) -> Iterator[bool]:
        """Count a stream while it is open; yield whether there was room for it."""
        with self._count:
            room = self.streams < MOST_STREAMS
            self.streams += room
        try:
            yield room
        finally:
            with self._count:
                self.streams -= room

    def events(self) -> Iterator[bytes]:
        """Yield server-sent events: ``data`` with all data whenever there is news, at last ``end``."""
        sent, at = 0, time.monotonic()
        while True:
            ended = self.ended.is_set()
            if (version := self.feed.latest(last=ended)) != sent:
                sent, at = version, time.monotonic()
                yield f"event: data\ndata: {self.feed.text}\n\n".encode()
            elif time.monotonic() - at > STILL:
                at = time.monotonic()
                yield b": still running\n\n"
            if ended:
                yield f"event: end\ndata: {json.dumps(self.feed.data.get('live', {}).get('status'))}\n\n".encode()
                return
            self.ended.wait(TICK)


_LISTENING: set[socket.socket] = set()


def _close_in_fork() -> None:
    for each in _LISTENING:
        each.close()


if hasattr(os, "register_at_fork"):  # else a worker process would hold the port of the command
    os.register_at_fork(after_in_child=_close_in_fork)


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def __init__(self, live: LivePage) -> None:
        self.live, self._room = live, threading.BoundedSemaphore(MOST_CONNECTIONS)
        self.asking: dict[socket.socket, float] = {}  # since when, in seconds, a connection's request is awaited
        super().__init__((ADDRESS, 0), _Handler)
        _LISTENING.add(self.socket)

    def server_close(self) -> None:
        _LISTENING.discard(self.socket)
        super().server_close()

    def service_actions(self) -> None:
        """End connections whose request comes too slowly, by a byte now and then."""
        for connection, since in self.asking.copy().items():
            if time.monotonic() - since > PATIENCE:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # the one of HTTP asks for this machine's name, which may take long

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self.asking[request] = time.monotonic()
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.asking.pop(request, None)
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a reader that is gone; nothing that is told here is the command's


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE

    def do_GET(self) -> None:
        """Answer."""
        live = self.server.live
        self.server.asking.pop(self.connection, None)
        path, _, query = self.path.partition("?")
        if not self._is_let_in(live, query):
            self.send_error(403)
        elif path == "/":
            language = (self.headers.get("Accept-Language") or "").strip().lower()
            html = live.html("zh" if language.startswith("zh") else "en")
            if html is None:
                self.send_error(503)
            else:
                self._answer(200, "text/html; charset=utf-8", html, live_policy())
        elif path == "/events":
            self._stream(live)
        else:
            self.send_error(404)

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self.do_GET()

    def _is_let_in(self, live: LivePage, query: str) -> bool:
        """Say whether a request names this server, comes from no page of another, and has the token."""
        if self.headers.get_all("Host", []) != [live.host]:
            return False
        if any(origin != live.origin for origin in self.headers.get_all("Origin", [])):
            return False
        given = parse_qs(query).get("token", [])
        return len(given) == 1 and hmac.compare_digest(given[0].encode("utf-8", "replace"), live.token.encode())

    def _stream(self, live: LivePage) -> None:
        with live.stream() as room:
            if not room:
                self.send_error(503)
                return
            self._head(200, "text/event-stream; charset=utf-8")
            if self.command != "HEAD":
                for event in live.events():
                    self.wfile.write(event)

    def _head(self, code: int, kind: str, length: int | None = None, policy: str = "default-src 'none'") -> None:
        self.send_response(code)
        for name, value in (
            ("Content-Type", kind), ("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"), ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Content-Security-Policy", f"{policy}; frame-ancestors 'none'"), ("Connection", "close"),
        ):  # fmt: skip
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if code == 405:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()

    def _answer(self, code: int, kind: str, body: bytes, policy: str = "default-src 'none'") -> None:
        self._head(code, kind, len(body), policy)
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with an error; a method that is not known is not allowed."""
        code = 405 if code == 501 else code
        text = f"{code} {HTTPStatus(code).phrase}\n"
        self._answer(code, "text/plain; charset=utf-8", text.encode())

    def version_string(self) -> str:
        """Return no version."""
        return "gdcli"

    def log_message(self, *told: Any) -> None:
        """Tell nobody: standard error is the command's."""
