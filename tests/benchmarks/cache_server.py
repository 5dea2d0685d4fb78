"""A server for a cache, as far away as one likes: it keeps what is PUT below cas/ and ac/, and answers late.

python -m tests.benchmarks.cache_server FOLDER LATENCY_MS

It prints its URL. Every answer waits for LATENCY_MS, as that of a server in another town; several at once wait side by
side. /count is what it has done so far, as JSON: see Count.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"/(cas|ac)/[0-9a-f]{64}")


class Count(NamedTuple):
    """What a server has done: its answers, the bytes of all files in both directions, and its CPU seconds."""

    answers: int
    bytes: int
    cpu_seconds: float


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # Connections stay open.
    disable_nagle_algorithm = True
    server: CacheServer

    def do_GET(self) -> None:
        if self.path == "/count":
            return self._answer(HTTPStatus.OK, json.dumps(self.server.count._asdict()).encode())
        file = self._file()
        if file is None or not file.is_file():
            return self._answer(HTTPStatus.NOT_FOUND)
        return self._answer(HTTPStatus.OK, file.read_bytes())

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.note(len(data), answers=0)
        file = self._file()
        if file is None:
            return self._answer(HTTPStatus.BAD_REQUEST)
        draft = file.with_name(f"{file.name}.{threading.get_ident()}")
        draft.write_bytes(data)
        draft.replace(file)
        return self._answer(HTTPStatus.CREATED)

    def _file(self) -> Path | None:
        return self.server.folder / self.path[1:] if _NAME.fullmatch(self.path) else None

    def _answer(self, status: HTTPStatus, body: bytes = b"") -> None:
        self.server.note(len(body))
        time.sleep(self.server.latency_s)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  The name is the library's.
        pass


class CacheServer(ThreadingHTTPServer):
    """Serves a folder; every answer waits for `latency_s`."""

    daemon_threads = True
    request_queue_size = 128
    """Connections that may wait, as at a real server: one that finds no room is tried again a second later."""

    def __init__(self, folder: Path, latency_s: float) -> None:
        """Serves `folder` at a free port of this machine."""
        for name in ("cas", "ac"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.latency_s = latency_s
        self._answers = self._bytes = 0
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of a client that was killed."""

    def note(self, size_bytes: int, answers: int = 1) -> None:
        """Counts an answer, or bytes that arrived. A count lost to another thread does not matter."""
        self._answers += answers
        self._bytes += size_bytes

    @property
    def count(self) -> Count:
        """What it has done so far."""
        return Count(self._answers, self._bytes, time.process_time())


@contextlib.contextmanager
def served(folder: Path, latency_ms: float = 0) -> Iterator[str]:
    """Serves a folder from a process of its own; yields the URL."""
    command = [sys.executable, "-m", "tests.benchmarks.cache_server", str(folder), str(latency_ms)]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


if __name__ == "__main__":
    with CacheServer(Path(sys.argv[1]), float(sys.argv[2]) / 1000) as cache:
        sys.stdout.write(f"http://127.0.0.1:{cache.server_port}\n")
        sys.stdout.flush()
        cache.serve_forever()
