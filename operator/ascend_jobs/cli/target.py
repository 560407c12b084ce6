"""What a command is about: `ftj/NAME`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from ascend_jobs import names
from ascend_jobs.cli.kube import Json, Kube, KubeError, path_of

_KINDS = {
    names.FINE_TUNE_SHORT: names.FINE_TUNE_JOBS,
    names.FINE_TUNE_JOBS: names.FINE_TUNE_JOBS,
    names.FINE_TUNE_JOB.lower(): names.FINE_TUNE_JOBS,
}
"""Plural by what people write in its place, in lower case."""


@dataclass(frozen=True)
class Target:
    """A custom resource by plural and name."""

    plural: str
    name: str

    def __str__(self) -> str:
        """Return the form that kubectl prints."""
        return f"{self.plural}/{self.name}"

    def path(self, namespace: str) -> str:
        """Return the object's path on the API server."""
        return path_of(f"apis/{names.API_VERSION}", namespace, self.plural, self.name)

    def collection(self, namespace: str) -> str:
        """Return the path of all objects of this kind."""
        return path_of(f"apis/{names.API_VERSION}", namespace, self.plural)


def parse_target(text: str) -> Target:
    """Read `ftj/NAME`, or `NAME` alone; raise ArgumentTypeError for a kind that is not ours."""
    kind, slash, name = text.rpartition("/")
    plural = _KINDS.get(kind.lower()) if slash else names.FINE_TUNE_JOBS
    if plural is None or not name:
        raise argparse.ArgumentTypeError(f"{text!r}: write ftj/NAME")
    return Target(plural, name)


def read_job(kube: Kube, target: Target) -> Json:
    """Return the object; raise KubeError that tells a missing job from a cluster without the CRD."""
    try:
        return kube.get(target.path(kube.namespace))
    except KubeError as err:
        if err.status != 404:
            raise
        if "requested resource" in str(err) or "page not found" in str(err):
            message = f"this cluster knows no {target.plural}.{names.GROUP}: install the chart first (docs/install.md)"
        else:
            message = f"{target} not found in namespace {kube.namespace}"
        raise KubeError(message, 404) from err
