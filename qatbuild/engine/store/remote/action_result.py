"""Entries as they travel: JSON of an ActionResult of Bazel's Remote Execution API.

A cache of Bazel's accepts nothing else as an entry, and forgets an entry together with the blobs that it refers to. The
text is its stdout, the blobs are its output files. Source: bazelbuild/remote-apis, remote_execution.proto.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from qatbuild.exchange.files import parse_json


def packed(text: str, blobs: Mapping[str, int]) -> str:
    """Returns the ActionResult of a text and the blobs to which it refers (SHA-256 -> bytes)."""
    files = [
        {"path": sha256, "digest": {"hash": sha256, "sizeBytes": str(size_bytes)}}
        for sha256, size_bytes in sorted(blobs.items())
    ]
    stdout = base64.b64encode(text.encode()).decode()
    # Without a worker of ours bazel-remote would enter the address of this machine.
    return json.dumps({"outputFiles": files, "stdoutRaw": stdout, "executionMetadata": {"worker": "qatbuild"}})


def unpacked(data: str) -> str | None:
    """Returns the text of an ActionResult; None for one without a text. ValueError for anything else."""
    try:
        raw = parse_json(data).get("stdoutRaw", "")
        return base64.b64decode(raw, validate=True).decode() or None
    except (TypeError, AttributeError, binascii.Error) as fault:
        raise ValueError(f"no entry: {fault}") from fault
