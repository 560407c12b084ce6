"""Templates of pods that are none: each is told, none reaches the code that merges."""

import pytest
from ascend_jobs.decide.template import template_problems


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"metadata": None}, "metadata"),
        ({"spec": None}, "spec"),
        ({"spec": {"containers": None}}, "spec.containers"),
        ({"spec": {"volumes": {}}}, "spec.volumes"),
        ({"spec": {"initContainers": [None]}}, "spec.initContainers"),
        ({"spec": {"containers": [{"name": "server", "image": 3}]}}, "spec.containers"),
        ({"metadata": {"annotations": {"a": 1}}}, "metadata.annotations"),
    ],
)
def test_told(template, path):
    assert [found for found, _ in template_problems(template)] == [f"spec.runtime.podTemplate.{path}"]


def test_what_is_fine():
    containers = [{"name": "server", "env": [{"name": "A", "value": "b"}]}]
    assert not list(template_problems({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}))
    assert not list(template_problems({}))
