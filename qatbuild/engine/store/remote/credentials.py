"""Credentials for an HTTP server, from the environment. They stay in here and in the headers of requests."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Protocol
from urllib.parse import unquote, urlsplit

import requests

from qatbuild.engine.cache import VARIABLE

USER, PASSWORD, TOKEN = "QATBUILD_CACHE_USER", "QATBUILD_CACHE_PASSWORD", "QATBUILD_CACHE_TOKEN"
LOOKED_FOR = f"{TOKEN}, {USER} with {PASSWORD}, a user and password in {VARIABLE}, the server's line in ~/.netrc"


class Credentials(Protocol):
    """Adds credentials to a request."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Returns the request with them."""


class _Token:
    """Adds a bearer token; as an object, because the session would replace a plain header by the user of ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def credentials(url: str, environment: MutableMapping[str, str] = os.environ) -> Credentials | None:
    """Returns the credentials for a server; None for those of ~/.netrc, which the session finds itself."""
    if token := environment.get(TOKEN):
        return _Token(token)
    user, password = environment.get(USER), environment.get(PASSWORD)
    if not user:
        named = urlsplit(environment.get(VARIABLE, ""))
        if named.username and named.hostname == urlsplit(url).hostname:
            user, password = unquote(named.username), unquote(named.password or "")
    return requests.auth.HTTPBasicAuth(user.encode(), (password or "").encode()) if user else None
