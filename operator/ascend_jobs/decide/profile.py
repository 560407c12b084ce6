"""What the cluster and the installation say where the spec is silent."""

from __future__ import annotations

from ascend_jobs.decide.observed import Observed
from ascend_jobs.desired.pods import PodSettings
from ascend_jobs.desired.resources import Offer, fair_share
from ascend_jobs.domain.accelerators import Family, families_of, resource_of

_DEFAULT_RING = "ascend-910b"


def pod_settings(observed: Observed) -> PodSettings:
    """Return images, resource name and requests for the job's pods."""
    resource = resource_of(node.npus for node in observed.nodes)
    offers = [Offer(node.npus.get(resource, 0), node.cpu, node.memory) for node in observed.nodes]
    defaults = observed.defaults
    return PodSettings(
        image=defaults.image,
        prepare_image=defaults.prepare_image,
        pull_policy=defaults.pull_policy,
        pull_secrets=defaults.pull_secrets,
        resource=resource,
        share=fair_share(offers, observed.job.spec.npus_per_node),
    )


def families(observed: Observed) -> tuple[Family, ...]:
    """Return the chip families of the nodes that offer NPUs."""
    return families_of(node.labels for node in observed.nodes)


def ring(observed: Observed) -> str:
    """Return the value of ring-controller.atlas for the job's rank table."""
    found = families(observed)
    return found[0].ring if found else _DEFAULT_RING
