"""Signs the provenance of a model: a DSSE envelope, made and checked by securesystemslib (extra `sign`).

Sources: https://github.com/secure-systems-lab/dsse/blob/master/envelope.md, and for the payload's type the in-toto
envelope specification. A private key is read from its file when it is used, and is never written or shown.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import ArtifactError, system_facts, system_hint
from qatbuild.exchange.files import canonical_json, parse_json, read_bytes

PAYLOAD_TYPE = "application/vnd.in-toto+json"
KEY_VARIABLE = "QATBUILD_SIGNING_KEY"
"""Names the file of the private key, for CI."""

_PUBLIC_KEY_HINT = "openssl pkey -in PRIVATE.pem -pubout -out PUBLIC.pem"

PASSWORD_VARIABLE = "QATBUILD_SIGNING_PASSWORD"  # noqa: S105  The name of a variable.
"""The password of an encrypted private key."""


def signed(statement: bytes, key: Path) -> str:
    """Returns the envelope of a statement, one line of JSON, signed with the private key in a PEM file.

    ArtifactError for a key that cannot be used.
    """
    with _library():
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
        from securesystemslib.dsse import Envelope  # noqa: PLC0415
        from securesystemslib.signer import CryptoSigner  # noqa: PLC0415
    password = os.environ.get(PASSWORD_VARIABLE)
    with _reading(key, "private", ""):
        signer = CryptoSigner(load_pem_private_key(read_bytes(key), password.encode() if password else None))
    envelope = Envelope(statement, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return _text(envelope.to_dict())


def check_signature(file: Path, statement: bytes, key: Path | None) -> str:
    """Compares an envelope with a statement, and its signature with a public key in a PEM file; returns the key's id.

    Without a `key` the signature itself is not checked, and '' is returned. ArtifactError for any difference.
    """
    try:
        text = read_bytes(file)
        fields = parse_json(text)
        payload = base64.b64decode(fields["payload"], validate=True)
        is_as_written = _text(fields).encode() == text and base64.b64encode(payload).decode() == fields["payload"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise _unsigned(file, f"no envelope: {fault}") from fault
    if not is_as_written or fields.get("payloadType") != PAYLOAD_TYPE:
        raise _unsigned(file, "it is not as it was written")
    if payload != statement:
        expected, actual = (hashlib.sha256(each).hexdigest() for each in (statement, payload))
        raise _unsigned(file, "it is about another provenance.json", ("expected", expected), ("actual", actual))
    return "" if key is None else _signer(file, fields, key)


def _signer(file: Path, fields: dict[str, Any], key: Path) -> str:
    """Returns the id of the public key with which an envelope is signed."""
    with _library():
        from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415
        from securesystemslib.dsse import Envelope  # noqa: PLC0415
        from securesystemslib.exceptions import Error  # noqa: PLC0415
        from securesystemslib.signer import SSlibKey  # noqa: PLC0415
    with _reading(key, "public", _PUBLIC_KEY_HINT):
        public = SSlibKey.from_crypto(load_pem_public_key(read_bytes(key)))
    try:
        encoded = [each["sig"] for each in fields["signatures"]]
        envelope = Envelope.from_dict(fields)
        accepted = envelope.verify([public], 1)
        if [each["sig"] for each in envelope.to_dict()["signatures"]] != encoded or len(encoded) != len(accepted):
            raise _unsigned(file, "it is not as it was written")
    except (Error, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise _unsigned(file, "its signature is not of this key") from fault
    return str(public.keyid)


def _text(fields: dict[str, Any]) -> str:
    return canonical_json(fields) + "\n"


def _unsigned(file: Path, reason: str, *digests: tuple[str, str]) -> ArtifactError:
    facts = [("file", file), ("stage", "papers"), ("reason", reason), *digests]
    return ArtifactError("A model is not signed as it should be.", facts)


@contextlib.contextmanager
def _library() -> Iterator[None]:
    try:
        yield
    except ImportError as fault:
        raise ArtifactError("A signature needs securesystemslib.", hint="pip install 'qatbuild[sign]'") from fault


@contextlib.contextmanager
def _reading(key: Path, kind: str, hint: str) -> Iterator[None]:
    """Reports a key that cannot be used. The reason is the system's: a library's could show a part of the key."""
    try:
        yield
    except OSError as fault:
        raise ArtifactError("A key cannot be read.", system_facts(fault), system_hint(fault)) from fault
    except Exception:  # noqa: BLE001  The library's kinds are many.
        raise ArtifactError(f"A file has no {kind} key in PEM.", [("file", key)], hint) from None
