#!/usr/bin/env python3
"""Print what the operator would decide for a job and its pods, without a cluster.

    python3 hack/plan.py job.yaml [pods.yaml]

Both hold objects as `kubectl get -o yaml` prints them (a List or several documents); job.yaml may have a status.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "operator"))

from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.cluster.views import pod_view
from ascend_jobs.decide.finetune import plan
from ascend_jobs.decide.observed import Defaults, Observed
from ascend_jobs.decide.plan import Create
from ascend_jobs.errors import SpecInvalid

_UNSEEN = {"namespace": "default", "uid": "not-created", "creationTimestamp": "2000-01-01T00:00:00Z"}


def objects(path: str) -> list[dict[str, Any]]:
    """Read the objects of a file, lists taken apart."""
    found = [item for item in yaml.safe_load_all(Path(path).read_text()) if item]
    return [inner for item in found for inner in item.get("items", [item])]


def main() -> int:
    """Read, decide, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", help="file with one FineTuneJob")
    parser.add_argument("pods", nargs="?", help="file with its pods")
    args = parser.parse_args()
    body = next(o for o in objects(args.job) if o.get("kind") == "FineTuneJob")
    body["metadata"] = {**_UNSEEN, **body["metadata"]}
    pods = [pod_view(o) for o in objects(args.pods)] if args.pods else []
    try:
        job = FineTuneJob.parse(body)
    except SpecInvalid as err:
        print(err.message, file=sys.stderr)
        return 1
    decided = plan(Observed(job, datetime.now(UTC), tuple(pods), defaults=Defaults(image="the-installations-image")))
    for action in decided.actions:
        what = action.manifest["metadata"]["name"] if isinstance(action, Create) else getattr(action, "name", "the job")
        print(f"{type(action).__name__:10} {getattr(action, 'kind', None)} {what}")
    print(
        yaml.safe_dump({"status": dict(decided.status or {}), "requeueAfter": decided.requeue_after}, sort_keys=False)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
