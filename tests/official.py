"""The official schemas of the papers: CycloneDX' in cyclonedx-python-lib, the protobuf of in-toto and SLSA."""

from __future__ import annotations

import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format  # type: ignore[import-untyped]
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement


def bom_faults(text: str) -> str:
    """Returns what is wrong with a bill of materials by the strict schema of CycloneDX 1.6; '' if nothing is."""
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return "" if fault is None else repr(fault)


def statement_faults(text: str) -> str:
    """Returns what is wrong with a statement, and with its SLSA provenance; '' if nothing is."""
    try:
        statement = json_format.Parse(text, statement_pb2.Statement())
        Statement.copy_from_pb(statement).validate()
        provenance = json_format.ParseDict(json.loads(text)["predicate"], provenance_pb2.Provenance())
    except (json_format.ParseError, ValueError) as fault:
        return repr(fault)
    build, run = provenance.build_definition, provenance.run_details
    missing = [] if build.build_type else ["buildType"]
    missing += [] if build.external_parameters.fields else ["externalParameters"]
    missing += [] if run.builder.id else ["builder.id"]
    bare = [each.name for each in build.resolved_dependencies if not (each.uri or each.digest or each.content)]
    return f"missing {missing}, without uri, digest and content {bare}" if missing or bare else ""
