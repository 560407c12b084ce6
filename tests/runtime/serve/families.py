"""What is fixed about the metrics of a Prometheus page: names, types, labels, buckets."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families


def families(page: str, prefix: str) -> dict[str, dict[str, Any]]:
    """Return the metrics whose names begin with a prefix, without those that say when another was made."""
    found: dict[str, dict[str, Any]] = {}
    for family in text_string_to_metric_families(page):
        if not family.name.startswith(prefix) or family.name.endswith("_created"):
            continue
        samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        edges = {sample.labels["le"] for sample in samples if "le" in sample.labels}
        labels = {name for sample in samples for name in sample.labels if name != "le"}
        found[family.name] = {"type": family.type, "labels": sorted(labels)}
        if edges:
            found[family.name]["buckets"] = " ".join(sorted(edges, key=float))
    return found
