"""What the cluster and the installation say where a service's spec is silent."""

from __future__ import annotations

from ascend_jobs.api.inferenceservice import Engine
from ascend_jobs.decide.inference.observed import ServiceObserved
from ascend_jobs.desired.pods import PodSettings
from ascend_jobs.desired.resources import Offer, fair_share
from ascend_jobs.domain.accelerators import resource_of


def engine_of(observed: ServiceObserved) -> Engine:
    """Return the engine: the spec's, else the installation's, else vllm-ascend."""
    given = observed.service.spec.serving.engine
    return given or Engine(observed.defaults.engine or Engine.VLLM_ASCEND)


def server_settings(observed: ServiceObserved) -> PodSettings:
    """Return images, resource name and requests for the service's pods."""
    resource = resource_of(node.npus for node in observed.nodes)
    offers = [Offer(node.npus.get(resource, 0), node.cpu, node.memory) for node in observed.nodes]
    defaults = observed.defaults
    return PodSettings(
        image=defaults.serve_image or defaults.image,
        prepare_image=defaults.prepare_image,
        pull_policy=defaults.pull_policy,
        pull_secrets=defaults.pull_secrets,
        resource=resource,
        share=fair_share(offers, observed.service.spec.npus_per_node),
    )
