"""`ascendctl ask ftj/NAME PROMPT...`: put questions to the base and the tuned model, side by side."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from ascend_jobs.cli import exits
from ascend_jobs.cli.kube import Json, Kube, KubeError, add_cluster_options, path_of
from ascend_jobs.cli.screen import clean
from ascend_jobs.cli.target import parse_target, read_job

if TYPE_CHECKING:
    from ascend_jobs.api.finetunejob import FineTuneJob

_COLUMN = 38
"""Narrowest column; below twice that the answers stand one under the other."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ask",
        help="ask the base and the tuned model, answers side by side",
        description="Start a short-lived pod from the job's image that loads the base model and the job's result, "
        "print both answers to each prompt, and delete the pod. It takes no NPU. The job has to be Complete.",
    )
    parser.add_argument("job", type=parse_target, metavar="ftj/NAME")
    parser.add_argument("prompts", nargs="+", metavar="PROMPT")
    parser.add_argument("--max-new-tokens", type=int, default=80, metavar="N", help="longest answer, in tokens (80)")
    parser.add_argument("--image", help="image of the pod; the job's when absent")
    parser.add_argument("--timeout", type=int, default=900, metavar="SECONDS", help="longest time in all (900)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per prompt")
    add_cluster_options(parser)
    parser.set_defaults(func=ask)


def ask(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from ascend_jobs.api.finetunejob import FineTuneJob
    from ascend_jobs.cli.askpod import Question, ask_pod
    from ascend_jobs.errors import SpecInvalid

    kube = Kube.connect(args)
    body = read_job(kube, args.job)
    try:
        job = FineTuneJob.parse(body)
        _check_done(job)
        question = Question(tuple(args.prompts), args.max_new_tokens, args.image, args.timeout)
        pod = ask_pod(job, _template(kube, job), question)
        answers = _run(kube, pod, args.timeout)
    except (SpecInvalid, NotNow, KeyError) as err:
        print(f"ascendctl: {err.args[0]}", file=sys.stderr)
        return exits.FAILED
    for answer in answers:
        print(json.dumps(answer, ensure_ascii=False) if args.json else side_by_side(answer), flush=True)
    return exits.OK


class NotNow(Exception):
    """No answer can be had; the message says why."""


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


def _run(kube: Kube, manifest: Json, seconds: int) -> list[dict[str, str]]:
    """Make the pod, wait for its end, read its answers, and delete it whatever happens."""
    namespace = manifest["metadata"]["namespace"]
    pod = kube.create(path_of("api/v1", namespace, "pods"), manifest)
    path = path_of("api/v1", namespace, "pods", pod["metadata"]["name"])
    try:
        pod = _wait(kube, pod, time.monotonic() + seconds)
        logs = {c["name"]: kube.text(f"{path}/log", {"container": c["name"]}) for c in _all_containers(pod)}
        if pod["status"]["phase"] != "Succeeded":
            raise NotNow(f"pod {pod['metadata']['name']} failed: {_why(pod, logs)}")
        return answers_in(logs)
    finally:
        kube.delete(path)


def _wait(kube: Kube, pod: Json, deadline: float) -> Json:
    """Return the pod when it has ended, telling what it waits for; raise NotNow when it is gone or late."""
    told = ""
    for seen in _states(kube, pod, deadline):
        if seen["status"].get("phase") in ("Succeeded", "Failed"):
            return seen
        now = waiting_for(seen)
        if now != told:
            print(f"ascendctl: {now}", file=sys.stderr, flush=True)
            told = now
    raise NotNow(f"pod {pod['metadata']['name']} did not end in time; it was {told} (--timeout)")


def _states(kube: Kube, pod: Json, deadline: float) -> Iterator[Json]:
    """Yield the pod now and after every change, until the deadline."""
    meta = pod["metadata"]
    collection = path_of("api/v1", meta["namespace"], "pods")
    while (left := deadline - time.monotonic()) > 0:
        pod = kube.get(f"{collection}/{meta['name']}")
        yield pod
        for type_, seen in kube.watch(
            collection, meta["name"], pod["metadata"]["resourceVersion"], seconds=int(left) + 1
        ):
            if type_ == "DELETED":
                raise NotNow(f"pod {meta['name']} was deleted")
            if type_ in ("ADDED", "MODIFIED"):
                yield seen


def waiting_for(pod: Json) -> str:
    """Return what the pod is doing, a few words."""
    status = pod.get("status", {})
    scheduled: Json = next((c for c in status.get("conditions", ()) if c["type"] == "PodScheduled"), {})
    if scheduled.get("status") != "True":
        message = scheduled.get("message", "")
        return f"waiting for a node: {clean(message)}" if message else "waiting for a node"
    for state in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = state.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in ("PodInitializing", "ContainerCreating"):
            return f"{clean(waiting.get('reason', ''))}: {clean(waiting.get('message', ''))}"
    return "answering" if status.get("phase") == "Running" else "starting the pod"


def _all_containers(pod: Json) -> list[Json]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def _why(pod: Json, logs: Mapping[str, str]) -> str:
    """Return the last words of the container that failed, else the pod's own message."""
    status = pod["status"]
    for state in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        ended = state.get("state", {}).get("terminated") or {}
        if ended.get("exitCode"):
            words = (ended.get("message") or logs.get(state["name"], "")).strip().splitlines()
            return f"exit code {ended['exitCode']}: {clean(words[-1]) if words else ended.get('reason', '')}"
    return clean(status.get("message") or status.get("reason") or "no reason given")


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
