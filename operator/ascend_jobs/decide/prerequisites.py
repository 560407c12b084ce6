"""What has to be there before the first pod: claims, an output of one's own, nodes that allow the NPU count."""

from __future__ import annotations

from dataclasses import replace

from ascend_jobs.api.conditions import Reason
from ascend_jobs.decide.attempt import old_pods
from ascend_jobs.decide.decision import Decision, stalled
from ascend_jobs.decide.observed import Observed
from ascend_jobs.decide.profile import families
from ascend_jobs.decide.validate import RETRY_SECONDS, is_within, spec_findings
from ascend_jobs.desired.volumes import location, uris
from ascend_jobs.domain.accelerators import allowed_counts


def decide_prerequisites(observed: Observed) -> Decision | None:
    """Stall before any pod is made; an attempt that has begun is not looked at again."""
    job = observed.job
    if job.status.attempt.start_time is not None:
        return None
    findings = spec_findings(job, observed.defaults.image)
    if findings:
        return _stalled(observed, Reason.SPEC_INVALID, findings, None)
    for check in (_npu_count, _missing_claims, _rival):
        found = check(observed)
        if found is not None:
            return _stalled(observed, *found, RETRY_SECONDS)
    return None


def _stalled(observed: Observed, reason: Reason, message: str, retry_after: float | None) -> Decision:
    """Stall, and let go of what an ended attempt still holds."""
    return replace(stalled(observed.job.status, reason, message, retry_after), actions=old_pods(observed))


def _npu_count(observed: Observed) -> tuple[Reason, str] | None:
    known, count = families(observed), observed.job.spec.npus_per_node
    allowed = allowed_counts(known)
    if count in allowed:
        return None
    present = ", ".join(f.name for f in known)
    numbers = ", ".join(str(n) for n in sorted(allowed))
    return Reason.NPU_COUNT_NOT_ALLOWED, f"spec.npusPerNode: {count} is not allowed on {present}; take one of {numbers}"


def _missing_claims(observed: Observed) -> tuple[Reason, str] | None:
    if not observed.missing_claims:
        return None
    fields = [
        f'{field}: PersistentVolumeClaim "{claim}" is not in namespace {observed.job.metadata.namespace}'
        for field, uri in uris(observed.job).items()
        if (claim := location(uri).claim) in observed.missing_claims
    ]
    return Reason.MISSING_CLAIM, "; ".join(fields) + "; create it, the job then goes on by itself"


def _rival(observed: Observed) -> tuple[Reason, str] | None:
    """Let the older job win, by creation time and then by UID, so that both sides see it alike."""
    meta, output = observed.job.metadata, observed.job.spec.output.uri
    for rival in observed.rivals:
        older = (rival.created, rival.uid) < (meta.creation_timestamp, meta.uid)
        if older and (is_within(output, rival.output) or is_within(rival.output, output)):
            return Reason.OUTPUT_IN_USE, (
                f"spec.output.uri: the older FineTuneJob {rival.name} writes to {rival.output}; "
                "wait for its end, or delete one of the two"
            )
    return None
