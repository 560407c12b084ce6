"""`ascendctl plan FILE`: what jobs and services would take, and whether that fits, without a cluster."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend_jobs import names
from ascend_jobs.cli import exits

if TYPE_CHECKING:
    from ascend_jobs.cli.planned import Plan, Source

_CHIP = "910B3"
_INDEX = "model.safetensors.index.json"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "plan",
        help="say what jobs and services need: NPUs, memory of each NPU, disk, pods",
        description="Say for every FineTuneJob and InferenceService in a file how many pods and NPUs it takes, what is "
        "in the memory of each NPU, each part with its formula, what is written to disk, and whether it fits. Works "
        "without a cluster. A model is known by its config.json: of --model-config, or beside a file:// URI that "
        "exists here. Exit code 1 when something cannot fit.",
    )
    parser.add_argument("file", metavar="FILE", help="a YAML file; - is standard input")
    parser.add_argument(
        "--model-config",
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="config.json, or the model's folder; for the document called NAME, or for all",
    )
    parser.add_argument("--chip", default=_CHIP, help="chip whose memory counts (default %(default)s)")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default %(default)s")
    parser.set_defaults(func=plan)


def plan(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from ascend_jobs.cli.planned import plan_document, plan_lines
    from ascend_jobs.cli.screen import clean
    from ascend_jobs.domain.accelerators import chip_hbm

    hbm = chip_hbm(args.chip)
    if hbm is None:
        print(f"ascendctl: {args.chip} is no known chip; such as 910B3, 910B4, 910C", file=sys.stderr)
        return exits.USAGE
    try:
        text = sys.stdin.read() if args.file == "-" else Path(args.file).read_text()
        configs = dict(_named(entry) for entry in args.model_config)
        plans = list(plans_of(text, configs, hbm))
    except (OSError, UnicodeDecodeError) as err:
        print(f"ascendctl: {err}", file=sys.stderr)
        return exits.USAGE
    except Unreadable as err:
        print(f"{args.file}: {err}", file=sys.stderr)
        return exits.FAILED
    if args.output == "json":
        print(json.dumps([plan_document(found, hbm) for found in plans], indent=2))
    elif plans:
        print("\n\n".join("\n".join(plan_lines(found, args.chip, hbm, clean)) for found in plans))
    else:
        print(f"{args.file}: no FineTuneJob and no InferenceService in it")
    return exits.FAILED if any(found.problems for found in plans) else exits.OK


class Unreadable(Exception):
    """The file is no YAML, or a document in it is not valid."""


def plans_of(text: str, configs: Mapping[str, Path], hbm_gib: int) -> Iterator[Plan]:
    """Yield the plans of the documents of a YAML text.

    `configs` are paths of config.json or model folders by document name, "" for all others. Raises Unreadable and
    OSError.
    """
    from ascend_jobs.cli.planned import planned_job, planned_service
    from ascend_jobs.errors import SpecInvalid

    values = _documents(text)
    jobs = {_name(value): value for value in values if value.get("kind") == names.FINE_TUNE_JOB}
    for value in values:
        name, kind = _name(value), value.get("kind")
        try:
            if kind == names.FINE_TUNE_JOB:
                yield planned_job(value, _source(name, _uri(value), configs), hbm_gib)
            elif kind == names.INFERENCE_SERVICE:
                origin = _origin(value, jobs)
                source = _source(name, origin.uri, configs, origin.job)
                yield planned_service(value, source, hbm_gib, model_uri=origin.uri, tuned=origin.tuned)
        except SpecInvalid as err:
            raise Unreadable(f"{kind}/{name}: {err.message}") from err


@dataclass(frozen=True)
class _Origin:
    """Where a service's model is: URI (None when unknown), the job that made it, whether that made an adapter."""

    uri: str | None
    job: str = ""
    tuned: bool = False


def _origin(value: Mapping[str, Any], jobs: Mapping[str, Mapping[str, Any]]) -> _Origin:
    model = _part(_part(value, "spec"), "model")
    job = model.get("fromJob")
    if not isinstance(job, str):
        return _Origin(_uri(value))
    made = jobs.get(job)
    if made is None:
        return _Origin(None, job)
    training = _part(_part(made, "spec"), "training")
    return _Origin(_uri(made), job, training.get("method") != "full")


def _source(name: str, uri: str | None, configs: Mapping[str, Path], job: str = "") -> Source:
    """Return the facts of a document's model: of --model-config by its name, that of its job, for all, or beside it."""
    from ascend_jobs.cli.planned import Source
    from ascend_jobs.domain.modelfacts import FactsMissing

    given = configs.get(name) or configs.get(job) or configs.get("")
    local = Path(uri.removeprefix("file://")) if uri and uri.startswith("file:///") else None
    path = given or (local if local is not None and (local / "config.json").is_file() else None)
    if path is None:
        where = uri or f"the result of FineTuneJob {job}"
        return Source(None, f"unknown: give the config.json of {where} with --model-config PATH")
    try:
        facts = _facts(path)
    except (FactsMissing, ValueError) as err:
        return Source(None, f"unknown: {path}: {err}")
    return Source(facts, f"{facts.architecture}, {facts.parameters:,} parameters ({path})")


def _facts(path: Path) -> Any:  # noqa: ANN401 - ModelFacts, imported late
    """Read config.json; the size of sharded weights, where the folder tells it, goes before the formula."""
    from ascend_jobs.domain.modelfacts import facts_from_config

    folder = path if path.is_dir() else path.parent
    config = json.loads((path / "config.json" if path.is_dir() else path).read_text())
    if not isinstance(config, dict):
        raise ValueError("is no JSON object")
    index = folder / _INDEX
    if not index.is_file():
        return facts_from_config(config)
    size = json.loads(index.read_text()).get("metadata", {}).get("total_size")
    width = facts_from_config(config, parameters=1).bytes_per_parameter
    return facts_from_config(config, parameters=int(size / width)) if size else facts_from_config(config)


def _documents(text: str) -> list[dict[str, Any]]:
    import yaml

    from ascend_jobs.cli.lines import documents
    from ascend_jobs.cli.validate import is_ours

    try:
        return [document.value for document in documents(text) if is_ours(document.value)]
    except yaml.YAMLError as err:
        raise Unreadable(f"no YAML: {err}") from err


def _named(entry: str) -> tuple[str, Path]:
    name, equals, path = entry.partition("=")
    found = Path(path if equals else entry)
    if not found.exists():
        raise FileNotFoundError(2, "no such file or folder", str(found))
    return (name if equals else "", found)


def _part(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _uri(value: Mapping[str, Any]) -> str | None:
    uri = _part(_part(value, "spec"), "model").get("uri")
    return uri if isinstance(uri, str) else None


def _name(value: Mapping[str, Any]) -> str:
    return str(_part(value, "metadata").get("name") or _part(value, "metadata").get("generateName") or "")
