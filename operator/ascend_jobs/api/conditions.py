"""Conditions, their types and reasons, and the one way to change them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from ascend_jobs.api.base import Model


class ConditionType(StrEnum):
    """Types of conditions. Ready, Reconciling and Stalled are kstatus's; the others tell the story to people."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    PREPARED = "Prepared"
    MODEL_READY = "ModelReady"
    PROGRESSING = "Progressing"
    ACCEPTED = "Accepted"
    RANK_TABLE_READY = "RankTableReady"
    RUNNING = "Running"
    COMPLETE = "Complete"
    FAILED = "Failed"
    SUSPENDED = "Suspended"


class ConditionStatus(StrEnum):
    """Status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Reasons of conditions and events, each with the situation that it stands for."""

    # Going well.
    PENDING = "Pending"  # accepted, nothing has happened yet
    PREPARING = "Preparing"  # the prepare pod cleans and tokenises
    PREPARED = "Prepared"  # tokenised data is in the workspace
    PODS_CREATED = "PodsCreated"  # all pods of an attempt exist
    SCHEDULING = "Scheduling"  # pods wait for nodes
    UNSCHEDULABLE = "Unschedulable"  # the scheduler finds no place for a pod
    STARTING = "Starting"  # pods are placed, images are pulled, containers start
    IMAGE_PULL_FAILED = "ImagePullFailed"  # the kubelet cannot pull an image; it goes on trying
    CONTAINER_CONFIG_INVALID = "ContainerConfigInvalid"  # a Secret or ConfigMap that a container names is missing
    ALLOCATING = "Allocating"  # pods lack the device plugin's report or an IP
    RANK_TABLE_PUBLISHED = "RankTablePublished"  # complete, on its way into the containers
    RANK_TABLE_READY = "RankTableReady"  # in every container
    RANK_TABLE_NOT_NEEDED = "NotNeeded"  # one node, or rankTable Never
    RANK_TABLE_UNAVAILABLE = "RankTableUnavailable"  # devices without valid IPs: starts through MASTER_ADDR alone
    TRAINING = "Training"  # all trainers run
    COMPLETE = "Complete"  # output and manifest are written
    ALREADY_COMPLETE = "AlreadyComplete"  # the output already held this spec's result
    SUSPENDED = "Suspended"  # spec.suspend is true
    RESUMED = "Resumed"  # spec.suspend went back to false
    NOT_SUSPENDED = "NotSuspended"  # spec.suspend is false
    # Services.
    WAITING_FOR_JOB = "WaitingForJob"  # the FineTuneJob that makes the model is not Complete
    WAITING_FOR_SERVICE = "WaitingForService"  # the InferenceService that is asked is not Ready
    INSPECTING = "Inspecting"  # a pod without NPUs looks at the model's files
    MODEL_READY = "ModelReady"  # the model's files are whole and fit the NPUs
    REVISION_RECORDED = "RevisionRecorded"  # what the pods of a new version are made of is written down
    PROVING = "Proving"  # pods of a new version start, and are asked before they get requests
    SHIFTING = "Shifting"  # requests move from the old version to the new one
    GATE_RUNNING = "GateRunning"  # the evaluation of spec.rollout.gate asks the new version
    ROLLED_OUT = "RolledOut"  # all replicas are of the newest version
    NO_FREE_NPUS = "NoFreeNPUs"  # the new version's pod finds no free NPUs; maxUnavailable 1 would make room
    ANSWERED = "Answered"  # a completion with tokens came back through the Service
    NOT_ANSWERED = "NotAnswered"  # no completion came back
    SCALED = "Scaled"  # the number of replicas was changed
    SCALED_TO_ZERO = "ScaledToZero"  # no replicas are wanted
    DEGRADED = "Degraded"  # it answers, with fewer replicas than wanted
    PROXY_STARTING = "ProxyStarting"  # no proxy is ready: keys, TLS and a canary need one in front of the service
    CANARY_SERVING = "CanaryServing"  # the canary has answered and gets its part of the requests
    CANARY_FAILED = "CanaryFailed"  # the canary was given up, or gets no requests until it answers again
    CANARY_REMOVED = "CanaryRemoved"  # the canary has ended its last request and its pods go
    # Evaluations.
    EVALUATING = "Evaluating"  # questions are asked, answers scored, speed measured
    EVALUATED = "Evaluated"  # the results are in the status and the report is written
    ACCEPTED = "Accepted"  # every criterion of spec.acceptance holds
    NOT_ACCEPTED = "NotAccepted"  # a criterion does not hold; the message names it
    NO_CRITERIA = "NoCriteria"  # spec.acceptance is empty: nothing is said about acceptance
    WAITING_FOR_TRIGGER = "WaitingForTrigger"  # the next run comes with its schedule or a change
    # Restarts.
    RESTARTING = "Restarting"  # a new attempt starts from the last checkpoint
    POD_FAILED = "PodFailed"  # the program in a pod ended with an error
    POD_LOST = "PodLost"  # a pod was deleted, evicted or preempted
    NODE_NOT_READY = "NodeNotReady"  # the node of a pod stopped being Ready
    FENCED = "Fenced"  # the program saw a newer attempt
    # Ends.
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"  # the program failed too often
    PLATFORM_BACKOFF_LIMIT_EXCEEDED = "PlatformBackoffLimitExceeded"  # the platform took pods away too often
    INVALID_INPUT = "InvalidInput"  # a phase found its input wrong; its own reason stands before this one
    JOB_FAILED = "JobFailed"  # the FineTuneJob that was to make the model has failed
    GATE_FAILED = "GateFailed"  # the evaluation of spec.rollout.gate did not accept the new version
    ROLLOUT_FAILED = "RolloutFailed"  # the new version was given up; the old one goes on
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"  # no completion came back within startDeadlineSeconds
    ENGINE_FAILED = "EngineFailed"  # the engine ended again and again
    # Only a new spec helps.
    DOES_NOT_FIT = "DoesNotFit"  # weights and KV cache need more memory than the NPUs have
    SPEC_INVALID = "SpecInvalid"  # a field says what cannot be; the message names it
    POD_REJECTED = "PodRejected"  # the API server refuses the pods (template, policy)
    # Somebody else has to provide something; looked at again.
    MISSING_CLAIM = "MissingPersistentVolumeClaim"  # a claim that a URI names is not there
    MISSING_SECRET = "MissingSecret"  # a Secret that spec.access names is not there, or empty
    SECRET_INVALID = "SecretInvalid"  # a Secret that spec.access names holds what cannot be used
    OUTPUT_IN_USE = "OutputInUse"  # an older job writes to the same output
    NPU_COUNT_NOT_ALLOWED = "NpuCountNotAllowed"  # no family of the nodes that are there allows npusPerNode
    NAME_CONFLICT = "NameConflict"  # an object that is not ours has a child's name
    QUOTA_EXCEEDED = "QuotaExceeded"  # a ResourceQuota of the namespace refuses the pods
    NAMESPACE_TERMINATING = "NamespaceTerminating"  # nothing can be made in it any more
    NOT_STALLED = "NotStalled"  # nobody has to act
    NOT_FAILED = "NotFailed"  # the job has not failed


class Condition(Model):
    """One metav1.Condition."""

    type: str = Field(max_length=316, description="Type of the condition, CamelCase.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: str = Field(max_length=1024, description="Why, one CamelCase word.")
    message: str = Field(default="", max_length=32768, description="Why, a sentence for people.")
    observed_generation: int = Field(default=0, ge=0, description="metadata.generation that this speaks of.")
    last_transition_time: datetime = Field(description="When status last changed.")


def set_condition(conditions: tuple[Condition, ...], new: Condition) -> tuple[Condition, ...]:
    """Return the conditions with `new` in the place of its type; the transition time moves only when status moves."""
    old = next((c for c in conditions if c.type == new.type), None)
    if old is not None and old.status == new.status:
        new = new.evolve(last_transition_time=old.last_transition_time)
    kept = tuple(new if c.type == new.type else c for c in conditions)
    return kept if old is not None else (*conditions, new)


def condition(conditions: tuple[Condition, ...], type_: ConditionType) -> Condition | None:
    """Return the condition of a type, None when it is not there."""
    return next((c for c in conditions if c.type == type_), None)


def is_true(conditions: tuple[Condition, ...], type_: ConditionType) -> bool:
    """Say whether the condition is there and True."""
    found = condition(conditions, type_)
    return found is not None and found.status is ConditionStatus.TRUE
