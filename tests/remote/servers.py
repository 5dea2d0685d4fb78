"""Servers on this machine that keep results: real ones, a strict stand-in for bazel-remote, and one with faults."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PAGE = b"<!doctype html><html><title>Sign in</title>You are behind a proxy.</html>"

NGINX = """
{user}
daemon off;
pid {root}/pid;
error_log stderr crit;
events {{}}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {root}/body;
  proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {root}/files;
    location / {{ dav_methods PUT DELETE MKCOL MOVE; create_full_put_path on; dav_access user:rw; autoindex on; }}
  }}
}}
"""


class Server(ThreadingHTTPServer):
    """A WebDAV server that keeps files in memory, and has faults if it is asked to.

    `fault` is called with method and path of each request and returns the name of a fault, or ''. `seen` lists the
    requests (of a MOVE its target), `headers` those of the last one, `sent_bytes` counts what left in bodies,
    `connections` those that were opened.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, handler: type[BaseHTTPRequestHandler] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler or Handler)
        self.files: dict[str, bytes] = {}
        self.seen: list[str] = []
        self.headers: dict[str, str] = {}
        self.sent_bytes = self.connections = 0
        self.fault: Callable[[str, str], str] = lambda _method, _path: ""
        self.is_gone = threading.Event()
        self.has_fault = threading.Event()
        """Whether a fault has begun."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/team"

    def times(self, method: str, part: str = "") -> int:
        """How many requests with this method and this part of a path came."""
        return sum(each.startswith(f"{method} ") and part in each for each in self.seen)

    def close(self) -> None:
        """Ends the server as a crash does: the port is free, what hangs is cut."""
        self.is_gone.set()
        self.shutdown()
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Counts the connections."""
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients break connections on purpose."""


class Handler(BaseHTTPRequestHandler):
    """Answers with files, or with a fault."""

    protocol_version = "HTTP/1.1"
    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        place = self.headers.get("Destination", self.path)
        self.server.seen.append(f"{self.command} {place}")
        self.server.headers = dict(self.headers)
        fault = self.server.fault(self.command, place)
        if fault:
            self.server.has_fault.set()
        if fault.isdigit():
            self.say(int(fault), b"", "", **({"Location": "/sign-in"} if fault == "302" else {}))
        elif fault == "hang":
            self.server.is_gone.wait()
            self.close_connection = True
        elif fault == "page":
            self.say(200, PAGE)
        else:
            getattr(self, f"on_{self.command.lower()}")(body, fault)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_MOVE = do_MKCOL = do_PROPFIND = answer  # noqa: N815

    def on_get(self, _: bytes, fault: str) -> None:
        data = self.server.files.get(self.path)
        if data is None:
            self.say(404)
            return
        if fault == "wrong":
            data = bytes([data[0] ^ 1]) + data[1:]
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        more = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if "Range" in self.headers else {}
        self.say(206 if more else 200, data[start:], fault, **more)

    def on_head(self, _: bytes, __: str) -> None:
        self.say(200 if self.path in self.server.files else 404)

    def on_put(self, body: bytes, _: str) -> None:
        self.server.files[self.path] = body
        self.say(201)

    def on_delete(self, _: bytes, __: str) -> None:
        self.say(204 if self.server.files.pop(self.path, None) is not None else 404)

    def on_move(self, _: bytes, __: str) -> None:
        target = self.headers["Destination"].partition(str(self.server.server_port))[2]
        self.server.files[target] = self.server.files.pop(self.path)
        self.say(204)

    def on_mkcol(self, _: bytes, __: str) -> None:
        self.say(405)

    def on_propfind(self, _: bytes, __: str) -> None:
        inside = [name for name in self.server.files if name.startswith(self.path)]
        text = "".join(f"<d:href>{name}</d:href>" for name in inside)
        self.say(207, f"<d:multistatus>{text}</d:multistatus>".encode())

    def say(self, status: int, body: bytes = b"", fault: str = "", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "cut":
            body, self.close_connection = body[: len(body) // 2], True
        if fault == "stall":
            self.wfile.write(body[: len(body) // 2])
            self.server.is_gone.wait()
            return
        if fault == "drip":
            for at in range(len(body)):
                self.wfile.write(body[at : at + 1])
                if self.server.is_gone.wait(0.01):
                    return
        self.wfile.write(body)
        self.server.sent_bytes += len(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class BazelHandler(Handler):
    """Refuses what bazel-remote 2 refuses. Source: its server/http.go, utils/validate/actionresult.go."""

    name = re.compile(r"^/?(.*/)?(ac/|cas/)([a-f0-9]{64})$")

    def answer(self) -> None:
        size = int(self.headers.get("Content-Length", -1))
        body = self.rfile.read(max(size, 0))
        self.server.seen.append(f"{self.command} {self.path}")
        parts = self.name.match(self.path)
        if parts is None:
            self.say(400)
        elif self.command not in {"GET", "HEAD", "PUT"}:
            self.say(405)
        elif self.command == "PUT":
            self.say(self.put(parts[2], parts[3], body))
        else:
            self.get(parts[2], parts[3])

    do_GET = do_HEAD = do_PUT = do_DELETE = do_MOVE = do_MKCOL = do_PROPFIND = answer  # noqa: N815

    def put(self, kind: str, name: str, body: bytes) -> int:
        if kind == "cas/":
            if hashlib.sha256(body).hexdigest() != name:
                return 400
        elif self.headers.get("Content-Type") != "application/json" or not self.is_valid(json.loads(body)):
            return 400
        self.server.files[f"{kind}{name}"] = body
        return 200

    def is_valid(self, result: dict[str, Any]) -> bool:
        """Whether protojson and bazel-remote accept an ActionResult."""
        base64.b64decode(result.get("stdoutRaw", ""), validate=True)
        files = result.get("outputFiles", [])
        return result.keys() <= {"outputFiles", "stdoutRaw", "executionMetadata"} and all(
            each.keys() == {"path", "digest"}
            and each["path"]
            and not each["path"].startswith("/")
            and re.fullmatch("[0-9a-f]{64}", each["digest"]["hash"])
            and int(each["digest"]["sizeBytes"]) >= 0
            for each in files
        )

    def get(self, kind: str, name: str) -> None:
        data = self.server.files.get(f"{kind}{name}")
        if data is not None and kind == "ac/":
            needed = [each["digest"] for each in json.loads(data)["outputFiles"]]
            kept = (self.server.files.get(f"cas/{each['hash']}") for each in needed)
            if any(
                blob is None or len(blob) != int(each["sizeBytes"]) for blob, each in zip(kept, needed, strict=True)
            ):
                data = None
            elif self.headers.get("Accept") != "application/json":
                data = b"\x0a\x46 an ActionResult as protobuf"
        self.say(404) if data is None else self.say(200, data)


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Serves until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


@contextlib.contextmanager
def nginx(root: Path) -> Iterator[str]:
    """Runs Debian's nginx with WebDAV as this user; yields the URL of a folder that does not exist yet.

    It inherits a socket that listens, as at an upgrade of itself: no other process can take its port before it does.
    """
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    (root / "files").mkdir(parents=True)
    config = root / "nginx.conf"
    with taken_port() as (listener, port), contextlib.ExitStack() as stack:
        listener.listen()
        config.write_text(NGINX.format(root=root, port=port, user="user root;" if os.getuid() == 0 else ""))
        inherited = {**os.environ, "NGINX": f"{listener.fileno()};"}
        process = subprocess.Popen(
            [program, "-p", root, "-e", "stderr", "-c", config], env=inherited, pass_fds=[listener.fileno()]
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        yield f"http://127.0.0.1:{port}/team/cache"


@contextlib.contextmanager
def taken_port() -> Iterator[tuple[socket.socket, int]]:
    """Yields a socket and its port, which nothing else can take; connections are refused until the socket listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener, int(listener.getsockname()[1])


@contextlib.contextmanager
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Runs moto's S3 server; yields the URL of an empty folder in a bucket."""
    import s3fs  # noqa: PLC0415  Imports a second.
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "an-id",
            "AWS_SECRET_ACCESS_KEY": "a-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        bucket = f"bucket-{port}"  # moto keeps buckets from one server to the next.
        s3fs.S3FileSystem().mkdir(bucket)
        yield f"s3://{bucket}/team"
    finally:
        server.stop()
