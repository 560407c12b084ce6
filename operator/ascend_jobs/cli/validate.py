"""`ascendctl validate FILE...`: check objects before they are applied, without a cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend_jobs import names
from ascend_jobs.cli import exits

if TYPE_CHECKING:
    from ascend_jobs.cli.lines import Document
    from ascend_jobs.cli.schemacheck import Finding


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "validate",
        help="check YAML files before they are applied, without a cluster",
        description="Check every FineTuneJob, InferenceService and EvaluationJob in the files as the API server and "
        "the operator would: structure, ranges, unknown fields, rules, what an engine would refuse, what contradicts "
        "itself or another document of the file. Other kinds are skipped. Exit code 0 when all is valid, else 1. "
        "What only the cluster knows (claims, images, chips) is not checked; names that lead out of a file are noted.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a YAML file; - is standard input")
    parser.set_defaults(func=validate)


def validate(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    code = exits.OK
    for file in args.files:
        try:
            text = sys.stdin.read() if file == "-" else Path(file).read_text()
        except (OSError, UnicodeDecodeError) as err:
            print(f"ascendctl: {file}: {err}", file=sys.stderr)
            return exits.USAGE
        report = check_text(text)
        for problem in report.problems:
            print(f"{file}:{problem}")
        for note in report.notes:
            print(f"{file}:{note} (note)")
        if report.problems:
            code = exits.FAILED
        else:
            print(f"{file}: {', '.join(report.objects) + ' valid' if report.objects else 'nothing to check in it'}")
    return code


@dataclass(frozen=True)
class Problem:
    """Something wrong at a line (from 1); prints as LINE: FIELD: MESSAGE."""

    line: int
    field: str
    message: str

    def __str__(self) -> str:
        """Return the form that editors can jump from."""
        return f"{self.line}: {self.field + ': ' if self.field else ''}{self.message}"


@dataclass(frozen=True)
class Report:
    """The objects of a text (kind/name), what is wrong with them, and what only the cluster can tell."""

    objects: tuple[str, ...]
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()


def check_text(text: str) -> Report:
    """Check all objects of a YAML text; what is no YAML is a problem itself."""
    import yaml

    from ascend_jobs.cli.lines import documents

    ours: list[Document] = []
    broken: list[Problem] = []
    try:
        ours.extend(document for document in documents(text) if is_ours(document.value))
    except yaml.MarkedYAMLError as err:
        line = err.problem_mark.line + 1 if err.problem_mark else 1
        broken.append(Problem(line, "", f"no YAML: {err.problem}"))
    except yaml.YAMLError as err:
        broken.append(Problem(1, "", f"no YAML: {err}"))
    if not ours:
        return Report((), tuple(broken))
    checked = _check_documents(ours)
    objects = tuple(f"{document.value.get('kind')}/{_name(document.value)}" for document in ours)
    return Report(objects, (*checked.problems, *broken), checked.notes)


def _check_documents(ours: Sequence[Document]) -> Report:
    """Check each document by itself, then what the sound ones contradict in themselves and in each other."""
    from ascend_jobs.cli.contradictions import contradictions
    from ascend_jobs.cli.crosschecks import cross_check, job_of

    problems: list[Problem] = []
    sound: list[tuple[Document, dict[str, Any]]] = []
    unsound: list[dict[str, Any]] = []
    for document in ours:
        found = [Problem(document.line(f.path), f.field, f.message) for f in findings(document)]
        problems += found
        if found:
            unsound.append(document.value)
        else:
            sound.append((document, filled(document.value)))
    values = [value for _, value in sound]
    for document, value in sound:
        for field, message in contradictions(value, job_of(value, values)):
            problems.append(Problem(document.line(_path(field)), field, message))
    notes: list[Problem] = []
    for seen in cross_check(values, unsound):
        place = sound[seen.document][0].line(seen.path)
        (notes if seen.note else problems).append(Problem(place, ".".join(map(str, seen.path)), seen.message))
    return Report((), tuple(sorted(problems, key=lambda problem: problem.line)), tuple(notes))


def is_ours(value: object) -> bool:
    """Say whether a document claims to be of this project's API group."""
    return isinstance(value, dict) and str(value.get("apiVersion", "")).partition("/")[0] == names.GROUP


def findings(document: Document) -> Iterator[Finding]:
    """Yield what the API server would say about one document."""
    from ascend_jobs.api.crd import KINDS, object_schema
    from ascend_jobs.cli.schemacheck import Finding, check

    value = document.value
    kind = next((k for k in KINDS if k.kind == value.get("kind")), None)
    if value["apiVersion"] != names.API_VERSION:
        yield Finding(("apiVersion",), f"is {value['apiVersion']}; this program knows {names.API_VERSION}")
    elif kind is None:
        yield Finding(("kind",), f"is {value.get('kind')}; one of {', '.join(k.kind for k in KINDS)}")
    elif not _name(value):
        yield Finding(("metadata",), "name is missing")
    else:
        yield from check(filled(value), object_schema(kind))


def filled(value: dict[str, Any]) -> dict[str, Any]:
    """Return a document of a known kind with its defaults and the name that it will have."""
    from ascend_jobs.api.crd import KINDS, object_schema
    from ascend_jobs.cli.schemacheck import with_defaults

    kind = next(k for k in KINDS if k.kind == value["kind"])
    named = {**value, "metadata": {**value["metadata"], "name": _name(value)}}
    found: dict[str, Any] = with_defaults(named, object_schema(kind))
    return found


def _name(value: dict[str, Any]) -> str:
    """Return the name that the object will have, the server's part of a generateName as x's; "" without one."""
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return ""
    prefix = metadata.get("generateName")
    return str(metadata.get("name") or (f"{prefix}xxxxx" if prefix else ""))


def _path(field: str) -> tuple[str | int, ...]:
    """Return a field as Kubernetes writes it as a path."""
    parts = field.replace("[", ".").replace("]", "").split(".")
    return tuple(int(part) if part.isdigit() else part for part in parts)
