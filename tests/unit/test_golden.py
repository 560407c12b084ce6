"""Golden files: what a job's children look like. UPDATE_GOLDEN=1 rewrites them; the diff is read in review."""

import os
from pathlib import Path

import pytest
import yaml
from ascend_jobs import names
from ascend_jobs.api.finetunejob import FineTuneJob
from ascend_jobs.decide.observed import Defaults
from ascend_jobs.decide.profile import pod_settings, ring
from ascend_jobs.desired.configmap import rank_table_configmap
from ascend_jobs.desired.pods import needs_rank_table, prepare_pod, worker_pod, worker_template
from ascend_jobs.desired.service import master_service
from ascend_jobs.domain.ranktable import INITIALIZING
from builders import NOW, make_node, make_observed

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/job.yaml"))


def children(case: str) -> list[dict]:
    """All children of a job that has not started, in the order in which they are made; of the workers the last one."""
    job = FineTuneJob.parse(yaml.safe_load((GOLDEN / case / "job.yaml").read_text()))
    nodes = (make_node(),)
    if case.endswith("cce"):
        nodes = tuple(node.__class__(**{**node.__dict__, "npus": {names.CCE_ASCEND_1980: 8}}) for node in nodes)
    images = Defaults(
        "registry.example.com/runtime-npu:1", "registry.example.com/runtime-cpu:1", "IfNotPresent", ("pull",)
    )
    observed = make_observed(job, nodes=nodes, defaults=images)
    settings = pod_settings(observed)
    template = worker_template(job, 0, settings)
    found = [prepare_pod(job, 0, settings)]
    if needs_rank_table(job):
        data = {names.RANK_TABLE_KEY: INITIALIZING, "attempt": "0", "version": "1"}
        found.append(rank_table_configmap(job, job.base, data, ring(observed), NOW.timestamp()))
    if job.spec.nodes > 1:
        found.append(master_service(job, 0))
    return [*found, worker_pod(job, 0, job.spec.nodes - 1, template)]


@pytest.mark.parametrize("case", CASES)
def test_children(case):
    text = yaml.safe_dump_all(children(case), sort_keys=False, width=120)
    path = GOLDEN / case / "children.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text
