"""What a command is about: `ftj/NAME`, `aisvc/NAME`, `evj/NAME`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from ascend_jobs import names
from ascend_jobs.cli.kube import Json, Kube, KubeError, path_of

PLURALS = {
    names.FINE_TUNE_JOB: names.FINE_TUNE_JOBS,
    names.INFERENCE_SERVICE: names.INFERENCE_SERVICES,
    names.EVALUATION_JOB: names.EVALUATION_JOBS,
}
"""Kinds, in the order in which one waits for the other, and their plurals."""
_SHORT = {
    names.FINE_TUNE_JOBS: names.FINE_TUNE_SHORT,
    names.INFERENCE_SERVICES: names.INFERENCE_SHORT,
    names.EVALUATION_JOBS: names.EVALUATION_SHORT,
}
_SPELLINGS = {
    spelling: plural for kind, plural in PLURALS.items() for spelling in (_SHORT[plural], plural, kind.lower())
}
"""Plural by what people write in its place, in lower case."""


@dataclass(frozen=True)
class Target:
    """A custom resource by plural and name."""

    plural: str
    name: str

    def __str__(self) -> str:
        """Return the form that kubectl takes; a service's plural alone might mean another project's kind."""
        return f"{_SHORT[self.plural] if self.plural == names.INFERENCE_SERVICES else self.plural}/{self.name}"

    @property
    def short(self) -> str:
        """The shortest form: ftj/NAME."""
        return f"{_SHORT[self.plural]}/{self.name}"

    def path(self, namespace: str) -> str:
        """Return the object's path on the API server."""
        return path_of(f"apis/{names.API_VERSION}", namespace, self.plural, self.name)

    def collection(self, namespace: str) -> str:
        """Return the path of all objects of this kind."""
        return path_of(f"apis/{names.API_VERSION}", namespace, self.plural)


def parse_target(text: str) -> Target:
    """Read `ftj/NAME`, `aisvc/NAME` or `evj/NAME`; NAME alone is a job. Raises ArgumentTypeError for other kinds."""
    return target_of(*PLURALS.values())(text)


def target_of(*plurals: str) -> Callable[[str], Target]:
    """Return a reader of targets of these kinds alone; a name without a kind is of the first."""
    wanted = " or ".join(f"{_SHORT[plural]}/NAME" for plural in plurals)

    def parse(text: str) -> Target:
        kind, slash, name = text.rpartition("/")
        plural = _SPELLINGS.get(kind.lower()) if slash else plurals[0]
        if plural not in plurals or not name:
            raise argparse.ArgumentTypeError(f"{text!r}: write {wanted}")
        return Target(plural, name)

    return parse


def read_object(kube: Kube, target: Target) -> Json:
    """Return the object; raise KubeError that tells a missing one from a cluster without the CRD."""
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
