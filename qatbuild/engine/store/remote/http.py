"""A remote store on an HTTP server: a WebDAV folder (nginx, Apache), or a cache of Bazel's (bazel-remote).

Bazel's cache takes blobs and entries by PUT, each of them whole or not at all. A WebDAV server may show half a file
while it receives it, so a file is put under another name there and moved.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import IO, Any

import requests
from urllib3.exceptions import HTTPError

from qatbuild.engine.store.remote import Cause, RemoteError, layout
from qatbuild.engine.store.remote.action_result import packed, unpacked
from qatbuild.engine.store.remote.credentials import LOOKED_FOR, credentials
from qatbuild.engine.store.remote.pace import CHUNK_BYTES, Body, Pace

_LONGEST_ENTRY_BYTES = 1 << 24
_MOST_CONNECTIONS = 32
"""Connections that stay open while nothing is sent."""

_BRIEF = {"HEAD", "PUT", "DELETE", "MOVE", "MKCOL"}
"""Methods whose answers have no content that matters."""

_MOST_CHUNKS = 16
"""How much of such an answer is read: a web page fits."""

_LONGEST_NAME = 200
"""Bytes around a key that two parts of a listing may share."""

_KEY = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_CREDENTIALS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}
_ABSENT = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_NO_FOLDER = {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}
_NO_METHOD = {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}


class HttpRemote:
    """Blobs and entries below a URL. Connections stay open, and go from a thread that has ended to the next one."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """Makes a store below `url`; an answer may take `timeout_s`, and so may each further part of it."""
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._threads = threading.local()
        self._connections = requests.adapters.HTTPAdapter(pool_maxsize=_MOST_CONNECTIONS)
        self._moves: bool | None = None
        """Whether files are put under another name and moved; None until the first one is put."""

    @property
    def place(self) -> str:
        """See Remote."""
        return self._url

    def read_blob(self, sha256: str, target: Path, size_bytes: int) -> bool:
        """See Remote."""
        with target.open("ab") as sink:
            have_bytes = sink.tell()
            if 0 < size_bytes <= have_bytes:
                return True
            headers = {"Range": f"bytes={have_bytes}-"} if have_bytes else {}
            with self._answer("GET", layout.blob(sha256), headers) as answer:
                if answer.status_code in _ABSENT:
                    return False
                if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    sink.truncate(0)
                    raise RemoteError("it has less of a file than before", Cause.PASSING)
                self._check(answer)
                if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
                    sink.truncate(0)
                elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have_bytes}-"):
                    sink.truncate(0)
                    raise RemoteError("it sent another part of a file than the one asked for", Cause.PASSING)
                self._receive(answer, sink, size_bytes)
        return True

    def _receive(self, answer: requests.Response, sink: IO[bytes], size_bytes: int) -> None:
        """Appends the body of an answer to a file, up to one chunk more than the file should have."""
        pace = Pace(self._timeout_s)
        for chunk in self._chunks(answer, pace):
            sink.write(chunk)
            sink.flush()  # What has arrived is not fetched again after a kill.
            if size_bytes and sink.tell() > size_bytes:
                answer.close()
                return
        announced = answer.headers.get("Content-Length", "")
        if announced.isdigit() and pace.bytes < int(announced):
            raise RemoteError(f"{pace.bytes:,} of {int(announced):,} bytes arrived", Cause.PASSING)

    def write_blob(self, sha256: str, source: Path) -> None:
        """See Remote."""
        with source.open("rb") as content:
            self._put(layout.blob(sha256), Body(content, self._timeout_s), "application/octet-stream")

    def has_blob(self, sha256: str) -> bool:
        """See Remote."""
        with self._answer("HEAD", layout.blob(sha256)) as answer:
            if answer.status_code in _ABSENT:
                return False
            self._check(answer)
            return True

    def read_entry(self, key: str) -> str | None:
        """See Remote. ValueError for an answer that is no entry."""
        with self._answer("GET", layout.entry(key), {"Accept": "application/json"}) as answer:
            if answer.status_code in _ABSENT:
                return None
            self._check(answer)
            return unpacked(self._body(answer).decode())

    def write_entry(self, key: str, text: str, blobs: Mapping[str, int]) -> None:
        """See Remote."""
        self._put(layout.entry(key), packed(text, blobs).encode(), "application/json")

    def remove_entry(self, key: str) -> None:
        """See Remote. Where nothing can be removed, an entry without a text is put in its place."""
        with self._answer("DELETE", layout.entry(key)) as answer:
            if answer.status_code in _ABSENT:
                return
            if answer.status_code not in _NO_METHOD:
                self._check(answer, is_writing=True)
                return
        self._put(layout.entry(key), packed("", {}).encode(), "application/json")

    def entries(self) -> Iterator[str]:
        """See Remote. WebDAV lists a folder as XML, web servers as JSON or HTML: the names are in each of them."""
        for method, headers in (("PROPFIND", {"Depth": "1"}), ("GET", {})):
            with self._answer(method, f"{layout.ENTRIES}/", headers) as answer:
                if answer.ok:
                    rest, keys = b"", dict[bytes, None]()
                    for chunk in self._chunks(answer, Pace(self._timeout_s)):
                        text = rest + chunk
                        keys.update(dict.fromkeys(_KEY.findall(text)))
                        rest = text[-_LONGEST_NAME:]
                    return (key.decode() for key in keys)
                if answer.status_code in _ABSENT and method == "PROPFIND":
                    return iter(())
        raise NotImplementedError(f"{self.place} does not list its entries")

    def _put(self, path: str, body: bytes | Body, kind: str) -> None:
        """Puts a file in its place, whole or not at all."""
        if self._moves is None:
            self._moves = self._takes_other_names()
        if self._moves:
            draft = _draft()
            self._send(draft, body, kind)
            if self._moved(draft, path):
                return
            self._moves = False
            self._answer("DELETE", draft).close()
        self._send(path, body, kind)

    def _takes_other_names(self) -> bool:
        """Returns whether the server keeps any file: Bazel's cache only takes blobs and entries."""
        draft = _draft()
        with self._answer("PUT", draft, body=b"") as answer:
            if answer.status_code in _NO_FOLDER:
                self._make_folders()
                return True
            if answer.ok:
                self._answer("DELETE", draft).close()
            return bool(answer.ok)

    def _send(self, path: str, body: bytes | Body, kind: str) -> None:
        for is_last in (False, True):
            with self._answer("PUT", path, {"Content-Type": kind}, body) as answer:
                if answer.status_code not in _NO_FOLDER or is_last:
                    self._check(answer, is_writing=True)
                    return
            self._make_folders()

    def _moved(self, draft: str, path: str) -> bool:
        """Gives a file its name; returns False if the server cannot."""
        headers = {"Destination": f"{self._url}/{path}", "Overwrite": "T"}
        for _ in range(2):
            with self._answer("MOVE", draft, headers) as answer:
                if answer.status_code not in _NO_FOLDER:
                    return bool(answer.ok)
            self._make_folders()
        return False

    def _make_folders(self) -> None:
        for folder in ("", f"{layout.BLOBS}/", f"{layout.ENTRIES}/"):
            self._answer("MKCOL", folder).close()  # It may exist; what is missing shows when a file is put into it.

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | Body | None = None
    ) -> requests.Response:
        """Sends a request; RemoteError without an answer, and for one that says to try again."""
        if isinstance(body, Body):
            body.rewind()
        with self._faults():
            answer = self._session.request(
                method,
                f"{self._url}/{path}",
                headers={"Accept-Encoding": "identity", **(headers or {})},
                data=body,
                timeout=self._timeout_s,
                stream=True,
                allow_redirects=method in {"GET", "HEAD"},
            )
        if answer.status_code in _PASSING:
            answer.close()
            raise RemoteError(_said(answer), Cause.PASSING)
        if method in _BRIEF or answer.status_code in _ABSENT:
            for _ in islice(self._chunks(answer, Pace(self._timeout_s)), _MOST_CHUNKS):
                pass  # A connection stays open if its answer has been read to the end.
        return answer

    def _check(self, answer: requests.Response, *, is_writing: bool = False) -> None:
        """Raises RemoteError unless an answer says that it was done."""
        code = answer.status_code
        if HTTPStatus.OK <= code < HTTPStatus.MULTIPLE_CHOICES:
            return
        needs = f"; credentials are looked for in {LOOKED_FOR}" if code in _CREDENTIALS else ""
        cause = Cause.NO_WRITING if is_writing else Cause.FORBIDDEN if needs else Cause.OTHER
        raise RemoteError(f"{_said(answer)}{needs}", cause)

    def _body(self, answer: requests.Response) -> bytes:
        body = bytearray()
        for chunk in self._chunks(answer, Pace(self._timeout_s)):
            body += chunk
            if len(body) > _LONGEST_ENTRY_BYTES:
                answer.close()
                raise ValueError("it is too long for an entry")
        return bytes(body)

    def _chunks(self, answer: requests.Response, pace: Pace) -> Iterator[bytes]:
        while True:
            with self._faults():  # read1 returns what has arrived; read would wait for the whole chunk.
                chunk = answer.raw.read1(CHUNK_BYTES, decode_content=False)
            if not chunk:
                return
            pace.count(len(chunk))
            yield chunk

    @property
    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = requests.Session()
            for scheme in ("http://", "https://"):
                session.mount(scheme, self._connections)
            session.auth = credentials(self._url)
            session.headers["User-Agent"] = "qatbuild"
        return session

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Turns faults of the connection into a RemoteError."""
        try:
            yield
        except (requests.RequestException, HTTPError) as fault:
            raise self._fault(fault) from None  # requests' own text repeats the URL, and adds addresses of objects.

    def _fault(self, fault: Exception) -> RemoteError:
        if isinstance(fault, requests.exceptions.SSLError):
            return RemoteError(f"its certificate is not accepted ({_innermost(fault)})", Cause.UNREACHABLE)
        if isinstance(fault, requests.Timeout) or "timed out" in str(fault):
            return RemoteError(f"no answer within {self._timeout_s:g} s", Cause.UNREACHABLE)
        if "NewConnectionError" in repr(fault) or "NameResolutionError" in repr(fault):
            return RemoteError(f"no connection ({_innermost(fault)})", Cause.UNREACHABLE)
        return RemoteError(f"the connection broke ({_innermost(fault)})", Cause.PASSING)


def _draft() -> str:
    return f".draft-{os.urandom(8).hex()}"


def _said(answer: requests.Response) -> str:
    return f"{answer.request.method} was answered with {answer.status_code} {answer.reason}"


def _innermost(fault: BaseException) -> Any:
    """Returns the reason at the bottom of nested faults: "Connection refused"."""
    while True:
        nested = (getattr(fault, "reason", None), *fault.args, fault.__cause__, fault.__context__)
        deeper = next((each for each in nested if isinstance(each, BaseException)), None)
        if deeper is None or deeper is fault:
            break
        fault = deeper
    return getattr(fault, "strerror", None) or (fault.args[-1] if fault.args else type(fault).__name__)
