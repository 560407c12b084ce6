"""What documents of one file say of each other: objects that are there twice, names that lead nowhere."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.cli.contradictions import parsed_job, parsed_service, source_of
from ascend_jobs.cli.references import Path, Reference, at, name_of, namespace_of, references
from ascend_jobs.cli.target import PLURALS, Target

Value = Mapping[str, Any]


@dataclass(frozen=True)
class CrossFinding:
    """Something about a document (its place in the file), at a path; a note is no error: the cluster may know more."""

    document: int
    path: Path
    message: str
    note: bool = False


def cross_check(values: Sequence[Value], others: Sequence[Value] = ()) -> Iterator[CrossFinding]:
    """Yield what documents that fit their schema, defaults filled in, say of each other.

    `others` are documents of the file that are wrong by themselves: they may be named.
    """
    yield from _twice(values)
    yield from _same_output(values)
    for number, value in enumerate(values):
        for reference in references(value):
            yield from _named(number, value, reference, (*values, *others))
        yield from _model_name(number, value, values)


def job_of(value: Value, values: Sequence[Value]) -> FineTuneJob | None:
    """Return the job that a service's model.fromJob names, None when the file does not hold it."""
    name = at(value, ("spec", "model", "fromJob"))
    made = _find(values, names.FINE_TUNE_JOB, name, namespace_of(value)) if isinstance(name, str) else None
    return parsed_job(made) if made is not None else None


def _find(values: Sequence[Value], kind: str, name: str, namespace: str) -> Value | None:
    found = (v for v in values if v.get("kind") == kind and name_of(v) == name and namespace_of(v) == namespace)
    return next(found, None)


def _twice(values: Sequence[Value]) -> Iterator[CrossFinding]:
    """Yield objects that an earlier document makes already: kubectl would apply both, the last one stays."""
    seen = set()
    for number, value in enumerate(values):
        identity = (value["kind"], namespace_of(value), name_of(value))
        if identity in seen and at(value, ("metadata", "generateName")) is None:
            yield CrossFinding(number, ("metadata", "name"), f"{value['kind']} {identity[2]} is in the file twice")
        seen.add(identity)


def _same_output(values: Sequence[Value]) -> Iterator[CrossFinding]:
    """Yield evaluations that write into the folder of another: the second one to run would be refused."""
    owners: dict[tuple[str, str], str] = {}
    for number, value in enumerate(values):
        uri = at(value, ("spec", "output", "uri"))
        if value["kind"] != names.EVALUATION_JOB or not isinstance(uri, str):
            continue
        owner = owners.setdefault((namespace_of(value), uri.rstrip("/")), name_of(value))
        if owner != name_of(value):
            message = f"{uri} is the output of evj/{owner}; give each evaluation its own folder"
            yield CrossFinding(number, ("spec", "output", "uri"), message)


def _named(number: int, value: Value, reference: Reference, values: Sequence[Value]) -> Iterator[CrossFinding]:
    """Yield a note where a name leads out of the file."""
    namespace, what = namespace_of(value), Target(PLURALS[reference.kind], reference.name).short
    if _find(values, reference.kind, reference.name, namespace) is not None:
        return
    same_kind = [other for other in values if other.get("kind") == reference.kind]
    elsewhere = next((other for other in same_kind if name_of(other) == reference.name), None)
    if elsewhere is not None:
        where = namespace_of(elsewhere) or "that of the context"
        message = f"{what} of this file is in another namespace ({where}); names are looked up in the object's own"
    else:
        near = difflib.get_close_matches(reference.name, map(name_of, same_kind), n=1)
        hint = f" ({near[0]} is)" if near else ""
        message = f"{what} is not in this file{hint}; it has to be in the namespace"
    yield CrossFinding(number, reference.path, message, note=True)


def _model_name(number: int, value: Value, values: Sequence[Value]) -> Iterator[CrossFinding]:
    """Yield model names that a service of the file does not serve."""
    if value["kind"] != names.EVALUATION_JOB:
        return
    for part in ("target", "baseline"):
        name, model = at(value, ("spec", part, "service")), at(value, ("spec", part, "model"))
        found = _find(values, names.INFERENCE_SERVICE, name, namespace_of(value)) if isinstance(name, str) else None
        if found is None or not isinstance(model, str):
            continue
        served = _served(found, values)
        if served and model not in served:
            message = f"{model} is no model of aisvc/{name}; it serves {', '.join(served)}"
            yield CrossFinding(number, ("spec", part, "model"), message)


def _served(value: Value, values: Sequence[Value]) -> tuple[str, ...]:
    """Return the model names of a service; none when they hang on a job that the file does not hold."""
    job = job_of(value, values)
    if at(value, ("spec", "model", "fromJob")) is not None and job is None:
        return ()
    source = source_of(parsed_service(value), job)
    return (source.model_name, *(adapter.name for adapter in source.adapters))
