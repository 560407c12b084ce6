"""`ascendctl validate FILE...`: check jobs before they are applied, without a cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
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
        description="Check every job in the files as the API server and the operator would: structure, ranges, unknown "
        "fields, rules, and what contradicts itself. Other kinds are skipped. Exit code 0 when all is valid, else 1. "
        "What only the cluster knows (claims, images, chips) is not checked.",
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
        if report.problems:
            code = exits.FAILED
        else:
            print(f"{file}: {', '.join(report.jobs) + ' valid' if report.jobs else 'no jobs in it'}")
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
    """The jobs of a text (kind/name) and what is wrong with them."""

    jobs: tuple[str, ...]
    problems: tuple[Problem, ...]


def check_text(text: str) -> Report:
    """Check all jobs of a YAML text; what is no YAML is a problem itself."""
    import yaml

    from ascend_jobs.cli.lines import documents

    jobs: list[str] = []
    problems: list[Problem] = []
    try:
        for document in documents(text):
            if is_ours(document.value):
                jobs.append(f"{document.value.get('kind')}/{_name(document.value)}")
                problems += (
                    Problem(document.line(found.path), found.field, found.message) for found in findings(document)
                )
    except yaml.MarkedYAMLError as err:
        line = err.problem_mark.line + 1 if err.problem_mark else 1
        problems.append(Problem(line, "", f"no YAML: {err.problem}"))
    except yaml.YAMLError as err:
        problems.append(Problem(1, "", f"no YAML: {err}"))
    return Report(tuple(jobs), tuple(problems))


def is_ours(value: object) -> bool:
    """Say whether a document claims to be of this project's API group."""
    return isinstance(value, dict) and str(value.get("apiVersion", "")).partition("/")[0] == names.GROUP


def findings(document: Document) -> Iterator[Finding]:
    """Yield what is wrong with one job: first what the API server would say, then what contradicts itself."""
    from ascend_jobs.api.crd import KINDS, object_schema
    from ascend_jobs.cli.schemacheck import Finding, check, with_defaults

    value = document.value
    kind = next((k for k in KINDS if k.kind == value.get("kind")), None)
    if value["apiVersion"] != names.API_VERSION:
        yield Finding(("apiVersion",), f"is {value['apiVersion']}; this program knows {names.API_VERSION}")
    elif kind is None:
        yield Finding(("kind",), f"is {value.get('kind')}; one of {', '.join(k.kind for k in KINDS)}")
    elif not _name(value):
        yield Finding(("metadata",), "name is missing")
    else:
        schema = object_schema(kind)
        filled = with_defaults({**value, "metadata": {**value["metadata"], "name": _name(value)}}, schema)
        found = list(check(filled, schema))
        yield from found or _contradictions(filled)


def _name(value: dict[str, Any]) -> str:
    """Return the name that the object will have, the server's part of a generateName as x's; "" without one."""
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return ""
    prefix = metadata.get("generateName")
    return str(metadata.get("name") or (f"{prefix}xxxxx" if prefix else ""))


def _contradictions(filled: dict[str, Any]) -> Iterator[Finding]:
    """Yield what the operator would refuse in a job that the server takes."""
    from ascend_jobs.api.finetunejob import FineTuneJob
    from ascend_jobs.cli.schemacheck import Finding
    from ascend_jobs.decide.validate import invalid_fields

    metadata = {"namespace": "default", "uid": "none", "creationTimestamp": "2000-01-01T00:00:00Z"}
    job = FineTuneJob.parse({**filled, "metadata": {**metadata, "name": filled["metadata"]["name"]}, "status": {}})
    for field, message in invalid_fields(job, default_image="given by the installation"):
        yield Finding(_path(field), message)


def _path(field: str) -> tuple[str | int, ...]:
    """Return a field as Kubernetes writes it as a path."""
    parts = field.replace("[", ".").replace("]", "").split(".")
    return tuple(int(part) if part.isdigit() else part for part in parts)
