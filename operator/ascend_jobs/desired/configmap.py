"""ConfigMap that carries the rank table (docs/contract.md, Rank table)."""

from __future__ import annotations

from typing import Any

from ascend_jobs import names
from ascend_jobs.api.base import CustomObject
from ascend_jobs.desired.metadata import child_metadata

PUBLISHED_AT = f"{names.GROUP}/published-at"
"""Annotation: Unix seconds, with fraction, of the last publication; times the repeated touches."""


def rank_table_configmap(
    owner: CustomObject, base: str, data: dict[str, str], ring: str, published_at: float
) -> dict[str, Any]:
    """Return the ConfigMap of a group of pods named after `base`, labelled as MindCluster's (ring-controller.atlas)."""
    metadata = child_metadata(owner, names.rank_table_name(base), {names.RING_CONTROLLER: ring})
    metadata["annotations"] = {PUBLISHED_AT: f"{published_at:.3f}"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
