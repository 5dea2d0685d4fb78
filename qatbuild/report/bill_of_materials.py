"""The bill of materials of a model: a CycloneDX 1.6 ML-BOM with the model card. It holds no clock, host or path."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from qatbuild.exchange.files import lined_json
from qatbuild.report.model_card import BuiltModel, model_card, pruned

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_UUID_BYTES = 16
_NO_NUMBER = uuid.UUID(int=0).urn
_MODEL = "model.tflite"


def bill_of_materials(model: BuiltModel) -> str:
    """Returns the text of bom.json. Its serial number is a digest of its content: equal models have one document."""
    components = [*_dataset(model), *_files(model), *_packages(model)]
    content = {
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "qatbuild"}]},
            "component": _model(model),
        },
        "components": components,
        "dependencies": [{"ref": "model", "dependsOn": [each["bom-ref"] for each in components]}],
    }
    head = {"$schema": SCHEMA, "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
    unnumbered = lined_json({**head, **content, "serialNumber": _NO_NUMBER}, sort_keys=True)
    digest = hashlib.sha256(unnumbered.encode()).digest()
    return unnumbered.replace(_NO_NUMBER, uuid.UUID(bytes=digest[:_UUID_BYTES], version=5).urn)


def _model(model: BuiltModel) -> dict[str, Any]:
    card = model.about.card
    _, sha256 = model.files.get(_MODEL, (0, ""))
    return pruned(
        {
            "type": "machine-learning-model",
            "bom-ref": "model",
            "name": model.label,
            "version": card.version or sha256[:12],
            "description": model.about.description,
            "authors": [{"name": name} for name in card.authors],
            "licenses": [{"expression": card.license}] if card.license else [],
            "hashes": _hashes(sha256),
            "mime-type": "application/octet-stream",
            "modelCard": model_card(model),
        }
    )


def _dataset(model: BuiltModel) -> list[dict[str, Any]]:
    if not model.dataset:
        return []
    facts, asked = model.facts_of("dataset"), model.settings.get("dataset", {})
    counts = [{"name": f"qatbuild:{split}_examples", "value": str(n)} for split, n in facts.get("counts", {}).items()]
    columns = [
        {"name": f"qatbuild:column:{name}", "value": f"{column['dtype']} {'x'.join(map(str, column['shape']))}".strip()}
        for name, column in facts.get("columns", {}).items()
    ]
    data = {
        "type": "dataset",
        "name": asked.get("name", ""),
        "contents": {"url": asked.get("url") or "", "properties": [*counts, *columns]},
        "sensitiveData": list(model.about.card.sensitive_data),
        "description": "; ".join(facts.get("notes", ())),
    }
    name = asked.get("name", "dataset")
    return [
        {"type": "data", "bom-ref": "dataset", "name": name, "hashes": _hashes(model.dataset), "data": [pruned(data)]}
    ]


def _files(model: BuiltModel) -> list[dict[str, Any]]:
    return [
        {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": _hashes(sha256)}
        for name, (_, sha256) in model.files.items()
        if name != _MODEL
    ]


def _packages(model: BuiltModel) -> list[dict[str, Any]]:
    return [
        {
            "type": "library" if name != "python" else "platform",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
        }
        for name, version, purl in model.packages
    ]


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}] if sha256 else []
