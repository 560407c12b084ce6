"""The Helm chart: golden files of what it renders, and what holds for every rendering."""

import dataclasses
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ascend_jobs.api.crd import crd_manifests
from ascend_jobs.cluster.verbs import RULES, Scope
from ascend_jobs.settings import PREFIX, Settings

from .conftest import CHART, Render, objects

pytestmark = pytest.mark.apiserver  # for the programs that `make test` builds

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "chart"
MIRROR = "swr.cn-north-4.myhuaweicloud.com/team"
DIGEST = f"sha256:{'0' * 64}"
NO_CRDS = ("--set", "crds.enabled=false")

CASES: dict[str, tuple[str, ...]] = {
    "default": (),
    "kind": ("--values", str(CHART / "values-kind.yaml")),
    "cce": ("--values", str(CHART / "values-cce.yaml"), "--set", f"images.registry={MIRROR}"),
    "namespaced": ("--set", "watchNamespaces={team-a,team-b}", "--set", "rbac.aggregate=false"),
    "bare": (
        *("--set", "rbac.create=false", "--set", "serviceAccount.create=false", "--set", "serviceAccount.name=given"),
        *("--set", "metrics.service.enabled=false", "--set", f"images.operator=repo.example.com/x@{DIGEST}"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_rendering(case: str, render: Render) -> None:
    """Rewritten by UPDATE_GOLDEN=1 (make golden)."""
    text = render(*NO_CRDS, *CASES[case])
    file = GOLDEN / f"{case}.yaml"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("case", CASES)
def test_lint(case: str, helm: str) -> None:
    done = subprocess.run(
        [helm, "lint", "--strict", str(CHART), *CASES[case]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_crds_are_those_of_the_code(render: Render) -> None:
    """And are kept when the release is uninstalled, unless asked otherwise."""
    found = [o for o in objects(render()) if o["kind"] == "CustomResourceDefinition"]
    by_name = {wanted["metadata"]["name"]: wanted for wanted in crd_manifests()}
    assert {made["metadata"]["name"] for made in found} == set(by_name)
    for made in found:
        wanted = by_name[made["metadata"]["name"]]
        assert made["spec"] == wanted["spec"]
        assert made["metadata"]["name"] == wanted["metadata"]["name"]
        assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    for made in objects(render("--set", "crds.keep=false")):
        assert "annotations" not in made["metadata"] or made["kind"] != "CustomResourceDefinition"
    assert "CustomResourceDefinition" not in render(*NO_CRDS)


def granted(role: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def needed(*scopes: Scope) -> set[tuple[str, str, str]]:
    return {(rule.group, rule.resource, verb) for rule in RULES if rule.scope in scopes for verb in rule.verbs}


def test_cluster_wide_roles_are_what_the_code_calls(render: Render) -> None:
    roles = {(o["kind"], o["metadata"]["name"]): o for o in objects(render()) if o["kind"].endswith("Role")}
    assert granted(roles["ClusterRole", "ascend-jobs"]) == needed(Scope.CLUSTER, Scope.NAMESPACE)
    assert granted(roles["Role", "ascend-jobs-own"]) == needed(Scope.OWN)


def test_namespaced_roles_reach_no_further(render: Render) -> None:
    found = objects(render(*NO_CRDS, *CASES["namespaced"]))
    assert not [o["kind"] for o in found if o["kind"].startswith("Cluster")]
    for namespace in ("team-a", "team-b"):
        (role,) = (o for o in found if o["kind"] == "Role" and o["metadata"].get("namespace") == namespace)
        assert granted(role) == needed(Scope.NAMESPACE)


@pytest.mark.parametrize("case", CASES)
def test_no_role_reads_secrets(case: str, render: Render) -> None:
    for role in objects(render(*CASES[case])):
        if role["kind"] in ("Role", "ClusterRole"):
            assert all("secrets" not in rule["resources"] for rule in role["rules"])
            assert all("*" not in rule["verbs"] for rule in role["rules"])


@pytest.mark.parametrize("case", CASES)
def test_operator_keeps_to_the_restricted_level(case: str, render: Render) -> None:
    """Pod Security Standards, "Restricted"."""
    (deployment,) = (o for o in objects(render(*CASES[case])) if o["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert not {"hostPID", "hostNetwork", "hostIPC"} & set(pod)
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
    assert all("hostPath" not in volume for volume in pod["volumes"])


@pytest.mark.parametrize(
    ("given", "values", "want"),
    [
        ("ascend-jobs/operator", {}, "ascend-jobs/operator:0.1.0"),
        ("ascend-jobs/operator", {"tag": "dev"}, "ascend-jobs/operator:dev"),
        ("ascend-jobs/operator", {"registry": MIRROR}, f"{MIRROR}/ascend-jobs/operator:0.1.0"),
        ("ascend-jobs/operator", {"registry": f"{MIRROR}/"}, f"{MIRROR}/ascend-jobs/operator:0.1.0"),
        ("ascend-jobs/operator:mine", {"tag": "dev"}, "ascend-jobs/operator:mine"),
        ("repo.example.com/x", {"registry": MIRROR}, "repo.example.com/x:0.1.0"),
        ("localhost:5000/x", {"registry": MIRROR}, "localhost:5000/x:0.1.0"),
        (f"x@{DIGEST}", {"registry": MIRROR}, f"{MIRROR}/x@{DIGEST}"),
    ],
)
def test_image_names(render: Render, given: str, values: dict[str, str], want: str) -> None:
    settings = [f"--set=images.{key}={value}" for key, value in {"operator": given, **values}.items()]
    (deployment,) = (o for o in objects(render(*settings)) if o["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == want


@pytest.mark.parametrize(("replicas", "budgets"), [(0, 0), (1, 0), (2, 1)])
def test_disruption_budget_only_where_it_can_be_kept(render: Render, replicas: int, budgets: int) -> None:
    """With one replica a budget would block every drain."""
    found = objects(render("--set", f"operator.replicas={replicas}"))
    assert len([o for o in found if o["kind"] == "PodDisruptionBudget"]) == budgets


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("--set", "operator.replica=2"), "replica", id="misspelt"),
        pytest.param(("--set", "operator.workers=0"), "workers", id="range"),
        pytest.param(("--set", "images.pullPolicy=Sometimes"), "pullPolicy", id="enum"),
        pytest.param(("--set", "watchNamespaces=team-a"), "watchNamespaces", id="no-list"),
        pytest.param(("--set", "serviceAccount.create=false"), "serviceAccount.name is needed", id="no-account"),
        pytest.param(("--kube-version", "1.27.0"), "1.28", id="old-kubernetes"),
    ],
)
def test_refused(render: Render, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        render(*arguments)


@pytest.mark.parametrize("case", CASES)
def test_the_operator_reads_what_the_chart_sets(case: str, render: Render) -> None:
    """A variable that no setting has would be silently without effect."""
    (deployment,) = (o for o in objects(render(*CASES[case])) if o["kind"] == "Deployment")
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    known = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}
    assert {variable["name"] for variable in env} <= known
    settings = Settings.from_environment({v["name"]: v["value"] for v in env if "value" in v})
    assert settings.image and settings.prepare_image
    assert settings.namespaces == (("team-a", "team-b") if case == "namespaced" else ())


def test_names_of_other_releases_differ(render: Render) -> None:
    """Two releases in one cluster do not take each other's cluster-wide objects."""
    names = [{(o["kind"], o["metadata"]["name"]) for o in objects(render(*NO_CRDS, release=r))} for r in ("a", "b")]
    assert not names[0] & names[1]


@pytest.mark.parametrize("release", ["y", "on", "1", "1e3"])
def test_a_release_may_have_any_name(render: Render, release: str) -> None:
    """YAML takes some words for truth values and numbers; labels have to be strings."""
    for made in objects(render(release=release)):
        assert made["metadata"]["labels"]["app.kubernetes.io/instance"] == release


def test_values_files_name_only_known_values(render: Render) -> None:
    for file in sorted(CHART.glob("values-*.yaml")):
        assert yaml.safe_load(file.read_text())
        render("--values", str(file))
