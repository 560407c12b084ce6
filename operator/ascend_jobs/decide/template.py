"""What a pod template of a spec may not look like: it is merged into ours, so its shape has to be a pod's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Finding = tuple[str, str]
"""Field path and sentence."""
_PATH = "spec.runtime.podTemplate"
_LISTS = ("containers", "initContainers", "volumes")


def template_problems(template: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield where it is no template; null, which removes a field of ours, is none for what no pod can be without."""
    for part in ("metadata", "spec"):
        if not isinstance(template.get(part, {}), dict):
            yield f"{_PATH}.{part}", "is to be an object"
    unknown = sorted(set(template) - {"metadata", "spec"})
    if unknown:
        yield _PATH, f"has {', '.join(unknown)}; only metadata and spec belong there"
    metadata, spec = template.get("metadata"), template.get("spec")
    for field in ("labels", "annotations"):
        texts = (metadata if isinstance(metadata, dict) else {}).get(field) or {}
        if not isinstance(texts, dict) or not all(isinstance(value, str) for value in texts.values()):
            yield f"{_PATH}.metadata.{field}", "is to be an object of texts"
    for field in _LISTS:
        yield from _named_items(field, spec.get(field, []) if isinstance(spec, dict) else [])


def _named_items(field: str, items: object) -> Iterator[Finding]:
    named = isinstance(items, list) and all(isinstance(i, dict) and isinstance(i.get("name"), str) for i in items)
    if not isinstance(items, list) or not named:
        yield f"{_PATH}.spec.{field}", "is to be a list of objects that have a name"
    elif any("image" in item and not isinstance(item["image"], str) for item in items):
        yield f"{_PATH}.spec.{field}", "an image is to be a text"
