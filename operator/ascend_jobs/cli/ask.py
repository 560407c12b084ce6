"""`ascendctl ask TARGET PROMPT...`: put questions to a job's two models side by side, or to a running service."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from ascend_jobs import names
from ascend_jobs.cli import exits
from ascend_jobs.cli.kube import Kube, KubeError, add_cluster_options, path_of
from ascend_jobs.cli.screen import clean
from ascend_jobs.cli.shortpod import NotNow, logs_of
from ascend_jobs.cli.target import read_object, target_of

if TYPE_CHECKING:
    from ascend_jobs.api.finetunejob import FineTuneJob

_COLUMN = 38
"""Narrowest column; below twice that the answers stand one under the other."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ask",
        help="ask a running service, or the base and the tuned model of a job side by side",
        description="aisvc/NAME: ask the running service through the API server, show the answer as it comes, then "
        "the time to its first token and its speed. "
        "ftj/NAME: start a short-lived pod from the job's image that loads the base model and the job's result, "
        "print both answers to each prompt, and delete the pod. It takes no NPU. The job has to be Complete.",
    )
    kinds = target_of(names.FINE_TUNE_JOBS, names.INFERENCE_SERVICES)
    parser.add_argument("target", type=kinds, metavar="TARGET", help="aisvc/NAME or ftj/NAME")
    parser.add_argument("prompts", nargs="+", metavar="PROMPT")
    parser.add_argument("--max-new-tokens", type=int, default=80, metavar="N", help="longest answer, in tokens (80)")
    parser.add_argument("--model", metavar="NAME", help="aisvc: model name, such as that of an adapter or NAME-base")
    parser.add_argument("--image", help="ftj: image of the pod; the job's when absent")
    parser.add_argument("--timeout", type=int, default=900, metavar="SECONDS", help="longest time in all (900)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per prompt")
    add_cluster_options(parser)
    parser.set_defaults(func=ask)


def ask(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    is_service = args.target.plural == names.INFERENCE_SERVICES
    if misplaced := (args.image and "--image") if is_service else (args.model and "--model"):
        print(f"ascendctl: {misplaced} does not go with {args.target.short}", file=sys.stderr)
        return exits.USAGE
    kube = Kube.connect(args)
    try:
        if is_service:
            from ascend_jobs.cli.askservice import ask_service

            ask_service(kube, args)
        else:
            _ask_job(kube, args)
    except NotNow as err:
        print(f"ascendctl: {err}", file=sys.stderr)
        return exits.FAILED
    return exits.OK


def _ask_job(kube: Kube, args: argparse.Namespace) -> None:
    """Print both answers to each prompt; raise NotNow when there are none to be had."""
    from ascend_jobs.api.finetunejob import FineTuneJob
    from ascend_jobs.cli.askpod import Question, ask_pod
    from ascend_jobs.errors import SpecInvalid

    try:
        job = FineTuneJob.parse(read_object(kube, args.target))
        _check_done(job)
        question = Question(tuple(args.prompts), args.max_new_tokens, args.image, args.timeout)
        pod = ask_pod(job, _template(kube, job), question)
    except (SpecInvalid, KeyError) as err:
        raise NotNow(err.args[0]) from err
    for answer in answers_in(logs_of(kube, pod, args.timeout)):
        print(json.dumps(answer, ensure_ascii=False) if args.json else side_by_side(answer), flush=True)


def _check_done(job: FineTuneJob) -> None:
    """Raise NotNow unless the job has a result."""
    status = job.status
    if status.phase != "Complete":
        raise NotNow(
            f"{job.metadata.name} is {clean(status.phase)}, not Complete: {clean(status.message)}; "
            f"follow it with `ascendctl watch ftj/{job.metadata.name}`"
        )


def _template(kube: Kube, job: FineTuneJob) -> Mapping[str, Any]:
    """Return what the job's pods were made from; empty when it never had any or the record is gone."""
    revision = job.status.attempt.revision
    if revision is None:
        return {}
    try:
        found = kube.get(path_of("apis/apps/v1", job.metadata.namespace, "controllerrevisions", revision))
    except KubeError as err:
        if err.status in (403, 404):
            return {}
        raise
    data = found.get("data")
    return data if isinstance(data, dict) else {}


def answers_in(logs: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the answers that the containers printed, one a prompt; other lines are the libraries' own."""
    from ascend_jobs.cli.askpod import BASE, TUNED

    found = {name: [a for a in map(_answer, text.splitlines()) if a is not None] for name, text in logs.items()}
    if BASE not in found:
        return found[TUNED]
    return [
        {"prompt": base["prompt"], BASE: base[BASE], TUNED: tuned[BASE]}
        for base, tuned in zip(found[BASE], found[TUNED], strict=False)
    ]


def _answer(line: str) -> dict[str, str] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"prompt", "base"} <= found.keys() else None


def side_by_side(answer: Mapping[str, str], columns: int | None = None) -> str:
    """Return prompt and answers: in two columns where the window is wide enough, else one under the other."""
    columns = columns or shutil.get_terminal_size().columns
    width = (columns - 3) // 2
    lines = ["", f"> {clean(answer['prompt'])}"]
    if width < _COLUMN:
        for name in ("base", "tuned"):
            lines += _wrapped(f"{name}: {answer.get(name, '')}", columns)
        return "\n".join(lines)
    base = ["base", *_wrapped(answer["base"], width)]
    tuned = ["tuned", *_wrapped(answer.get("tuned", ""), width)]
    lines += [f"{left:<{width}} | {right}".rstrip() for left, right in zip_longest(base, tuned, fillvalue="")]
    return "\n".join(lines)


def _wrapped(text: str, width: int) -> Sequence[str]:
    return textwrap.wrap(clean(" ".join(text.split())), width) or [""]
