"""`ascendctl report evj/NAME`: bring the last run's report from its claim onto this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend_jobs import names
from ascend_jobs.cli import exits
from ascend_jobs.cli.kube import Kube, KubeError, add_cluster_options, path_of
from ascend_jobs.cli.screen import clean
from ascend_jobs.cli.shortpod import NotNow, logs_of
from ascend_jobs.cli.target import read_object, target_of

if TYPE_CHECKING:
    from ascend_jobs.api.evaluationjob import EvaluationJob
    from ascend_jobs.cli.reportpod import Fetched


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="fetch the report of an evaluation's last run",
        description="Fetch the folder that the last complete run of an evaluation wrote (report.html, report.zh.html, "
        "metrics.json, tables as CSV, answers) through a short-lived pod that reads the claim, check it against its "
        "manifest, and print where it is. Nothing is opened. Files that do not fit into a pod's log (9 MB packed) stay "
        "where they are, the largest first.",
    )
    parser.add_argument("target", type=target_of(names.EVALUATION_JOBS), metavar="evj/NAME")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder to write; NAME-run-N here when absent")
    parser.add_argument("--image", help="image of the pod, with python; that of the run when absent")
    parser.add_argument("--timeout", type=int, default=300, metavar="SECONDS", help="longest time in all (300)")
    add_cluster_options(parser)
    parser.set_defaults(func=report)


def report(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from ascend_jobs.api.evaluationjob import EvaluationJob
    from ascend_jobs.cli.reportpod import CONTAINER, report_pod, unpacked
    from ascend_jobs.errors import SpecInvalid

    kube = Kube.connect(args)
    try:
        job = EvaluationJob.parse(read_object(kube, args.target))
        uri, sha256, run = _whereabouts(job)
        folder = args.output or Path(f"{job.metadata.name}-run-{run}")
        if folder.exists() and not folder.is_dir():
            raise NotNow(f"{folder} is there and is no folder; give another one with --output")
        pod = report_pod(job, _ran(kube, job, run), args.image, args.timeout)
        fetched = unpacked(logs_of(kube, pod, args.timeout)[CONTAINER], sha256)
    except (NotNow, SpecInvalid) as err:
        print(f"ascendctl: {err}", file=sys.stderr)
        return exits.FAILED
    return _written(folder, fetched, uri)


def _whereabouts(job: EvaluationJob) -> tuple[str, str, int]:
    """Return URI, digest and run of the last report; raise NotNow when there is none to be fetched."""
    status, name = job.status, job.metadata.name
    result = status.result
    if result is None:
        raise NotNow(f"{name} is {clean(status.phase)} and has no report yet: {clean(status.message)}")
    uri = result.report.uri
    if not uri.startswith("pvc://"):
        pod = names.evaluate_name(job.base, status.run.number, status.run.try_number)
        raise NotNow(
            f"{name} has no spec.output: its report was in {clean(uri) or 'a folder'} of pod {pod} and went with it; "
            f"`ascendctl watch evj/{name}` shows what the status kept"
        )
    return uri, result.report.sha256, result.run


def _ran(kube: Kube, job: EvaluationJob, run: int) -> dict[str, Any]:
    """Return the spec of the pod that wrote the report; empty when it is gone or was another run's."""
    last = job.status.run
    if last.number != run:
        return {}
    pod = names.evaluate_name(job.base, run, last.try_number)
    try:
        spec = kube.get(path_of("api/v1", job.metadata.namespace, "pods", pod)).get("spec")
    except KubeError as err:
        if err.status in (403, 404):
            return {}
        raise
    return spec if isinstance(spec, dict) else {}


def _written(folder: Path, fetched: Fetched, uri: str) -> int:
    """Write the files and print where they are; files of the same names are replaced."""
    try:
        for name, content in fetched.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as err:
        print(f"ascendctl: {err}", file=sys.stderr)
        return exits.FAILED
    for name in fetched.left_out:
        print(f"ascendctl: {clean(name)} is too large to come along; it is in {clean(uri)}", file=sys.stderr)
    pages = [name for name in ("report.html", "report.zh.html") if name in fetched.files]
    for name in pages or [""]:
        print(folder / name)
    return exits.OK
