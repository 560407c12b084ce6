"""What the objects of a file name of each other: a job's result that is served, a service that is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ascend_jobs import names

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Reference:
    """A field that names an object of the same namespace; `waits` says that nothing happens before that is done."""

    path: Path
    kind: str
    name: str
    waits: bool = True


_FIELDS: dict[str, tuple[tuple[Path, str, bool], ...]] = {
    names.INFERENCE_SERVICE: (
        (("spec", "model", "fromJob"), names.FINE_TUNE_JOB, True),
        (("spec", "canary", "model", "fromJob"), names.FINE_TUNE_JOB, False),
        (("spec", "rollout", "gate", "evaluation"), names.EVALUATION_JOB, False),
    ),
    names.EVALUATION_JOB: (
        (("spec", "target", "service"), names.INFERENCE_SERVICE, True),
        (("spec", "baseline", "service"), names.INFERENCE_SERVICE, True),
    ),
}
"""By kind: path, kind of what is named there, whether it is waited for. A gate is a copy of what it names."""


def references(value: Mapping[str, Any]) -> Iterator[Reference]:
    """Yield what a document names; fields that hold no name are left out."""
    for path, kind, waits in _FIELDS.get(str(value.get("kind")), ()):
        name = at(value, path)
        if isinstance(name, str) and name:
            yield Reference(path, kind, name, waits)


def at(value: object, path: Path) -> object:
    """Return what stands at a path, None where there is nothing."""
    for part in path:
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def namespace_of(value: Mapping[str, Any], otherwise: str = "") -> str:
    """Return a document's namespace, `otherwise` when it names none."""
    return str(at(value, ("metadata", "namespace")) or otherwise)


def name_of(value: Mapping[str, Any]) -> str:
    """Return a document's name, "" when it has none or the server makes it."""
    return str(at(value, ("metadata", "name")) or "")
