"""The papers beside each model, by which others can trust it: provenance, bill of materials, signature.

All of them are derived from manifests and records, so an equal rebuild on an equal processor has equal papers, and
verifying them begins with deriving them again.
"""

from __future__ import annotations

BOM = "bom.json"
"""The bill of materials with the model card: CycloneDX 1.6 (report/bill_of_materials)."""

PROVENANCE = "provenance.json"
"""The in-toto statement with a SLSA provenance (papers/provenance)."""

SIGNATURE = "provenance.intoto.jsonl"
"""The signed provenance, one DSSE envelope (papers/signature)."""

PAPERS = (BOM, PROVENANCE, SIGNATURE)
