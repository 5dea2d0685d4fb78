"""The setting `cache`: where results are on other machines, and what a build does there."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from qatbuild.exchange.errors import SpecError

VARIABLE, MODE_VARIABLE = "QATBUILD_CACHE", "QATBUILD_CACHE_MODE"
READ_WRITE, READ, OFF = MODES = ("read-write", "read", "off")
_ENVIRONMENT = (
    "set QATBUILD_CACHE_USER and QATBUILD_CACHE_PASSWORD, or QATBUILD_CACHE_TOKEN, or write the server into ~/.netrc;"
    " S3 and the like read their own configuration"
)


class Cache(NamedTuple):
    """The URL or path of results on other machines, without credentials; `mode` is READ_WRITE or READ."""

    url: str
    mode: str
    timeout_s: float

    @property
    def is_written(self) -> bool:
        """Whether results are uploaded."""
        return self.mode == READ_WRITE


def cache_of(settings: Mapping[str, Any], root: Path) -> Cache | None:
    """Returns the cache of a project with these settings; the environment's comes first. None for no cache.

    SpecError for a URL with credentials in a file, and for what is no URL or no mode.
    """
    mode = _mode(settings)
    of_environment = os.environ.get(VARIABLE)
    url = str(settings.get("cache", "")) if of_environment is None else of_environment
    if mode == OFF or not url:
        return None
    where = "tool.qatbuild.cache" if of_environment is None else VARIABLE
    bare = without_credentials(url, where)
    if of_environment is None and bare != url:
        facts = [(where, f"{bare} has a user or a password in it.")]
        raise SpecError("Credentials do not belong into pyproject.toml.", facts, f"write {bare}, and {_ENVIRONMENT}")
    if "://" not in bare:
        bare = os.path.normpath(root / Path(bare).expanduser())
    return Cache(bare, mode, _timeout_s(settings))


def without_credentials(url: str, where: str = "cache") -> str:
    """Returns a URL without the user and password in it. SpecError if it cannot be read as a URL."""
    if "://" not in url:
        return url
    parts = _split(url, where)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def with_credentials(url: str) -> str:
    """Returns a URL with the user and password that it has in QATBUILD_CACHE; without any there, the URL as it is."""
    named = os.environ.get(VARIABLE, "")
    return named if "@" in named and without_credentials(named, VARIABLE) == url else url


def _split(url: str, where: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  Raises ValueError for one that is no number.
    except ValueError:
        parts = None
    if parts is None or not (parts.hostname or parts.scheme in {"file", "memory", "local"}):
        message = "The cache's URL cannot be read."  # Its text is not shown: a password may be in it.
        raise SpecError(message, [("setting", where)], "write it as SCHEME://HOST/PATH, or as a path")
    return parts


def _timeout_s(settings: Mapping[str, Any]) -> float:
    timeout_s = settings.get("cache_timeout", 10)
    if isinstance(timeout_s, bool) or not 0 < timeout_s < math.inf:
        facts = [("tool.qatbuild.cache_timeout", timeout_s)]
        raise SpecError("The cache's timeout is no positive number.", facts, "write seconds, such as 10")
    return float(timeout_s)


def _mode(settings: Mapping[str, Any]) -> str:
    of_environment = os.environ.get(MODE_VARIABLE)
    mode = str(settings.get("cache_mode", READ_WRITE)) if of_environment is None else of_environment
    if mode not in MODES:
        where = "tool.qatbuild.cache_mode" if of_environment is None else MODE_VARIABLE
        hint = f"write one of: {', '.join(MODES)}"
        raise SpecError("This is no mode of the cache.", [(where, f'"{mode}"')], hint)
    return mode
