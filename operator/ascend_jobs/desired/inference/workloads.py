"""What makes the pods of a revision, its record, its files, and the addresses under which it is asked."""

from __future__ import annotations

import copy
from typing import Any

from ascend_jobs import names
from ascend_jobs.api.inferenceservice import InferenceService
from ascend_jobs.api.inferenceservice_status import RevisionStatus
from ascend_jobs.desired.inference.pods import RANK_TABLE_VOLUME, revision_service
from ascend_jobs.desired.metadata import child_metadata

_SELECTING = (names.JOB_UID, names.ROLE, names.REVISION)
_PROGRESS_SECONDS = 86_400
"""The Deployment's own deadline says nothing here: the operator has spec.probe.startDeadlineSeconds."""


def revision_record(service: InferenceService, revision: int, record: dict[str, Any]) -> dict[str, Any]:
    """Return the ControllerRevision that holds what a revision's pods are made of."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": child_metadata(service, revision_service(service, revision), {names.REVISION: str(revision)}),
        "data": record,
        "revision": revision,
    }


def files_configmap(service: InferenceService, revision: int, files: dict[str, str]) -> dict[str, Any]:
    """Return the ConfigMap with the files of a revision's engine."""
    metadata = child_metadata(service, revision_service(service, revision), {names.REVISION: str(revision)})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files, "immutable": True}


def deployment(service: InferenceService, revision: int, template: dict[str, Any], replicas: int) -> dict[str, Any]:
    """Return the Deployment of a revision whose replicas are one pod each; its template never changes."""
    labels = template["metadata"]["labels"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": child_metadata(service, revision_service(service, revision), {names.REVISION: str(revision)}),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": _PROGRESS_SECONDS,
            "selector": {"matchLabels": {key: labels[key] for key in _SELECTING}},
            "template": template,
        },
    }


def replica_set_of_pods(
    service: InferenceService, revision: RevisionStatus, template: dict[str, Any], replica: int
) -> dict[str, Any]:
    """Return the StatefulSet that is one replica of several pods; they start at once, with their own rank table."""
    number = revision.number
    name = names.replica_name(service.base, number, replica)
    labels = {**template["metadata"]["labels"], names.REPLICA: str(replica)}
    made = copy.deepcopy(template)
    made["metadata"]["labels"] = labels
    for volume in made["spec"]["volumes"]:
        if volume["name"] == RANK_TABLE_VOLUME:
            volume["configMap"] = {"name": names.rank_table_name(name), "optional": True}
    for container in (*made["spec"].get("initContainers", ()), *made["spec"]["containers"]):
        container["env"] = [{"name": "REPLICA_NAME", "value": name}, *(container.get("env") or ())]
    own = {names.REVISION: str(number), names.REPLICA: str(replica)}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": child_metadata(service, name, own),
        "spec": {
            "replicas": revision.nodes,
            "serviceName": names.group_name(service.base, number),
            "podManagementPolicy": "Parallel",
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": {key: labels[key] for key in (*_SELECTING, names.REPLICA)}},
            "template": made,
        },
    }


def service_manifest(
    service: InferenceService, name: str, selector: dict[str, str], port: int, *, public: bool = False
) -> dict[str, Any]:
    """Return a Service; the public one has the type and the annotations of the spec."""
    metadata = child_metadata(service, name)
    spec: dict[str, Any] = {
        "selector": selector,
        "ports": [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}],
    }
    if public:
        wanted = service.spec.access.service
        metadata["annotations"] = dict(wanted.annotations)
        spec["type"] = wanted.type.value
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def pod_selector(service: InferenceService, *, revision: int | None = None, track: str | None = None) -> dict[str, str]:
    """Return the labels of the pods that take requests; of replicas that span pods the first one alone."""
    found = {names.JOB_UID: service.metadata.uid, names.ROLE: names.ROLE_SERVER, names.POD_INDEX: "0"}
    if revision is not None:
        found[names.REVISION] = str(revision)
    if track is not None:
        found[names.TRACK] = track
    return found


def group_service(service: InferenceService, revision: int, port: int) -> dict[str, Any]:
    """Return the headless Service that gives the pods of replicas that span several their names, ready or not."""
    selector = {
        names.JOB_UID: service.metadata.uid,
        names.ROLE: names.ROLE_SERVER,
        names.REVISION: str(revision),
    }
    manifest = service_manifest(service, names.group_name(service.base, revision), selector, port)
    manifest["metadata"]["labels"][names.REVISION] = str(revision)
    manifest["spec"] |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    return manifest
