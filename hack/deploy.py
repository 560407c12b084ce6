"""`python3 hack/deploy.py [--cluster NAME] [--set KEY=VALUE]...`: this checkout, running in the kind cluster.

Builds the images and loads them into the nodes, then installs or upgrades the chart with the images named by content,
so that pods are replaced exactly when their image changed. Harmless to repeat.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMESPACE = "ascend-jobs-system"
RELEASE = "ascend-jobs"
USES = {"operator": ("operator",), "proxy": ("proxy",), "emulator": ("emulator",), "demo": ("runtime", "prepare")}
"""Image target -> chart values images.<name> that it is given to; the demo image also holds the model and the data."""


def main() -> int:
    """Build, load, install; return the exit code of the first step that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster", default="ascend-jobs", help="name of the kind cluster (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="more values of the chart")
    options = parser.parse_args()
    try:
        built = output("python3", "hack/images.py", "build", *USES, "--load", options.cluster)
        helm = Path(output("python3", "hack/cluster", "assets", "--with", "helm")[-1]) / "helm"
        install(str(helm) if helm.exists() else "helm", options.cluster, [*image_values(built), *options.set])
    except subprocess.CalledProcessError as failure:
        print(f"deploy: `{' '.join(failure.cmd[:3])}` ended with code {failure.returncode}", file=sys.stderr)
        return failure.returncode
    return 0


def output(*command: str) -> list[str]:
    """Run a command that reports on stderr; return the lines of its result."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip().splitlines()


def image_values(built: list[str]) -> list[str]:
    """Return chart values for lines of `TARGET IMAGE`."""
    images = dict(line.split(maxsplit=1) for line in built)
    return [f"images.{use}={images[target]}" for target, uses in USES.items() for use in uses]


def install(helm: str, cluster: str, values: list[str]) -> None:
    """Install or upgrade the chart and wait until all of it is ready."""
    settings = [word for value in values for word in ("--set", value)]
    command = [helm, "upgrade", "--install", RELEASE, "charts/ascend-jobs", "--kube-context", f"kind-{cluster}"]
    command += ["--namespace", NAMESPACE, "--create-namespace", "--values", "charts/ascend-jobs/values-kind.yaml"]
    subprocess.run([*command, *settings, "--wait", "--timeout", "5m"], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
