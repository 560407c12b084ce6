#!/usr/bin/env python3
"""`make demo`: from a bare machine to a fine-tuned model that answers, measured and accepted, on a real kind cluster.

    python3 hack/demo/run.py [--file examples/finetune.yaml] [--namespace demo] [--serve]

Makes the cluster and the images (both kept and skipped when they are there), installs the chart, applies the file,
follows the job, the service that waits for its result and the evaluation that waits for the service, then asks the
base model and the tuned one the same questions. Running it again is harmless: what is done stays done, a failed job is
made anew. With --serve (`make demo-serve`) it starts from a model that is finished, compares it with its base model on
the same questions, and fetches the report.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = "ascend-jobs"
CONTEXT = f"kind-{CLUSTER}"
JOB = "dictionary"
COMPARISON = "dictionary-or-base"
REPORT = ROOT / "build" / "report"
QUESTIONS = ("What is a daemon?", "What is spaghetti code?", "What is a cookie?")


class StepFailed(Exception):
    """A step ended with an error that it has explained itself."""


def main() -> int:
    """Run the steps; say how long each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", default="examples/finetune.yaml", help="manifest to apply (default %(default)s)")
    parser.add_argument("--namespace", default="demo", help="namespace of the job (default %(default)s)")
    parser.add_argument("--serve", action="store_true", help="compare the tuned model with its base, fetch the report")
    args = parser.parse_args()
    started = time.monotonic()
    try:
        step("cluster: kind with two workers of 8 emulated Ascend 910", cluster)
        step("images (operator, emulator, the demo's model and data) and Helm chart", deploy)
        step(f"apply {args.file}", lambda: apply(args.file, args.namespace))
        step("fine-tune", lambda: watch(args.namespace, f"ftj/{JOB}"))
        step("a service that answers", lambda: watch(args.namespace, f"aisvc/{JOB}"))
        if args.serve:
            step("the tuned model against its base", lambda: compare(args.namespace))
            step("the report", lambda: report(args.namespace))
        else:
            step("numbers about it", lambda: watch(args.namespace, f"evj/{JOB}"))
            step("answers of the base model and the tuned one", lambda: ask(args.namespace))
    except StepFailed as err:
        print(f"\ndemo: {err}", file=sys.stderr)
        return 1
    print(f"\ndemo: done in {minutes(time.monotonic() - started)}. Remove everything: make cluster-delete")
    return 0


def step(title: str, work: Callable[[], None]) -> None:
    """Announce a step, do it, say how long it took."""
    print(f"\n==> {title}", flush=True)
    begun = time.monotonic()
    work()
    print(f"    {minutes(time.monotonic() - begun)}", flush=True)


def cluster() -> None:
    """Make the cluster, or find it."""
    run("python3", "hack/cluster", "up", "--name", CLUSTER)


def deploy() -> None:
    """Build and load what is new, install or upgrade the chart."""
    run("python3", "hack/deploy.py", "--cluster", CLUSTER)


def apply(file: str, namespace: str) -> None:
    """Apply the manifest; a job that failed, or whose spec differs, is made anew, since a spec cannot be changed."""
    made = kubectl("create", "namespace", namespace)
    if made.returncode and "AlreadyExists" not in made.stderr:
        raise StepFailed(made.stderr.strip())
    phase = kubectl("get", "finetunejob", JOB, "-n", namespace, "-o", "jsonpath={.status.phase}").stdout
    said = kubectl("apply", "-n", namespace, "-f", file)
    if phase == "Failed" or "immutable" in said.stderr:
        print(f"    the job of an earlier demo {'failed' if phase == 'Failed' else 'had another spec'}: made anew")
        kubectl("delete", "finetunejob", JOB, "-n", namespace)
        said = kubectl("apply", "-n", namespace, "-f", file)
    print(said.stdout, end="")
    if said.returncode:
        raise StepFailed(said.stderr.strip())


def watch(namespace: str, target: str) -> None:
    """Follow a job, a service or an evaluation to its end."""
    run(*ascendctl(), "watch", target, "-n", namespace, "--context", CONTEXT)


def compare(namespace: str) -> None:
    """Ask both models the same questions; one service answers as both."""
    said = kubectl("apply", "-n", namespace, "-f", "examples/compare.yaml")
    if said.returncode:
        raise StepFailed(said.stderr.strip())
    watch(namespace, f"evj/{COMPARISON}")


def report(namespace: str) -> None:
    """Fetch the report, and show it where there is a browser."""
    target = (f"evj/{COMPARISON}", "-n", namespace, "--context", CONTEXT)
    run(*ascendctl(), "report", *target, "--output", str(REPORT))
    page = next(REPORT.rglob("report.html"), None)
    if page is None:
        raise StepFailed(f"no report.html in {REPORT}")
    if os.environ.get("DISPLAY") or sys.platform == "darwin":
        webbrowser.open(page.as_uri())
    print(f"    open {page}")


def ask(namespace: str) -> None:
    """Ask both models."""
    run(*ascendctl(), "ask", f"ftj/{JOB}", "-n", namespace, "--context", CONTEXT, "--max-new-tokens", "48", *QUESTIONS)


def ascendctl() -> tuple[str, ...]:
    """Return the command line of this checkout."""
    return (sys.executable, "-m", "ascend_jobs.cli.main")


def run(*command: str) -> None:
    """Run a command that speaks for itself."""
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        raise StepFailed(f"`{' '.join(command)}` ended with code {done.returncode}")


def kubectl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl and return what it says."""
    command = ("kubectl", "--context", CONTEXT, *arguments)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def minutes(seconds: float) -> str:
    """Return "1 min 5 s"."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


if __name__ == "__main__":
    sys.exit(main())
