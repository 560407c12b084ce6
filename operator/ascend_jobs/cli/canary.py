"""`ascendctl promote aisvc/NAME` and `ascendctl abort aisvc/NAME`: what becomes of a service's canary."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ascend_jobs import names
from ascend_jobs.cli import exits
from ascend_jobs.cli.kube import Json, Kube, add_cluster_options
from ascend_jobs.cli.screen import clean
from ascend_jobs.cli.target import read_object, target_of

if TYPE_CHECKING:
    from ascend_jobs.api.inferenceservice import InferenceService


class Unfit(Exception):
    """The canary cannot be promoted, or there is none; the message says why."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    promote_text = (
        "Put the canary's model into spec.model and remove spec.canary. The usual rollout follows: a new revision "
        "starts, answers, passes its gate and takes over; the canary's pods go when their last request has ended."
    )
    abort_text = "Remove spec.canary. Its pods go when their last request has ended."
    told = (("promote", promote_text, "let the canary's model take over"), ("abort", abort_text, "give the canary up"))
    for name, text, words in told:
        parser = commands.add_parser(name, help=words, description=text)
        parser.add_argument("service", type=target_of(names.INFERENCE_SERVICES), metavar="aisvc/NAME")
        if name == "promote":
            parser.add_argument("--force", action="store_true", help="also a canary that gets no requests")
        add_cluster_options(parser)
        parser.set_defaults(func=change, promote=name == "promote", force=False)


def change(args: argparse.Namespace) -> int:
    """Run either command; return the exit code."""
    from ascend_jobs.api.inferenceservice import InferenceService
    from ascend_jobs.errors import SpecInvalid

    kube = Kube.connect(args)
    body = read_object(kube, args.service)
    try:
        service = InferenceService.parse(body)
        spec = promotion(service, force=args.force) if args.promote else removal(service)
    except (SpecInvalid, Unfit) as err:
        print(f"ascendctl: {err.args[0]}", file=sys.stderr)
        return exits.FAILED
    # A service that somebody has changed since is refused (409): what is promoted is what was looked at.
    version = body["metadata"]["resourceVersion"]
    kube.patch(args.service.path(kube.namespace), {"metadata": {"resourceVersion": version}, "spec": spec})
    what = "promoted: a rollout follows" if args.promote else "aborted"
    print(f"{args.service} {what}; follow it with `ascendctl watch {args.service}`")
    return exits.OK


def promotion(service: InferenceService, *, force: bool) -> Json:
    """Return the merge patch of the spec that promotes the canary; raises Unfit for one that has not proved itself."""
    canary = service.spec.canary
    if canary is None:
        raise Unfit(f"{service.metadata.name} has no canary (spec.canary)")
    status = service.status.canary
    if not force and (status is None or (status.weight == 0 and canary.weight > 0)):
        why = clean(status.message) if status is not None and status.message else "it has not answered yet"
        raise Unfit(f"the canary gets no requests: {why}; --force promotes it all the same")
    return {"model": {"uri": canary.model.uri, "fromJob": canary.model.from_job}, "canary": None}


def removal(service: InferenceService) -> Json:
    """Return the merge patch of the spec that removes the canary; raises Unfit when there is none."""
    if service.spec.canary is None:
        raise Unfit(f"{service.metadata.name} has no canary (spec.canary)")
    return {"canary": None}
