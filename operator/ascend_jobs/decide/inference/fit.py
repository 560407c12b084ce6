"""Whether a model that was looked at fits the NPUs, before any of them is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ascend_jobs import names
from ascend_jobs.decide.inference.observed import ServiceObserved
from ascend_jobs.desired.engines.fit import fit_problems
from ascend_jobs.desired.engines.shape import EngineInput
from ascend_jobs.domain.accelerators import chip_hbm, family_of
from ascend_jobs.domain.modelfacts import FactsMissing, facts_from_inspection


def misfit(observed: ServiceObserved, given: EngineInput, found: dict[str, Any]) -> str | None:
    """Return why the largest chip that is there cannot serve the model so, None when it can or nobody knows.

    `found` is what the pod that looked at the model said of it.
    """
    chips = {size for node in observed.nodes if (size := _hbm(node.labels))}
    try:
        facts = facts_from_inspection(found)
    except FactsMissing:
        return None
    problems = fit_problems(given, facts, max(chips)) if chips else ()
    return "; ".join(f"{path}: {text}" for path, text in problems) or None


def _hbm(labels: Mapping[str, str]) -> int | None:
    """Return the HBM of a node's NPUs in GiB: its chip's, else its family's."""
    family = family_of(labels)
    return chip_hbm(labels.get(names.CHIP_NAME_LABEL, "")) or (family.hbm_gib if family else None)
