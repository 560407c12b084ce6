"""Which objects wait for which others by name, so that a change of one wakes the others at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ascend_jobs import names
from ascend_jobs.cluster.store import Key
from ascend_jobs.decide.plan import Manifest


class Needs:
    """An index in both directions; kept true by every change of a custom resource."""

    def __init__(self) -> None:
        """Begin empty."""
        self._needed: dict[Key, frozenset[Key]] = {}
        self._dependents: dict[Key, set[Key]] = {}

    def keep(self, key: Key, body: Manifest | None) -> None:
        """Take in what an object names now; None when it is gone."""
        new = frozenset(needed(key, body)) if body is not None else frozenset()
        old = self._needed.pop(key, frozenset())
        for other in old - new:
            self._dependents[other].discard(key)
            if not self._dependents[other]:
                del self._dependents[other]
        for other in new - old:
            self._dependents.setdefault(other, set()).add(key)
        if new:
            self._needed[key] = new

    def dependents(self, key: Key) -> tuple[Key, ...]:
        """Return who names an object."""
        return tuple(self._dependents.get(key, ()))


def needed(key: Key, body: Manifest) -> Iterator[Key]:
    """Yield the keys of the objects that a spec names; the spec may hold anything."""
    spec = _block(body, "spec")
    if key.kind == names.INFERENCE_SHORT:
        models = (_block(spec, "model"), _block(_block(spec, "canary"), "model"))
        yield from _named(names.FINE_TUNE_SHORT, key.namespace, (model.get("fromJob") for model in models))
        gate = _block(_block(spec, "rollout"), "gate").get("evaluation")
        yield from _named(names.EVALUATION_SHORT, key.namespace, iter([gate]))
    if key.kind == names.EVALUATION_SHORT:
        targets = (_block(spec, "target"), _block(spec, "baseline"))
        yield from _named(names.INFERENCE_SHORT, key.namespace, (target.get("service") for target in targets))


def _named(kind: str, namespace: str, found: Iterator[Any]) -> Iterator[Key]:
    return (Key(kind, namespace, name) for name in found if isinstance(name, str) and name)


def _block(outer: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    inner = outer.get(field)
    return inner if isinstance(inner, Mapping) else {}
