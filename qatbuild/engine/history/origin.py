"""Origins: what a result was made from, without the places in which it was made, in a few hundred bytes."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.exchange.files import canonical_json, parse_json
from qatbuild.exchange.request import Input, Request, Source

_NOWHERE = Path()

_FREQUENT = (
    b'{"code":"","inputs":{},"result":"","settings":{"dataset":{"labels":true,"name":"images","sha256":null,"url":nu'
    b'll,"validation":0.1}},"sources":{"data":["specs/",""]},"stage":"dataset","threads":2,"toolchain":{"numpy":"2.4'
    b'.6","python":"3.11"}}{"code":"","inputs":{"export":["",""],"freeze":["",""]inputs":{"images":{"mean":121.0,"or'
    b'der":"rgb","std_dev":64.0}},"outputs":{"labels":{"anchors":null,"loss":null,"metrics":{},"range":null,"target"'
    b':null,"task":"classification","values":"probabilities","weight":1.0}},"quantize":{"scheme":"uint8"}},"sources"'
    b':{},"stage":"converai-edge-litert":"2.3.0",,"tensorflow":"2.21.0loat":["",""],"quantize":["",""]convert":{"che'
    b'ckpoint":"lastfreeze,"tensorflow":"2.21.0convert":["",""],"dataseevaluate":{"gates":{},"latency_runs":100,"max'
    b'_accuracy_drop":1.0,"min_agreement":null,"min_top1":null},"label":""evaluate,"tensorflow":"2.21.0check":["",""'
    b'],"dataset":["",""],"float":["",""]augment":{"flip_left_right":false,"pad_crop":0},"model":{"call":"","options'
    b'":{checkpoint_every":4,"freeze_bn_delay":null,"learning_rate":{"boundaries":[],"decay_rate":null,"decay_steps"'
    b':null,"final":0.0,"initial":0.01,"schedule":"cosine","values":[],"warm_up_steps":0},"method":"qat","mode":"int'
    b'eger","overrides":[],"quant_delay":0,"scheme":"uint8","start":"float","steps":20},"train":{"batch_size":128,"l'
    b'og_every":100,"optimizer":{"beta1":0.9,"beta2":0.999,"epsilon":1e-08,"momentum":0.9,"name":"momentum","nestero'
    b'v":false},"precision":"float32","seed":1,"weight_decay":0.0quantize,"tensorflow":"2.21.0"}}'
)
"""Text as in most origins, by which zlib makes them a third as long. A change makes all former ones unreadable."""

_PACKER = zlib.compressobj(wbits=12, memLevel=5, zdict=_FREQUENT)
"""Copied for each origin: zlib takes longer to be set up than to compress a text of this size."""


class _Fields(NamedTuple):
    request: Request
    made_by: Mapping[str, str]
    result: str


class Origin(_Fields):
    """What made one result.

    `request` is its request with all folders empty: sources are relative to their project, by name only if they lie
    outside. `made_by` are the keys of the requests that made the inputs, by role, '' for an unknown one. `result` is
    the SHA-256 of the manifest's text, '' for a model that was refused.
    """

    @classmethod
    def of(cls, request: Request, manifest: str, made_by: Mapping[str, str]) -> Origin:
        """Makes the origin of a request's result, given the text of its manifest, '' for a refused model."""
        return cls.placeless(request, made_by, hashlib.sha256(manifest.encode()).hexdigest() if manifest else "")

    @classmethod
    def placeless(cls, request: Request, made_by: Mapping[str, str], result: str) -> Origin:
        """Makes an origin of these parts, without the folders of the request."""
        inputs = {role: each.sha256 for role, each in request.inputs.items()}
        sources = {role: (name_of(each.path, request.project), each.sha256) for role, each in request.sources.items()}
        made = _placeless(request.identity, inputs, sources)
        made.__dict__["key"] = request.key  # No folder is part of it.
        return cls(made, made_by, result)

    @classmethod
    def unpacked(cls, packed: str) -> Origin:
        """Reads what `packed` returned; ValueError for anything else."""
        try:
            unpacker = zlib.decompressobj(zdict=_FREQUENT)
            text = unpacker.decompress(base64.b64decode(packed)) + unpacker.flush()
        except zlib.error as fault:
            raise ValueError(f"not an origin: {fault}") from fault
        if not unpacker.eof:
            raise ValueError("an origin was cut off")
        return cls.parse(text)

    @classmethod
    def parse(cls, text: str | bytes) -> Origin:
        """Reads an origin's `text`; ValueError for anything else."""
        try:
            fields = parse_json(text)
            inputs = {role: str(sha256) for role, (_, sha256) in fields["inputs"].items()}
            request = _placeless(fields, inputs, fields["sources"])
            return cls(request, {role: str(key) for role, (key, _) in fields["inputs"].items()}, str(fields["result"]))
        except (KeyError, TypeError, AttributeError) as fault:
            raise ValueError(f"not an origin: {fault}") from fault

    def packed(self) -> str:
        """Returns the origin as a short text without blanks."""
        packer = _PACKER.copy()
        return base64.b64encode(packer.compress(self.text.encode()) + packer.flush()).decode()

    @cached_property
    def text(self) -> str:
        """The origin as one line of JSON."""
        request = self.request
        fields = {
            **request.identity,
            "inputs": {role: [self.made_by.get(role, ""), each.sha256] for role, each in request.inputs.items()},
            "sources": {role: [each.path.as_posix(), each.sha256] for role, each in request.sources.items()},
            "result": self.result,
        }
        return canonical_json(fields)


def _placeless(fields: Mapping[str, Any], inputs: Mapping[str, str], sources: Mapping[str, tuple[str, str]]) -> Request:
    return Request(
        stage=str(fields["stage"]),
        settings={**fields["settings"]},
        inputs={role: Input(_NOWHERE, sha256) for role, sha256 in inputs.items()},
        sources={role: Source(Path(path), str(sha256)) for role, (path, sha256) in sources.items()},
        toolchain={name: str(version) for name, version in fields["toolchain"].items()},
        code=str(fields["code"]),
        threads=fields["threads"],
        project=_NOWHERE,
        downloads=_NOWHERE,
        folder=_NOWHERE,
        work=_NOWHERE,
    )


def name_of(path: Path, project: Path) -> str:
    """Returns a source's path in the project; only its name outside: what leaves the machine names no folder of it."""
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else path.name
