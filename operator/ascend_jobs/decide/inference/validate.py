"""What a service's spec may not say, as a list of (field path, message)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.inferenceservice import Engine, InferenceService, QuantizationMethod
from ascend_jobs.decide.inference.scaling import schedule_problem
from ascend_jobs.decide.observed import Defaults
from ascend_jobs.decide.template import Finding, template_problems
from ascend_jobs.desired.inference.proxy import needs_proxy


def spec_problems(service: InferenceService, defaults: Defaults, engine: Engine) -> tuple[tuple[str, str], ...]:
    """Return what cannot work, whatever the cluster looks like; the engine's own settings are looked at elsewhere."""
    return tuple(_problems(service, defaults, engine))


def _problems(service: InferenceService, defaults: Defaults, engine: Engine) -> Iterator[tuple[str, str]]:
    spec = service.spec
    if not (spec.runtime.image or defaults.serve_image or defaults.image):
        yield "spec.runtime.image", "no image is named, and the installation has no default (values images.runtime)"
    if needs_proxy(service) and not defaults.proxy_image:
        field = "spec.canary" if spec.canary else "spec.access"
        yield field, "needs a proxy, and the installation names no image for it (values images.proxy)"
    for number, schedule in enumerate(spec.scaling.schedules):
        problem = schedule_problem(schedule)
        if problem:
            yield f"spec.scaling.schedules[{number}].{problem.split(':', 1)[0]}", problem.split(": ", 1)[1]
    served = {service.served_name}
    for number, adapter in enumerate(spec.model.adapters):
        if adapter.name in served:
            yield f"spec.model.adapters[{number}].name", f"{adapter.name} is served already; take another name"
        served.add(adapter.name)
    method = spec.model.quantization.method if spec.model.quantization else None
    if method is QuantizationMethod.Q8_0 and engine is not Engine.CPU:
        yield "spec.model.quantization.method", f"q8_0 is for engine cpu; engine {engine.value} takes w8a8"
    if method is QuantizationMethod.W8A8 and engine is Engine.CPU:
        yield "spec.model.quantization.method", "w8a8 is for NPUs; engine cpu takes q8_0"
    yield from _template_problems(spec.runtime.pod_template)


def _template_problems(template: dict[str, Any]) -> Iterator[Finding]:
    """Yield what a template says that cannot be: it may add, not take away what the operator goes by."""
    wrong = tuple(template_problems(template))
    yield from wrong
    for number, container in enumerate(() if wrong else (template.get("spec") or {}).get("containers", ())):
        if container["name"] == names.CONTAINER_SERVER and "command" in container:
            path = f"spec.runtime.podTemplate.spec.containers[{number}].command"
            yield path, "the engine's command is made from spec.serving; engine custom takes a command"
